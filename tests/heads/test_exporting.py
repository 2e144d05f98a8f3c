"""Exports: every format gives what the model gives, or nothing is written."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import extract
from extract import pixels, probes
from extract.store.files import sha256
from heads import conversion, exporting, parity
from heads.errors import HeadError, ModelError, ParityError
from heads.exporting import export
from heads.formats import FORMATS
from heads.model_folder import load, save
from heads.predicting import load_predictor
from heads.scoring import Neighbors
from tests.heads.digits_models import digits_model, digits_store
from tests.heads.test_joining import decoded, png
from tests.helpers import tree

CLASSES = ["a/b", "größer", 'say "x"']


def here(scratch, name, format, weights):
    """Convert in this process: Keras takes seconds to import, and the tests have it already."""
    conversion.convert(scratch, name, format, weights)


OLDER = b"<net of an older export, with class_names"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return digits_store(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def model(store, tmp_path_factory):
    """A saved model on a store, with names of classes that need care."""
    made = digits_model(store, ("relu4:avg", "relu2:max"), widths=(8, 3), activation="gelu")
    made = replace(made, classes=tuple(CLASSES))
    return save(made, tmp_path_factory.mktemp("exports") / "photos.head")


@pytest.fixture(scope="module")
def exports(model):
    """A function that exports to a format, once for all tests."""
    found = {}

    def exported(name):
        if name not in found:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(exporting, "_in_child", here)
                found[name] = export(model, format=name)
        return found[name]

    return exported


@pytest.fixture
def fake_child(monkeypatch):
    """Replace conversion: every way gives uniform probabilities, plus what `apart` says."""
    apart = {}

    def convert(scratch, name, format, weights):
        model = load(scratch / conversion.MODEL)
        with np.load(scratch / conversion.PROBES) as stored:
            images = [stored[str(i)] for i in range(len(stored.files) // 2)]
        batch = np.stack([resized(image, model) for image in images])
        features = load_predictor(model).features(batch)
        right = model.predict_proba(features)
        (scratch / conversion.WRITTEN).mkdir()
        for path in format.names(scratch / conversion.WRITTEN / name):
            path.write_bytes(b"<net a new one")
        ways = {"features": features, "joined": right, "exported": right}
        ways = {way: value + apart.get(way, 0) for way, value in ways.items()}
        np.savez(scratch / conversion.FOUND, **ways)

    monkeypatch.setattr(exporting, "_in_child", convert)
    return apart


def resized(image, model):
    from extract.resize import resize

    return resize(image, model.recipe.pixels)


@pytest.mark.parametrize("name", FORMATS)
def test_the_export_lies_beside_the_model_and_agrees_with_it(exports, model, name):
    summary = exports(name)

    assert summary.out == str(model.path.with_suffix(FORMATS[name].suffix))
    assert FORMATS[name].is_one(Path(summary.out))
    assert summary.features <= parity.FEATURES
    assert summary.probabilities <= parity.PROBABILITIES
    assert summary.probes == len(probes.NAMES) + 18


def test_nothing_else_is_left_behind(exports, model):
    exports("openvino")
    known = {p.name for f in FORMATS.values() for p in f.names(Path(f"photos{f.suffix}"))}

    names = {path.name for path in model.path.parent.iterdir()}
    assert {"photos.xml", "photos.bin"} < names <= known | {"photos.head", "parity.json"}


@pytest.mark.parametrize("name", FORMATS)
def test_images_of_any_size_and_number_go_in(exports, model, name):
    """Decoded elsewhere, and through the file: what `predict` says, within 1e-4."""
    run = FORMATS[name].open(Path(exports(name).out))

    for size in ((1, 1), (17, 300), (64, 48)):
        files = [png(size, seed) for seed in range(3)]
        found = run(np.concatenate([decoded(data, model) for data in files]))
        np.testing.assert_allclose(found, predicted(model, files), rtol=0, atol=1e-4)


def predicted(model, files):
    """Return what `predict` says of files: (n, classes)."""
    batch = np.stack([pixels.load(data, model.recipe.pixels)[0] for data in files])
    return load_predictor(model)(batch).probabilities


def names_inside(name, path):
    """Read the names of the classes from a file as `heads.formats` says."""
    if name == "keras":
        import keras

        return json.loads(keras.saving.load_model(path).operations[-1].name)
    if name == "saved_model":
        import tensorflow as tf

        image = tf.zeros((1, 9, 9, 3), tf.uint8)
        named = tf.saved_model.load(path).signatures["serving_default"](image=image)
        return [name.decode() for name in named["class_names"].numpy()]
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        return json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    if name == "openvino":
        import openvino as ov

        return json.loads(ov.Core().read_model(path).get_rt_info(["class_names"]).value)
    return json.loads(zipfile.ZipFile(path).read("class_names.json"))


@pytest.mark.parametrize("name", FORMATS)
def test_names_of_classes_travel_inside(exports, name):
    assert names_inside(name, exports(name).out) == CLASSES


@pytest.mark.parametrize("name", FORMATS)
def test_the_report_tells_what_was_compared(exports, model, name):
    summary = exports(name)
    beside, inside = (
        json.loads((folder / "parity.json").read_text())["exports"][Path(summary.out).name]
        for folder in (model.path.parent, model.path)
    )

    assert beside == inside
    assert beside["tolerances"] == {"features": 1e-4, "probabilities": 1e-4}
    assert {"joined model", "exported file", "cached features"} <= beside["differences"].keys()
    assert len(beside["probes"]) == summary.probes
    assert {"keras", "numpy", "openvino"} <= beside["versions"].keys()
    for file, (size, digest) in beside["files"].items():
        data = (model.path.parent / file).read_bytes()
        assert (len(data), sha256(data)) == (size, digest)


def test_files_of_several_sizes_go_into_one_call_of_a_saved_model(exports, model):
    import tensorflow as tf

    files = [png((17, 300)), probes.synthetic()["grey.jpg"]]

    loaded = tf.saved_model.load(exports("saved_model").out)
    found = loaded.signatures["serve_bytes"](encoded=tf.constant(files))

    assert [name.decode() for name in found["class_names"].numpy()] == CLASSES
    expected = predicted(model, files)
    np.testing.assert_allclose(found["probabilities"], expected, rtol=0, atol=1e-4)


def test_the_report_of_a_saved_model_says_which_bytes_were_refused(exports, model):
    exports("saved_model")
    report = json.loads((model.path / "parity.json").read_text())["exports"]
    facts = report["photos.saved_model"]["differences"]["signature for bytes"]

    assert facts["refused"] == ["ours-cmyk.jpg", "ours-turned.jpg"]
    assert facts["probabilities"] <= parity.PROBABILITIES


def test_a_child_converts_whatever_backend_its_parent_has(model, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")

    summary = export(model, tmp_path / "photos.keras")

    assert summary.features <= parity.FEATURES
    assert names_inside("keras", summary.out) == CLASSES


def test_what_a_child_refuses_is_the_same_error_here(model, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting.joining, "check", lambda model: None)

    with pytest.raises(HeadError, match="'neighbors'.*cannot become Keras layers"):
        export(neighbors(model), tmp_path / "photos.keras")
    assert list(tmp_path.iterdir()) == []


def neighbors(model):
    rows = np.eye(model.width, dtype=np.float32)[:4]
    center = np.zeros(model.width, np.float32)
    return replace(model, scorer=Neighbors(rows, np.arange(4) % 3, center, 1, 3))


def test_a_regressor_of_large_numbers_can_be_exported(model, tmp_path, monkeypatch):
    """Prices: the last digits of float32 are far more than 1e-4 there."""
    monkeypatch.setattr(exporting, "_in_child", here)
    kernels, biases = model.scorer.kernels, model.scorer.biases
    scorer = replace(
        model.scorer,
        kernels=(*kernels[:-1], 1e6 * kernels[-1]),
        biases=(*biases[:-1], 1e6 * biases[-1]),
    )
    prices = save(replace(model, scorer=scorer, task="regression"), tmp_path / "prices.head")

    assert export(prices, tmp_path / "prices.keras").probabilities < parity.PROBABILITIES


def test_real_weights_agree(shared, tmp_path, monkeypatch):
    """MobileNetV2 0.35 on photographs: features within 1e-4, in the format of its engine."""
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    monkeypatch.setattr(exporting, "_in_child", here)
    photos = tmp_path / "photos"
    for number, path in enumerate(sorted((shared / "data" / "hymenoptera").rglob("*.jpg"))[:6]):
        place = photos / ("train", "val")[number % 2] / "ab"[number // 2 % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).write_bytes(path.read_bytes())
    extract.run(photos, tmp_path / "photos.features", arguments={"alpha": 0.35})
    model = digits_model(tmp_path / "photos.features", ("out_relu",), widths=(1,))

    summary = export(model, tmp_path / "photos.xml")

    assert summary.features <= parity.FEATURES
    assert summary.probabilities <= parity.PROBABILITIES


@pytest.mark.parametrize("way", ["features", "joined", "exported"])
@pytest.mark.parametrize("before", [None, OLDER], ids=["nothing", "an older one"])
def test_what_does_not_agree_leaves_the_place_as_it_was(model, fake_child, tmp_path, way, before):
    fake_child[way] = 0.01
    for name in ("photos.xml", "photos.bin"):
        if before:
            (tmp_path / name).write_bytes(before)
    found = tree(tmp_path)

    with pytest.raises(ParityError, match=r"photos.xml was not written.*expected"):
        export(model, tmp_path / "photos.xml")
    assert tree(tmp_path) == found


def test_an_export_of_the_same_format_is_replaced_whole(model, fake_child, tmp_path):
    for name in ("photos.xml", "photos.bin"):
        (tmp_path / name).write_bytes(OLDER)

    export(model, tmp_path / "photos.xml")

    assert set(tree(tmp_path)) == {"photos.xml", "photos.bin", "parity.json"}
    assert (tmp_path / "photos.bin").read_bytes() == b"<net a new one"


@pytest.mark.parametrize("name", ["photos.xml", "photos.bin", "parity.json"])
def test_something_else_at_its_place_is_left_alone(model, fake_child, tmp_path, name):
    (tmp_path / name).write_bytes(b"mine")

    with pytest.raises(ModelError, match=f"{name} is something else than .*Give"):
        export(model, tmp_path / "photos.xml")
    assert tree(tmp_path) == {name: b"mine"}


def test_a_converter_that_fails_is_one_line(model, tmp_path, monkeypatch):
    def fail(joined, path, model):
        raise RuntimeError("no such\noperation")

    failing = {**FORMATS, "onnx": replace(FORMATS["onnx"], write=fail)}
    monkeypatch.setattr("heads.formats.FORMATS", failing)
    monkeypatch.setattr(exporting, "_in_child", here)

    with pytest.raises(ModelError, match=r"as \.onnx: RuntimeError no such operation. Give"):
        export(model, tmp_path / "photos.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_was_not_saved_needs_a_place(model):
    with pytest.raises(HeadError, match=r"give out, such as photos\.onnx"):
        export(replace(model, path=None), format="onnx")


def test_a_head_that_cannot_be_joined_is_refused_before_anything_is_made(model, tmp_path):
    with pytest.raises(HeadError, match="cannot become Keras layers"):
        export(neighbors(model), tmp_path / "new" / "photos.keras")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(model, fake_child, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(ModelError, match="cannot be written.*Give another --out"):
        export(model, tmp_path / "file" / "photos.keras")
