"""All randomness of a fit from one seed, the global generators left as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch
from sklearn.utils import check_random_state

_GLOBAL_RNG = threading.RLock()
_LARGEST_SEED = 2**32 - 1  # of numpy's RandomState


def draw_seed(random_state) -> int:
    """A seed from whatever scikit-learn takes as `random_state`.

    None draws from the system, and not as in scikit-learn from numpy's global generator. Ints may
    be of any size: those that sktime's `set_random_state` gives to parts have 256 bits.
    """
    if random_state is None:
        return int(np.random.default_rng().integers(2**31 - 1))
    if isinstance(random_state, Integral) and int(random_state) > _LARGEST_SEED:
        random_state = int(np.random.SeedSequence(int(random_state)).generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))


def new_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device=device).manual_seed(seed)


@contextmanager
def isolated_global_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators within the block, and restore them after it.

    Our own modules draw from explicit generators; this is for modules that cannot, such as
    a user's encoder or a compiled graph. Threads take turns: the generators are the process's.
    """
    devices = [device] if device.type == "cuda" else []
    with _GLOBAL_RNG, torch.random.fork_rng(devices=devices), _mps_restored(device):
        # torch.manual_seed would seed all devices, of which only these are restored
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        if device.type == "mps":
            torch.mps.manual_seed(seed)
        yield


@contextmanager
def _mps_restored(device: torch.device) -> Iterator[None]:
    """For MPS, which `fork_rng` does not know."""
    state = torch.mps.get_rng_state() if device.type == "mps" else None
    try:
        yield
    finally:
        if state is not None:
            torch.mps.set_rng_state(state)
