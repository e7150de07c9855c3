"""Dropout that draws from an explicit generator."""

from __future__ import annotations

import torch
from torch.nn import functional as F

_BYTE = 256


def dropout(x: torch.Tensor, p: float, generator: torch.Generator | None) -> torch.Tensor:
    """Zero a fraction `p` of `x` and scale the rest by ``1 / (1 - p)``.

    Parameters
    ----------
    x : torch.Tensor
    p : float in [0, 1)
        Rounded to a multiple of 1/256, neither 0 nor 1: one random byte decides per value, which
        costs a quarter of :func:`torch.nn.functional.dropout` on a CPU.
    generator : torch.Generator or None
        Source of the noise, on the device of `x`. None, as at inference, returns `x`.
    """
    if generator is None or p == 0.0:
        return x
    # not is_compiling(), which is also true while another thread compiles
    if torch.compiler.is_dynamo_compiling():  # fused by the compiler, seeded by the training loop
        return F.dropout(x, p)
    if x.device.type == "mps":  # draws no integers over the whole range
        kept = torch.rand(x.shape, device=x.device, generator=generator) >= p
        return x * kept.to(x.dtype) / (1 - p)
    dropped = min(max(1, round(p * _BYTE)), _BYTE - 1)
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
    # the whole range of int64, so that all eight bytes are uniform
    words.random_(-(2**63), None, generator=generator)
    noise = words.view(torch.uint8)[: x.numel()].view(x.shape)
    # compared as numbers of x's type, which hold a byte exactly: booleans convert slowly
    return x * noise.to(x.dtype).ge_(dropped).mul_(_BYTE / (_BYTE - dropped))
