"""tsmae: masked autoencoders for time series panels with few labels.

The estimators are imported when they are first asked for: ``import tsmae`` itself is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tsmae._version import __version__

if TYPE_CHECKING:
    from tsmae import presets
    from tsmae.classifier import TimeMAEClassifier
    from tsmae.transformer import TimeMAETransformer

__all__ = ["TimeMAEClassifier", "TimeMAETransformer", "__version__", "presets"]

_MODULES = ("plotting", "presets", "probe")
_HOMES = {
    "TimeMAEClassifier": "tsmae.classifier",
    "TimeMAETransformer": "tsmae.transformer",
}


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f"tsmae.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
