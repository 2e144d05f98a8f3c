"""With `--views K`, each epoch trains on one of K kept views of each image."""

import numpy as np

from extract.store.opening import open_store
from finetune.suffix import boundary_store, pick_views
from tests.finetune.tuning import tune


def test_suffix_mode_trains_on_kept_views(store, head):
    found = tune(store, head.path, "views.tuned", augment="flip,contrast=0.2", views=3)
    kept = open_store(boundary_store(store, "flip,contrast=0.2"))

    assert (found.mode, found.why) == ("suffix", "--views 3")
    assert sorted(column.view for column in kept.columns) == [0, 1, 2, 3]
    assert found.validation_accuracy >= found.head_validation_accuracy


def test_each_epoch_picks_anew_and_the_same_again():
    first, second = (pick_views(1000, 4, seed=0, epoch=epoch) for epoch in (1, 2))

    np.testing.assert_array_equal(first, pick_views(1000, 4, seed=0, epoch=1))
    assert np.bincount(first).min() > 180
    assert (first != second).mean() > 0.6
