"""What is missing of a store → chores, cut as one machine cuts shards."""

import numpy as np
import pytest

import extract
from extract.chores import chores_of
from extract.items import list_folder
from extract.known import Known, read_known
from extract.plan import Settings, make_plan
from extract.progress import Silent
from extract.store.commits import Commits
from extract.store.opening import Store
from tests.extract.test_run_views import settings

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)


def chores(folder, store=None, asked: Settings | None = None):
    known = Known() if store is None else read_known(Store.at(store)).lean()
    plan = make_plan(asked or settings("last", views=1, augment=""), known, "store", Silent())
    return chores_of(list_folder(folder), known, plan)


@pytest.fixture
def plain(tmp_path, picture):
    """Ten pictures, all of them good and none of them twice."""
    for number in range(10):
        picture(tmp_path / "plain" / "a" / f"{number}.png", seed=number)
    return tmp_path / "plain"


def run(folder, **options):
    return extract.run(folder, backbone="digits", **options)


def test_a_fresh_store_is_cut_at_the_shards(plain):
    found = chores(plain)

    assert [list(chore.indices) for chore in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [chore.columns for chore in found] == [(0,)] * 3
    assert found[0].title(list_folder(plain).items) == "a/0.png … a/3.png"
    assert found[2].files(list_folder(plain).items)[0][0] == "a/8.png"


def test_what_is_known_is_no_chore(plain):
    assert chores(plain, run(plain).store) == []


def test_a_missing_shard_is_one_chore(plain):
    """As a first run leaves it that was killed: shards, and no snapshot."""
    store = Store.at(run(plain).store)
    for number in store.snapshots.numbers():
        store.files.remove(f"snapshots/{number:06}.json")
        store.files.remove(f"snapshots/{number:06}.items.parquet")
    commits = Commits(store.files)
    middle = next(
        digest
        for digest in commits.digests()
        if commits.read(digest).rows[0].image_key
        == extract.open_store(run(plain, store=f"{plain}2").store).items["image_key"][4].as_py()
    )
    store.files.remove(f"commits/{middle}.json")

    assert [list(chore.indices) for chore in chores(plain, store.path)] == [[4, 5, 6, 7]]


def test_new_images_fill_the_last_shard_and_begin_others(plain, picture):
    """The rows of old come first, wherever the names of new ones lie."""
    store = run(plain).store
    for number in range(8):
        picture(plain / "a" / f"0{number}.png", seed=100 + number)

    found = chores(plain, store)
    assert [len(chore.indices) for chore in found] == [2, 4, 2]
    assert [chore.number for chore in found] == [2, 3, 4]


def test_a_new_column_is_made_for_the_rows_of_old_in_their_order(plain, tmp_path):
    store = run(plain).store
    found = chores(plain, store, settings("last", "3", views=1, augment=""))

    assert [list(chore.indices) for chore in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [chore.columns for chore in found] == [(1,)] * 3


def test_copies_of_a_known_image_are_one_item(plain):
    for number in range(4):
        (plain / "a" / f"copy{number}.png").write_bytes((plain / "a" / "0.png").read_bytes())
    store = run(plain).store
    found = chores(plain, store, settings("last", "3", views=1, augment=""))

    assert np.concatenate([chore.indices for chore in found]).tolist() == list(range(10))
