"""Unequal lengths and gaps: what the model does with them against the usual fixes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.damage import DAMAGES, REPAIRS
from benchmarks.protocols import PEERS, settings
from benchmarks.reports import markdown, spread, summary

RAGGED = ("JapaneseVowels", "PLAID", "SpokenArabicDigits")
GAPPED = ("HAR",)
_UNEQUAL = "unequal lengths"
_NOTHING = "nothing missing"
PEER = "MiniRocket + ridge"  # which takes no holes
PEER_OF_UNEQUAL = "MiniRocket, unequal lengths"
# what peers take without a fix
_UNREPAIRED = {PEER: _NOTHING, PEER_OF_UNEQUAL: "as they are"}
SHARES = (0.1, 0.3, 0.5)
_GAP_REPAIRS = tuple(how for how in REPAIRS if how != "truncate")
_SETTINGS = {
    # its shortest series has 7 points: two windows
    "JapaneseVowels": {"window_length": 4},
}
_CUTS = (1500, 3000, None)  # series of a panel with gaps, at most


def cells(options) -> list[Cell]:
    wanted = []
    for dataset in options.datasets:
        given = settings(**_SETTINGS.get(dataset, {}))
        variants = (
            _of_unequal_lengths(given)
            if dataset in RAGGED
            else [variant for cut in _CUTS for variant in _with_gaps(given, cut)]
        )
        wanted += [
            Cell(dataset, method, seed, _given(method, chosen), label)
            for seed in options.seeds
            for method in ("FineZero", "FineLast", PEER, PEER_OF_UNEQUAL)
            for label, chosen in variants
            if chosen["repair"] in _handlings(method, label)
        ]
    return wanted


def _given(method: str, chosen: dict) -> dict:
    """A peer's settings are those of the data."""
    if method not in PEERS:
        return chosen
    return {k: v for k, v in chosen.items() if k not in ("transformer", "classifier")}


def _handlings(method: str, label: str) -> tuple[str, ...]:
    """All of ours. Peers get gaps interpolated, as in the other tables, and lengths in every way.

    One of them takes unequal lengths itself.
    """
    if method == PEER_OF_UNEQUAL:
        return ("native",) if label == _UNEQUAL else ()
    if method != PEER:
        return REPAIRS
    if label == _UNEQUAL:
        return REPAIRS[1:]
    return ("native",) if label.endswith(_NOTHING) else ("resample",)


def _of_unequal_lengths(given: dict) -> list[tuple[str, dict]]:
    return [(_UNEQUAL, {**given, "repair": how}) for how in REPAIRS]


def _with_gaps(given: dict, cut: int | None) -> list[tuple[str, dict]]:
    """Labels and settings: nothing missing, then each share of each kind in each handling."""
    series = "all series"
    if cut is not None:
        series, given = f"{cut} series", {**given, "cut": cut}
    variants = [(f"{series}, {_NOTHING}", {**given, "repair": "native"})]
    for kind in DAMAGES:
        for share in SHARES:
            label = f"{series}, {share:.0%} missing, {kind}"
            damaged = {**given, "damage": kind, "missing": share}
            variants += [(label, {**damaged, "repair": how}) for how in _GAP_REPAIRS]
    return variants


def panels(results: pd.DataFrame) -> pd.DataFrame:
    """The results with what they are of: the `panel` and its `handling`."""
    handling = [settings["repair"] for settings in results["settings"]]
    return results.assign(handling=handling, panel=results["dataset"] + ", " + results["label"])


def against_best_fix(results: pd.DataFrame) -> pd.DataFrame:
    """Native handling against the best of the fixes, by test accuracy and so in their favour.

    Parameters
    ----------
    results : DataFrame
        Of one method, from :func:`panels`.

    Returns
    -------
    DataFrame
        A row a panel that was run natively and with a fix: accuracies ``native`` and ``fixed``,
        the ``fix``, and ``gains``, the difference on each seed.
    """
    if "accuracy" not in results:  # nothing was run
        results = results.assign(accuracy=np.nan)
    accuracy = results.pivot_table(
        index=["panel", "seed"], columns="handling", values="accuracy", sort=False
    )
    rows = {}
    for panel, runs in accuracy.groupby("panel", sort=False):
        runs = runs.dropna(axis=1, how="all")
        if "native" not in runs or runs.shape[1] == 1:
            continue
        fix = runs.drop(columns="native").mean().idxmax()
        runs = runs[["native", fix]].dropna()  # the seeds of both
        rows[panel] = {
            "native": runs["native"].mean(),
            "fix": fix,
            "fixed": runs[fix].mean(),
            "gains": (runs["native"] - runs[fix]).tolist(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("panel")


def report(results: pd.DataFrame, options) -> str:
    results = panels(results)
    trained = results[results["method"] == "FineLast"]
    untrained = results[results["method"] == "FineZero"]
    peer = results[results["method"].isin(_UNREPAIRED)]
    unrepaired = peer["method"].map(_UNREPAIRED)
    peer = peer.assign(handling=peer["handling"].where(peer["handling"] != "native", unrepaired))
    parts = [
        "Accuracy in % of the linear probe; everything but the handling of the holes is equal. "
        "`native`: the model itself bridges gaps by lines, is told where, and leaves out windows "
        "and tails without any observation. `truncate`: every series cut "
        "to the shortest training series. `resample`: linear interpolation over the observed "
        "points, onto the length of the longest series. `forward-fill`, `zero-fill`: gaps and "
        "tails hold the last value, or 0. Removed points are gone in all channels, in training "
        "and test series alike. HAR is cut to 1500 series, to 3000, and not at all. "
        "JapaneseVowels has windows of 4 points. All else is as by default.",
        markdown(summary(trained, ["panel"], "handling")),
        "The same encoder untrained (FineZero):",
        markdown(summary(untrained, ["panel"], "handling")),
    ]
    for name, runs in (("", trained), (", untrained", untrained)):
        verdict = against_best_fix(runs)
        if len(verdict):
            parts += [
                f"Native against the best of the fixes{name} (best by test accuracy, in their "
                "favour; the difference is taken on each seed):",
                markdown(_shown(verdict)),
            ]
    parts += [
        f"{PEER}, which takes neither gaps nor unequal lengths, on what the fixes make of them "
        "(gaps are only interpolated). `as they are`: its authors' extension to unequal lengths, "
        "before the same ridge:",
        markdown(summary(peer, ["panel"], "handling")),
    ]
    own = trained[trained["handling"] == "native"]
    against_peer = against_best_fix(pd.concat([own, peer]))
    if len(against_peer):
        parts += [
            f"The linear probe with the model's own handling against {PEER} on the best of these "
            "(likewise):",
            markdown(_shown(against_peer)),
        ]
    parts += [
        "CPU seconds, pre-training included:",
        markdown(summary(trained, ["panel"], "handling", "cpu_seconds", 0)),
    ]
    return "\n\n".join(parts)


def _shown(verdict: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "native": verdict["native"].map("{:.2f}".format),
            "best fix": verdict["fix"] + verdict["fixed"].map(" {:.2f}".format),
            "native - best fix": verdict["gains"].map(spread),
        }
    )


TABLE = Table(
    "ragged",
    "Unequal lengths and missing values",
    RAGGED + GAPPED,
    cells,
    report,
    quick_datasets=("JapaneseVowels", "HAR"),
)

if __name__ == "__main__":
    main(TABLE)
