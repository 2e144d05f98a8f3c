"""Every command of `heads` takes a fine-tuned model as it takes a head."""

import csv
import importlib.util
import json

import numpy as np
import pytest

import finetune
from heads.cli import main
from heads.model_folder import load
from tests.finetune.tuning import tune


@pytest.fixture(scope="module")
def tuned(store, head):
    return tune(store, head.path, "commands.tuned", mode="suffix")


@pytest.fixture
def heads_says(monkeypatch, capsys):
    """A function that runs `python -m heads ... --json` and returns what it prints."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["heads", *map(str, words), "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code == 0, err
        return json.loads(out.splitlines()[-1])

    return call


def test_evaluate(tuned, heads_says):
    found = heads_says("evaluate", tuned.model, "--split", "validation")

    assert tuned.kept == "tuned"
    assert found["accuracy"] == pytest.approx(tuned.validation_accuracy)


def test_predict(tuned, store, heads_says, tmp_path):
    heads_says("predict", tuned.model, store.with_suffix("") / "test", "--out", tmp_path / "p.csv")

    with open(tmp_path / "p.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 12


def test_report(tuned, head, heads_says, tmp_path):
    page = tmp_path / "page.html"
    heads_says("report", tuned.model, "--compare", head.path, "--out", page)

    assert "commands.tuned" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["x.keras", "x.xml"])
def test_export(tuned, store, heads_says, tmp_path, name):
    """What is written gives what the tuned network gives, not what its head gave."""
    found = heads_says("export", tuned.model, "--out", tmp_path / name)

    assert (tmp_path / name).is_file()
    assert found["probabilities"] <= 1e-3
    if name == "x.keras":
        assert_is_tuned(tuned, tmp_path / name)


def assert_is_tuned(tuned, path):
    """An export holds the tuned weights: it gives what `model.keras` of the folder gives."""
    import keras

    own = keras.saving.load_model(load(tuned.model).path / "model.keras", safe_mode=True)
    exported = keras.saving.load_model(path, safe_mode=True)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 16, 20, 3), np.uint8)
    np.testing.assert_allclose(
        exported.predict_on_batch(pixels), own.predict_on_batch(pixels), atol=1e-5
    )


def test_pack(tuned, heads_says, tmp_path):
    heads_says("pack", tuned.model, "--out", tmp_path / "packed")

    assert (tmp_path / "packed" / "predict.py").is_file()


WITH_TENSORBOARD = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)


@WITH_TENSORBOARD
@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_tensorboard_has_each_epoch(store, head, tmp_path, layer_decay):
    """Keras' own callback would read a rate that raises where there are several."""
    found = finetune.run(
        store,
        head.path,
        store.with_name("board.tuned"),
        unfreeze="from:conv3",
        mode="suffix",
        epochs=2,
        batch_size=8,
        layer_decay=layer_decay,
        tensorboard=tmp_path / "board",
    )
    scalars = scalars_of(tmp_path / "board")
    last = load(found.model).history[-1]

    assert {"loss", "accuracy", "rate/highest", "rate/lowest"} <= scalars.keys()
    assert all([step for step, _ in values] == [1, 2] for values in scalars.values())
    for name in ("val_loss", "val_accuracy"):
        assert scalars[name][-1][1] == pytest.approx(last[name])


def scalars_of(folder):
    """Return {tag: [(step, value), ...]} of the one event file in a folder."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (file,) = folder.rglob("*tfevents*")
    found = {}
    for event in EventFileLoader(str(file)).Load():
        for value in event.summary.value:
            number = float(value.tensor.float_val[0])
            found.setdefault(value.tag, []).append((event.step, number))
    return found


@WITH_TENSORBOARD
def test_each_plan_is_a_curve_of_its_own(store, head, tmp_path):
    """In one folder, epochs of several plans would be drawn as one line back and forth."""
    finetune.run(
        store,
        head.path,
        store.with_name("boards.tuned"),
        unfreeze=["from:conv4", "20%"],
        mode="suffix",
        epochs=2,
        batch_size=8,
        tensorboard=tmp_path / "board",
    )

    assert sorted(path.name for path in (tmp_path / "board").iterdir()) == ["20%", "from-conv4"]
    for folder in (tmp_path / "board").iterdir():
        assert [step for step, _ in scalars_of(folder)["loss"]] == [1, 2]


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is not None, reason="tensorboard is installed"
)
def test_tensorboard_names_its_extra(store, head, tmp_path):
    with pytest.raises(ValueError, match=r'pip install "headstart\[tensorboard\]"'):
        finetune.run(store, head.path, tensorboard=tmp_path / "board")
