"""From token representations to one vector a series."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from tsmae.nn.backbone import Backbone
from tsmae.nn.layers import linear
from tsmae.nn.pooling import n_vectors, pool
from tsmae.nn.series import average_down, slope

LAYERS = ("last", "all", "ends")
_CONSTANT = 1e-4  # relative deviation below which a feature is constant but for rounding
_NOISE = 1e-5  # likewise, of the size of all features, at most 1
_ROUNDING = 1e-6  # smaller slopes of scaled series, which are of size 1, are none
_COLUMN_BLOCKS = 32


def _is_constant(deviation: np.ndarray, location: np.ndarray) -> np.ndarray:
    size = min(1.0, np.sqrt(np.square(location).mean()))
    smallest = np.maximum(_CONSTANT * np.abs(location), _NOISE * size)
    return deviation <= smallest + np.finfo(np.float32).tiny


def _interleave(
    grids: Sequence[tuple[list[torch.Tensor], torch.Tensor | None]],
) -> tuple[list[torch.Tensor], torch.Tensor | None]:
    """Layers and validity of several window grids as one sequence in the order of time."""
    device, n_grids = grids[0][0][0].device, len(grids)
    starts = [
        torch.arange(layers[0].shape[1], device=device) * n_grids + j
        for j, (layers, _) in enumerate(grids)
    ]
    order = torch.cat(starts).argsort()
    layers = [torch.cat(parts, 1)[:, order] for parts in zip(*(g for g, _ in grids), strict=True)]
    masks = [valid for _, valid in grids if valid is not None]  # of all grids, or of none
    return layers, torch.cat(masks, 1)[:, order] if masks else None


class SeriesEncoder(nn.Module):
    """Series (B, C, T) in, embeddings (B, D) out.

    Parameters
    ----------
    backbone : Backbone
    statistics : sequence of str
        See :func:`pool`.
    layers : {"last", "all", "ends"}
        Which layers are pooled: the encoder's last, all of the encoder's, or the embedded
        windows z, before positions, and the encoder's last.
    resolutions : sequence of int
        The series is encoded once for each of them, averaged over so many points each time.
    shifts : int
        Statistics are pooled over so many window grids together, each a share of the window
        later than the one before.
    slopes : sequence of int
        Once more for each of these resolutions, as the :func:`slope` of the averaged series.

    Attributes
    ----------
    embedding_dim : int
        D.
    compares : bool
        Whether features are compared with each other, so that :meth:`calibrate` has a use.
    location, scale : (D,) buffers
        Embeddings leave shifted and scaled by them; see :meth:`standardize` and
        :meth:`resize`.
    slope_scale : (S, C) buffer
        What slopes are divided by, the root of their mean square; only with `slopes`, see
        :meth:`scale_slopes`.
    unit_location, unit_scale : (R + S, L, d) buffers
        Mean and deviation of each pooled feature over windows, by reading and layer, in
        which "winners" compares features; only with that statistic, see :meth:`calibrate`.
    """

    location: torch.Tensor
    scale: torch.Tensor
    slope_scale: torch.Tensor
    unit_location: torch.Tensor
    unit_scale: torch.Tensor

    def __init__(
        self,
        backbone: Backbone,
        statistics: Sequence[str],
        layers: str = "last",
        resolutions: Sequence[int] = (1,),
        shifts: int = 1,
        slopes: Sequence[int] = (),
    ):
        super().__init__()
        self.backbone = backbone
        self.statistics = tuple(statistics)
        self.layers = layers
        self.resolutions = tuple(resolutions)
        self.slopes = tuple(slopes)
        length = backbone.window_length
        shifts = min(shifts, length)  # more make no other grids
        self.offsets = [i * length // shifts for i in range(shifts)]
        n_layers = {"last": 1, "all": backbone.n_layers, "ends": 2}[layers]
        n_positions, d_model = backbone.positions.table.shape
        readings = (*self.resolutions, *self.slopes)
        self.n_flattened = [len(self.offsets) * -(-n_positions // r) for r in readings]
        n_pooled = sum(n_vectors(s, n) for s in self.statistics for n in self.n_flattened)
        self.embedding_dim = n_pooled * n_layers * d_model
        if self.slopes:
            n_channels = len(backbone.scaling.location)
            self._buffer("slope_scale", torch.ones, len(self.slopes), n_channels)
        self.compares = "winners" in self.statistics
        if self.compares:
            units = (len(readings), n_layers, d_model)
            self._buffer("unit_location", torch.zeros, *units)
            self._buffer("unit_scale", torch.ones, *units)
        self._buffer("location", torch.zeros, self.embedding_dim)
        self._buffer("scale", torch.ones, self.embedding_dim)

    def _buffer(self, name: str, make: Callable[..., torch.Tensor], *shape: int) -> None:
        self.register_buffer(name, make(shape, dtype=torch.float32))

    def forward(
        self,
        x: torch.Tensor,
        complete: bool = False,
        generator: torch.Generator | None = None,
        jitter_deviation: float = 0.0,
    ) -> torch.Tensor:
        """Embeddings (B, D) of series (B, C, T) float32, NaN where nothing was observed.

        `complete` promises that nothing is NaN. `generator` is the source of dropout and jitter,
        of use in training only.
        """
        x = self.backbone.scaling.jittered(x, jitter_deviation, generator)
        pooled = []
        for i, reading in enumerate(self._readings(x, complete)):
            layers, valid = self._encode(reading, complete, generator)
            units = None
            if self.compares:
                units = list(zip(self.unit_location[i], self.unit_scale[i], strict=True))
            pooled.append(pool(layers, valid, self.statistics, self.n_flattened[i], units))
        return (torch.cat(pooled, 1) - self.location) / self.scale

    def _readings(self, x: torch.Tensor, complete: bool) -> Iterator[torch.Tensor]:
        """What is encoded of scaled series: themselves at each resolution, then their slopes."""
        averaged = {
            resolution: average_down(x, resolution, complete)
            for resolution in {*self.resolutions, *self.slopes}
        }
        for resolution in self.resolutions:
            yield averaged[resolution]
        for i, resolution in enumerate(self.slopes):
            yield slope(averaged[resolution], complete) / self.slope_scale[i, :, None]

    def squared_slopes(self, x: torch.Tensor, complete: bool = False) -> torch.Tensor:
        """Sums of squares and numbers of slopes: (B, C, T) -> (B, S, 2, C).

        What :meth:`scale_slopes` takes.
        """
        x = self.backbone.scaling(x)
        sums = []
        for resolution in self.slopes:
            rises = slope(average_down(x, resolution, complete), complete)
            sums.append(torch.stack([rises.square().nansum(-1), (~rises.isnan()).sum(-1)], 1))
        return torch.stack(sums, 1)

    def moments(self, x: torch.Tensor, complete: bool = False) -> torch.Tensor:
        """Means and deviations over windows of each pooled feature: (B, R + S, L, 2, d).

        Of series (B, C, T); what :meth:`calibrate` takes.
        """
        pooled = []
        for reading in self._readings(self.backbone.scaling(x), complete):
            layers, valid = self._encode(reading, complete, None)
            both = pool(layers, valid, ("mean", "std"), 0)
            pooled.append(both.unflatten(1, (len(layers), 2, -1)))
        return torch.stack(pooled, 1)

    def _encode(
        self, x: torch.Tensor, complete: bool, generator: torch.Generator | None
    ) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """The layers to pool of scaled series (B, C, T), windows of all grids in one sequence."""
        grids = []
        for offset in self.offsets:
            if offset < x.shape[-1]:  # otherwise nothing is left
                (embedded, *layers), valid = self.backbone.encode(x, complete, generator, offset)
                if self.layers == "ends":
                    layers = [embedded, layers[-1]]
                elif self.layers == "last":
                    layers = layers[-1:]
                grids.append((layers, valid))
        return _interleave(grids) if len(grids) > 1 else grids[0]

    def scale_slopes(self, sums: np.ndarray) -> None:
        """Let the slopes of each channel have a mean square of 1, as the encoder expects.

        Parameters
        ----------
        sums : (n, S, 2, C) array
            Of a panel, see :meth:`squared_slopes`.
        """
        squares, counts = sums.sum(0, dtype=np.float64).swapaxes(0, 1)
        scale = np.sqrt(squares / np.maximum(counts, 1)).astype(np.float32)
        scale[scale <= _ROUNDING] = 1.0  # of a channel that never moves
        self.slope_scale.copy_(torch.from_numpy(scale))

    def calibrate(self, moments: np.ndarray) -> None:
        """Choose the units in which features are compared from the moments of series.

        Parameters
        ----------
        moments : (n, R + S, L, 2, d) array
            Of a panel, see :meth:`moments`. Each series counts alike.
        """
        means, deviations = moments[:, :, :, 0].astype(np.float64), moments[:, :, :, 1]
        location = means.mean(0)
        scale = np.sqrt(means.var(0) + np.square(deviations, dtype=np.float64).mean(0))
        scale[_is_constant(scale, location)] = 1.0
        self.unit_location.copy_(torch.from_numpy(location))
        self.unit_scale.copy_(torch.from_numpy(scale))

    def standardize(self, embeddings: np.ndarray, smallest: float = 0.0) -> None:
        """Choose `location` and `scale` so that these embeddings become standardised.

        Parameters
        ----------
        embeddings : (n, D) array
            Output for a panel while `location` is 0 and `scale` 1.
        smallest : float, default=0.0
            Bound of `scale` from below, as a share of its median. An encoder that is trained
            on needs one: a step that moves a nearly constant feature would be blown up.
        """
        location = embeddings.mean(0, dtype=np.float64)
        parts = np.array_split(embeddings, _COLUMN_BLOCKS, axis=1)  # numpy copies what it averages
        scale = np.concatenate([part.std(0, dtype=np.float64) for part in parts])
        scale[_is_constant(scale, location)] = 1.0
        scale = np.maximum(scale, smallest * np.median(scale))
        self.location.copy_(torch.from_numpy(location))
        self.scale.copy_(torch.from_numpy(scale))

    @property
    def is_standardized(self) -> bool:
        """Whether embeddings are shifted, as after :meth:`standardize`."""
        return bool(self.location.any())

    def standardized(self, embeddings: np.ndarray) -> np.ndarray:
        """The embeddings that `standardize` saw, in place, as they come from then on."""
        embeddings -= self.location.cpu().numpy()
        embeddings /= self.scale.cpu().numpy()
        return embeddings

    def resize(self, factor: float) -> None:
        """Multiply all embeddings by a factor."""
        self.scale /= factor


class SeriesClassifier(nn.Module):
    """A :class:`SeriesEncoder` and a linear head: (B, C, T) -> logits (B, n_classes)."""

    def __init__(self, encoder: SeriesEncoder, n_classes: int):
        super().__init__()
        self.encoder = encoder
        self.head = linear(encoder.embedding_dim, n_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @torch.no_grad()
    def set_head(self, coefficients: np.ndarray, intercepts: np.ndarray) -> None:
        """Take a logistic regression's weights: (n_classes, D) and (n_classes,), or one row.

        A single row is the second class of two against the first.
        """
        if len(coefficients) == 1:
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
        self.head.weight.copy_(torch.from_numpy(coefficients))
        self.head.bias.copy_(torch.from_numpy(intercepts))

    def forward(
        self,
        x: torch.Tensor,
        complete: bool = False,
        generator: torch.Generator | None = None,
        jitter_deviation: float = 0.0,
    ) -> torch.Tensor:
        """Logits (B, n_classes); parameters as of :meth:`SeriesEncoder.forward`."""
        return self.head(self.encoder(x, complete, generator, jitter_deviation))
