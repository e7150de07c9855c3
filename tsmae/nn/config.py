"""The architecture of a TimeMAE in one frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PREDICTING = ("mcc_weight", "mrr_weight", "reconstruction_weight", "spectral_weight")


@dataclass(frozen=True, kw_only=True)
class TimeMAEConfig:
    """Everything needed to build a :class:`~tsmae.nn.TimeMAE`.

    The fields carry the names and the meaning of the parameters of
    :class:`tsmae.TimeMAETransformer`, which sets each and has the defaults; ``n_channels``
    and ``n_positions`` come from the panel seen in ``fit``.
    """

    n_channels: int
    n_positions: int
    window_length: int
    d_model: int
    n_heads: int
    n_layers: int
    n_decoupled_layers: int
    dropout: float
    decoupled_dropout: float | None
    block: str
    stem: str
    window_statistics: bool
    scaling: str | None
    mask_ratio: float
    mask_per: str
    decoupled: bool
    tokenizer: str
    n_codebooks: int
    n_codewords: int
    temperature: float
    codeword_gradient: bool
    label_smoothing: float
    mcc_weight: float
    mrr_weight: float
    mrr_target: str
    momentum: float
    reconstruction_weight: float
    spectral_weight: float
    contrast_weight: float
    contrast_temperature: float

    @property
    def predicts(self) -> bool:
        """Whether any objective predicts masked sub-series."""
        return any(getattr(self, weight) for weight in PREDICTING)

    def weighted(self, mrr: Any, mcc: Any, reconstruction: Any, contrast: Any) -> Any:
        """The loss, of its parts; that of reconstruction is weighted already."""
        predicting = self.mrr_weight * mrr + self.mcc_weight * mcc + reconstruction
        return predicting + self.contrast_weight * contrast
