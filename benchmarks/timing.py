"""Time and memory: beside each accuracy, and how they grow with n, T, C and d."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.frozen import FrozenEstimator

from benchmarks import main_table
from benchmarks.cells import Cell, peak_memory_mb
from benchmarks.cli import Table, main, stored
from benchmarks.figures import save
from benchmarks.protocols import Clock, build, settings
from benchmarks.reports import markdown, provenance, summary
from tsmae import TimeMAEClassifier

_BASE = {"n": 256, "T": 128, "C": 3, "d": 64}
_RANGES = {
    "full": {
        "n": (256, 512, 1024, 2048, 4096),
        "T": (64, 128, 256, 512, 1024, 2048),
        "C": (1, 3, 9, 27, 81),
        "d": (32, 64, 128, 256, 512),
    },
    "quick": {"n": (64, 256), "T": (64, 256), "C": (3, 27), "d": (32, 128)},
}
_MEASURES = {
    "epoch_cpu_seconds": "an epoch of pre-training",
    "fine_tune_cpu_seconds": "an epoch of fine-tuning",
    "transform_cpu_seconds": "transform",
    "memory_mb": "memory beyond the libraries",
}
_FITTED = 3  # largest sizes that the exponent is fitted to


def cells(options) -> list[Cell]:
    return [
        Cell(
            "synthetic",
            "growth",
            seed,
            {**settings(d_model=size["d"]), "size": size, "threads": options.threads},
            name,
        )
        for name, values in _RANGES[options.budget].items()
        for size in ({**_BASE, name: value} for value in values)
        for seed in options.seeds
    ]


def measure(cell: Cell) -> dict:
    """Cost of one epoch of each kind and of `transform`, on random series."""
    libraries = peak_memory_mb()
    size = cell.settings["size"]
    rng = np.random.default_rng(cell.seed)
    X = rng.standard_normal((size["n"], size["C"], size["T"]), dtype=np.float32)
    y = np.arange(len(X)) % 4
    one = {**cell.settings["transformer"], "max_epochs": 1}
    build({**one, "d_model": 8}, 0).fit(X[:8])  # first calls are slower
    with Clock() as encoder:
        build({**one, "max_epochs": 0}, cell.seed).fit(X)
    transformer = build(one, cell.seed)
    with Clock() as pretraining:
        transformer.fit(X)
    with Clock() as embedding:
        transformer.transform(X)
    classifier = TimeMAEClassifier(
        FrozenEstimator(transformer), fine_tune="all", random_state=cell.seed
    )
    with Clock() as heads:
        classifier.set_params(max_epochs=0).fit(X, y)
    with Clock() as fine_tuning:
        classifier.set_params(max_epochs=1).fit(X, y)
    return {
        "epoch_cpu_seconds": _difference(pretraining, encoder),
        "fine_tune_cpu_seconds": _difference(fine_tuning, heads),
        "transform_cpu_seconds": round(embedding.cpu, 4),
        "memory_mb": round(peak_memory_mb() - libraries, 1),
    }


def _difference(longer: Clock, shorter: Clock) -> float:
    return round(max(longer.cpu - shorter.cpu, 1e-4), 4)


def exponent(sizes: np.ndarray, values: np.ndarray) -> float:
    """Slope of log(value) over log(size) at the largest sizes."""
    order = np.argsort(sizes)[-_FITTED:]
    return float(np.polyfit(np.log(sizes[order]), np.log(values[order]), 1)[0])


def report(results: pd.DataFrame, options) -> str:
    parts = ["## Beside each accuracy", _beside_accuracy(options), "## Growth"]
    parts.append(
        "CPU seconds and memory on random series, one size changed at a time from n = "
        f"{_BASE['n']} series of T = {_BASE['T']} points in C = {_BASE['C']} channels at "
        f"d_model = {_BASE['d']}. Exponents are fitted to the {_FITTED} largest sizes. From 1000 "
        "series on, pre-training predicts codewords instead of telling series apart, in less time: "
        "its exponent in n mixes the two. An epoch is what a fit of one takes beyond a fit of "
        "none, which embeds the series to standardise and, in fine-tuning, to fit the heads: "
        "where it is short beside that, it scatters."
    )
    done = results[results["status"] == "ok"]
    if len(done):
        done = done.assign(
            size=[row["settings"]["size"][row["label"]] for _, row in done.iterrows()]
        )
        sizes = done.groupby(["label", "size"], sort=False)[list(_MEASURES)].mean()
        table = sizes.map("{:.3g}".format).rename(columns=_MEASURES)
        exponents = pd.DataFrame(
            {
                _MEASURES[m]: {
                    name: f"{exponent(*_points(sizes, name, m)):.2f}"
                    for name in sizes.index.unique("label")
                }
                for m in _MEASURES
            }
        ).rename_axis("exponent in")
        parts += [markdown(exponents), save(_figure(sizes), options.results / "timing.png")]
        parts.append(markdown(table))
    return "\n\n".join(parts)


def _beside_accuracy(options) -> str:
    known = stored(main_table.TABLE, options)
    known = known[known["method"].isin(["FineLast", "FineAll", "MiniRocket + ridge"])]
    rows = ["dataset", "label", "method"]
    measures = {
        "accuracy": 2, "pretrain_cpu_seconds": 0, "fit_cpu_seconds": 1,
        "predict_cpu_seconds": 2, "peak_memory_mb": 0,
    }  # fmt: skip
    known = known.assign(all="")
    columns = [summary(known, rows, "all", name, digits) for name, digits in measures.items()]
    source = provenance(known, "python -m benchmarks.main_table")
    table = pd.concat(columns, axis=1)
    table.columns = [name.replace("_", " ") for name in measures]
    return (
        "From the cells of the main table. `fit` is fine-tuning for FineAll, embedding the "
        "training series and the logistic regression for FineLast; `predict` is on the test "
        f"series.\n\n{markdown(table)}\n\n{source}"
    )


def _points(sizes: pd.DataFrame, name: str, measured: str) -> tuple[np.ndarray, np.ndarray]:
    values = sizes.loc[name, measured].sort_index()
    return values.index.to_numpy(float), values.to_numpy(float).clip(1e-3)


def _figure(sizes: pd.DataFrame) -> plt.Figure:
    figure, axes = plt.subplots(2, 2, figsize=(10, 8))
    for ax, name in zip(axes.flat, sizes.index.unique("label"), strict=False):
        for measured, title in _MEASURES.items():
            x, y = _points(sizes, name, measured)
            ax.loglog(x, y, marker="o", label=f"{title}: {name}^{exponent(x, y):.2f}")
        ax.set(xlabel=name, ylabel="CPU seconds, or MB")
        ax.set_xticks(x, [f"{size:g}" for size in x])
        ax.minorticks_off()
        ax.grid(alpha=0.3, which="both")
        ax.legend(fontsize=8)
    return figure


TABLE = Table("timing", "Time and memory", ("synthetic",), cells, report, measure=measure)

if __name__ == "__main__":
    main(TABLE)
