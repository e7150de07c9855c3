"""Speed of the engine: a training step and `transform` against their matrix products alone."""

from __future__ import annotations

import functools
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.cells import Cell
from benchmarks.cli import Table, main
from benchmarks.protocols import build, settings
from benchmarks.reports import markdown, spread
from tsmae._auto import CODEWORDS

_SHAPE = (9, 128)  # channels and points of HAR
_BATCH = 128
_ESTIMATORS = "from tsmae import TimeMAETransformer, TimeMAEClassifier"  # imports what they need
_IMPORTS = ("import tsmae", _ESTIMATORS, "import torch, sktime")
_PROFILED = 15  # operations shown
_LOG = "speed_log.md"


def cells(options) -> list[Cell]:
    quick = options.budget == "quick"
    size = {"steps": 2 if quick else 10, "repeats": 2 if quick else 7, "threads": options.threads}
    timed = [
        Cell("synthetic", method, seed, {**settings(preset), **size}, preset)
        for preset in ("paper", "defaults")
        for method in ("step", "transform", "profile")
        for seed in (options.seeds if method != "profile" else options.seeds[:1])
    ]
    imported = {**settings(), **size}
    return timed + [Cell("none", "import", seed, imported) for seed in options.seeds]


def measure(cell: Cell) -> dict:
    torch.set_num_threads(cell.settings["threads"])
    return {
        "step": _step,
        "transform": _transform,
        "profile": _profile,
        "import": _import,
    }[cell.method](cell)


def _step(cell: Cell) -> dict:
    """Wall seconds of a pre-training step: the best epoch of a fit over its number of steps."""
    X, parameters = _panel(cell), cell.settings["transformer"]
    n_steps, n_repeats = cell.settings["steps"], cell.settings["repeats"]
    # as on a large panel; the products are counted on a single batch
    train = {**CODEWORDS, **parameters, "batch_size": _BATCH}
    history = build({**train, "max_epochs": 1 + n_repeats}, cell.seed).fit(X).history_
    seconds = min(epoch["duration"] for epoch in history[1:]) / n_steps
    # one step is what a fit of one step does beyond a fit of none
    products = matrix_products(build({**train, "max_epochs": 1}, cell.seed).fit, X[:_BATCH])
    products.subtract(matrix_products(build({**train, "max_epochs": 0}, cell.seed).fit, X[:_BATCH]))
    return {"seconds": seconds, **_against_products(seconds, products, n_repeats)}


def _transform(cell: Cell) -> dict:
    """Wall seconds of `transform`, from numpy array to DataFrame."""
    X = _panel(cell)
    transformer = build({**cell.settings["transformer"], "max_epochs": 0}, cell.seed).fit(X)
    seconds = _best(lambda: transformer.transform(X), cell.settings["repeats"])
    products = matrix_products(transformer.transform, X)
    result = _against_products(seconds, products, cell.settings["repeats"])
    return {"seconds": seconds, "series_per_second": round(len(X) / seconds, 1), **result}


def _profile(cell: Cell) -> dict:
    """The operations that take the most of a training epoch's own CPU time."""
    X = _panel(cell)
    transformer = build(
        {**CODEWORDS, **cell.settings["transformer"], "batch_size": _BATCH, "max_epochs": 1},
        cell.seed,
    )
    transformer.fit(X)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        transformer.fit(X)
    averages = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in averages)
    top = sorted(averages, key=lambda event: -event.self_cpu_time_total)[:_PROFILED]
    return {
        "operations": [
            {
                "operation": event.key[:60],
                "calls a step": round(event.count / cell.settings["steps"], 1),
                "ms a step": round(event.self_cpu_time_total / 1e3 / cell.settings["steps"], 2),
                "share": f"{event.self_cpu_time_total / total:.1%}",
            }
            for event in top
        ]
    }


def _import(cell: Cell) -> dict:
    """CPU and wall seconds of imports, each in a fresh interpreter; the best of several."""
    result = {}
    for statement in _IMPORTS:
        walls, cpus = [], []
        for _ in range(1 + cell.settings["repeats"]):  # the first one fills the disk cache
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            wall = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            walls.append(time.perf_counter() - wall)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpus.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        result |= {f"{statement}: wall": min(walls[1:]), f"{statement}: cpu": min(cpus[1:])}
    tsmae, estimators, others = (result[f"{statement}: cpu"] for statement in _IMPORTS)
    return {**result, "ratio": tsmae / others, "ratio of both": estimators / others}


def _panel(cell: Cell) -> np.ndarray:
    rng = np.random.default_rng(cell.seed)
    n_series = _BATCH * cell.settings["steps"]
    return rng.standard_normal((n_series, *_SHAPE), dtype=np.float32)


def _best(function: Callable, n_repeats: int) -> float:
    function()
    seconds = []
    for _ in range(n_repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


class _Products(TorchDispatchMode):
    """Counts the matrix products of what runs inside: (batch, m, k, n, dtype) -> how often.

    Convolutions and attention count as the products they consist of.
    """

    def __init__(self):
        super().__init__()
        self.found: Counter = Counter()

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        options = options or {}
        count = _COUNTERS.get(operation.overloadpacket)
        if count is None:
            with self:  # an operation made of others shows what it is made of
                result = operation.decompose(*arguments, **options)
            return operation(*arguments, **options) if result is NotImplemented else result
        result = operation(*arguments, **options)
        for shape, n_times in count(result, *arguments):
            self.found[*shape, arguments[0].dtype] += n_times
        return result


def _mm(out, a, b, *rest):
    yield (1, *a.shape, b.shape[1]), 1


def _bmm(out, a, b, *rest):
    yield (*a.shape, b.shape[2]), 1


def _attention(out, query, key, *rest):
    (batch, heads, n_queries, width), n_keys = query.shape, key.shape[2]
    yield (batch * heads, n_queries, width, n_keys), 1  # relevance
    yield (batch * heads, n_queries, n_keys, width), 1  # mixture


def _attention_backward(out, gradient, query, key, *rest):
    (batch, heads, n_queries, width), n_keys = query.shape, key.shape[2]
    yield (batch * heads, n_queries, width, n_keys), 2  # relevance again, of the weights
    yield (batch * heads, n_keys, n_queries, width), 2  # of keys and values
    yield (batch * heads, n_queries, n_keys, width), 1  # of queries


def _convolution(out, x, weight, *rest):
    yield (1, len(out) * out.shape[2], weight[0].numel(), len(weight)), 1


def _convolution_backward(out, gradient, x, weight, *rest):
    n_rows = len(gradient) * gradient.shape[2]
    yield (1, len(weight), n_rows, weight[0].numel()), 1  # of the weight
    if out[0] is not None:
        yield (1, n_rows, len(weight), weight[0].numel()), 1  # of the input


_aten = torch.ops.aten
_COUNTERS = {
    _aten.mm: _mm,
    _aten.addmm: lambda out, bias, a, b, *rest: _mm(out, a, b),
    _aten.bmm: _bmm,
    _aten.baddbmm: lambda out, bias, a, b, *rest: _bmm(out, a, b),
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    _aten.convolution: _convolution,
    _aten.convolution_backward: _convolution_backward,
}


def matrix_products(function: Callable, *arguments) -> Counter:
    """Matrix products of a call: (batch, m, k, n, dtype) -> how often."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # those of other threads are not seen
    try:
        with _Products() as products:
            function(*arguments)
    finally:
        torch.set_num_threads(n_threads)
    return products.found


@functools.cache
def _product_seconds(
    batch: int, m: int, k: int, n: int, dtype: torch.dtype, n_repeats: int
) -> float:
    """Best wall seconds of one product of (batch, m, k) with (batch, k, n)."""
    a, b = torch.randn(batch, m, k, dtype=dtype), torch.randn(batch, k, n, dtype=dtype)
    if batch == 1:
        a, b = a[0], b[0]
    out = a @ b
    n_calls = max(1, int(2e7 / (2 * batch * m * k * n)))

    def call():
        for _ in range(n_calls):
            torch.matmul(a, b, out=out)

    return _best(call, n_repeats) / n_calls


def _against_products(seconds: float, products: Counter, n_repeats: int) -> dict:
    operations = product_seconds = 0.0
    for (*shape, dtype), count in products.items():
        if count and all(shape):
            operations += count * 2 * int(np.prod(shape))
            product_seconds += count * _product_seconds(*shape, dtype, n_repeats)
    return {
        "gflop": operations / 1e9,
        "gflop_per_second": operations / 1e9 / product_seconds,
        "product_seconds": product_seconds,
        "ratio": seconds / product_seconds,
    }


def report(results: pd.DataFrame, options) -> str:
    done = results[results["status"] == "ok"]
    rows = []
    for (method, label), part in done.groupby(["method", "label"], sort=False):
        if method not in ("step", "transform"):
            continue
        rows.append(
            {
                "what": method,
                "settings": label,
                "ms": spread(1e3 * part["seconds"], 1),
                "products alone, ms": spread(1e3 * part["product_seconds"], 1),
                "GFLOP": spread(part["gflop"], 2),
                "GFLOP/s of the products": spread(part["gflop_per_second"], 0),
                "ratio": spread(part["ratio"]),
            }
        )
    parts = [
        f"Series as HAR's ({_SHAPE[0]} channels, {_SHAPE[1]} points), batches of {_BATCH}, wall "
        f"time on {options.threads} threads. `step` is an epoch of `fit` over its steps, loop "
        "and data included; `transform` the whole call from numpy array to DataFrame, on "
        f"{_BATCH} × steps series. `products alone` is the time of the very same matrix products "
        "(linear layers, attention, convolutions, forward and backward), each measured alone in "
        "the same process; best of several repeats on both sides.",
        markdown(pd.DataFrame(rows)),
    ]
    imports = done[done["method"] == "import"]
    if len(imports):
        seconds = {
            name: [spread(imports[f"{name}: cpu"]), spread(imports[f"{name}: wall"])]
            for name in _IMPORTS
        }
        table = pd.DataFrame(seconds, index=["CPU s", "wall s"]).T.rename_axis("statement")
        parts += [
            markdown(table),
            f"CPU seconds over those of torch and sktime: {spread(imports['ratio'], 3)}, with the "
            f"estimators {spread(imports['ratio of both'], 2)}.",
        ]
    for _, row in done[done["method"] == "profile"].iterrows():
        parts += [
            f"Profile of a step, {row['label']}:",
            markdown(pd.DataFrame(row["operations"])),
        ]
    log = options.results / _LOG
    if log.exists():
        parts.append(log.read_text().strip())
    return "\n\n".join(parts)


TABLE = Table(
    "speed",
    "Speed of the engine",
    ("synthetic",),
    cells,
    report,
    threads=2,
    measure=measure,
)

if __name__ == "__main__":
    main(TABLE)
