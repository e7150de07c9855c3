"""Values that were not observed: what stands under them cannot matter."""

import numpy as np
import pytest
import torch
from _panels import classifier, embed, transformer
from numpy.testing import assert_allclose, assert_array_equal

from tsmae.nn.series import bridge_gaps
from tsmae.panel import Panel, channel_statistics

N, C, T, WINDOW = 10, 2, 26, 4
NAN = np.nan


def values(seed=0):
    return np.random.default_rng(seed).normal(size=(N, C, T)).cumsum(2).astype(np.float32)


def gaps(kind):
    """(N, C, T) bool, True where nothing was observed; no series is lost whole."""
    rng = np.random.default_rng(1)
    missing = np.zeros((N, C, T), dtype=bool)
    if kind == "points":
        missing = rng.random((N, C, T)) < 0.4
    elif kind == "blocks":
        for row in missing:
            for channel in row:
                start = rng.integers(0, T - 9)
                channel[start : start + 9] = True
    elif kind == "channels":
        missing[::2, 0] = True
        missing[1::2, 1] = True
    elif kind == "windows":
        missing[:, :, WINDOW : 2 * WINDOW] = True
        missing[::2, :, :WINDOW] = True
    elif kind == "channel of the panel":
        missing[:, 0] = True
    elif kind == "one point left":
        missing[:] = True
        missing[:, :, 0] = False
        missing[-1] = False
    return missing


KINDS = ("points", "blocks", "channels", "windows", "channel of the panel", "one point left")


@pytest.mark.parametrize("which", [0, 1], ids=["paper", "defaults"])
@pytest.mark.parametrize("scaling", ["channel", "instance", None])
@pytest.mark.parametrize("kind", KINDS)
def test__fit_transform__gaps__finite_and_alone_equals_together(kind, scaling, which):
    X = np.where(gaps(kind), np.float32(NAN), values())
    estimator = transformer(which, scaling=scaling).fit(X)
    embedded = embed(estimator, X)
    assert embedded.shape == (N, estimator.embedding_dim_)
    assert np.isfinite(embedded).all()
    assert np.isfinite([epoch["loss"] for epoch in estimator.history_]).all()
    alone = np.concatenate([embed(estimator, X[i : i + 1]) for i in range(N)])
    assert_allclose(alone, embedded, atol=1e-3)  # a nearly constant feature shows rounding
    assert np.isfinite(embed(estimator, values())).all()  # what was missing is there now


@pytest.mark.parametrize("which", [0, 1], ids=["paper", "defaults"])
@pytest.mark.parametrize("scaling", ["channel", "instance", None])
def test__channel_that_told_nothing_in_fit__counts_as_nothing_whatever_it_does_later(
    scaling, which
):
    alive = values()
    constant, absent, late = alive.copy(), alive.copy(), alive.copy()
    constant[:, 1], absent[:, 1], late[:, 1] = 3.0, NAN, 3.0
    late[:, 1, : late.shape[2] // 2] = NAN
    for seen in (constant, absent):
        estimator = transformer(which, scaling=scaling).fit(seen)
        expected = embed(estimator, seen)
        assert np.square(expected).sum(1).mean() < 101
        for other in (constant, absent, late, alive):
            assert_allclose(embed(estimator, other), expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test__classifier__gaps__probabilities(kind):
    X = np.where(gaps(kind), np.float32(NAN), values())
    estimator = classifier(1).fit(X, np.arange(N) % 2)
    probabilities = estimator.predict_proba(X)
    assert_allclose(probabilities.sum(1), 1)
    assert_allclose(estimator.predict_proba(X[3:4])[0], probabilities[3], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test__masked_array__values_under_the_mask__do_not_matter(kind):
    missing = gaps(kind)
    one = np.ma.array(values(), mask=missing)
    other = np.ma.array(np.where(missing, 1e30, values()), mask=missing)
    filled = np.where(missing, NAN, values())
    expected = embed(transformer().fit(filled), filled)
    assert_array_equal(embed(transformer().fit(one), one), expected)
    assert_array_equal(embed(transformer().fit(other), other), expected)


@pytest.mark.parametrize("kind", KINDS)
def test__channel_statistics__gaps__observed_points_only(kind):
    X = np.where(gaps(kind), np.float32(NAN), values())
    mean, deviation = channel_statistics(Panel.from_array(X))
    for c in range(C):
        seen = X[:, c][~np.isnan(X[:, c])].astype(np.float64)
        assert_allclose(mean[c], seen.mean() if len(seen) else 0)
        assert_allclose(deviation[c], seen.std() if len(seen) else np.inf)
    scaling = transformer().fit(X).model_.backbone.scaling
    assert_allclose(scaling.location[:, 0], mean, rtol=1e-6)
    assert_allclose(scaling.scale[:, 0], deviation, rtol=1e-6)


def test__instance_scaling__gaps__observed_points_only():
    X = np.where(gaps("points"), np.float32(NAN), values())
    scaling = transformer(scaling="instance").fit(X).model_.backbone.scaling
    expected = (X - np.nanmean(X, 2, keepdims=True)) / np.nanstd(X, 2, keepdims=True)
    assert_allclose(scaling(torch.tensor(X)), expected, atol=1e-5)


@pytest.mark.parametrize("which", [0, 1], ids=["paper", "defaults"])
def test__encode__window_without_observation__is_not_attended_to(which):
    X = torch.tensor(np.where(gaps("windows"), np.float32(NAN), values()))
    backbone = transformer(which, scaling=None).fit(X.numpy()).model_.backbone
    windows = backbone.windows(X)
    z, p = backbone.embed(windows)
    encoded = backbone.encode(X)[0][-1]
    for series in range(N):
        keep = windows.valid[series]
        assert 0 < keep.sum() < len(keep)
        without = backbone.encoder((z + p)[series : series + 1, keep])[-1][0]
        assert_allclose(encoded[series, keep].detach(), without.detach(), atol=1e-6)


def test__transform__window_lost_or_not__differs():
    X = values()
    estimator = transformer().fit(X)
    lost = X.copy()
    lost[:, :, :WINDOW] = NAN
    assert abs(embed(estimator, lost) - embed(estimator, X)).max() > 1e-3


def test__bridge_gaps__lines_between_observations_and_held_ends():
    x = torch.tensor([[[NAN, 1, NAN, 3, 11, NAN, NAN, 5, NAN, NAN], [NAN] * 10]])
    filled, observed = bridge_gaps(x)
    assert filled[0, 0].tolist() == [1, 1, 2, 3, 11, 9, 7, 5, 5, 5]
    assert filled[0, 1].tolist() == [0] * 10
    assert_array_equal(observed, ~x.isnan())


@pytest.mark.parametrize("which", [0, 1], ids=["paper", "defaults"])
@pytest.mark.parametrize("decoupled", [True, False])
def test__pretext__values_of_masked_windows__do_not_reach_predictions(
    which, decoupled, monkeypatch
):
    import tsmae.nn.timemae

    X = np.where(gaps("points"), np.float32(NAN), values())
    settings = {"decoupled": decoupled, "mrr_weight": 1.0, "contrast_weight": 0.0}
    model = transformer(which, **settings).fit(X).model_
    drawn, predictions = [], []
    draw_mask, regress = tsmae.nn.timemae.draw_mask, model._regress

    def draw(*args):
        drawn.append(draw_mask(*args))
        return drawn[-1]

    def record(predicted, target):
        predictions.append(predicted.detach())
        return regress(predicted, target)

    monkeypatch.setattr(tsmae.nn.timemae, "draw_mask", draw)
    monkeypatch.setattr(model, "_regress", record)
    model(torch.tensor(X), torch.Generator().manual_seed(0))
    hidden = drawn[0].numpy().repeat(WINDOW, 1)[:, None, :T].repeat(C, 1)
    changed = np.where(hidden, -7 * X, X)  # NaN stays NaN
    model(torch.tensor(changed), torch.Generator().manual_seed(0))
    assert_array_equal(drawn[0], drawn[1])
    assert_array_equal(predictions[0], predictions[1])
    model(torch.tensor(-7 * X), torch.Generator().manual_seed(0))
    assert not torch.equal(predictions[0], predictions[2])


def test__codewords__gaps__minus_one_where_a_window_is_lost():
    X = values()
    estimator = transformer().fit(X)
    X[:, :, WINDOW : 2 * WINDOW] = NAN
    X[0, :, 3 * WINDOW :] = NAN
    codewords = estimator.codewords(X)
    lost = np.zeros(codewords.shape, dtype=bool)
    lost[:, 1] = True
    lost[0, 3:] = True
    assert_array_equal(codewords == -1, lost)


def test__fit__one_window_observed_in_each_series__clear_error():
    X = np.full((N, C, T), NAN)
    X[:, :, 4:7] = 1.0
    with pytest.raises(ValueError, match=r"X must have observations in two windows.*window_length"):
        transformer().fit(X)
    with pytest.raises(ValueError, match="two windows"):
        transformer().fit(values()).reconstruction_metrics(X)
    assert np.isfinite(embed(transformer(max_epochs=0).fit(X), X)).all()


def test__transform__windows_of_one_point__gap_of_another_series_changes_nothing():
    X = values()[:, :, :7]
    gapped = X.copy()
    gapped[0, 0, 6] = NAN
    fitted = transformer(1, window_length=1, max_epochs=0).fit(gapped)
    assert_allclose(embed(fitted, X)[1:], embed(fitted, gapped)[1:], atol=1e-4)
