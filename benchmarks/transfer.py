"""Transfer: an encoder pre-trained on HAR, fine-tuned on panels of other shapes."""

from __future__ import annotations

import pandas as pd

from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.protocols import RANDOM_START, settings
from benchmarks.reports import markdown, summary

SOURCE = "HAR"
FRACTIONS = (0.1, 1.0)
DATASETS = (
    "Epilepsy", "UWaveGestureLibrary", "Handwriting", "Libras", "BasicMotions", "CricketX",
    "FaceAll", "SwedishLeaf", "ECG200",
)  # fmt: skip


def cells(options) -> list[Cell]:
    wanted = []
    for dataset in options.datasets:
        for fraction in FRACTIONS:
            for seed in options.seeds:
                common = {**settings(**RANDOM_START), "labels": fraction}
                label = f"{fraction:.0%} of labels"
                for source in (None, SOURCE, dataset):
                    cell = Cell(dataset, "Transfer", seed, {**common, "source": source}, label)
                    wanted.append(cell)
                wanted.append(Cell(dataset, "MiniRocket + ridge", seed, common, label))
    return wanted


def report(results: pd.DataFrame, options) -> str:
    results = results.assign(encoder=[_encoder(row) for _, row in results.iterrows()])
    return "\n\n".join(
        [
            f"Accuracy in % of TimeMAEClassifier, all weights fine-tuned. The blocks come from "
            f"{SOURCE}, from the panel itself (pre-trained on it), or are random (from scratch). "
            "In all three the embedding of windows and the positions are new, since channels "
            "and lengths differ, and everything else is equal. Pre-training is as by default: on "
            "fewer than 1000 series it tells crops of one from those of others (contrastive), and "
            "masks nothing."
            + (f" Of {SOURCE}, too, at most {options.cut} series are used." if options.cut else ""),
            markdown(summary(results, ["dataset", "label"], "encoder")),
            "CPU seconds, pre-training included:",
            markdown(summary(results, ["dataset", "label"], "encoder", "cpu_seconds", 0)),
        ]
    )


def _encoder(row: pd.Series) -> str:
    if row["method"] != "Transfer":
        return row["method"]
    source = row["settings"]["source"]
    if source is None:
        return "from scratch"
    return f"from {SOURCE}" if source == SOURCE else "from the panel itself"


TABLE = Table(
    "transfer",
    "Transfer to panels of other shapes",
    DATASETS,
    cells,
    report,
    quick_datasets=("UWaveGestureLibrary", "ECG200"),
)

if __name__ == "__main__":
    main(TABLE)
