"""The linear probe: how good an embedding is for a linear classifier."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.linalg import eigh
from sklearn.linear_model import LogisticRegression

_PENALTY = 5e-5  # of the squared weights, times features, beside the mean loss of a series
MAX_ITERATIONS = 1000
_EMBEDDING_NORM = 10.0  # of an embedding; LogisticRegression's C=1 then suits some 200 labels
_FEW_SERIES = 8  # times fewer than features; a rotation of more costs more than it saves
_NEGLIGIBLE = 1e-10  # of the largest square: float32 knows no more


def linear_probe(
    n_series: int, n_features: int, class_weight: dict | str | None = None
) -> LogisticRegression:
    """Logistic regression for standardised embeddings of `n_series` labelled series.

    `TimeMAETransformer.transform` scales embeddings for scikit-learn's default penalty, which
    is as good on the panels measured (8 to 9200 labels); put a ``StandardScaler()`` before this
    one.

    scikit-learn's `C` weighs the *sum* of losses, so one value of it is a weaker penalty the
    more series there are, and the more features, which share what one weight would have to do
    alone. Here the penalty is constant beside the mean loss of a series and the squared length
    of an embedding: ``C = 1 / (5e-5 n_features n_series)``, and at most 1. The value did well
    for 64 to 5000 features and 20 to 6000 series in cross-validation on training data, by
    subject on HAR and on 16 UCR sets.

    Parameters
    ----------
    n_series, n_features : int
    class_weight : dict, "balanced" or None, default=None

    Returns
    -------
    sklearn.linear_model.LogisticRegression
        Not fitted.
    """
    c = min(1.0, 1.0 / (_PENALTY * n_features * n_series))
    return LogisticRegression(C=c, class_weight=class_weight, max_iter=MAX_ITERATIONS)


def column_deviation(n_columns: int) -> float:
    """Deviation of each column of embeddings that suit scikit-learn's default penalties."""
    return _EMBEDDING_NORM / n_columns**0.5


def fit_probe(
    embeddings: np.ndarray | pd.DataFrame,
    targets: np.ndarray,
    class_weight: dict | str | None = None,
) -> LogisticRegression:
    """A :func:`linear_probe`, fitted, in less time where series are few beside their features.

    They span as many dimensions as they are, and the penalty sees no rotation: a regression on
    their coordinates along the axes of what they span finds the same.

    Parameters
    ----------
    embeddings : (n, D) array or DataFrame
        Standardised.
    targets : (n,) array
    class_weight : dict, "balanced" or None, default=None

    Returns
    -------
    sklearn.linear_model.LogisticRegression
        Fitted, for embeddings of all D columns.
    """
    n_series, n_features = embeddings.shape
    probe = linear_probe(n_series, n_features, class_weight)
    series = np.asarray(embeddings)
    if _FEW_SERIES * n_series >= n_features or not series.any():
        return probe.fit(embeddings, targets)
    series = series.astype(np.float64)
    squares, directions = eigh(series @ series.T)
    there = squares > _NEGLIGIBLE * squares[-1]
    lengths, directions = np.sqrt(squares[there]), directions[:, there]
    probe.fit(directions * lengths, targets)
    probe.coef_ = (probe.coef_ / lengths @ directions.T) @ series
    probe.n_features_in_ = n_features
    if isinstance(embeddings, pd.DataFrame) and all(isinstance(c, str) for c in embeddings):
        probe.feature_names_in_ = embeddings.columns.to_numpy(object)
    return probe
