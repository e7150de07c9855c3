"""Shared panels and settings of the tests."""

import os

import numpy as np
import pytest
import torch

from tsmae import TimeMAETransformer

torch.set_num_threads(1)  # small tensors: threads only wait for each other


def pytest_configure(config):
    """Hide GPUs but from `pytest -m gpu`: other tests look at weights, and take "auto"."""
    wanted = config.getoption("markexpr")
    if "gpu" not in wanted or "not gpu" in wanted:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def one_thread():
    """What a test leaves behind must not reach the next: sums depend on the number of threads."""
    yield
    torch.set_num_threads(1)


@pytest.fixture
def panel():
    """24 series of 3 channels and 40 points in two classes that differ in frequency."""
    rng = np.random.default_rng(0)
    time = np.arange(40)
    y = np.arange(24) % 2
    phase = rng.uniform(0, 6, (24, 3, 1))
    X = np.sin(time * (0.3 + 0.4 * y)[:, None, None] + phase)
    return (X + 0.1 * rng.normal(size=X.shape)).astype(np.float32), y


@pytest.fixture(params=[0, 1], ids=["paper", "defaults"])
def small(request):
    """Settings of a small transformer: the paper's architecture, and the defaults'."""
    return {**TimeMAETransformer.get_test_params()[request.param], "random_state": 0}
