"""Rows leave a store labeled, side by side, and only where a head can be trained on them."""

import shutil

import numpy as np
import pytest

import extract
from extract.errors import InputError
from heads.data import check_classes, open_source
from heads.errors import HeadError
from tests.heads.conftest import COLORS, paint, relabelled


def test_columns_stand_side_by_side_in_the_order_named(snapshot):
    first, second = (open_source(snapshot, [name]).load("train") for name in ("last", "3"))
    both = open_source(snapshot, ["3", "last"])

    np.testing.assert_array_equal(both.load("train").X, np.hstack([second.X, first.X]))
    assert both.width == both.load("train").X.shape[1] == 12


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_blocks_are_the_rows_in_order(snapshot, rows):
    source = open_source(snapshot, ["3", "last"])
    blocks = list(source.blocks("train", rows))
    whole = source.load("train")

    np.testing.assert_array_equal(np.concatenate([b.X for b in blocks]), whole.X)
    np.testing.assert_array_equal(np.concatenate([b.y for b in blocks]), whole.y)
    assert max(map(len, blocks)) <= rows


def test_several_columns_must_be_named(snapshot):
    with pytest.raises(HeadError, match="several columns: give --column one or more of last:avg"):
        open_source(snapshot)


def test_a_column_named_twice_is_refused(snapshot):
    with pytest.raises(HeadError, match="names a column twice. Received: last, last:avg"):
        open_source(snapshot, ["last", "last:avg"])


def test_a_column_that_is_not_there_is_refused(snapshot):
    with pytest.raises(InputError, match="column 'block_9' is no column. Give one of"):
        open_source(snapshot, ["block_9"])


def test_a_split_that_does_not_exist_names_those_that_do(snapshot):
    with pytest.raises(HeadError, match="split 'dev'. It has: train, validation, test"):
        open_source(snapshot, ["last"]).load("dev")


def store_of(folder, **options):
    extract.run(folder, folder.with_suffix(".features"))
    return open_source(folder.with_suffix(".features"), **options)


def test_no_labels_are_refused_with_the_cure(tmp_path, fake_backbone, picture):
    for number in range(3):
        picture(tmp_path / "flat" / f"{number}.png", number)

    with pytest.raises(HeadError, match=r"has no labels.* photos/cats/1.jpg.* extract run"):
        store_of(tmp_path / "flat")


def test_one_class_is_refused(tmp_path, fake_backbone):
    source = store_of(paint(tmp_path / "one", {"train": 2, "test": 2}, {"red": COLORS["red"]}))

    with pytest.raises(HeadError, match="has one class, 'red', and a classifier needs two"):
        check_classes(source)


def test_a_class_that_training_never_sees_is_named(tmp_path, fake_backbone):
    images = paint(tmp_path / "some")
    shutil.rmtree(images / "train" / "red")
    source = store_of(images)

    with pytest.raises(HeadError, match=r"'red' has no image .*6 in validation, 6 in test"):
        check_classes(source)


@pytest.mark.parametrize(
    ("label", "cure"), [("2.{}", "give fit --regression"), ("a|b{}", "give fit --multilabel")]
)
def test_labels_of_another_task_are_told_how_they_are_learned(painted, label, cure):
    relabelled(painted, lambda row: label.format(row["row"]))

    with pytest.raises(HeadError, match=f"has no image with features in train.*{cure}"):
        check_classes(open_source(painted, columns=["last"]))


def test_the_command_for_more_images_names_the_backbone(tmp_path, fake_backbone):
    """Without its words the default backbone would be taken, which the store refuses."""
    images = paint(tmp_path / "one", {"train": 2}, {"red": COLORS["red"]})
    extract.run(images, tmp_path / "one.features", arguments={"alpha": 0.35})

    with pytest.raises(HeadError, match=r"run IMAGES --store .* --backbone-arg alpha=0\.35"):
        check_classes(open_source(tmp_path / "one.features"))


def test_bad_images_are_left_out_and_counted(tmp_path, fake_backbone):
    images = paint(tmp_path / "some")
    (images / "train" / "red" / "0.png").write_bytes(b"no picture")
    source = store_of(images)

    assert source.left_out() == {"bad": 1, "unlabeled": 0}
    assert source.count("train") == len(source.load("train")) == 35


def test_shuffled_blocks_are_the_same_rows_in_an_order_that_the_seed_decides(snapshot):
    """Items are sorted by path, and so by class: a stream of them must not be."""
    source = open_source(snapshot, ["last"])
    first, again, other = (
        np.concatenate([b.items["path"] for b in source.blocks("train", 5, shuffle_seed=seed)])
        for seed in (0, 0, 1)
    )
    plain = source.load("train").items["path"].to_pylist()

    assert list(first) == list(again) != plain
    assert list(other) != list(first)
    assert sorted(first) == sorted(other) == plain
