"""Accuracy from few labels: pre-training sees all series, classifiers only some labels."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt

from benchmarks import data
from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.figures import save
from benchmarks.protocols import settings
from benchmarks.ragged import PEER_OF_UNEQUAL, RAGGED
from benchmarks.reports import markdown, summary

FRACTIONS = (0.01, 0.05, 0.1, 0.5, 1.0)
METHODS = (
    "FineZero",
    "FineLast",
    "FineLast, LogisticRegression()",
    "FineAll",
    "MiniRocket + ridge",
    "FineZero, with MiniRocket",
    "FineLast, with MiniRocket",
)
_LINES = {
    "self-training": "--",
    "LogisticRegression()": ":",
    "with MiniRocket": "-.",
    "unequal lengths": (0, (5, 1, 1, 1, 1, 1)),
}
SELF_TRAINED = (  # from all labels they would be the methods above
    "FineZero, self-training",
    "FineLast, self-training",
    "MiniRocket, self-training",
)


def cells(options) -> list[Cell]:
    return [
        Cell(dataset, method, seed, {**settings(), "labels": fraction}, f"{fraction:.0%}")
        for dataset in options.datasets
        for method in _methods(dataset)
        for fraction in FRACTIONS
        for seed in options.seeds
        if fraction < 1 or method not in SELF_TRAINED
    ]


def _methods(dataset: str) -> tuple[str, ...]:
    return METHODS + SELF_TRAINED + ((PEER_OF_UNEQUAL,) if dataset in RAGGED else ())


def report(results: pd.DataFrame, options) -> str:
    results = results.rename(columns={"label": "labels"})
    pictures = [
        save(_curve(dataset, part), options.results / f"few_labels_{dataset}.png")
        for dataset, part in results.groupby("dataset", sort=False)
    ]
    return "\n\n".join(
        [
            "Accuracy in % by share of labels. Each seed draws its own labels, stratified and "
            "at least one of each class; every method gets the same draw. FineLast and FineAll "
            "are pre-trained on all training series without labels, at the library's defaults. "
            "FineAll trains all weights also below 400 labels, where the default "
            "trains the head alone. FineZero is the linear probe on the same encoder untrained. "
            "MiniRocket + ridge sees the labelled series alone; with MiniRocket, its features "
            "stand beside the embedding, all standardised, before its ridge. Of series of "
            "unequal length these rows interpolate; `MiniRocket, unequal lengths` is its authors' "
            "extension to them, before the same ridge. The probe's penalty suits the number of "
            "labels; `LogisticRegression()` has scikit-learn's defaults, as in a pipeline that "
            "nobody tuned. Self-training is scikit-learn's "
            "`SelfTrainingClassifier(LogisticRegression())` at its defaults, which sees all "
            "training series, most of them without a label; MiniRocket's features are then those "
            "of all training series, standardised and as long as embeddings.",
            markdown(summary(results, ["dataset", "method"], "labels")),
            "Macro F1 in %:",
            markdown(summary(results, ["dataset", "method"], "labels", "macro_f1")),
            "CPU seconds, pre-training included:",
            markdown(summary(results, ["dataset", "method"], "labels", "cpu_seconds", 0)),
            *pictures,
        ]
    )


def _curve(dataset: str, results: pd.DataFrame) -> plt.Figure:
    """A colour for each encoder or peer, a line style for what is on top of it."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    fractions = [float(label.rstrip("%")) for label in results["labels"]]
    done = results.assign(fraction=fractions)[results["status"] == "ok"]
    colours: dict[str, str] = {}
    for method, part in done.groupby("method", sort=False):
        below, _, on_top = method.partition(", ")
        below = below.removesuffix(" + ridge")
        accuracy = part.groupby("fraction")["accuracy"].agg(["mean", "std"]).fillna(0.0)
        axes.errorbar(
            accuracy.index,
            accuracy["mean"],
            accuracy["std"],
            color=colours.setdefault(below, f"C{len(colours)}"),
            linestyle=_LINES.get(on_top, "-"),
            marker="o",
            capsize=3,
            label=method,
        )
    axes.set(xscale="log", xlabel="labels (%)", ylabel="accuracy (%)", title=dataset)
    ticks = [100 * fraction for fraction in FRACTIONS]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.grid(alpha=0.3)
    if len(done):
        figure.legend(loc="outside right upper")
    return figure


TABLE = Table(
    "few_labels",
    "Accuracy from few labels",
    data.PAPER,
    cells,
    report,
    quick_datasets=("HAR", "UWaveGestureLibrary"),
)

if __name__ == "__main__":
    main(TABLE)
