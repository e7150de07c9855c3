"""TimeMAE: a decoupled masked autoencoder of time series [1]_.

Data flows top to bottom: scale and slice, embed, mask, encode what is visible, predict what
is masked, compare with the targets.

.. [1] M. Cheng, Q. Liu, Z. Liu, H. Zhang, R. Zhang, E. Chen. TimeMAE: Self-Supervised
   Representations of Time Series with Decoupled Masked Autoencoders. arXiv 2303.00320.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from tsmae.nn.backbone import Backbone, never_empty
from tsmae.nn.blocks import DecoupledEncoder
from tsmae.nn.config import TimeMAEConfig
from tsmae.nn.contrast import InstanceDiscrimination
from tsmae.nn.embedding import Windows
from tsmae.nn.layers import initialize, linear
from tsmae.nn.masking import draw_mask, n_masked_of, places_of, take
from tsmae.nn.pooling import pool
from tsmae.nn.series import average_down
from tsmae.nn.tokenizer import LearnedTokenizer, RandomProjectionTokenizer

_MASK_STD = 0.02
_NDCG_CUTOFF = 10


LOSSES = ("mrr", "mcc", "reconstruction", "contrast")  # those that `Pretext.loss` adds up


class Pretext(NamedTuple):
    """Losses and metrics of one batch: means over its `n_masked` sub-series.

    ``contrast`` is one over `n_contrasted` series. ``loss`` carries the gradient.
    ``reconstruction`` is weighted already; ``ndcg`` is at 10;
    ``codeword_counts`` (G, K) says how often each codeword was a target. What has no weight in
    the loss is 0.
    """

    loss: torch.Tensor
    mrr: torch.Tensor
    mcc: torch.Tensor
    reconstruction: torch.Tensor
    contrast: torch.Tensor
    hit_rate: torch.Tensor
    ndcg: torch.Tensor
    n_masked: int
    n_contrasted: int
    codeword_counts: torch.Tensor

    @classmethod
    def of_nothing(cls, config: TimeMAEConfig, x: torch.Tensor) -> Pretext:
        """Where x is, nothing masked and nothing contrasted."""
        zero, counts = x.new_zeros(()), x.new_zeros(config.n_codebooks, config.n_codewords)
        return cls(zero, zero, zero, zero, zero, zero, zero, 0, 0, counts)


class TimeMAE(nn.Module):
    """The model that :class:`tsmae.TimeMAETransformer` trains.

    Parameters
    ----------
    config : TimeMAEConfig
    generator : torch.Generator
        Source of the initial weights.
    encoder : nn.Module, optional
        See :class:`~tsmae.nn.backbone.Backbone`.
    """

    def __init__(
        self,
        config: TimeMAEConfig,
        generator: torch.Generator,
        encoder: nn.Module | None = None,
    ):
        super().__init__()
        self.config = config
        d = config.d_model
        self.backbone = Backbone(config, generator, encoder)
        self.mask_vector = nn.Parameter(torch.zeros(d, dtype=torch.float32))  # z_mask
        if config.decoupled:
            self.decoupled_encoder = DecoupledEncoder(config)
        if config.tokenizer == "learned":
            self.tokenizer: LearnedTokenizer | RandomProjectionTokenizer = LearnedTokenizer(config)
        else:
            self.tokenizer = RandomProjectionTokenizer(config)
        if config.reconstruction_weight:
            self.reconstruct = linear(d, config.n_channels * config.window_length)
        if config.spectral_weight:
            n_frequencies = config.window_length // 2 + 1
            self.reconstruct_spectrum = linear(d, config.n_channels * n_frequencies)
        if config.contrast_weight:
            self.discrimination = InstanceDiscrimination(config)
        for name, part in self.named_children():
            if name != "backbone":
                initialize(part, config.block, generator)
        self.tokenizer.initialize(generator)
        nn.init.normal_(self.mask_vector, std=_MASK_STD, generator=generator)
        self.restart_target()

    def restart_target(self) -> None:
        """Make H_ξ, where there is one, a copy of H_θ with storage of its own."""
        if self.config.mrr_weight:
            self.target_encoder = copy.deepcopy(self.backbone.encoder).requires_grad_(False)

    def codewords(self, x: torch.Tensor, complete: bool = False) -> torch.Tensor:
        """Codeword ids (B, N, G), int64.

        -1 where a window does not count: without an observation, or a lone last point.
        """
        windows = self.backbone.windows(self.backbone.scaling(x), complete)
        z: Any = None
        if self.tokenizer.reads_embeddings:
            z = self.backbone.feature_encoder(windows)
        ids = self.tokenizer.codewords(z, windows.values)
        return ids if windows.valid is None else ids.masked_fill(~windows.valid[..., None], -1)

    def forward(
        self,
        x: torch.Tensor,
        generator: torch.Generator,
        complete: bool = False,
        views: tuple[torch.Tensor, torch.Tensor] | None = None,
        resolution: int = 1,
        jitter_deviation: float = 0.0,
    ) -> Pretext:
        """The pretext task on a batch (B, C, T): mask, predict, compare.

        `generator` draws masks, dropout and noise; `complete` promises that nothing is NaN.
        `views` are two random views of the batch, of the same shape, for the contrast, which
        sees means of `resolution` points each; `jitter_deviation` is of the series whose windows
        are predicted, see :func:`tsmae.nn.series.jitter`. In `eval` mode masks are drawn all
        the same, but dropout and the noise of the codewords are off.
        """
        pretext = Pretext.of_nothing(self.config, x)
        if self.config.predicts:
            pretext = self._predict(x, generator, complete, jitter_deviation, pretext)
        if self.config.contrast_weight:
            assert views is not None, "the contrast needs two views"
            noise = generator if self.training else None
            pretext = pretext._replace(
                contrast=self._contrast(views, resolution, noise, complete),
                n_contrasted=len(x) if len(x) > 1 else 0,  # a single series has no others
            )
        losses = {name: getattr(pretext, name) for name in LOSSES}
        detached = {name: loss.detach() for name, loss in losses.items()}
        return pretext._replace(loss=self.config.weighted(**losses), **detached)

    def _contrast(
        self,
        views: tuple[torch.Tensor, torch.Tensor],
        resolution: int,
        noise: torch.Generator | None,
        complete: bool,
    ) -> torch.Tensor:
        """Instance discrimination between two views (B, C, T), all windows visible."""
        both = self.backbone.scaling(torch.cat(views))
        layers, valid = self.backbone.encode(
            average_down(both, resolution, complete), complete, noise
        )
        pooled = pool(layers[-1:], valid, ("mean",), 0)
        return self.discrimination(*pooled.chunk(2))

    def _predict(
        self,
        x: torch.Tensor,
        generator: torch.Generator,
        complete: bool,
        jitter_deviation: float,
        pretext: Pretext,
    ) -> Pretext:
        """`pretext` with the masked objectives, and gradients, in it."""
        config = self.config
        noise = generator if self.training else None
        x = self.backbone.scaling.jittered(x, jitter_deviation, generator)
        windows = self.backbone.windows(x, complete)
        n_series, n_windows = windows.values.shape[:2]
        p = self.backbone.positions(n_windows, windows.valid)  # (1 or B, N, d)

        valid, n_masked, n_visible = windows.valid, None, None
        if valid is None:
            valid = torch.ones(n_series, n_windows, dtype=torch.bool, device=x.device)
            n_masked = n_masked_of(n_windows, config.mask_ratio)
            n_visible = n_windows - n_masked
        masked = draw_mask(valid, config.mask_ratio, generator, config.mask_per)
        masked_places, present = places_of(masked, n_masked)  # (B, M)
        queries = (self.mask_vector + p).expand(n_series, -1, -1)  # z_mask + p_i
        p = p.expand(n_series, -1, -1)
        # lines across gaps must not carry masked values into visible windows
        shown = windows if complete else self.backbone.windows(x, masked=masked)

        if config.decoupled:
            visible_places, seen = places_of(valid & ~masked, n_visible)  # (B, V)
            seen = never_empty(seen)
            tokens = self._embed_at(visible_places, shown) + take(p, visible_places)
            memory = self.backbone.encoder(tokens, seen, noise)[-1]
            asked = take(queries, masked_places)
            predicted = self.decoupled_encoder(asked, memory, seen, noise)  # ẑ
        else:  # the ablation: mask tokens in the encoder, as in BERT
            tokens = self.backbone.feature_encoder(shown) + p
            inputs = torch.where(masked[..., None], queries, tokens)
            outputs = self.backbone.encoder(inputs, never_empty(windows.valid), noise)[-1]
            predicted = take(outputs, masked_places)

        # without padding, the P masked sub-series of the batch
        real = None if present is None else present.flatten().nonzero().squeeze(1)
        z: Any = None  # (B, M, d), where something reads it
        if config.mrr_weight or (config.mcc_weight and self.tokenizer.reads_embeddings):
            z = self._embed_at(masked_places, windows)
        if config.mrr_weight:
            with torch.no_grad():
                tokens = z + take(p, masked_places)
                targets = self.target_encoder(tokens, never_empty(present))[-1]  # z̄
                target = _rows(targets, real)
        predicted = _rows(predicted, real)
        hidden = windows.at(_rows(masked_places, real))

        if len(predicted) == 0:  # series of one window each: nothing to predict
            return pretext._replace(mrr=predicted.sum())
        if config.mrr_weight:
            pretext = pretext._replace(mrr=self._regress(predicted, target))
        if config.mcc_weight:
            embedded: Any = None if z is None else _rows(z, real)
            codewords = self.tokenizer.targets(embedded, hidden.values, noise)
            mcc, hit_rate, ndcg, counts = self._classify(predicted, codewords)
            pretext = pretext._replace(
                mcc=mcc, hit_rate=hit_rate, ndcg=ndcg, codeword_counts=counts
            )
        return pretext._replace(
            reconstruction=self._reconstruct(predicted, hidden),
            n_masked=len(predicted),
        )

    def _embed_at(self, places: torch.Tensor, windows: Windows) -> torch.Tensor:
        """Embeddings z (B, M, d) of the windows at these places (B, M) alone."""
        return self.backbone.feature_encoder(windows.at(places))

    def _regress(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """MRR: mean squared error of ẑ (P, d) to sg(z̄)."""
        if self.config.mrr_target == "layer_norm":
            target = F.layer_norm(target, target.shape[-1:])
        return F.mse_loss(predicted, target)

    def _classify(
        self, predicted: torch.Tensor, codewords: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """MCC: cross-entropy of softmax⟨v_k, ẑ⟩ to the codewords, and its metrics.

        `codewords` are ids (P, G) or distributions (P, G, K).
        """
        config = self.config
        logits = self.tokenizer.logits(predicted).flatten(0, 1)  # (P G, K)
        codewords = codewords.flatten(0, 1)
        mcc = F.cross_entropy(logits, codewords, label_smoothing=config.label_smoothing)
        with torch.no_grad():
            ids = codewords if codewords.dim() == 1 else codewords.argmax(-1)
            own = logits.gather(1, ids[:, None])
            ahead, level = (logits > own).sum(1).float(), (logits == own).sum(1).float() - 1
            # in bfloat16 many are level: which of them is first is left to chance
            hits = torch.where(ahead == 0, 1 / (1 + level), 0.0)
            # one relevant codeword each: its gain is discounted by its rank
            rank = ahead + level / 2
            gain = torch.where(rank < _NDCG_CUTOFF, 1 / (rank + 2).log2(), 0.0)
            book = torch.arange(config.n_codebooks, device=ids.device).repeat(len(predicted))
            words = book * config.n_codewords + ids
            counts = words.new_zeros(config.n_codebooks * config.n_codewords)
            counts.scatter_add_(0, words, torch.ones_like(words))  # bincount would wait for a GPU
            counts = counts.view(config.n_codebooks, -1)
        return mcc, hits.mean(), gain.mean(), counts

    def _reconstruct(self, predicted: torch.Tensor, windows: Windows) -> torch.Tensor:
        """Weighted errors of reconstructing P windows and their amplitude spectra.

        Points that were not observed have no error, nor have constant channels; the spectra are
        those of bridged windows.
        """
        config = self.config
        live = ~self.backbone.scaling.dead  # (C, 1)
        loss = predicted.new_zeros(())
        if config.reconstruction_weight:
            there = live if windows.observed is None else live & windows.observed
            error = _mean_square(self.reconstruct(predicted), windows.values, there)
            loss = loss + config.reconstruction_weight * error
        if config.spectral_weight:
            amplitude = torch.fft.rfft(windows.values, norm="ortho").abs()
            error = _mean_square(self.reconstruct_spectrum(predicted), amplitude, live)
            loss = loss + config.spectral_weight * error
        return loss

    @torch.no_grad()
    def update_target(self) -> None:
        """One step of the target encoder: ξ ← η ξ + (1 - η) θ. Without MRR there is none.

        Buffers, such as the statistics that a user's encoder keeps, are those of θ, but for those
        whose shape follows the input.
        """
        if not self.config.mrr_weight:
            return
        target, online = self.target_encoder, self.backbone.encoder
        weights: list[torch.Tensor] = list(target.parameters())
        if weights:  # a user's encoder may have none
            newer: list[torch.Tensor] = list(online.parameters())
            torch._foreach_lerp_(weights, newer, 1.0 - self.config.momentum)
        for own, theirs in zip(target.buffers(), online.buffers(), strict=True):
            if own.shape == theirs.shape:
                own.copy_(theirs)

    def train(self, mode: bool = True) -> TimeMAE:
        super().train(mode)
        if self.config.mrr_weight:
            self.target_encoder.eval()  # its targets carry no dropout noise
        return self


def _mean_square(
    predicted: torch.Tensor, target: torch.Tensor, there: torch.Tensor
) -> torch.Tensor:
    """Mean over targets (P, ...) of the mean squared error of what is `there` of each."""
    errors = (predicted.view_as(target) - target).square()
    there = there.expand_as(errors)
    sums, counts = (errors * there).flatten(1).sum(1), there.flatten(1).sum(1)
    return (sums / counts.clamp(min=1)).mean()


def _rows(values: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """(B, M, ...) -> (P, ...), those at the places (P,) of a flat (B M), or all."""
    return values.flatten(0, 1) if real is None else values.flatten(0, 1).index_select(0, real)
