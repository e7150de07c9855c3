"""The array that any input becomes."""

import tracemalloc

import numpy as np
import pytest
import torch
from _panels import pad, ragged
from numpy.testing import assert_allclose, assert_array_equal

from tsmae.nn.embedding import n_windows
from tsmae.panel import Panel, channel_statistics, median_own_deviation, warn_of_unscaled
from tsmae.training import inference
from tsmae.training.inference import apply

SERIES, _ = ragged()
LENGTHS = [s.shape[1] for s in SERIES]


def test__from_array__complete__is_not_copied():
    X = np.ones((3, 2, 5), np.float32)
    panel = Panel.from_array(X)
    assert panel.complete
    assert panel.lengths.tolist() == [5, 5, 5]
    assert panel.values is X


@pytest.mark.parametrize("extra", [0, 1, 30])
def test__from_array__padded__cut_to_the_longest(extra):
    panel = Panel.from_array(pad(SERIES, max(LENGTHS) + extra))
    assert not panel.complete
    assert panel.lengths.tolist() == LENGTHS
    assert panel.n_points == max(LENGTHS)
    assert_array_equal(panel.values, pad(SERIES, max(LENGTHS)))


def test__from_array__all_padded_alike__complete_once_cut():
    X = np.ones((3, 2, 5), np.float32)
    panel = Panel.from_array(pad(list(X), 9))
    assert panel.complete
    assert panel.lengths.tolist() == [5, 5, 5]
    assert_array_equal(panel.values, X)
    with_gap = pad(list(X), 9)
    with_gap[1, 0, 2] = np.nan
    assert not Panel.from_array(with_gap).complete


def test__from_array__gaps__end_at_the_last_point_of_any_channel():
    X = np.full((2, 2, 6), np.nan)
    X[0, 0, 1] = X[0, 1, 4] = X[1, 0, 0] = 1
    assert Panel.from_array(X).lengths.tolist() == [5, 1]


def test__getitem__short_series__cut_to_the_longest_of_them():
    panel = Panel.from_array(pad(SERIES, 80))
    order = np.argsort(LENGTHS)[:4]
    part = panel[order]
    assert part.n_points == max(LENGTHS[i] for i in order)
    assert part.lengths.tolist() == [LENGTHS[i] for i in order]
    assert_array_equal(part.values[0, :, : LENGTHS[order[0]]], SERIES[order[0]])
    assert len(panel[np.arange(len(SERIES)) < 3]) == 3


@pytest.mark.parametrize("window_length", [1, 4, 7, 100])
def test__n_windows__ragged__each_series_own(window_length):
    panel = Panel.from_array(pad(SERIES, 80))
    assert n_windows(torch.tensor(panel.values), window_length).tolist() == [
        _windows(n, window_length) for n in LENGTHS
    ]
    whole = Panel.from_array(np.zeros((2, 1, 9)))
    assert (
        n_windows(torch.tensor(whole.values), window_length).tolist()
        == [_windows(9, window_length)] * 2
    )


def _windows(n_points, window_length):
    """A single point behind other windows makes none."""
    lone = 1 < window_length < n_points and n_points % window_length == 1
    return -(-n_points // window_length) - lone


def test__n_windows__gap__window_without_observation_does_not_count():
    X = np.zeros((2, 2, 12))
    X[0, :, 4:8] = np.nan
    X[1, 0] = np.nan
    assert n_windows(torch.tensor(X), 4).tolist() == [2, 3]


def test__channel_statistics__offset_and_tiny__exact():
    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(1e4, 1, 500), rng.normal(0, 1e-12, 500), np.full(500, 7.0)])[None]
    mean, deviation = channel_statistics(Panel.from_array(X))
    seen = X.astype(np.float32).astype(np.float64)
    assert_allclose(mean[:2], seen[0, :2].mean(1), rtol=1e-12)
    assert_allclose(deviation[:2], seen[0, :2].std(1), rtol=1e-12)
    assert (mean[2], deviation[2]) == (7, np.inf)  # a constant channel


@pytest.mark.parametrize("gaps", [False, True])
def test__statistics__in_blocks__take_little_memory(monkeypatch, gaps):
    X = np.random.default_rng(0).normal(3, 2, (4000, 1, 128)).astype(np.float32)
    if gaps:
        X[::2, :, 5:9] = np.nan
    panel = Panel.from_array(X)
    monkeypatch.setattr("tsmae.panel._BLOCK_VALUES", 10_000)
    for statistic in (channel_statistics, median_own_deviation):
        tracemalloc.start()
        found = statistic(panel)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < panel.values.nbytes / 2
        expected = [np.nanmean(X.astype(float)), np.nanstd(X.astype(float))]
        if statistic is median_own_deviation:
            expected = [np.median(np.nanstd(X[:, 0].astype(float), 1))]
        assert_allclose(np.ravel(found), expected, rtol=1e-12)


def test__median_own_deviation__of_series_that_vary_observed_points_only():
    X = np.zeros((5, 2, 6))
    X[:, 0] = np.array([1.0, 3.0, 10.0, 0.0, 0.0])[:, None] * [1, -1, 1, -1, 1, -1] + 1e4
    X[0, 0, 4:] = np.nan  # 1, -1, 1, -1 still
    X[1, 0, 1:] = np.nan  # a single point does not vary
    X[4, 1] = np.nan
    found = median_own_deviation(Panel.from_array(X))
    assert_allclose(found, [np.median([1.0, 10.0]), 0.0], rtol=1e-6)


def test__part__of_all_in_order__no_copy():
    panel = Panel.from_array(np.arange(12.0).reshape(4, 1, 3))
    assert panel.part(np.arange(4)) is panel
    for positions in (np.array([1, 0, 2, 3]), np.array([0, 1, 2]), np.array([2])):
        assert_array_equal(panel.part(positions).values, panel[positions].values)


def test__apply__output_is_checked_without_a_copy():
    panel, width = Panel.from_array(np.zeros((2000, 1, 8))), 2000
    tracemalloc.start()
    output = apply(lambda batch: torch.zeros(len(batch.x), width), panel, torch.device("cpu"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * output.nbytes


def test__apply__a_single_number_not_finite__says_of_which_series():
    panel = Panel.from_array(np.arange(1.0, 7).reshape(6, 1, 1))

    def divided(batch):
        return torch.stack([batch.x[:, 0, 0], 1 / (batch.x[:, 0, 0] - 4)], 1)

    words = r"output for 1 series of X, first for that at position 3, is not finite.* up to 4 in"
    with pytest.raises(ValueError, match=words):
        apply(divided, panel, torch.device("cpu"))


def test__batches__series_of_any_length__no_more_points_than_the_bound(monkeypatch):
    monkeypatch.setattr(inference, "_CACHED_POINTS", 200)
    lengths = np.repeat([5, 100, 60, 300], [20, 3, 2, 1])
    panel = Panel.from_array(pad([np.zeros((1, n)) for n in lengths], 300))
    batches = inference._batches_by_length(panel, torch.device("cpu"))
    assert sorted(np.concatenate(batches)) == list(range(26))
    assert sorted(len(index) * lengths[index].max() for index in batches)[-1] == 300
    assert all(len(i) == 1 or len(i) * lengths[i].max() <= 200 for i in batches)


def test__median_own_deviation__rounding_is_none():
    X = np.full((3, 1, 64), 0.7, np.float32)
    X[0, 0, ::2] = np.nextafter(np.float32(0.7), np.float32(1))
    X[2] *= 1 + np.arange(64) % 2
    assert_allclose(median_own_deviation(Panel.from_array(X)), [0.35], rtol=1e-6)


def test__warn_of_unscaled__from_a_ten_millionth_on(recwarn):
    warn_of_unscaled(np.array([1.1e-7, 1.0, np.inf]))
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"channels \[1\] of X"):
        warn_of_unscaled(np.array([1.0, 0.9e-7]))


def test__n_windows__lone_tail_behind_a_lost_window__does_not_count():
    X = np.zeros((1, 1, 13))
    X[..., 4:8] = np.nan
    assert n_windows(torch.tensor(X), 4).tolist() == [2]  # of three, the last of one point
