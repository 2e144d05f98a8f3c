"""The command line: exit statuses, one line per error, JSON last, the next command."""

import io
import json

import numpy as np
import pytest
from typer.main import get_command

from extract.cli import app
from tests.helpers import tree

OBJECT = {
    "items",
    "rows",
    "extracted",
    "copied",
    "reused",
    "bad",
    "seconds",
    "images_per_second",
    "decode_seconds",
    "forward_seconds",
    "snapshot",
    "root_digest",
}


def npz(**arrays):
    """Return the bytes of an `.npz` file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


PICKLED = npz(x=np.array([None, 1], object))


def test_run_prints_what_it_did_and_the_next_command(cli, photos, fake_backbone):
    status, out, _ = cli("run", photos, "--backbone", "digits")

    assert status == 0
    assert "13 items = 13 good + 0 undecodable + 0 unreadable" in out
    assert "12 distinct images: 12 extracted, 0 copied, 0 reused" in out
    assert out.splitlines()[-1] == f"Next: python -m extract info {photos}.features"


def test_plan_says_what_a_run_would_do_and_gives_its_command(cli, photos, fake_backbone):
    before = tree(photos.parent)
    status, out, _ = cli("run", photos, "--backbone", "digits", "--plan")

    assert status == 0
    assert "13 items: 0 known, 13 to read; up to 13 images to extract" in out
    assert out.splitlines()[-1] == f"Next: python -m extract run {photos} --backbone digits"
    assert tree(photos.parent) == before


def test_json_is_one_object_alone_on_stdout(cli, photos, fake_backbone):
    status, out, err = cli("run", photos, "--backbone", "digits", "--json")
    facts = json.loads(out)

    assert status == 0
    assert facts.keys() >= OBJECT
    assert (facts["items"], facts["extracted"]) == (13, 12)
    assert "Next: " in err


@pytest.mark.parametrize("command", [["run", "--plan"], ["preview"]])
def test_the_next_command_is_for_people(cli, photos, fake_backbone, command):
    _, _, err = cli(command[0], photos, "--backbone", "digits", *command[1:], "--json")

    assert err.splitlines()[-1] == f"Next: python -m extract run {photos} --backbone digits"


@pytest.mark.parametrize("command", ["info", "verify", "repair"])
def test_every_command_on_a_store_has_json(cli, photos, fake_backbone, command):
    cli("run", photos, "--backbone", "digits")
    status, out, _ = cli(command, f"{photos}.features", "--json")

    assert status == 0
    assert isinstance(json.loads(out), dict)


def test_too_many_bad_images_end_with_3_and_a_sealed_store(cli, photos, fake_backbone):
    for number in range(2):
        (photos / "cats" / f"bad{number}.jpg").write_bytes(b"no picture")
    status, out, _ = cli("run", photos, "--backbone", "digits", "--max-bad", "1", "--json")

    assert (status, json.loads(out)["bad"]) == (3, 2)
    assert cli("info", f"{photos}.features")[0] == 0
    assert cli("run", photos, "--backbone", "digits", "--max-bad", "2")[0] == 0
    assert cli("run", photos, "--backbone", "digits", "--max-bad", "14%")[0] == 0
    assert cli("run", photos, "--backbone", "digits", "--max-bad", "5%")[0] == 3


def test_verify_ends_with_1_and_names_the_file(cli, photos, fake_backbone):
    cli("run", photos, "--backbone", "digits")
    shard = next((photos.parent / "photos.features" / "shards").iterdir())
    shard.write_bytes(b"")
    status, out, _ = cli("verify", f"{photos}.features")

    assert status == 1
    assert f"shards/{shard.name}" in out
    assert out.splitlines()[-1] == f"Next: python -m extract repair {photos}.features"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos"], "Did you mean: python -m extract run photos"),
        (["my photos", "--json"], "Did you mean: python -m extract run 'my photos' --json"),
        (["rnu", "photos"], "Did you mean: python -m extract run photos"),
        (["verfy", "store"], "Did you mean: python -m extract verify store"),
        (["run"], "IMAGES"),
        (["run", "photos", "--bakbone", "x"], "--backbone"),
        (["run", "photos", "--batch-size", "many"], "--batch-size"),
    ],
)
def test_a_wrong_command_ends_with_2_and_says_what_was_meant(cli, words, message):
    status, out, err = cli(*words)

    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_no_words_at_all_show_the_help_and_no_error(cli):
    status, out, err = cli()

    assert (status, err) == (2, "")
    assert "Start here: python -m extract demo" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backbone", "mobilnet_v2"], "mobilenet_v2"),
        (["--backbone", "ResNet50V2"], "resnet50_v2"),
        (["--backbone-arg", "alpha"], "NAME=VALUE"),
        (["--backbone-arg", "depth=3"], "alpha"),
        (["--weights", "nowhere.h5"], "nowhere.h5"),
        (["--image-size", "0"], "8 to 4096"),
        (["--layer", "out_relu:mean"], "avg, max, flatten, none"),
        (["--dtype", "int8"], "float32, float16"),
        (["--precision", "float8"], "float32, bfloat16"),
        (["--format", "npy"], "zarr, hdf5"),
        (["--engine", "tpu"], "auto, openvino, keras"),
        (["--interpolation", "lanczos"], "bilinear, nearest, bicubic"),
        (["--batch-size", "0"], "at least 1"),
        (["--workers", "-1"], "at least 0"),
        (["--max-bad", "few"], "such as 10%"),
        (["--max-bad", "101%"], "such as 10%"),
        (["--max-bad", "nan%"], "such as 10%"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_end_with_1_and_one_line(cli, photos, options, message):
    before = tree(photos.parent)
    status, out, err = cli("run", photos, *options)

    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert message in err
    assert err.count("\n") == 1
    assert tree(photos.parent) == before


def test_a_table_and_the_folder_of_its_paths(cli, photos, tmp_path, fake_backbone):
    table = tmp_path / "tables" / "pets.csv"
    table.parent.mkdir()
    table.write_text("path,label\ncats/1.png,cat\ndogs/1.png,dog\n")
    words = ("run", table, "--images", photos, "--backbone", "digits")
    status, out, _ = cli(*words)

    assert status == 0
    assert "2 items = 2 good" in out
    assert out.splitlines()[-1] == f"Next: python -m extract info {table.parent / 'pets.features'}"
    assert "0 extracted, 0 copied, 2 reused" in cli(*words, "--rehash")[1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"file\na.png\n", "no column 'path'. Columns found: file"),
        ("t.csv", b"path\n../a.png\n", "leaves the folder"),
        ("t.csv", b"path\na.png\na.png\n", "'a.png' twice"),
        ("t.csv", b"path\n\xc4.png\n", "not in UTF-8"),
        ("t.npz", b"PK", "t.npz cannot be read"),
        ("t.npz", PICKLED, "t.npz holds Python objects, which could run any code"),
        ("t.zip", b"PK", "t.zip cannot be read as a zip"),
        ("t.tar", b"", "cannot be read as a tar archive"),
        ("t.txt", b"x", "is a file. IMAGES is a folder"),
    ],
)
def test_inputs_that_cannot_be_used_end_with_1_and_one_line(cli, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    before = tree(tmp_path)
    status, out, err = cli("run", tmp_path / name, "--backbone", "digits")

    assert (status, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert tree(tmp_path) == before


def test_help_has_an_example_for_every_command(cli):
    for command in get_command(app).commands:
        status, out, _ = cli(command, "--help")

        assert status == 0
        assert f"Example: python -m extract {command}" in " ".join(out.split())


def test_backbones_lists_every_model_with_its_weights(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    status, out, _ = cli("backbones", "--json")
    rows = {row["name"]: row for row in json.loads(out)["backbones"]}

    assert status == 0
    assert rows["mobilenet_v2"] == {
        "name": "mobilenet_v2",
        "image_size": 224,
        "features": 1280,
        "parameters": 2257984,
        "weights": "no",
    }
    assert rows["digits"]["weights"] == "yes"


def test_names_are_data_and_tables_are_never_cut(cli, photos, fake_backbone):
    """A class folder may be called anything: markup is not obeyed, and no number is lost."""
    long = "x" * 120
    (photos / "cats").rename(photos / "[bold]cats")
    (photos / "dogs").rename(photos / long)
    cli("run", photos, "--backbone", "digits")
    _, out, _ = cli("info", f"{photos}.features")

    assert "[bold]cats" in out
    assert next(line for line in out.splitlines() if line.startswith(long)).split()[-1] == "7"


def test_an_error_of_ours_keeps_its_traceback(cli, photos, monkeypatch):
    monkeypatch.setattr("extract.api.list_images", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("run", photos)
