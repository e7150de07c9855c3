"""What any input becomes: one float32 array of series, NaN where nothing was observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
        return cls(values[:, :, : lengths.max(initial=0)], lengths, False)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_channels(self) -> int:
        return self.values.shape[1]

    @property
    def n_points(self) -> int:
        """Time points of the longest series."""
        return self.values.shape[2]

    def n_windows(self, window_length: int) -> np.ndarray:
        """Windows of each series that hold an observation, (n,) int64.

        A single point behind other windows makes none, see
        :func:`tsmae.nn.embedding.without_lone_tail`.
        """
        if self.complete:
            n_windows = -(-self.lengths // window_length)
        else:
            some = (~np.isnan(self.values)).any(1)  # (n, T)
            starts = np.arange(0, self.n_points, window_length)
            n_windows = np.logical_or.reduceat(some, starts, axis=1).sum(1)
        lone = (window_length > 1) & (self.lengths % window_length == 1) & (n_windows > 1)
        return n_windows - lone

    def __getitem__(self, index: np.ndarray | slice) -> Panel:
        """The series at `index` (ints, bools or a slice), cut to the longest of them."""
        lengths = self.lengths[index]
        values = self.values[index]
        if not self.complete:
            values = values[:, :, : lengths.max(initial=0)]
        return Panel(values, lengths, self.complete)


def channel_statistics(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel over all observed points, both (C,) float64.

    A constant channel gets the deviation 1, or its magnitude where that is larger, so that
    another value at predict time stays within reach.
    """
    means, scales = [], []
    for c in range(panel.n_channels):  # one channel at a time: no float64 copy of the panel
        values = panel.values[:, c].ravel()
        if not panel.complete:
            values = values[~np.isnan(values)]
        values = values.astype(np.float64)
        mean = values.mean() if len(values) else 0.0
        deviation = values.std() if len(values) else 0.0
        if deviation <= 1e-6 * abs(mean) or deviation == 0.0:
            deviation = max(abs(mean), 1.0)
        means.append(mean)
        scales.append(deviation)
    return np.array(means), np.array(scales)


def median_own_deviation(panel: Panel) -> np.ndarray:
    """Of the series that vary in a channel, the median deviation: (C,) float64.

    0 for a channel in which none varies.
    """
    medians = []
    for c in range(panel.n_channels):
        values = panel.values[:, c].astype(np.float64)
        count = np.maximum((~np.isnan(values)).sum(1), 1)
        values -= (np.nansum(values, 1) / count)[:, None]
        deviation = np.sqrt(np.nansum(np.square(values, out=values), 1) / count)
        magnitude = np.nanmax(np.abs(panel.values[:, c]), 1, initial=0.0)
        varying = deviation[deviation > 1e-6 * magnitude]
        medians.append(np.median(varying) if len(varying) else 0.0)
    return np.array(medians)
