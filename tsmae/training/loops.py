"""Pre-training, fine-tuning and inference of a model on a panel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier
from typing import Any

import numpy as np
import torch
from skorch.callbacks import EarlyStopping
from skorch.helper import predefined_split
from torch import nn

from tsmae._auto import largest_batch
from tsmae.nn import SeriesClassifier, SeriesEncoder, TimeMAE
from tsmae.nn.blocks import ForeignEncoder
from tsmae.panel import Panel
from tsmae.training.batches import Batch, PanelDataset, batch_starts
from tsmae.training.callbacks import ProgressBar, TargetUpdate
from tsmae.training.device import no_autocast
from tsmae.training.nets import FineTuningNet, PanelNet, PretrainingNet, schedule
from tsmae.training.randomness import isolated_global_rng, new_generator

_EMBEDDING_BATCH = 256  # series, at most
_CACHED_POINTS = 16384  # time points of a batch whose activations stay in a core's cache
_DEVICE_POINTS = 2**20  # time points of a batch elsewhere: some GB
_DEVICE_CHANNELS = 32  # from twice as many on, channels decide how much memory a point takes
_STANDARDIZE_ON = 10_000  # series; more change the statistics little and cost a pass each
_CALIBRATE_ON = 256  # series, of many windows each
_METRICS_BATCH = 128  # series
# what skorch's callbacks keep of a fit, on objects that are parameters: the optimiser, the weights
_LEFT_BEHIND = ("lr_scheduler_", "best_model_weights_")
_WORKER = "tsmae-embedding"  # name of the threads
_LARGEST_OF_HEAP = 2**25 - 2**16  # bytes; glibc takes larger blocks from the system each time


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
    settings["callbacks"] = [("tsmae_target_update", TargetUpdate), *settings["callbacks"]]
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
    """Train `model` in place on class indices; see :func:`_train` for the settings."""
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
    steps = [*schedule(lr_schedule, lr, n_epochs * n_batches), *callbacks]
    if held_out is not None:
        never = n_epochs + 1
        best = EarlyStopping(patience=never, threshold=0, load_best=True, sink=_silent)
        steps.insert(0, ("tsmae_best", best))  # a callback that stops the fit comes after it
        if patience is not None:
            stop = EarlyStopping(patience=patience, threshold=0, sink=_silent)
            steps.append(("tsmae_early_stopping", stop))
    if verbose:
        steps.append(("tsmae_progress", ProgressBar(description)))
    net = net_class(
        model,
        generator=new_generator(seed, device),
        order=new_generator(seed),
        autocast=autocast,
        compile=compile,
        max_epochs=n_epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer__weight_decay=weight_decay,
        optimizer__fused=device.type != "mps",
        train_split=None if held_out is None else predefined_split(held_out),
        callbacks=steps,
        device=str(device),
        **net_settings,
    )
    # our own modules do not touch torch's global generator; these can draw from no other
    foreign = compile or any(isinstance(part, ForeignEncoder) for part in model.modules())
    _keep_freed_memory()
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
    last = "train_loss" if held_out is None else "valid_loss"  # of an epoch that was finished
    return [_as_row(epoch) for epoch in net.history if last in epoch]


@torch.inference_mode()
def evaluate_pretext(
    model: TimeMAE, panel: Panel, device: torch.device, resolution: int
) -> dict[str, float]:
    """Pretext losses and metrics of a panel: masks from a fixed seed, no other noise."""
    batch_size = min(_METRICS_BATCH, largest_batch(panel))
    net = PretrainingNet(
        model, device=str(device), batch_size=batch_size, resolutions=(resolution,)
    ).initialize()
    iterator = net.get_iterator(PanelDataset(panel), training=False)
    net.history.new_epoch()
    net.run_single_epoch(iterator, False, "valid", net.validation_step)
    if not np.isfinite(net.history[-1, "valid_loss"]):
        raise ValueError(f"The loss on X is not finite. {_not_finite_because(panel.values)}")
    return {
        name.removeprefix("valid_"): value
        for name, value in net.history[-1].items()
        if name.startswith("valid_") and not name.endswith(("_best", "_batch_count"))
    }


def _as_row(epoch: dict) -> dict:
    """An epoch of skorch's history in our words."""
    names = {"dur": "duration"}
    row = {}
    for name, value in epoch.items():
        if name == "batches" or name.endswith(("_best", "_batch_count")):
            continue
        row[names.get(name, name.removeprefix("train_"))] = value
    return row


def _silent(message: str) -> None:
    pass


def apply(
    function: Callable[[Batch], torch.Tensor], panel: Panel, device: torch.device
) -> np.ndarray:
    """Run `function` on batches of the panel and stack what it returns.

    Series are taken in order of length, so that batches carry little padding and a few long
    series do not make all batches small; the output is in the order of the panel. On a CPU as
    many batches run side by side as torch has threads, each on one: small operations split over
    threads mostly wait for each other.

    Raises
    ------
    ValueError
        If the output for a series is not finite.
    """
    n, batches = len(panel), _batches_by_length(panel, device)
    _keep_freed_memory()

    @torch.inference_mode()
    def run(index: Any) -> np.ndarray:
        with no_autocast():
            return function(Batch.of(panel[index]).to(device)).cpu().numpy()

    n_workers = min(len(batches), torch.get_num_threads() if device.type == "cpu" else 1)
    output: np.ndarray | None = None
    finite = np.empty(n, bool)
    with _map_over(n_workers) as map_:
        for index, result in zip(batches, map_(run, batches), strict=True):
            if output is None:
                output = np.empty((n, *result.shape[1:]), result.dtype)
            output[index] = result
            finite[index] = np.isfinite(result).reshape(len(result), -1).all(1)
    assert output is not None
    if not finite.all():
        first = int(finite.argmin())
        raise ValueError(
            f"The output for {n - finite.sum()} series of X, first for that at position {first}, "
            f"is not finite. {_not_finite_because(panel.values[first])}"
        )
    return output


def _batches_by_length(panel: Panel, device: torch.device) -> list[Any]:
    """Indices or slices of batches of a bounded number of points, long series first."""
    n_points = _CACHED_POINTS
    if device.type != "cpu":
        n_points = _DEVICE_POINTS // max(1, panel.n_channels // _DEVICE_CHANNELS)

    def size(longest: int) -> int:
        return min(_EMBEDDING_BATCH, max(1, n_points // longest))

    if panel.complete:
        step = size(panel.n_points)
        return [slice(start, start + step) for start in range(0, len(panel), step)]
    order = np.argsort(-panel.lengths, kind="stable")
    batches = []
    while len(order):
        step = size(panel.lengths[order[0]])
        batches.append(order[:step])
        order = order[step:]
    return batches


def _not_finite_because(values: np.ndarray) -> str:
    return (
        f"Its values, up to {np.nanmax(np.abs(values)):.3g} in magnitude, are too far from those "
        "in fit, or training diverged, which a smaller `lr` prevents."
    )


def _keep_freed_memory() -> None:
    """Let glibc keep up to 64 MB a thread of what a batch frees, which the next faults in again.

    Its thresholds (`mallopt`: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD) rise to the largest block that
    was freed and twice that; this one is never written to. Elsewhere nothing happens.
    """
    torch.UntypedStorage(_LARGEST_OF_HEAP, device="cpu")


@contextlib.contextmanager
def _map_over(n_workers: int) -> Iterator[Callable]:
    """`map` in this thread, or over threads of which each runs torch on itself alone."""
    if n_workers == 1:
        yield map
        return
    n_threads, ready = torch.get_num_threads(), Barrier(n_workers)
    with ThreadPoolExecutor(n_workers, _WORKER, _run_torch_alone, (ready,)) as pool:
        try:
            wait([pool.submit(int) for _ in range(n_workers)])
        except BaseException:  # the system refuses a thread: those started must not wait for it
            ready.abort()
            raise
        finally:
            torch.set_num_threads(n_threads)  # a thread's own number is also that of new threads
        yield pool.map


def _run_torch_alone(ready: Barrier) -> None:
    torch.get_num_threads()  # the first call in a thread sets it up, and would overrule
    torch.set_num_threads(1)
    ready.wait()


def embed(encoder: SeriesEncoder, panel: Panel, device: torch.device) -> np.ndarray:
    """Embeddings (n, D) float32 of a panel."""
    return apply(lambda batch: encoder(batch.x, batch.complete), panel, device)


def calibrate(
    encoder: SeriesEncoder, panel: Panel, device: torch.device, generator: torch.Generator
) -> None:
    """Tell an encoder how large slopes are, and features that it compares, on a panel.

    Or on a sample of it.
    """
    if not (encoder.slopes or encoder.compares):
        return
    sample = _sample(panel, _CALIBRATE_ON, generator)
    if encoder.slopes:
        sums = apply(lambda batch: encoder.squared_slopes(batch.x, batch.complete), sample, device)
        encoder.scale_slopes(sums)
    if encoder.compares:
        moments = apply(lambda batch: encoder.moments(batch.x, batch.complete), sample, device)
        encoder.calibrate(moments)


def standardize(
    encoder: SeriesEncoder,
    panel: Panel,
    device: torch.device,
    generator: torch.Generator,
    smallest: float = 0.0,
) -> np.ndarray | None:
    """Let the embeddings of a panel, or of a sample of it, have mean 0 and deviation 1.

    See :meth:`SeriesEncoder.standardize` for `smallest`. Returns the embeddings as they were
    before, (n, D), or None if a sample had to do.
    """
    sample = _sample(panel, _STANDARDIZE_ON, generator)
    embeddings = embed(encoder, sample, device)
    encoder.standardize(embeddings, smallest)
    return embeddings if sample is panel else None


def _sample(panel: Panel, n: int, generator: torch.Generator) -> Panel:
    """At most `n` series, drawn at random."""
    if len(panel) <= n:
        return panel
    return panel[torch.randperm(len(panel), generator=generator)[:n].numpy()]
