"""Accuracy against CPU seconds: how soon the linear probe is how good."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt

from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.figures import save
from benchmarks.protocols import settings
from benchmarks.reports import markdown, summary

PUBLISHED_PROBE = 91.31  # of TimeMAE on HAR, Cheng et al., arXiv 2303.00320
EPOCHS = {"defaults": (1, 2, 3, 5, 8, 12), "paper": (10, 20, 40)}
# the authors' code on HAR, d = 64: epochs and accuracy of the probe; 998 CPU seconds for 100
_AUTHORS = {10: 68.3, 20: 73.8, 40: 82.4, 60: 86.5, 100: 89.4}
_AUTHORS_SECONDS = 9.98  # an epoch, on one thread


def cells(options) -> list[Cell]:
    wanted = []
    for dataset in options.datasets:
        for seed in options.seeds:
            for preset, budgets in EPOCHS.items():
                wanted.append(Cell(dataset, "FineZero", seed, settings(preset), f"{preset}, 0"))
                for n in budgets:
                    chosen = settings(preset, max_epochs=n)
                    wanted.append(Cell(dataset, "FineLast", seed, chosen, f"{preset}, {n}"))
                wanted.append(Cell(dataset, "FineLast", seed, settings(preset), f"{preset}, all"))
            wanted.append(Cell(dataset, "MiniRocket + ridge", seed, {}, "MiniRocket"))
    return wanted


def seconds_to(results: pd.DataFrame, accuracy: float, preset: str) -> float | None:
    """CPU seconds of the shortest `fit` whose mean probe accuracy passes `accuracy`."""
    done = results[(results["status"] == "ok") & (results["method"] == "FineLast")]
    done = done[done["label"].str.startswith(f"{preset}, ")]
    if not len(done):
        return None
    runs = done.groupby("label")[["accuracy", "pretrain_cpu_seconds"]].mean()
    passed = runs.loc[runs["accuracy"] >= accuracy, "pretrain_cpu_seconds"]
    return float(passed.min()) if len(passed) else None


def report(results: pd.DataFrame, options) -> str:
    parts = [
        "Each point is a `fit` of its own, with the learning-rate schedule that belongs to its "
        "number of epochs; CPU seconds are those of `fit`, one process. FineZero (0 epochs) "
        "is the untrained encoder with the same readout."
    ]
    for dataset, part in results.groupby("dataset", sort=False):
        table = summary(part, ["label"], "dataset").rename(columns={dataset: "accuracy"})
        for name, digits in (("pretrain_cpu_seconds", 1), ("cpu_seconds", 1)):
            table[name] = summary(part, ["label"], "dataset", name, digits)[dataset]
        table.columns = ["accuracy", "CPU s of fit", "CPU s in all"]
        parts += [f"## {dataset}", markdown(table.rename_axis("preset, epochs"))]
        if dataset == "HAR":
            for preset in EPOCHS:
                if not part["label"].str.startswith(f"{preset}, ").any():
                    continue
                reached = seconds_to(part, PUBLISHED_PROBE, preset)
                text = "not reached" if reached is None else f"{reached:.0f} CPU seconds"
                parts.append(f"`fit` until the probe passes {PUBLISHED_PROBE} %, {preset}: {text}.")
        path = options.results / f"accuracy_per_second_{dataset}.png"
        parts.append(save(_figure(dataset, part), path))
    return "\n\n".join(parts)


def _figure(dataset: str, results: pd.DataFrame) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(6.5, 4.5))
    done = results[results["status"] == "ok"]
    for preset in EPOCHS:
        part = done[done["label"].str.startswith(f"{preset}, ")]
        if not len(part):
            continue
        runs = part.groupby("label")[["cpu_seconds", "accuracy"]].mean().sort_values("cpu_seconds")
        axes.plot(runs["cpu_seconds"], runs["accuracy"], marker="o", label=f"tsmae, {preset}")
    rocket = done[done["method"] == "MiniRocket + ridge"]
    if len(rocket):
        axes.plot(rocket["cpu_seconds"].mean(), rocket["accuracy"].mean(), "k*", ms=12,
                  label="MiniRocket + ridge")  # fmt: skip
    if dataset == "HAR":
        seconds = [_AUTHORS_SECONDS * n for n in _AUTHORS]
        axes.plot(seconds, list(_AUTHORS.values()), "s--", label="the authors' code (quoted)")
        axes.axhline(PUBLISHED_PROBE, color="grey", lw=0.8, label="published")
    axes.set(xscale="log", xlabel="CPU seconds, probe included", ylabel="accuracy (%)",
             title=dataset)  # fmt: skip
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    return figure


TABLE = Table("accuracy_per_second", "Accuracy against CPU seconds", ("HAR",), cells, report)

if __name__ == "__main__":
    main(TABLE)
