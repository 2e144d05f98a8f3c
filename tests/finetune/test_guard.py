"""What is frozen is compared bit for bit, and what was best survives a crash."""

import keras
import numpy as np
import pytest

from finetune.augmentation import augmentation_layers
from finetune.errors import FrozenWeightError
from finetune.guard import Frozen, Guard
from finetune.judging import Judgment


@pytest.fixture
def layers():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    return model.layers


def test_one_bit_of_a_frozen_weight_is_noticed(layers):
    frozen = Frozen(layers, may_move=layers[1].weights)
    layers[1].kernel.assign(layers[1].kernel + 1)
    frozen.check()
    value = keras.ops.convert_to_numpy(layers[0].kernel).copy()
    value[0, 0] = np.nextafter(value[0, 0], np.float32(9))
    layers[0].kernel.assign(value)

    with pytest.raises(FrozenWeightError, match=r"1 weights .* such as .*kernel"):
        frozen.check()


def test_the_best_weights_come_back_after_a_crash(tmp_path):
    start, good, bad = ([np.full(2, x, np.float32)] for x in (0, 1, 2))
    guard = Guard.begin(tmp_path, Judgment(0.5, -1.0), start)
    assert guard.kept_head
    assert guard.offer(1, Judgment(0.7, -1.0), good)
    guard.note({"epoch": 1})
    assert not guard.offer(2, Judgment(0.6, -0.1), bad)
    guard.note({"epoch": 2})
    again = Guard.begin(tmp_path, Judgment(0.5, -1.0), start)
    again.note({"epoch": 2, "again": True})

    assert (again.epoch, again.best.accuracy, again.kept_head) == (1, 0.7, False)
    assert (again.is_over(1), again.is_over(2), again.is_over(0)) == (True, False, False)
    np.testing.assert_array_equal(again.result[0], good[0])
    assert again.history == [{"epoch": 1}, {"epoch": 2, "again": True}]


def test_an_epoch_that_is_worse_than_the_head_is_not_the_result(tmp_path):
    start = [np.zeros(2, np.float32)]
    guard = Guard.begin(tmp_path, Judgment(0.9, -1.0), start)
    guard.offer(1, Judgment(0.8, -0.2), [np.ones(2, np.float32)])

    assert guard.kept_head
    assert guard.result is start
    assert "not better than the head" in guard.praise


def test_augmentation_draws_anew_for_each_picture_and_call():
    layers = augmentation_layers("flip,rotation=0.2,brightness=0.3,crop=0.7", 16, seed=0)
    x = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype(np.float32)
    first, second = (np.array(layers(x, training=True)) for _ in range(2))

    assert first.shape == x.shape
    assert np.abs(first - second).mean() > 1
    assert first.min() >= 0
    assert first.max() <= 255
    assert augmentation_layers("", 16, seed=0) is None
