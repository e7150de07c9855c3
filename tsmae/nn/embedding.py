"""From a batch of scaled series to embedded sub-series: windows, feature encoder, positions.

NaN marks a value that was not observed, be it a gap or the padding behind a shorter series.
It is taken out of the numbers here and lives on as masks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from tsmae.nn.config import TimeMAEConfig
from tsmae.nn.layers import convolution, convolve, linear
from tsmae.nn.masking import take

_STEM_WIDTH = 64
_STEM_KERNEL = 3
_SMALLEST_DEVIATION = 1e-3  # of a scaled window; below it there is only noise


class Windows(NamedTuple):
    """Sub-series of a batch.

    values : (B, N, C, δ), scaled; gaps are bridged linearly, see
        :func:`~tsmae.nn.series.bridge_gaps`.
    observed : (B, N, C, δ) bool, None where everything was.
    valid : (B, N) bool, whether the window counts, see :func:`without_lone_tail`; None if all do.
    """

    values: torch.Tensor
    observed: torch.Tensor | None
    valid: torch.Tensor | None

    def at(self, places: torch.Tensor) -> Windows:
        """Those at places of any shape, see :func:`~tsmae.nn.masking.places_of`; all count."""
        observed = None if self.observed is None else take(self.observed, places)
        return Windows(take(self.values, places), observed, None)


def pad_to_windows(x: torch.Tensor, window_length: int, offset: int = 0) -> torch.Tensor:
    """Extend (B, C, T) by NaN to whole windows from `offset` on: N = ⌈(T - offset) / δ⌉."""
    missing = (offset - x.shape[-1]) % window_length
    return F.pad(x, (0, missing), value=float("nan")) if missing else x


def slice_windows(x: torch.Tensor, window_length: int) -> torch.Tensor:
    """(B, C, N δ) -> (B, N, C, δ)."""
    return x.unflatten(-1, (-1, window_length)).transpose(1, 2)


def without_lone_tail(observed: torch.Tensor) -> torch.Tensor:
    """Windows (B, N) that count, of observed points (B, N, C, δ).

    They hold an observation. A series' last window does not count if only its first point is
    there and the series has other windows: a single point has no shape, and the windows of
    training hold nothing like it.
    """
    valid = observed.flatten(2).any(-1)
    if observed.shape[-1] == 1:
        return valid
    order = torch.arange(valid.shape[1], device=valid.device)
    last = torch.where(valid, order, -1).amax(1, keepdim=True)
    lone = (order == last) & ~observed[..., 1:].flatten(2).any(-1)
    return valid & ~(lone & (valid.sum(1, keepdim=True) > 1))


def cut_lone_tail(x: torch.Tensor, window_length: int) -> torch.Tensor:
    """Series (B, C, T) that miss nothing without the last point that would not count."""
    n_points = x.shape[-1]
    lone = n_points > window_length > 1 and n_points % window_length == 1
    return x[..., :-1] if lone else x


def n_windows(x: torch.Tensor, window_length: int) -> torch.Tensor:
    """Windows of each series (B, C, T) that count, (B,) int64; NaN where not observed."""
    observed = ~pad_to_windows(x, window_length).isnan()
    return without_lone_tail(slice_windows(observed, window_length)).sum(1)


class FeatureEncoder(nn.Module):
    """One shared map from a sub-series (C, δ) to R^d.

    ``stem="linear"`` is the paper's convolution of kernel and stride δ: one linear map.
    ``stem="conv"`` runs two small convolutions within the window first, so that what a
    window shows does not average out when windows are pooled. With `window_statistics` the
    window's shape (each channel centred and scaled to unit deviation) goes in beside the
    values, and each channel's mean and log deviation enter the linear map (after NuTime,
    Lin et al. 2024).

    Points that were not observed enter as an indicator with weights that start at zero: a
    complete panel of whole windows is not touched by it.
    """

    def __init__(self, config: TimeMAEConfig):
        super().__init__()
        c, length, d = config.n_channels, config.window_length, config.d_model
        self.stem = config.stem
        self.window_statistics = config.window_statistics
        n_inputs = 2 * c if config.window_statistics else c
        self.missing: nn.Conv1d | nn.Linear
        if config.stem == "conv":
            self.conv_1 = convolution(n_inputs, _STEM_WIDTH, _STEM_KERNEL)
            self.missing = convolution(c, _STEM_WIDTH, _STEM_KERNEL, bias=False)
            self.conv_2 = convolution(_STEM_WIDTH, _STEM_WIDTH, _STEM_KERNEL)
            self.project = linear(_STEM_WIDTH * length, d)
        else:
            self.project = linear(n_inputs * length, d)
            self.missing = linear(c * length, d, bias=False)
        if config.window_statistics:
            self.project_statistics = linear(2 * c, d)

    def zero_missing(self) -> None:
        nn.init.zeros_(self.missing.weight)

    def forward(self, windows: Windows) -> torch.Tensor:
        """(B, N, C, δ) -> z (B, N, d)."""
        x = windows.values
        missing = None if windows.observed is None else (~windows.observed).to(x.dtype)
        if self.window_statistics:
            mean = x.mean(-1, keepdim=True)  # (B, N, C, 1)
            centred = x - mean
            deviation = centred.square().mean(-1, keepdim=True).sqrt()  # torch.std is slower
            shape = centred / (deviation + _SMALLEST_DEVIATION)
            log_deviation = torch.log(deviation + _SMALLEST_DEVIATION)
            # a single point has none: taken as the panel's, 1
            if x.shape[-1] == 1:
                log_deviation = torch.zeros_like(log_deviation)
            elif windows.observed is not None:
                enough = windows.observed.sum(-1, keepdim=True) > 1
                log_deviation = torch.where(enough, log_deviation, 0.0)
            statistics = torch.cat([mean, log_deviation], 2).squeeze(-1)
            x = torch.cat([x, shape], 2)  # (B, N, 2C, δ)
        if self.stem == "conv":
            z = self._convolve(x, missing)
        else:
            z = self.project(x.flatten(2))
            if missing is not None:
                z = z + self.missing(missing.flatten(2))
        if self.window_statistics:
            z = z + self.project_statistics(statistics)
        return z

    def _convolve(self, x: torch.Tensor, missing: torch.Tensor | None) -> torch.Tensor:
        n_series = x.shape[0]
        h = convolve(self.conv_1, x.flatten(0, 1))  # (B N, width, δ)
        if missing is not None:
            assert isinstance(self.missing, nn.Conv1d)
            h = h + convolve(self.missing, missing.flatten(0, 1))
        h = F.gelu(convolve(self.conv_2, F.gelu(h)))
        return self.project(h.flatten(1)).unflatten(0, (n_series, -1))


class Positions(nn.Module):
    """Learned position embeddings p_i, stretched for series longer than any in training.

    A series of at most N positions, the largest number in training, uses the first rows of
    the table. A longer one spreads its positions evenly over the table and interpolates.
    """

    def __init__(self, n_positions: int, d_model: int):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(n_positions, d_model, dtype=torch.float32))

    def forward(self, n_positions: int, valid: torch.Tensor | None) -> torch.Tensor:
        """Embeddings (1 or B, N, d) of the positions 0 … N-1 of each series."""
        n_known = len(self.table)
        if n_positions <= n_known:
            return self.table[None, :n_positions]
        place = torch.arange(n_positions, device=self.table.device, dtype=torch.float32)
        if valid is None:
            last = place[-1:, None]
        else:
            last = torch.where(valid, place, 0.0).amax(1, keepdim=True)  # (B, 1)
        stretch = (n_known - 1) / last.clamp_min(n_known - 1.0).clamp_min(1.0)
        place = (place * stretch).clamp_max(n_known - 1)  # (B, N)
        lower = place.floor().long()
        upper = (lower + 1).clamp_max(n_known - 1)
        share = (place - lower).to(self.table.dtype)[..., None]
        return torch.lerp(self.table[lower], self.table[upper], share)
