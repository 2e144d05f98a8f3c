"""Options, sizes, the pixel cache, interpolation and rates: each by itself."""

import numpy as np
import pytest

from extract import pixels
from extract.recipe import PixelPolicy
from finetune.errors import FinetuneError
from finetune.interpolation import best_share, between
from finetune.judging import Judgment, judge
from finetune.options import Options, parse_size
from finetune.pixel_cache import PixelCache


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mode": "half"}, "--mode is one of auto, full, suffix"),
        ({"mode": "suffix", "augment": "flip"}, "drawn once and then stay the same"),
        ({"views": 3}, "--views takes what --augment says"),
        ({"views": 3, "augment": "flip", "mode": "full"}, "--views is for --mode suffix"),
        ({"epochs": 0}, "--epochs is at least 1"),
        ({"epochs": 1.5}, "--epochs is a whole number. Received: 1.5"),
        ({"batch_size": "8"}, "--batch-size is a whole number. Received: '8'"),
        ({"seed": True}, "--seed is a whole number. Received: True"),
        ({"warmup": "x"}, "--warmup is a number. Received: 'x'"),
        ({"learning_rate": "x"}, "--learning-rate is a number. Received: 'x'"),
        ({"weight_decay": "x"}, "--weight-decay is a number. Received: 'x'"),
        ({"dropout": 1.5}, "at most 0.99"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": float("inf")}, "above 0"),
        ({"weight_decay": -1.0}, "--weight-decay is at least 0. Received: -1.0"),
        ({"weight_decay": float("nan")}, "--weight-decay is at least 0. Received: nan"),
        ({"warmup": float("inf")}, "--warmup is at least 0. Received: inf"),
        ({"layer_decay": 1.1}, "--layer-decay is at least 0 and at most 1"),
        ({"class_weight": "even"}, "--class-weight is balanced"),
        ({"precision": "float64"}, "--precision is one of float32, mixed_bfloat16"),
        ({"cache_memory": "lots"}, "a size such as 2GB"),
    ],
)
def test_options_say_what_they_take(fields, words):
    with pytest.raises(FinetuneError, match=words):
        Options(**fields)


def test_numbers_of_numpy_are_plain():
    given = {"epochs": np.int64(1), "learning_rate": np.float32(0.5), "wise_ft": np.bool_(True)}
    options = Options(**given)

    assert options == Options(epochs=1, learning_rate=0.5, wise_ft=True)
    assert {type(getattr(options, name)) for name in given} == {int, float, bool}


def test_random_augmentation_is_never_kept_as_if_it_were_fixed():
    """The trap of the public guides: caching what a random layer gave, once, for ever."""
    with pytest.raises(FinetuneError, match="Give --views 4 .* or --mode full"):
        Options(mode="suffix", augment="flip,rotation=0.1")


def test_sizes():
    assert [parse_size(text) for text in ("2GB", "1.5 mb", "10KB")] == [
        2 * 10**9,
        1_500_000,
        10_000,
    ]


@pytest.mark.parametrize("limit", [10**9, 2000, 0], ids=["memory", "both", "disk"])
@pytest.mark.parametrize("size", [8, 64], ids=["resized is smaller", "decoded is smaller"])
def test_cached_pixels_are_those_of_the_decoder(tmp_path, picture, limit, size):
    paths = [picture(tmp_path / f"{i}.png", i, (20 + i, 30)) for i in range(5)]
    policy = PixelPolicy(image_size=size)
    expected = np.stack([pixels.load(path.read_bytes(), policy)[0] for path in paths])
    with PixelCache(policy, limit, tmp_path) as cache:
        cache.fill([path.read_bytes for path in paths])

        np.testing.assert_array_equal(cache.take(np.array([4, 0, 2])), expected[[4, 0, 2]])
        assert len(cache) == 5
        assert cache.memory_bytes <= limit
        assert (cache.disk_bytes > 0) == (limit < 10**9)


def test_the_nth_part_of_the_way():
    start, tuned = [np.zeros(2, np.float32)], [np.full(2, 10, np.float32)]

    np.testing.assert_array_equal(between(start, tuned, 0.3)[0], [3, 3])
    share, best = best_share(
        start, tuned, lambda w: Judgment(0.5, -abs(w[0][0] - 4.0)), Judgment(0.5, -1.5)
    )
    assert (share, best.loss) == (0.4, 0.0)
    assert best_share(start, tuned, lambda w: Judgment(0.4, 0.0), Judgment(0.5, -1.5))[0] is None


def test_more_rows_right_is_better_and_then_a_lower_loss():
    head = Judgment(0.9, -0.5)

    assert Judgment(0.91, -2.0).beats(head)
    assert Judgment(0.9, -0.4).beats(head)
    assert not head.beats(head)
    assert not Judgment(0.89, -0.1).beats(head)
    assert not judge(np.array([[np.nan, 1.0]]), np.array([0])).beats(Judgment(-1.0, -np.inf))
