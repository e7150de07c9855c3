"""Panels, containers and settings that several test files use."""

import inspect

import numpy as np
import pandas as pd

from tsmae import TimeMAEClassifier, TimeMAETransformer, presets
from tsmae._parameters import READOUT
from tsmae.nn import TimeMAE, TimeMAEConfig


def architecture(**changed):
    """The paper's, but scaled, with masks per series and gradients through the codewords."""
    fields = {
        **presets.PAPER,
        "scaling": "channel",
        "mask_per": "series",
        "codeword_gradient": True,
        "decoupled_dropout": None,
        "contrast_temperature": 0.2,
    }
    known = TimeMAEConfig.__dataclass_fields__
    return TimeMAEConfig(**{k: v for k, v in fields.items() if k in known} | changed)


PARAMETERS = TimeMAETransformer.get_test_params()


def transformer(which=0, **parameters):
    return TimeMAETransformer(**{**PARAMETERS[which], "random_state": 0, **parameters})


def classifier(which=0, fine_tune="all", **parameters):
    """A small classifier; `parameters` are its transformer's, those of the readout also its own."""
    readout = {name: parameters[name] for name in READOUT if name in parameters}
    return TimeMAEClassifier(
        transformer(which, **parameters),
        fine_tune=fine_tune,
        max_epochs=2,
        random_state=0,
        **readout,
    )


def embed(estimator, X):
    return np.asarray(estimator.transform(X))


def ragged(n=10, n_channels=2, shortest=5, longest=31, seed=0):
    """Series (C, T_i) float32 of lengths that end on and off a window's border, and labels."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, n)
    lengths[:3] = shortest, longest, 4 * (longest // 8)
    series = [rng.normal(size=(n_channels, length)).cumsum(1) for length in lengths]
    return [s.astype(np.float32) for s in series], np.arange(n) % 2


def pad(series, n_points):
    """(n, C, n_points), NaN behind each series."""
    panel = np.full((len(series), len(series[0]), n_points), np.nan, np.float32)
    for row, values in zip(panel, series, strict=True):
        row[:, : values.shape[1]] = values
    return panel


def containers(series):
    """The same series in every container, by the container's name."""
    n_channels, longest = len(series[0]), max(s.shape[1] for s in series)
    names = [f"dim_{c}" for c in range(n_channels)]
    frames = [pd.DataFrame(s.T, columns=names) for s in series]
    objects = np.empty(len(series), dtype=object)
    objects[:] = series
    padded = pad(series, longest + 9)
    return {
        "list": series,
        "tuple": tuple(series),
        "object array": objects,
        "padded": pad(series, longest),
        "padded further": padded,
        "masked array": np.ma.masked_invalid(padded),
        "df-list": frames,
        "pd-multiindex": pd.concat(frames, keys=range(len(series)), names=["i", "t"]),
        "nested": pd.DataFrame(
            {name: [pd.Series(s[c]) for s in series] for c, name in enumerate(names)}
        ),
        "nested arrays": pd.DataFrame(
            {name: [s[c] for s in series] for c, name in enumerate(names)}
        ),
    }


TINY = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1, "n_codewords": 8}


def noise(n, n_points=16):
    """(n, 1, n_points), float32."""
    return np.random.default_rng(0).normal(size=(n, 1, n_points)).astype(np.float32)


def steps_of(monkeypatch, argument):
    """A list that fills with (training, the argument of `TimeMAE.forward`) as steps are made."""
    seen, forward = [], TimeMAE.forward
    arguments = inspect.signature(forward)

    def spy(*args, **kwargs):
        bound = arguments.bind(*args, **kwargs)
        bound.apply_defaults()
        seen.append((args[0].training, bound.arguments[argument]))
        return forward(*args, **kwargs)

    monkeypatch.setattr(TimeMAE, "forward", spy)
    return seen
