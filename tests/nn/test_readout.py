import numpy as np
import pytest
import torch

from tsmae.nn import Backbone, SeriesEncoder, TimeMAEConfig, pool
from tsmae.training.randomness import new_generator


def test__pool__padding__takes_no_part_in_any_statistic():
    x = torch.randn(3, 7, 4)
    valid = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    names = ("mean", "max", "min", "std", "quarters", "last")
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


@pytest.mark.parametrize(("smallest", "last"), [(0.0, 1e-3), (0.1, 0.1)])
def test__standardize__mean_zero_deviation_one_and_bounded_scale(smallest, last):
    config = TimeMAEConfig(2, 4, window_length=4, d_model=8, n_heads=2, n_layers=1)
    encoder = SeriesEncoder(Backbone(config, new_generator(0)), ("mean",), "last")
    rng = np.random.default_rng(0)
    embeddings = rng.normal(3.0, 1.0, (5000, 8))
    embeddings[:, 6] = 7.0  # constant
    embeddings[:, 7] = 1 + 1e-3 * rng.normal(size=5000)
    encoder.standardize(embeddings, smallest)
    standard = (embeddings - encoder.location.numpy()) / encoder.scale.numpy()
    np.testing.assert_allclose(standard.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(standard[:, :6].std(0), 1, atol=1e-5)
    assert np.abs(standard[:, 6]).max() < 1e-5
    assert encoder.scale[7].item() == pytest.approx(last, rel=0.05)
