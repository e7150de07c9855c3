"""Cells of a table: each is measured once, in a process of its own, and kept.

A cell is one number-producing run: a method with its settings on a data set from one seed.
Finished cells are appended to one file of JSON lines, whatever table asked for them; a
cell already there is not run again, so an interrupted command continues where it stopped.
"""

from __future__ import annotations

import datetime
import fcntl
import functools
import hashlib
import json
import multiprocessing
import os
import platform
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

_PACKAGES = ("tsmae", "torch", "scikit-learn", "sktime", "skorch", "numpy", "numba")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                     "NUMBA_NUM_THREADS")  # fmt: skip
# all that a cell may import, so that no cell pays for it; torch imports its compiler at the
# first optimiser step
_PRELOAD = ["benchmarks.quick", "torch._dynamo"]
NOT_RUN = "not run"


class Skipped(Exception):
    """Raised by a method that does not apply to a cell, with the reason."""


class Cell(NamedTuple):
    """One run of a method.

    Attributes
    ----------
    dataset : str
    method : str
        A name in :data:`benchmarks.protocols.METHODS`.
    seed : int
    settings : dict
        What the method is given besides data and seed; made of JSON values.
    label : str
        How a table calls these settings. Not part of the cell's identity.
    """

    dataset: str
    method: str
    seed: int
    settings: dict = {}
    label: str = ""

    def with_settings(self, **changes) -> Cell:
        return self._replace(settings={**self.settings, **changes})


class Store:
    """Finished cells in a file of JSON lines.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def load(self) -> dict[str, dict]:
        """The last record of each key; a line cut short by a crash is skipped."""
        records = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue
                records[record["key"]] = record
        return records

    def append(self, record: dict) -> None:
        """Add one record: a single write under a lock, so that commands may share the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0, os.SEEK_END)
            end = file.tell()
            if end:
                file.seek(end - 1)
            torn = end and file.read(1) != b"\n"  # what a crash left behind
            file.write((b"\n" if torn else b"") + json.dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def digest(value) -> str:
    """Short hash of JSON-able settings; what JSON does not know is taken by its repr."""
    text = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run(
    cells: Iterable[Cell],
    measure: Callable[[Cell], dict],
    key: Callable[[Cell], str],
    store: Store,
    *,
    jobs: int = 1,
    threads: int = 1,
    retry: bool = False,
    rerun: bool = False,
) -> None:
    """Measure the cells that are not in the store yet.

    Parameters
    ----------
    cells : iterable of Cell
    measure : callable
        Cell -> dict of JSON values; a function of a module, for it runs in another process.
    key : callable
        Cell -> its identity.
    store : Store
    jobs : int
        Cells at a time, each in a fresh process; 0 runs them in this one.
    threads : int
        Threads of each cell.
    retry : bool
        Run again what failed before.
    rerun : bool
        Run everything again.
    """
    known = {} if rerun else store.load()
    todo = {key(cell): cell for cell in cells}
    for name, record in known.items():
        if record["status"] != "failed" or not retry:
            todo.pop(name, None)
    if jobs:
        for variable in _THREAD_VARIABLES:
            os.environ[variable] = str(threads)

    def finish(name: str, cell: Cell) -> None:
        outcome = _in_this_process(measure, cell) if not jobs else _apart(measure, cell, threads)
        identity = {"key": name, **cell._asdict()}
        identity.pop("label")
        store.append({**identity, **outcome, **environment(threads)})
        if outcome["status"] == "failed":
            tqdm.write(f"failed: {cell.dataset} {cell.method} {cell.label}: {outcome['error']}")
        progress.update()
        progress.set_postfix_str(f"{cell.dataset} {cell.method} {cell.label}"[:60], refresh=False)

    with tqdm(total=len(todo), desc="cells", disable=not todo, mininterval=1.0) as progress:
        Parallel(n_jobs=max(jobs, 1), prefer="threads")(
            delayed(finish)(name, cell) for name, cell in todo.items()
        )


def frame(cells: Iterable[Cell], key: Callable[[Cell], str], store: Store) -> pd.DataFrame:
    """One row per cell, in order, with what was measured; `status` is "not run" elsewhere."""
    known = store.load()
    rows = []
    for cell in cells:
        name = key(cell)
        record = known.get(name, {"status": NOT_RUN})
        rows.append({**record, **cell._asdict(), "key": name})
    return pd.DataFrame(rows)


def environment(threads: int) -> dict:
    """What a number depends on besides the cell: versions, machine, date."""
    return {
        "threads": threads,
        "cpu": _cpu_model(),
        "versions": _versions(),
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
    }


def _apart(measure: Callable[[Cell], dict], cell: Cell, threads: int) -> dict:
    """The outcome of `measure` in a fresh process, so that memory is the cell's own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_child, args=(sender, measure, cell, threads), name="cell", daemon=True
    )
    process.start()
    sender.close()
    try:
        outcome = receiver.recv()
    except EOFError:
        process.join()
        outcome = _failure(f"the process ended with exit code {process.exitcode}")
    process.join()
    return outcome


def _child(sender, measure: Callable[[Cell], dict], cell: Cell, threads: int) -> None:
    # training stops early on Ctrl-C and keeps what it has: that must not count as a result
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        sender.send(_in_this_process(measure, cell))
    sender.close()


def _in_this_process(measure: Callable[[Cell], dict], cell: Cell) -> dict:
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        result = measure(cell)
    except Skipped as reason:
        return {"status": "skipped", "error": str(reason)}
    except Exception as error:
        return _failure(f"{type(error).__name__}: {error}", traceback.format_exc())
    outcome = {
        "status": "ok",
        "cell_cpu_seconds": round(time.process_time() - cpu, 3),
        "cell_wall_seconds": round(time.perf_counter() - wall, 3),
        "peak_memory_mb": round(peak_memory_mb()),
    }
    # a cell that used a stored encoder reports the peak of the process that trained it
    outcome["peak_memory_mb"] = max(outcome["peak_memory_mb"], result.pop("peak_memory_mb", 0))
    return {**outcome, **result}


def _failure(error: str, trace: str = "") -> dict:
    return {"status": "failed", "error": error, "traceback": trace[-2000:]}


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, libraries included."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


@functools.cache
def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    except OSError:
        pass
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


@functools.cache
def _versions() -> str:
    found = [f"python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            if package == "tsmae":
                import tsmae._version

                found.append(f"tsmae {tsmae._version.__version__}")
    return ", ".join(found)


@functools.cache
def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "../tsmae")
    return f"{commit} with changes" if changed else commit


def _git(*arguments: str) -> str:
    try:
        result = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()
