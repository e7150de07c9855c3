"""The examples run as they are."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tsmae.classifier
import tsmae.presets
import tsmae.transformer

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments):
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout


def test__quickstart__accuracies_and_picture(tmp_path):
    printed = run("quickstart.py", str(tmp_path))
    accuracies = [float(a) for a in re.findall(r"(0\.\d{3}|1\.000)$", printed, re.MULTILINE)]
    assert len(accuracies) == 3
    assert min(accuracies) > 0.9
    assert (tmp_path / "quickstart.png").read_bytes().startswith(b"\x89PNG")


def test__ship_encoder__files_and_accuracies(tmp_path):
    printed = run("ship_encoder.py", str(tmp_path))
    accuracies = [float(a) for a in re.findall(r" ([01]\.\d{3})$", printed, re.MULTILINE)]
    assert len(accuracies) == 2
    assert min(accuracies) > 0.8  # nine speakers
    assert {file.name for file in tmp_path.iterdir()} == {"encoder.zip", "classifier.joblib"}


def test__bert_encoder__beats_chance():
    pytest.importorskip("transformers")
    accuracy = float(run("bert_encoder.py").split()[-1])
    assert accuracy > 0.6  # four classes


@pytest.mark.parametrize("module", [tsmae.classifier, tsmae.presets, tsmae.transformer])
def test__docstrings__examples_give_what_they_show(module):
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
