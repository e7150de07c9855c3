"""Pre-training and fine-tuning of a model on a panel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from skorch.callbacks import EarlyStopping
from skorch.helper import predefined_split
from torch import nn

from tsmae.nn import SeriesClassifier, TimeMAE
from tsmae.nn.blocks import ForeignEncoder
from tsmae.panel import Panel
from tsmae.training.batches import PanelDataset, batch_starts
from tsmae.training.callbacks import ProgressBar
from tsmae.training.device import keep_freed_memory
from tsmae.training.inference import not_finite_because
from tsmae.training.nets import FineTuningNet, PanelNet, PretrainingNet, schedule
from tsmae.training.randomness import isolated_global_rng, new_generator

# what skorch's callbacks keep of a fit, on objects that are parameters: the optimiser, the weights
_LEFT_BEHIND = ("lr_scheduler_", "best_model_weights_")


def pretrain(
    model: TimeMAE,
    panel: Panel,
    held_out: Panel | None = None,
    *,
    train_stem: bool = True,
    **settings,
) -> list[dict]:
    """Train `model` in place on its pretext task.

    `train_stem=False` leaves the feature encoder as it is; see :func:`_train` and
    :class:`PretrainingNet` for the other settings. Returns the history, one dict an epoch.
    """
    valid = None if held_out is None else PanelDataset(held_out)
    dataset = PanelDataset(panel)
    with _trainable_as_before(model):
        if not train_stem:
            model.backbone.feature_encoder.requires_grad_(False)
        return _train(PretrainingNet, model, dataset, valid, "pre-training", **settings)


def fine_tune(
    model: SeriesClassifier,
    panel: Panel,
    targets: np.ndarray,
    held_out: tuple[Panel, np.ndarray] | None = None,
    **settings,
) -> list[dict]:
    """Train `model` in place on class indices.

    See :func:`_train` and :class:`FineTuningNet` for the settings. Returns the history, one dict
    an epoch.
    """
    valid = None if held_out is None else PanelDataset(*held_out)
    dataset = PanelDataset(panel, targets)
    with _trainable_as_before(model):
        return _train(FineTuningNet, model, dataset, valid, "fine-tuning", **settings)


@contextlib.contextmanager
def _trainable_as_before(model: nn.Module) -> Iterator[None]:
    """What a callback froze is frozen for one training: the next decides for itself."""
    before = [(weight, weight.requires_grad) for weight in model.parameters()]
    try:
        yield
    finally:
        for weight, trainable in before:
            weight.requires_grad_(trainable)


def _train(
    net_class: type[PanelNet],
    model: nn.Module,
    dataset: PanelDataset,
    held_out: PanelDataset | None,
    description: str,
    *,
    n_epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    lr_schedule: str | None,
    patience: int | None,
    device: torch.device,
    seed: int,
    autocast: bool,
    compile: bool,
    callbacks: Sequence,
    verbose: int,
    **net_settings,
) -> list[dict]:
    """Build a net around `model`, fit it, and return its history.

    With `held_out` data the fit stops after `patience` epochs without a lower loss on it
    (None: never), and the weights of the best epoch are restored.
    """
    n_batches = len(batch_starts(len(dataset), batch_size))
    callbacks = [*schedule(lr_schedule, lr, n_epochs * n_batches), *callbacks]
    if held_out is not None:
        never = n_epochs + 1
        best = EarlyStopping(patience=never, threshold=0, load_best=True, sink=_silent)
        callbacks.insert(0, ("tsmae_best", best))  # a callback that stops the fit comes after it
        if patience is not None:
            stop = EarlyStopping(patience=patience, threshold=0, sink=_silent)
            callbacks.append(("tsmae_early_stopping", stop))
    if verbose:
        callbacks.append(("tsmae_progress", ProgressBar(description)))
    net = net_class(
        model,
        generator=new_generator(seed, device),
        iterator_train__generator=new_generator(seed),  # the order of the series
        autocast=autocast,
        compile=compile,
        max_epochs=n_epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer__weight_decay=weight_decay,
        optimizer__fused=device.type != "mps",
        train_split=None if held_out is None else predefined_split(held_out),
        callbacks=callbacks,
        device=str(device),
        **net_settings,
    )
    # our own modules do not touch torch's global generator; these can draw from no other
    foreign = compile or any(isinstance(part, ForeignEncoder) for part in model.modules())
    keep_freed_memory()
    try:
        with isolated_global_rng(seed, device) if foreign else contextlib.nullcontext():
            net.fit(dataset)
    finally:
        for _, callback in net.callbacks_ if net.initialized_ else []:
            for name in _LEFT_BEHIND:
                vars(callback).pop(name, None)
            if isinstance(callback, ProgressBar):
                callback.close()
    model.eval()
    model.zero_grad()  # the memory of gradients
    last = "train_loss" if held_out is None else "valid_loss"  # of an epoch that was finished
    return [_as_row(epoch) for epoch in net.history if last in epoch]


@torch.inference_mode()
def evaluate_pretext(
    model: TimeMAE, panel: Panel, device: torch.device, batch_size: int, resolution: int
) -> dict[str, float]:
    """Pretext losses and metrics of a panel: masks and crops from a fixed seed, no other noise."""
    net = PretrainingNet(
        model,
        device=str(device),
        batch_size=batch_size,
        resolutions=(resolution,),
        optimizer=_no_optimizer,
    ).initialize()
    iterator = net.get_iterator(PanelDataset(panel), training=False)
    net.history.new_epoch()
    net.run_single_epoch(iterator, False, "valid", net.validation_step)
    if not np.isfinite(net.history[-1, "valid_loss"]):
        raise ValueError(f"The loss on X is not finite. {not_finite_because(panel.values)}")
    row = _as_row(net.history[-1])
    return {name.removeprefix("valid_"): row[name] for name in row if name.startswith("valid_")}


def _no_optimizer(parameters: list, lr: float) -> None:
    """That of a net that is not trained; torch has none for weights that are all frozen."""


def _as_row(epoch: dict) -> dict:
    """An epoch of skorch's history in our words."""
    return {
        "duration" if name == "dur" else name.removeprefix("train_"): value
        for name, value in epoch.items()
        if name != "batches" and not name.endswith("_best")
    }


def _silent(message: str) -> None:
    pass
