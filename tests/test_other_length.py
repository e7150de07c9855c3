"""Series at predict time that are shorter or longer than any in fit."""

import numpy as np
import pytest
import torch
from _panels import classifier, embed, transformer
from numpy.testing import assert_allclose, assert_array_equal

from tsmae import TimeMAETransformer
from tsmae.nn.embedding import Positions

LENGTH = 26
LENGTHS = (1, 2, 4, 5, 25, 27, 2 * LENGTH, 5 * LENGTH)


def values(n_points, n=6):
    return np.random.default_rng(0).normal(size=(n, 2, n_points)).cumsum(2)


@pytest.fixture(scope="module", params=[0, 1], ids=["paper", "defaults"])
def estimators(request):
    X, y = values(LENGTH), np.arange(6) % 2
    return transformer(request.param).fit(X), classifier(request.param).fit(X, y)


@pytest.mark.parametrize("n_points", LENGTHS)
def test__transform__other_length__finite_and_repeatable(estimators, n_points):
    X = values(n_points)
    for estimator in estimators:
        embedded = embed(estimator, X)
        assert embedded.shape[0] == 6
        assert np.isfinite(embedded).all()
        assert_array_equal(embed(estimator, X), embedded)
        assert_allclose(embed(estimator, X[2:3])[0], embedded[2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_points", LENGTHS)
def test__predict__other_length__probabilities(estimators, n_points):
    X = values(n_points)
    probabilities = estimators[1].predict_proba(X)
    assert_allclose(probabilities.sum(1), 1)
    assert_array_equal(estimators[1].predict(X), probabilities.argmax(1))


def test__transform__short_and_long_together__as_alone(estimators):
    X = [values(n)[0] for n in LENGTHS]
    for estimator in estimators:
        alone = [embed(estimator, [x])[0] for x in X]
        assert_allclose(embed(estimator, X), alone, rtol=1e-5, atol=1e-5)


def test__positions__longer_series__spread_over_the_table(estimators):
    positions = estimators[0].model_.backbone.positions
    table = positions.table.detach()
    n = len(table)
    assert_array_equal(positions(n - 1, None)[0].detach(), table[:-1])
    longer = positions(2 * n - 1, None)[0].detach()
    assert_allclose(longer[::2], table, atol=1e-6)
    assert_allclose(longer[1::2], (table[1:] + table[:-1]) / 2, atol=1e-6)
    # a short series beside a long one keeps the positions it has alone
    valid = torch.arange(2 * n - 1) < torch.tensor([[2 * n - 1], [n]])
    both = positions(2 * n - 1, valid).detach()
    assert_allclose(both[0], longer, atol=1e-6)
    assert_array_equal(both[1, :n], table)


@pytest.mark.parametrize("n_points", LENGTHS)
def test__codewords_and_metrics__other_length(estimators, n_points):
    estimator, X = estimators[0], values(n_points)
    length = estimator.window_length
    windows = -(-n_points // length)
    lone = n_points > length and n_points % length == 1
    codewords = estimator.codewords(X)
    assert codewords.shape == (6, windows)
    assert (codewords < estimator.n_codewords).all()
    assert ((codewords == -1) == (lone & (np.arange(windows) == windows - 1))).all()
    if windows - lone > 1:
        assert np.isfinite(list(estimator.reconstruction_metrics(X).values())).all()
    else:
        with pytest.raises(ValueError, match="two windows"):
            estimator.reconstruction_metrics(X)


@pytest.mark.parametrize("build", [transformer, classifier])
def test__pooling_none__longer__clear_error_and_shorter_works(build):
    estimator = build(pooling="none", pooling_layers="last").fit(values(LENGTH), np.arange(6) % 2)
    assert embed(estimator, values(9)).shape == embed(estimator, values(LENGTH)).shape
    with pytest.raises(ValueError, match=r"pooling='none' emits 7 positions.*X has series of 13"):
        estimator.transform(values(2 * LENGTH))


@pytest.mark.parametrize("gap", [False, True])
def test__lone_last_point__is_left_out(gap):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2, 40))
    if gap:
        X[:, :, 5] = np.nan
    readout = {"pooling_shifts": 1, "pooling_resolutions": (1,), "pooling_slopes": ()}
    settings = {**readout, "window_length": 8}
    encoder = TimeMAETransformer(max_epochs=0, random_state=0, **settings).fit(X)
    whole, lone = encoder.transform(X[..., :32]), encoder.transform(X[..., :33])
    np.testing.assert_allclose(lone, whole, atol=1e-5)
    assert np.abs(encoder.transform(X[..., :34]) - whole).to_numpy().max() > 0.01
    assert np.isfinite(encoder.transform(X[..., :1])).all(axis=None)


def test__positions__longer_series_with_a_gap__as_without():
    positions = Positions(4, 2)
    torch.nn.init.normal_(positions.table)
    valid = torch.ones(1, 7, dtype=torch.bool)
    valid[0, 2] = False
    torch.testing.assert_close(positions(7, valid), positions(7, None))


def test__positions__one_known__longer_and_lone_series_share_it():
    positions = Positions(1, 4)
    positions.table.data.fill_(2.0)
    valid = torch.tensor([[True, False, False], [True, True, True]])
    assert_array_equal(positions(3, valid).detach(), np.full((2, 3, 4), 2.0))
