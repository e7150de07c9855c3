"""What "auto" stands for: chosen from the panel in `fit` and its labels, by fixed rules."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsmae.panel import Panel, median_own_deviation

_WINDOW_LENGTH, _LEAST_WINDOWS = 8, 4
_SMALL_PANEL = {"random": 1000, "synthetic": 2000}  # series; fewer are contrasted, by the start
_SMALLEST_SHAPE = 2  # values of a window beside its means; fewer make one or two codewords
CODEWORDS = {"mcc_weight": 1.0, "contrast_weight": 0.0}
CONTRASTIVE = {"mcc_weight": 0.0, "contrast_weight": 1.0}
_DROPOUT = 0.1
_VANISHING = 0.01  # of the panel's deviation; windows then show little but noise
_EPOCHS, _MOST_EPOCHS, _MOST_STEPS = 15, 60, 10_000
_LR_PER_SERIES = 2e-6
_STEPS_AN_EPOCH, _LARGEST_BATCH = 16, 128
_TRAINING_POINTS = 2**17  # time points of a batch with its gradients: two GB at the defaults
_TRAINING_CHANNELS = 128  # from as many on, channels take much as well
_FEW_LABELS, _MANY_LABELS = 400, 1000
_JITTER = 0.3


def window_length(panel: Panel) -> int:
    """8, and a quarter of the longest series where that is less."""
    return min(max(1, panel.n_points // _LEAST_WINDOWS), _WINDOW_LENGTH)


def objective(panel: Panel, window_length: int, init: str) -> dict[str, float]:
    """Weights of the losses.

    Contrastive where series are few, or windows have no shape to predict; a single series has none
    to be contrasted with.
    """
    no_shape = panel.n_channels * (window_length - 1) < _SMALLEST_SHAPE
    few = len(panel) < _SMALL_PANEL[init]
    return CONTRASTIVE if len(panel) >= 2 and (few or no_shape) else CODEWORDS


def dropout(predicts: bool) -> float:
    """None where series are only told apart: their random crops differ enough."""
    return _DROPOUT if predicts else 0.0


def scaling(panel: Panel, deviations: np.ndarray) -> str:
    """By the panel, or by series where a few large ones would hide the shapes of the others.

    `deviations` (C,) are those of the panel's channels.
    """
    own = median_own_deviation(panel)
    varying = (own > 0) & np.isfinite(deviations)
    vanishing = own[varying] < _VANISHING * deviations[varying]
    return "instance" if 2 * vanishing.sum() > len(vanishing) else "channel"


class Course(NamedTuple):
    """How weights are pre-trained: the largest learning rate, and the least steps."""

    lr: float
    steps: int = 0  # in all
    steps_an_epoch: int = _STEPS_AN_EPOCH


COURSES = {  # by what the weights start from, and whether windows are predicted
    ("random", True): Course(2e-3, 1440, 48),  # a few hundred can leave them worse than they were
    ("random", False): Course(2e-3),
    ("synthetic", True): Course(2e-4),  # larger rates spoil what the start has learned
    ("synthetic", False): Course(5e-4),
}


def learning_rate(n_series: int, course: Course) -> float:
    """In proportion to the series, so that few do not spoil the encoder."""
    return min(course.lr, _LR_PER_SERIES * n_series)


def batch_size(panel: Panel, course: Course) -> int:
    """Of pre-training."""
    return _batch_size(panel, course.steps_an_epoch, 32, _LARGEST_BATCH)


def fine_tuning_batch_size(panel: Panel) -> int:
    return _batch_size(panel, _STEPS_AN_EPOCH, 16, 64)


def metrics_batch_size(panel: Panel) -> int:
    """Where losses are only measured."""
    return min(_LARGEST_BATCH, _fitting_in_memory(panel))


def _batch_size(panel: Panel, steps_an_epoch: int, smallest: int, largest: int) -> int:
    """So many steps an epoch, as far as `smallest` and `largest` and memory allow."""
    return min(max(len(panel) // steps_an_epoch, smallest), largest, _fitting_in_memory(panel))


def _fitting_in_memory(panel: Panel) -> int:
    """Series that are trained on at once, at most: long ones take much."""
    n_points = panel.n_points * (1 + panel.n_channels // _TRAINING_CHANNELS)
    return max(2, _TRAINING_POINTS // n_points)


def n_epochs(steps_an_epoch: int, course: Course) -> int:
    wanted = max(_EPOCHS, min(round(course.steps / steps_an_epoch), _MOST_EPOCHS))
    return min(wanted, max(1, round(_MOST_STEPS / steps_an_epoch)))


def fine_tuned(n_labelled: int) -> str:
    """What labels train: the head alone where they are few, or all."""
    return "head" if n_labelled < _FEW_LABELS else "all"


def jitter(n_labelled: int, n_channels: int) -> float:
    """Of fine-tuning; a single channel's size and level may be the class."""
    return _JITTER if n_labelled >= _MANY_LABELS and n_channels > 1 else 0.0
