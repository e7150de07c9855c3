"""Holes made on purpose, and the usual ways to fill them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.data import lengths, resample

DAMAGES = ("random", "blocks")
REPAIRS = ("native", "truncate", "resample", "forward-fill", "zero-fill")
_BLOCKS_PER_SERIES = 4


def damage(X: np.ndarray, kind: str, share: float, seed: int) -> np.ndarray:
    """A copy of (n, C, T) with a share of the time points of each series set to NaN.

    A removed point is gone in all channels, as when a recorder drops out. "random" removes
    single points, "blocks" a few stretches of them; one point of each series stays.
    """
    rng = np.random.default_rng(seed)
    X = X.copy()
    for x, n_points in zip(X, lengths(X), strict=True):
        n_removed = min(round(share * n_points), n_points - 1)
        if kind == "random":
            removed = rng.choice(n_points, n_removed, replace=False)
        elif kind == "blocks":
            removed = _blocks(n_points, n_removed, rng)
        else:
            raise ValueError(f"kind={kind!r} must be one of {DAMAGES}.")
        x[:, removed] = np.nan
    return X


def repair(X: np.ndarray, how: str, shortest: int) -> np.ndarray:
    """(n, C, T) with NaN handled in one of the usual ways.

    Parameters
    ----------
    X : (n, C, T) array
    how : {"native", "truncate", "resample", "forward-fill", "zero-fill"}
        "native" leaves everything to the model. "truncate" cuts every series to `shortest`
        points, "resample" interpolates linearly and stretches every series to T, the other
        two fill gaps and tails with the last value or with 0.
    shortest : int
        Points of the shortest training series.
    """
    if how == "native":
        return X
    if how == "truncate":
        return X[:, :, :shortest]
    if how == "resample":
        return resample(X)
    if how == "zero-fill":
        return np.nan_to_num(X, nan=0.0)
    if how == "forward-fill":
        flat = pd.DataFrame(X.reshape(-1, X.shape[2]))
        return flat.ffill(axis=1).bfill(axis=1).fillna(0.0).to_numpy(X.dtype).reshape(X.shape)
    raise ValueError(f"how={how!r} must be one of {REPAIRS}.")


def _blocks(n_points: int, n_removed: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of `n_removed` points in at most a few stretches."""
    n_blocks = max(1, min(_BLOCKS_PER_SERIES, n_removed, n_points - n_removed))
    sizes = _parts(n_removed, n_blocks, rng)
    gaps = _parts(n_points - n_removed, n_blocks + 1, rng)
    starts = np.cumsum(gaps[:-1]) + np.cumsum(sizes) - sizes
    return np.concatenate([np.arange(s, s + size) for s, size in zip(starts, sizes, strict=True)])


def _parts(total: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """`total` split at random in `n` non-negative parts."""
    cuts = np.sort(rng.integers(0, total + 1, n - 1))
    return np.diff(np.concatenate([[0], cuts, [total]]))
