"""What each optimisation saves: the two ways of doing one thing, timed in turn.

``python -m benchmarks.paired [--threads 1] [--repeats 15]`` prints a table for
``results/speed_log.md``. Pairs alternate, so that a drift of the machine's speed falls on both;
quoted are medians and the median of the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tsmae import TimeMAETransformer, presets
from tsmae._auto import CODEWORDS
from tsmae.nn import TimeMAE, blocks
from tsmae.nn.dropout import dropout
from tsmae.nn.masking import take
from tsmae.panel import Panel
from tsmae.probe import LinearProbe
from tsmae.training import inference
from tsmae.training.batches import BatchIterator, PanelDataset
from tsmae.training.randomness import new_generator

_BATCH, _WINDOWS, _WIDTH, _HEADS, _CODEWORDS = 128, 16, 64, 4, 192  # the paper's, on HAR
_MASKED = 9
_FEW = 32  # series of a batch of small panels


Pairs = Iterator[tuple[str, Callable, Callable]]


def pairs() -> Pairs:
    """Name, the way it is done here, and the usual way."""
    for part in (_of_operations, _of_attention, _of_inference, _of_probes, _of_training):
        yield from part()


def _panel() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4 * _BATCH, 9, 128)).astype(np.float32)


def _of_operations() -> Pairs:
    generator = new_generator(0)
    x = torch.randn(_BATCH, _WINDOWS, _WIDTH)
    yield (
        "dropout: a random byte a value / F.dropout",
        lambda: dropout(x, 0.2, generator),
        lambda: F.dropout(x, 0.2),
    )
    noise = torch.randint(256, x.shape, dtype=torch.uint8)
    yield (
        "mask of dropout: bytes compared as floats / to booleans",
        lambda: noise.to(x.dtype).ge_(51).mul_(1.25),
        lambda: (noise >= 51).to(x.dtype).mul_(1.25),
    )

    def deviation(x, dim):
        return (x - x.mean(dim, keepdim=True)).square().mean(dim).sqrt()

    windows = torch.randn(_BATCH, _WINDOWS, 9, 8)
    for what, values, dim in (("positions", x, 1), ("a window's points", windows, -1)):
        yield (
            f"deviation over {what}: written out / torch.std",
            functools.partial(deviation, values, dim),
            functools.partial(torch.std, values, dim, correction=0),
        )

    shape = (_BATCH * _MASKED, _CODEWORDS)
    yield (
        "Gumbel noise: logarithms of uniform numbers / exponential_",
        lambda: torch.rand(shape, generator=generator).log_().neg_().log_().neg_(),
        lambda: torch.empty(shape).exponential_(generator=generator).log_().neg_(),
    )


def _of_attention() -> Pairs:
    x = torch.randn(_BATCH, _WINDOWS, _WIDTH)
    parts = [
        torch.randn(_BATCH, _HEADS, _WINDOWS, _WIDTH // _HEADS, requires_grad=True)
        for _ in range(3)
    ]

    def explicit():
        query, key, value = parts
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        (weights @ value).sum().backward()

    yield (
        "attention, forward and backward: fused kernel / written out",
        lambda: F.scaled_dot_product_attention(*parts).sum().backward(),
        explicit,
    )
    yield (
        "attention, forward and backward: without / with dropout of its weights",
        lambda: F.scaled_dot_product_attention(*parts).sum().backward(),
        lambda: F.scaled_dot_product_attention(*parts, dropout_p=0.2).sum().backward(),
    )

    for n_series, n_windows in ((_BATCH, _WINDOWS), (_BATCH // 8, 8 * _WINDOWS)):  # defaults' width
        halves = [
            torch.randn(n_series, _HEADS, n_windows, 32).bfloat16().requires_grad_()
            for _ in range(3)
        ]

        def attend_in_bfloat16(halves=halves):
            blocks._attend(*halves, None).sum().backward()

        yield (
            f"attention of {n_windows} windows in bfloat16, forward and backward: written out / "
            "fused, in float32",
            attend_in_bfloat16,
            functools.partial(_with_fused_attention, attend_in_bfloat16),
        )

    projected = torch.randn(_BATCH, _WINDOWS, 3 * _WIDTH, requires_grad=True)

    def attend(query, key, value):
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed.transpose(1, 2).flatten(2).backward(x)

    def unbind_first():
        parts = projected.unflatten(-1, (3, _HEADS, -1)).unbind(2)
        attend(*(part.transpose(1, 2) for part in parts))

    def permute_first():
        attend(*projected.unflatten(-1, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0))

    yield (
        "attention with its heads split, forward and backward: unbind / permute first",
        unbind_first,
        permute_first,
    )


def _of_inference() -> Pairs:
    panel = _panel()
    n_cached = inference._CACHED_POINTS
    for name, settings in (("paper's settings", presets.PAPER), ("defaults", {})):
        encoder = TimeMAETransformer(**{**settings, "max_epochs": 0}).fit(panel)

        def transform(n_points, encoder=encoder):
            with mock.patch.object(inference, "_CACHED_POINTS", n_points):
                encoder.transform(panel)

        def plain(encoder=encoder):
            with mock.patch.object(torch.ops.aten, "gelu_", F.gelu):
                encoder.transform(panel)

        def one_after_the_other(encoder=encoder):
            in_turn = contextlib.nullcontext(map)
            with mock.patch.object(inference, "_map_over", lambda n_workers: in_turn):
                encoder.transform(panel)

        yield (
            f"transform, {name}: batches side by side, a thread each / in turn, on all threads",
            functools.partial(transform, n_cached),
            one_after_the_other,
        )
        yield (
            f"transform, {name}: GELU in place / in a tensor of its own",
            functools.partial(transform, n_cached),
            plain,
        )
        yield (
            f"transform, {name}: {n_cached} points / 256 series a batch",
            functools.partial(transform, n_cached),
            functools.partial(transform, 256 * 128),
        )
        yield (
            f"transform, {name}: {n_cached} / 8192 points a batch",
            functools.partial(transform, n_cached),
            functools.partial(transform, 8192),
        )

    untrained = TimeMAETransformer(max_epochs=0, random_state=0)
    yield (
        "defaults, untrained: fit_transform / fit, then transform",
        lambda: untrained.fit_transform(panel[:_BATCH]),
        lambda: untrained.fit(panel[:_BATCH]).transform(panel[:_BATCH]),
    )


def _of_probes() -> Pairs:
    embeddings = np.random.default_rng(0).normal(size=(400, 15360)).astype(np.float32)
    targets = np.arange(400) % 8
    whole = LogisticRegression(C=LinearProbe().fit(embeddings, targets).C_, max_iter=1000)
    yield (
        "probe of 400 series, 8 classes: on what they span / on all columns",
        lambda: LinearProbe().fit(embeddings, targets),
        lambda: whole.fit(embeddings, targets),
    )


def _of_training() -> Pairs:
    generator, panel = new_generator(0), _panel()
    few = panel[:_FEW]
    contrast = {"mcc_weight": 0.0, "contrast_weight": 1.0, "max_epochs": 0, "random_state": 0}
    model = TimeMAETransformer(**contrast).fit(few).model_
    views = torch.from_numpy(few), torch.from_numpy(few).flip(-1)

    def in_turn():
        layers = [model.backbone.encode(model.backbone.scaling(v), True)[0][-1] for v in views]
        model.discrimination(*(layer.mean(1) for layer in layers)).backward()

    yield (
        f"defaults, crops of {_FEW} series told apart, forward and backward: at once / in turn",
        lambda: model(views[0], generator, True, views).loss.backward(),
        in_turn,
    )

    predicting = TimeMAETransformer(**CODEWORDS, max_epochs=0, random_state=0)
    for name, share in (("complete", 0.0), ("with gaps", 0.3)):
        holed = panel[:_BATCH].copy()
        holed[np.random.default_rng(0).random(holed.shape) < share] = np.nan
        masked = predicting.fit(holed).model_
        step = functools.partial(_step, masked, torch.from_numpy(holed), share == 0, generator)
        yield (
            f"a step of the defaults, {name}: only windows that are read embedded / all",
            step,
            functools.partial(_with_all_embedded, step),
        )

    batches = BatchIterator(PanelDataset(Panel.from_array(panel)), _BATCH, new_generator(0))
    loader = DataLoader(TensorDataset(torch.from_numpy(panel)), _BATCH, shuffle=True)
    yield (
        "an epoch of batches: slices / DataLoader",
        lambda: [b for b in batches],
        lambda: [b for b in loader],
    )

    sizes = [(64, 64), (256, 64), (64,), (192, 64)] * 12
    source = [torch.randn(s) for s in sizes]
    target = [torch.randn(s) for s in sizes]

    def one_by_one():
        for t, s in zip(target, source, strict=True):
            t.mul_(0.99).add_(s, alpha=0.01)

    yield (
        "target encoder: _foreach_lerp_ / tensor by tensor",
        lambda: torch._foreach_lerp_(target, source, 0.01),
        one_by_one,
    )

    def optimizer(**settings):
        parameters = [torch.nn.Parameter(torch.randn(s)) for s in sizes]
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        return torch.optim.AdamW(parameters, **settings).step

    yield "optimiser: fused AdamW / for-loop", optimizer(fused=True), optimizer(foreach=False)

    def fit(**settings):
        settings = {**CODEWORDS, "max_epochs": 1, "random_state": 0, **settings}
        return lambda: TimeMAETransformer(**settings).fit(panel)

    yield (
        "an epoch of the defaults: bfloat16 / float32",
        fit(batch_size=_BATCH, precision="bfloat16"),
        fit(batch_size=_BATCH, precision="float32"),
    )
    yield (
        "an epoch of the paper's settings: bfloat16 / float32",
        fit(**{**presets.PAPER, "max_epochs": 1, "precision": "bfloat16"}),
        fit(**{**presets.PAPER, "max_epochs": 1}),
    )


def _step(model: TimeMAE, x: torch.Tensor, complete: bool, generator: torch.Generator) -> None:
    model.zero_grad()
    model.train()(x, generator, complete).loss.backward()


def _with_fused_attention(call: Callable) -> None:
    with mock.patch.object(blocks, "_FEW_KEYS", 0):
        call()


def _with_all_embedded(step: Callable) -> None:
    def embed_at(model, places, windows):
        return take(model.backbone.feature_encoder(windows), places)

    with mock.patch.object(TimeMAE, "_embed_at", embed_at):
        step()


def milliseconds(call: Callable) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    print(f"| pair, {options.threads} thread(s) | here ms | other ms | here / other |")
    print("|---|---|---|---|")
    for name, ours, other in pairs():
        ours(), other()
        times = [(milliseconds(ours), milliseconds(other)) for _ in range(options.repeats)]
        here, there = (statistics.median(side) for side in zip(*times, strict=True))
        ratio = statistics.median(a / b for a, b in times)
        print(f"| {name} | {here:.3g} | {there:.3g} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
