"""Whole batches sliced from a panel, without a per-series step in Python."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from tsmae.panel import Panel


class PanelDataset(Dataset):
    """A panel and, for fine-tuning, the class index of each of its series."""

    def __init__(self, panel: Panel, targets: np.ndarray | None = None):
        self.panel = panel
        self.targets = targets

    def __len__(self) -> int:
        return len(self.panel)

    def __getitem__(self, index):
        part = self.panel[index]
        return Batch.of(part, None if self.targets is None else self.targets[index])


class Batch(NamedTuple):
    """x (B, C, T), the class indices y (B,) or None, and whether x holds no NaN."""

    x: torch.Tensor
    y: torch.Tensor | None
    complete: bool

    @classmethod
    def of(cls, panel: Panel, targets: np.ndarray | None = None) -> Batch:
        y = None if targets is None else torch.as_tensor(targets)
        values = panel.values if panel.values.flags.writeable else panel.values.copy()
        return cls(torch.from_numpy(values), y, panel.complete)

    def to(self, device: torch.device) -> Batch:
        if device.type == "cpu":
            return self
        pinned = device.type == "cuda"
        # a view would be copied once more on the way, to memory that is not pinned
        x = self.x.contiguous().pin_memory() if pinned else self.x
        y = self.y if self.y is None else self.y.to(device, non_blocking=pinned)
        return Batch(x.to(device, non_blocking=pinned), y, self.complete)


def batch_starts(n: int, batch_size: int) -> list[int]:
    """Where each batch of n series starts.

    A last series alone joins the batch before it: it would have no others to be told from.
    """
    starts = list(range(0, n, batch_size))
    if 1 < batch_size < n and n % batch_size == 1:
        starts.pop()
    return starts


class BatchIterator:
    """Iterates a :class:`PanelDataset` in batches, in a fresh order each epoch if shuffled.

    Parameters
    ----------
    dataset : PanelDataset
    batch_size : int
    generator : torch.Generator, optional
        CPU generator of the order; None keeps the order of the panel.
    """

    def __init__(
        self,
        dataset: PanelDataset,
        batch_size: int = 128,
        generator: torch.Generator | None = None,
    ):
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        return len(batch_starts(len(self.dataset), self.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        n = len(self.dataset)
        if self.generator is None:
            order = np.arange(n)
        else:
            order = torch.randperm(n, generator=self.generator).numpy()
        for start, stop in pairwise([*batch_starts(n, self.batch_size), n]):
            yield self.dataset[order[start:stop]]
