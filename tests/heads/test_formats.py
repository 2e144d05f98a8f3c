"""Formats by name and by suffix, and what each takes to be written."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from extract.prepared import exporter
from extract.recipe import Column, PixelPolicy
from heads import formats, joining
from heads.errors import HeadError
from heads.formats import FORMATS


@pytest.mark.parametrize(
    ("out", "name", "found"),
    [
        (None, None, "keras"),
        (None, "litert", "litert"),
        ("photos.keras", None, "keras"),
        ("photos.saved_model", None, "saved_model"),
        ("out/saved_model", None, "saved_model"),
        ("anything", "saved_model", "saved_model"),
        ("v1.2", "saved_model", "saved_model"),
        ("photos.onnx", "onnx", "onnx"),
        ("photos.XML", None, "openvino"),
        ("photos.tflite", None, "litert"),
    ],
)
def test_a_format_goes_by_its_name_or_the_suffix(out, name, found):
    assert formats.find(out and Path(out), name).name == found


@pytest.mark.parametrize(
    ("out", "name", "message"),
    [
        ("photos.h5", None, r"--out ends in .keras, .saved_model, .onnx, .xml, .tflite. Received"),
        ("photos", None, "--out ends in .keras"),
        ("photos.keras", "onnx", "--out ends in .onnx. Received: photos.keras"),
        ("photos.onnx", "saved_model", "--out ends in .saved_model"),
        (None, "h5", "--format is one of keras, saved_model, onnx, openvino, litert. Received"),
    ],
)
def test_what_does_not_fit_is_an_error_that_lists_what_does(out, name, message):
    with pytest.raises(HeadError, match=message):
        formats.find(out and Path(out), name)


BACKENDS = {
    "tensorflow": {"keras", "saved_model", "onnx", "openvino", "litert"},
    "torch": {"keras", "onnx", "openvino"},
    "jax": {"keras"},
}
"""As tried with each: torch fixes sizes in LiteRT, and its SavedModel takes no model of ours."""


@pytest.mark.parametrize("backend", BACKENDS)
def test_which_backend_writes_what_is_a_table(backend):
    assert {f.name for f in FORMATS.values() if backend in f.backends} == BACKENDS[backend]


def test_the_backend_that_is_installed_writes_every_format():
    for format in FORMATS.values():
        format.check_installed(exporter())


def test_a_backend_that_cannot_is_an_error_that_says_what_to_install():
    with pytest.raises(HeadError, match="tflite takes tensorflow, and only torch.*pip install"):
        FORMATS["litert"].check_installed("torch")


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_a_missing_extra_is_one_line_with_the_command(monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(HeadError, match=rf'Type: pip install "headstart\[{name}\]"'):
        FORMATS[name].check_installed("tensorflow")


@pytest.mark.parametrize("name", FORMATS)
def test_other_files_are_not_taken_for_an_export(tmp_path, name):
    (tmp_path / "text").write_text("Nothing of ours.")
    (tmp_path / "folder").mkdir()

    for path in ("text", "folder", "absent"):
        assert not FORMATS[name].is_one(tmp_path / path)


@pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")  # Keras' own, in ONNX
@pytest.mark.parametrize("name", FORMATS)
def test_a_model_of_somebody_else_is_not_taken_for_an_export(tmp_path, name):
    """A user's backbone, own.keras, lay where own.head would be exported to, and was lost."""
    path = tmp_path / f"own{FORMATS[name].suffix}"
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    own = keras.Model(image, keras.layers.GlobalMaxPooling2D()(keras.ops.cast(image, "float32")))
    own(np.zeros((1, 8, 8, 3), np.uint8))
    if name == "keras":
        own.save(path)
    else:
        format = "tf_saved_model" if name == "saved_model" else name
        own.export(str(path), format=format, verbose=False)

    assert path.exists()
    assert not FORMATS[name].is_one(path)


def plain_model(**facts):
    """Return what writers read of a model."""
    recipe = SimpleNamespace(pixels=PixelPolicy())
    return SimpleNamespace(classes=("a", "b", "c"), recipe=recipe, **facts)


def written(name, folder, inputs, outputs, model):
    """Write a Keras model, and return what was written as a function."""
    path = folder / f"written{FORMATS[name].suffix}"
    FORMATS[name].write(keras.Model(inputs, outputs), path, model)
    return FORMATS[name].open(path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_normalization_within_a_backbone_is_written(tmp_path, name):
    """As EfficientNet has one: tf2onnx took its mean for an input."""
    pixels = keras.Input((None, None, 3))
    backbone = keras.Model(pixels, keras.layers.Normalization()(pixels))
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    x = backbone(keras.ops.cast(image, "float32"))

    run = written(name, tmp_path, image, keras.layers.GlobalMaxPooling2D()(x), plain_model())

    found = run(np.full((1, 5, 7, 3), [7, 70, 201], np.uint8))
    np.testing.assert_allclose(found, [[7, 70, 201]], rtol=1e-6)


@pytest.mark.parametrize("name", FORMATS)
def test_no_runtime_drops_the_rounding_to_float16(tmp_path, name):
    """ONNX Runtime and OpenVINO drop a cast there and back, so it is done by arithmetic."""
    columns = [Column(operation=0, layer="last", dtype="float16")]
    model = plain_model(columns=columns, row_shapes=[(3,)])
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    mean = keras.layers.GlobalAveragePooling2D()(keras.ops.cast(image, "float32"))
    row = keras.layers.Rescaling(3.335)(mean)

    run = written(name, tmp_path, image, joining._as_cached(row, model), model)

    found = run(np.full((1, 5, 7, 3), [7, 70, 201], np.uint8))
    exact = np.array([[7, 70, 201]]) * 3.335
    np.testing.assert_array_equal(found, exact.astype(np.float16).astype(np.float32))
