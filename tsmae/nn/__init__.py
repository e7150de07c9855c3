"""The torch modules of TimeMAE; they know tensors, not estimators."""

from tsmae.nn.backbone import Backbone
from tsmae.nn.config import TimeMAEConfig
from tsmae.nn.pooling import STATISTICS, pool
from tsmae.nn.readout import LAYERS, SeriesClassifier, SeriesEncoder
from tsmae.nn.timemae import TimeMAE

__all__ = [
    "LAYERS",
    "STATISTICS",
    "Backbone",
    "SeriesClassifier",
    "SeriesEncoder",
    "TimeMAE",
    "TimeMAEConfig",
    "pool",
]
