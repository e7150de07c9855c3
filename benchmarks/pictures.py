"""Pictures: training curves, embeddings in the plane, series coloured by codeword."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from benchmarks import data
from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.figures import save
from benchmarks.protocols import dataset_of, pretrained, settings
from benchmarks.reports import markdown, summary

_CURVES = {
    "loss": "loss",
    "mrr": "MRR",
    "mcc": "MCC",
    "contrast": "instance discrimination",
    "hit_rate": "hit rate of the codeword",
    "ndcg": "NDCG@10 of the codeword",
    "distinct_codewords": "distinct codewords",
    "perplexity": "perplexity of the codebook",
}
_N_POINTS = 600  # test series in the plane: more would hide each other
_N_SERIES = 6
_TSNE_AT_LEAST = 20


def cells(options) -> list[Cell]:
    return [
        Cell(dataset, "FineLast", options.seeds[0], settings(preset), preset)
        for dataset in options.datasets
        for preset in ("defaults", "paper")
    ]


def report(results: pd.DataFrame, options) -> str:
    parts = [
        "Training curves (loss, its parts, how well codewords are predicted, how many are "
        "used), the embeddings of test series by class, and series with their windows coloured "
        "by codeword. One seed each; accuracy of the linear probe on these embeddings:",
        markdown(summary(results, ["dataset"], "label")),
    ]
    for _, row in results.iterrows():
        if row["status"] != "ok":
            continue
        cell = Cell(*(row[name] for name in Cell._fields))
        dataset = dataset_of(cell)
        transformer, _ = pretrained(cell.settings["transformer"], dataset.X_train, cell.seed)
        name = f"{cell.dataset}_{cell.label}"
        figures = {
            "curves": _curves(transformer.history_),
            "embeddings": _embeddings(transformer, dataset),
            "codewords": _codewords(transformer, dataset),
        }
        parts.append(f"## {cell.dataset}, {cell.label}")
        for kind, figure in figures.items():
            parts.append(save(figure, options.results / f"pictures_{name}_{kind}.png"))
    return "\n\n".join(parts)


def _curves(history: list[dict]) -> plt.Figure:
    history = pd.DataFrame(history)
    figure, axes = plt.subplots(2, 4, figsize=(14, 6))
    for ax, (name, title) in zip(axes.flat, _CURVES.items(), strict=False):
        if name in history:
            ax.plot(history["epoch"], history[name], marker=".")
        ax.set(title=title, xlabel="epoch")
        ax.grid(alpha=0.3)
    figure.tight_layout()
    return figure


def _embeddings(transformer, dataset: data.Dataset) -> plt.Figure:
    rows = np.random.default_rng(0).permutation(len(dataset.X_test))[:_N_POINTS]
    embeddings = transformer.transform(dataset.X_test[rows]).to_numpy()
    planes = {"PCA": PCA(2).fit_transform(embeddings)}
    if len(rows) >= _TSNE_AT_LEAST:
        perplexity = min(30, len(rows) // 4)
        planes["t-SNE"] = TSNE(perplexity=perplexity, random_state=0).fit_transform(embeddings)
    figure, axes = plt.subplots(1, len(planes), figsize=(6 * len(planes), 5), squeeze=False)
    for ax, (title, points) in zip(axes[0], planes.items(), strict=True):
        for label in np.unique(dataset.y_test):
            of_class = points[dataset.y_test[rows] == label]
            ax.scatter(*of_class.T, s=8, label=str(label))
        ax.set(title=title, xticks=[], yticks=[])
    axes[0, -1].legend(fontsize=7, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _codewords(transformer, dataset: data.Dataset) -> plt.Figure:
    """One channel of some test series of different classes; a colour is a codeword."""
    labels = np.unique(dataset.y_test)[:_N_SERIES]
    rows = [int(np.argmax(dataset.y_test == label)) for label in labels]
    X = dataset.X_test[rows]
    codewords = transformer.codewords(X)
    colours = plt.get_cmap("tab20")
    window = transformer.config_.window_length
    figure, axes = plt.subplots(len(rows), 1, figsize=(9, 1.4 * len(rows)), squeeze=False)
    for ax, x, words, label in zip(axes[:, 0], X, codewords, labels, strict=True):
        for i, word in enumerate(words):
            points = np.arange(i * window, min((i + 1) * window + 1, X.shape[2]))
            if word >= 0 and len(points):
                ax.plot(points, x[0, points], color=colours(word % 20), lw=1.8)
        ax.set_ylabel(str(label), fontsize=7)
        ax.set(yticks=[])
    axes[-1, 0].set_xlabel("time point")
    return figure


TABLE = Table("pictures", "Pictures", data.PAPER, cells, report,
              quick_datasets=("UWaveGestureLibrary",))  # fmt: skip

if __name__ == "__main__":
    main(TABLE)
