"""A backbone's name → what a run needs of it, made once and kept in the user's cache folder.

    ~/.cache/headstart/prepared/<digest>/
        prepared.json     digests, preprocessing, columns, the weights file: a sealed record
        graph.xml, .bin   the graph from pixels to columns, for OpenVINO

Building and converting take Keras, TensorFlow and many seconds, and happen in a child process,
where layers have the names of a fresh process and from which nothing stays behind. A warm run
reads `prepared.json`, compares the weights file with its digest, and needs neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from extract import backbones, probes
from extract.backbones import BackboneSpec
from extract.errors import BackboneError, DamagedStoreError, HeadstartError, StoreFormatError
from extract.recipe import Column, DType, LayerRequest, PixelPolicy, Preprocessing, digest_json
from extract.store.files import sha256
from extract.store.records import seal, unseal

if TYPE_CHECKING:
    import keras

    from extract.keras_graph import Built

EngineKind = Literal["openvino", "keras"]
PREPARE_VERSION = 1
WEIGHTS_WORDS = ("imagenet", "random")
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", "GLOG_minloglevel": "3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which backbone, at which size, and which of its layer outputs."""

    spec: BackboneSpec
    image_size: int
    layers: tuple[LayerRequest, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "spec": asdict(self.spec) | {"arguments": dict(self.spec.arguments)},
            "image_size": self.image_size,
            "layers": [[layer.layer, layer.pooling] for layer in self.layers],
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            spec=BackboneSpec(**facts["spec"]),
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
    """path, size, mtime_ns and sha256 of the weights file; empty where there is none."""
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


def prepare(request: Request, kind: EngineKind) -> Prepared:
    """Return what a run needs of a backbone, from the cache where it is there and still true.

    Raises:
        BackboneError: If the backbone or its weights cannot be had, or the converted graph
            does not agree with Keras.
    """
    if (found := cached(request, kind)) is not None:
        return found
    with _scratch() as scratch:
        if kind == "keras":
            _describe(*build(request), scratch)
        else:
            _in_child(request, scratch)
        return _publish(scratch, _place(request, kind))


def cached(request: Request, kind: EngineKind) -> Prepared | None:
    """Return what the cache holds for a request, or None where it must be made (anew)."""
    place = _place(request, kind)
    try:
        prepared = _read(place)
    except (FileNotFoundError, DamagedStoreError, StoreFormatError):
        return None
    whole = all(
        (place / name).is_file() and sha256((place / name).read_bytes()) == digest
        for name, digest in prepared.files.items()
    )
    return prepared if whole and _weights_unchanged(request.spec, prepared.weights) else None


def _read(place: Path) -> Prepared:
    name = place / "prepared.json"
    return Prepared.from_json(unseal("prepared", str(name), name.read_bytes()), place)


def _place(request: Request, kind: EngineKind) -> Path:
    packages = ["keras", "numpy", "openvino"]
    facts = {
        "request": request.to_json(),
        "weights": _weights_locator(request.spec),
        "keras_home": str(backbones.keras_home()),
        "kind": kind,
        "backend": os.environ.get("KERAS_BACKEND", "") if kind == "keras" else exporter(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "prepare": PREPARE_VERSION,
    }
    return cache_folder() / "prepared" / digest_json(facts)


def _weights_locator(spec: BackboneSpec) -> str:
    return spec.weights if spec.weights in WEIGHTS_WORDS else os.path.abspath(spec.weights)


def _weights_unchanged(spec: BackboneSpec, weights: Mapping[str, Any]) -> bool:
    """Compare the weights file with what was prepared: by size and time, else by its bytes."""
    if not weights:
        return True
    path = Path(weights["path"])
    try:
        facts = path.stat()
    except OSError:
        # The converted graph still is the named weights; a path that is gone is an error.
        return spec.weights in WEIGHTS_WORDS
    if (facts.st_size, facts.st_mtime_ns) == (weights["size"], weights["mtime_ns"]):
        return True
    return sha256(path.read_bytes()) == weights["sha256"]


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a new folder in the cache, or in the system's where the cache cannot be written."""
    parent: Path | None = cache_folder() / "tmp"
    try:
        parent.mkdir(parents=True, exist_ok=True)  # type: ignore[union-attr]
        scratch = tempfile.mkdtemp(dir=parent)
    except OSError:
        scratch = tempfile.mkdtemp(prefix="headstart-")
    try:
        yield Path(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(scratch: Path, place: Path) -> Prepared:
    """Move a finished folder to its place; whoever was first stays unless it is broken."""
    for path in scratch.iterdir():
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = scratch.with_name(scratch.name + ".old")
    with contextlib.suppress(FileNotFoundError):
        place.rename(aside)
    with contextlib.suppress(FileExistsError, OSError):
        scratch.rename(place)
    shutil.rmtree(aside, ignore_errors=True)
    return _read(place)


def exporter() -> str:
    """Return the Keras backend that can export to OpenVINO here: TensorFlow's, or torch's."""
    for backend in ("tensorflow", "torch"):
        if importlib.util.find_spec(backend) is not None:
            return backend
    raise BackboneError(
        "Converting a backbone takes TensorFlow or torch, and neither is installed. "
        "Type: pip install tensorflow, or give --engine keras"
    )


def _in_child(request: Request, scratch: Path) -> None:
    environment = {**os.environ, **QUIET, "KERAS_BACKEND": exporter(), "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    done = subprocess.run(
        [sys.executable, "-m", "extract.prepare", str(scratch)],
        input=json.dumps(request.to_json()),
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode == 1 and done.stdout.startswith("error: "):
        raise BackboneError(done.stdout.removeprefix("error: ").strip())
    if done.returncode != 0:
        raise RuntimeError(f"extract.prepare ended with {done.returncode}:\n{done.stderr[-4000:]}")


def build(request: Request) -> tuple[Built, list[Column], keras.Model]:
    """Build a backbone in this process: itself, its columns, and the graph from pixels to them."""
    from extract import keras_graph

    built = keras_graph.build(request.spec, request.image_size)
    resolved = keras_graph.resolve(built, request.layers)
    columns = list({column.canonical: column for column in resolved}.values())
    return built, columns, keras_graph.feature_model(built, columns)


def _describe(built: Built, columns: Sequence[Column], model: keras.Model, scratch: Path) -> None:
    """Write `prepared.json` for what is in `scratch`."""
    from extract import identity

    prepared = Prepared(
        graph_digest=identity.graph_digest(built.model),
        weights_digest=identity.weights_digest(built.model),
        arguments=dict(built.arguments),
        preprocessing=built.preprocessing,
        columns=tuple(
            (column, tuple(output.shape[1:]))
            for column, output in zip(columns, model.outputs, strict=True)
        ),
        weights=_weights_facts(built.weights_path),
        folder=scratch,
        files={p.name: sha256(p.read_bytes()) for p in sorted(scratch.glob("graph.*"))},
    )
    (scratch / "prepared.json").write_bytes(seal("prepared", prepared.to_json()))


def _weights_facts(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    facts = path.stat()
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "path": str(path.resolve()),
        "size": facts.st_size,
        "mtime_ns": facts.st_mtime_ns,
        "sha256": digest,
    }


def with_dtype(columns: Sequence[tuple[Column, tuple[int, ...]]], dtype: DType) -> list[Column]:
    """Return the columns as kept on disk in `dtype`."""
    return [
        Column(operation=c.operation, layer=c.layer, pooling=c.pooling, view=c.view, dtype=dtype)
        for c, _ in columns
    ]


def probe_pixels(policy: PixelPolicy) -> np.ndarray:
    """Return the synthetic probes as the backbone will see them: (8, size, size, 3) float32."""
    from extract import pixels

    return np.stack([pixels.load(data, policy)[0] for data in probes.synthetic().values()])


def _convert(request: Request, scratch: Path) -> None:
    """Build, convert, and hold the converted graph against Keras on the synthetic probes."""
    from extract.engines.engine import PARITY, relative_distance
    from extract.engines.openvino import OpenVINOEngine

    built, columns, model = build(request)
    model.export(str(scratch / "graph.xml"), format="openvino", verbose=False)
    pixels = probe_pixels(PixelPolicy(image_size=request.image_size))
    expected = model.predict_on_batch(pixels)
    expected = expected if isinstance(expected, list | tuple) else [expected]
    found = OpenVINOEngine(scratch / "graph.xml")(pixels)
    for column, a, b in zip(columns, found, expected, strict=True):
        if (distance := relative_distance(a, np.asarray(b))) > PARITY:
            raise BackboneError(
                f"OpenVINO differs from Keras by {distance:.1e} relative at {column.name}, "
                f"expected at most {PARITY:.0e}. Give --engine keras"
            )
    _describe(built, columns, model, scratch)


def main() -> int:
    """Serve `_in_child`: the request on stdin, the result in the folder that argv names."""
    try:
        _convert(Request.from_json(json.load(sys.stdin)), Path(sys.argv[1]))
    except HeadstartError as error:
        print(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
