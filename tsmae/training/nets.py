"""The skorch nets: one for pre-training, one for fine-tuning."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections import defaultdict
from itertools import cycle, islice

import torch
from skorch import NeuralNet
from skorch.callbacks import EpochTimer, LRScheduler
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from tsmae.training.augmentation import crop_and_stretch
from tsmae.training.batches import Batch, BatchIterator
from tsmae.training.randomness import new_generator

SCHEDULES = ("one_cycle", "cosine")


class _StoppedByCallback(KeyboardInterrupt):
    """A callback, such as early stopping, ended the fit; no person did."""


class PanelNet(NeuralNet):
    """A skorch net whose batches are slices of a panel and whose metrics wait for the epoch.

    Parameters
    ----------
    module : nn.Module
        An instance; it is trained in place.
    generator : torch.Generator
        On the device of the fit: masks, dropout, codeword noise.
    order : torch.Generator
        On the CPU: the order of the series.
    autocast : bool
        Run the forward pass in bfloat16 where that is exact enough.
    **kwargs
        Passed to :class:`skorch.NeuralNet`.
    """

    def __init__(self, module, *, generator=None, order=None, autocast=False, **kwargs):
        self.generator = generator
        self.order = order
        self.autocast = autocast
        kwargs.setdefault("criterion", nn.Identity)
        kwargs.setdefault("optimizer", torch.optim.AdamW)
        kwargs.setdefault("iterator_train", BatchIterator)
        kwargs.setdefault("iterator_valid", BatchIterator)
        super().__init__(module, iterator_train__generator=order, verbose=0, **kwargs)

    @property
    def _default_callbacks(self):
        return [("epoch_timer", EpochTimer())]

    def get_all_learnable_params(self):
        """Only what trains: the momentum target encoder must not reach the optimiser."""
        for name, parameter in super().get_all_learnable_params():
            if parameter.requires_grad:
                yield name, parameter

    def notify(self, method_name, **cb_kwargs):
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as stop:  # skorch's callbacks stop a fit so
            raise _StoppedByCallback from stop

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        try:
            return super().fit_loop(X, y, epochs, **fit_params)
        except _StoppedByCallback:
            return self
        except KeyboardInterrupt:
            warnings.warn(
                f"Interrupted in epoch {len(self.history)} of {self.max_epochs}: "
                "what was learned until then is kept.",
                stacklevel=2,
            )
            return self

    def step(self, batch: Batch) -> dict[str, torch.Tensor | int]:
        """The loss and metrics of a batch, means over its "weight" items."""
        raise NotImplementedError

    def summarize(self, totals: dict[str, torch.Tensor], prefix: str) -> dict[str, float]:
        """Metrics of an epoch from sums; called once an epoch, so it may wait for a GPU."""
        weight = max(1.0, float(totals.pop("weight")))
        return {f"{prefix}_{name}": float(total) / weight for name, total in totals.items()}

    def train_step_single(self, batch, **fit_params):
        self._set_training(True)
        step = self._autocast_step(batch)
        step["loss"].backward()
        return step

    def validation_step(self, batch, **fit_params):
        self._set_training(False)
        with torch.no_grad():
            return self._autocast_step(batch)

    def _autocast_step(self, batch):
        device = torch.device(self.device)
        cast = (
            torch.autocast(device.type, torch.bfloat16)
            if self.autocast
            else contextlib.nullcontext()
        )
        with cast:
            return self.step(batch.to(device))

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        if iterator is None:
            return
        totals: dict = defaultdict(float)
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            weight = step.pop("weight")
            totals["weight"] += weight
            for name, value in step.items():
                # counts are sums already; a mean counts as often as the batch has items
                totals[name] += value if name == "counts" else value.detach() * weight
            self.notify("on_batch_end", batch=batch, training=training, **step)
        for name, value in self.summarize(totals, prefix).items():
            self.history.record(name, value)
        loss = self.history[-1, f"{prefix}_loss"]
        so_far = self.history[:, f"{prefix}_loss"]
        self.history.record(f"{prefix}_loss_best", loss < min(so_far[:-1], default=math.inf))

    def on_epoch_end(self, net, **kwargs):
        super().on_epoch_end(net, **kwargs)
        epoch = self.history[-1]
        for loss in (epoch["train_loss"], epoch.get("valid_loss", 0.0)):
            if not math.isfinite(loss):
                raise ValueError(
                    f"Training diverged: the loss of epoch {len(self.history)} is {loss}. A "
                    f"smaller learning rate than lr={self.lr} may help, or scaled series "
                    "(scaling='channel')."
                )


class PretrainingNet(PanelNet):
    """Trains a :class:`~tsmae.nn.TimeMAE` on its pretext task.

    Parameters
    ----------
    augment : bool
        Whether to train on random crops of the series, stretched to their length.
    jitter : float
        Of the series whose windows are predicted; see :func:`tsmae.nn.embedding.jitter`.
    resolutions : sequence of int
        Those of the contrast, one a batch in turn.
    """

    def __init__(self, module, *, augment=False, jitter=0.0, resolutions=(1,), **kwargs):
        self.augment = augment
        self.jitter = jitter
        self.resolutions = resolutions
        super().__init__(module, **kwargs)

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        # held-out losses are compared between epochs: always on the same masks and resolutions
        self.masks_ = self.generator if training else new_generator(0, self.device)
        first = len(self.history) - 1 if training else 0  # or few batches would leave some out
        self.turns_ = islice(cycle(self.resolutions), first, None)
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)

    def step(self, batch):
        x, views, resolution = batch.x, None, 1
        if self.module_.config.contrast_weight:
            views = (crop_and_stretch(x, self.masks_), crop_and_stretch(x, self.masks_))
            resolution = next(self.turns_)
        if self.augment and self.module_.training:
            x = crop_and_stretch(x, self.masks_)
        jitter = self.jitter if self.module_.training else 0.0
        pretext = self.module_(x, self.masks_, batch.complete, views, resolution, jitter)
        return {
            "loss": pretext.loss,
            "mrr": pretext.mrr,
            "mcc": pretext.mcc,
            "reconstruction": pretext.reconstruction,
            "contrast": pretext.contrast,
            "hit_rate": pretext.hit_rate,
            "ndcg": pretext.ndcg,
            "counts": pretext.codeword_counts,
            "weight": pretext.n_items,
        }

    def summarize(self, totals, prefix):
        counts = totals.pop("counts")
        metrics = super().summarize(totals, prefix)
        metrics.update(codebook_use(counts, prefix))
        return metrics


class FineTuningNet(PanelNet):
    """Trains a :class:`~tsmae.nn.SeriesClassifier` on labels.

    Parameters
    ----------
    class_weight : (n_classes,) tensor
    label_smoothing : float
    jitter : float
        See :func:`tsmae.nn.embedding.jitter`.
    """

    def __init__(self, module, *, class_weight, label_smoothing=0.0, jitter=0.0, **kwargs):
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.jitter = jitter
        super().__init__(module, **kwargs)

    def step(self, batch):
        noise, smoothing, jitter = None, 0.0, 0.0
        if self.module_.training:
            noise, smoothing, jitter = self.generator, self.label_smoothing, self.jitter
        logits = self.module_(batch.x, batch.complete, noise, jitter)
        losses = F.cross_entropy(
            logits, batch.y, self.class_weight, reduction="none", label_smoothing=smoothing
        )
        weights = self.class_weight[batch.y]
        # smoothing gives a class of weight 0 a loss, and a batch may hold nothing else
        total = weights.sum().clamp_min(torch.finfo(torch.float32).tiny)
        loss = (losses * (weights > 0)).sum() / total
        hits = (logits.argmax(1) == batch.y).float().mean()
        return {"loss": loss, "accuracy": hits, "weight": len(batch)}


def codebook_use(counts: torch.Tensor, prefix: str) -> dict[str, float]:
    """Distinct codewords and perplexity of counts (G, K), means over the codebooks."""
    counts = counts.cpu()  # MPS has no float64
    share = counts.double() / counts.sum(-1, keepdim=True).clamp_min(1)
    entropy = -torch.xlogy(share, share).sum(-1)
    perplexity = entropy.exp() * counts.any(-1)  # 0 where no codeword was a target
    return {
        f"{prefix}_distinct_codewords": float((counts > 0).sum(-1).double().mean()),
        f"{prefix}_perplexity": float(perplexity.mean()),
    }


def schedule(name: str | None, lr: float, n_steps: int) -> list[tuple[str, LRScheduler]]:
    """Callbacks for a learning-rate schedule over `n_steps` optimiser steps."""
    if name is None:
        return []
    if name == "one_cycle":
        policy = LRScheduler(OneCycleLR, step_every="batch", max_lr=lr, total_steps=n_steps + 1)
    else:
        policy = LRScheduler(CosineAnnealingLR, step_every="batch", T_max=n_steps)
    return [("tsmae_lr_schedule", policy)]
