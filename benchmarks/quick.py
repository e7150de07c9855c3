"""Every table on a small cut, to see within minutes that all of it runs."""

from __future__ import annotations

import argparse

from benchmarks import (
    ablations,
    accuracy_per_second,
    archive,
    few_labels,
    few_labels_gaps,
    goals,
    main_table,
    other_lengths,
    pictures,
    ragged,
    speed,
    timing,
    transfer,
)  # fmt: skip
from benchmarks.cli import QUICK_RESULTS, main

MODULES = (
    main_table, few_labels, transfer, ablations, archive, ragged, few_labels_gaps,
    other_lengths, timing, speed, accuracy_per_second, pictures,
)  # fmt: skip


def run(argv: list[str] | None = None) -> None:
    """Run all tables at ``--budget quick``; other options go to each of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="forget the cells of earlier runs")
    own, rest = parser.parse_known_args(argv)
    if own.fresh:
        (QUICK_RESULTS / "cells.jsonl").unlink(missing_ok=True)
    for module in MODULES:
        main(module.TABLE, ["--budget", "quick", "--jobs", "2", *rest])
    main(goals.TABLE, ["--budget", "quick", *rest, "--report-only"])


if __name__ == "__main__":
    run()
