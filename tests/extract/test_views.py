"""Views depend on image key and number alone, and are what Keras' layers would have made."""

import hashlib

import keras
import numpy as np
import pytest

from extract.augment import FLIP_PROBABILITY, NAMES, Augmentation, Operation, crop_start
from extract.views import apply, draw, make_view

SIZE = 40
KEYS = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(2000)]
EXAMPLES = {
    "flip": ("horizontal", "vertical", "horizontal_and_vertical"),
    "rotation": (0.1, 1.0),
    "zoom": (0.2, 0.9),
    "translation": (0.1, 1.0),
    "crop": (0.8, 0.33),
    "contrast": (0.2, 1.0),
    "brightness": (0.2, 1.0),
}
PINNED = {"angle": -29.91787051198382, "down": -0.4155314659816858, "right": 0.25553808720429316}
OPERATIONS = [Operation(name, value) for name in NAMES for value in EXAMPLES[name]]


@pytest.fixture(scope="module")
def picture():
    """Noise from end to end of the range, so that a shift of a pixel shows."""
    return np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32)


def layers_of(operation):
    """Return Keras' random layer, seeded, and the layers that follow it."""
    (name, arguments), *rest = operation.keras_layers(SIZE)
    first = getattr(keras.layers, name)(**arguments, seed=0)
    return first, [getattr(keras.layers, name)(**arguments) for name, arguments in rest]


def drawn_by_keras(operation, transformation):
    """Return our parameters as Keras drew them: name → (n,) numbers."""
    if operation.name == "flip":
        return {"flip": np.where(transformation["flips"], 0.0, 1.0).ravel()}
    if operation.name == "rotation":
        return {"angle": np.asarray(transformation["angle"])}
    if operation.name == "zoom":
        assert np.array_equal(transformation["height_zoom"], transformation["width_zoom"])
        return {"zoom": np.asarray(transformation["height_zoom"]).ravel()}
    if operation.name == "translation":
        moved = np.asarray(transformation["translations"]) / SIZE
        return {"right": moved[:, 0], "down": moved[:, 1]}
    if operation.name == "contrast":
        return {"contrast": np.asarray(transformation["contrast_factor"]).ravel()}
    if operation.name == "brightness":
        return {"brightness": np.asarray(transformation["rgb_delta"]).ravel()}
    top, left = transformation
    return {"top": np.array([int(top)]), "left": np.array([int(left)])}


def as_kept(operation, name, values):
    """Turn what was drawn into what decides pixels: a coin, a place, or the number itself."""
    if name == "flip":
        return (np.asarray(values) <= FLIP_PROBABILITY).astype(float)
    if operation.name == "crop":
        side = operation.crop_side(SIZE)
        return np.array([crop_start(share, SIZE, side) for share in values], float)
    return np.asarray(values)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda x: x.canonical)
def test_keras_draws_from_the_same_distribution(operation):
    """Kolmogorov-Smirnov with 2000 draws each (100 for a crop, one a call): seeds are fixed."""
    from scipy.stats import ks_2samp

    layer, _ = layers_of(operation)
    if operation.name == "crop":
        calls = [layer.get_random_transformation(np.zeros((1, SIZE, SIZE, 3))) for _ in range(100)]
        theirs = {
            name: np.array([int(call[axis]) for call in calls], float)
            for axis, name in enumerate(("top", "left"))
        }
    else:
        many = np.zeros((len(KEYS), SIZE, SIZE, 3), np.float32)
        transformation = layer.get_random_transformation(many)
        theirs = {
            name: as_kept(operation, name, values)
            for name, values in drawn_by_keras(operation, transformation).items()
        }
    drawn = [draw(operation, key, 1) for key in KEYS]

    assert theirs.keys() == operation.draws.keys()
    for name, values in theirs.items():
        ours = as_kept(operation, name, [one[name] for one in drawn])
        assert ks_2samp(ours, values).pvalue > 1e-3
        low, high = operation.draws[name]
        assert all(low <= one[name] < high for one in drawn)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda x: x.canonical)
def test_keras_gives_the_same_pixels_for_the_same_draw(operation, picture):
    """0.05 grey levels: float32 on both sides, with edges of 255 levels between neighbors."""
    layer, following = layers_of(operation)
    for _ in range(5):
        transformation = layer.get_random_transformation(picture[None])
        expected = layer.transform_images(picture[None], transformation, training=True)
        for resizing in following:
            expected = resizing(expected)
        drawn = {k: float(v[0]) for k, v in drawn_by_keras(operation, transformation).items()}
        if operation.name == "crop":
            places = SIZE - operation.crop_side(SIZE) + 1
            drawn = {name: (place + 0.5) / places for name, place in drawn.items()}
        found = apply(operation, picture, drawn)

        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.asarray(expected)[0], atol=0.05)


def test_draws_are_independent_of_each_other():
    """Across images, views and parameters: correlations of 2000 draws stay below 0.1."""
    text = "flip,rotation=1,zoom=0.5,translation=1,crop=0.5,contrast=1,brightness=1"
    rows = [
        [
            value
            for view in (1, 2)
            for operation in Augmentation.parse(text).operations
            for value in draw(operation, key, view).values()
        ]
        for key in KEYS
    ]
    correlations = np.corrcoef(np.array(rows).T)

    assert np.abs(correlations - np.eye(len(correlations))).max() < 0.1


def test_views_stay_the_same():
    """Stores keep views for years: what a key and a number draw is pinned."""
    drawn = draw(Operation("rotation", 0.1), "0" * 64, 1) | draw(
        Operation("translation", 0.5), "0" * 64, 3
    )

    assert drawn == pytest.approx(PINNED, abs=1e-15)


def test_view_zero_is_the_picture(picture):
    assert make_view(picture, Augmentation.parse("flip,brightness=0.5"), KEYS[0], 0) is picture


def test_a_view_is_its_operations_from_left_to_right(picture):
    first, second = Operation("rotation", 0.1), Operation("crop", 0.5)
    both = make_view(picture, Augmentation((first, second)), KEYS[0], 3)
    by_hand = apply(first, picture, draw(first, KEYS[0], 3))
    by_hand = apply(second, by_hand, draw(second, KEYS[0], 3))

    np.testing.assert_array_equal(both, by_hand)
    other = make_view(picture, Augmentation((second, first)), KEYS[0], 3)
    assert not np.array_equal(both, other)


def test_the_picture_is_left_as_it_is_and_bytes_do_as_well_as_floats():
    picture = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    before = picture.copy()
    everything = Augmentation.parse(
        "flip=vertical,rotation=0.3,zoom=0.3,translation=0.3,crop=0.8,contrast=0.3,brightness=0.3"
    )
    for view in range(1, 5):
        found = make_view(picture, everything, KEYS[1], view)
        floats = make_view(picture.astype(np.float32), everything, KEYS[1], view)

        assert (found.shape, found.dtype) == ((SIZE, SIZE, 3), np.float32)
        np.testing.assert_array_equal(found, floats)
        np.testing.assert_array_equal(picture, before)
        assert 0 <= found.min() <= found.max() <= 255
