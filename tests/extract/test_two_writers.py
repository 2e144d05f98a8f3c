"""Two runs on one store whose features differ in the last bits: one of them is the store's."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from extract.api import extract_features
from extract.backbones import BackboneSpec
from extract.errors import DamagedStoreError
from extract.plan import Settings
from extract.progress import Silent
from extract.store.acknowledging import acknowledge, acknowledge_copy
from extract.store.commits import Commits
from extract.store.file_shards import FileShards
from extract.store.opening import Store, open_store
from extract.store.verify import verify
from tests.helpers import SyntheticEngine

LONG = 60  # seconds; nobody waits so long unless something is wrong
OTHER = 1 + 3e-7  # a float32 has steps of 6e-8 to 1.2e-7


class OtherEngine(SyntheticEngine):
    """The same backbone on a processor of another family."""

    signature = SyntheticEngine.signature | {"instructions": "others"}

    def __call__(self, pixels):
        return [column * np.float32(OTHER) for column in super().__call__(pixels)]


@pytest.fixture
def engines(monkeypatch, fake_backbone):
    """Runs with one worker have one engine, runs with two another."""
    load = {1: fake_backbone, 2: OtherEngine()}
    monkeypatch.setattr(
        "extract.lazy_engine._load",
        lambda plan, precision: load[plan.settings.workers].for_plan(plan),
    )


def run(photos, store, workers, form="zarr"):
    settings = Settings(
        spec=BackboneSpec(name="digits"), workers=workers, engine="openvino", format=form
    )
    return extract_features(photos, store, settings, Silent())


class Steps:
    """Lets the steps of two runs happen in one order: shard 1, shard 2, record 1, record 2."""

    def __init__(self, monkeypatch, first, second):
        self.done = [threading.Event() for _ in range(4)]
        write, publish = FileShards.write, Commits.publish
        mine = {id(first.shards): 0, id(second.shards): 1, id(first.files): 2, id(second.files): 3}

        def in_turn(work, name):
            def step(owner, *words):
                at = mine[id(owner if name is None else getattr(owner, name))]
                assert not at or self.done[at - 1].wait(LONG)
                result = work(owner, *words)
                self.done[at].set()
                return result

            return step

        monkeypatch.setattr(FileShards, "write", in_turn(write, None))
        monkeypatch.setattr(Commits, "publish", in_turn(publish, "_files"))


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_of_two_runs_with_other_bits_one_is_the_stores(
    photos, tmp_path, monkeypatch, engines, form
):
    roots = {run(photos, Store.at(tmp_path / f"{n}.features"), n).root_digest for n in (1, 2)}
    path = tmp_path / "both.features"
    stores = [Store.at(path), Store.at(path)]
    Steps(monkeypatch, *stores)
    with ThreadPoolExecutor(2) as pool:
        found = {s.root_digest for s in pool.map(run, [photos] * 2, stores, [1, 2], [form] * 2)}
    monkeypatch.undo()

    assert len(roots) == 2
    assert len(found) == 1
    assert found < roots
    assert verify(path).is_sound
    assert np.isfinite(open_store(path).load(None).X).all()


@pytest.fixture
def lost(photos, tmp_path, engines):
    """(store, our commit, theirs): we computed other bits, and their record was first."""
    stores = [Store.at(tmp_path / f"{n}.features") for n in (1, 2)]
    for number, store in enumerate(stores, 1):
        run(photos, store, number)
    ours, theirs = (Commits(s.files).read(Commits(s.files).digests()[0]) for s in stores)
    return stores[1], ours, theirs


def test_who_loses_a_race_takes_the_record_that_is_there(lost):
    store, ours, theirs = lost

    assert ours.digest == theirs.digest
    assert ours.row_digests != theirs.row_digests
    for commit in (ours, theirs):
        assert acknowledge(store, commit) == theirs
    with pytest.raises(DamagedStoreError, match=r"differ in their last bits.*extract gc"):
        acknowledge_copy(store, ours)


@pytest.mark.parametrize("what", ["other bytes", "gone"])
def test_a_record_whose_shard_is_other_than_it_says_is_one_line(lost, tmp_path, what):
    store, ours, theirs = lost
    path = tmp_path / "2.features" / theirs.ref.file
    path.write_bytes(bytes(theirs.ref.size))
    if what == "gone":
        path.unlink()

    with pytest.raises(DamagedStoreError, match=rf"{theirs.ref.file} .*extract repair STORE"):
        acknowledge(store, ours)
