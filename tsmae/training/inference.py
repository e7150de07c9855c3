"""Inference of a model on a panel: batches of like length, on a CPU one a thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier

import numpy as np
import torch

from tsmae.nn import SeriesEncoder
from tsmae.panel import Panel
from tsmae.training.batches import Batch
from tsmae.training.device import (
    SETTING_THREADS,
    keep_freed_memory,
    n_torch_threads,
    no_autocast,
)

_EMBEDDING_BATCH = 256  # series, at most
_CACHED_POINTS = 16384  # time points of a batch whose activations stay in a core's cache
_DEVICE_POINTS = 2**20  # time points of a batch elsewhere: some GB
_DEVICE_CHANNELS = 32  # from twice as many on, channels decide how much memory a point takes
_STANDARDIZE_ON = 10_000  # series; more change the statistics little and cost a pass each
_CALIBRATE_ON = 256  # series, of many windows each
_WORKER = "tsmae-embedding"  # name of the threads


def apply(
    function: Callable[[Batch], torch.Tensor], panel: Panel, device: torch.device
) -> np.ndarray:
    """Run `function` on batches of the panel and stack what it returns.

    Where something is missing, series are taken in order of length, so that batches carry little
    padding and a few long series do not make all batches small; the output is in the order of the
    panel. On a CPU as many batches run side by side as torch has threads, each on one: small
    operations split over threads mostly wait for each other.

    Raises
    ------
    ValueError
        If the output for a series is not finite.
    """
    n, batches = len(panel), _batches_by_length(panel, device)
    keep_freed_memory()

    @torch.inference_mode()
    def run(index: np.ndarray | slice) -> np.ndarray:
        with no_autocast():
            return function(Batch.of(panel[index]).to(device)).cpu().numpy()

    output: np.ndarray | None = None
    finite = np.empty(n, bool)
    with _map_over(len(batches) if device.type == "cpu" else 1) as map_:
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
            f"is not finite. {not_finite_because(panel.values[first])}"
        )
    return output


def _batches_by_length(panel: Panel, device: torch.device) -> list:
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


def not_finite_because(values: np.ndarray) -> str:
    return (
        f"Its values, up to {np.nanmax(np.abs(values)):.3g} in magnitude, are too far from those "
        "in fit, or training diverged, which a smaller `lr` prevents."
    )


@contextlib.contextmanager
def _map_over(n_batches: int) -> Iterator[Callable]:
    """`map` in this thread, or over threads of which each runs torch on itself alone."""
    n_threads = n_torch_threads()
    n_workers = min(n_batches, n_threads)
    if n_workers == 1:
        yield map
        return
    ready = Barrier(n_workers)
    with ThreadPoolExecutor(n_workers, _WORKER, _run_torch_alone, (ready,)) as pool:
        with SETTING_THREADS:
            try:
                wait([pool.submit(int) for _ in range(n_workers)])
            except BaseException:  # the system refuses a thread: others must not wait for it
                ready.abort()
                raise
            finally:
                torch.set_num_threads(n_threads)  # a thread's own is also that of new threads
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
