"""Pictures: training curves, embeddings in the plane, series coloured by codeword."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks import data
from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.figures import save
from benchmarks.protocols import dataset_of, pretrained, settings
from benchmarks.reports import markdown, summary
from tsmae.plotting import plot_codewords, plot_embedding, plot_history

_N_POINTS = 600  # test series in the plane: more would hide each other
_N_SERIES = 6


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
            "pca": _in_the_plane(transformer, dataset, "pca"),
            "tsne": _in_the_plane(transformer, dataset, "tsne"),
            "codewords": _codewords(transformer, dataset),
        }
        parts.append(f"## {cell.dataset}, {cell.label}")
        for kind, figure in figures.items():
            parts.append(save(figure, options.results / f"pictures_{name}_{kind}.png"))
    return "\n\n".join(parts)


def _in_the_plane(transformer, dataset: data.Dataset, method: str) -> Figure:
    rows = np.random.default_rng(0).permutation(len(dataset.X_test))[:_N_POINTS]
    embeddings = transformer.transform(dataset.X_test[rows])
    return plot_embedding(embeddings, dataset.y_test[rows], method)


def _codewords(transformer, dataset: data.Dataset) -> Figure:
    """The first channel of a test series of each class, or of some."""
    labels = np.unique(dataset.y_test)[:_N_SERIES]
    rows = [int(np.argmax(dataset.y_test == label)) for label in labels]
    return plot_codewords(transformer, dataset.X_test[rows])


TABLE = Table("pictures", "Pictures", data.PAPER, cells, report,
              quick_datasets=("UWaveGestureLibrary",))  # fmt: skip

if __name__ == "__main__":
    main(TABLE)
