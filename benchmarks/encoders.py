"""Other modules in the place of the visible encoder; each callable builds one of width d."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn


class BertEncoder(nn.Module):
    """BERT of `transformers` with random weights: (B, N, d) -> (B, N, d)."""

    def __init__(self, d_model: int, n_layers: int = 8, n_heads: int = 4):
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(
            vocab_size=1,
            hidden_size=d_model,
            num_hidden_layers=n_layers,
            num_attention_heads=n_heads,
            intermediate_size=4 * d_model,
        )
        self.bert = BertModel(config, add_pooling_layer=False)

    def forward(self, x, padding_mask=None):
        mask = None if padding_mask is None else (~padding_mask).long()
        return self.bert(inputs_embeds=x, attention_mask=mask).last_hidden_state


class LastLayer(nn.Module):
    """An encoder of tsmae that gives its last layer alone."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, x, padding_mask: torch.Tensor | None = None):
        return self.encoder(x, present=None if padding_mask is None else ~padding_mask)[-1]


class Transferred:
    """Builds copies of the visible encoder of a fitted TimeMAETransformer."""

    def __init__(self, transformer):
        self.encoder = transformer.model_.backbone.encoder

    def __call__(self, d_model: int) -> nn.Module:
        return LastLayer(copy.deepcopy(self.encoder))


ENCODERS: dict[str, Callable[[int], nn.Module]] = {"bert": BertEncoder}
