"""Accuracy from few labels where points are missing, beside MiniRocket on filled gaps."""

from __future__ import annotations

import pandas as pd

from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.protocols import PEERS, settings
from benchmarks.ragged import PEER
from benchmarks.reports import markdown, spread, summary

FRACTIONS = (0.01, 0.05, 0.1, 1.0)
HANDLINGS = (  # of gaps, by each method
    ("FineZero", "native"),
    ("FineLast", "native"),
    ("FineLast", "resample"),
    (PEER, "resample"),
    ("FineZero, with MiniRocket", "native"),
    ("FineLast, with MiniRocket", "native"),
)
_SERIES = 1500  # as in the first of the cuts in `ragged`
_NOTHING = "nothing"
_MISSING: dict[str, dict] = {
    _NOTHING: {},
    "30 %, random": {"damage": "random", "missing": 0.3},
    "30 %, blocks": {"damage": "blocks", "missing": 0.3},
    "50 %, blocks": {"damage": "blocks", "missing": 0.5},
}


def cells(options) -> list[Cell]:
    wanted = []
    for dataset in options.datasets:
        for missing, damaged in _MISSING.items():
            complete = [(method, "native") for method in dict(HANDLINGS)]
            handlings = HANDLINGS if damaged else complete
            wanted += [
                Cell(
                    dataset,
                    method,
                    seed,
                    {**_given(method), **damaged, "repair": repair, "labels": fraction},
                    f"{missing}, {fraction:.0%}",
                )
                for method, repair in handlings
                for fraction in FRACTIONS
                for seed in options.seeds
            ]
    return wanted


def _given(method: str) -> dict:
    return {**({} if method in PEERS else settings()), "cut": _SERIES}


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
    repair = results["settings"].str.get("repair")
    results["handling"] = repair.where(results["missing"] != _NOTHING, "")
    rows = ["dataset", "missing", "method", "handling"]
    against_peer = gains(results).groupby([*rows, "labels"], sort=False)["gain"].agg(spread)
    return "\n\n".join(
        [
            "Accuracy in % by share of labels, with points missing in training and test series "
            f"alike. Panels are cut to about {_SERIES} training and test series. FineLast is "
            "pre-trained on all training series without labels, at the library's defaults, and "
            "FineZero is the linear probe on the same encoder untrained. `native`: the model "
            "handles gaps itself; `resample`: they are interpolated linearly beforehand. "
            "MiniRocket always gets them interpolated, and sees the labelled series alone. Each "
            "seed draws its own labels, stratified and at least one of each class, and its own "
            "gaps; every method gets the same.",
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
