"""Weights to start from: a backbone that learned to tell synthetic series apart.

:mod:`~tsmae.synthetic.series` draws the series, ``python -m tsmae.synthetic`` trains the
backbone on them. No measured series went into it. The stored weights were made while views went
through the encoder one after the other: trained again they come out alike and not the same, as
rounding differs.
"""

from tsmae.synthetic.weights import ARCHITECTURE, misfit, start_from_synthetic

__all__ = ["ARCHITECTURE", "misfit", "start_from_synthetic"]
