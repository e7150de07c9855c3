"""Accuracy from few labels where points are missing, beside MiniRocket on filled gaps."""

from __future__ import annotations

import pandas as pd

from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.protocols import PEERS, settings
from benchmarks.reports import markdown, spread, summary

FRACTIONS = (0.01, 0.05, 0.1, 1.0)
PEER = "MiniRocket + ridge"
METHODS = (
    "FineZero",
    "FineLast",
    PEER,
    "FineZero, with MiniRocket",
    "FineLast, with MiniRocket",
)
_SERIES = 1500  # as in the first of the cuts in `ragged`
_MISSING: dict[str, dict] = {
    "nothing": {},
    "30 %, random": {"damage": "random", "missing": 0.3},
    "30 %, blocks": {"damage": "blocks", "missing": 0.3},
    "50 %, blocks": {"damage": "blocks", "missing": 0.5},
}


def cells(options) -> list[Cell]:
    return [
        Cell(dataset, method, seed, _settings(method, damaged, fraction), f"{missing}, {labels}")
        for dataset in options.datasets
        for missing, damaged in _MISSING.items()
        for method in METHODS
        for fraction, labels in ((fraction, f"{fraction:.0%}") for fraction in FRACTIONS)
        for seed in options.seeds
    ]


def _settings(method: str, damaged: dict, fraction: float) -> dict:
    # a peer gets what `ragged` gives it: gaps interpolated, complete series as they are
    repair = "resample" if damaged and method in PEERS else "native"
    given = {} if method in PEERS else settings()
    return {**given, **damaged, "repair": repair, "cut": _SERIES, "labels": fraction}


def gains(results: pd.DataFrame) -> pd.DataFrame:
    """Each method's accuracy less that of the peer on the same seed, gaps and labels.

    Parameters
    ----------
    results : DataFrame
        Of cells, with the columns ``missing`` and ``labels``.

    Returns
    -------
    DataFrame
        The results of all methods but the peer, with the difference as ``gain``; NaN where one
        of the two was not run.
    """
    same = ["dataset", "missing", "labels", "seed"]
    if "accuracy" not in results:  # nothing was run
        results = results.assign(accuracy=float("nan"))
    peer = results[results["method"] == PEER].set_index(same)["accuracy"].rename("peer")
    others = results[results["method"] != PEER].join(peer, on=same)
    return others.assign(gain=others["accuracy"] - others["peer"])


def report(results: pd.DataFrame, options) -> str:
    named = results["label"].str.rsplit(", ", n=1, expand=True)
    results = results.assign(missing=named[0], labels=named[1])
    rows = ["dataset", "missing", "method"]
    against_peer = gains(results).groupby([*rows, "labels"], sort=False)["gain"].agg(spread)
    return "\n\n".join(
        [
            "Accuracy in % by share of labels, with points missing in training and test series "
            f"alike. Panels are cut to about {_SERIES} training and test series. FineLast is "
            "pre-trained on all training series without labels, at the library's defaults, and "
            "FineZero is the linear probe on the same encoder untrained; both handle gaps "
            "themselves. MiniRocket sees the labelled series alone, gaps interpolated linearly, "
            "also beside an embedding. Each seed draws its own labels, stratified and at least "
            "one of each class, and its own gaps; every method gets the same.",
            markdown(summary(results, rows, "labels")),
            f"Points ahead of {PEER}, on each seed:",
            markdown(_by_labels(against_peer)),
            "Macro F1 in %:",
            markdown(summary(results, rows, "labels", "macro_f1")),
            "CPU seconds, pre-training included:",
            markdown(summary(results, rows, "labels", "cpu_seconds", 0)),
        ]
    )


def _by_labels(values: pd.Series) -> pd.DataFrame:
    """Shares of labels as columns, rows in their order."""
    columns = values.index.unique("labels")
    rows = values.index.droplevel("labels").drop_duplicates()
    return values.unstack("labels").reindex(index=rows, columns=columns)


TABLE = Table(
    "few_labels_gaps",
    "Accuracy from few labels with missing values",
    ("HAR",),
    cells,
    report,
)

if __name__ == "__main__":
    main(TABLE)
