"""The formats of a joined model: how each is written, how it is opened again, what is inside.

    keras         photos.keras          Keras' own; loads on every backend
    saved_model   photos.saved_model/   TensorFlow; also takes JPEG or PNG bytes: `saved_model.py`
    onnx          photos.onnx           ONNX Runtime and others
    openvino      photos.xml, .bin      OpenVINO
    litert        photos.tflite         LiteRT, on telephones and small boards

All take raw images (batch, h, w, 3) uint8 and give probabilities (batch, classes) float32. The
names of the classes are inside:

    keras         json.loads(keras.saving.load_model("photos.keras").operations[-1].name)
    saved_model   the output "class_names" of both signatures, strings (classes,)
    onnx          json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    openvino      json.loads(core.read_model("photos.xml").get_rt_info(["class_names"]).value)
    litert        json.loads(zipfile.ZipFile("photos.tflite").read("class_names.json"))

OpenVINO computes in bfloat16 where a processor has it, unless told not to: compile with
{"INFERENCE_PRECISION_HINT": "f32"} to get what was compared here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import mmap
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from heads import saved_model
from heads.errors import HeadError
from heads.model import Model

if TYPE_CHECKING:
    import keras

CLASS_NAMES = "class_names"
_MOST = 2**28
"""Bytes of a graph's description that are read of a file that may be anybody's."""

Run = Callable[[np.ndarray], np.ndarray]
"""Images (batch, h, w, 3) uint8 to probabilities (batch, classes) float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write a joined model down."""

    name: str
    suffix: str
    write: Callable[[keras.Model, Path, Model], None]
    """Write a joined model, made from the given one, to a path with this suffix."""
    open: Callable[[Path], Run]
    """Open what was written, in another way than by what is in memory."""
    is_ours: Callable[[Path], bool]
    """Whether an existing path bears the names of classes; it may raise for other files."""
    backends: tuple[str, ...]
    """Keras backends that can write it for images of any size."""
    packages: tuple[str, ...]
    """Modules that writing and opening take."""
    extra: str = ""
    """The extra that installs them."""

    def names(self, out: Path) -> list[Path]:
        """Return every path that an export to `out` fills, the one that is opened last."""
        return [out.with_suffix(".bin"), out] if self.name == "openvino" else [out]

    def is_one(self, out: Path) -> bool:
        """Return whether an export lies at `out`: another model of this format is somebody's."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            return self.is_ours(out)
        return False

    def check_installed(self, backend: str) -> None:
        """Raise `HeadError` unless this format can be written and opened here."""
        if backend not in self.backends:
            raise HeadError(
                f"Writing {self.suffix} takes {' or '.join(self.backends)}, and only {backend} is "
                f"installed. Type: pip install {self.backends[0]}"
            )
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise HeadError(
                f"Writing {self.suffix} takes {', '.join(missing)}, which is not installed. "
                f'Type: pip install "headstart[{self.extra}]"'
            )


def find(out: Path | None, name: str | None) -> Format:
    """Return the format that a name, else the suffix of a path, stands for; else Keras'.

    Raises:
        HeadError: If neither is known, or they do not fit.
    """
    if name is not None and name not in FORMATS:
        raise HeadError(f"--format is one of {', '.join(FORMATS)}. Received: {name!r}")
    if out is None:
        return FORMATS[name or "keras"]
    by_suffix = {f.suffix: f for f in FORMATS.values()}
    found = by_suffix.get(out.suffix.lower())
    if found is None and "saved_model" in (name, out.name):  # any folder will do
        return FORMATS["saved_model"]
    if found is None or name not in (None, found.name):
        expected = FORMATS[name].suffix if name else ", ".join(by_suffix)
        raise HeadError(f"--out ends in {expected}. Received: {out}")
    return found


def _write_keras(joined: keras.Model, path: Path, model: Model) -> None:
    joined.save(path)


def _open_keras(path: Path) -> Run:
    import keras

    # Not `model(images)`: operation by operation, TensorFlow takes ten times as long.
    return keras.saving.load_model(path, safe_mode=True).predict_on_batch


def _write_onnx(joined: keras.Model, path: Path, model: Model) -> None:
    import keras
    import onnx

    # Without a signature Keras exports only what was called before.
    images = keras.InputSpec(shape=(None, None, None, 3), dtype="uint8")
    images.name = "image"
    _make_constant(joined)
    with warnings.catch_warnings():
        # Keras looks for `np.object`, which NumPy will have again some day and says so.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        joined.export(str(path), format="onnx", verbose=False, input_signature=[images])
    written = onnx.load(path)
    onnx.helper.set_model_props(written, {CLASS_NAMES: json.dumps(list(model.classes))})
    onnx.save(written, path)


def _make_constant(model: keras.Model) -> None:
    """Turn what `Normalization` layers computed beforehand into arrays.

    tf2onnx takes a tensor from outside the graph for an input of it, and then no file of
    EfficientNet's runs; an array becomes a constant.
    """
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _make_constant(layer)
        elif isinstance(layer, keras.layers.Normalization):
            layer.mean = keras.ops.convert_to_numpy(layer.mean)
            layer.variance = keras.ops.convert_to_numpy(layer.variance)


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _write_openvino(joined: keras.Model, path: Path, model: Model) -> None:
    import openvino as ov

    # Weights are read from the file while the graph is in use, so it cannot be written in place.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        nameless = str(Path(folder) / "nameless.xml")
        joined.export(nameless, format="openvino", verbose=False)
        graph = ov.Core().read_model(nameless)
        graph.set_rt_info(json.dumps(list(model.classes)), [CLASS_NAMES])
        ov.serialize(graph, str(path))


def _open_openvino(path: Path) -> Run:
    import openvino as ov

    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: np.array(compiled([images])[0])


def _write_litert(joined: keras.Model, path: Path, model: Model) -> None:
    joined.export(str(path), format="litert", verbose=False)
    # A zip file after the graph is how TensorFlow Lite attaches files; readers look past it.
    with zipfile.ZipFile(path, "a") as attached:
        attached.writestr(f"{CLASS_NAMES}.json", json.dumps(list(model.classes)))


def _open_litert(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    image, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(image["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(image["index"], images)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(answer["index"]))

    return run


def _is_keras(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive, archive.open("config.json") as file:
        layers = json.loads(file.read(_MOST))["config"]["layers"]
    return any(layer["name"].startswith("[") for layer in layers)  # the names of the classes


def _is_saved_model(path: Path) -> bool:
    return _has_class_names(path / "saved_model.pb")


def _is_litert(path: Path) -> bool:
    with zipfile.ZipFile(path) as attached:
        return f"{CLASS_NAMES}.json" in attached.namelist()


def _has_class_names(path: Path) -> bool:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(CLASS_NAMES.encode()) >= 0


ANY: tuple[str, ...] = ("tensorflow", "torch", "jax")

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format(
            name="keras",
            suffix=".keras",
            write=_write_keras,
            open=_open_keras,
            is_ours=_is_keras,
            backends=ANY,
            packages=(),
        ),
        Format(
            name="saved_model",
            suffix=".saved_model",
            write=saved_model.write,
            open=saved_model.open_images,
            is_ours=_is_saved_model,
            backends=("tensorflow",),
            packages=("tensorflow",),
        ),
        Format(
            name="onnx",
            suffix=".onnx",
            write=_write_onnx,
            open=_open_onnx,
            is_ours=_has_class_names,
            backends=("tensorflow", "torch"),
            packages=("tf2onnx", "onnx", "onnxruntime"),
            extra="onnx",
        ),
        Format(
            name="openvino",
            suffix=".xml",
            write=_write_openvino,
            open=_open_openvino,
            is_ours=_has_class_names,
            backends=("tensorflow", "torch"),
            packages=("openvino",),
        ),
        Format(
            name="litert",
            suffix=".tflite",
            write=_write_litert,
            open=_open_litert,
            is_ours=_is_litert,
            backends=("tensorflow",),
            packages=("ai_edge_litert",),
            extra="litert",
        ),
    )
}
