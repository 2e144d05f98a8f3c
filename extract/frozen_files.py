"""The files that a frozen graph consists of, and the digests that it is known by.

An ONNX file may keep its weights in other files, an OpenVINO `.xml` has a `.bin`, a SavedModel is a
folder. All of them must lie in the graph's own folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from extract.backbone_files import SAVED_MODEL
from extract.errors import BackboneError

# Fields of ONNX's messages that lead to tensors: name of a message → number → name of another.
# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
ONNX: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {
        **{5: "tensor", 10: "tensor", 6: "graph", 11: "graph"},
        **{22: "sparse", 23: "sparse"},
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protobuf


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files of a frozen graph: that of the graph itself, then those of its weights.

    Raises:
        BackboneError: If one is missing, or lies outside the folder.
    """
    if path.is_dir():
        weights = sorted(p for p in (path / "variables").glob("*") if p.is_file())
        found = [path / SAVED_MODEL, *weights]
    elif path.suffix == ".xml":
        found = [path, path.with_suffix(".bin")]
    else:
        found = [path, *(path.parent / name for name in sorted(_external_names(path)))]
    folder = (path if path.is_dir() else path.parent).resolve()
    for file in found:
        if not file.resolve().is_relative_to(folder):
            raise BackboneError(f"{path} is refused: it points to {file}, outside {folder}")
        if not file.is_file():
            raise BackboneError(f"{path} needs {file.name} beside it, which is missing")
    return tuple(found)


def digests(path: Path) -> tuple[str, str]:
    """Return the SHA-256 of a frozen graph's file, and of the files of its weights in order."""
    graph, *weights = files_of(path)
    together = hashlib.sha256()
    for file in weights:
        together.update(_sha256(file).encode())
    return _sha256(graph), together.hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _external_names(path: Path) -> set[str]:
    """Return the names of the files in which tensors of an ONNX model lie."""
    try:
        return set(_locations(memoryview(path.read_bytes()), "model"))
    except (IndexError, UnicodeDecodeError, RecursionError) as error:
        raise BackboneError(f"{path} is no ONNX model. Export it anew") from error


def _locations(message: memoryview, kind: str) -> Iterator[str]:
    if kind == "entry":  # of external_data: key and value
        texts = {number: bytes(value) for number, value in _fields(message)}
        if texts.get(1) == b"location":
            yield texts.get(2, b"").decode()
        return
    for number, value in _fields(message):
        if (inner := ONNX[kind].get(number)) is not None:
            yield from _locations(value, inner)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (number, bytes) of the fields of a protobuf message that have bytes.

    Source: https://protobuf.dev/programming-guides/encoding
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == VARINT:
            _, at = _varint(message, at)
        elif wire in (FIXED64, FIXED32):
            at += 8 if wire == FIXED64 else 4
        elif wire == BYTES:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            raise IndexError(f"wire type {wire}")
    if at != len(message):
        raise IndexError("a field is cut off")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
