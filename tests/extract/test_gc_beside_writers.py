"""gc beside those who write: what a young record names stays, however old its shard is."""

import errno
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

import extract
from extract.compacting import gc
from extract.errors import StoreWriteError
from extract.store.commits import Commits, encode
from extract.store.gc import collect, find_garbage
from extract.store.object_files import ObjectFiles
from extract.store.opening import Store
from extract.store.verify import verify
from tests.helpers import tree

pytestmark = pytest.mark.usefixtures("fake_backbone")

WEEK = 7 * 86400.0


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)


def run(photos, store=None):
    return extract.run(photos, store, backbone="digits")


def make_old(paths, days=8):
    then = time.time() - days * 86400
    for path in paths:
        os.utime(path, (then, then))


def stop_before_the_seal(photos, monkeypatch):
    """Run until every shard has its record, and no further."""
    with monkeypatch.context() as patch:
        patch.setattr("extract.pipeline.seal", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(photos)


@pytest.fixture
def unsealed(photos, picture, monkeypatch):
    """A store with a snapshot, and with shards of a run that goes on beside us."""
    store = Path(run(photos).store)
    sealed = {path.name for path in store.glob("commits/*")}
    for number in range(9):
        picture(photos / "zebras" / f"new{number}.png", seed=100 + number)
    stop_before_the_seal(photos, monkeypatch)
    records = sorted(p for p in store.glob("commits/*") if p.name not in sealed)
    assert len(records) > 1
    return store, records


def shard_of(record):
    return next((record.parents[1] / "shards").glob(f"{record.stem}.*"))


def test_an_old_shard_stays_whose_record_is_young(unsealed):
    """It was adopted, or linked from another store: only its record says when that was."""
    store, records = unsealed
    make_old(shard_of(record) for record in records)
    found = gc(store, yes=True)

    assert found.files == []
    assert all(shard_of(record).exists() for record in records)
    assert verify(store).is_sound


@pytest.fixture
def renamed(unsealed):
    """The same, where every shard that nobody sealed has the name that a second writer gives."""
    store, records = unsealed
    for record in records:
        commit = Commits(Store.at(store).files).read(record.stem)
        name = f"shards/{commit.ref.sha256}{shard_of(record).suffix}"
        shard_of(record).rename(store / name)
        record.write_bytes(encode(replace(commit, ref=replace(commit.ref, file=name))))
    assert verify(store).is_sound
    return store, records


def test_a_shard_of_another_name_stays_whose_record_is_young(renamed):
    """Its name is not its record's: two writers had other bits, and this one was second."""
    store, _ = renamed
    make_old(store.glob("shards/*"))
    found = gc(store, yes=True)

    assert found.files == []
    assert verify(store).is_sound


def test_a_record_that_came_meanwhile_keeps_a_shard_of_another_name(renamed):
    store, records = renamed
    away = [(record, record.read_bytes()) for record in records]
    for record in records:
        record.unlink()
    make_old(store.glob("shards/*"))
    garbage = find_garbage(Store.at(store), WEEK)
    for record, data in away:
        record.write_bytes(data)

    assert len(collect(Store.at(store), garbage)) == len(records)
    assert verify(store).is_sound


def test_what_is_torn_goes_beside_the_shard_that_counts(renamed):
    """The record names another file, so the one that has its digest is nobody's."""
    store, records = renamed
    torn = store / "shards" / f"{records[0].stem}.zshard"
    torn.write_bytes(b"torn")
    make_old([torn])

    assert gc(store, yes=True).files == [f"shards/{torn.name}"]
    assert verify(store).is_sound


def test_a_record_that_came_meanwhile_keeps_its_shard(unsealed):
    """The shard had none while gc looked: a run adopted it before gc removed it."""
    store, records = unsealed
    data = records[0].read_bytes()
    records[0].unlink()
    make_old([shard_of(records[0])])
    disk = Store.at(store)
    garbage = find_garbage(disk, WEEK)
    name = f"shards/{shard_of(records[0]).name}"
    assert name in garbage.rest
    records[0].write_bytes(data)

    assert name in collect(disk, garbage)
    assert verify(store).is_sound


def test_a_run_of_more_than_a_week_loses_nothing(unsealed, photos, fake_backbone):
    """Its first records are old, and its last one says that it goes on."""
    store, records = unsealed
    make_old([*store.glob("commits/*"), *store.glob("shards/*")])
    os.utime(records[-1])
    images = fake_backbone.images
    found = gc(store, yes=True)
    run(photos)

    assert (found.files, found.kept) == ([], 2 * len(records))
    assert fake_backbone.images == images


def test_what_an_abandoned_run_left_goes(unsealed):
    store, records = unsealed
    make_old([*store.glob("commits/*"), *store.glob("shards/*")])
    found = gc(store, yes=True)

    assert {f"commits/{record.name}" for record in records} <= set(found.files)
    assert not any(record.exists() for record in records)
    assert verify(store).is_sound


# What time it is ---------------------------------------------------------------------------------


@pytest.fixture
def ahead(monkeypatch):
    """A machine whose clock is a month ahead of the disk's or the bucket's."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 30 * 86400 * 10**9)


@pytest.mark.usefixtures("ahead")
@pytest.mark.parametrize("yes", [False, True])
def test_the_clock_is_that_of_the_disk(unsealed, yes):
    store, _ = unsealed
    (store / "tmp" / "0123456789abcdef").write_bytes(b"of a run that is under way")
    before = tree(store)

    assert gc(store, yes=yes).files == []
    assert tree(store) == before


@pytest.mark.usefixtures("ahead")
def test_the_clock_is_that_of_the_bucket(photos, picture, bucket):
    url = f"{bucket}/photos.features"
    run(photos, url)
    picture(photos / "cats" / "new.png", seed=3)
    run(photos, url)
    names = sorted(ObjectFiles.at(url).everything())

    assert gc(url, yes=True).files == []
    assert sorted(ObjectFiles.at(url).everything()) == names


def test_what_cannot_be_written_can_be_rehearsed(unsealed, monkeypatch):
    store, _ = unsealed

    def refuse(self, name, data):
        raise OSError(errno.EROFS, "Read-only file system", name)

    monkeypatch.setattr("extract.store.files.LocalFiles.write_new", refuse)

    assert gc(store).kept > 0
    with pytest.raises(StoreWriteError, match="Read-only"):
        gc(store, yes=True)
