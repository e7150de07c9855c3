"""What the constructor parameters may be; checked in `fit`, before any work."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from skorch.callbacks import BatchScoring, Callback, EpochScoring

from tsmae.nn import LAYERS, STATISTICS
from tsmae.training.device import uses_bfloat16
from tsmae.training.nets import SCHEDULES


def _integer(low: int) -> list:
    return [Interval(Integral, low, None, closed="left")]


def _real(low: float, high: float | None = None, closed: str = "left") -> list:
    return [Interval(Real, low, high, closed=closed)]


TRAINING = {
    "max_epochs": _integer(0),
    "batch_size": [*_integer(1), StrOptions({"auto"})],
    "lr": _real(0, None, "neither"),
    "weight_decay": _real(0),
    "label_smoothing": _real(0, 1),
    "lr_schedule": [StrOptions(set(SCHEDULES)), None],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
    "patience": [Interval(Integral, 1, None, closed="left"), None],
    "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    "callbacks": [list, tuple, None],
    "compile": ["boolean"],
    "device": [str, torch.device],
    "random_state": [*_integer(0), np.random.RandomState, None],  # of any size: see `draw_seed`
    "verbose": ["verbose"],
}

READOUT = {
    "pooling": [StrOptions(set(STATISTICS)), tuple, list],
    "pooling_layers": [StrOptions(set(LAYERS))],
    "pooling_resolutions": [tuple, list],
    "pooling_slopes": [tuple, list],
    "pooling_shifts": _integer(1),
}

TRANSFORMER = {
    "window_length": [*_integer(1), StrOptions({"auto"})],
    "init": [StrOptions({"auto", "random", "synthetic"})],
    "train_stem": ["boolean"],
    "augment": ["boolean"],
    "jitter": _real(0),
    "d_model": _integer(1),
    "n_heads": _integer(1),
    "n_layers": _integer(1),
    "n_decoupled_layers": _integer(1),
    "dropout": [*_real(0, 1), StrOptions({"auto"})],
    "decoupled_dropout": [*_real(0, 1), None],
    "block": [StrOptions({"timemae", "pre_norm"})],
    "stem": [StrOptions({"linear", "conv"})],
    "window_statistics": ["boolean"],
    "scaling": [StrOptions({"auto", "channel", "instance"}), None],
    "mask_ratio": _real(0, 1, "neither"),
    "mask_per": [StrOptions({"series", "batch"})],
    "decoupled": ["boolean"],
    "tokenizer": [StrOptions({"learned", "random_projection"})],
    "n_codebooks": _integer(1),
    "n_codewords": _integer(2),
    "temperature": _real(0, None, "neither"),
    "codeword_gradient": ["boolean"],
    "mcc_weight": [*_real(0), StrOptions({"auto"})],
    "mrr_weight": _real(0),
    "mrr_target": [StrOptions({"raw", "layer_norm"})],
    "momentum": _real(0, 1, "both"),
    "reconstruction_weight": _real(0),
    "spectral_weight": _real(0),
    "contrast_weight": [*_real(0), StrOptions({"auto"})],
    "contrast_temperature": _real(0, None, "neither"),
    "standardize": ["boolean"],
    "encoder": [Callable, None],
    **READOUT,
    **TRAINING,
    "max_epochs": [*_integer(0), StrOptions({"auto"})],
    "lr": [*_real(0, None, "neither"), StrOptions({"auto"})],
}


def check_callbacks(callbacks: list | tuple | None, held_out: bool) -> None:
    """Raise unless each is a skorch callback, or a pair of its name and itself as skorch takes it.

    And if two have one name, or if one waits for a loss that is not recorded as nothing is
    `held_out`.
    """
    names = {"epoch_timer"}  # of skorch
    for item in callbacks or []:
        named = isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
        callback = item[1] if named else item
        if named:
            if item[0] in names or item[0].startswith("tsmae_"):
                raise ValueError(
                    "The 'callbacks' parameter must hold names that differ, and none that is "
                    f"'epoch_timer' or begins with 'tsmae_'. Got {callbacks!r} with {item!r}."
                )
            names.add(item[0])
        if not isinstance(callback, Callback):
            raise TypeError(
                "The 'callbacks' parameter must hold instances of skorch.callbacks.Callback or "
                f"pairs (name, callback). Got {callbacks!r} with {item!r} instead."
            )
        monitor = getattr(callback, "monitor", None)
        if not held_out and isinstance(monitor, str) and monitor.startswith("valid_"):
            raise ValueError(
                f"The 'callbacks' parameter holds {callback!r}, which waits for {monitor!r}: set "
                f"'validation_fraction', or monitor={monitor.replace('valid', 'train')!r}."
            )
        if isinstance(callback, (BatchScoring, EpochScoring)):
            raise TypeError(
                "The 'callbacks' parameter must hold no callback that scores predictions, which "
                f"training does not keep ('train_loss' and 'valid_loss' are recorded). Got "
                f"{callbacks!r} with {callback!r} instead."
            )


def check_position(name: str, value: int, n: int) -> None:
    """Raise unless the argument of this name is one of n positions."""
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not (is_integer and 0 <= value < n):
        raise ValueError(f"{name}={value!r} must be an int in 0 … {n - 1}.")


def check_pooling(pooling: str | tuple | list) -> tuple[str, ...]:
    """`pooling` as a tuple of known statistics."""
    statistics = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    unknown = [s for s in statistics if s not in STATISTICS]
    if unknown or not statistics:
        raise ValueError(
            f"The 'pooling' parameter must be one of {list(STATISTICS)} or a tuple of them. "
            f"Got {pooling!r} instead."
        )
    return statistics


def check_resolutions(name: str, resolutions: tuple | list, least: int) -> tuple[int, ...]:
    """The parameter of this name as a tuple of `least` or more positive integers."""
    positive = all(isinstance(r, Integral) and int(r) >= 1 for r in resolutions)
    if len(resolutions) < least or not positive:
        raise ValueError(
            f"The {name!r} parameter must be a tuple of {least} or more integers of at least 1. "
            f"Got {resolutions!r} instead."
        )
    return tuple(int(r) for r in resolutions)


def readout_of(estimator) -> dict:
    """The readout that an estimator's parameters describe, for :class:`tsmae.nn.SeriesEncoder`."""
    return {
        # of its own: to joblib's keys an object that is shared is not two equal ones
        "statistics": list(check_pooling(estimator.pooling)),
        "layers": estimator.pooling_layers,
        "resolutions": check_resolutions(
            "pooling_resolutions", estimator.pooling_resolutions, least=1
        ),
        "slopes": check_resolutions("pooling_slopes", estimator.pooling_slopes, least=0),
        "shifts": int(estimator.pooling_shifts),
    }


def training_settings(estimator) -> dict:
    """The parameters of an estimator that training takes as they are."""
    return {
        "lr": estimator.lr,
        "weight_decay": estimator.weight_decay,
        "lr_schedule": estimator.lr_schedule,
        "patience": estimator.patience,
        "device": estimator.device_,
        "autocast": uses_bfloat16(estimator.precision, estimator.device_),
        "compile": estimator.compile,
        "callbacks": list(estimator.callbacks or []),
        "verbose": estimator.verbose,
    }
