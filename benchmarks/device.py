"""What computes: Keras' backend, the device that it takes, and its precision.

    python -m benchmarks.device

prints them as JSON, and every record of a benchmark has them. A process that has not imported Keras
does not do so for this: it would hold half a gigabyte more, and JAX takes most of a GPU's memory as
soon as it looks for one. Where a driver's files are there it asks a process of its own.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

CPU = "CPU"
DEFAULT = "tensorflow"
"""Keras' own backend, where nobody asks for another."""


@functools.cache
def facts() -> dict[str, str]:
    """Return `backend`, `device` ("CPU", or the name of the first GPU), and `precision`."""
    if "keras" in sys.modules:
        return _ask()
    if not (os.path.exists("/dev/nvidiactl") or shutil.which("nvidia-smi")):
        return {**_configured(), "device": CPU}
    words = [sys.executable, "-m", "benchmarks.device"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def suffixes(found: dict[str, str]) -> list[str]:
    """Return what a run's name needs beside it, so that it replaces no run on another device."""
    backend = [found["backend"]] if found["backend"] != DEFAULT else []
    return backend + (["gpu"] if found["device"] != CPU else [])


def _configured() -> dict[str, str]:
    """Return what Keras would choose, by the rule of its documentation: variable, file, default."""
    file = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "keras.json"
    chosen = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    backend = os.environ.get("KERAS_BACKEND") or chosen.get("backend", DEFAULT)
    return {"backend": backend, "precision": chosen.get("floatx", "float32")}


def _ask() -> dict[str, str]:
    import keras

    backend = keras.backend.backend()
    return {"backend": backend, "device": _name(backend), "precision": keras.config.floatx()}


def _name(backend: str) -> str:
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        about = tf.config.experimental.get_device_details
        return str(about(gpus[0]).get("device_name", "GPU")) if gpus else CPU
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return str(torch.cuda.get_device_name(0))
        return "Apple GPU" if torch.backends.mps.is_available() else CPU
    import jax

    first = jax.local_devices()[0]
    return CPU if first.platform == "cpu" else str(first.device_kind)


if __name__ == "__main__":
    import keras  # noqa: F401

    print(json.dumps(facts()))
