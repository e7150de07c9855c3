"""Which sub-series are masked, and how the two groups are taken apart."""

from __future__ import annotations

import torch


def draw_mask(
    valid: torch.Tensor,
    mask_ratio: float,
    generator: torch.Generator,
    per: str = "series",
) -> torch.Tensor:
    """Choose ⌊r N_i⌋ of each series' N_i sub-series, at least one and at most N_i - 1.

    Parameters
    ----------
    valid : (B, N) bool
        False where a position is padding; such a position is never masked.
    mask_ratio : float
        The r of the paper.
    generator : torch.Generator
    per : {"series", "batch"}
        Whether every series draws its own positions, or all share one order of positions.

    Returns
    -------
    (B, N) bool
        True where masked. A series of a single sub-series has none masked: there would be
        nothing left to predict it from.
    """
    n_series, n_positions = valid.shape
    counts = [n_masked_of(n, mask_ratio) for n in range(1, n_positions + 1)]
    # made on the device, it would be waited for
    table = torch.tensor([0, *counts], device="cpu").to(valid.device, non_blocking=True)
    rows = n_series if per == "series" else 1
    shape, device = (rows, n_positions), valid.device
    noise = torch.rand(shape, dtype=torch.float32, device=device, generator=generator)
    noise = noise.expand(n_series, -1).masked_fill(~valid, 2.0)  # padding is drawn last
    rank = noise.argsort(1).argsort(1)
    return rank < table[valid.sum(1), None]


def n_masked_of(n_positions: int, mask_ratio: float) -> int:
    """⌊r N⌋, at least 1 and at most N - 1; 0 for a single position."""
    # the small constant keeps ⌊r N⌋ exact where r N is a whole number but for rounding
    return min(max(1, int(n_positions * mask_ratio + 1e-6)), n_positions - 1)


def places_of(
    selected: torch.Tensor, count: int | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Where the selected of (B, N) positions are in a flat (B N), as (B, K), in their order.

    `count` is the number selected in every series, if they are known to be equal. Otherwise
    K is the largest number, and `present` (B, K), the second output, is False where a
    series has fewer; with `count` it is None.
    """
    equal = count is not None
    if count is None:
        count = max(1, int(selected.sum(1).max()))
    index = (~selected).to(torch.uint8).argsort(dim=1, stable=True)[:, :count]
    n_series, n_positions = selected.shape
    start = torch.arange(n_series, device=selected.device)[:, None] * n_positions
    return index + start, None if equal else selected.gather(1, index)


def take(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """What is at these places of (B, N, ...), in the shape of the places and (...)."""
    return x.flatten(0, 1).index_select(0, places.flatten()).unflatten(0, places.shape)
