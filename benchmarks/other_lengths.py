"""Other lengths at predict time: accuracy on series shorter and longer than in `fit`."""

from __future__ import annotations

import pandas as pd

from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.protocols import Clock, dataset_of, encoder, linear_probe, settings
from benchmarks.reports import markdown, spread

_SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)  # of the data set's length, in fit and in predict
_FITTED = (1 / 4, 1 / 2, 1.0)  # up to four times as long in predict as in fit


def cells(options) -> list[Cell]:
    return [
        Cell(dataset, method, seed, {**settings(), "fitted": share}, f"{share:.0%} in fit")
        for dataset in options.datasets
        for share in _FITTED
        for method in ("FineZero", "FineLast")
        for seed in options.seeds
    ]


def measure(cell: Cell) -> dict:
    """Accuracy of one encoder and probe on test series cut to each length."""
    dataset = dataset_of(cell)
    n_points = dataset.X_train.shape[2]
    X, y = dataset.X_train[:, :, : round(cell.settings["fitted"] * n_points)], dataset.y_train
    transformer, cost = encoder(cell, X)
    by_length = {}
    with Clock() as clock:
        embeddings = transformer.transform(X)
        probe = linear_probe().fit(embeddings, y)
        for share in _SHARES:
            part = dataset.X_test[:, :, : round(share * n_points)]
            accuracy = probe.score(transformer.transform(part), dataset.y_test)
            by_length[f"{share:.3g}"] = 100 * accuracy
    seconds = cost["pretrain_cpu_seconds"] + clock.cpu
    return {**cost, "by_length": by_length, "cpu_seconds": seconds}


def report(results: pd.DataFrame, options) -> str:
    done = results[results["status"] == "ok"]
    rows = [
        {
            "dataset": dataset,
            "length in fit": label.removesuffix(" in fit"),
            "method": method,
            **{
                f"{share:.1%} of the length": spread([r[f"{share:.3g}"] for r in part["by_length"]])
                for share in _SHARES
            },
        }
        for (dataset, label, method), part in done.groupby(
            ["dataset", "label", "method"], sort=False
        )
    ]
    return "\n\n".join(
        [
            "Accuracy in % of a linear probe that was fitted on series of one length, on series "
            "cut to another; the encoder was pre-trained on series of the length in "
            "fit, or not at all (FineZero), at the library's defaults. Longer series stretch the "
            "learned positions over their length.",
            markdown(pd.DataFrame(rows)),
        ]
    )


TABLE = Table(
    "other_lengths", "Other lengths at predict time", ("HAR",), cells, report, measure=measure
)

if __name__ == "__main__":
    main(TABLE)
