"""Splits depend on images and seed alone, keep copies together, and stay."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.splits import Candidate, assign, counts, split_of_folder, units_of

units = st.lists(
    st.tuples(st.integers(0, 40).map(str), st.sampled_from(["cats", "dogs", None])), max_size=60
)


def candidates(pairs, given=None):
    return [Candidate(unit, label, given) for unit, label in pairs]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("val", "validation"),
        ("VALID", "validation"),
        ("dev", "validation"),
        ("validation", "validation"),
        ("test", "test"),
        ("testing", "test"),
        ("tests", None),
        ("trainee", None),
        ("cats", None),
    ],
)
def test_folders_that_name_splits(name, split):
    assert split_of_folder(name) == split


@pytest.mark.parametrize(
    ("folders", "train_becomes"),
    [
        (["train", "test"], {"train": 80, "validation": 20}),
        (["train"], {"train": 80, "validation": 20}),
        (["train", "validation"], {"train": 100}),
        (["train", "validation", "test"], {"train": 100}),
    ],
)
def test_what_folders_leave_open_is_cut(folders, train_becomes):
    chosen = [Candidate(f"{f}{i}", "cats", f) for f in folders for i in range(100)]
    splits = assign(chosen)

    assert Counter(splits[:100]) == train_becomes
    assert splits[100:] == [c.given for c in chosen[100:]]


def test_without_folders_it_is_70_15_15_in_each_class():
    pairs = [(f"{label}{i}", label) for label in ("cats", "dogs") for i in range(200)]
    splits = assign(candidates(pairs))

    for part in (splits[:200], splits[200:]):
        assert Counter(part) == {"train": 140, "validation": 30, "test": 30}


@given(pairs=units, seed=st.integers(0, 3), order=st.randoms(use_true_random=False))
def test_order_and_copies_decide_nothing(pairs, seed, order):
    """A unit has one split, whatever the order and however often it comes."""
    one = dict(zip(pairs, assign(candidates(pairs), seed=seed), strict=True))
    mixed = pairs * 2
    order.shuffle(mixed)
    two = dict(zip(mixed, assign(candidates(mixed), seed=seed), strict=True))

    assert one == two


@given(pairs=units, more=units)
def test_who_has_a_split_keeps_it(pairs, more):
    first = assign(candidates(pairs))
    kept = {unit: split for (unit, _), split in zip(pairs, first, strict=True)}
    second = assign(candidates(pairs + more), kept)

    assert second[: len(pairs)] == [kept[unit] for unit, _ in pairs]


def test_new_images_bring_the_ratios_back():
    old = [(f"old{i}", "cats") for i in range(10)]
    kept = {unit: "train" for unit, _ in old}
    new = [(f"new{i}", "cats") for i in range(90)]
    splits = assign(candidates(old + new), kept)

    assert Counter(splits) == {"train": 70, "validation": 15, "test": 15}


def test_a_split_that_the_folders_exclude_is_not_kept():
    """An image that was test and now lies in the train folder is train or validation."""
    chosen = [Candidate(str(i), "cats", "train") for i in range(10)]

    assert "test" not in assign(chosen, {str(i): "test" for i in range(10)})


def test_another_seed_gives_another_cut():
    pairs = [(str(i), "cats") for i in range(100)]

    assert assign(candidates(pairs), seed=0) != assign(candidates(pairs), seed=1)


@given(total=st.integers(0, 1000))
def test_counts_sum_to_the_total_and_never_stray(total):
    parts = counts(total, (0.7, 0.15, 0.15))

    assert sum(parts) == total
    assert all(
        abs(part - total * share) <= 1 for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True)
    )


def test_the_cut_stays_the_same():
    """Stores keep splits for years: a release that cuts otherwise would move images to test."""
    splits = assign(candidates([(str(i), "cats") for i in range(20)]))

    assert [i for i, s in enumerate(splits) if s == "test"] == [12, 16, 19]
    assert [i for i, s in enumerate(splits) if s == "validation"] == [2, 5, 10]


def test_copies_and_groups_and_chains_of_both_are_one_unit():
    names = ["a", "b", "b", "c", "d", "e"]
    groups = ["g", "g", "h", "h", None, None]
    found = units_of(names, groups)

    assert found == [found[0]] * 4 + ["d", "e"]


def test_units_do_not_depend_on_the_order_of_items():
    names, groups = ["a", "b", "b", "c", "d"], ["g", "g", "h", "h", "k"]
    order = [3, 1, 4, 0, 2]
    mixed = units_of([names[i] for i in order], [groups[i] for i in order])

    assert mixed == [units_of(names, groups)[i] for i in order]


def test_what_a_person_pinned_is_not_asked_again():
    pinned = [Candidate(str(i), "cats", None, "test") for i in range(5)]
    free = [Candidate(str(i), "cats", None) for i in range(5, 10)]

    assert assign(pinned + free)[:5] == ["test"] * 5
    assert set(assign(pinned + free, ratios=(1.0, 0.0, 0.0))[5:]) == {"train"}
