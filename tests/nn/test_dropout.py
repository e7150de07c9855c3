import numpy as np
import pytest
import torch

from tsmae.nn.dropout import dropout
from tsmae.training.randomness import new_generator


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
def test__dropout__rate_and_mean__kept(p):
    x = torch.ones(1001, 333)
    out = dropout(x, p, new_generator(0))
    np.testing.assert_allclose((out == 0).float().mean(), p, atol=0.004)
    np.testing.assert_allclose(out.mean(), 1.0, atol=0.005)


def test__dropout__all_byte_lanes__equally_often():
    zero = dropout(torch.ones(8 * 40_000), 0.25, new_generator(1)).view(-1, 8) == 0
    np.testing.assert_allclose(zero.float().mean(0), 0.25, atol=0.01)


def test__dropout__generator__decides():
    x = torch.ones(100)
    assert torch.equal(dropout(x, 0.5, new_generator(0)), dropout(x, 0.5, new_generator(0)))
    assert not torch.equal(dropout(x, 0.5, new_generator(0)), dropout(x, 0.5, new_generator(1)))
    assert dropout(x, 0.5, None) is x


def test__dropout__gradient__only_where_kept():
    x = torch.ones(1000, requires_grad=True)
    out = dropout(x, 0.3, new_generator(0))
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test__dropout__nearly_one__a_few_are_kept():
    out = dropout(torch.ones(100_000), 0.999, new_generator(0))
    np.testing.assert_allclose((out > 0).float().mean(), 1 / 256, rtol=0.2)
