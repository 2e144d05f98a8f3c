"""The training loops of docs/finetuning.md run as they stand, on each backend that is installed."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(
    r"^```python\n(.*?)^```",
    (ROOT / "docs" / "finetuning.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_loop_of_ones_own_brings_the_loss_down(backend, head):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    (code,) = [
        block
        for block in BLOCKS
        if f"import {backend}\n" in block or f"import {backend} as" in block
    ]
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=head.path.parent,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout
    losses = [float(line) for line in printed.split()]

    assert len(losses) == 3
    assert losses[2] < losses[0]
