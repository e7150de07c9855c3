"""Ablations: one thing changed at a time, at the paper's settings and at the defaults."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.protocols import settings
from benchmarks.reports import markdown, means, summary
from tsmae import _auto

_OBJECTIVES = {
    "MCC alone": {"mrr_weight": 0.0, "mcc_weight": 1.0},
    "MRR alone": {"mrr_weight": 1.0, "mcc_weight": 0.0},
    "MRR and MCC, weights 5 and 1": {"mrr_weight": 5.0, "mcc_weight": 1.0},
    "MRR and MCC, layer-normalised targets": {
        "mrr_weight": 5.0, "mcc_weight": 1.0, "mrr_target": "layer_norm",
    },
    "raw + spectral reconstruction alone": {
        "mrr_weight": 0.0, "mcc_weight": 0.0, "reconstruction_weight": 1.0,
        "spectral_weight": 1.0,
    },
    "raw + spectral reconstruction beside": {
        "reconstruction_weight": 0.5, "spectral_weight": 0.5,
    },
}  # fmt: skip
_OBJECTIVES = {name: {"contrast_weight": 0.0, **change} for name, change in _OBJECTIVES.items()} | {
    "instance discrimination alone": {
        "mrr_weight": 0.0, "mcc_weight": 0.0, "contrast_weight": 1.0,
    },
    "instance discrimination and MCC": {
        "mrr_weight": 0.0, "mcc_weight": 1.0, "contrast_weight": 1.0,
    },
}  # fmt: skip
_LEARNED = {"tokenizer": "learned", "n_codebooks": 1}
_POOLING = ["max", "std", "quarters", "autocorrelation", "cross_correlation", "winners"]
# what changes at both presets; each name begins with the group it is shown in
COMMON = {
    **{f"objective: {name}": change for name, change in _OBJECTIVES.items()},
    "masks: per series": {"mask_per": "series"},
    "masks: per batch": {"mask_per": "batch"},
    **{f"mask ratio: {r}": {"mask_ratio": r} for r in (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)},
    **{f"window: {w}": {"window_length": w} for w in (4, 8, 16)},
    **{f"codewords: {k}": {"n_codewords": k} for k in (48, 96, 192, 384, 768)},
    **{f"d_model: {d}": {"d_model": d} for d in (64, 128, 256)},
    "pooling: mean": {"pooling": "mean", "pooling_layers": "last"},
    "pooling: mean‖max‖std": {"pooling": ["mean", "max", "std"], "pooling_layers": "last"},
    "pooling: mean, all layers": {"pooling": "mean", "pooling_layers": "all"},
    "pooling: mean‖max‖std, all layers": {
        "pooling": ["mean", "max", "std"], "pooling_layers": "all",
    },
    "encoder: decoupled": {"decoupled": True},
    "encoder: mask tokens inside": {"decoupled": False},
    "encoder: BERT, random weights": {"encoder": "bert"},
    "scaling: channel": {"scaling": "channel"},
    "scaling: instance": {"scaling": "instance"},
    "scaling: none": {"scaling": None},
    "learning rate: constant": {"lr_schedule": None},
    "learning rate: one cycle": {"lr_schedule": "one_cycle"},
}  # fmt: skip
CHANGES = {
    "paper": {
        **COMMON,
        "codeword gradient: straight-through": {"codeword_gradient": True},
        "codeword gradient: none": {"codeword_gradient": False},
    },
    "defaults": {
        **COMMON,
        "tokenizer: learned, straight-through": {**_LEARNED, "codeword_gradient": True},
        "tokenizer: learned, no gradient": {**_LEARNED, "codeword_gradient": False},
        **{
            f"tokenizer: random projection, {g} codebooks": {
                "tokenizer": "random_projection", "n_codebooks": g,
            }
            for g in (1, 2, 4, 8)
        },
        "stem: linear": {"stem": "linear"},
        "stem: conv": {"stem": "conv"},
        "window statistics: with": {"window_statistics": True},
        "window statistics: without": {"window_statistics": False},
        "feature encoder in pre-training: trained": {"train_stem": True},
        "feature encoder in pre-training: frozen": {"train_stem": False},
        "crops: with": {"augment": True},
        "crops: without": {"augment": False},
        **{f"jitter: {j}": {"jitter": j} for j in (0.0, 0.15, 0.3, 0.5)},
        "pooling: without slopes": {"pooling_slopes": []},
        **{
            f"pooling: without {statistic}": {"pooling": [s for s in _POOLING if s != statistic]}
            for statistic in _POOLING
        },
        "pooling: with mean": {"pooling": ["mean", *_POOLING]},
        "pooling: one resolution": {"pooling_resolutions": [1]},
        "pooling: one window grid": {"pooling_shifts": 1},
        "pooling: one resolution, one window grid": {
            "pooling_resolutions": [1], "pooling_shifts": 1,
        },
        "pooling: four window grids": {"pooling_shifts": 4},
        "block: released": {"block": "timemae"},
        "block: pre-norm": {"block": "pre_norm"},
        **{f"dropout: {p}": {"dropout": p} for p in (0.0, 0.1, 0.2)},
        **{f"learning rate: {lr}": {"lr": lr} for lr in (5e-4, 1e-3)},
    },
}  # fmt: skip
# of TimeMAEClassifier, on the defaults' encoder
FINE_TUNING = {
    "jitter: none": {"jitter": 0.0},
    "logits: mean with the probe's": {"average_probe": True},
    "logits: the network's alone": {"average_probe": False},
    "pooling: mean, quarters": {"pooling": ["mean", "quarters"]},
    "pooling: mean‖max‖std, quarters": {"pooling": ["mean", "max", "std", "quarters"]},
    **{f"epochs: {n}": {"max_epochs": n} for n in (4, 16, 32)},
    "crops: of half of the series": {"augment": True},
    "crops: none": {"augment": False},
    **{f"label smoothing: {s}": {"label_smoothing": s} for s in (0.0, 0.1)},
}
METHODS = {  # the untrained encoder, then the pre-trained one
    "paper": ("FineZero", "FineLast"),
    "defaults": ("FineZero", "FineLast"),
    "fine-tuning": ("FineZero+", "FineAll"),
}
# the pretext of large panels, whatever the size of this one: on small ones masks, codewords and
# tokenizers would change nothing; and a sixteenth of HAR's 1200 series a step
_CODEWORDS = {**_auto.CODEWORDS, "dropout": 0.1, "batch_size": 75}
_BASES: dict[str, dict] = {"paper": {}, "defaults": _CODEWORDS}
BASE = "as it is"
_EPOCHS = 10


def cells(options) -> list[Cell]:
    rows = [
        (preset, name, settings(preset, **{**_BASES[preset], **change}))
        for preset, changes in CHANGES.items()
        for name, change in {BASE: {}, **changes}.items()
    ] + [
        ("fine-tuning", name, {**settings(**_CODEWORDS), "classifier": change})
        for name, change in {BASE: {}, **FINE_TUNING}.items()
    ]
    return [
        Cell(dataset, method, seed, wanted, f"{section}: {name}")
        for dataset in options.datasets
        for section, name, wanted in rows
        for method in METHODS[section]
        for seed in options.seeds
    ]


def report(results: pd.DataFrame, options) -> str:
    parts = [
        f"Accuracy in %: of the linear probe, and under *fine-tuning* of `TimeMAEClassifier`. One "
        f"thing is changed at a time; FineZero and FineZero+ are the untrained encoder with the "
        f"same architecture and the same readout. Pre-training takes {options.epochs} epochs "
        "here, fewer than the presets', so that all rows can be afforded: compare rows with each "
        "other, not with the main table. The defaults predict codewords here, as they do on "
        f"large panels, whatever the size of this one, in batches of {_CODEWORDS['batch_size']}."
    ]
    for dataset, part in results.groupby("dataset", sort=False):
        for section, (untrained, trained) in METHODS.items():
            rows = part[part["label"].str.startswith(f"{section}: ")]
            if not (rows["status"] == "ok").any():
                continue
            rows = rows.assign(changed=rows["label"].str.removeprefix(f"{section}: "))
            table = summary(rows, ["changed"], "method")
            numbers = means(rows, "changed", "method").reindex(columns=[untrained, trained])
            to_base = numbers[trained] - numbers[trained].get(BASE, np.nan)
            table["to the base"] = to_base.map("{:+.2f}".format)
            gain = numbers[trained] - numbers[untrained]
            table[f"to {untrained}"] = gain.map("{:+.2f}".format)
            seconds = summary(rows, ["changed"], "method", "cpu_seconds", 0)
            table["CPU s"] = seconds.reindex(columns=[trained])
            table = table.replace("+nan", "")
            parts += [f"## {dataset}, {section}", markdown(table)]
    return "\n\n".join(parts)


TABLE = Table(
    "ablations",
    "Ablations",
    ("HAR", "UWaveGestureLibrary"),
    cells,
    report,
    quick_datasets=("UWaveGestureLibrary",),
    epochs=_EPOCHS,
)

if __name__ == "__main__":
    main(TABLE)
