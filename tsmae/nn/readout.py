"""From token representations to one vector a series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from tsmae.nn.backbone import Backbone
from tsmae.nn.embedding import bridge_gaps, jitter

_CONSTANT = 1e-4  # relative deviation below which a feature is constant but for rounding

STATISTICS = (
    "mean", "max", "min", "std", "quarters", "autocorrelation", "cross_correlation", "winners",
    "last", "none",
)  # fmt: skip
LAYERS = ("last", "all", "ends")
_N_QUARTERS = 4
_LAGS = (1, 2, 4)  # positions; with two window grids half a window, one and two
_CONSTANT_VARIANCE = 1e-3  # of a feature over positions; correlations of smaller ones fade
_COMPETITORS = 8  # features of which one wins
_SOFTNESS = 0.1  # deviations of a feature; a hard maximum would jump at rounding errors
_N_VECTORS = {"quarters": _N_QUARTERS, "autocorrelation": len(_LAGS), "winners": 2}  # others: 1


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
        in time, and over all of it where a quarter is padding; "autocorrelation" is that of each
        feature, at lags of 1, 2 and 4 positions; "cross_correlation" is that of each feature with
        the next one a position before; "winners" are the shares of positions at which a feature
        is the largest, and the smallest, of a group of eight; "last" is the last position that
        is not padding; "none" flattens the sequence.
    n_positions : int
        Positions that "none" emits; shorter series are filled with zeros.
    units : sequence of pairs of (d,) tensors, optional
        Of each layer the location and scale in which "winners" compares features.

    Returns
    -------
    (B, len(layers) * len(statistics) * d), "none" counting as `n_positions` statistics,
    "quarters" as four, "autocorrelation" as three and "winners" as two.
    """
    pooled = []
    for i, x in enumerate(layers):
        unit = None if units is None else units[i]
        pooled += [_statistic(name, x, valid, n_positions, unit) for name in statistics]
    return torch.cat(pooled, 1)


def _statistic(
    name: str,
    x: torch.Tensor,
    valid: torch.Tensor | None,
    n_positions: int,
    unit: tuple[torch.Tensor, torch.Tensor] | None,
) -> torch.Tensor:
    if name == "none":
        if valid is not None:
            order = torch.arange(1, x.shape[1] + 1, device=x.device)
            x = (x * valid[..., None])[:, : int(torch.where(valid.any(0), order, 0).max())]
        if x.shape[1] > n_positions:
            raise ValueError(
                f"pooling='none' emits {n_positions} positions, as many as the longest series "
                f"in fit has; X has series of {x.shape[1]} windows."
            )
        return nn.functional.pad(x, (0, 0, 0, n_positions - x.shape[1])).flatten(1)
    if name == "quarters":
        return _quarters(x, valid)
    if name == "autocorrelation":
        return _autocorrelation(x, valid)
    if name == "cross_correlation":
        return _cross_correlation(x, valid)
    if name == "winners":
        return _winners(x if unit is None else (x - unit[0]) / unit[1], valid)
    if name == "std":
        # the root has no gradient at 0, where a series of a single position is
        return _centre(x, valid)[1].clamp_min(torch.finfo(x.dtype).tiny).sqrt()
    if name == "mean":
        return _mean(x, valid)
    if valid is None:
        if name == "max":
            return x.amax(1)
        if name == "min":
            return x.amin(1)
        return x[:, -1]
    there = valid[..., None]
    if name == "max":
        return x.masked_fill(~there, -torch.inf).amax(1)
    if name == "min":
        return x.masked_fill(~there, torch.inf).amin(1)
    order = torch.arange(x.shape[1], device=x.device)
    last = torch.where(valid, order, 0).amax(1)
    return x[torch.arange(len(x), device=x.device), last]


def _mean(x: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    if valid is None:
        return x.mean(1)
    there = valid[..., None]
    return (x * there).sum(1) / there.sum(1).clamp_min(1)


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
    if valid is None:
        centred = x - x.mean(1, keepdim=True)
        return centred, centred.square().mean(1)
    there = valid[..., None]
    count = there.sum(1).clamp_min(1)
    centred = (x - ((x * there).sum(1) / count)[:, None]) * there
    return centred, centred.square().sum(1) / count


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


def _is_constant(deviation: np.ndarray, location: np.ndarray) -> np.ndarray:
    return deviation <= _CONSTANT * np.abs(location) + np.finfo(np.float32).tiny


def average_down(x: torch.Tensor, resolution: int, complete: bool = False) -> torch.Tensor:
    """Means of `resolution` points each: (B, C, T) -> (B, C, ⌈T/r⌉), NaN where none was observed.

    Gaps between observations are bridged first, so that each mean stands for the middle of its
    points and not for those that happen to be there. `complete` promises that nothing is NaN.
    """
    if resolution == 1:
        return x
    padding = (0, -x.shape[-1] % resolution)
    if complete:
        padded = nn.functional.pad(x, padding, value=torch.nan)
        return padded.unflatten(-1, (-1, resolution)).nanmean(-1)
    values, observed = bridge_gaps(x)
    begun, ended = observed.cumsum(-1) > 0, observed.flip(-1).cumsum(-1).flip(-1) == 0
    values = values.masked_fill(~begun | ended, torch.nan)
    means = nn.functional.pad(values, padding, value=torch.nan).unflatten(-1, (-1, resolution))
    seen = nn.functional.pad(observed, padding).unflatten(-1, (-1, resolution)).any(-1)
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
        self.offsets = sorted({i * length // shifts for i in range(shifts)})
        n_layers = {"last": 1, "all": backbone.n_layers, "ends": 2}[layers]
        n_positions, d_model = backbone.positions.table.shape
        readings = (*self.resolutions, *self.slopes)
        self.n_flattened = [len(self.offsets) * -(-n_positions // r) for r in readings]
        n_vectors = 0
        for n_flattened in self.n_flattened:
            sizes = {**_N_VECTORS, "none": n_flattened}
            n_vectors += n_layers * sum(sizes.get(s, 1) for s in self.statistics)
        self.embedding_dim = n_vectors * d_model
        if self.slopes:
            n_channels = len(backbone.scaling.location)
            self.register_buffer("slope_scale", torch.ones(len(self.slopes), n_channels))
        self.compares = "winners" in self.statistics
        if self.compares:
            units = (len(readings), n_layers, d_model)
            self.register_buffer("unit_location", torch.zeros(units))
            self.register_buffer("unit_scale", torch.ones(units))
        self.register_buffer("location", torch.zeros(self.embedding_dim))
        self.register_buffer("scale", torch.ones(self.embedding_dim))

    def forward(
        self,
        x: torch.Tensor,
        complete: bool = False,
        generator: torch.Generator | None = None,
        jitter_deviation: float = 0.0,
    ) -> torch.Tensor:
        x = self.backbone.scaling(x)
        if jitter_deviation:
            assert generator is not None, "jitter draws from a generator"
            x = jitter(x, jitter_deviation, generator)
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
        for resolution in self.resolutions:
            yield average_down(x, resolution, complete)
        for i, resolution in enumerate(self.slopes):
            rises = slope(average_down(x, resolution, complete), complete)
            yield rises / self.slope_scale[i, :, None]

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
            pooled.append(pool(layers, valid, ("mean", "std"), 0))
        return torch.stack(pooled, 1).unflatten(2, (len(layers), 2, -1))

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
        scale[scale <= np.finfo(np.float32).tiny] = 1.0  # of a channel that never moves
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
        scale = embeddings.std(0, dtype=np.float64)
        scale[_is_constant(scale, location)] = 1.0
        scale = np.maximum(scale, smallest * np.median(scale))
        self.location.copy_(torch.from_numpy(location))
        self.scale.copy_(torch.from_numpy(scale))

    def resize(self, factor: float) -> None:
        """Multiply all embeddings by a factor."""
        self.scale /= factor


class SeriesClassifier(nn.Module):
    """A :class:`SeriesEncoder` and a linear head: (B, C, T) -> logits (B, n_classes)."""

    def __init__(self, encoder: SeriesEncoder, n_classes: int):
        super().__init__()
        self.encoder = encoder
        self.head = nn.utils.skip_init(nn.Linear, encoder.embedding_dim, n_classes)
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
        return self.head(self.encoder(x, complete, generator, jitter_deviation))
