"""tsmae: masked autoencoders for time series panels with few labels."""

from tsmae import presets
from tsmae._version import __version__
from tsmae.classifier import TimeMAEClassifier
from tsmae.transformer import TimeMAETransformer

__all__ = ["TimeMAEClassifier", "TimeMAETransformer", "__version__", "presets"]
