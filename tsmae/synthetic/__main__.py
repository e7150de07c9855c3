"""Train the backbone that panels start from: ``python -m tsmae.synthetic``.

Of two series of a kind, each has to find the other among those of other kinds, at one of three
resolutions, a batch each in turn. Kinds are drawn anew for each batch, so that nothing can be
learned by heart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import OneCycleLR

from tsmae import presets
from tsmae.nn import TimeMAE, TimeMAEConfig
from tsmae.synthetic.series import draw_pairs
from tsmae.synthetic.weights import ARCHITECTURE, FILE, store
from tsmae.training.augmentation import crop_and_stretch
from tsmae.training.randomness import new_generator

_LENGTHS = (64, 96, 128, 128, 192, 256, 384)  # time points, one of them for each batch
_RESOLUTIONS = (1, 2, 4)
_OBJECTIVE = {
    "tokenizer": "random_projection",  # unused, as all that predicts windows
    "dropout": 0.0,
    "mcc_weight": 0.0,
    "mrr_weight": 0.0,
    "contrast_weight": 1.0,
    "contrast_temperature": 0.2,
}
_BATCH, _BATCH_POINTS = 128, 128 * 128  # kinds, and time points, at most
_LR, _WEIGHT_DECAY, _LARGEST_GRADIENT = 2e-3, 0.05, 5.0


def train(n_steps: int, seed: int, report=print, batch_points: int = _BATCH_POINTS) -> TimeMAE:
    """A model that has seen `n_steps` batches of synthetic series."""
    fields = {**presets.PAPER, **ARCHITECTURE, **_OBJECTIVE}
    config = TimeMAEConfig(
        **{name: fields[name] for name in TimeMAEConfig.__dataclass_fields__ if name in fields},
        n_positions=max(_LENGTHS) // ARCHITECTURE["window_length"],
    )
    rng, generator = np.random.default_rng(seed), new_generator(seed)
    model = TimeMAE(config, generator).train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=_LR, weight_decay=_WEIGHT_DECAY, fused=True)
    schedule = OneCycleLR(optimizer, max_lr=_LR, total_steps=n_steps + 1)
    losses = []
    for step in range(n_steps):
        n_points = int(rng.choice(_LENGTHS))
        pairs = draw_pairs(min(_BATCH, batch_points // n_points), n_points, rng)
        views = tuple(crop_and_stretch(x, generator) for x in torch.from_numpy(pairs))
        resolution = _RESOLUTIONS[step % len(_RESOLUTIONS)]
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(views[0], generator, True, views, resolution).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, _LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 100 == 99:
            report(f"step {step + 1} of {n_steps}: loss {np.mean(losses[-100:]):.3f}", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", type=Path, default=Path(FILE.name), help="default: %(default)s")
    options = parser.parse_args()
    if options.steps < 0:
        parser.error(f"--steps={options.steps} must not be negative")
    if not options.file.parent.is_dir():
        parser.error(f"--file={options.file} is in a directory that does not exist")
    store(train(options.steps, options.seed).backbone, options.file)


if __name__ == "__main__":
    main()
