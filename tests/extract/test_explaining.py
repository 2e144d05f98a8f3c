"""explain names every field in which a store and a run differ, and the cost; it touches nothing."""

import json
from pathlib import Path

import pytest

import extract
from extract.backbones import BackboneSpec
from extract.errors import BackboneError, InputError, StoreError
from extract.explaining import explain
from extract.plan import Settings
from extract.recipe import LayerRequest, PixelPolicy
from tests.helpers import tree

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture
def store(photos):
    return Path(extract.run(photos, backbone="digits", image_size=32).store)


def settings(*layers, name="digits", **policy):
    policy = {"image_size": 32} | policy
    return Settings(
        spec=BackboneSpec(name=name),
        pixels=PixelPolicy(**policy),
        layers=tuple(map(LayerRequest.parse, layers)),
    )


def test_the_same_run_costs_nothing(store):
    before = tree(store)
    found = explain(store, settings())

    assert (found.fits, found.differences, found.missing_columns) == (True, (), ())
    assert (found.cost.extract, found.cost.disk, found.cost.seconds) == (0, 0, 0.0)
    assert tree(store) == before


def test_every_field_that_differs_is_named(store):
    found = explain(store, settings(image_size=64, interpolation="nearest"))

    assert found.differences == (
        ("pixels.image_size", 32, 64),
        ("pixels.interpolation", "bilinear", "nearest"),
    )
    assert (found.cost.known, found.cost.extract) == (0, 13)
    assert found.cost.images_per_second > 0


def test_another_backbone_is_named_first(store, monkeypatch):
    found = explain(store, settings(name="mobilenet_v2", image_size=64))

    assert found.differences[0] == ("backbone", "digits", "mobilenet_v2")


def test_a_missing_column_costs_the_known_images_and_keeps_the_store(store):
    found = explain(store, settings("3:max"))

    assert (found.fits, found.missing_columns) == (True, ("3:max",))
    assert (found.cost.extract, found.cost.new) == (12, 0)


def test_without_the_images_the_time_is_unknown(store, tmp_path):
    store.with_name("photos").rename(tmp_path / "moved")
    found = explain(store, settings(image_size=64))

    assert (found.images, found.cost.extract, found.cost.seconds) == (None, 13, None)
    assert explain(store, settings(), tmp_path / "moved").images == str(tmp_path / "moved")
    with pytest.raises(InputError, match="--images"):
        explain(store, settings(), tmp_path / "nowhere")


def test_arguments_tell_what_differs_where_there_are_no_weights(store, monkeypatch, cli):
    """The weights of another size are another file, which need not be here to say so."""
    monkeypatch.setattr("extract.explaining.make_plan", _no_weights)

    found = explain(store, settings(image_size=64))
    assert (found.differences, found.fits) == ((("pixels.image_size", 32, 64),), False)
    assert (found.cost, found.missing) == (None, "no weights")
    assert explain(store, settings(name="resnet50")).differences == (
        ("backbone", "digits", "resnet50"),
    )
    with pytest.raises(BackboneError, match="no weights"):
        explain(store, settings())

    words = ("explain", store, "--backbone", "digits", "--image-size", "64")
    status, out, err = cli(*words)
    assert (status, "no weights" in out + err, "pixels.image_size" in out + err) == (0, True, True)
    assert json.loads(cli(*words, "--json")[1])["cost"] is None


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2)])
def test_the_next_command_has_the_options_and_the_store_once(store, cli, order):
    parts = [[f"{store}/"], ["--backbone", "digits"], ["--image-size=32"]]
    status, out, _ = cli("explain", *[word for at in order for word in parts[at]])
    images = store.with_suffix("")

    assert status == 0
    assert out.splitlines()[-1] == (
        f"Next: python -m extract run {images} --store {store} --backbone digits --image-size=32"
    )


def _no_weights(*_):
    raise BackboneError("no weights")


def test_what_is_no_store_is_one_line(tmp_path):
    with pytest.raises(StoreError, match="not a store"):
        explain(tmp_path, settings())
