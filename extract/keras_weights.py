"""Build a backbone, and give it its weights: from Keras' home, a file, or a seed.

Keras keeps the counters of its automatic layer names per thread, and so its dtype policy. Each
backbone is built in a thread of its own: its layers have the names of a fresh process, it is
float32, and neither depends on what the process did before, nor changes what it does next.

This module knows weights files and where they come from; `extract.keras_graph` makes features.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import socket
import sys
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from extract import backbones
from extract.archives import BROKEN
from extract.backbones import BackboneSpec
from extract.errors import BackboneError
from extract.identity import flat, variables

if TYPE_CHECKING:
    import keras

T = TypeVar("T")

NETWORK_TIMEOUT = 20.0
"""Seconds that a download may stand still."""

RANDOM_SEED = 0
"""Seed of the weights "random"."""

_asking = threading.Lock()  # held while Keras' `get_file` is replaced

ARRAYS = ".npz"
"""Ending of a weights file that `save_arrays` wrote."""


class Loaded(NamedTuple):
    """A backbone with its weights."""

    model: keras.Model
    """Flat (see `extract.identity.flat`), from preprocessed images (batch, size, size, 3) to the
    last map, with layer names as in a fresh process."""
    original: keras.Model
    """As its builder made it, with the very same layers: some stand in nested models."""
    path: Path | None
    """The file that the weights are from; None for random."""


def load(spec: BackboneSpec, size: int) -> Loaded:
    """Return a backbone with its weights, and the file that they are from.

    Raises:
        BackboneError: As `extract.keras_graph.build` says.
    """
    original, path = _load(spec, size)
    return Loaded(freshly(partial(flat, original)), original, path)


def save_arrays(model: keras.Model, path: Path) -> None:
    """Write the weights of a backbone by position: the one file that needs no names.

    `load` reads it where `spec.weights` is its path. Keras' own weights files go by the names and
    nesting of layers, and those of a flat model do not fit its original.
    """
    import keras

    arrays = [keras.ops.convert_to_numpy(variable) for variable in variables(model)]
    with open(path, "wb") as file:
        np.savez(file, **{f"{i:05d}": array for i, array in enumerate(arrays)})


def _load(spec: BackboneSpec, size: int) -> tuple[keras.Model, Path | None]:
    item = backbones.entry(spec.name)
    if spec.weights == "random":
        return freshly(partial(_random, spec, size)), None
    if spec.weights not in ("imagenet", item.default_weights):
        path = Path(spec.weights).expanduser()
        if not path.is_file():
            raise BackboneError(
                f"There is no weights file {path}. Give --weights a file, imagenet or random."
            )
        read = _from_arrays if path.suffix == ARRAYS else _from_file
        return freshly(partial(read, spec, size, path)), path
    if item.default_weights == "embedded":
        path = Path(backbones.__file__).with_name(item.weights_file)
        return freshly(partial(_from_file, spec, size, path)), path
    try:
        return freshly(partial(_imagenet, spec, size))
    except _MissingFile as missing:
        _download(missing.request)
    return freshly(partial(_imagenet, spec, size))


def freshly(make: Callable[[], T]) -> T:
    """Return what `make` returns in a new thread, where Keras is as in a new process."""
    with warnings.catch_warnings(), ThreadPoolExecutor(1) as thread:
        # Weights of 224 pixels for other sizes are what is wanted; `weights_path` tells them.
        warnings.filterwarnings("ignore", r"[\s\S]*Weights for input shape \(224, 224\)")
        return thread.submit(make).result()


def _architecture(
    spec: BackboneSpec, size: int, *, weights: str | None, **arguments: Any
) -> keras.Model:
    """Call the builder of the backbone; its refusals become a BackboneError of one line."""
    import keras

    item = backbones.entry(spec.name)
    if item.default_weights == "embedded":
        if size != item.image_size:
            raise BackboneError(
                f"{item.name} takes --image-size {item.image_size}. Received: {size}"
            )
        return getattr(importlib.import_module(item.module), item.class_name)()
    # Not from `item.module`: keras.applications.mobilenet_v3 has `preprocess_input` alone.
    builder = getattr(keras.applications, item.class_name)
    arguments = {"include_top": False, "input_shape": (size, size, 3)} | arguments
    try:
        return builder(weights=weights, **arguments, **spec.arguments)
    except BackboneError:
        raise  # ours, about the weights file
    except (ValueError, TypeError) as error:
        raise BackboneError(
            f"{_asked(spec)} cannot be built for images of {size} pixels: {one_line(error)}"
        ) from error


def _asked(spec: BackboneSpec) -> str:
    """Return what was asked for, such as "mobilenet_v2 with alpha=0.35"."""
    arguments = ", ".join(f"{name}={value}" for name, value in spec.arguments.items())
    return f"{spec.name} with {arguments}" if arguments else spec.name


def one_line(error: BaseException) -> str:
    """Return the first line of a message that may have many."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()


def _random(spec: BackboneSpec, size: int) -> keras.Model:
    """Return the backbone with seeded kernels; all other variables keep what they start with."""
    import keras

    model = _architecture(spec, size, weights=None)
    random = np.random.Generator(np.random.PCG64(RANDOM_SEED))
    for operation in flat(model).operations:
        for variable in getattr(operation, "weights", []):
            shape = tuple(variable.shape)
            if len(shape) < 2:
                continue  # biases, and the statistics and scales of normalization
            # A depthwise kernel (height, width, channels, multiplier) mixes no channels.
            depthwise = (
                isinstance(operation, keras.layers.DepthwiseConv2D)
                or variable.name == "depthwise_kernel"
            )
            fan_in = np.prod(shape[:2] if depthwise else shape[:-1])
            # He et al., Delving Deep into Rectifiers, 2015, eq. 10, as a uniform distribution:
            # unlike normal draws it needs no logarithm, which platforms round differently.
            limit = np.float32(np.sqrt(6 / fan_in))
            draws = random.random(shape, dtype=np.float32)
            variable.assign((2 * draws - 1) * limit)
    return model


class _Request:
    """A weights file that Keras asks for."""

    def __init__(self, fname: str, origin: str, file_hash: str | None, subfolder: str) -> None:
        self.name, self.url, self.digest = fname, origin, file_hash
        self.path = backbones.keras_home() / subfolder / fname


class _MissingFile(Exception):
    """Leaves a build when it asks for a weights file that is not there."""

    def __init__(self, request: _Request) -> None:
        super().__init__(request.name)
        self.request = request


@contextlib.contextmanager
def _answering(answer: Callable[[_Request], Path]) -> Iterator[None]:
    """Let `answer` find the weights files that Keras asks for in this thread.

    Keras' own `get_file` would fetch them wherever it stands, and it looks into /tmp/.keras
    instead where its home cannot be written to.
    """
    from keras.src.utils import file_utils

    here = threading.get_ident()

    def get_file(*args: Any, **kwargs: Any) -> str:
        if threading.get_ident() != here:
            return original(*args, **kwargs)
        fname, origin = args[:2] if args else (kwargs["fname"], kwargs["origin"])
        digest = kwargs.get("file_hash") or kwargs.get("md5_hash")
        return str(answer(_Request(fname, origin, digest, kwargs.get("cache_subdir", "models"))))

    with _asking:
        original = file_utils.get_file
        file_utils.get_file = get_file
        try:
            yield
        finally:
            file_utils.get_file = original


def _imagenet(spec: BackboneSpec, size: int) -> tuple[keras.Model, Path]:
    """Return the backbone with ImageNet's weights, and their file; raises `_MissingFile`."""
    found: list[Path] = []

    def answer(request: _Request) -> Path:
        if not request.path.is_file():
            raise _MissingFile(request)
        if request.digest and _file_digest(request.path, request.digest) != request.digest:
            raise BackboneError(
                f"{request.path} is not the file that Keras asks for: its digest differs from "
                f"{request.digest}. Delete it, or put {request.url} in its place."
            )
        found.append(request.path)
        return request.path

    try:
        with _answering(answer):
            model = _architecture(spec, size, weights="imagenet")
    except OSError as error:  # h5py's, for what is no HDF5 file
        raise BackboneError(
            f"{found[-1]} cannot be read: {one_line(error)}. Delete it, and run again."
        ) from error
    return model, found[-1]


def _file_digest(path: Path, like: str) -> str:
    """Return the digest of a file: MD5 if `like` has 32 hex characters, else SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5" if len(like) == 32 else "sha256").hexdigest()


def _download(request: _Request) -> None:
    """Fetch a weights file with Keras, and put it in its place whole.

    Raises:
        BackboneError: If it cannot be had; the message says how to do it by hand.
    """
    import keras

    folder, timeout = request.path.parent, socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)  # Keras gives none, and would wait for ever
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # stdout is for results; Keras writes its progress there.
        with (
            tempfile.TemporaryDirectory(dir=folder) as scratch,
            contextlib.redirect_stdout(sys.stderr),
        ):
            file = keras.utils.get_file(
                request.name,
                request.url,
                cache_dir=scratch,
                cache_subdir="",
                file_hash=request.digest,
            )
            os.replace(file, request.path)
    except Exception as error:  # Keras raises a bare Exception when the network fails
        raise BackboneError(
            f"The weights {request.name} could not be downloaded ({one_line(error)}). Download "
            f"{request.url} to {request.path} yourself, or give --weights random or a path."
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _from_file(spec: BackboneSpec, size: int, path: Path) -> keras.Model:
    """Return the backbone with the weights of a file, with or without the classifier in it."""
    model = _architecture(spec, size, weights=None)
    try:
        model.load_weights(path)
    except Exception as error:  # Keras and h5py raise many kinds for a file that does not fit
        top = _with_top(spec, path)
        if top is None or not _copy_weights(top, model):
            raise BackboneError(
                f"{path} does not hold weights of {_asked(spec)}: {one_line(error)}"
            ) from error
    if _scaled_for_imagenet(model):
        model = _with_imagenet_graph(spec, size, model)
    return model


def _from_arrays(spec: BackboneSpec, size: int, path: Path) -> keras.Model:
    """Return the backbone with the weights of a file that `save_arrays` wrote."""
    model = _architecture(spec, size, weights=None)
    wanted = list(variables(model))
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as stored:
            arrays = [np.asarray(stored[name]) for name in sorted(stored.files)]
    except (*BROKEN, MemoryError) as error:
        raise BackboneError(f"{path} cannot be read: {one_line(error)}") from error
    if [tuple(v.shape) for v in wanted] != [array.shape for array in arrays]:
        raise BackboneError(f"{path} does not hold weights of {_asked(spec)}")
    for variable, array in zip(wanted, arrays, strict=True):
        variable.assign(array)
    for operation in flat(model).operations:
        if hasattr(operation, "finalize_state"):
            operation.finalize_state()  # `Normalization` computes with copies of its weights
    return _with_imagenet_graph(spec, size, model) if _scaled_for_imagenet(model) else model


def _with_top(spec: BackboneSpec, path: Path) -> keras.Model | None:
    """Return the whole classifier with the weights of a file; None if it does not fit.

    Keras counts the layers of a legacy file, so it takes one with a classifier only whole. It
    is built at its own image size: the classifier of VGG depends on that.
    """
    item = backbones.entry(spec.name)
    try:
        classes = _classes(path)
        if classes is None or item.default_weights == "embedded":
            return None
        top = _architecture(spec, item.image_size, weights=None, include_top=True, classes=classes)
        top.load_weights(path)
    except Exception:
        return None  # the first error, without the classifier, says more
    return top


def _classes(path: Path) -> int | None:
    """Return the width of the last weights in a legacy HDF5 file; None if it is another kind."""
    import h5py

    if not h5py.is_hdf5(path):
        return None
    with h5py.File(path) as file:
        group = file.get("model_weights", file)
        for layer in reversed(group.attrs.get("layer_names", [])):
            names = group[layer].attrs.get("weight_names", [])
            if len(names):
                return int(group[layer][names[-1]].shape[-1])
    return None


def _copy_weights(source: keras.Model, target: keras.Model) -> bool:
    """Copy weights by position; False, and nothing, if `target` is not how `source` begins."""
    ours = flat(target).operations
    theirs = flat(source).operations[: len(ours)]
    if [_kind(operation) for operation in ours] != [_kind(operation) for operation in theirs]:
        return False
    for operation, other in zip(ours, theirs, strict=True):
        if getattr(operation, "weights", []):
            operation.set_weights(other.get_weights())
        if hasattr(operation, "finalize_state"):
            operation.finalize_state()  # `Normalization` computes with copies of its weights
    return True


def _kind(operation: Any) -> tuple[type, list[tuple[int, ...]]]:
    shapes = [tuple(variable.shape) for variable in getattr(operation, "weights", [])]
    return type(operation), shapes


def _scaled_for_imagenet(model: keras.Model) -> bool:
    """Tell whether these weights want the graph that EfficientNet has for ImageNet's alone.

    Its official files hold standard deviations where `Normalization` wants variances, and
    `EfficientNet(weights="imagenet")` makes up for it with one more `Rescaling`. With
    `weights=path` Keras leaves that out, even for the very same file.
    """
    import keras

    return any(
        isinstance(operation, keras.layers.Normalization)
        and len(operation.weights) == 3  # mean, variance, count; none where they are arguments
        and np.allclose(operation.get_weights()[1], [0.229, 0.224, 0.225], rtol=1e-3)
        for operation in model.operations
    )


def _with_imagenet_graph(spec: BackboneSpec, size: int, model: keras.Model) -> keras.Model:
    """Return the graph that `weights="imagenet"` gives, with the weights of `model`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "backbone.weights.h5")
        model.save_weights(file)
        with _answering(lambda request: file):
            return _architecture(spec, size, weights="imagenet")
