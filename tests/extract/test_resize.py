import warnings
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.recipe import PixelPolicy
from extract.resize import TALL, interpolation_matrix, resize

SIZES = [
    (1, 1),
    (1, 7),
    (9, 1),
    (8, 8),
    (31, 45),
    (64, 32),
    (33, 97),
    (480, 640),
    (3, 1000),
    (1200, 2),
    (1001, 1000),
]
KERNELS = [
    (interpolation, antialias)
    for interpolation in ("bilinear", "nearest", "bicubic")
    for antialias in (False, True)
]
ASPECTS = ["stretch", "crop", "pad"]


def policy_of(size, interpolation="bilinear", antialias=False, aspect="stretch"):
    return PixelPolicy(
        image_size=size,
        interpolation=interpolation,
        antialias=antialias,
        crop_to_aspect_ratio=aspect == "crop",
        pad_to_aspect_ratio=aspect == "pad",
    )


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def keras_resize(pixels, policy):
    """Keras' own layer on the TensorFlow backend, in float32 as in the joined model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what TensorFlow warns of at import is not our subject
        import keras
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the reference is Keras' TensorFlow backend; set KERAS_BACKEND=tensorflow")
    layer = keras.layers.Resizing(
        policy.image_size,
        policy.image_size,
        interpolation=policy.interpolation,
        antialias=policy.antialias,
        crop_to_aspect_ratio=policy.crop_to_aspect_ratio,
        pad_to_aspect_ratio=policy.pad_to_aspect_ratio,
    )
    return np.asarray(layer(pixels.astype(np.float32)))


@cache
def exact_bilinear(source, target):
    """The definition, in float64: half-pixel centers, edges repeated."""
    at = (np.arange(target) + 0.5) * source / target - 0.5
    below = np.floor(at).astype(int)
    matrix = np.zeros((target, source))
    rows = np.arange(target)
    np.add.at(matrix, (rows, below.clip(0, source - 1)), 1 - (at - below))
    np.add.at(matrix, (rows, (below + 1).clip(0, source - 1)), at - below)
    return matrix


@pytest.mark.parametrize("size", [8, 31, 224])
@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize(("interpolation", "antialias"), KERNELS)
def test_every_policy_gives_what_keras_gives(interpolation, antialias, aspect, size):
    """The joined model resizes by itself, and has to see what the cache was made from."""
    policy = policy_of(size, interpolation, antialias, aspect)
    # TensorFlow computes positions in float32: off by 2**-23 of the side, which in noise costs up
    # to 255 levels per pixel of distance. Nearest and plain bicubic follow it to the bit in that.
    exact = interpolation == "nearest" or (interpolation == "bicubic" and not antialias)
    for height, width in SIZES:
        tolerance = 1e-3 if exact else 1e-3 + 255 * (height + width) * 2.0**-23
        if interpolation == "nearest":
            tolerance = 0
        pixels = picture(height, width)

        np.testing.assert_allclose(
            resize(pixels, policy),
            keras_resize(pixels, policy),
            rtol=0,
            atol=tolerance,
            err_msg=f"{height} x {width}",
        )


@pytest.mark.parametrize("shape", [(375, 500), (200, 200), (1944, 2592), (20, 5000), (448, 448)])
def test_the_default_is_exact_bilinear(shape):
    """Within 1e-4 grey levels: float32 has 24 bits, and OpenCV's positions are in float64."""
    pixels = picture(*shape)
    rows, columns = (exact_bilinear(side, 224) for side in shape)
    exact = np.einsum("yh,hwc,xw->yxc", rows, pixels.astype(np.float64), columns, optimize=True)

    np.testing.assert_allclose(resize(pixels, PixelPolicy()), exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("height", [TALL * 32, TALL * 32 + 1, 1000])
def test_picking_rows_first_changes_nothing(height):
    """Tall pictures take another road; it leads to the same place."""
    pixels = picture(height, 50)
    rows, columns = exact_bilinear(height, 32), exact_bilinear(50, 32)
    exact = np.einsum("yh,hwc,xw->yxc", rows, pixels.astype(np.float64), columns, optimize=True)

    np.testing.assert_allclose(resize(pixels, policy_of(32)), exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize(("interpolation", "antialias"), KERNELS)
def test_the_right_size_is_only_cast(interpolation, antialias, aspect):
    pixels = picture(40, 40)

    resized = resize(pixels, policy_of(40, interpolation, antialias, aspect))

    np.testing.assert_array_equal(resized, pixels.astype(np.float32), strict=True)


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.integers(8, 48),
    kernel=st.sampled_from(KERNELS),
    aspect=st.sampled_from(["stretch", "crop"]),
    level=st.integers(0, 255),
)
def test_one_color_stays_that_color(height, width, size, kernel, aspect, level):
    """Weights sum to 1 at borders too; float32 sums of a few hundred weights err by 1e-5."""
    pixels = np.full((height, width, 3), level, np.uint8)

    resized = resize(pixels, policy_of(size, *kernel, aspect))

    assert resized.shape == (size, size, 3)
    assert resized.dtype == np.float32
    assert resized.flags.c_contiguous
    np.testing.assert_allclose(resized, level, rtol=1e-5)


def test_the_result_is_not_rounded():
    """Rounding to whole levels moves features by 1.6 %, measured."""
    ramp = np.arange(10, dtype=np.uint8)[:, None, None].repeat(10, 1).repeat(3, 2)

    resized = resize(ramp, policy_of(8))

    np.testing.assert_allclose(resized[:, 0, 0], np.arange(8) * 1.25 + 0.125, rtol=0, atol=1e-5)


def test_padding_is_black_and_centered():
    white = np.full((10, 20, 3), 255, np.uint8)

    resized = resize(white, policy_of(20, "nearest", aspect="pad"))

    np.testing.assert_array_equal(resized[5:15], 255)
    np.testing.assert_array_equal(resized[:5], 0)
    np.testing.assert_array_equal(resized[15:], 0)


def test_padding_a_long_strip_takes_no_memory_for_the_padding():
    """Around 60,000 x 1 pixels it would be 10 GB; the sum says the strip is all there."""
    strip = np.full((60_000, 1, 3), 255, np.uint8)

    resized = resize(strip, policy_of(8, "bilinear", antialias=True, aspect="pad"))

    assert resized.shape == (8, 8, 3)
    np.testing.assert_allclose(resized.sum(axis=1), 255 * 8 / 60_000, rtol=1e-3)


@pytest.mark.parametrize(("interpolation", "antialias"), KERNELS)
@pytest.mark.parametrize(("height", "width"), [(1, 5), (33, 97), (100, 31)])
def test_two_matrices_are_the_resize(height, width, interpolation, antialias):
    """So a graph that multiplies by them gives what the cache was made from."""
    pixels = picture(height, width)
    rows = interpolation_matrix(height, 32, interpolation, antialias)
    columns = interpolation_matrix(width, 32, interpolation, antialias)

    assert rows.shape == (32, height)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
    # Two float32 sums in different order, over values up to 255; positions as in the Keras test.
    np.testing.assert_allclose(
        np.einsum("yh,hwc,xw->yxc", rows, pixels.astype(np.float32), columns),
        resize(pixels, policy_of(32, interpolation, antialias)),
        rtol=0,
        atol=2e-3,
    )


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ((2, 4, "bilinear"), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]),
        ((4, 2, "bilinear"), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]),
        ((4, 2, "bilinear", True), [[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]]),
        ((3, 2, "nearest"), [[1, 0, 0], [0, 0, 1]]),
        ((2, 1, "bicubic"), [[0.5, 0.5]]),
    ],
    ids=["up", "down", "down, antialias", "nearest", "bicubic"],
)
def test_weights_are_those_of_the_textbook(call, expected):
    np.testing.assert_allclose(interpolation_matrix(*call), expected, rtol=1e-6)
