"""Weights to start from: a backbone that learned to tell synthetic series apart.

:mod:`~tsmae.synthetic.series` draws the series, ``python -m tsmae.synthetic`` trains the
backbone on them. No measured series went into it. Trained again they come out alike and not the
same, as rounding differs from release to release.
"""

from tsmae.synthetic.weights import ARCHITECTURE, misfit, start_from_synthetic

__all__ = ["ARCHITECTURE", "misfit", "start_from_synthetic"]
