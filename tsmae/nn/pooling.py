"""Statistics over the positions of a series."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

_N_QUARTERS = 4
_LAGS = (1, 2, 4)  # positions, of two window grids: half a window, one and two windows
_CONSTANT_VARIANCE = 1e-3  # of a feature over positions; correlations of smaller ones fade
_COMPETITORS = 8  # features of which one wins
_SOFTNESS = 0.1  # deviations of a feature; a hard maximum would jump at rounding errors


def pool(
    layers: Sequence[torch.Tensor],
    valid: torch.Tensor | None,
    statistics: Sequence[str],
    n_positions: int,
    units: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None,
) -> torch.Tensor:
    """Concatenate statistics over the positions of each layer.

    Parameters
    ----------
    layers : sequence of (B, N, d)
    valid : (B, N) bool or None
        False where a position is padding: it takes no part.
    statistics : sequence of str in STATISTICS
        "quarters" are the means over each quarter of the series, which keep a coarse order
        in time, and over all of it where nothing was observed in one; "autocorrelation" is that
        of each feature, at lags of 1, 2 and 4 positions; "cross_correlation" is that of each
        feature with the next one a position before; "winners" are the shares of positions at
        which a feature is the largest, and the smallest, of a group of eight; "last" is the last
        position that is not padding; "none" flattens the sequence.
    n_positions : int
        Positions that "none" emits; shorter series are filled with zeros.
    units : sequence of pairs of (d,) tensors, optional
        Of each layer the location and scale in which "winners" compares features.

    Returns
    -------
    (B, len(layers) * len(statistics) * d), "none" counting as `n_positions` statistics,
    "quarters" as four, "autocorrelation" as three and "winners" as two.

    Raises
    ------
    ValueError
        If "none" is given more than `n_positions`.
    """
    pooled = []
    for i, x in enumerate(layers):
        for name in statistics:
            if name == "none":
                pooled.append(_flattened(x, valid, n_positions))
            elif name == "winners" and units is not None:
                location, scale = units[i]
                pooled.append(_winners((x - location) / scale, valid))
            else:
                pooled.append(_STATISTICS[name](x, valid))
    return torch.cat(pooled, 1)


def n_vectors(statistic: str, n_positions: int) -> int:
    """How many vectors of width d a statistic is."""
    several = {"quarters": _N_QUARTERS, "autocorrelation": len(_LAGS), "winners": 2}
    return {**several, "none": n_positions}.get(statistic, 1)


def _flattened(x: torch.Tensor, valid: torch.Tensor | None, n_positions: int) -> torch.Tensor:
    if valid is not None:
        order = torch.arange(1, x.shape[1] + 1, device=x.device)
        x = (x * valid[..., None])[:, : int(torch.where(valid.any(0), order, 0).max())]
    if x.shape[1] > n_positions:
        raise ValueError(
            f"pooling='none' emits {n_positions} positions, those of the longest series in fit "
            f"on all window grids; X has series of {x.shape[1]}."
        )
    return nn.functional.pad(x, (0, 0, 0, n_positions - x.shape[1])).flatten(1)


def _mean(x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    if valid is None:
        return x.mean(1)
    there = valid[..., None]
    return (x * there).sum(1) / there.sum(1).clamp_min(1)


def _max(x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    return (x if valid is None else x.masked_fill(~valid[..., None], -torch.inf)).amax(1)


def _min(x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    return (x if valid is None else x.masked_fill(~valid[..., None], torch.inf)).amin(1)


def _last(x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    if valid is None:
        return x[:, -1]
    order = torch.arange(x.shape[1], device=x.device)
    last = torch.where(valid, order, 0).amax(1)
    return x[torch.arange(len(x), device=x.device), last]


def _std(x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    # the root has no gradient at 0, where a series of a single position is
    return _centre(x, valid)[1].clamp_min(torch.finfo(x.dtype).tiny).sqrt()


def _quarters(x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    """Means over the quarters of each series: (B, N, d) -> (B, 4 d).

    A quarter's border may cut through a position, which then counts in both by its share;
    so series of any number of positions have four, and stretching a series changes little.
    """
    n_positions = x.shape[1]
    # bfloat16 would count to 256 only
    start = torch.arange(n_positions, device=x.device, dtype=torch.float32)
    if valid is None:
        length = torch.full((1, 1, 1), float(n_positions), device=x.device, dtype=start.dtype)
    else:
        length = torch.where(valid, start + 1, 0).amax(1).clamp_min(1)[:, None, None]
    borders = torch.arange(_N_QUARTERS + 1, device=x.device, dtype=start.dtype) / _N_QUARTERS
    borders = borders[None, :, None] * length  # (1 or B, 5, 1)
    upper = torch.minimum(borders[:, 1:], start + 1)
    share = (upper - torch.maximum(borders[:, :-1], start)).clamp_min(0)  # (1 or B, 4, N)
    if valid is not None:
        there = valid[:, None].to(share.dtype)
        share = share * there
        # a quarter in which nothing was seen is like the series on average
        share = torch.where(share.sum(-1, keepdim=True) > 0, share, there)
    share = share / share.sum(-1, keepdim=True).clamp_min(torch.finfo(share.dtype).tiny)
    return (share.to(x.dtype) @ x).flatten(1)


def _centre(x: torch.Tensor, valid: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances from the mean over positions, 0 at padding, and their mean square (B, d).

    Written out: `torch.std` over a dimension that is not the last takes twenty times as long.
    """
    centred = x - _mean(x, valid)[:, None]
    if valid is not None:
        centred = centred * valid[..., None]
    return centred, _mean(centred.square(), valid)


def _autocorrelation(x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    """How much of each feature comes again a few positions later: (B, N, d) -> (B, 3 d)."""
    centred, variance = _centre(x, valid)
    scale = variance + _CONSTANT_VARIANCE
    return torch.cat([_lagged(centred, centred, valid, lag) / scale for lag in _LAGS], 1)


def _cross_correlation(x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    """Of each feature with the one behind it a position before: (B, N, d) -> (B, d)."""
    centred, variance = _centre(x, valid)
    deviation = (variance + _CONSTANT_VARIANCE).sqrt()
    covariance = _lagged(centred, centred.roll(-1, 2), valid, 1)
    return covariance / (deviation * deviation.roll(-1, 1))


def _lagged(
    later: torch.Tensor, earlier: torch.Tensor, valid: torch.Tensor | None, lag: int
) -> torch.Tensor:
    """Mean product over the pairs of positions that are both there, 0 if there is none."""
    n_pairs: torch.Tensor | int = max(1, later.shape[1] - lag)
    if valid is not None:
        n_pairs = (valid[:, lag:] & valid[:, :-lag]).sum(1, keepdim=True).clamp_min(1)
    return (later[:, lag:] * earlier[:, :-lag]).sum(1) / n_pairs


def _winners(x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    """How often each feature is the largest of its group, and the smallest: (B, N, d) -> (B, 2 d).

    Features compete in groups, as kernels do in HYDRA [1]_; at a near tie they share.

    .. [1] A. Dempster, D. F. Schmidt, G. I. Webb. HYDRA: Competing convolutional kernels for
       fast and accurate time series classification. DMKD 37, 2023.
    """
    d = x.shape[2]
    shares = []
    for signed in (x / _SOFTNESS, x / -_SOFTNESS):
        padded = nn.functional.pad(signed, (0, -d % _COMPETITORS), value=-torch.inf)
        # over the last dimension the softmax of so few would take twenty times as long
        share = padded.unflatten(2, (_COMPETITORS, -1)).softmax(2)
        shares.append(_mean(share.flatten(2)[..., :d], valid))
    return torch.cat(shares, 1)


_STATISTICS = {
    "mean": _mean,
    "max": _max,
    "min": _min,
    "std": _std,
    "quarters": _quarters,
    "autocorrelation": _autocorrelation,
    "cross_correlation": _cross_correlation,
    "winners": _winners,
    "last": _last,
}
STATISTICS = (*_STATISTICS, "none")
