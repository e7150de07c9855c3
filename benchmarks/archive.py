"""The archive: UCR, UEA and sktime's bundled sets on their official splits."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from scipy.stats import studentized_range

from benchmarks import data
from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.figures import save
from benchmarks.protocols import FLAT, NO_SLOPES, settings
from benchmarks.reports import markdown, means, summary

METHODS = (
    "FineZero", "FineLast", "FineAll", "TimeMAEClassifier", "MiniRocket + ridge",
    "MultiRocket + ridge", "FineZero, with MiniRocket", "FineLast, with MiniRocket", "1-NN DTW",
    "InceptionTime",
)  # fmt: skip
_WHERE_CHEAP = ["1-NN DTW", "InceptionTime"]
# what slopes add, and what the start of univariate panels and their own pre-training do
_VARIANTS = {
    "FineZero, no slopes": NO_SLOPES,
    "FineLast, no slopes": NO_SLOPES,
    "FineLast, no slopes, random start": FLAT,
    "FineLast, no slopes, start alone": {**NO_SLOPES, "max_epochs": 0},
}
_OF_A_START = tuple(label for label in _VARIANTS if "start" in label)
_INCEPTION_EPOCHS = 100
DATASETS = tuple(dict.fromkeys(data.UCR + data.UEA + data.BUNDLED))
_DIGITS = 3  # finer differences of mean accuracies are rounding, as cells have four
_MARGIN = 2.0  # points below FineZero that count as a loss worth naming


def cells(options) -> list[Cell]:
    deterministic = {"1-NN DTW"}
    wanted = [
        Cell(dataset, method, seed, _settings(method))
        for dataset in options.datasets
        for method in METHODS
        for seed in (options.seeds[:1] if method in deterministic else options.seeds)
    ]
    return wanted + [
        Cell(dataset, label.split(", ")[0], seed, settings(**changed), label)
        for dataset in options.datasets
        for label, changed in _VARIANTS.items()
        if dataset in data.UNIVARIATE or label not in _OF_A_START
        for seed in options.seeds
    ]


def _settings(method: str) -> dict:
    if method == "InceptionTime":
        return {"epochs": _INCEPTION_EPOCHS}
    return settings()


def mean_ranks(accuracy: pd.DataFrame) -> pd.Series:
    """Mean rank of each column over the rows, 1 the best; ties share their mean rank."""
    return accuracy.round(_DIGITS).rank(axis=1, ascending=False).mean()


def critical_difference(n_methods: int, n_datasets: int, alpha: float = 0.05) -> float:
    """Difference of mean ranks beyond which two methods differ, by Nemenyi's test [1]_.

    .. [1] J. Demšar. Statistical Comparisons of Classifiers over Multiple Data Sets.
       JMLR 7, 2006.
    """
    quantile = studentized_range.ppf(1 - alpha, n_methods, np.inf) / math.sqrt(2)
    return quantile * math.sqrt(n_methods * (n_methods + 1) / (6 * n_datasets))


def gains(accuracy: pd.DataFrame, method: str, other: str) -> pd.Series:
    """What a method has more than another on the sets that both ran on; equal hits are a tie."""
    return (accuracy[method] - accuracy[other]).dropna().round(_DIGITS)


def against(accuracy: pd.DataFrame, method: str, other: str) -> dict:
    """Wins, ties and losses of a method against another, and its largest loss."""
    gain = gains(accuracy, method, other)
    return {
        "method": method,
        "against": other,
        "sets": len(gain),
        "wins": int((gain > 0).sum()),
        "ties": int((gain == 0).sum()),
        "losses": int((gain < 0).sum()),
        f"more than {_MARGIN:g} points below": int((gain < -_MARGIN).sum()),
        "largest loss": f"{-gain.min():.2f} ({gain.idxmin()})" if (gain < 0).any() else "none",
        "mean gain": f"{gain.mean():+.2f}" if len(gain) else "",
    }


def report(results: pd.DataFrame, options) -> str:
    results = results.assign(
        method=results["label"].where(results["label"] != "", results["method"])
    )
    accuracy = means(results, "dataset", "method")
    ucr = accuracy[accuracy.index.isin(data.UCR)]
    ranked = _run_everywhere(accuracy)
    groups = {"UCR": ucr} if len(ucr) == len(accuracy) else {"UCR": ucr, "all": accuracy}
    duels = [
        {"of": name, **against(part, method, other)}
        for name, part in groups.items()
        for method, other in (
            ("FineLast", "FineZero"),
            ("FineZero", "FineZero, no slopes"),
            ("FineLast", "FineLast, no slopes"),
            *((label, "FineZero, no slopes") for label in list(_VARIANTS)[1:]),
            ("FineAll", "FineLast"),
            ("TimeMAEClassifier", "FineLast"),
            ("FineLast", "MiniRocket + ridge"),
            ("FineAll", "MiniRocket + ridge"),
            ("TimeMAEClassifier", "MiniRocket + ridge"),
            ("FineLast, with MiniRocket", "FineZero, with MiniRocket"),
            ("FineLast, with MiniRocket", "MiniRocket + ridge"),
            ("FineLast, with MiniRocket", "MultiRocket + ridge"),
            ("FineLast", "1-NN DTW"),
            ("FineLast", "InceptionTime"),
        )
        if method in part and other in part and len(part[[method, other]].dropna())
    ]
    parts = [
        "Official splits, accuracy in %. FineZero and FineLast are logistic regression on the "
        "embeddings of an untrained and of a pre-trained encoder; TimeMAEClassifier stands on the "
        "same pre-training and trains the head alone below 400 labels, all weights from there on; "
        "FineAll trains all weights in any case, and is the same from 400 labels on. With "
        "MiniRocket, its features stand beside the embedding, all standardised, before its ridge. "
        "All at the library's defaults, the same for every set. Univariate panels start from a "
        "backbone that learned to tell synthetic series apart, as far as their windows have 8 "
        "points; without "
        "slopes, random weights, pre-trained on the panel alone (random start), and that backbone "
        "as it is (start alone) stand beside. It is one backbone for all seeds, whose scatter does "
        "not show how lucky it is. "
        "The peers take neither gaps nor unequal lengths: such series are interpolated linearly "
        "to the longest length for them, and series shorter than 9 points to "
        "9. 1-NN DTW only where it is cheap, on one seed since it has none. InceptionTime is a "
        "single network, "
        f"trained for {_INCEPTION_EPOCHS} epochs instead of sktime's 1500, only where that takes "
        "some minutes.",
        _averages(groups),
    ]
    if duels:
        parts.append(markdown(pd.DataFrame(duels)))
    if len(ranked) > 1 and ranked.shape[1] > 2:
        parts.append(_ranks(ranked, options))
    return "\n\n".join([*parts, markdown(summary(results, ["dataset"], "method"))])


def _run_everywhere(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Without the methods that run on some sets; the sets that all others finished."""
    accuracy = accuracy.drop(columns=[*_WHERE_CHEAP, *_VARIANTS], errors="ignore")
    return accuracy.dropna(axis=1, how="all").dropna()


def _averages(groups: dict[str, pd.DataFrame]) -> str:
    rows = {}
    for name, part in groups.items():
        part = _run_everywhere(part)
        rows[f"{name}: mean over {len(part)} sets"] = part.mean().map("{:.2f}".format)
    return markdown(pd.DataFrame(rows).T.rename_axis("sets"))


def _ranks(ranked: pd.DataFrame, options) -> str:
    ranks = mean_ranks(ranked).sort_values()
    difference = critical_difference(ranked.shape[1], len(ranked))
    table = ranks.map("{:.2f}".format).rename("mean rank").to_frame().rename_axis("method")
    picture = _diagram(ranks, difference)
    shown = save(picture, options.results / "archive_ranks.png")
    return (
        f"Mean ranks over the {len(ranked)} sets that all methods finished but for "
        f"{' and '.join(_WHERE_CHEAP)}, which did not run on all, and the encoders without slopes "
        "or from another start that stand beside; two "
        f"methods differ (Nemenyi, 5 %) if their mean ranks differ by more than "
        f"{difference:.2f}.\n\n"
        f"{markdown(table)}\n\n{shown}"
    )


def _diagram(ranks: pd.Series, difference: float) -> plt.Figure:
    """Mean ranks with bars that overlap where two methods do not differ."""
    figure, axes = plt.subplots(figsize=(6.5, 1.0 + 0.35 * len(ranks)), layout="constrained")
    axes.hlines(ranks.index, ranks - difference / 2, ranks + difference / 2, lw=5, alpha=0.35)
    axes.plot(ranks, ranks.index, "o")
    axes.invert_yaxis()
    axes.set_xlabel("mean rank; methods differ (Nemenyi, 5 %) if their bars do not overlap")
    axes.margins(y=0.2)
    axes.grid(axis="x", alpha=0.3)
    return figure


TABLE = Table(
    "archive",
    "The archive",
    DATASETS,
    cells,
    report,
    quick_datasets=("ECG200", "Plane", "Trace", "Libras", "GunPoint", "JapaneseVowels"),
)

if __name__ == "__main__":
    main(TABLE)
