"""Synthetic series: kinds of series, and series of a kind.

A kind stands for a class of a real panel. It is a sum of one to four components, of which some
look alike in each of its series (bumps, steps, waves of a phase) and some only follow the same
law (random walks, resonant noise, motifs anywhere), and it says how much its series differ in
time, size and noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

_LIMIT = 20.0  # deviations; beyond there is nothing to learn
_TINY = 1e-6


def _log_uniform(rng: np.random.Generator, low: float, high: float, size=None):
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def _through(rng: np.random.Generator, n_points: int, n_knots: int) -> np.ndarray:
    """A random course in straight lines through evenly spaced knots."""
    knots = np.linspace(0.0, 1.0, n_knots)
    return np.interp(np.linspace(0.0, 1.0, n_points), knots, rng.normal(size=n_knots))


def _standardized(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / (x.std() + _TINY)


@dataclass
class Variation:
    """By how much the series of a kind differ, as deviations or shares of the whole."""

    noise: float
    size: float
    shift: float
    warp: float
    place: float
    trend: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Variation:
        return cls(
            noise=_log_uniform(rng, 0.005, 0.5),
            size=_log_uniform(rng, 0.02, 0.4),
            shift=_log_uniform(rng, 0.002, 0.15),
            warp=_log_uniform(rng, 0.015, 0.3),
            place=_log_uniform(rng, 0.003, 0.1),
            trend=_log_uniform(rng, 0.01, 0.6) * (rng.random() < 0.4),
        )


class Component:
    """A part of a kind: `values` are those of one more series of it.

    `time` (T,) runs from about 0 to about 1, bent and shifted as the series is.
    """

    def values(self, rng: np.random.Generator, time: np.ndarray, by: Variation) -> np.ndarray:
        raise NotImplementedError


class Wave(Component):
    """Sine, saw or square, of one frequency or a gliding one, its phase fixed or free."""

    def __init__(self, rng: np.random.Generator, n_points: int):
        self.shape = rng.integers(3)
        self.frequency = _log_uniform(rng, 0.5, n_points / 6)
        self.phase = rng.random()
        self.free = rng.random() < 0.5
        self.glide = rng.uniform(0.6, 1.6) if rng.random() < 0.2 else 1.0

    def values(self, rng, time, by):
        frequency = self.frequency * np.exp(0.1 * by.warp * rng.normal())
        phase = rng.random() if self.free else self.phase
        turns = frequency * np.sign(time) * np.abs(time) ** self.glide + phase
        if self.shape == 0:
            return np.sin(2 * np.pi * turns)
        if self.shape == 1:
            return 2 * (turns % 1) - 1
        return np.sign(np.sin(2 * np.pi * turns))


class Walk(Component):
    """A random walk, its ends tied together more or less."""

    def __init__(self, rng: np.random.Generator, n_points: int):
        self.tied = rng.uniform(0.3, 1.0)

    def values(self, rng, time, by):
        walk = np.cumsum(rng.normal(size=len(time)))
        return _standardized(walk - self.tied * np.linspace(walk[0], walk[-1], len(time)))


class Resonance(Component):
    """Noise with a peak in its spectrum."""

    def __init__(self, rng: np.random.Generator, n_points: int):
        self.radius = rng.uniform(0.7, 0.99)
        self.angle = rng.uniform(0.0, 0.8 * np.pi)

    def values(self, rng, time, by):
        poles = [1.0, -2 * self.radius * np.cos(self.angle), self.radius**2]
        return _standardized(lfilter([1.0], poles, rng.normal(size=len(time))))


class Bumps(Component):
    """Some bumps, narrow or wide."""

    def __init__(self, rng: np.random.Generator, n_points: int):
        n = rng.integers(1, 7)
        self.places, self.heights = rng.random(n), rng.normal(size=n)
        self.widths = _log_uniform(rng, 0.004, 0.2) * np.exp(0.5 * rng.normal(size=n))

    def values(self, rng, time, by):
        places = self.places + by.place * rng.normal(size=len(self.places))
        heights = self.heights * np.exp(by.size * rng.normal(size=len(places)))
        bumps = np.exp(-0.5 * ((time[:, None] - places) / self.widths) ** 2)
        return 2 * (bumps @ heights) / max(np.abs(self.heights).mean(), 0.1)


class Steps(Component):
    """Levels that change at once."""

    def __init__(self, rng: np.random.Generator, n_points: int):
        n = rng.integers(1, 6)
        self.places, self.levels = rng.random(n), rng.normal(size=n + 1)

    def values(self, rng, time, by):
        places = np.sort(self.places + by.place * rng.normal(size=len(self.places)))
        levels = self.levels + 0.5 * by.size * rng.normal(size=len(self.levels))
        return levels[np.searchsorted(places, time)]


class Motif(Component):
    """A short course of values, over and over or a few times at random places."""

    def __init__(self, rng: np.random.Generator, n_points: int):
        n_knots = int(rng.integers(4, 40))
        self.motif = _through(rng, 3 * n_knots, n_knots)
        self.motif -= self.motif.mean()
        self.n_times = rng.integers(1, 9)
        self.repeats = rng.random() < 0.6

    def values(self, rng, time, by):
        n_points, length = len(time), len(self.motif)
        if self.repeats:
            place = (time * n_points / length) % 1
            return np.interp(place, np.linspace(0.0, 1.0, length), self.motif)
        x = np.zeros(n_points)
        if n_points > length:
            for start in rng.integers(0, n_points - length, self.n_times):
                x[start : start + length] += self.motif
        return x


_COMPONENTS = (Wave, Wave, Wave, Walk, Resonance, Bumps, Steps, Motif)


class Kind:
    """A random kind of series of about `n_points`."""

    def __init__(self, rng: np.random.Generator, n_points: int):
        self._n_points = n_points
        self.variation = Variation.random(rng)
        self.components = [
            _COMPONENTS[rng.integers(len(_COMPONENTS))](rng, n_points)
            for _ in range(rng.integers(1, 5))
        ]
        self.weights = _log_uniform(rng, 0.3, 3.0, len(self.components))
        self.envelopes = [
            rng.uniform(0.0, 1.5, 5) if rng.random() < 0.3 else None for _ in self.components
        ]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One more series (T,)."""
        by = self.variation
        x = np.zeros(self._n_points)
        even = np.linspace(0.0, 1.0, self._n_points)
        paces = np.exp(by.warp * rng.normal(size=5)).cumsum()
        bent = np.interp(even, np.linspace(0.0, 1.0, 6), np.r_[0.0, paces] / paces[-1])
        time = bent + by.shift * rng.normal()
        for component, weight, envelope in zip(
            self.components, self.weights, self.envelopes, strict=True
        ):
            values = component.values(rng, time, by)
            if envelope is not None:
                values = values * np.interp(time, np.linspace(0.0, 1.0, 5), envelope)
            x += weight * np.exp(by.size * rng.normal()) * values
        if by.trend:
            x += by.trend * x.std() * _through(rng, self._n_points, 4)
        return x + by.noise * (x.std() + _TINY) * rng.normal(size=self._n_points)


def draw_pairs(n_kinds: int, n_points: int, rng: np.random.Generator) -> np.ndarray:
    """Two series of each of so many kinds: (2, n_kinds, 1, n_points) float32.

    Half of the pairs are scaled series by series; the other ones together, to some size and level
    of theirs, as in a panel whose series differ in both.
    """
    pairs = np.empty((2, n_kinds, n_points))
    for i in range(n_kinds):
        kind = Kind(rng, n_points)
        pair = np.stack([kind.draw(rng), kind.draw(rng)])
        if rng.random() < 0.5:
            pair -= pair.mean(1, keepdims=True)
            pairs[:, i] = pair / (pair.std(1, keepdims=True) + _TINY)
        else:
            size, level = np.exp(0.5 * rng.normal()), 0.5 * rng.normal()
            pairs[:, i] = _standardized(pair) * size + level
    return np.clip(pairs, -_LIMIT, _LIMIT).astype(np.float32)[:, :, None]
