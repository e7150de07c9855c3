"""What any input becomes: one float32 array of series, NaN where nothing was observed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_BLOCK_VALUES = 2**20  # of the statistics: 8 MB
_ROUNDING = 1e-6  # of the level; what varies by less is constant
_SMALLEST_UNSCALED = 1e-7  # deviation of a channel


@dataclass(frozen=True)
class Panel:
    """A panel of n series with C channels.

    Attributes
    ----------
    values : (n, C, T) float32 array
        NaN where a value was not observed; a series shorter than T ends in points that are
        NaN in all channels. Never written to.
    lengths : (n,) int64 array
        Time points of each series up to its last observation.
    complete : bool
        Whether nothing is NaN.
    """

    values: np.ndarray
    lengths: np.ndarray
    complete: bool

    @classmethod
    def from_array(cls, values: np.ndarray) -> Panel:
        """From (n, C, T) numbers of any real dtype; points unobserved at the end are cut."""
        values = np.asarray(values, dtype=np.float32, order="C")
        n_series, _, n_points = values.shape
        observed = ~np.isnan(values)
        if observed.all():
            return cls(values, np.full(n_series, n_points), True)
        some = observed.any(1)  # (n, T)
        lengths = np.where(some.any(1), n_points - some[:, ::-1].argmax(1), 0)
        longest = lengths.max(initial=0)
        return cls(values[:, :, :longest], lengths, bool(observed[:, :, :longest].all()))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_channels(self) -> int:
        return self.values.shape[1]

    @property
    def n_points(self) -> int:
        """Time points of the longest series."""
        return self.values.shape[2]

    def __getitem__(self, index: np.ndarray | slice) -> Panel:
        """The series at `index` (ints, bools or a slice), cut to the longest of them."""
        lengths = self.lengths[index]
        values = self.values[index]
        if not self.complete:
            values = values[:, :, : lengths.max(initial=0)]
        return Panel(values, lengths, self.complete)

    def part(self, positions: np.ndarray) -> Panel:
        """As ``self[positions]``, but itself and no copy where they are all, in order."""
        if len(positions) == len(self) and np.array_equal(positions, np.arange(len(self))):
            return self
        return self[positions]


def channel_statistics(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel over all observed points, both (C,) float64.

    The deviation of a constant channel is infinite, as that of one never observed: nothing can be
    learned of it, and whatever it shows at predict time counts as nothing.
    """
    means, scales = [], []
    for c in range(panel.n_channels):
        count = sum(int((~np.isnan(block)).sum()) for block in _blocks(panel, c)) or 1
        mean = sum(float(np.nansum(block)) for block in _blocks(panel, c)) / count
        squares = (float(np.nansum(np.square(block - mean))) for block in _blocks(panel, c))
        deviation = np.sqrt(sum(squares) / count)
        if deviation <= _ROUNDING * abs(mean) or np.float32(deviation) == 0:
            deviation = np.inf
        means.append(mean)
        scales.append(deviation)
    return np.array(means), np.array(scales)


def vanishing_channels(panel: Panel, deviations: np.ndarray) -> list[int]:
    """Channels that vary, but count as constant, as their infinite deviations (C,) say."""
    return [
        c
        for c in np.flatnonzero(np.isinf(deviations)).tolist()
        if np.fmax.reduce(panel.values[:, c], None) > np.fmin.reduce(panel.values[:, c], None)
    ]


def warn_of_lost_shapes(channels: Sequence[int]) -> None:
    """Warn of channels that vary too little beside their level, if there are any."""
    if channels:
        warnings.warn(
            f"The channels {list(channels)} of X vary by less than a millionth of their level, or "
            "than float32 can hold, and count as constant. Subtract the level, or rescale, first.",
            stacklevel=2,
        )


def warn_of_unscaled(deviations: np.ndarray) -> None:
    """Warn of channels whose deviations (C,) are lost beside weights unless they are scaled."""
    small = np.flatnonzero(deviations < _SMALLEST_UNSCALED).tolist()
    if small:
        warnings.warn(
            f"The channels {small} of X vary by less than {_SMALLEST_UNSCALED:g}, which float32 "
            "hardly tells from nothing beside weights: rescale them, or change scaling=None.",
            stacklevel=2,
        )


def median_own_deviation(panel: Panel) -> np.ndarray:
    """Of the series that vary in a channel, the median deviation: (C,) float64.

    0 for a channel in which none varies.
    """
    medians = []
    for c in range(panel.n_channels):
        varying = []
        for values in _blocks(panel, c):
            count = np.maximum((~np.isnan(values)).sum(1), 1)
            magnitude = np.nanmax(np.abs(values), 1, initial=0.0)
            values -= (np.nansum(values, 1) / count)[:, None]
            deviation = np.sqrt(np.nansum(np.square(values, out=values), 1) / count)
            varying.append(deviation[deviation > _ROUNDING * magnitude])
        deviations = np.concatenate(varying)
        medians.append(np.median(deviations) if len(deviations) else 0.0)
    return np.array(medians)


def _blocks(panel: Panel, channel: int) -> Iterator[np.ndarray]:
    """One channel of some series at a time, (m, T) float64: no copy of the whole panel."""
    step = max(1, _BLOCK_VALUES // panel.n_points)
    for start in range(0, len(panel), step):
        yield panel.values[start : start + step, channel].astype(np.float64)
