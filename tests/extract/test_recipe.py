"""Recipes: one key for one meaning, pinned, and a difference that names its field."""

import json
from dataclasses import replace

import pytest

from extract.errors import InputError, StoreFormatError
from extract.recipe import (
    Column,
    LayerRequest,
    PixelPolicy,
    Preprocessing,
    Recipe,
    canonical_json,
    first_difference,
)

PLAIN = Recipe(graph_digest="0" * 64, weights_digest="1" * 64)
SIGNATURE = {"engine": "openvino", "version": "1", "instructions": "x"}


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (PLAIN, "2056f75e17d0b8c1"),
        (replace(PLAIN, pixels=PixelPolicy(image_size=160)), "cc408b06fc1828a7"),
        (
            replace(PLAIN, preprocessing=Preprocessing(scale=(2, 2, 2), flip=True)),
            "87db603671bfbb92",
        ),
        (replace(PLAIN, arguments={"alpha": 0.35}), "94713df1e051cde2"),
        (replace(PLAIN, precision="bfloat16", signature=SIGNATURE), "c57b7f8ebb2ee5ca"),
    ],
    ids=["plain", "smaller", "preprocessing", "arguments", "bfloat16"],
)
def test_keys_stay_the_same(recipe, expected):
    """Users keep stores for years: a new release must still find them."""
    assert recipe.key[:16] == expected


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"pixels": PixelPolicy(interpolation="nearest")}, "pixels.interpolation"),
        ({"pixels": PixelPolicy(exif_orientation=False)}, "pixels.exif_orientation"),
        ({"arguments": {"alpha": 0.5}, "graph_digest": "2" * 64}, "arguments.alpha"),
        ({"weights_digest": "2" * 64}, "weights_digest"),
        ({"precision": "bfloat16", "signature": SIGNATURE}, "precision"),
    ],
)
def test_every_field_decides_the_key_and_is_named(change, field):
    other = replace(PLAIN, **change)

    assert other.key != PLAIN.key
    assert first_difference(PLAIN, other)[0] == field
    assert first_difference(other, other) is None


def test_a_recipe_survives_json():
    recipe = replace(PLAIN, arguments={"alpha": 0.35}, preprocessing=Preprocessing(flip=True))
    again = Recipe.from_json(json.loads(canonical_json(recipe.to_json())))

    assert again.key == recipe.key
    assert again == recipe


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {**PLAIN.to_json(), "version": 2},
        {**PLAIN.to_json(), "new": 1},
        {**PLAIN.to_json(), "pixels": {"image_size": 1}},
    ],
    ids=["empty", "newer", "unknown field", "impossible size"],
)
def test_a_recipe_of_another_format_is_refused(facts):
    with pytest.raises(StoreFormatError):
        Recipe.from_json(facts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 7}, "--image-size is 8 to 4096.*Received: 7"),
        ({"interpolation": "lanczos"}, "--interpolation is one of bilinear.*'lanczos'"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "Received: both"),
    ],
)
def test_an_impossible_policy_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        PixelPolicy(**options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out_relu", LayerRequest("out_relu")),
        ("out_relu:max", LayerRequest("out_relu", "max")),
        ("Identity:0:max", LayerRequest("Identity:0", "max")),
    ],
)
def test_layers_are_read(text, expected):
    assert LayerRequest.parse(text) == expected


@pytest.mark.parametrize("text", ["", ":avg", "out_relu:", "out_relu:mean", "a:b:c"])
def test_a_layer_that_cannot_be_read_is_refused(text):
    with pytest.raises(InputError, match="Received"):
        LayerRequest.parse(text)


def test_a_columns_name_does_not_decide_its_identity():
    one, two = (Column(operation=5, layer=name) for name in ("relu", "activation_17"))

    assert one.canonical == two.canonical == "5:avg:0:float32"
