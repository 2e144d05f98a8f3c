"""Build a user's Keras model, once `extract.keras_files` has looked through its file.

A model is taken as a graph from one image (batch, S, S, 3) to whatever it gives: with the size that
is asked for, and float32 whatever type its input has.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extract import keras_files
from extract.errors import BackboneError
from extract.identity import flat
from extract.keras_weights import freshly, one_line
from extract.quiet import quiet_import

if TYPE_CHECKING:
    import keras


def load_keras(path: Path, size: int) -> keras.Model:
    """Return a checked `.keras` file as a flat model from images (batch, size, size, 3).

    Raises:
        BackboneError: If it is refused, cannot be loaded, or takes other images.
    """
    found = keras_files.look_through(path)
    keras_files.check_weights(path)
    if found.needs_hub:
        import_hub()
    return freshly(partial(_load, path, size))


def import_hub() -> Any:
    """Import KerasHub, which registers its classes.

    Raises:
        BackboneError: If it is not installed.
    """
    if importlib.util.find_spec("keras_hub") is None:
        raise BackboneError('Presets of KerasHub take an extra: pip install "headstart[hub]"')
    return quiet_import("keras_hub")


def _load(path: Path, size: int) -> keras.Model:
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a file that it cannot build
        raise BackboneError(f"{path} cannot be loaded: {one_line(error)}") from error
    return graph_of(model, size, path)


def graph_of(model: keras.Model, size: int, path: Path) -> keras.Model:
    """Return a model as a flat graph from float32 images (batch, size, size, 3).

    Raises:
        BackboneError: If it takes other images, or a layer computes in another type than float32.
    """
    plain = flat(model)
    _check_input(plain, size, path)
    for operation in plain.operations:
        _check_operation(operation, path)
    return _with_input(plain, size)


def _check_input(model: keras.Model, size: int, path: Path) -> None:
    if len(model.inputs) != 1:
        raise BackboneError(
            f"{path} takes {len(model.inputs)} inputs, expected one image. Save a model of one"
        )
    shape = tuple(model.inputs[0].shape[1:])
    if len(shape) != 3 or shape[2] not in (3, None):
        raise BackboneError(
            f"{path} takes inputs of shape {shape}, expected images (height, width, 3). Save a "
            f"model of RGB images, channels last"
        )
    sides = [side for side in shape[:2] if side is not None]
    if any(side != size for side in sides):
        cure = f"Give --image-size {sides[0]}" if len(set(sides)) == 1 else "Save it for squares"
        raise BackboneError(
            f"{path} takes images of {shape[0]} x {shape[1]} pixels, and --image-size is {size}. "
            f"{cure}"
        )


def _check_operation(operation: Any, path: Path) -> None:
    policy = getattr(operation, "dtype_policy", None)
    if policy is not None and policy.compute_dtype in ("float16", "bfloat16"):
        raise keras_files.refused(
            path,
            operation.name,
            f"computes in {policy.compute_dtype}",
            "Save the model with every layer in float32, and ask for --precision bfloat16",
        )


def _with_input(model: keras.Model, size: int) -> keras.Model:
    """Return a flat model from float32 images of one size; layers are shared."""
    import keras

    tensor = model.inputs[0]
    if tuple(tensor.shape[1:]) == (size, size, 3) and tensor.dtype == "float32":
        return model

    def call(operation: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return operation(*args, **kwargs)

    return keras.models.clone_model(
        model,
        input_tensors=keras.Input((size, size, 3), dtype="float32", name=tensor.name),
        clone_function=lambda operation: operation,
        call_function=call,
    )
