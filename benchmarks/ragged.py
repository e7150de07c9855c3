"""Unequal lengths and gaps: what the model does with them against the usual fixes."""

from __future__ import annotations

import pandas as pd

from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.damage import DAMAGES
from benchmarks.protocols import settings
from benchmarks.reports import markdown, means, summary

RAGGED = ("JapaneseVowels", "PLAID", "SpokenArabicDigits")
GAPPED = ("HAR",)
SHARES = (0.1, 0.3, 0.5)
_LENGTH_REPAIRS = ("native", "truncate", "resample", "forward-fill", "zero-fill")
_GAP_REPAIRS = ("native", "resample", "forward-fill", "zero-fill")
# its shortest series has 7 points: two windows for every way of handling it
_SETTINGS = {"JapaneseVowels": {"window_length": 4}}
_EPOCHS = 10
_CUT = 1500  # series; all of HAR's would take hours


def cells(options) -> list[Cell]:
    wanted = []
    for dataset in options.datasets:
        common = settings(**_SETTINGS.get(dataset, {}))
        for seed in options.seeds:
            for method in ("FineZero", "FineLast"):
                if dataset in RAGGED:
                    for how in _LENGTH_REPAIRS:
                        chosen = {**common, "repair": how}
                        wanted.append(Cell(dataset, method, seed, chosen, "unequal lengths"))
                    continue
                chosen = {**common, "repair": "native"}
                wanted.append(Cell(dataset, method, seed, chosen, "nothing missing"))
                for kind in DAMAGES:
                    for share in SHARES:
                        label = f"{share:.0%} missing, {kind}"
                        for how in _GAP_REPAIRS:
                            chosen = {**common, "damage": kind, "missing": share, "repair": how}
                            wanted.append(Cell(dataset, method, seed, chosen, label))
    return wanted


def report(results: pd.DataFrame, options) -> str:
    results = results.assign(handling=[s["repair"] for s in results["settings"]])
    results["panel"] = results["dataset"] + ", " + results["label"]
    trained = results[results["method"] == "FineLast"]
    untrained = results[results["method"] == "FineZero"]
    parts = [
        "Accuracy in % of the linear probe; everything but the handling of the holes is equal. "
        "`native`: the model itself bridges gaps by lines, is told where, and leaves out windows "
        "and tails without any observation. `truncate`: every series cut "
        "to the shortest training series. `resample`: linear interpolation over the observed "
        "points, onto the length of the longest series. `forward-fill`, `zero-fill`: gaps and "
        "tails hold the last value, or 0. Removed points are gone in all channels, in training "
        f"and test series alike. Pre-training takes {options.epochs} epochs here, on at most "
        f"{options.cut} series; JapaneseVowels has windows of 4 points, all else the defaults.",
        markdown(summary(trained, ["panel"], "handling")),
        "The same encoder untrained (FineZero):",
        markdown(summary(untrained, ["panel"], "handling")),
    ]
    numbers = means(trained, "panel", "handling").reindex(columns=_LENGTH_REPAIRS)
    numbers = numbers.dropna(subset="native")
    fixes = numbers.drop(columns="native").dropna(how="all")
    if len(fixes):
        numbers = numbers.loc[fixes.index]
        verdict = pd.DataFrame(
            {
                "native": numbers["native"].map("{:.2f}".format),
                "best fix": fixes.idxmax(axis=1) + fixes.max(axis=1).map(" {:.2f}".format),
                "native - best fix": (numbers["native"] - fixes.max(axis=1)).map("{:+.2f}".format),
            }
        )
        parts += ["Native against the best of the fixes (best by test accuracy, in their favour):",
                  markdown(verdict)]  # fmt: skip
    parts += [
        "CPU seconds, pre-training included:",
        markdown(summary(trained, ["panel"], "handling", "cpu_seconds", 0)),
    ]
    return "\n\n".join(parts)


TABLE = Table(
    "ragged",
    "Unequal lengths and missing values",
    RAGGED + GAPPED,
    cells,
    report,
    quick_datasets=("JapaneseVowels", "HAR"),
    epochs=_EPOCHS,
    cut=_CUT,
)

if __name__ == "__main__":
    main(TABLE)
