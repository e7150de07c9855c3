"""Pictures: matplotlib without a display, files replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure


def save(figure: Figure, path: Path) -> str:
    """Write a picture; returns the Markdown that shows it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, dpi=110, bbox_inches="tight")
    plt.close(figure)
    os.replace(partial, path)
    return f"![{path.stem}]({path.name})"
