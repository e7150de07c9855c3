"""The command line that all tables share."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmarks import protocols, reports
from benchmarks.cells import Cell, Store, frame, run

RESULTS = Path(__file__).parent / "results"
QUICK_RESULTS = Path("out/quick")
STORE = "cells.jsonl"
_QUICK_SERIES = 60
_QUICK_EPOCHS = 2


class Table(NamedTuple):
    """A table or figure: which cells it needs and how it shows them.

    Attributes
    ----------
    name : str
        Of its module and its files.
    title : str
    datasets : tuple of str
        The default of ``--datasets``.
    cells : callable
        Parsed options -> list of Cell.
    report : callable
        Frame of cells, parsed options -> Markdown; may write pictures to ``options.results``.
    quick_datasets : tuple of str
        The default of ``--datasets`` under ``--budget quick``; empty: as in full.
    epochs : int or None
        The default of ``--epochs``.
    threads : int
        The default of ``--threads``.
    measure, key : callable
        See :func:`benchmarks.cells.run`.
    """

    name: str
    title: str
    datasets: tuple[str, ...]
    cells: Callable[[argparse.Namespace], list[Cell]]
    report: Callable[[pd.DataFrame, argparse.Namespace], str]
    quick_datasets: tuple[str, ...] = ()
    epochs: int | None = None
    threads: int = 1
    measure: Callable[[Cell], dict] = protocols.measure
    key: Callable[[Cell], str] = protocols.key


def parse(table: Table, argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{table.name}", description=table.title
    )
    add = parser.add_argument
    add("--data-dir", help="folder of .npz files; default: TSMAE_DATA, then sktime's sets")
    add("--datasets", nargs="+", help="default: all of the table's")
    add("--seeds", nargs="+", type=int, default=None, help="default: 0 1 2; quick: 0")
    add("--jobs", type=int, default=1, help="cells at a time; 0: in this process")
    add("--threads", type=int, default=table.threads, help="threads of each cell")
    add("--budget", choices=("quick", "full"), default="full",
        help="quick: small cuts and few epochs, to see that everything runs")  # fmt: skip
    add("--epochs", type=int, default=table.epochs, help="of pre-training; default: the preset's")
    add("--tune-epochs", type=int, help="of fine-tuning; default: the preset's")
    add("--cut", type=int, help="about so many training and test series; default: the table's")
    add("--part", choices=("test", "validation"), default="test",
        help="validation: a quarter of the training data in the role of the test data")  # fmt: skip
    add("--methods", nargs="+", help="only these methods")
    add("--only", nargs="+", help="only cells whose label begins with one of these words")
    add("--results", type=Path, help="folder of the reports; default: benchmarks/results")
    add("--encoders", type=Path, default=Path("out/encoders"), help="folder of encoders")
    add("--retry", action="store_true", help="run again the cells that failed")
    add("--rerun", action="store_true", help="run again all cells")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--report-only", action="store_true", help="run nothing, write the report")
    only.add_argument("--cells-only", action="store_true",
        help="write no report; that of a part of a table would replace that of all")  # fmt: skip
    options = parser.parse_args(argv)
    quick = options.budget == "quick"
    if options.datasets is None:
        options.datasets = list((quick and table.quick_datasets) or table.datasets)
    if options.seeds is None:
        options.seeds = [0] if quick else [0, 1, 2]
    if options.results is None:
        default = RESULTS if options.part == "test" else RESULTS / options.part
        options.results = QUICK_RESULTS if quick else default
    return options


def main(table: Table, argv: Sequence[str] | None = None) -> pd.DataFrame:
    """Run what is missing of a table, then write its CSV and its Markdown; returns its cells."""
    options = parse(table, argv)
    if options.data_dir:
        os.environ["TSMAE_DATA"] = os.path.abspath(options.data_dir)
    os.environ[protocols.ENCODER_FOLDER] = str(options.encoders)
    cells = cells_of(table, options)
    store = Store(options.results / STORE)
    if not options.report_only:
        run(
            cells,
            table.measure,
            table.key,
            store,
            jobs=options.jobs,
            threads=options.threads,
            retry=options.retry,
            rerun=options.rerun,
        )
    results = frame(cells, table.key, store)
    if options.cells_only:
        return results
    reports.write_csv(options.results / f"{table.name}.csv", results)
    text = "\n\n".join(
        [
            f"# {table.title}",
            table.report(results, options),
            reports.provenance(results, command(table, argv)),
        ]
    )
    reports.write(options.results / f"{table.name}.md", text + "\n")
    print(text)
    return results


def cells_of(table: Table, options: argparse.Namespace) -> list[Cell]:
    """The cells of a table under the options."""
    cells = [adapted(cell, options) for cell in table.cells(options)]
    if options.methods:
        cells = [cell for cell in cells if cell.method in options.methods]
    if options.only:
        cells = [cell for cell in cells if cell.label.startswith(tuple(options.only))]
    return cells


def options_of(table: Table, options: argparse.Namespace) -> argparse.Namespace:
    """Options for another table: what it has defaults for is its own."""
    datasets = table.datasets if options.budget == "full" else table.quick_datasets
    options = argparse.Namespace(**vars(options))
    options.datasets = list(datasets or table.datasets)
    options.epochs, options.threads = table.epochs, table.threads
    options.methods = options.only = None
    return options


def stored(table: Table, options: argparse.Namespace) -> pd.DataFrame:
    """What is known of another table under these options; nothing is run."""
    cells = cells_of(table, options_of(table, options))
    return frame(cells, table.key, Store(options.results / STORE))


def adapted(cell: Cell, options: argparse.Namespace) -> Cell:
    """A cell under the options that hold for all tables: cut, part, epochs, budget."""
    changes = {}
    if options.part != "test":
        changes["part"] = options.part
    limits = [options.cut, cell.settings.get("cut")]
    transformer = dict(cell.settings.get("transformer", {}))
    classifier = dict(cell.settings.get("classifier", {}))
    if options.epochs is not None and transformer.get("max_epochs") != 0:  # an untrained one stays
        transformer["max_epochs"] = options.epochs
    if options.tune_epochs is not None:
        classifier["max_epochs"] = options.tune_epochs
    if options.budget == "quick":
        limits.append(_QUICK_SERIES)
        transformer["max_epochs"] = min(transformer.get("max_epochs", _QUICK_EPOCHS), _QUICK_EPOCHS)
        classifier["max_epochs"] = _QUICK_EPOCHS
        if "epochs" in cell.settings:  # of a peer
            changes["epochs"] = _QUICK_EPOCHS
    if any(limits):
        changes["cut"] = min(limit for limit in limits if limit)
    if cell.method not in protocols.PEERS:
        changes["transformer"] = transformer
        if cell.method in protocols.FINE_TUNED:
            changes["classifier"] = classifier
    return cell.with_settings(**changes)


def command(table: Table, argv: Sequence[str] | None = None) -> str:
    """The command as another reader would type it: without this machine's folders."""
    words = [
        part
        for word in (sys.argv[1:] if argv is None else argv)
        for part in (word.split("=", 1) if word.startswith("--") else [word])
    ]
    kept = []
    for word in words:
        if kept and kept[-1] in ("--data-dir", "--results", "--encoders"):
            kept[-1:] = ["--data-dir DATA"] if kept[-1] == "--data-dir" else []
        elif word not in ("--report-only", "--cells-only", "--retry", "--rerun"):
            kept.append(word)
    quoted = [shlex.quote(word) if " " in word and "DATA" not in word else word for word in kept]
    return " ".join([f"python -m benchmarks.{table.name}", *quoted])
