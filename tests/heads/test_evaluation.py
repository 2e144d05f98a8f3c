"""A model is judged on the right rows, by names of classes, and told what the numbers are worth."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import extract
from extract.console import Screen
from extract.store.opening import open_store
from heads.data import Source, open_source
from heads.errors import HeadError, StaleModelError
from heads.evaluation import Evaluation, evaluate
from heads.evaluation_tables import LINES, tables
from heads.metrics import measure
from heads.model_folder import save
from heads.scoring import Dense
from tests.heads.conftest import COLORS, paint
from tests.heads.models import linear_model

ROOT = Path(__file__).resolve().parents[2]


def again(store):
    """Run `extract` once more on the images beside a store."""
    extract.run(store.with_suffix(""), store, layers=["last", "3"])


@pytest.fixture
def model(painted):
    """A head that takes half of the green test rows for something else, and is not too sure."""
    perfect = linear_model(painted)
    (kernel,), (bias,) = perfect.scorer.kernels, perfect.scorer.biases
    data = open_source(painted, ["last"]).load("test")
    green = perfect.logits(data.X[data.y == 1])
    least = np.median(green[:, 1] - green[:, [0, 2]].max(axis=1))
    bias, scale = np.add(bias, [least, 0, least]), 5 / green.std()
    return replace(perfect, scorer=Dense.linear(scale * kernel.T, scale * bias))


def test_test_rows_are_judged_on_by_default(painted, model):
    found = evaluate(model)
    data = open_source(painted, ["last"]).load("test")

    assert (found.split, found.rows, found.notes) == ("test", 18, ())
    assert found.report.accuracy == np.mean(model.logits(data.X).argmax(axis=1) == data.y)
    assert found.report.accuracy == 15 / 18
    np.testing.assert_array_equal(
        found.report.confusion, measure(model.predict_proba(data.X), data.y, "bgr").confusion
    )


def test_rows_are_read_in_blocks(model, monkeypatch):
    whole = evaluate(model).report
    blocks = Source.blocks
    monkeypatch.setattr(Source, "blocks", lambda self, split: blocks(self, split, 5))

    assert evaluate(model).report.scalars == pytest.approx(whole.scalars)


def test_probabilities_have_the_models_temperature(painted):
    cold, warm = (evaluate(linear_model(painted, temperature=t)).report for t in (2.0, 500.0))

    assert cold.accuracy == warm.accuracy
    assert cold.log_loss != warm.log_loss


def test_columns_are_those_that_the_model_takes(painted):
    both = evaluate(linear_model(painted, columns=("3", "last")))

    assert both.rows == 18


def test_a_column_is_known_by_its_position_not_by_its_name(painted, model):
    renamed = tuple(replace(column, layer="elsewhere") for column in model.columns)

    assert evaluate(replace(model, columns=renamed)).report.accuracy > 0.5


def test_classes_are_matched_by_name(painted, model):
    """A store in which classes came or went numbers the others anew."""
    order = [2, 0, 1]
    (kernel,), (bias,) = model.scorer.kernels, model.scorer.biases
    turned = replace(
        model,
        classes=tuple(model.classes[i] for i in order),
        scorer=Dense((kernel[:, order],), (bias[order],)),
    )

    assert evaluate(turned).report.scalars == pytest.approx(evaluate(model).report.scalars)
    assert [c.name for c in evaluate(turned).report.classes] == ["red", "blue", "green"]


def test_a_class_of_the_model_that_has_no_rows_is_undefined_not_an_error(painted, model):
    shutil.rmtree(painted.with_suffix("") / "test" / "green")
    again(painted)
    found = evaluate(model)

    assert found.rows == 12
    assert found.report.undefined["roc_auc"] == "class 'green' has no rows here"
    assert found.report.classes[1].recall is None


def test_a_label_that_the_model_does_not_know_is_named(painted, model):
    paint(painted.with_suffix(""), {"test": 2}, {"violet": (200, 60, 200)})
    again(painted)

    with pytest.raises(HeadError, match=r"'violet', which the model was not trained on \(it know"):
        evaluate(model)
    assert evaluate(model, split="validation").rows == 18


def test_a_split_that_does_not_exist_names_those_that_do(painted, model):
    with pytest.raises(HeadError, match="split 'holdout'. It has: train, validation, test"):
        evaluate(model, split="holdout")


@pytest.fixture
def without_test(tmp_path, fake_backbone):
    folder = paint(tmp_path / "plain", {"train": 6, "validation": 4})
    extract.run(folder, tmp_path / "plain.features")
    return tmp_path / "plain.features"


def test_without_test_rows_validation_rows_are_judged_on_and_it_is_said(without_test):
    found = evaluate(linear_model(without_test))

    assert (found.split, found.rows) == ("validation", 12)
    assert found.notes[0] == (
        "These rows also chose the head and its temperature: expect less on new images"
    )


def test_train_rows_are_never_the_default(tmp_path, without_test, model):
    images = tmp_path / "more"
    paint(images, {"train": 4, "validation": 1})
    extract.run(images, tmp_path / "more.features", layers=["last", "3"])
    for picture in (images / "validation").rglob("*.png"):
        picture.write_bytes(b"no picture")
    extract.run(images, tmp_path / "more.features", layers=["last", "3"])

    with pytest.raises(HeadError, match="It has: train. To judge on rows that were trained on"):
        evaluate(model, tmp_path / "more.features")


@pytest.mark.parametrize(
    ("split", "refit", "words"),
    [
        ("train", "train", "These rows were trained on"),
        ("validation", "train", "These rows also chose the head"),
        ("validation", "all", "These rows were trained on"),
        ("test", "all", None),
    ],
)
def test_it_says_what_training_did_with_the_rows(model, split, refit, words):
    found = evaluate(replace(model, settings={"refit": refit}), split=split)

    assert [note.startswith(words) for note in found.notes] == ([True] if words else [])


def test_it_says_that_labels_changed_since(painted, model):
    images = painted.with_suffix("")
    (images / "test/red/0.png").rename(images / "test/blue/moved.png")
    again(painted)
    notes = evaluate(model).notes

    assert [note.split(" of ")[0] for note in notes] == ["Images, labels or splits"]
    assert "may be among those it saw" in notes[0]
    assert evaluate(model, snapshot=1).notes == ()
    train = evaluate(model, split="train").notes
    assert train[1].startswith("Those of these rows that were there")


def test_it_says_that_features_are_others(painted, model):
    paint(painted.with_suffix(""), {"test": 8}, seed=1)
    again(painted)
    notes = evaluate(model).notes

    assert "does not hold the features that the model was trained on" in notes[0]
    assert model.store["root_digest"][:12] in notes[0]


def test_bad_rows_are_skipped_and_counted_within_the_split(painted, model):
    for name in ("test/red/0.png", "test/red/1.png", "train/red/0.png"):
        (painted.with_suffix("") / name).write_bytes(b"no picture")
    again(painted)
    found = evaluate(model)

    assert (found.rows, found.left_out) == (16, {"bad": 2, "unlabeled": 0})
    assert found.notes[-1] == "2 bad items of test are left out"


def test_features_of_another_recipe_are_refused(painted, model, tmp_path):
    extract.run(painted.with_suffix(""), tmp_path / "small.features", image_size=96)

    with pytest.raises(StaleModelError, match="another recipe"):
        evaluate(model, tmp_path / "small.features")


def test_a_store_that_moved_with_its_model_is_found(painted, model, tmp_path):
    save(model, tmp_path / "photos.head")
    (tmp_path / "elsewhere").mkdir()
    for name in ("photos.head", "photos.features"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    found = evaluate(tmp_path / "elsewhere" / "photos.head")

    assert found.store == str((tmp_path / "elsewhere" / "photos.features").resolve())
    assert found.model == str(tmp_path / "elsewhere" / "photos.head")
    assert found.notes == ()


def test_a_store_that_is_nowhere_says_what_to_type(painted, model, tmp_path):
    saved = save(model, tmp_path / "heads" / "photos.head")
    shutil.rmtree(painted)

    with pytest.raises(
        HeadError, match=r"photos.features or .*heads evaluate \S+photos.head STORE"
    ):
        evaluate(saved)
    with pytest.raises(HeadError, match="heads evaluate MODEL STORE"):
        evaluate(model)


def test_an_open_snapshot_is_a_store(painted, model):
    assert evaluate(model, open_store(painted)).rows == 18


def test_no_error_at_all_is_said_to_prove_little(painted):
    found = evaluate(linear_model(painted))

    assert found.report.accuracy == 1
    assert "18 rows cannot tell that from 16.7% wrong" in found.notes[-1]


def test_json_holds_what_was_judged_on_and_the_numbers(painted, model):
    facts = json.loads(json.dumps(evaluate(model).to_json(), allow_nan=False))

    assert facts["split"] == "test"
    assert facts["left_out"] == {"bad": 0, "unlabeled": 0}
    assert facts["accuracy_interval"][0] <= facts["accuracy"] <= facts["accuracy_interval"][1]
    assert set(facts["classes"]) == set(COLORS)
    assert {"balanced_accuracy", "log_loss", "ece", "top_2_accuracy", "roc_auc"} <= facts.keys()


def printed(evaluation, capsys):
    screen = Screen()
    for table in tables(evaluation):
        screen.say(table.title)
        screen.table(table.columns, table.rows)
    return capsys.readouterr().out


def test_few_classes_are_printed_as_a_matrix(painted, model, capsys):
    found = evaluate(model)
    text = printed(found, capsys)

    assert "18 test rows" in text
    assert ["accuracy", "0.8333"] in [line.split()[:2] for line in text.splitlines()]
    assert "top-2 accuracy" in text
    row = ["red", *map(str, found.report.confusion[2])]
    assert row in [line.split() for line in text.splitlines()]


def judged(probabilities, codes):
    """Return an evaluation of probabilities alone."""
    names = [f"class {i}" for i in range(probabilities.shape[1])]
    return Evaluation(
        report=measure(probabilities, codes, names),
        model=None,
        store="photos.features",
        snapshot=1,
        split="test",
        left_out={},
        notes=(),
    )


def test_many_classes_are_printed_as_the_pairs_most_confused(capsys):
    probabilities = np.eye(30)[np.r_[np.arange(30), [4, 4, 4, 9]]]
    found = judged(probabilities, np.r_[np.arange(30), [7, 7, 7, 1]])
    text = printed(found, capsys)

    _, classes, pairs, _ = tables(found)
    assert pairs.rows == (("class 7", "class 4", 3, 4), ("class 1", "class 9", 1, 2))
    assert classes.title == "The 20 of 30 classes with the lowest F1"
    assert [row[0] for row in classes.rows[:2]] == ["class 4", "class 7"]
    assert len(classes.rows) == LINES
    assert "taken for" in text


def test_what_is_not_defined_says_why(capsys):
    text = printed(judged(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 0])), capsys)

    assert "not defined: class 'class 1' has no rows here" in text
    assert "nan" not in text.lower()


def test_judging_imports_no_framework():
    """`evaluate` starts in a moment: scikit-learn alone would take longer than the work."""
    modules = "heads.evaluation, heads.evaluation_tables, heads.calibration"
    code = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split()

    assert not {"sklearn", "scipy", "keras", "tensorflow", "openvino", "pandas"} & set(loaded)
