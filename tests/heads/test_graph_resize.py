"""The resize in a graph is the resize of extraction: every policy, every awkward size."""

from itertools import product

import keras
import numpy as np
import pytest

from extract import resize
from extract.recipe import PixelPolicy
from heads import graph_resize

SIZES = [(1, 1), (17, 300), (200, 150), (20, 25), (31, 33), (32, 32), (1, 500), (487, 333)]
RATIOS = [{}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}]
POLICIES = [
    {"interpolation": interpolation, "antialias": antialias, **ratio}
    for interpolation, antialias, ratio in product(
        ("bilinear", "nearest", "bicubic"), (False, True), RATIOS
    )
]


def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def graph(policy):
    pixels = keras.Input((None, None, 3))
    return keras.Model(pixels, graph_resize.resize(pixels, policy))


def words(facts):
    return "-".join(str(v if isinstance(v, str) else k) for k, v in facts.items() if v)


@pytest.mark.parametrize("facts", POLICIES, ids=words)
def test_the_graph_gives_what_extraction_gives(facts):
    """Within 2e-4 grey levels: both compute in float32, in another order."""
    policy = PixelPolicy(image_size=32, **facts)
    model = graph(policy)

    for picture in pictures():
        found = model(picture[None].astype(np.float32))[0]
        np.testing.assert_allclose(found, resize.resize(picture, policy), rtol=0, atol=2e-4)


@pytest.mark.parametrize("facts", [POLICIES[0], POLICIES[-1]], ids=words)
def test_pictures_of_a_batch_do_not_touch_each_other(facts):
    policy = PixelPolicy(image_size=32, **facts)
    batch = np.stack([pictures()[2], pictures()[2][::-1]])

    found = graph(policy)(batch.astype(np.float32))

    expected = np.stack([resize.resize(picture, policy) for picture in batch])
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)


def test_a_graph_that_was_saved_and_loaded_gives_the_same_bits(tmp_path):
    model = graph(PixelPolicy(image_size=32, interpolation="bicubic", pad_to_aspect_ratio=True))
    picture = pictures()[1][None].astype(np.float32)

    model.save(tmp_path / "graph.keras")
    loaded = keras.saving.load_model(tmp_path / "graph.keras", safe_mode=True)

    np.testing.assert_array_equal(loaded(picture), model(picture))


def test_a_square_of_the_size_wanted_is_left_as_it_is():
    picture = pictures()[5][None].astype(np.float32)

    for facts in POLICIES:
        found = graph(PixelPolicy(image_size=32, **facts))(picture)
        np.testing.assert_allclose(found, picture, rtol=0, atol=1e-4)
