import numpy as np
import pytest
import torch

from tsmae.nn import pool


def test__pool__padding__takes_no_part_in_any_statistic():
    x = torch.randn(3, 7, 4)
    valid = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    names = ("mean", "max", "min", "std", "quarters", "autocorrelation", "last")
    names += ("cross_correlation", "winners")
    together = pool([x], valid, names, 7)
    for i, length in enumerate((7, 4, 1)):
        alone = pool([x[i : i + 1, :length]], None, names, 7)
        torch.testing.assert_close(together[i : i + 1], alone)


def test__pool__against_numpy():
    x = torch.randn(2, 8, 3)
    n = x.numpy()
    quarters = n.reshape(2, 4, 2, 3).mean(2).reshape(2, 12)
    expected = [n.mean(1), n.max(1), n.min(1), n.std(1), quarters, n[:, -1], n.reshape(2, -1)]
    names = ("mean", "max", "min", "std", "quarters", "last", "none")
    np.testing.assert_allclose(pool([x], None, names, 8), np.concatenate(expected, 1), atol=1e-6)


def test__quarters__borders_within_a_position__shared_by_length():
    x = torch.arange(6.0).view(1, 6, 1)  # quarters of 1.5 positions
    expected = [(0 + 0.5 * 1) / 1.5, (0.5 * 1 + 2) / 1.5, (3 + 0.5 * 4) / 1.5, (0.5 * 4 + 5) / 1.5]
    np.testing.assert_allclose(pool([x], None, ("quarters",), 6)[0], expected, rtol=1e-6)


def test__quarters__nothing_seen_in_one__is_as_the_series_on_average():
    x = torch.tensor([1.0, 3.0, 99.0, 99.0, 2.0, 4.0, 6.0, 8.0]).view(1, 8, 1)
    valid = torch.tensor([[True, True, False, False, True, True, True, True]])
    found = pool([x], valid, ("quarters",), 8)[0]
    torch.testing.assert_close(found, torch.tensor([2.0, 4.0, 3.0, 7.0]))


def test__autocorrelation__against_numpy():
    x = torch.randn(2, 9, 3)
    centred = x.numpy() - x.numpy().mean(1, keepdims=True)
    variance = centred.var(1) + 1e-3
    expected = [(centred[:, lag:] * centred[:, :-lag]).mean(1) / variance for lag in (1, 2, 4)]
    found = pool([x], None, ("autocorrelation",), 9)
    np.testing.assert_allclose(found, np.concatenate(expected, 1), atol=1e-6)


def test__autocorrelation__gap__only_pairs_that_are_there():
    x = torch.tensor([1.0, 3.0, 99.0, 1.0, 3.0]).view(1, 5, 1)
    valid = torch.tensor([[True, True, False, True, True]])
    # mean 2, variance 1; pairs: (1, 3) twice at lag 1, (3, 1) at lag 2, (1, 3) at lag 4
    found = pool([x], valid, ("autocorrelation",), 5)
    np.testing.assert_allclose(found, [[-1 / 1.001] * 3], rtol=1e-6)


@pytest.mark.parametrize("valid", [None, torch.ones(1, 1, dtype=torch.bool)])
def test__autocorrelation__single_or_constant_position__is_zero(valid):
    assert (pool([torch.ones(1, 1, 2)], valid, ("autocorrelation",), 1) == 0).all()
    found = pool([torch.full((1, 6, 1), 7.1)], None, ("autocorrelation",), 6)
    assert found.abs().max() < 1e-6


def test__cross_correlation__against_numpy():
    x = torch.randn(2, 9, 3)
    centred = x.numpy() - x.numpy().mean(1, keepdims=True)
    deviation = np.sqrt(centred.var(1) + 1e-3)
    expected = [
        (centred[:, 1:, j] * centred[:, :-1, (j + 1) % 3]).mean(1)
        / (deviation[:, j] * deviation[:, (j + 1) % 3])
        for j in range(3)
    ]
    found = pool([x], None, ("cross_correlation",), 9)
    np.testing.assert_allclose(found, np.stack(expected, 1), atol=1e-6)


def test__cross_correlation__gap__only_pairs_that_are_there():
    x = torch.tensor([[1.0, 3.0, 99.0, 1.0, 3.0], [3.0, 1.0, 99.0, 3.0, 1.0]]).T[None]
    valid = torch.tensor([[True, True, False, True, True]])
    # both of mean 2 and variance 1; a position before the second is where the first is
    found = pool([x], valid, ("cross_correlation",), 5)
    np.testing.assert_allclose(found, [[1 / 1.001] * 2], rtol=1e-6)


def test__winners__far_apart__shares_of_positions():
    x = torch.zeros(1, 4, 16)  # two groups: even features, and odd ones
    x[0, :, 4] = torch.tensor([9.0, 9.0, 9.0, -9.0])
    x[0, 3, 14] = 9.0
    x[0, :, 1] = -9.0
    largest, smallest = pool([x], None, ("winners",), 4).view(2, 16).numpy()
    np.testing.assert_allclose(largest[[0, 4, 14]], [0, 0.75, 0.25], atol=1e-6)
    np.testing.assert_allclose(largest[1::2], [0] + [1 / 7] * 7, atol=1e-6)
    np.testing.assert_allclose(smallest[[1, 3, 4]], [1, 0, 0.25], atol=1e-6)
    np.testing.assert_allclose(smallest[[0, 2, 6, 8, 10, 12, 14]], [0.75 / 7] * 6 + [0.75 / 7])


@pytest.mark.parametrize("d", [1, 4, 8, 12, 20])
def test__winners__any_width__a_group_shares_each_position(d):
    shares = pool([torch.randn(3, 5, d)], None, ("winners",), 5).view(3, 2, d)
    n_groups = -(-d // 8)
    torch.testing.assert_close(shares.sum(2), torch.full((3, 2), float(n_groups)))


def test__winners__softmax_of_distances_in_tenths_of_a_unit():
    x = torch.randn(2, 6, 8)
    location, scale = torch.randn(8), torch.rand(8) + 0.5
    standard = ((x - location) / scale / 0.1).exp()
    expected = torch.cat(
        [(s / s.sum(2, keepdim=True)).mean(1) for s in (standard, 1 / standard)], 1
    )
    found = pool([x], None, ("winners",), 6, [(location, scale)])
    torch.testing.assert_close(found, expected)


def test__quarters__bfloat16__counts_all_positions():
    x = torch.linspace(0, 1, 600).view(1, -1, 1)
    exact = pool([x], None, ("quarters",), 0)
    rounded = pool([x.bfloat16()], None, ("quarters",), 0)
    np.testing.assert_allclose(rounded.float(), exact, atol=4e-3)


def test__pool__none__positions_that_no_series_has__do_not_count():
    x = torch.randn(2, 5, 3)
    valid = torch.tensor([[True, True, False, True, False], [True, False, False, False, False]])
    expected = pool([x[:, :4]], valid[:, :4], ("none",), 4)
    torch.testing.assert_close(pool([x], valid, ("none",), 4), expected)
    with pytest.raises(ValueError, match=r"emits 3 positions.*has series of 4"):
        pool([x], valid, ("none",), 3)
