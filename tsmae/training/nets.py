"""The skorch nets: one for pre-training, one for fine-tuning."""

from __future__ import annotations

import dis
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

from tsmae.nn.timemae import LOSSES
from tsmae.training.augmentation import crop_and_stretch
from tsmae.training.batches import Batch, BatchIterator
from tsmae.training.randomness import new_generator

SCHEDULES = ("one_cycle", "cosine")
_OF_WINDOWS = ("mrr", "mcc", "reconstruction", "hit_rate", "ndcg")  # means over masked ones


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
    autocast : bool
        Run the forward pass in bfloat16 where that is exact enough.
    **kwargs
        Passed to :class:`skorch.NeuralNet`.
    """

    def __init__(self, module, *, generator=None, autocast=False, **kwargs):
        self.generator = generator
        self.autocast = autocast
        kwargs.setdefault("criterion", nn.Identity)
        kwargs.setdefault("optimizer", torch.optim.AdamW)
        kwargs.setdefault("iterator_train", BatchIterator)
        kwargs.setdefault("iterator_valid", BatchIterator)
        super().__init__(module, verbose=0, **kwargs)

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
        except KeyboardInterrupt as stop:
            if _is_of_a_raise(stop):  # skorch's callbacks stop a fit so
                raise _StoppedByCallback from stop
            raise

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

    def step(self, batch: Batch) -> dict:
        """The loss and metrics of a batch, and how many items each is a mean of, in "weights".

        What has no weight is a sum already.
        """
        raise NotImplementedError

    def summarize(self, totals: dict[str, torch.Tensor]) -> dict[str, float]:
        """What an epoch records, of the means of its metrics and of its sums."""
        return {name: float(total) for name, total in totals.items()}

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
        # its cache is shared by all threads, and emptied by any of them
        with torch.autocast(device.type, torch.bfloat16, self.autocast, cache_enabled=False):
            return self.step(batch.to(device))

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        if iterator is None:
            return
        totals: dict = defaultdict(int)  # a float would take tensors of int to torch's default
        items: dict = defaultdict(int)
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            weights = step.pop("weights")
            for name, value in step.items():
                totals[name] = totals[name] + value.detach() * weights.get(name, 1)
                items[name] = items[name] + weights.get(name, 0)
            self.notify("on_batch_end", batch=batch, training=training, **step)
        # numbers are read here only, once an epoch: it may wait for a GPU
        means = {
            name: total / float(items[name]) if items[name] else total
            for name, total in totals.items()
        }
        for name, value in self.summarize(means).items():
            self.history.record(f"{prefix}_{name}", value)
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
        Of the series whose windows are predicted; see :func:`tsmae.nn.series.jitter`.
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
        self.noise_ = self.generator if training else new_generator(0, self.device)
        first = len(self.history) - 1 if training else 0  # epochs of few batches reach all in turn
        self.turns_ = islice(cycle(self.resolutions), first, None)
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)

    def step(self, batch):
        x, views, resolution = batch.x, None, 1
        if self.module_.config.contrast_weight:
            views = (crop_and_stretch(x, self.noise_), crop_and_stretch(x, self.noise_))
            resolution = next(self.turns_)
        if self.augment and self.module_.training:
            x = crop_and_stretch(x, self.noise_)
        jitter = self.jitter if self.module_.training else 0.0
        pretext = self.module_(x, self.noise_, batch.complete, views, resolution, jitter)
        of_windows = {name: getattr(pretext, name) for name in _OF_WINDOWS}
        return {
            "loss": pretext.loss,
            **of_windows,
            "contrast": pretext.contrast,
            "counts": pretext.codeword_counts,
            "weights": {
                **dict.fromkeys(of_windows, pretext.n_masked),
                "contrast": pretext.n_contrasted,
            },
        }

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        super().on_batch_end(net, batch=batch, training=training, **kwargs)
        if training:
            self.module_.update_target()

    def summarize(self, totals):
        counts = totals.pop("counts")
        metrics = super().summarize(totals)
        losses = {name: metrics[name] for name in LOSSES}  # means of windows and of series
        metrics["loss"] = self.module_.config.weighted(**losses)
        return metrics | codebook_use(counts)


class FineTuningNet(PanelNet):
    """Trains a :class:`~tsmae.nn.SeriesClassifier` on labels.

    Parameters
    ----------
    class_weight : (n_classes,) tensor
    label_smoothing : float
    augment : bool
        Whether about half of the series, drawn anew each time, are replaced by random crops.
    jitter : float
        See :func:`tsmae.nn.series.jitter`.
    """

    def __init__(
        self, module, *, class_weight, label_smoothing=0.0, augment=False, jitter=0.0, **kwargs
    ):
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.augment = augment
        self.jitter = jitter
        super().__init__(module, **kwargs)

    def _drawn_half(self, x: torch.Tensor) -> torch.Tensor:
        """About every second series of (B, C, T): (B, 1, 1) bool."""
        draw = torch.rand(len(x), 1, 1, dtype=x.dtype, device=x.device, generator=self.generator)
        return draw < 0.5

    def step(self, batch):
        x, noise, smoothing, jitter = batch.x, None, 0.0, 0.0
        if self.module_.training:
            noise, smoothing, jitter = self.generator, self.label_smoothing, self.jitter
            if self.augment:
                x = torch.where(self._drawn_half(x), crop_and_stretch(x, noise), x)
        logits = self.module_(x, batch.complete, noise, jitter)
        losses = F.cross_entropy(
            logits, batch.y, self.class_weight, reduction="none", label_smoothing=smoothing
        )
        weights = self.class_weight[batch.y]
        # smoothing gives a class of weight 0 a loss, and a batch may hold nothing else
        total = weights.sum().clamp_min(torch.finfo(torch.float32).tiny)
        loss = (losses * (weights > 0)).sum() / total
        hits = (logits.argmax(1) == batch.y).float().mean()
        items = {"loss": weights.sum().detach(), "accuracy": len(batch.x)}
        return {"loss": loss, "accuracy": hits, "weights": items}


def _is_of_a_raise(error: BaseException) -> bool:
    """Whether a `raise` statement made the error, and not a signal during other work."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    return dis.opname[traceback.tb_frame.f_code.co_code[traceback.tb_lasti]] == "RAISE_VARARGS"


def codebook_use(counts: torch.Tensor) -> dict[str, float]:
    """Distinct codewords and perplexity of counts (G, K), means over the codebooks."""
    counts = counts.cpu()  # MPS has no float64
    share = counts.double() / counts.sum(-1, keepdim=True).clamp_min(1)
    entropy = -torch.xlogy(share, share).sum(-1)
    perplexity = entropy.exp() * counts.any(-1)  # 0 where no codeword was a target
    return {
        "distinct_codewords": float((counts > 0).sum(-1).double().mean()),
        "perplexity": float(perplexity.mean()),
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
