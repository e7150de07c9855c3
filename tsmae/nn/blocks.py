"""Transformer blocks: the visible encoder and the decoupled encoder."""

from __future__ import annotations

import inspect

import torch
from torch import nn
from torch.nn import functional as F

from tsmae.nn.config import TimeMAEConfig
from tsmae.nn.dropout import dropout
from tsmae.nn.layers import linear, norm

_RESIDUAL_SCALE_AT_INIT = 1e-8  # the released TimeMAE starts every block as a bare norm
_FEW_KEYS = 128  # of which the attention weights fit in memory


class Attention(nn.Module):
    """Multi-head attention of queries (B, Q, d) over a memory (B, M, d).

    Attention weights themselves are not dropped out: that would leave the fused kernel, and
    the block already drops its output.
    """

    def __init__(self, d_model: int, n_heads: int, cross: bool):
        super().__init__()
        self.n_heads = n_heads
        self.cross = cross
        if cross:
            self.query = linear(d_model, d_model)
            self.key_value = linear(d_model, 2 * d_model, n_fused=2)
        else:
            self.query_key_value = linear(d_model, 3 * d_model, n_fused=3)
        self.output = linear(d_model, d_model)

    def forward(
        self, x: torch.Tensor, memory: torch.Tensor | None, present: torch.Tensor | None
    ) -> torch.Tensor:
        if self.cross:
            query = self._split(self.query(x), 1)[0]
            key, value = self._split(self.key_value(memory), 2)
        else:
            query, key, value = self._split(self.query_key_value(x), 3)
        mask = None if present is None else present[:, None, None, :]  # (B, 1, 1, M)
        mixed = _attend(query, key, value, mask)
        return self.output(mixed.transpose(1, 2).flatten(2))  # (B, Q, d)

    def _split(self, x: torch.Tensor, n_parts: int) -> tuple[torch.Tensor, ...]:
        """(B, L, n_parts * d) -> n_parts tensors of (B, heads, L, d / heads)."""
        parts = x.unflatten(-1, (n_parts, self.n_heads, -1)).unbind(2)  # (B, L, h, d/h)
        # transposed only now: gradients of the parts then stack to that of x without a copy
        return tuple(part.transpose(1, 2) for part in parts)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    if query.dtype == torch.bfloat16 and query.device.type == "cpu":
        # there the fused kernel takes two to nine times as long in bfloat16 as in float32
        if key.shape[2] <= _FEW_KEYS:
            return _attend_written_out(query, key, value, mask)
        with torch.autocast("cpu", enabled=False):
            query, key, value = query.float(), key.float(), value.float()
            return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def _attend_written_out(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Multiplies in the type that is given, and keeps the weights (B, heads, Q, M)."""
    relevance = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        relevance = relevance.masked_fill(~mask, -torch.inf)
    return relevance.softmax(-1) @ value


class Block(nn.Module):
    """Attention, then a feed-forward network of width 4d, each with a residual connection.

    ``block="timemae"`` is the released TimeMAE: norm after the residual sum, each branch
    multiplied by a learned scalar that starts at 1e-8. ``"pre_norm"`` norms each branch's
    input, the usual choice for stable training at larger learning rates.
    """

    def __init__(self, config: TimeMAEConfig, cross: bool, p: float):
        super().__init__()
        d = config.d_model
        self.p = p
        self.pre_norm = config.block == "pre_norm"
        self.attention = Attention(d, config.n_heads, cross)
        self.expand = linear(d, 4 * d)
        self.contract = linear(4 * d, d)
        self.norm_1 = norm(d)
        self.norm_2 = norm(d)
        if not self.pre_norm:
            self.scale_1 = nn.Parameter(torch.tensor(_RESIDUAL_SCALE_AT_INIT, dtype=torch.float32))
            self.scale_2 = nn.Parameter(torch.tensor(_RESIDUAL_SCALE_AT_INIT, dtype=torch.float32))

    def forward(
        self,
        x: torch.Tensor,
        memory: torch.Tensor | None = None,
        present: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        if self.pre_norm:
            attended = self.attention(self.norm_1(x), memory, present)
            x = x + dropout(attended, self.p, generator)
            return x + dropout(self._feed_forward(self.norm_2(x)), self.p, generator)
        attended = dropout(self.attention(x, memory, present), self.p, generator)
        x = self.norm_1(torch.addcmul(x, attended, self.scale_1))
        hidden = dropout(self._feed_forward(x), self.p, generator)
        return self.norm_2(torch.addcmul(x, hidden, self.scale_2))

    def _feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.expand(x)
        if torch.is_grad_enabled():
            return self.contract(F.gelu(hidden))
        return self.contract(torch.ops.aten.gelu_(hidden))  # two would outgrow a core's cache


class Encoder(nn.Module):
    """The visible encoder H_θ: blocks of self-attention over the positions it is given."""

    def __init__(self, config: TimeMAEConfig):
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(config, cross=False, p=config.dropout) for _ in range(config.n_layers)
        )
        self.norm = _final_norm(config)

    def forward(
        self,
        x: torch.Tensor,
        present: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> list[torch.Tensor]:
        """Outputs of all layers, each (B, L, d); the last one is the representation.

        `present` (B, L) is False where a position is padding, None where none is.
        """
        layers = []
        for block in self.blocks:
            x = block(x, present=present, generator=generator)
            layers.append(x)
        layers[-1] = self.norm(x)
        return layers


class ForeignEncoder(nn.Module):
    """A user's (B, N, d) -> (B, N, d) module in the place of H_θ."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module
        self.takes_padding = "padding_mask" in inspect.signature(module.forward).parameters

    def forward(
        self,
        x: torch.Tensor,
        present: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> list[torch.Tensor]:
        if torch.is_inference_mode_enabled():  # no training could use what the module keeps of it
            with torch.inference_mode(False), torch.no_grad():
                # of its own, as the module may work in place
                return self(x.clone(), None if present is None else present.clone())
        if x.device.type == "cpu" and not torch.is_grad_enabled():
            # torch.nn.TransformerEncoder's shortcut for inference knows no autocast of a CPU
            with torch.autocast("cpu", enabled=False):
                return self._encode(x.float(), present)
        return self._encode(x, present)

    def _encode(self, x: torch.Tensor, present: torch.Tensor | None) -> list[torch.Tensor]:
        if self.takes_padding:
            output = self.module(x, padding_mask=None if present is None else ~present)
        elif present is None or bool(present.all()):
            output = self.module(x)
        elif bool(present[:, : (n_seen := _n_seen(present))].all()):  # a tail that none has
            *_, output = self._encode(x[:, :n_seen], None)
            return [nn.functional.pad(output, (0, 0, 0, x.shape[1] - n_seen))]
        else:
            raise ValueError(
                f"encoder={type(self.module).__name__} cannot take series of unequal length "
                "or windows without observations: its forward has no `padding_mask` "
                "argument ((B, N) bool, True where a position is padding)."
            )
        if not isinstance(output, torch.Tensor):
            raise TypeError(
                f"encoder={type(self.module).__name__} must return one tensor of shape "
                f"{tuple(x.shape)}; it returned a {type(output).__name__}."
            )
        if output.shape != x.shape:
            raise ValueError(
                f"encoder={type(self.module).__name__} must map (B, N, d) to the same shape; "
                f"it mapped {tuple(x.shape)} to {tuple(output.shape)}."
            )
        return [output.to(x.dtype)]  # some compute in a type of their own


def _n_seen(present: torch.Tensor) -> int:
    """Positions up to the last that any series (B, N) has."""
    return int(present.any(0).nonzero().amax()) + 1


class DecoupledEncoder(nn.Module):
    """The decoupled encoder F_φ: masked positions read the visible ones, never write them."""

    def __init__(self, config: TimeMAEConfig):
        super().__init__()
        p = config.dropout if config.decoupled_dropout is None else config.decoupled_dropout
        self.blocks = nn.ModuleList(
            Block(config, cross=True, p=p) for _ in range(config.n_decoupled_layers)
        )
        self.norm = _final_norm(config)

    def forward(
        self,
        queries: torch.Tensor,
        visible: torch.Tensor,
        present: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """(B, M, d) queries over (B, V, d) visible representations -> (B, M, d)."""
        for block in self.blocks:
            queries = block(queries, visible, present, generator)
        return self.norm(queries)


def _final_norm(config: TimeMAEConfig) -> nn.Module:
    return norm(config.d_model) if config.block == "pre_norm" else nn.Identity()
