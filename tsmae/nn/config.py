"""The architecture of a TimeMAE in one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TimeMAEConfig:
    """Everything needed to build a :class:`~tsmae.nn.TimeMAE`.

    The fields carry the names and the meaning of the parameters of
    :class:`tsmae.TimeMAETransformer`, which sets each; ``n_channels`` and ``n_positions`` come
    from the panel seen in ``fit``. The defaults, near the paper's, are for modules built alone.
    """

    n_channels: int
    n_positions: int
    window_length: int = 8
    d_model: int = 64
    n_heads: int = 4
    n_layers: int = 8
    n_decoupled_layers: int = 4
    dropout: float = 0.2
    decoupled_dropout: float | None = None
    block: str = "timemae"
    stem: str = "linear"
    window_statistics: bool = False
    scaling: str | None = "channel"
    mask_ratio: float = 0.6
    mask_per: str = "series"
    decoupled: bool = True
    tokenizer: str = "learned"
    n_codebooks: int = 1
    n_codewords: int = 192
    temperature: float = 1.0
    codeword_gradient: bool = True
    label_smoothing: float = 0.2
    mcc_weight: float = 1.0
    mrr_weight: float = 5.0
    mrr_target: str = "raw"
    momentum: float = 0.99
    reconstruction_weight: float = 0.0
    spectral_weight: float = 0.0
    contrast_weight: float = 0.0
    contrast_temperature: float = 0.2

    @property
    def predicts(self) -> bool:
        """Whether any objective predicts masked sub-series."""
        weights = (self.mcc_weight, self.mrr_weight, self.reconstruction_weight)
        return any((*weights, self.spectral_weight))

    def weighted(self, mrr: Any, mcc: Any, reconstruction: Any, contrast: Any) -> Any:
        """The loss, of its parts; that of reconstruction is weighted already."""
        predicting = self.mrr_weight * mrr + self.mcc_weight * mcc + reconstruction
        return predicting + self.contrast_weight * contrast
