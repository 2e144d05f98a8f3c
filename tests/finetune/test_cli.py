"""The command line says what it did, and one line where it cannot."""

import json
import sys

import pytest

from finetune import cli


def typed(monkeypatch, capsys, *words):
    """Return (exit status, stdout, stderr) of a command."""
    monkeypatch.setattr(sys, "argv", ["finetune", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_plan_shows_what_trains_and_what_cuts_save(store, head, monkeypatch, capsys):
    status, out, err = typed(
        monkeypatch,
        capsys,
        "plan",
        store,
        "--head",
        head.path,
        "--unfreeze",
        "from:conv4",
        "--unfreeze",
        "last:3",
        "--json",
    )
    found = json.loads(out.splitlines()[-1])

    assert status == 0
    assert found["plans"][0]["trainable_weights"] == 3
    assert found["plans"][0]["cut"] == "relu3"
    cut = next(cut for cut in found["cuts"] if cut["name"] == "relu3")
    assert cut["kib_per_image"] == 4 * 4 * 64 * 2 / 1024
    assert cut["disk_bytes"] == 54 * 4 * 4 * 64 * 2
    assert cut["speedup"] > 0
    tried = "--unfreeze from:conv4 --unfreeze last:3"
    assert (
        err.splitlines()[-1] == f"Next: python -m finetune run {store} --head {head.path} {tried}"
    )


def test_run_prints_one_object_and_the_command_for_the_test_figure(
    store, head, monkeypatch, capsys
):
    out = store.with_name("cli.tuned")
    words = (store, "--head", head.path, "--out", out, "--unfreeze", "from:conv4", "--epochs", "1")
    status, printed, err = typed(monkeypatch, capsys, "run", *words, "--mode", "suffix", "--json")
    found = json.loads(printed)

    assert status == 0
    assert found["head_validation_accuracy"] <= found["validation_accuracy"] <= 1
    assert found["epoch_seconds"] > 0
    assert (found["mode"], found["trainable_weights"]) == ("suffix", 5)
    assert found["kept"] in ("head", "tuned", "interpolated")
    assert err.strip().splitlines()[-1] == f"Next: python -m heads evaluate {out}"
    assert "--unfreeze from:conv4: 3 of 14 layers train, 3 weights" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--unfreeze", "from:konv4"], "has no layer or block 'konv4': did you mean conv4"),
        (["--mode", "suffix", "--augment", "flip"], "drawn once and then stay the same"),
        (["--mode", "suffix", "--unfreeze", "all"], "No set of tensors can be kept"),
        (["--augment", "spin=1"], "Unknown augmentation 'spin'"),
        (["--optimizer", "nope"], "keras.optimizers has no optimizer 'nope'"),
    ],
)
def test_errors_are_one_line(store, head, monkeypatch, capsys, words, message):
    status, _, err = typed(monkeypatch, capsys, "run", store, "--head", head.path, *words)
    last = err.strip().splitlines()[-1]

    assert status == 1
    assert last.startswith("Error: ")
    assert message in last
    assert "Decoding" not in err  # all that can be known is told before work begins


def test_a_place_that_cannot_be_written_is_told_before_anything_is_decoded(
    store, head, monkeypatch, capsys, tmp_path
):
    (tmp_path / "file").write_bytes(b"")
    out = tmp_path / "file" / "x.tuned"
    words = (store, "--head", head.path, "--out", out)
    status, _, err = typed(monkeypatch, capsys, "run", *words)

    assert status == 1
    assert err == (
        f"Error: The model cannot be written to {out}: Not a directory. Give --out a folder that "
        f"can be written\n"
    )


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_model_in_the_place_of_a_store_is_one_line(store, head, monkeypatch, capsys, command):
    status, out, err = typed(monkeypatch, capsys, command, head.path)

    assert (status, out) == (1, "")
    assert err == (
        f"Error: {head.path} is a model, where a store would stand. Give the one that it was "
        f"trained on: {store.resolve()}\n"
    )
