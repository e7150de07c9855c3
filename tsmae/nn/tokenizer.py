"""Tokenizers: which codeword stands for a sub-series."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tsmae.nn.config import TimeMAEConfig
from tsmae.nn.layers import linear


class LearnedTokenizer(nn.Module):
    """Codebooks learned with the encoder, by a straight-through Gumbel softmax.

    The relevance of codeword k to a sub-series is the inner product ⟨v_k, z_i⟩ with its
    embedding before positions. The codebook also is the classifier of the predicted
    representations: logits ⟨v_k, ẑ_i⟩.
    """

    reads_embeddings = True

    def __init__(self, config: TimeMAEConfig):
        super().__init__()
        self.temperature = config.temperature
        self.codeword_gradient = config.codeword_gradient
        shape = (config.n_codebooks, config.n_codewords, config.d_model)
        self.codebook = nn.Parameter(torch.empty(shape, dtype=torch.float32))

    def initialize(self, generator: torch.Generator) -> None:
        nn.init.xavier_normal_(self.codebook.data.flatten(0, 1), generator=generator)

    def relevance(self, z: torch.Tensor) -> torch.Tensor:
        """⟨v_k, z_i⟩: (..., d) -> (..., G, K)."""
        return F.linear(z, self.codebook.flatten(0, 1)).unflatten(-1, self.codebook.shape[:2])

    def codewords(self, z: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
        """Deterministic ids (..., G), int64, of sub-series embedded as z (..., d)."""
        return self.relevance(z).argmax(-1)

    def targets(
        self, z: torch.Tensor, windows: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        """One-hot q̂ (..., G, K); noisy and straight-through given a generator, else argmax.

        q̃ = softmax((⟨v_k, z_i⟩ + g_k) / τ), q = one-hot argmax q̃, q̂ = q̃ + sg(q - q̃).
        """
        relevance = self.relevance(z)
        if generator is None:
            return _one_hot(relevance.detach())
        if not self.codeword_gradient:
            relevance = relevance.detach()
        uniform = torch.rand(
            relevance.shape, dtype=torch.float32, device=z.device, generator=generator
        )
        gumbel = uniform.log_().neg_().log_().neg_()  # a third of the cost of exponential_()
        noisy = relevance + gumbel
        hard = _one_hot(noisy)  # a saturated softmax has ties
        if not self.codeword_gradient:
            return hard
        soft = (noisy / self.temperature).softmax(-1)
        return soft + (hard - soft).detach()

    def logits(self, predicted: torch.Tensor) -> torch.Tensor:
        """(..., d) -> (..., G, K)."""
        return self.relevance(predicted)


class RandomProjectionTokenizer(nn.Module):
    """Frozen codewords: which of K random directions has the largest product with the window.

    Targets are stable from the first step, and no training can make them collapse (after
    BEST-RQ, Chiu et al. 2022). Each codebook draws K directions in the space of windows; level
    is removed, each channel's mean over the window, so that codewords speak of shape. Windows of
    one point have nothing but level, which stays. Directions are as long as they are drawn, so
    that some win more often than others: of 192, windows of 8 points of white noise use some
    120 where there is one channel, and all where there are nine.
    """

    reads_embeddings = False  # z is not read, and may be None
    directions: torch.Tensor

    def __init__(self, config: TimeMAEConfig):
        super().__init__()
        self.shape = (config.n_codebooks, config.n_codewords)
        n_values = config.n_channels * config.window_length
        n_words = config.n_codebooks * config.n_codewords
        directions = torch.empty(n_words, n_values, dtype=torch.float32)
        self.register_buffer("directions", directions)
        self.head = linear(config.d_model, n_words)

    def initialize(self, generator: torch.Generator) -> None:
        self.directions.normal_(generator=generator)

    @torch.no_grad()
    def codewords(self, z: torch.Tensor | None, windows: torch.Tensor) -> torch.Tensor:
        """Ids (..., G), int64, of windows (..., C, δ)."""
        if windows.shape[-1] > 1:
            windows = windows - windows.mean(-1, keepdim=True)
        with torch.autocast(windows.device.type, enabled=False):  # bfloat16 would move near ties
            relevance = F.linear(windows.flatten(-2), self.directions)
        return relevance.unflatten(-1, self.shape).argmax(-1)

    def targets(
        self, z: torch.Tensor | None, windows: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        """The ids themselves (..., G): there is no noise and no gradient."""
        return self.codewords(z, windows)

    def logits(self, predicted: torch.Tensor) -> torch.Tensor:
        """(..., d) -> (..., G, K)."""
        return self.head(predicted).unflatten(-1, self.shape)


def _one_hot(scores: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(scores).scatter_(-1, scores.argmax(-1, keepdim=True), 1.0)
