"""The torch modules of TimeMAE; they know tensors, not estimators."""

from tsmae.nn.backbone import Backbone
from tsmae.nn.config import TimeMAEConfig
from tsmae.nn.readout import LAYERS, STATISTICS, SeriesClassifier, SeriesEncoder, pool
from tsmae.nn.timemae import Pretext, TimeMAE

__all__ = [
    "LAYERS",
    "STATISTICS",
    "Backbone",
    "Pretext",
    "SeriesClassifier",
    "SeriesEncoder",
    "TimeMAE",
    "TimeMAEConfig",
    "pool",
]
