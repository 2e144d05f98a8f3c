"""Make what a run needs of a backbone, once: build, convert, compare, publish.

Building and converting take Keras, TensorFlow and many seconds, and happen in a child process,
where layers have the names of a fresh process and from which nothing stays behind. A warm run
finds the result in the cache (`prepared.py`) and needs neither.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extract import frozen_graphs
from extract.backbone_files import file_of
from extract.errors import BackboneError, HeadstartError
from extract.prepared import (
    EngineKind,
    Prepared,
    Request,
    cache_folder,
    cached,
    exporter,
    file_facts,
    place_of,
    read,
)
from extract.recipe import Column, PixelPolicy
from extract.store.files import sha256
from extract.store.records import seal

if TYPE_CHECKING:
    import keras

    from extract.keras_graph import Built

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", "GLOG_minloglevel": "3"}

UNUSED = ("sklearn", "matplotlib", "pandas", "scipy", "cv2", "openvino_telemetry")
"""What Keras, TensorFlow and OpenVINO import where it is installed, for what no child does."""


def prepare(request: Request, kind: EngineKind, keep: bool = True) -> Prepared:
    """Return what a run needs of a backbone, from the cache where it is there and still true.

    What is made goes to the cache, unless `keep` is False: then it serves this process.

    Raises:
        BackboneError: If the backbone or its weights cannot be had, or the converted graph
            does not agree with Keras.
    """
    if (found := cached(request, kind)) is not None:
        return found
    scratch = _scratch() if keep else Path(tempfile.mkdtemp(prefix="headstart-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    if request.spec.kind == "graph":
        frozen_graphs.convert(request, probes_for(request), scratch)
    elif kind == "keras":
        built, columns, _ = build(request)
        _check_scaling(built, request, probes_for(request))
        _describe(built, columns, scratch)
    elif _registered_here(request):
        _convert(request, probes_for(request), scratch)
    else:
        _in_child(request, scratch)
    if not keep:
        return read(scratch)
    try:
        _publish(scratch, request, kind)
        return read(place_of(request, kind))
    except OSError:  # the cache cannot be written: what was made serves this process
        return read(scratch)


def _scratch() -> Path:
    """Return a new folder in the cache, or in the system's where the cache cannot be written."""
    parent = cache_folder() / "tmp"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=parent))
    except OSError:
        return Path(tempfile.mkdtemp(prefix="headstart-"))


def _publish(scratch: Path, request: Request, kind: EngineKind) -> None:
    """Copy a finished folder to its place; whoever was first stays unless it is broken."""
    place = place_of(request, kind)
    if cached(request, kind) is not None:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as beside:
        whole = Path(shutil.copytree(scratch, Path(beside) / "whole"))
        for path in whole.iterdir():
            with open(path, "rb+") as file:
                os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            place.rename(Path(beside) / "broken")
        whole.rename(place)


def _in_child(request: Request, scratch: Path) -> None:
    # The pixels are made here while the child imports Keras; the run needs the pictures once more.
    in_child(["extract.prepare", str(scratch)], lambda: _message(request, probes_for(request)))


def in_child(words: Sequence[str], message: Callable[[], bytes]) -> str:
    """Run `python -m WORDS` with a Keras that can export, and return what it prints.

    Args:
        words: A module whose `main` is `serve`, and its arguments.
        message: Called once the child is on its way; what it returns is the child's stdin.

    Raises:
        BackboneError: What the child raised on purpose.
    """
    environment = {**os.environ, **QUIET, "KERAS_BACKEND": exporter(), "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as child:
        try:
            written, noted = child.communicate(message())
        except BaseException:
            child.kill()
            raise
    said = written.decode(errors="replace")
    if child.returncode == 1 and said.startswith("error: "):
        raise BackboneError(said.removeprefix("error: ").strip())
    if child.returncode != 0:
        tail = noted.decode(errors="replace")[-4000:]
        raise RuntimeError(f"{words[0]} ended with {child.returncode}:\n{tail}")
    return said


def _message(request: Request, pixels: np.ndarray) -> bytes:
    """Return what the child hears: the request as one line, then the probes' bytes."""
    return b"".join([json.dumps(request.to_json()).encode(), b"\n", pixels.data])


def _understood(message: bytes) -> tuple[Request, np.ndarray]:
    line, _, data = message.partition(b"\n")
    request = Request.from_json(json.loads(line))
    shape = (-1, request.image_size, request.image_size, 3)
    return request, np.frombuffer(data, np.float32).reshape(shape)


def build(request: Request) -> tuple[Built, list[Column], keras.Model]:
    """Build a backbone in this process: itself, its columns, and the graph from pixels to them.

    Raises:
        BackboneError: If it cannot be had, or is a frozen graph: that never becomes Keras layers.
    """
    from extract import keras_graph

    if request.spec.kind == "graph":
        raise BackboneError(
            f"{request.spec.title} is a frozen graph, which cannot become Keras layers: predict, "
            f"evaluate and pack work with it, export does not"
        )

    built = keras_graph.build(request.spec, request.image_size)
    resolved = keras_graph.resolve(built, request.layers)
    columns = list({column.canonical: column for column in resolved}.values())
    return built, columns, keras_graph.feature_model(built, columns)


def _registered_here(request: Request) -> bool:
    """Tell whether a file has classes that only this process knows, and no child would."""
    if request.spec.kind != "keras":
        return False
    from extract.keras_files import look_through

    return bool(look_through(file_of(request.spec.name)).custom)


def _check_scaling(built: Built, request: Request, probes: np.ndarray) -> None:
    """Refuse a user's model that would see pixels in another scale than in its training."""
    if request.spec.kind == "keras":
        from extract.scaling import check_scaling

        check_scaling(file_of(request.spec.name), built.model, built.preprocessing, probes)


def _describe(built: Built, columns: Sequence[Column], scratch: Path) -> None:
    """Write `prepared.json` for what is in `scratch`."""
    from extract import identity, keras_graph

    prepared = Prepared(
        graph_digest=identity.graph_digest(built.model),
        weights_digest=identity.weights_digest(built.model),
        arguments=dict(built.arguments),
        preprocessing=built.preprocessing,
        columns=tuple((column, keras_graph.row_shape(built, column)) for column in columns),
        weights=_weights_facts(built),
        folder=scratch,
        files={p.name: sha256(p.read_bytes()) for p in sorted(scratch.glob("graph.*"))},
    )
    (scratch / "prepared.json").write_bytes(seal("prepared", prepared.to_json()))


def _weights_facts(built: Built) -> dict[str, Any]:
    if built.weights_path is None:
        return {}
    return file_facts(built.weights_path, built.files or (built.weights_path,))


def probes_for(request: Request) -> np.ndarray:
    """Return the synthetic probes, resized as by default."""
    return probe_pixels(PixelPolicy(image_size=request.image_size))


def probe_pixels(policy: PixelPolicy) -> np.ndarray:
    """Return the synthetic probes as the backbone will see them: (8, size, size, 3) float32."""
    from extract import pixels, probes

    return np.stack([pixels.load(data, policy)[0] for data in probes.synthetic().values()])


def _convert(request: Request, pixels: np.ndarray, scratch: Path) -> None:
    """Build, convert, and hold the converted graph against Keras on the synthetic probes."""
    import keras

    from extract import openvino_export
    from extract.engines.engine import PARITY, relative_distance
    from extract.engines.openvino import OpenVINOEngine

    built, columns, model = build(request)
    _check_scaling(built, request, pixels)
    openvino_export.export(model, scratch / "graph.xml")
    # Operation by operation: no second trace, and nothing shared with what was converted.
    outputs = keras.tree.flatten(model(pixels, training=False))
    expected = [keras.ops.convert_to_numpy(output) for output in outputs]
    found = OpenVINOEngine(scratch / "graph.xml")(pixels)
    for column, a, b in zip(columns, found, expected, strict=True):
        if (distance := relative_distance(a, b)) > PARITY:
            raise BackboneError(
                f"OpenVINO differs from Keras by {distance:.1e} relative at {column.name}, "
                f"expected at most {PARITY:.0e}. Give --engine keras"
            )
    _describe(built, columns, scratch)


def travel_light() -> None:
    """Make importing Keras in a child take half as long; before the first import of it.

    Keras imports scikit-learn and matplotlib for wrappers and plots, OpenVINO's converter imports
    what reports its use over the network; all go without what is not installed. Tens of thousands
    of new functions and classes make the garbage collector look through all of them again and
    again, and a child ends before garbage matters.
    """
    for name in UNUSED:
        sys.modules[name] = None  # type: ignore[assignment] # to import it is a ModuleNotFoundError
    gc.disable()


def serve(work: Callable[[bytes], None]) -> int:
    """Be the child of `in_child`: import Keras, do the work, say an error in one line."""
    travel_light()
    importlib.import_module("keras")  # takes seconds, in which the parent makes the probes
    try:
        work(sys.stdin.buffer.read())
    except HeadstartError as error:
        print(f"error: {error}")
        return 1
    return 0


def leave(status: int) -> None:
    """End a child: TensorFlow would take half a second to take itself apart."""
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(serve(lambda message: _convert(*_understood(message), Path(sys.argv[1]))))
