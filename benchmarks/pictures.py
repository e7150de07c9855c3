"""Pictures: training curves, embeddings in the plane, series coloured by codeword."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from benchmarks import data
from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.figures import save
from benchmarks.protocols import dataset_of, pretrained, settings
from benchmarks.reports import markdown, summary
from tsmae.plotting import plot_codewords, plot_history

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
        "by codeword. One seed each; accuracy of the linear probe with these settings and seed "
        "(for a picture an encoder is trained again if the code has changed since):",
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
            "curves": plot_history(transformer.history_),
            "embeddings": _embeddings(transformer, dataset),
            "codewords": _codewords(transformer, dataset),
        }
        parts.append(f"## {cell.dataset}, {cell.label}")
        for kind, figure in figures.items():
            parts.append(save(figure, options.results / f"pictures_{name}_{kind}.png"))
    return "\n\n".join(parts)


def _embeddings(transformer, dataset: data.Dataset) -> Figure:
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


def _codewords(transformer, dataset: data.Dataset) -> Figure:
    """The first channel of a test series of each class, or of some."""
    labels = np.unique(dataset.y_test)[:_N_SERIES]
    rows = [int(np.argmax(dataset.y_test == label)) for label in labels]
    return plot_codewords(transformer, dataset.X_test[rows])


TABLE = Table("pictures", "Pictures", data.PAPER, cells, report,
              quick_datasets=("UWaveGestureLibrary",))  # fmt: skip

if __name__ == "__main__":
    main(TABLE)
