"""The smallest panels: few series, few points, few epochs."""

import numpy as np
import pytest
from _panels import classifier, embed, noise, transformer
from numpy.testing import assert_allclose, assert_array_equal

from tsmae import TimeMAEClassifier


def values(n=6, n_points=20, n_channels=2):
    return np.random.default_rng(0).normal(size=(n, n_channels, n_points))


@pytest.mark.parametrize("which", [0, 1], ids=["paper", "defaults"])
@pytest.mark.parametrize("n_points", [6, 7, 8, 9])
@pytest.mark.parametrize("n", [1, 2, 3])
def test__fit_transform__few_series_of_few_windows__finite(which, n, n_points):
    X = values(n, n_points, 1)
    estimator = transformer(which, batch_size=1).fit(X)
    assert np.isfinite(embed(estimator, X)).all()
    assert len(estimator.history_) == 1
    assert np.isfinite(list(estimator.history_[0].values())).all()
    assert estimator.history_[0]["loss"] > 0


@pytest.mark.parametrize("n_points", [1, 3, 4, 5])
def test__fit__no_more_points_than_a_window__clear_error(n_points):
    X = values(n_points=n_points)
    words = rf"window_length.*window_length=4 for series of up to {n_points} time points"
    with pytest.raises(ValueError, match=words):
        transformer().fit(X)
    with pytest.raises(ValueError, match=words):
        classifier().fit(X, np.arange(6) % 2)
    untrained = transformer(max_epochs=0).fit(X)
    assert np.isfinite(embed(untrained, X)).all()
    random = classifier(fine_tune="random").fit(X, np.arange(6) % 2)
    assert np.isfinite(random.predict_proba(X)).all()


def test__fit__window_length_of_one_point__works():
    assert np.isfinite(embed(transformer(1, window_length=1).fit(values()), values())).all()


@pytest.mark.parametrize("which", [0, 1], ids=["paper", "defaults"])
@pytest.mark.parametrize("batch_size", [1, 4, 5, 1000])
def test__fit__any_batch_size__every_series_seen(which, batch_size):
    estimator = transformer(which, batch_size=batch_size).fit(values())
    assert np.isfinite(embed(estimator, values())).all()
    fine_tuned = classifier(which).set_params(batch_size=batch_size)
    assert np.isfinite(fine_tuned.fit(values(), np.arange(6) % 2).predict_proba(values())).all()


@pytest.mark.parametrize("schedule", [None, "one_cycle", "cosine"])
@pytest.mark.parametrize("max_epochs", [0, 1, 2])
def test__fit__few_epochs_of_one_series__history_as_long(max_epochs, schedule):
    settings = {"max_epochs": max_epochs, "lr_schedule": schedule}
    estimator = transformer(**settings).fit(values(1))
    assert estimator.n_epochs_ == len(estimator.history_) == max_epochs
    assert np.isfinite(embed(estimator, values())).all()
    fine_tuned = classifier(**settings).set_params(**settings).fit(values(2), [0, 1])
    assert fine_tuned.n_epochs_ == max_epochs
    assert np.isfinite(fine_tuned.predict_proba(values())).all()


def test__fit__zero_epochs_twice__same_random_encoder():
    one, two = (transformer(max_epochs=0).fit(values()) for _ in range(2))
    assert_array_equal(embed(one, values()), embed(two, values()))


@pytest.mark.parametrize("fine_tune", ["all", "head", "random"])
def test__classifier__two_series__recovers_them(fine_tune):
    X = np.stack([np.zeros((1, 16)), np.sin(np.arange(16))[None]])
    estimator = classifier(1, fine_tune).fit(X, ["flat", "wave"])
    assert estimator.predict(X).tolist() == ["flat", "wave"]


def test__classifier__one_class__predicts_it_and_has_no_embedding():
    estimator = classifier().fit(values(), ["a"] * 6)
    assert estimator.predict(values()).tolist() == ["a"] * 6
    assert_allclose(estimator.predict_proba(values()), np.ones((6, 1)))
    for emits in (lambda: estimator.transform(values()), estimator.get_feature_names_out):
        with pytest.raises(ValueError, match="single class"):
            emits()


def test__classifier__too_few_to_hold_out__fails_before_pretraining():
    pretrained = []

    class Spy(type(transformer())):
        def fit(self, X, y=None):
            pretrained.append(self)
            return super().fit(X, y)

    spy = Spy(**transformer().get_params())
    estimator = TimeMAEClassifier(spy, fine_tune="all", validation_fraction=0.1)
    with pytest.raises(ValueError, match=r"validation_fraction=0.1 of 6 labelled series"):
        estimator.fit(values(), np.arange(6) % 2)
    assert pretrained == []


def test__fit__lone_windows_beside_long_series__finite():
    X = [values(1, n)[0] for n in (1, 2, 3, 4, 20, 21)]
    for which in (0, 1):
        estimator = transformer(which, batch_size=2).fit(X)
        assert np.isfinite(embed(estimator, X)).all()
        assert np.isfinite([row["loss"] for row in estimator.history_]).all()
        assert np.isfinite(list(estimator.reconstruction_metrics(X).values())).all()


def test__fit__identical_series__finite():
    X = np.repeat(values(1), 5, axis=0)
    for which in (0, 1):
        embedded = embed(transformer(which).fit(X), X)
        assert np.isfinite(embedded).all()
        assert_allclose(embedded, np.broadcast_to(embedded[0], embedded.shape), atol=1e-5)


def test__no_epochs__nothing_has_to_be_learned():
    settings = {"mcc_weight": 0.0, "mrr_weight": 0.0, "window_length": 16}
    fitted = transformer(max_epochs=0, **settings).fit(noise(3))
    assert embed(fitted, noise(3)).shape == (3, fitted.embedding_dim_)
