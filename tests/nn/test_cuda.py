"""What can be known of CUDA without a GPU."""

import numpy as np
import pytest
import torch
from _panels import architecture
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tsmae import TimeMAETransformer
from tsmae.nn.embedding import FeatureEncoder, Windows
from tsmae.nn.layers import as_product, convolution
from tsmae.nn.masking import draw_mask
from tsmae.training.batches import Batch


class Called(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("window_statistics", [False, True])
def test__stem__on_cuda__no_convolution_of_cudnn(window_statistics):
    """It would be in TF32, whatever the type of what goes in."""
    config = architecture(
        n_channels=2, n_positions=4, stem="conv", window_statistics=window_statistics
    )
    encoder = FeatureEncoder(config)
    with FakeTensorMode(), Called() as called:  # on any machine
        weights = {
            name: torch.empty(weight.shape, device="cuda:0")
            for name, weight in encoder.named_parameters()
        }
        windows = Windows(torch.empty(3, 4, 2, 8, device="cuda:0"), None, None)
        z = torch.func.functional_call(encoder, weights, (windows,))
    assert z.shape == (3, 4, config.d_model) and z.device == torch.device("cuda:0")
    assert "addmm" in called.names and "convolution" not in called.names


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("length", [1, 2, 8])
def test__convolution__as_a_product__the_same_with_its_gradients(bias, length):
    layer = convolution(5, 7, 3, bias=bias).double()
    for weight in layer.parameters():
        nn.init.normal_(weight)
    x = torch.randn(11, 5, length, dtype=torch.float64, requires_grad=True)
    outputs = [layer(x), as_product(layer, x)]
    torch.testing.assert_close(outputs[1], outputs[0])
    ones = torch.randn_like(outputs[0])
    wanted = [x, *layer.parameters()]
    expected, found = (torch.autograd.grad(output, wanted, ones) for output in outputs)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one)


def test__draw_mask__counts_reach_the_device_without_waiting(monkeypatch):
    """`torch.tensor` of a list copies it there and waits."""
    made, make = [], torch.tensor
    monkeypatch.setattr(
        torch, "tensor", lambda *a, **k: made.append(k.get("device")) or make(*a, **k)
    )
    valid = torch.ones(3, 5, dtype=torch.bool, device="meta")
    draw_mask(valid, 0.6, torch.Generator())
    assert made and all(torch.device(device).type == "cpu" for device in made)


def test__batch__of_part_of_the_points__is_pinned_whole(monkeypatch):
    pinned = []
    monkeypatch.setattr(
        torch.Tensor, "pin_memory", lambda x: pinned.append(x.is_contiguous()) or x.to("meta")
    )
    view = torch.from_numpy(np.zeros((4, 2, 30), np.float32)[:, :, :17])
    monkeypatch.setattr(torch.Tensor, "to", lambda x, *a, **k: x)
    Batch(view, None, False).to(torch.device("cuda:0"))
    assert pinned == [True]


def test__load__no_memory_left_on_the_device__is_not_called_damage(tmp_path, monkeypatch):
    X = np.random.default_rng(0).normal(size=(8, 1, 40))
    small = TimeMAETransformer.get_test_params()[1]
    TimeMAETransformer(**small, device="cpu").fit(X).save(tmp_path / "model")

    def full(module, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(nn.Module, "to", full)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        TimeMAETransformer.load(tmp_path / "model")
