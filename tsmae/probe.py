"""The linear probe: how good an embedding is for a linear classifier."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.linalg import eigh
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import validate_data

# of the squared weights, times features, beside the mean loss of a series: what suits the 15360
# columns of the default readout. Fewer want less of it.
_PENALTY = 5e-5
_COLUMNS = 15360
MAX_ITERATIONS = 1000
_EMBEDDING_NORM = 10.0  # of an embedding; LogisticRegression's C=1 then suits some 200 labels
_FEW_SERIES = 8  # times fewer than features; a rotation of more costs more than it saves
_NEGLIGIBLE = 1e-10  # of the largest square: float32 knows no more


class LinearProbe(LogisticRegression):
    """Logistic regression for standardised embeddings, with a penalty that suits their size.

    Put a ``StandardScaler()`` before it. `TimeMAETransformer.transform` scales embeddings for
    scikit-learn's default penalty as well, which is as good on the panels measured (8 to 9200
    labels).

    scikit-learn's `C` weighs the *sum* of losses, so one value of it is a weaker penalty the
    more series there are. Here the penalty is constant beside the mean loss of a series, and
    grows with the number D of features: ``C = 1 / (5e-5 n D √(D / 15360))`` for n series, and at
    most 1. That did well at 128, 640 and 15360 features and 20 to 6000 series on held-out training
    data, see ``benchmarks/results/README.md``.

    Series span no more dimensions than they are, and the penalty sees no rotation: where they are
    few beside the features, a regression on their coordinates along the axes of what they span
    finds the same in less time.

    Parameters
    ----------
    class_weight : dict, "balanced" or None, default=None
    max_iter : int, default=1000

    Attributes
    ----------
    C_ : float
        Inverse strength of the penalty.
    classes_, coef_, intercept_, n_iter_, n_features_in_, feature_names_in_
        As in :class:`sklearn.linear_model.LogisticRegression`; coefficients are of all features.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from tsmae import TimeMAETransformer
    >>> from tsmae.probe import LinearProbe
    >>> pipeline = make_pipeline(TimeMAETransformer(), StandardScaler(), LinearProbe())
    """

    def __init__(
        self, *, class_weight: dict | str | None = None, max_iter: int = MAX_ITERATIONS
    ) -> None:
        super().__init__(class_weight=class_weight, max_iter=max_iter)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags

    @property
    def set_callbacks(self):
        """Not there: `fit` leaves the iterations to another estimator, which would not call any."""
        raise AttributeError("LinearProbe takes no callbacks of scikit-learn's.")

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit.

        Parameters
        ----------
        X : (n, D) array or DataFrame
            Standardised.
        y : (n,) array-like
        sample_weight : (n,) array-like, optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As in :class:`sklearn.linear_model.LogisticRegression`.
        """
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        n_series, n_features = X.shape
        penalty = _PENALTY * n_features * (n_features / _COLUMNS) ** 0.5
        self.C_ = min(1.0, 1.0 / (penalty * n_series))
        model = LogisticRegression(
            C=self.C_, class_weight=self.class_weight, max_iter=self.max_iter
        )
        if _FEW_SERIES * n_series >= n_features or not X.any():
            model.fit(X, y, sample_weight)
            self.coef_ = model.coef_
        else:
            X = X.astype(np.float64)
            squares, directions = eigh(X @ X.T)
            there = squares > _NEGLIGIBLE * squares[-1]
            lengths, directions = np.sqrt(squares[there]), directions[:, there]
            model.fit(directions * lengths, y, sample_weight)
            self.coef_ = (model.coef_ / lengths @ directions.T) @ X
        self.classes_, self.intercept_, self.n_iter_ = (
            model.classes_, model.intercept_, model.n_iter_,
        )  # fmt: skip
        return self


def column_deviation(n_columns: int) -> float:
    """Deviation of each column of embeddings that suit scikit-learn's default penalties."""
    return _EMBEDDING_NORM / n_columns**0.5
