"""A made-up data folder, and the benchmarks on the path."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

pytest.importorskip("matplotlib")


def made_up(n_channels, seed=0, n=18, n_points=32, ragged=False, n_classes=3):
    """Arrays of an .npz: sines whose frequency is the class."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for part in ("train", "test"):
        y = np.arange(n) % n_classes
        phase = rng.uniform(0, 6, (n, n_channels, 1))
        X = np.sin(np.arange(n_points) * (0.3 + 0.3 * y)[:, None, None] + phase)
        X = (X + 0.1 * rng.standard_normal(X.shape)).astype(np.float32)
        if ragged:
            for x, length in zip(X, rng.integers(20, n_points + 1, n), strict=True):
                x[:, length:] = np.nan
        arrays |= {f"X_{part}": X, f"y_{part}": y.astype(np.int16)}
    return arrays


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "sub").mkdir()
    np.savez(folder / "sub" / "HAR.npz", **made_up(3), subject_train=np.arange(18) // 3)
    np.savez(folder / "Flat.npz", **made_up(1, 1))
    np.savez(folder / "Ragged.npz", **made_up(2, 2, ragged=True))
    return folder


@pytest.fixture
def options(data_dir, tmp_path, monkeypatch):
    """Options of a quick run in this process, on made-up data, into a scratch folder."""
    monkeypatch.setenv("TSMAE_DATA", str(data_dir))
    monkeypatch.setenv("TSMAE_BENCH_ENCODERS", str(tmp_path / "encoders"))
    return [
        "--budget", "quick", "--jobs", "0", "--data-dir", str(data_dir),
        "--results", str(tmp_path), "--encoders", str(tmp_path / "encoders"),
    ]  # fmt: skip
