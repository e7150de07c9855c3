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
    if name not in _MODULES and name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(_HOMES.get(name, f"tsmae.{name}"))
    except AttributeError as error:  # which would say that tsmae has no such name
        raise ImportError(f"{name} cannot be imported from tsmae: {error}") from error
    return getattr(module, name) if name in _HOMES else module


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
