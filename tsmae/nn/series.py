"""Whole series (B, C, T), before windows are cut: scaling, gaps, resolutions, slopes.

NaN marks a value that was not observed, be it a gap or the padding behind a shorter series.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

_TINY = 1e-6
_LIMIT = 1e15  # variances of larger numbers overflow: they become infinite, and so an error


class Scaling(nn.Module):
    """Shift and scale every channel: by the panel's statistics, by the series' own, or not.

    Channels that were constant in the panel are 0 in any case: nothing was learned of them.
    """

    location: torch.Tensor
    scale: torch.Tensor

    def __init__(self, n_channels: int, mode: str | None):
        super().__init__()
        self.mode = mode
        self.register_buffer("location", torch.zeros(n_channels, 1, dtype=torch.float32))
        self.register_buffer("scale", torch.ones(n_channels, 1, dtype=torch.float32))

    def set_statistics(self, location: np.ndarray, scale: np.ndarray) -> None:
        """The panel's means and deviations, both (C,)."""
        self.location.copy_(torch.from_numpy(location)[:, None])
        self.scale.copy_(torch.from_numpy(scale)[:, None])

    @property
    def dead(self) -> torch.Tensor:
        """Whether a channel was constant in the panel, or never observed: (C, 1) bool."""
        return self.scale.isinf()

    def jittered(
        self, x: torch.Tensor, deviation: float, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Scaled, and with a deviation :func:`jitter` of the channels that are not constant."""
        x = self(x)
        if not deviation:
            return x
        assert generator is not None, "jitter draws from a generator"
        return jitter(x, deviation, generator).where(~self.dead, x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T) -> (B, C, T); NaN stays NaN."""
        if self.mode != "channel":
            x = x.masked_fill(self.dead & ~x.isnan(), 0.0)
        if self.mode == "instance":
            level = _magnitude(x)
            # else the rounding of a mean, which depends on padding, would be as large as the shape
            x = x - level * (x / level).nanmean(-1, keepdim=True)
            size = _magnitude(x)  # squares must not overflow
            x = x / size
            centred = x - x.nanmean(-1, keepdim=True)
            deviation = centred.square().nanmean(-1, keepdim=True).sqrt()
            # a constant channel has a deviation of rounding errors, one never seen has NaN
            return centred / torch.where(deviation > _TINY * (level / size), deviation, torch.inf)
        if self.mode == "channel":
            x = (x - self.location) / self.scale
        return x.masked_fill(x.abs() > _LIMIT, torch.inf)


def _magnitude(x: torch.Tensor) -> torch.Tensor:
    """The largest absolute value of each channel, (B, C, T) -> (B, C, 1); 1 where all are 0."""
    largest = x.abs().nan_to_num(0.0).amax(-1, keepdim=True)
    return torch.where(largest > 0, largest, 1.0)


def jitter(x: torch.Tensor, deviation: float, generator: torch.Generator) -> torch.Tensor:
    """Give each channel of scaled series (B, C, T) another size and level.

    Its values are multiplied by a log-normal factor and shifted by a normal offset, both of this
    deviation and drawn anew for each series.
    """
    n_series, n_channels, _ = x.shape
    shape = (2, n_series, n_channels, 1)
    noise = torch.randn(shape, dtype=x.dtype, device=x.device, generator=generator)
    factor, offset = deviation * noise
    return x * factor.exp() + offset


def bridge_gaps(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill NaN in (B, C, T) by straight lines between observations of the same channel.

    Before the first and after the last observation the nearest one is held; a channel without
    any is 0. Returns the values and where they were observed.
    """
    observed = ~x.isnan()
    n_points = x.shape[-1]
    time = torch.arange(n_points, device=x.device).expand(x.shape)
    before = torch.where(observed, time, -1).cummax(-1).values
    after = torch.where(observed, time, n_points).flip(-1).cummin(-1).values.flip(-1)
    before = torch.where(before < 0, after, before).clamp_max(n_points - 1)
    after = torch.where(after == n_points, before, after)
    values = x.nan_to_num(0.0)
    left, right = values.gather(-1, before), values.gather(-1, after)
    share = (time - before).to(values.dtype) / (after - before).clamp_min(1)
    return torch.lerp(left, right, share), observed


def average_down(x: torch.Tensor, resolution: int, complete: bool = False) -> torch.Tensor:
    """Means of `resolution` points each: (B, C, T) -> (B, C, ⌈T/r⌉), NaN where none was observed.

    Gaps between observations are bridged first, so that each mean stands for the middle of its
    points and not for those that happen to be there. `complete` promises that nothing is NaN.
    """
    resolution = min(resolution, x.shape[-1])
    if resolution == 1:
        return x
    padding = (0, -x.shape[-1] % resolution)
    if complete:
        padded = F.pad(x, padding, value=torch.nan)
        return padded.unflatten(-1, (-1, resolution)).nanmean(-1)
    values, observed = bridge_gaps(x)
    begun, ended = observed.cumsum(-1) > 0, observed.flip(-1).cumsum(-1).flip(-1) == 0
    values = values.masked_fill(~begun | ended, torch.nan)
    means = F.pad(values, padding, value=torch.nan).unflatten(-1, (-1, resolution))
    seen = F.pad(observed, padding).unflatten(-1, (-1, resolution)).any(-1)
    return means.nanmean(-1).masked_fill(~seen, torch.nan)


def slope(x: torch.Tensor, complete: bool = False) -> torch.Tensor:
    """Central differences over time: (B, C, T) -> (B, C, T), NaN where x is.

    One-sided at a channel's first and last observation, between which gaps are bridged; 0 if it
    has but one. `complete` promises that nothing is NaN.
    """
    n_points = x.shape[-1]
    if complete and n_points > 1:
        return torch.gradient(x, dim=-1)[0]
    values, observed = bridge_gaps(x)
    time = torch.arange(n_points, device=x.device).expand(x.shape)
    first = torch.where(observed, time, n_points - 1).amin(-1, keepdim=True)
    last = torch.where(observed, time, 0).amax(-1, keepdim=True)
    before, after = torch.maximum(time - 1, first), torch.minimum(time + 1, last)
    rise = values.gather(-1, after) - values.gather(-1, before)
    return (rise / (after - before).clamp_min(1)).masked_fill(~observed, torch.nan)
