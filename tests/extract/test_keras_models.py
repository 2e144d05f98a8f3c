"""A user's Keras model as backbone: its features are those of its own call."""

import keras
import numpy as np
import pytest

import extract
from extract.backbones import BackboneSpec
from extract.errors import BackboneError, StaleStoreError
from extract.identity import graph_digest, weights_digest
from extract.keras_graph import build, feature_model, resolve
from extract.keras_models import load_keras
from extract.recipe import LayerRequest
from tests.extract.keras_models import as_tf, saved, small_model


def pixels(size=16, count=2):
    return np.random.default_rng(1).uniform(0, 255, (count, size, size, 3)).astype("float32")


def spec(path, **facts):
    return BackboneSpec(name=str(path), **facts)


def test_features_are_those_of_the_model(tmp_path):
    model = small_model()
    built = build(spec(saved(model, tmp_path / "mine.keras"), preprocessing="tf"), 16)
    found = feature_model(built, resolve(built, [LayerRequest("last", "none")]))(pixels())
    np.testing.assert_allclose(found, model(as_tf(pixels())), rtol=0, atol=1e-5)


def test_names_and_digests_are_those_of_the_file(tmp_path):
    model = small_model()
    built = build(spec(saved(model, tmp_path / "mine.keras")), 16)
    assert [row.name for row in built.layers] == ["image", "conv", "bn", "relu", "last"]
    assert graph_digest(built.model) == graph_digest(model)
    assert weights_digest(built.model) == weights_digest(model)
    assert built.weights_path == tmp_path / "mine.keras"


def test_a_model_of_any_size_and_type_takes_the_asked_size_in_float32(tmp_path):
    """A model for raw files begins with uint8; what it computes does not depend on that."""
    image = keras.Input((None, None, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.RandomFlip()(x)  # does nothing outside training
    model = keras.Model(image, keras.layers.Conv2D(4, 3, name="conv")(x))
    found = load_keras(saved(model, tmp_path / "any.keras"), 24)
    assert found.input_shape == (None, 24, 24, 3)
    assert found.input.dtype == "float32"
    whole = pixels(24).round()
    np.testing.assert_allclose(
        found(whole, training=False), model(whole.astype("uint8"), training=False), atol=1e-6
    )


def test_nested_models_are_written_out(tmp_path):
    inner = small_model(name="inner")
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, keras.layers.Flatten()(inner(image)))
    built = build(spec(saved(model, tmp_path / "nested.keras")), 16)
    assert {"conv", "bn", "relu", "last"} <= {row.name for row in built.layers}


def two_inputs():
    a, b = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([a, b], keras.layers.Add()([a, b]))


def plain(shape):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten()])


def half():
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, dtype="float16")])


def unbuilt():
    return keras.Sequential([keras.layers.Conv2D(2, 3, dtype="float32")])


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (two_inputs, "takes 2 inputs, expected one image"),
        (lambda: plain((8, 8, 1)), r"inputs of shape \(8, 8, 1\), expected images \(height, wid"),
        (lambda: plain((64,)), r"inputs of shape \(64,\)"),
        (lambda: plain((12, 12, 3)), "12 x 12 pixels, and --image-size is 8. Give --image-size 12"),
        (lambda: plain((8, 6, 3)), "8 x 6 pixels.*Save it for squares"),
        (half, "layer 'conv2d.*' computes in float16. Save the model with every layer in float32"),
        (unbuilt, "is no graph of operations"),
    ],
)
def test_a_model_of_something_else_is_one_line(tmp_path, make, words):
    path = saved(make(), tmp_path / "other.keras")
    with pytest.raises(BackboneError, match=words) as caught:
        load_keras(path, 8)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"name": "gone.keras"}, "There is no backbone gone.keras. Give --backbone"),
        ({"arguments": {"alpha": 1}}, "takes no arguments. Received: alpha"),
        ({"weights": "random"}, "weights of .* are its own: leave --weights out"),
    ],
)
def test_what_does_not_go_with_a_file_is_one_line(tmp_path, facts, words):
    (tmp_path / "mine.keras").touch()
    with pytest.raises(BackboneError, match=words):
        BackboneSpec(**{"name": str(tmp_path / "mine.keras"), **facts})


def test_preprocessing_is_for_files_alone():
    with pytest.raises(BackboneError, match="mobilenet_v2 brings its own preprocessing: leave"):
        BackboneSpec(preprocessing="tf")


def test_a_file_that_moved_is_given_as_the_weights(tmp_path):
    (tmp_path / "new.keras").touch()
    locators = {"name": "/old.keras", "arguments": {}, "weights": "own", "preprocessing": "tf"}
    moved = BackboneSpec.located_at(locators, str(tmp_path / "new.keras"))
    assert moved.locators == {**locators, "name": str(tmp_path / "new.keras")}


@pytest.mark.parametrize("last", ["last", "other"], ids=["a deeper model", "no such layer"])
@pytest.mark.parametrize(
    ("size", "field"),
    [(16, "graph_digest="), (24, "pixels.image_size=16, but this run asks for 24")],
)
def test_another_model_in_the_place_of_the_first_is_a_stale_store(
    photos, tmp_path, last, size, field
):
    """Also where the store's columns are of layers that the other model lacks."""
    own = saved(small_model(), tmp_path / "own.keras")
    extract.run(photos, backbone=own, preprocessing="none")
    image = keras.Input((size, size, 3))
    x = image
    for _ in range(5):
        x = keras.layers.Conv2D(3, 1)(x)
    saved(keras.Model(image, keras.layers.Conv2D(5, 3, name=last)(x)), own)

    for options in ({}, {"image_size": size}, {"layers": [last]}):
        with pytest.raises(StaleStoreError, match=field):
            extract.run(photos, backbone=own, preprocessing="none", **options)


def test_a_layer_that_the_stores_own_model_lacks_is_named(photos, tmp_path):
    own = saved(small_model(), tmp_path / "own.keras")
    extract.run(photos, backbone=own, preprocessing="none")
    with pytest.raises(BackboneError, match="own.keras has no layer 'lost'"):
        extract.run(photos, backbone=own, preprocessing="none", layers=["lost"])
