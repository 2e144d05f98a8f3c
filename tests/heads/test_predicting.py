"""New images get labels, probabilities and novelty, whatever is among them."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import heads
from extract import pixels
from extract.errors import InputError
from heads.errors import HeadError, ModelError, StaleModelError
from heads.model_folder import load, save
from heads.predicting import load_predictor, predict
from tests.extract.sources.making import make
from tests.heads.models import linear_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A model of the demo's digits on their real backbone; its store and pictures beside it."""
    import extract
    from extract.digits import write_pngs

    folder = tmp_path_factory.mktemp("digits")
    write_pngs(folder / "digits")
    extract.run(folder / "digits", backbone="digits")
    model = linear_model(folder / "digits.features", columns=())
    return save(model, folder / "digits.head")


@pytest.fixture
def mixed(digits, tmp_path, shared_picture):
    """A folder with good pictures in and beside folders, a broken one, and one of noise."""
    folder = tmp_path / "mixed"
    (folder / "deep" / "er").mkdir(parents=True)
    pictures = sorted((digits.path.parent / "digits").rglob("*.png"))
    for number, name in enumerate(["a.png", "deep/b.png", "deep/er/c.png"]):
        (folder / name).write_bytes(pictures[number * 200].read_bytes())
    (folder / "broken.png").write_bytes(pictures[0].read_bytes()[:60])
    (folder / "deep" / "noise.png").write_bytes(shared_picture)
    return folder


@pytest.fixture
def shared_picture():
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    return cv2.imencode(".png", noise)[1].tobytes()


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def test_every_file_has_a_row_and_bad_ones_a_status(digits, mixed):
    found = predict(digits, mixed)
    rows = table(mixed.with_name("predictions.csv"))

    assert list(rows) == ["a.png", "broken.png", "deep/b.png", "deep/er/c.png", "deep/noise.png"]
    assert (found.images, found.bad, found.rejected) == (5, 1, 0)
    assert rows["broken.png"] == {**dict.fromkeys(rows["a.png"], ""), "path": "broken.png"} | {
        "status": "undecodable"
    }
    assert list(rows["a.png"]) == [
        *["path", "label", "probability", "novelty", "status"],
        *["label_2", "probability_2", "label_3", "probability_3"],
    ]


def test_labels_are_those_of_the_head_on_cached_features(digits):
    """The road of a new image ends where the cached row of the same image does."""
    import extract

    found = predict(digits, digits.path.parent / "digits", top_k=5)
    rows = table(found.out)
    data = extract.open_store(digits.store["path"]).load(None)
    expected = digits.predict_proba(data.X)
    names = data.items["path"].to_pylist()

    assert [rows[name]["label"] for name in names] == digits.predict(data.X).tolist()
    top = [float(rows[name]["probability"]) for name in names]
    np.testing.assert_allclose(top, expected.max(axis=1), atol=1e-4)
    novelty = [float(rows[name]["novelty"]) for name in names]
    np.testing.assert_allclose(novelty, digits.novelty(data.X), atol=1e-3)


def test_strangers_are_rejected(digits, mixed):
    found = predict(digits, mixed, reject=0.999)
    rows = table(found.out)

    assert rows["deep/noise.png"]["status"] == "rejected"
    assert rows["deep/noise.png"]["label"] == ""
    assert float(rows["deep/noise.png"]["novelty"]) == 1.0
    assert rows["a.png"]["label"] in digits.classes
    assert found.rejected == 1


def test_one_image_will_do(digits, mixed):
    found = predict(digits, mixed / "a.png", top_k=9)

    assert table(found.out)["a.png"]["label"] in digits.classes
    assert "label_5" in table(found.out)["a.png"]
    assert "label_6" not in table(found.out)["a.png"]


@pytest.mark.parametrize("kind", ["csv", "npz", "zip", "tar"])
def test_whatever_holds_the_images_their_labels_are_the_same(digits, tmp_path, kind):
    paths = sorted((digits.path.parent / "digits").rglob("*.png"))[::60]
    pictures = {f"a/{n}.png": cv2.imread(str(p))[..., ::-1] for n, p in enumerate(paths, 10)}
    expected = predict(digits, make("folder", tmp_path / "plain", pictures), tmp_path / "e.csv")
    found = predict(digits, make(kind, tmp_path / "data", pictures), tmp_path / "p.csv")
    tables = [table(tmp_path / name) for name in ("e.csv", "p.csv")]
    columns = [[(r["label"], r["probability"]) for _, r in sorted(t.items())] for t in tables]

    assert (found.images, found.bad) == (len(paths), 0)
    assert found.labels == expected.labels
    assert columns[0] == columns[1]


def test_arrays_from_python_have_labels_too(digits, tmp_path):
    arrays = [np.full((8, 8, 1), value, np.uint8) for value in (0, 255)]
    found = predict(digits, arrays, tmp_path / "p.csv")

    assert (found.images, found.bad) == (2, 0)
    assert list(table(tmp_path / "p.csv")) == ["00000000", "00000001"]


def test_a_table_of_paths_is_read_from_the_folder_that_is_named(digits, mixed, tmp_path):
    names = tmp_path / "tables" / "new.csv"
    names.parent.mkdir()
    names.write_text("path\ndeep/b.png\ngone.png\n", encoding="utf-8")
    found = predict(digits, names, root=mixed)
    rows = table(names.with_name("predictions.csv"))

    assert (found.images, found.bad) == (2, 1)
    assert rows["gone.png"]["status"] == "unreadable"
    with pytest.raises(HeadError, match="replaced by its own predictions"):
        predict(digits, names, names, root=mixed)


def test_an_older_table_is_replaced_and_a_failure_leaves_it(digits, mixed, monkeypatch):
    out = mixed / "out.csv"
    predict(digits, mixed, out)
    before = out.read_bytes()
    monkeypatch.setattr(pixels, "load", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(digits, mixed, out)

    assert out.read_bytes() == before
    assert not [p for p in mixed.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "--top-k is at least 1. Received: 0"),
        ({"reject": 1.5}, "--reject is a quantile, 0 to 1, such as 0.99. Received: 1.5"),
    ],
)
def test_options_out_of_range_are_refused(digits, mixed, options, message):
    with pytest.raises(HeadError, match=message):
        predict(digits, mixed, **options)


def test_places_that_make_no_sense_are_refused(digits, mixed, tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist. IMAGES is a folder of images"):
        predict(digits, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no files"):
        predict(digits, tmp_path / "empty")
    with pytest.raises(ModelError, match="is a folder. Give --out a file"):
        predict(digits, mixed, tmp_path / "empty")
    with pytest.raises(ModelError, match=r"cannot be written: No such file .* Give --out"):
        predict(digits, mixed, tmp_path / "no" / "such" / "out.csv")
    with pytest.raises(ModelError, match=r"cannot be written: File name too long. Give --out"):
        predict(digits, mixed, tmp_path / f"{'p' * 250}.csv")  # nor can its scratch be removed


def test_a_store_and_a_model_are_no_images(digits, tmp_path):
    """A store has pictures among its probes, and a model files that would be bad images."""
    store = digits.path.with_suffix(".features")
    with pytest.raises(InputError, match=r"digits.features is a store, no folder of images"):
        predict(digits, store, tmp_path / "out.csv")
    with pytest.raises(InputError, match=r"digits.head is a model, .* heads predict .*head IMAGES"):
        predict(digits, digits.path, tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["path,label\na.png,mine\n", "\0", "prices"])
def test_a_table_of_somebody_else_is_left_alone_and_one_of_ours_replaced(
    digits, mixed, tmp_path, text
):
    out = tmp_path / "labels.csv"
    predict(digits, mixed, out)
    ours = out.read_text()
    predict(digits, mixed, out)
    assert out.read_text() == ours

    out.write_text(text)
    with pytest.raises(ModelError, match="something else than predictions. Give another --out"):
        predict(digits, mixed, out)
    assert out.read_text() == text


def test_another_backbone_is_refused(digits):
    other = replace(digits, recipe=replace(digits.recipe, weights_digest="0" * 64))

    with pytest.raises(StaleModelError, match=r"weights_digest .* trained with 0000"):
        load_predictor(other)


def test_a_warm_prediction_imports_no_framework(digits, mixed):
    code = (
        "import sys, heads; "
        f"heads.predict({str(digits.path)!r}, {str(mixed)!r}); print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split()

    assert not {"keras", "tensorflow", "sklearn", "scipy.stats"} & set(loaded)


def test_the_public_face_predicts(digits, mixed):
    assert heads.predict(load(digits.path), mixed).images == 5


def test_what_a_run_has_converted_is_not_converted_again(digits, monkeypatch):
    """A run names no layer, a model names the one that it takes: it is the same graph."""
    monkeypatch.setattr("heads.predicting.prepare", lambda *_: 1 / 0)

    assert load_predictor(digits).engine is not None
