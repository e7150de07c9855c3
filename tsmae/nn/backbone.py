"""What stays after pre-training: a batch of series in, encoded sub-series out."""

from __future__ import annotations

import torch
from torch import nn

from tsmae.nn.blocks import Encoder, ForeignEncoder
from tsmae.nn.config import TimeMAEConfig
from tsmae.nn.embedding import (
    FeatureEncoder,
    Positions,
    Windows,
    cut_lone_tail,
    pad_to_windows,
    slice_windows,
    without_lone_tail,
)
from tsmae.nn.layers import initialize
from tsmae.nn.series import Scaling, bridge_gaps

# of positions at the start. As large as windows they let the regression of "timemae" pass without
# a look at the data, as in the released runs; "pre_norm" leaves that to the windows
_POSITION_STD = {"timemae": 1.0, "pre_norm": 0.02}


def never_empty(present: torch.Tensor | None) -> torch.Tensor | None:
    """All positions (B, N) of a series that has none: attending to nothing would be NaN."""
    return None if present is None else present | ~present.any(1, keepdim=True)


class Backbone(nn.Module):
    """Scaling, windows, feature encoder, positions and the visible encoder H_θ.

    Parameters
    ----------
    config : TimeMAEConfig
    generator : torch.Generator
        Source of the initial weights.
    encoder : nn.Module, optional
        A (B, N, d) -> (B, N, d) module in the place of the visible encoder; its weights are
        left as they are.
    """

    def __init__(
        self,
        config: TimeMAEConfig,
        generator: torch.Generator,
        encoder: nn.Module | None = None,
    ):
        super().__init__()
        self.window_length = config.window_length
        self.scaling = Scaling(config.n_channels, config.scaling)
        self.feature_encoder = FeatureEncoder(config)
        self.positions = Positions(config.n_positions, config.d_model)
        self.encoder = Encoder(config) if encoder is None else ForeignEncoder(encoder)
        initialize(self.feature_encoder, config.block, generator)
        self.feature_encoder.zero_missing()
        nn.init.normal_(self.positions.table, std=_POSITION_STD[config.block], generator=generator)
        if encoder is None:
            initialize(self.encoder, config.block, generator)

    @property
    def n_layers(self) -> int:
        """Layers of the encoder."""
        return len(self.encoder.blocks) if isinstance(self.encoder, Encoder) else 1

    def windows(
        self,
        x: torch.Tensor,
        complete: bool = False,
        masked: torch.Tensor | None = None,
        offset: int = 0,
    ) -> Windows:
        """Slice scaled series (B, C, T); `complete` promises that nothing in x is NaN.

        Windows that are `masked` (B, N) count as not observed. The first window begins at
        `offset`; gaps are bridged from what is before it, too.
        """
        length = self.window_length
        if complete:
            x, offset = cut_lone_tail(x[..., offset:], length), 0
        padded = pad_to_windows(x, length, offset)
        if complete and padded.shape == x.shape:
            return Windows(slice_windows(padded, length).contiguous(), None, None)
        if masked is not None:
            padded = padded.masked_fill(masked.repeat_interleave(length, 1)[:, None], torch.nan)
        values, observed = (
            slice_windows(part[..., offset:], length) for part in bridge_gaps(padded)
        )
        # with a padded tail only, every window still holds observations
        valid = None if complete else without_lone_tail(observed)
        # where a channel tells nothing, its absence must not either
        return Windows(values, observed | self.scaling.dead, valid)

    def embed(self, windows: Windows) -> tuple[torch.Tensor, torch.Tensor]:
        """Sub-series embeddings z (B, N, d) and positions p (1 or B, N, d), not yet added."""
        z = self.feature_encoder(windows)
        return z, self.positions(z.shape[1], windows.valid)

    def encode(
        self,
        x: torch.Tensor,
        complete: bool = False,
        generator: torch.Generator | None = None,
        offset: int = 0,
    ) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """All positions through the visible encoder, as in fine-tuning.

        Parameters
        ----------
        x : (B, C, T) float tensor, scaled, NaN where not observed.
        complete : bool
            Promises that nothing in x is NaN, which saves the masks.
        generator : torch.Generator, optional
            Source of dropout noise; None at inference.
        offset : int
            Point at which the first window begins, before the end of the longest series.

        Returns
        -------
        layers : list of (B, N, d): the embedded windows z, then one a layer
        valid : (B, N) bool, or None where no position is padding
        """
        windows = self.windows(x, complete, offset=offset)
        z, p = self.embed(windows)
        return [z, *self.encoder(z + p, never_empty(windows.valid), generator)], windows.valid
