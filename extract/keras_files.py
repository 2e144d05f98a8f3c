"""Look through a `.keras` file of the user's before anything in it is built.

Such a file is a zip of a graph as JSON and of weights as HDF5. Both can carry what nobody wants to
run or read: Python code in a `Lambda`, another program in a `TFSMLayer`, members that inflate to a
terabyte, links to other files. What is refused is named by its layer.

This module reads zip, JSON and HDF5; `extract.keras_models` builds what it has let through.
"""

from __future__ import annotations

import json
import stat
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from extract.archives import BROKEN
from extract.errors import BackboneError

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = (CONFIG, "metadata.json", WEIGHTS)
ASSETS = "assets"

MOST_CONFIG = 64 << 20  # bytes of JSON
MOST_BYTES = 64 << 30  # of weights
MOST_INFLATION = 100  # times a file's own size; Keras itself compresses nothing
SMALL = 64 << 20  # bytes, which may come from anything

REFUSED: Mapping[str, str] = {
    "Lambda": "holds Python code",
    "__lambda__": "holds Python code",
    "__typespec__": "names types of TensorFlow",
    "TFSMLayer": "runs a program of another file",
    "TorchModuleWrapper": "holds a pickled module of torch",
    "JaxLayer": "holds code of JAX",
    "FlaxLayer": "holds code of JAX",
}
"""Classes that are refused wherever they come from, and why."""

LIBRARIES = ("keras", "keras_hub")


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasFile:
    """What a `.keras` file says of its model."""

    path: Path
    input_shape: tuple[int | None, ...]
    """Of its first input, without the batch axis; empty where the file does not say."""
    custom: tuple[str, ...]
    """Registered names of the classes that are neither Keras' nor KerasHub's."""
    needs_hub: bool
    """Whether a layer of it is KerasHub's."""


def look_through(path: Path) -> KerasFile:
    """Check the zip and the graph of a `.keras` file; nothing is built and Keras is not imported.

    Raises:
        BackboneError: If it is no such file, or something in it is refused; the message names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive)
            config = _read_config(path, archive.read(CONFIG))
    except BackboneError:
        raise
    except BROKEN as error:
        raise BackboneError(
            f"{path} is no .keras file ({error}). Save the model with model.save('mine.keras')"
        ) from error
    return check_config(path, config)


def check_config(path: Path, config: Mapping[str, Any]) -> KerasFile:
    """Check the graph of a model as Keras writes it down; see `look_through`."""
    custom: dict[str, None] = {}
    needs_hub = False
    for layer, node in _nodes({**config, "compile_config": None}):
        name = str(node["class_name"])
        module, registered = node.get("module"), node.get("registered_name")
        plain = name.rpartition(".")[2]  # Keras finds the layers.Lambda of module keras, too
        if plain in REFUSED:
            raise refused(path, layer, f"is a {plain}, which {REFUSED[plain]}")
        library = str(module).partition(".")[0]
        needs_hub |= library == "keras_hub"
        known = library in (*LIBRARIES, "builtins") or "module" not in node
        if not known or (registered and ">" in registered and library != "keras_hub"):
            custom[str(registered or name)] = None
    if custom and not registered_here(custom):
        first = next(iter(custom))
        raise refused(
            path,
            _layer_of(config, first),
            f"is of the class {first}, which is not registered here",
            "Call extract.run from Python after importing what registers it "
            "(keras.saving.register_keras_serializable)",
        )
    return KerasFile(
        path=path, input_shape=_input_shape(config), custom=tuple(custom), needs_hub=needs_hub
    )


def refused(path: Path, layer: str, why: str, cure: str = "") -> BackboneError:
    """Return the error that refuses a model for one of its layers."""
    cure = cure or "Save the model without it, such as with operations of keras.ops"
    return BackboneError(f"{path} is refused: layer {layer!r} {why}. {cure}")


def registered_here(names: Mapping[str, None] | tuple[str, ...]) -> bool:
    """Tell whether this process has registered all of these classes and functions with Keras."""
    keras = sys.modules.get("keras")  # where it is not imported, nothing can be registered
    return keras is not None and all(
        keras.saving.get_registered_object(name) is not None for name in names
    )


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    names = [info.filename for info in archive.infolist()]
    for name in names:
        pure = PurePosixPath(name.rstrip("/"))
        plain = "\\" not in name and not pure.is_absolute() and ".." not in pure.parts
        if not plain or (name not in MEMBERS and pure.parts[:1] != (ASSETS,)):
            raise BackboneError(
                f"{path} is refused: it has a member {name!r}, expected {', '.join(MEMBERS)}. "
                f"Save the model anew with model.save"
            )
    if len(set(names)) != len(names) or not {CONFIG, WEIGHTS} <= set(names):
        raise BackboneError(
            f"{path} is refused: it has members {', '.join(names)}, expected each of "
            f"{', '.join(MEMBERS)} once. Save the model anew with model.save"
        )
    for info in archive.infolist():
        _check_size(path, info)


def _check_size(path: Path, info: zipfile.ZipInfo) -> None:
    most = MOST_CONFIG if info.filename.endswith(".json") else MOST_BYTES
    inflated = info.file_size > max(SMALL, MOST_INFLATION * info.compress_size)
    if info.file_size > most or inflated:
        raise BackboneError(
            f"{path} is refused: its member {info.filename} inflates to "
            f"{info.file_size / 1e9:,.1f} GB from {info.compress_size / 1e6:,.1f} MB. Save the "
            f"model anew with model.save"
        )
    if info.flag_bits & 1 or stat.S_ISLNK(info.external_attr >> 16):
        raise BackboneError(
            f"{path} is refused: its member {info.filename} is encrypted or a link. Save the model "
            f"anew with model.save"
        )


def _read_config(path: Path, text: bytes) -> Mapping[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BackboneError(f"{path} is no .keras file: {CONFIG} cannot be read") from error
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise BackboneError(f"{path} is no .keras file: {CONFIG} holds no model")
    return config


def _nodes(value: Any, layer: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield everything that Keras would make an object of, with the name of its layer."""
    pending = [(value, layer)]
    while pending:
        value, layer = pending.pop()
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                config = value.get("config")
                name = config.get("name") if isinstance(config, dict) else None
                layer = name if isinstance(name, str) else layer
                yield layer, value
            pending += [(item, layer) for item in reversed(value.values())]
        elif isinstance(value, list):
            pending += [(item, layer) for item in reversed(value)]


def _layer_of(config: Mapping[str, Any], registered: str) -> str:
    found = (
        layer
        for layer, node in _nodes(config)
        if registered in (node.get("registered_name"), node["class_name"])
    )
    return next(found, "")


def _input_shape(config: Mapping[str, Any]) -> tuple[int | None, ...]:
    for _, node in _nodes(config):
        if node["class_name"] == "InputLayer":
            shape = node["config"].get("batch_shape") or node["config"].get("batch_input_shape")
            return tuple(shape[1:]) if isinstance(shape, list) else ()
    return ()


def check_weights(path: Path) -> None:
    """Check the weights of a `.keras` file that was looked through.

    Raises:
        BackboneError: If they are no HDF5, point to other files, or claim to be huge.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(WEIGHTS) as member:
            check_hdf5(path, member, archive.getinfo(WEIGHTS).file_size)
    except BackboneError:
        raise
    except BROKEN as error:
        raise BackboneError(f"{path} is refused: its weights cannot be read ({error})") from error


def check_hdf5(path: Path, file: Path | IO[bytes], size: int) -> None:
    """Check that an HDF5 file of `size` bytes holds arrays of its own, and no more than it can.

    Raises:
        BackboneError: If it does not.
    """
    import h5py

    total = 0
    try:
        with h5py.File(file, "r") as opened:
            for name, dataset in _datasets(opened, set()):
                if dataset is not None and not isinstance(dataset, h5py.Dataset):
                    continue  # a type that was given a name holds no numbers
                if dataset is None or dataset.external or dataset.is_virtual:
                    raise BackboneError(
                        f"{path} is refused: its weights {name} lie elsewhere than in it. Save the "
                        f"model anew with model.save"
                    )
                total += dataset.nbytes
    except BackboneError:
        raise
    except Exception as error:  # h5py raises many kinds for a damaged file
        raise BackboneError(f"{path} is refused: its weights cannot be read ({error})") from error
    if total > max(SMALL, MOST_INFLATION * size):
        raise BackboneError(
            f"{path} is refused: its weights claim {total / 1e9:,.1f} GB in {size / 1e6:,.1f} MB. "
            f"Save the model anew with model.save"
        )


def _datasets(group: Any, seen: set[int], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name, data set) below a group, and (name, None) for what is a link to elsewhere."""
    import h5py

    for key in group:
        name = f"{prefix}/{key}"
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            yield name, None
            continue
        item = group[key]
        if not isinstance(item, h5py.Group):
            yield name, item
        elif (address := h5py.h5o.get_info(item.id).addr) not in seen:  # groups can lead in circles
            seen.add(address)
            yield from _datasets(item, seen, name)
