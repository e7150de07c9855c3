"""Which device a fit runs on, with how many threads and what memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Lock

import torch

_LARGEST_OF_HEAP = 2**25 - 2**16  # bytes; glibc takes larger blocks from the system each time
SETTING_THREADS = Lock()  # while it is held, new threads may find torch limited to one


def n_torch_threads() -> int:
    """Threads that torch uses in this one, which keeps the number that it finds first."""
    with SETTING_THREADS:
        return torch.get_num_threads()


def keep_freed_memory() -> None:
    """Let glibc keep up to 64 MB a thread of what a batch frees, which the next faults in again.

    Its thresholds (`mallopt`: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD) rise to the largest block that
    was freed and twice that; this one is never written to. Elsewhere nothing happens.
    """
    with suppress(RuntimeError):  # a process of little memory works without
        torch.UntypedStorage(_LARGEST_OF_HEAP, device="cpu")


def available_devices() -> list[str]:
    """Names that `device` takes on this machine."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def resolve_device(device: str | torch.device) -> torch.device:
    """The device to use: "auto" takes CUDA, else the CPU; MPS, which nobody ran, only if named.

    Raises
    ------
    ValueError
        If `device` names no device, or one that is not there.
    """
    available = available_devices()
    allowed = f"allowed are 'auto', a torch.device, and on this machine {available}"
    if device == "auto":
        device = "cuda" if "cuda" in available else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device={device!r} is not the name of a device; {allowed}.") from None
    name = str(resolved)
    if name not in available and name.removesuffix(":0") not in available:
        raise ValueError(f"device={device!r} is not available; {allowed}.")
    if resolved.type == "cuda" and resolved.index is None:  # which may be another one later
        resolved = torch.device("cuda", torch.cuda.current_device())
    return resolved


@contextmanager
def cpu_by_default() -> Iterator[None]:
    """Tensors are made on the CPU, whatever torch's default device; what is elsewhere says so."""
    if torch.get_default_device().type == "cpu":
        yield  # every call of torch within the other block takes longer
    else:
        with torch.device("cpu"):
            yield


@contextmanager
def no_autocast() -> Iterator[None]:
    """Numbers are of the types that we chose, whatever the caller's autocast."""
    with ExitStack() as off:
        for kind in ("cpu", "cuda", "mps"):
            off.enter_context(torch.autocast(kind, enabled=False))
        yield


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether to train in bfloat16; "auto" does where the hardware multiplies it faster."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        cpu: dict = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch cannot say
        # with AVX-512 and no AMX, Intel's multiply it at half the rate of float32
        fast_avx512 = cpu.get("avx512_bf16", False) and "AMD" in cpu.get("cpu_name", "")
        return bool(cpu.get("amx_bf16", False) or fast_avx512)
    return False
