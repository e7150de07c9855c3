"""Layers in float32, whatever torch's default, and how their weights are drawn."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

_BIAS_AT_INIT = 0.1  # as the released TimeMAE


def linear(n_inputs: int, n_outputs: int, bias: bool = True, n_fused: int = 1) -> nn.Linear:
    """A linear layer whose weights are not drawn yet: torch would use its global generator.

    Its outputs may be those of `n_fused` layers of one size, computed in one product.
    """
    layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs, bias=bias, dtype=torch.float32)
    layer.n_fused = n_fused
    return layer


def convolution(n_inputs: int, n_outputs: int, kernel: int, bias: bool = True) -> nn.Conv1d:
    """Likewise; as long out as in."""
    padding = kernel // 2
    return nn.utils.skip_init(
        nn.Conv1d, n_inputs, n_outputs, kernel, padding=padding, bias=bias, dtype=torch.float32
    )


def convolve(layer: nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
    """(B, C, T) through a :func:`convolution`, on CUDA as a matrix product.

    cuDNN would round float32 to TF32, which torch lets it unlike matrix products, and its gradients
    may differ from run to run.
    """
    return as_product(layer, x) if x.device.type == "cuda" else layer(x)


def as_product(layer: nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
    """What `layer` returns, from one product of its weights and patches of (B, C, T)."""
    (kernel,), padding = layer.kernel_size, layer.kernel_size[0] // 2
    patches = F.pad(x, (padding, padding)).unfold(-1, kernel, 1)  # (B, C, T, kernel)
    patches = patches.transpose(1, 2).flatten(2)
    return F.linear(patches, layer.weight.flatten(1), layer.bias).transpose(1, 2)


def norm(width: int) -> nn.LayerNorm:
    """A layer norm."""
    return nn.LayerNorm(width, dtype=torch.float32)


def initialize(module: nn.Module, block: str, generator: torch.Generator) -> None:
    """Draw all linear and convolution weights of `module` from `generator`.

    ``"timemae"`` as released: Xavier-normal weights, each of fused layers on its own, biases 0.1.
    ``"pre_norm"``: normal of variance 1 / inputs, zero biases.
    """
    for part in module.modules():
        if not isinstance(part, (nn.Linear, nn.Conv1d)):
            continue
        if block == "timemae":
            for weight in part.weight.chunk(getattr(part, "n_fused", 1)):
                nn.init.xavier_normal_(weight, generator=generator)
        else:
            std = 1.0 / math.sqrt(part.weight[0].numel())
            nn.init.trunc_normal_(part.weight, std=std, generator=generator)
        if part.bias is not None:
            nn.init.constant_(part.bias, _BIAS_AT_INIT if block == "timemae" else 0.0)
