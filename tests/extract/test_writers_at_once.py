"""Several who write to one store at once: nobody undoes what another one sealed meanwhile."""

from pathlib import Path

import pyarrow as pa
import pytest

import extract
from extract.compacting import gc
from extract.errors import ChangedStoreError, DamagedStoreError
from extract.merging import merge
from extract.relabeling import relabel, split
from extract.store import succession
from extract.store.opening import Store, open_store
from extract.store.snapshot_records import follow
from extract.store.verify import verify

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)


@pytest.fixture
def store(photos, picture):
    """A store, and a picture that it does not have yet."""
    path = Path(run(photos).store)
    picture(photos / "cats" / "new.png", seed=3)
    return path


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("path,label,split\ncats/1.png,lions,test\n")
    return path


def run(photos, store=None, **options):
    return extract.run(photos, store, backbone="digits", **options)


def at_the_seal(monkeypatch, work):
    """Do something once, just before a run seals."""
    real, left = extract.sealing.probe_files.keep, [work]

    def keep(*words):
        if left:
            left.pop()()
        return real(*words)

    monkeypatch.setattr("extract.sealing.probe_files.keep", keep)


def item(store, path):
    rows = open_store(store).items.to_pylist()
    return next((row["label"], row["split"]) for row in rows if row["path"] == path)


# Nothing is undone -------------------------------------------------------------------------------


def test_a_decision_during_a_run_is_kept(store, photos, table, monkeypatch):
    at_the_seal(monkeypatch, lambda: relabel(store, table))
    summary = run(photos)

    assert summary.snapshot == open_store(store).number == 3
    assert item(store, "cats/1.png") == ("lions", "test")
    assert item(store, "cats/new.png")[0] == "cats"
    assert verify(store).is_sound


def test_a_cut_during_a_run_is_kept(store, photos, monkeypatch):
    at_the_seal(monkeypatch, lambda: split(store, "0.5/0.25/0.25", seed=5))
    run(photos)
    newest, cut = open_store(store), open_store(store, 2)

    assert newest.record.split_rule == cut.record.split_rule is not None
    before = dict(zip(cut.items["path"].to_pylist(), cut.items["split"].to_pylist(), strict=True))
    after = dict(
        zip(newest.items["path"].to_pylist(), newest.items["split"].to_pylist(), strict=True)
    )
    assert before.items() <= after.items()


def test_a_run_during_a_decision_is_kept(store, photos, table, monkeypatch):
    real, left = extract.relabeling._read, [lambda: run(photos)]

    def read(*words):
        given = real(*words)
        if left:
            left.pop()()
        return given

    monkeypatch.setattr("extract.relabeling._read", read)
    done = relabel(store, table)

    assert (done.snapshot, done.labels) == (3, 1)
    assert item(store, "cats/1.png") == ("lions", "test")
    assert item(store, "cats/new.png")[0] == "cats"


def test_a_column_of_another_run_is_kept(store, photos, monkeypatch, fake_backbone):
    """Its rows of the new picture are missing: one line, and the same command makes them."""
    at_the_seal(monkeypatch, lambda: run(photos, layers="last:max"))
    with pytest.raises(ChangedStoreError, match=r"snapshot 2\).*same command again") as told:
        run(photos)
    assert "\n" not in str(told.value)
    images = fake_backbone.images
    run(photos)

    assert len(open_store(store).columns) == 2
    assert fake_backbone.images == images
    assert verify(store).is_sound


def test_compaction_during_a_decision_is_kept(store, photos, table, monkeypatch):
    (photos / "dogs" / "1.png").unlink()
    run(photos)
    real, left = extract.relabeling._read, [lambda: gc(store, compact=True, yes=True)]

    def read(*words):
        given = real(*words)
        if left:
            left.pop()()
        return given

    monkeypatch.setattr("extract.relabeling._read", read)
    relabel(store, table)

    assert gc(store).rows == 0
    assert item(store, "cats/1.png") == ("lions", "test")


def test_of_two_who_follow_one_snapshot_one_seals(store):
    disk = Store.at(store)
    first = disk.open()
    record = follow(first.record, first.items.slice(1))

    assert succession.seal(disk, record, first.items.slice(1), after=1) == 2
    with pytest.raises(ChangedStoreError, match=r"snapshot 2\)"):
        succession.seal(disk, follow(first.record, first.items), first.items, after=1)
    assert disk.snapshots.numbers() == [1, 2]


def test_what_both_say_in_the_same_words_is_sealed_once(store, monkeypatch):
    """It may have been this very put, whose answer was lost, where a bucket keeps no marks."""
    disk = Store.at(store)
    first = disk.open()
    record, items = follow(first.record, first.items.slice(1)), first.items.slice(1)
    succession.seal(disk, record, items, after=1)
    monkeypatch.setattr(type(disk.snapshots), "numbers", lambda self: [1])

    assert succession.seal(disk, record, items, after=1) == 2
    with pytest.raises(ChangedStoreError):
        succession.seal(disk, first.record, first.items, after=1)


def test_items_that_somebody_left_do_not_take_a_number(store, photos):
    """Whoever they were of may still seal: they stay, and ours have a name beside theirs."""
    alone = store / "snapshots" / "000002.items.parquet"
    alone.write_bytes(b"of a run that was killed, or is about to seal")
    root = run(photos).root_digest
    snapshot = open_store(store)

    assert (snapshot.number, snapshot.root_digest) == (2, root)
    assert verify(store).is_sound
    assert len(verify(store).notes) == 1
    gc(store, older_than="0", yes=True)
    assert not alone.exists()
    assert (verify(store).problems, verify(store).notes) == ({}, [])
    assert run(photos).snapshot == 2


# gc beside a seal --------------------------------------------------------------------------------


@pytest.fixture
def greedy(monkeypatch):
    """A function: once a snapshot's record is there, a shard that it names goes."""
    real = extract.store.succession.publish_copy

    def arm(store):
        def copy(files, name, data):
            real(files, name, data)
            for path in Path(store).glob("shards/*"):
                path.unlink()

        monkeypatch.setattr("extract.store.succession.publish_copy", copy)

    return arm


@pytest.mark.parametrize("what", ["run", "relabel", "split", "compact", "merge"])
def test_whoever_seals_looks_once_more(store, photos, table, greedy, tmp_path, what):
    if what == "compact":
        (photos / "dogs" / "1.png").unlink()
        run(photos)
    if what == "merge":
        (tmp_path / "more" / "birds").mkdir(parents=True)
        (photos / "cats" / "new.png").rename(tmp_path / "more" / "birds" / "new.png")
        run(tmp_path / "more", tmp_path / "more.features")
    work = {
        "run": lambda: run(photos),
        "relabel": lambda: relabel(store, table),
        "split": lambda: split(store, seed=9),
        "compact": lambda: gc(store, compact=True, yes=True),
        "merge": lambda: merge([store, tmp_path / "more.features"], tmp_path / "all.features"),
    }
    greedy(tmp_path / "all.features" if what == "merge" else store)
    with pytest.raises(DamagedStoreError, match=r"removed.*while it was sealed.*repair") as told:
        work[what]()
    assert "\n" not in str(told.value)


def test_gc_says_what_was_taken_from_it_too_late(store, photos, monkeypatch):
    """A run adopts a shard after gc looked a last time, and before gc removes it."""
    run(photos)
    disk = Store.at(store)
    record = sorted((store / "commits").iterdir())[0]
    data = record.read_bytes()
    record.unlink()
    garbage = extract.store.gc.Garbage(rest=[f"shards/{record.stem}.zshard"])
    monkeypatch.setattr(disk.snapshots, "numbers", lambda: [])
    real = disk.files.remove

    def remove(name):
        record.write_bytes(data)
        real(name)

    monkeypatch.setattr(disk.files, "remove", remove)
    with pytest.raises(DamagedStoreError, match=r"shards/.*repair"):
        extract.store.gc.collect(disk, garbage)


def test_further_columns_stay_with_items_beside(store):
    disk = Store.at(store)
    first = disk.open()
    (store / "snapshots" / "000002.items.parquet").write_bytes(b"of another")
    items = first.items.append_column("mood", pa.array(["good"] * len(first.items)))
    succession.seal(disk, follow(first.record, items), items, after=1)

    assert disk.open().items["mood"][0].as_py() == "good"
