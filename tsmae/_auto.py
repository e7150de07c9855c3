"""What "auto" stands for: chosen from the panel in `fit` and its labels, by fixed rules."""

from __future__ import annotations

import numpy as np

from tsmae.panel import Panel, median_own_deviation

_WINDOW_LENGTH, _LEAST_WINDOWS = 8, 4
_SMALL_PANEL = 2000  # series; fewer learn from telling each other apart
_SMALLEST_SHAPE = 2  # values of a window beside its means; fewer make one or two codewords
PREDICTING = {"mcc_weight": 1.0, "contrast_weight": 0.0, "dropout": 0.1}
TELLING_APART = {"mcc_weight": 0.0, "contrast_weight": 1.0, "dropout": 0.0}
_VANISHING = 0.01  # of the panel's deviation; windows then show little but noise
_EPOCHS, _MOST_STEPS = 15, 10_000
_LR, _LR_PER_SERIES = 2e-3, 2e-6
_LR_OF_A_START, _LR_OF_A_START_PREDICTING = 5e-4, 2e-4  # larger ones spoil what it has learned
_STEPS_AN_EPOCH = 16
_TRAINING_POINTS = 2**17  # time points of a batch with its gradients: two GB at the defaults
_FEW_LABELS, _MANY_LABELS = 400, 1000
_JITTER = 0.3


def window_length(panel: Panel) -> int:
    """8, and a quarter of the longest series where that is less."""
    return min(max(1, panel.n_points // _LEAST_WINDOWS), _WINDOW_LENGTH)


def objective(panel: Panel, window_length: int) -> dict[str, float]:
    """Weights of the losses, and dropout.

    Series are told apart where there are few, or windows have no shape to predict; a single one
    has none to be told from.
    """
    no_shape = panel.n_channels * (window_length - 1) < _SMALLEST_SHAPE
    few = len(panel) < _SMALL_PANEL
    return TELLING_APART if len(panel) >= 2 and (few or no_shape) else PREDICTING


def scaling(panel: Panel, deviations: np.ndarray) -> str:
    """By the panel, or by series where a few large ones would hide the shapes of the others.

    `deviations` (C,) are those of the panel's channels.
    """
    own = median_own_deviation(panel)
    vanishing = (own > 0) & (own < _VANISHING * deviations)
    return "instance" if vanishing.mean() > 0.5 else "channel"


def n_epochs(n_steps: int) -> int:
    """Epochs of pre-training, of so many steps each."""
    return min(_EPOCHS, max(1, round(_MOST_STEPS / n_steps)))


def learning_rate(n_series: int, init: str, predicts: bool) -> float:
    """Of pre-training: in proportion to the series, so that few do not spoil the encoder."""
    largest = _LR
    if init == "synthetic":
        largest = _LR_OF_A_START_PREDICTING if predicts else _LR_OF_A_START
    return min(largest, _LR_PER_SERIES * n_series)


def batch_size(panel: Panel, smallest: int, largest: int) -> int:
    """16 steps an epoch, as far as `smallest` and `largest` and memory allow."""
    return min(max(len(panel) // _STEPS_AN_EPOCH, smallest), largest, largest_batch(panel))


def largest_batch(panel: Panel) -> int:
    """Series that are trained on at once, at most: long ones take much memory."""
    return max(2, _TRAINING_POINTS // panel.n_points)


def fine_tuned(n_labelled: int) -> str:
    """What labels train: the head alone where they are few, or all."""
    return "head" if n_labelled < _FEW_LABELS else "all"


def jitter(n_labelled: int, n_channels: int) -> float:
    """Of fine-tuning; a single channel's size and level may be the class."""
    return _JITTER if n_labelled >= _MANY_LABELS and n_channels > 1 else 0.0
