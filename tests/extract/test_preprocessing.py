"""What is typed for --preprocessing becomes a scale and an offset per channel."""

import numpy as np
import pytest
from keras.src.applications import imagenet_utils

from extract.errors import InputError
from extract.preprocessing import PREPROCESSING, applied, parse_preprocessing


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_a_mode_is_kerass(mode):
    """Within 1e-6 of the largest value: a multiplication against a division."""
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 4, 3)).astype(np.float32)
    expected = imagenet_utils.preprocess_input(pixels.copy(), mode=mode)
    found = applied(pixels, parse_preprocessing(mode))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("none", (0, 0, 0), (255, 255, 255)),
        ("mean=0.5,std=0.5", (-1, -1, -1), (1, 1, 1)),
        ("mean=0,std=1", (0, 0, 0), (1, 1, 1)),
        ("mean=0.5,0.25,0, std=0.5,0.25,1", (-1, -1, 0), (1, 3, 1)),
    ],
)
def test_mean_and_std_are_of_pixels_in_0_to_1(text, low, high):
    steps = parse_preprocessing(text)
    ends = np.repeat(np.float32([[0], [255]]), 3, axis=1)
    np.testing.assert_allclose(applied(ends, steps), [low, high], rtol=0, atol=1e-6)


def test_imagenets_mean_and_std_are_the_torch_mode():
    assert (
        parse_preprocessing("mean=0.485,0.456,0.406,std=0.229,0.224,0.225")
        == PREPROCESSING["torch"]
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("imagenet", "one of tf, torch, caffe, none, or mean=.*Received: 'imagenet'"),
        ("mean=0.5", "one of tf, torch, caffe, none, or mean="),
        ("mean=1,2,std=1", "one number or three each"),
        ("mean=a,std=1", "one number or three each"),
        ("mean=nan,std=1", "one number or three each"),
        ("mean=123.7,116.3,103.5,std=58.4,57.1,57.4", "pixels in 0..1: divide by 255"),
        ("mean=0.5,std=0", "std is above 0"),
    ],
)
def test_anything_else_is_one_line(text, words):
    with pytest.raises(InputError, match=words):
        parse_preprocessing(text)
