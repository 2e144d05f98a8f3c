"""gc: by age, rehearsed first, records before shards; deleted rows stay until --compact."""

import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest

import extract
from extract.api import extract_features
from extract.backbones import BackboneSpec
from extract.compacting import compact_rows, gc
from extract.errors import DamagedStoreError, InputError, StoreError, StoreWriteError
from extract.plan import Settings
from extract.progress import Silent
from extract.store.gc import collect, find_garbage, parse_age
from extract.store.opening import Store
from extract.store.verify import verify
from tests.helpers import formats, tree
from tests.simulated import PowerCut, SimulatedFiles

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)


@pytest.fixture
def store(photos, picture):
    """A store of two snapshots: an image came and another one went."""
    run(photos)
    picture(photos / "cats" / "new.png", seed=3)
    (photos / "cats" / "1.png").unlink()
    return Path(run(photos).store)


def run(photos, **options):
    return extract.run(photos, backbone="digits", **options)


def age(store, days):
    """Make every file of a store older."""
    then = time.time() - days * 86400
    for path in store.rglob("*"):
        os.utime(path, (then, then))


def test_a_rehearsal_touches_nothing_and_says_what_would_go(store):
    age(store, 30)
    before = tree(store)
    found = gc(store)

    assert (found.done, found.snapshots, found.rows) == (False, [1], 1)
    assert "snapshots/000001.json" in found.files
    assert tree(store) == before


def test_what_is_young_stays(store):
    before = tree(store)
    (store / "tmp" / "0123456789abcdef").write_bytes(b"of a run that is under way")
    found = gc(store, yes=True)

    assert (found.files, found.snapshots, found.kept) == ([], [], 1)
    assert before.items() <= tree(store).items()


def test_a_snapshot_goes_by_the_age_of_the_next_one(store):
    """It was the newest until then, and somebody may have begun to read it."""
    age(store, 30)
    for path in store.glob("snapshots/000002.*"):
        os.utime(path)

    assert gc(store).snapshots == []


def test_what_is_left_is_sound_and_says_the_same(store, photos):
    root, data = extract.open_store(store).root_digest, extract.open_store(store).load(None)
    (store / "tmp" / "0123456789abcdef").write_bytes(b"left over")
    (store / "shards" / f"{'a' * 64}.zshard").write_bytes(b"left over")
    (store / "damaged" / "old").write_bytes(b"left over")
    age(store, 8)
    found = gc(store, yes=True)

    assert {"tmp/0123456789abcdef", "damaged/old"} < set(found.files)
    assert (verify(store).problems, verify(store).notes) == ({}, [])
    assert Store.at(store).snapshots.numbers() == [2]
    np.testing.assert_array_equal(extract.open_store(store).load(None).X, data.X)
    again = run(photos)
    assert (again.extracted, again.snapshot, again.root_digest) == (0, 2, root)


def test_deleted_rows_stay_until_compaction_and_then_go(store, photos, fake_backbone):
    root = extract.open_store(store).root_digest
    data, images = extract.open_store(store).load(None), fake_backbone.images
    assert gc(store, yes=True, older_than="0").rows == 1
    found = gc(store, compact=True, yes=True, older_than="0")
    snapshot = extract.open_store(store)

    assert (found.snapshot, snapshot.number, snapshot.root_digest) == (3, 3, root)
    assert sum(ref.rows for ref in snapshot.record.columns[0].refs) == 12
    np.testing.assert_array_equal(snapshot.load(None).X, data.X)
    assert verify(store).is_sound
    assert gc(store, compact=True).rows == 0
    again = run(photos)
    assert (again.extracted, again.snapshot, fake_backbone.images) == (0, 3, images)


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_compaction_keeps_the_format_of_the_shards_that_it_joins(photos, tmp_path, form):
    other = {"zarr": "hdf5", "hdf5": "zarr"}[form]
    store = run(photos, layers=["last"], format=form).store
    run(photos, layers=["last", "3"], format=other)
    (photos / "cats" / "1.png").unlink()
    root = run(photos).root_digest
    gc(store, compact=True, yes=True, older_than="0")

    assert formats(store, "last:avg") == {form}
    assert formats(store, "3:avg") == {other}
    assert extract.open_store(store).root_digest == root
    fresh = run(photos, store=tmp_path / "fresh", layers=["last", "3"])
    assert fresh.root_digest == root
    assert verify(store).is_sound


def test_compaction_leaves_shards_before_the_first_dropped_row(photos, picture):
    picture(photos / "zebras" / "last.png", seed=3)
    store = Path(run(photos).store)
    before = tree(store / "shards")
    (photos / "zebras" / "last.png").unlink()
    run(photos)
    gc(store, compact=True, yes=True)

    assert len(tree(store / "shards").keys() - before.keys()) == 0  # twelve rows: full shards
    assert gc(store, older_than="0").snapshots == [1, 2]


def test_a_run_beside_gc_that_reuses_what_was_removed_does_not_seal(photos, monkeypatch):
    run(photos)
    store = Store.at(photos.with_name("photos.features"))
    real = extract.sealing.probe_files.keep

    def keep(*words):
        next((photos.with_name("photos.features") / "commits").iterdir()).unlink()
        return real(*words)

    monkeypatch.setattr("extract.sealing.probe_files.keep", keep)
    (photos / "cats" / "1.png").rename(photos / "cats" / "other.png")
    with pytest.raises(DamagedStoreError, match="is missing"):
        run(photos)
    assert store.snapshots.numbers() == [1]


def test_what_a_snapshot_sealed_meanwhile_names_is_put_back(store, monkeypatch):
    """A run seals between the two phases, and names a commit that was about to go."""
    disk = Store.at(store)
    compact_rows(disk)
    garbage = find_garbage(disk, 0)
    needed = next(name for name in garbage.records if name.startswith("commits/"))
    monkeypatch.setattr(
        "extract.store.gc._needed", lambda store, numbers: (set(), {Path(needed).stem})
    )
    back = collect(disk, garbage)

    assert back[0] == needed
    assert (store / needed).exists()


def test_ages_are_read_or_refused():
    assert [parse_age(x) for x in ("0", "90s", "12h", "7d", "2w")] == [
        0, 90, 43200, 604800, 1209600,
    ]  # fmt: skip
    for text in ("7", "soon", "-1d", "1.5h"):
        with pytest.raises(InputError, match="--older-than"):
            parse_age(text)


def test_work_in_progress_is_not_garbage(photos, monkeypatch):
    """Commits without any snapshot are a run that will be resumed."""
    monkeypatch.setattr("extract.pipeline.seal", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(photos)

    with pytest.raises(StoreError, match="no sealed snapshot"):
        gc(photos.with_name("photos.features"), yes=True, older_than="0")


def simulated(photos, files):
    settings = Settings(spec=BackboneSpec(name="digits"), workers=1)
    return extract_features(photos, Store(files, "simulated"), settings, Silent())


def test_a_power_cut_at_any_moment_leaves_a_store_that_gc_finishes(photos, picture):
    """Cut the power before each change in turn: every snapshot that is there is whole."""
    first = SimulatedFiles()
    simulated(photos, first)
    picture(photos / "cats" / "new.png", seed=3)
    (photos / "cats" / "1.png").unlink()
    root = simulated(photos, first).root_digest
    for moment in itertools.count():
        files = SimulatedFiles(seed=moment)
        files.now, files.durable = dict(first.now), dict(first.durable)
        files.operations_left = moment
        store = Store(files, "simulated")
        try:
            compact_rows(store)
            collect(store, find_garbage(store, 0))
            break
        except (PowerCut, StoreWriteError):
            files.crash()
        store = Store(files, "simulated")
        for number in store.snapshots.numbers():
            assert len(store.open(number).load(None)) == 13
        if store.snapshots.numbers() != [3]:
            compact_rows(store)
        collect(store, find_garbage(store, 0))
        assert len(store.snapshots.numbers()) == 1
        assert store.open().root_digest == root
        assert len(store.open().load(None)) == 13
    assert moment > 20
