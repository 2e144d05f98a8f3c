"""The command line of heads: words for people, one object for programs, the next command last."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command

from extract import console
from extract.relabeling import split
from heads.cli import app
from tests.helpers import tree

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def model(cli, painted):
    """A model's folder, made by the command."""
    assert cli("fit", painted, "--column", "last", "--estimator", "prototype")[0] == 0
    return painted.with_name("photos.head")


def test_fit_says_what_it_came_to_and_the_next_command(cli, painted, tmp_path):
    status, out, _ = cli("fit", painted, "--column", "last", "--set", "C=0.5")
    lines = out.splitlines()

    assert status == 0
    assert lines[0] == f"{tmp_path}/photos.head: logistic with C=0.5, 3 classes, 6 features"
    assert [line.split()[0] for line in lines[1:4]] == ["rows", "train", "validation"]
    assert lines[-1] == f"Next: python -m heads evaluate {tmp_path}/photos.head"


def test_without_rows_to_judge_by_the_next_command_is_another(cli, painted, tmp_path):
    split(painted, "1/0/0")
    status, out, _ = cli("fit", painted, "--column", "last")

    assert status == 0
    assert (
        out.splitlines()[-1] == f"Next: python -m heads predict {tmp_path}/photos.head new_photos"
    )


def test_fit_as_json(cli, painted):
    status, out, err = cli("fit", painted, "--column", "last", "--estimator", "knn", "--json")
    facts = json.loads(out)

    assert status == 0
    assert facts["estimator"]["name"] == "knn"
    assert facts["metrics"]["validation"]["accuracy"] > 0.8
    assert "Next: " in err


def test_evaluate_shows_numbers_with_intervals(cli, model):
    status, out, _ = cli("evaluate", model)

    assert status == 0
    assert "18 test rows" in out
    assert "balanced accuracy" in out
    assert out.splitlines()[-1] == f"Next: python -m heads predict {model} new_photos"


def test_evaluate_as_json_has_a_pair_for_each_number(cli, model):
    facts = json.loads(cli("evaluate", model, "--split", "validation", "--json")[1])

    for name in ("accuracy", "balanced_accuracy", "log_loss", "ece"):
        low, high = facts[f"{name}_interval"]
        assert low <= facts[name] <= high
    assert facts["split"] == "validation"
    assert any("chose the head" in note for note in facts["notes"])


def test_a_split_that_does_not_exist_is_one_line(cli, model):
    status, out, err = cli("evaluate", model, "--split", "holdout")

    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "'holdout'. It has: train, validation, test" in err


@pytest.mark.parametrize("command", ["fit", "sweep", "few-shot", "audit"])
def test_a_model_in_the_place_of_a_store_is_one_line(cli, model, painted, command):
    status, out, err = cli(command, model)

    assert (status, out) == (1, "")
    assert err == (
        f"Error: {model} is a model, where a store would stand. Give the one that it was trained "
        f"on: {painted.resolve()}\n"
    )


def test_a_model_in_the_place_of_its_store_is_no_store(cli, model):
    status, _, err = cli("evaluate", model, model)

    assert status == 1
    assert f"{model} is a model, where a store would stand" in err


def test_a_store_in_the_place_of_a_model_is_told_how_to_train_on_it(cli, painted):
    status, out, err = cli("evaluate", painted)

    assert (status, out) == (1, "")
    assert err == (
        f"Error: {painted} is a store, where a model would stand. To train one on it: "
        f"python -m heads fit {painted}\n"
    )


def test_predict_with_the_demos_backbone(cli, tmp_path):
    import extract
    from extract.digits import write_pngs

    write_pngs(tmp_path / "digits")
    extract.run(tmp_path / "digits", backbone="digits")
    cli("fit", tmp_path / "digits.features", "--estimator", "ridge")
    status, out, _ = cli("predict", tmp_path / "digits.head", tmp_path / "digits")
    facts = json.loads(
        cli("predict", tmp_path / "digits.head", tmp_path / "digits" / "5", "--json")[1]
    )

    assert status == 0
    assert out.splitlines()[0] == f"{tmp_path}/predictions.csv: 896 images, 0 of them bad"
    assert out.splitlines()[-1] == f"Next: python -m heads report {tmp_path}/digits.head"
    assert facts["images"] == sum(facts["labels"].values()) == 182
    assert facts["labels"]["5"] > 170


def test_estimators_lists_names_and_defaults(cli):
    status, out, _ = cli("estimators")
    facts = json.loads(cli("estimators", "logistic", "--json")[1])

    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:9]] == [
        *["logistic", "ridge", "svm", "lda", "prototype", "knn", "linear", "mlp"]
    ]
    assert facts["defaults"]["Cs"] == 10


@pytest.mark.parametrize("command", get_command(app).commands)
def test_every_help_has_an_example(cli, command):
    status, out, _ = cli(command, "--help")

    assert status == 0
    assert f"python -m heads {command}" in " ".join(out.split())


def test_a_forgotten_command_is_suggested(cli):
    status, _, err = cli("photos.features")

    assert status == 2
    assert "Did you mean: python -m heads fit photos.features" in err


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_in_the_middle_of_training_leaves_no_model(painted, tmp_path, signal_):
    """A process that is stopped while it trains, with an older model at the same place."""
    before = tree(tmp_path)
    words = ["fit", str(painted), "--column", "last", "--estimator", "mlp"]
    code = (
        # A suite that is started in the background has its children ignore SIGINT.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys, heads.cli; sys.argv = ['heads', *sys.argv[1:]]\n"
        "from heads import fitting\n"
        "real = fitting.train\n"
        "def train(*a, **k):\n"
        "    k['on_epoch'] = lambda row: print('training', flush=True)\n"
        "    return real(*a, **k)\n"
        "fitting.train = train\n"
        "heads.cli.main()"
    )
    settings = ["--set", "epochs=100000", "--set", "early_stopping=none"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words, *settings],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline().strip() == "training"
    time.sleep(0.2)
    process.send_signal(signal_)
    _, err = process.communicate(timeout=60)

    assert process.returncode in (console.STOPPED, -signal_)
    assert signal_ == signal.SIGTERM or err.strip() == "Stopped. Nothing was written."
    assert tree(tmp_path) == before
