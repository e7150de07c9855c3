"""The stored weights, and which architectures they fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tsmae.nn.backbone import Backbone

FILE = Path(__file__).with_name("backbone.safetensors")
# positions stay random: their number is that of the panel's windows
_PARTS = ("feature_encoder", "encoder")
ARCHITECTURE: dict[str, Any] = {
    "n_channels": 1,
    "window_length": 8,
    "d_model": 128,
    "n_heads": 4,
    "n_layers": 4,
    "block": "pre_norm",
    "stem": "conv",
    "window_statistics": True,
}


def misfit(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """What differs in an architecture from that of the stored weights; empty if they fit."""
    return {k: architecture[k] for k, value in ARCHITECTURE.items() if architecture[k] != value}


def start_from_synthetic(backbone: Backbone, file: Path = FILE) -> None:
    """Give the feature encoder and the visible encoder the stored weights."""
    weights = {name: weight.float() for name, weight in load_file(file).items()}
    for part in _PARTS:
        prefix = f"{part}."
        own = {k.removeprefix(prefix): w for k, w in weights.items() if k.startswith(prefix)}
        getattr(backbone, part).load_state_dict(own)


def store(backbone: Backbone, file: Path = FILE) -> None:
    """Write the weights in half precision."""
    weights = {
        f"{part}.{name}": weight.to(torch.float16).contiguous()
        for part in _PARTS
        for name, weight in getattr(backbone, part).state_dict().items()
    }
    save_file(weights, file)
