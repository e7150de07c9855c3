"""Random views of a batch: what is told apart, and more than a panel's own series to train on."""

from __future__ import annotations

import math

import torch

_SHORTEST_CROP = 0.6
_LOG_SCALE_STD = 0.2
_SHRINK = 2.0**-20  # exact; sums of large values then do not overflow


def crop_and_stretch(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Cut 60-100 % out of each series, stretch it to the full length, scale it about its mean.

    Windows then fall on other phases of the series and at other speeds each time.

    Parameters
    ----------
    x : (B, C, T) float tensor
        NaN where not observed; each series ends with its last observation in any channel.
    generator : torch.Generator

    Returns
    -------
    (B, C, T), each series at most of the length it had, in lines between neighbouring points.
    Where one of the two is missing the nearer one counts, so that the share of what is missing
    stays.
    """
    n_series, n_channels, n_points = x.shape
    if n_points < 2:
        return x

    def draw() -> torch.Tensor:
        return torch.rand(n_series, 1, dtype=x.dtype, device=x.device, generator=generator)

    time = torch.arange(n_points, device=x.device)
    last = torch.where(~x.isnan().all(1), time, 0).amax(1, keepdim=True).to(x.dtype)  # (B, 1)
    span = (_SHORTEST_CROP + (1 - _SHORTEST_CROP) * draw()) * last
    start = draw() * (last - span)
    place = start + time / last.clamp_min(1) * span  # (B, T)
    lower = place.floor().clamp_max(n_points - 2).long()
    share = (place - lower).clamp_max(1)[:, None]  # (B, 1, T)
    lower = lower[:, None].expand(-1, n_channels, -1)
    left, right = x.gather(2, lower), x.gather(2, lower + 1)
    nearer = torch.where(share > 0.5, right, left)
    between = torch.lerp(left, right, share)
    # beside a gap the nearer point counts, so that as much stays observed as was
    stretched = torch.where(between.isnan(), nearer, between)
    stretched = stretched.masked_fill((time > last)[:, None], math.nan)
    # between the points of a sparse series there may be nothing: then all of it counts
    empty = stretched.isnan().flatten(1).all(1)
    stretched = torch.where(empty[:, None, None], x, stretched)
    noise = torch.randn(n_series, 1, 1, dtype=x.dtype, device=x.device, generator=generator)
    level = (stretched * _SHRINK).nanmean(-1, keepdim=True) / _SHRINK
    return torch.lerp(level, stretched, torch.exp(_LOG_SCALE_STD * noise))
