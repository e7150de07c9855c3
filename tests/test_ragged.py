"""Series of unequal length: the padding behind a series changes nothing."""

import copy

import numpy as np
import pytest
import torch
from _panels import classifier, containers, embed, pad, ragged, transformer
from numpy.testing import assert_allclose, assert_array_equal

import tsmae.nn.timemae
from tsmae.nn import STATISTICS
from tsmae.nn.embedding import n_windows
from tsmae.nn.masking import draw_mask, n_masked_of

SERIES, LABELS = ragged()
CONTAINERS = containers(SERIES)


@pytest.fixture(scope="module", params=[0, 1], ids=["paper", "defaults"])
def which(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(which):
    return transformer(which).fit(SERIES)


@pytest.fixture(scope="module")
def fitted_classifier(which):
    return classifier(which).fit(SERIES, LABELS)


@pytest.mark.parametrize("container", CONTAINERS)
def test__transform__every_container__same_embedding(fitted, fitted_classifier, container):
    X = CONTAINERS[container]
    assert_array_equal(embed(fitted, X), embed(fitted, SERIES))
    assert_array_equal(embed(fitted_classifier, X), embed(fitted_classifier, SERIES))


@pytest.mark.parametrize("container", CONTAINERS)
def test__predict__every_container__same_classes(fitted_classifier, container):
    X = CONTAINERS[container]
    assert_array_equal(fitted_classifier.predict_proba(X), fitted_classifier.predict_proba(SERIES))
    assert_array_equal(fitted_classifier.predict(X), fitted_classifier.predict(SERIES))


@pytest.mark.parametrize("container", CONTAINERS)
def test__fit__every_container__same_weights(fitted, fitted_classifier, which, container):
    X = CONTAINERS[container]
    again = transformer(which).fit(X)
    assert_same_weights(again.model_, fitted.model_)
    assert again.series_length_ == max(s.shape[1] for s in SERIES)
    if container in ("padded further", "nested"):
        assert_same_weights(classifier(which).fit(X, LABELS).model_, fitted_classifier.model_)


def assert_same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("scaling", ["channel", "instance", None])
@pytest.mark.parametrize("layers", ["last", "all"])
def test__transform__alone_or_padded__same_embedding(which, scaling, layers):
    # all statistics at once: their embeddings stand side by side
    settings = {"scaling": scaling, "pooling_layers": layers, "pooling": STATISTICS}
    estimator = transformer(which, **settings).fit(SERIES)
    # standardising a column that hardly varies magnifies rounding: one has a deviation of 0.002
    tolerance = 5e-5 if scaling == "instance" else 1e-5
    assert_padding_is_nothing(lambda X: embed(estimator, X), tolerance)
    exact = copy.deepcopy(estimator.series_encoder_).double()  # where rounding hides nothing
    assert_padding_is_nothing(lambda X: encode(exact, X), 1e-9)


def test__transform__small_shapes_on_large_levels__alone_as_in_a_batch():
    rng = np.random.default_rng(0)
    levels = rng.uniform(7e4, 1e5, len(SERIES))  # as air pressure in Pa at different altitudes
    series = [s + level for s, level in zip(SERIES, levels, strict=True)]
    estimator = transformer(1, scaling="auto").fit(series)
    assert estimator.config_.scaling == "instance"
    alone = np.concatenate([embed(estimator, [s]) for s in series])
    assert_allclose(alone, embed(estimator, series), atol=5e-5)  # as above


@torch.inference_mode()
def encode(encoder, X):
    series = torch.from_numpy(pad(X, max(s.shape[1] for s in X)))
    return encoder(series.double()).numpy()


@pytest.mark.parametrize("scaling", ["channel", "instance", None])
def test__classifier__alone_or_padded__same_output(which, scaling):
    settings = {"scaling": scaling, "pooling": STATISTICS}
    estimator = classifier(which, **settings).fit(SERIES, LABELS)
    assert_padding_is_nothing(lambda X: embed(estimator, X), 5e-5)  # columns of deviation 1
    assert_padding_is_nothing(estimator.predict_proba)


def assert_padding_is_nothing(output, tolerance=1e-5):
    together = output(SERIES)
    for series, expected in zip(SERIES, together, strict=True):
        for same in (series, *(pad([series], series.shape[1] + n)[0] for n in (1, 40))):
            assert_allclose(output([same])[0], expected, rtol=tolerance, atol=tolerance)
    assert_allclose(output(pad(SERIES, 80)), together, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("pooling", STATISTICS)
def test__transform__one_pooling__alone_equals_together(pooling):
    estimator = transformer(pooling=pooling).fit(SERIES)
    alone = [embed(estimator, [s])[0] for s in SERIES]
    assert_allclose(alone, embed(estimator, SERIES), atol=1e-5)


@pytest.mark.parametrize("per", ["series", "batch"])
@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.6, 0.99])
def test__draw_mask__padded_positions__counts_follow_own_length(per, ratio):
    lengths = torch.arange(1, 13)
    valid = torch.arange(12) < lengths[:, None]
    masked = draw_mask(valid, ratio, torch.Generator().manual_seed(0), per)
    assert not (masked & ~valid).any()
    expected = [min(max(1, int(n * ratio + 1e-6)), n - 1) for n in range(1, 13)]
    assert masked.sum(1).tolist() == expected


def test__fit__ragged__masks_follow_each_series_windows(monkeypatch):
    seen = []

    def record(valid, *settings):
        masked = draw_mask(valid, *settings)
        seen.append((valid.sum(1), masked.sum(1)))
        return masked

    monkeypatch.setattr(tsmae.nn.timemae, "draw_mask", record)
    estimator = transformer(batch_size=4).fit(SERIES)
    windows = torch.cat([valid for valid, _ in seen])
    masked = torch.cat([masked for _, masked in seen])
    expected = n_windows(torch.tensor(pad(SERIES, 80)), estimator.window_length).tolist()
    assert sorted(windows.tolist()) == sorted(expected)
    assert masked.tolist() == [n_masked_of(n, estimator.mask_ratio) for n in windows.tolist()]


def test__fit_classifier__single_window_series_and_std__finite_weights():
    # the spread over one position is 0, where a root has no gradient
    series = [s[:, :4] for s in SERIES[:5]] + SERIES[5:]
    estimator = classifier(pooling=("mean", "std"), scaling=None).fit(series, LABELS)
    assert all(torch.isfinite(p).all() for p in estimator.model_.parameters())
    assert np.isfinite(estimator.predict_proba(series)).all()


@pytest.mark.parametrize("scaling", ["instance", None])
def test__transform__constant_channel_of_series_of_other_lengths__alone_as_in_a_batch(scaling):
    X = [np.concatenate([s, np.full_like(s[:1], 3.0)]) for s in SERIES]
    fitted = transformer(1, scaling=scaling).fit(X)
    alone = np.concatenate([embed(fitted, [s]) for s in X])
    assert_allclose(alone, embed(fitted, X), atol=2e-4)
