"""Keras on TensorFlow, JAX or torch, on the accelerator where there is one.

These engines may give an image other bits in a batch of another size, so every call has one
fixed shape: short batches are padded with copies of their first image and cut afterwards. On the
processor that is not enough: TensorFlow on AVX2 gave the seventeenth of 32 images other bits than
the first. There, an image is computed alone.
"""

from __future__ import annotations

import importlib.metadata
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from extract.engines.engine import Engine, instruction_family

BATCH_SIZE = {"cpu": 1, "gpu": 128}


def keras_signature(backend: str, device: str) -> dict[str, str]:
    """Return the numeric signature for a Keras backend on a device ("cpu" or "gpu")."""
    package = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}[backend]
    return {
        "engine": f"keras-{backend}",
        "version": importlib.metadata.version(package),
        "instructions": device if device == "gpu" else instruction_family(),
        "batch": str(BATCH_SIZE[device]),
    }


def accelerator() -> bool:
    """Return whether the active Keras backend sees a GPU; imports the backend."""
    return num_accelerators() > 0


def num_accelerators() -> int:
    """Return how many GPUs the active Keras backend sees; imports the backend."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    if backend == "torch":
        import torch

        return torch.cuda.device_count() or int(torch.backends.mps.is_available())
    import jax

    return jax.local_device_count() if jax.default_backend() != "cpu" else 0


class KerasEngine(Engine):
    """A Keras model from pixels to columns, called with one fixed batch shape."""

    streams = 1

    def __init__(self, model: Any, place: str | None = None) -> None:
        """Take a model of (batch, size, size, 3) float32 pixels with a list of outputs.

        `place` is the device that it was built on, such as "gpu:1"; None for Keras' own choice.
        """
        import keras

        device = "gpu" if accelerator() else "cpu"
        self._model = model
        self._place = place
        self._lock = threading.Lock()
        self.batch_size = BATCH_SIZE[device]
        self.signature = keras_signature(keras.backend.backend(), device)
        _forbid_tf32()

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        with self._lock, on_device(self._place):
            parts = [
                self._fixed(pixels[i : i + self.batch_size])
                for i in range(0, len(pixels), self.batch_size)
            ]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _fixed(self, pixels: np.ndarray) -> list[np.ndarray]:
        count = len(pixels)
        padding = np.repeat(pixels[:1], self.batch_size - count, axis=0)
        outputs = self._model.predict_on_batch(np.concatenate([pixels, padding]))
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        return [np.asarray(output, np.float32)[:count] for output in outputs]


def on_device(place: str | None) -> AbstractContextManager[Any]:
    """Return a block in which Keras builds and computes on a device, such as "gpu:1"."""
    import keras

    return nullcontext() if place is None else keras.device(place)


def _forbid_tf32() -> None:
    """Compute in full float32: on GPUs the default may round inputs to 10 bits of mantissa."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif backend == "torch":
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    else:
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
