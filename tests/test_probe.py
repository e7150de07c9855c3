"""The linear probe: a logistic regression whose penalty suits the size of embeddings."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from tsmae.probe import LinearProbe


def test__check_estimator__of_scikit_learn():
    check_estimator(LinearProbe(), on_skip=None)


@pytest.mark.parametrize("n_features", [40, 400])
def test__fit__takes_what_transform_gives(n_features):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(30, n_features)))
    y = np.arange(30) % 3
    expected = LinearProbe().fit(X.to_numpy(), y).decision_function(X.to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of names that were not there in fit, or were
        for named in (X, X.add_prefix("timemae")):
            probe = LinearProbe().fit(named, y)
            np.testing.assert_array_equal(probe.decision_function(named), expected)


@pytest.mark.parametrize(
    ("n_series", "n_features", "C"),
    [
        (10, 1000, 1.0),  # at most
        (100, 15360, 1 / (5e-5 * 100 * 15360)),
        (200, 15360, 1 / (5e-5 * 200 * 15360)),  # constant beside the mean loss
        (400, 3840, 1 / (5e-5 * 400 * 1920)),  # a quarter of the features: an eighth of it
    ],
)
def test__penalty__grows_with_series_and_features(n_series, n_features, C):
    X = np.random.default_rng(0).normal(size=(n_series, n_features))
    probe = LinearProbe(max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        probe.fit(X, np.arange(n_series) % 2)
    assert pytest.approx(C) == probe.C_


def test__pipeline__penalty_is_that_of_each_fold():
    X, y = np.random.default_rng(0).normal(size=(300, 500)), np.arange(300) % 2
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LinearProbe()),
        {"linearprobe__class_weight": [None, "balanced"]},
        cv=3,
    ).fit(X, y)
    penalty = 5e-5 * 500 * (500 / 15360) ** 0.5
    assert pytest.approx(min(1, 1 / (penalty * 300))) == search.best_estimator_[-1].C_


def test__fit__series_that_are_all_alike__decides_by_frequency():
    probe = LinearProbe().fit(np.zeros((6, 100), np.float32), np.array([0, 0, 0, 0, 1, 2]))
    np.testing.assert_allclose(
        probe.predict_proba(np.zeros((1, 100))), [[4 / 6, 1 / 6, 1 / 6]], atol=1e-3
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("n_features", "n_fitted"), [(400, 24), (96, 96)])
def test__fit__few_series__as_with_all_features(
    n_classes, n_features, n_fitted, weighted, monkeypatch
):
    rng, y = np.random.default_rng(0), np.arange(24) % n_classes
    X = rng.normal(size=(24, n_features)) + y[:, None] * rng.normal(size=n_features) + 0.5
    weights = {0: 2.0, 1: 0.5, 2: 1.0}
    of_series = rng.uniform(0, 2, size=24) if weighted else None
    widths, fit = [], LogisticRegression.fit

    def noting_width(self, X, y, sample_weight=None):
        widths.append(X.shape[1])
        return fit(self, X, y, sample_weight)

    with monkeypatch.context() as patch:
        patch.setattr(LogisticRegression, "fit", noting_width)
        probe = LinearProbe(class_weight=weights).fit(X, y, of_series)
    assert widths == [n_fitted]
    expected = LogisticRegression(C=probe.C_, class_weight=weights, max_iter=1000, tol=1e-8)
    expected.fit(X, y, of_series)
    unseen = rng.normal(size=(50, n_features))
    np.testing.assert_allclose(
        probe.predict_proba(unseen), expected.predict_proba(unseen), atol=5e-3
    )


@pytest.mark.skipif(
    not hasattr(LogisticRegression, "set_callbacks"), reason="scikit-learn has no callbacks"
)
def test__callbacks_of_scikit_learn__not_offered_and_a_pipeline_warns():
    from sklearn.callback import ProgressBar

    assert not hasattr(LinearProbe(), "set_callbacks")
    pipeline = make_pipeline(StandardScaler(), LinearProbe()).set_callbacks(ProgressBar())
    X, y = np.random.default_rng(0).normal(size=(12, 4)), np.arange(12) % 2
    with pytest.warns(UserWarning, match="LinearProbe"):
        pipeline.fit(X, y)


@pytest.mark.parametrize("n_features", [5, 400], ids=["as it is", "in the span of the series"])
def test__max_iter__is_the_solver_s(n_features):
    X, y = np.random.default_rng(0).normal(size=(40, n_features)), np.arange(40) % 2
    with pytest.warns(ConvergenceWarning):
        assert LinearProbe(max_iter=1).fit(X, y).n_iter_ == 1


def test__fit__few_series_of_float32__to_the_digits_of_float64():
    rng, y = np.random.default_rng(0), np.arange(24) % 3
    X = rng.normal(size=(24, 400)).astype(np.float32)
    one, other = (LinearProbe().fit(given, y) for given in (X, X.astype(np.float64)))
    np.testing.assert_array_equal(one.coef_, other.coef_)
