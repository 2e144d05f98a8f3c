"""What a run needs of a backbone, and where the user's cache folder keeps it.

    ~/.cache/headstart/prepared/<digest>/
        prepared.json     digests, preprocessing, columns, the weights file: a sealed record
        graph.xml, .bin   the graph from pixels to columns, for OpenVINO

A folder is named by the request, the weights' place and the versions that made it. It is believed
only while its files and the weights file have the digests that its record names.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from extract import backbones
from extract.backbone_files import OWN
from extract.backbones import BackboneSpec
from extract.errors import BackboneError, DamagedStoreError, StoreFormatError
from extract.recipe import Column, DType, LayerRequest, Preprocessing, digest_json
from extract.store.files import sha256
from extract.store.records import unseal

EngineKind = Literal["openvino", "keras"]
PREPARE_VERSION = 2
WEIGHTS_WORDS = ("imagenet", "random", OWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which backbone, at which size, and which of its layer outputs."""

    spec: BackboneSpec
    image_size: int
    layers: tuple[LayerRequest, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "spec": self.spec.locators,
            "image_size": self.image_size,
            "layers": [[layer.layer, layer.pooling] for layer in self.layers],
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            spec=BackboneSpec.located_at(facts["spec"]),
            image_size=facts["image_size"],
            layers=tuple(LayerRequest(*layer) for layer in facts["layers"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a run needs of a backbone before it meets an image."""

    graph_digest: str
    weights_digest: str
    arguments: Mapping[str, Any]
    preprocessing: Preprocessing
    columns: tuple[tuple[Column, tuple[int, ...]], ...]
    """Each column (float32) with the shape of one row."""
    weights: Mapping[str, Any]
    """path of the weights file or of the backbone, with "files": path, size, mtime_ns and sha256
    of each file that it consists of; empty where there is none."""
    folder: Path
    files: Mapping[str, str]
    """SHA-256 of the graph's files; none where the engine is Keras."""

    @property
    def graph(self) -> Path:
        """The converted graph."""
        return self.folder / "graph.xml"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "graph_digest": self.graph_digest,
            "weights_digest": self.weights_digest,
            "arguments": dict(self.arguments),
            "preprocessing": asdict(self.preprocessing),
            "columns": [[column.to_json(), list(shape)] for column, shape in self.columns],
            "weights": dict(self.weights),
            "files": dict(self.files),
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any], folder: Path) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            graph_digest=facts["graph_digest"],
            weights_digest=facts["weights_digest"],
            arguments=facts["arguments"],
            preprocessing=Preprocessing(**facts["preprocessing"]),
            columns=tuple((Column(**c), tuple(shape)) for c, shape in facts["columns"]),
            weights=facts["weights"],
            folder=folder,
            files=facts["files"],
        )


def cache_folder() -> Path:
    """Return the user's cache folder for headstart; `HEADSTART_CACHE` overrides it."""
    if chosen := os.environ.get("HEADSTART_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "headstart"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "headstart" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headstart"


def cached(request: Request, kind: EngineKind) -> Prepared | None:
    """Return what the cache holds for a request, or None where it must be made (anew)."""
    place = place_of(request, kind)
    try:
        prepared = read(place)
    except (OSError, DamagedStoreError, StoreFormatError):
        return None
    whole = all(
        (place / name).is_file() and sha256((place / name).read_bytes()) == digest
        for name, digest in prepared.files.items()
    )
    return prepared if whole and _weights_unchanged(request.spec, prepared.weights) else None


def read(place: Path) -> Prepared:
    """Read the record in a folder.

    Raises:
        FileNotFoundError: If there is none.
        DamagedStoreError: If it was altered.
    """
    name = place / "prepared.json"
    return Prepared.from_json(unseal("prepared", str(name), name.read_bytes()), place)


def place_of(request: Request, kind: EngineKind) -> Path:
    """Return the folder of the cache that is a request's."""
    packages = ["keras", "numpy", "openvino"]
    if request.spec.kind in ("keras", "hub"):  # KerasHub builds layers of such files
        packages.append("keras-hub")
    facts = {
        "request": request.to_json(),
        "weights": _weights_locator(request.spec),
        "keras_home": str(backbones.keras_home()),
        "kind": kind,
        "backend": os.environ.get("KERAS_BACKEND", "") if kind == "keras" else exporter(),
        "versions": {name: _version(name) for name in packages},
        "prepare": PREPARE_VERSION,
    }
    return cache_folder() / "prepared" / digest_json(facts)


def _version(package: str) -> str | None:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _weights_locator(spec: BackboneSpec) -> str:
    return spec.weights if spec.weights in WEIGHTS_WORDS else os.path.abspath(spec.weights)


def file_facts(place: Path, files: Sequence[Path]) -> dict[str, Any]:
    """Return what a record remembers of the files that a backbone or its weights consist of."""
    return {"path": str(place.resolve()), "files": [_file_facts(path) for path in files]}


def _file_facts(path: Path) -> dict[str, Any]:
    facts = path.stat()
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "path": str(path.resolve()),
        "size": facts.st_size,
        "mtime_ns": facts.st_mtime_ns,
        "sha256": digest,
    }


def _weights_unchanged(spec: BackboneSpec, weights: Mapping[str, Any]) -> bool:
    """Compare the weights' files with what was prepared: by size and time, else by their bytes."""
    return all(_unchanged(spec, facts) for facts in weights.get("files", []))


def _unchanged(spec: BackboneSpec, file: Mapping[str, Any]) -> bool:
    path = Path(file["path"])
    try:
        facts = path.stat()
    except OSError:
        # The converted graph still is the named weights; a path that is gone is an error.
        return spec.weights in ("imagenet", "random")
    if (facts.st_size, facts.st_mtime_ns) == (file["size"], file["mtime_ns"]):
        return True
    return sha256(path.read_bytes()) == file["sha256"]


def exporter() -> str:
    """Return the Keras backend that can export to OpenVINO here: TensorFlow's, or torch's."""
    for backend in ("tensorflow", "torch"):
        if importlib.util.find_spec(backend) is not None:
            return backend
    raise BackboneError(
        "Converting a backbone takes TensorFlow or torch, and neither is installed. "
        "Type: pip install tensorflow, or give --engine keras"
    )


def with_dtype(columns: Sequence[tuple[Column, tuple[int, ...]]], dtype: DType) -> list[Column]:
    """Return the columns as kept on disk in `dtype`."""
    return [replace(column, dtype=dtype) for column, _ in columns]
