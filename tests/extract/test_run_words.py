"""The command that a message gives runs a store's own recipe again, whatever was asked for."""

import shlex

import pytest

import extract
from extract.run_words import run_command


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--backbone-arg alpha=0.35",
        "--backbone-arg alpha=1.0",  # the default
        "--weights random",
        "--image-size 96",
        "--backbone xception --image-size 224",  # it was made for 299
        "--interpolation nearest --antialias --crop-to-aspect-ratio --no-exif-orientation",
        "--layer last:flatten --layer 3",
        "--dtype float16",
        "--views 3 --augment flip,rotation=0.1",
        "--format hdf5",
    ],
)
def test_the_command_gives_the_same_store(cli, photos, fake_backbone, words):
    store = f"{photos}.features"
    assert cli("run", photos, *words.split())[0] == 0
    before = extract.open_store(store)
    python, m, package, *again = shlex.split(run_command(store, str(photos)))

    assert (python, m, package) == ("python", "-m", "extract")
    status, out, _ = cli(*again)
    after = extract.open_store(store)
    assert status == 0
    assert "0 extracted" in out
    assert after.recipe.key == before.recipe.key
    assert after.root_digest == before.root_digest


def test_a_command_says_no_more_than_it_must(photos):
    store = extract.run(photos, backbone="digits").store

    assert run_command(store, "IMAGES") == (
        f"python -m extract run IMAGES --store {store} --backbone digits"
    )


def test_a_store_that_does_not_say_how_it_was_made_is_named_alone(tmp_path):
    store = str(tmp_path / "photos.features")

    assert run_command(store, "photos") == f"python -m extract run photos --store {store}"
