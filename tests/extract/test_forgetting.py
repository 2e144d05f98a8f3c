"""forget: an image is in no file of the store any more, and everything else is as it was."""

import contextlib
import itertools
from pathlib import Path

import numpy as np
import pytest

import extract
from extract.api import extract_features
from extract.backbones import BackboneSpec
from extract.errors import InputError, StoreError, StoreWriteError
from extract.forgetting import find_traces, forget, forget_images
from extract.plan import Settings
from extract.progress import Silent
from extract.reading import image_key
from extract.store.opening import Store
from extract.store.verify import verify
from tests.helpers import formats, tree
from tests.simulated import PowerCut, SimulatedFiles

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)


def run(photos, **options):
    return extract.run(photos, backbone="digits", **options)


@pytest.fixture
def store(photos, picture):
    """Three snapshots: all images, one more, and one without cats/1.png; and leftovers."""
    run(photos, layers=["last", "3"])
    picture(photos / "cats" / "new.png", seed=3)
    run(photos)
    (photos / "cats" / "1.png").rename(photos.parent / "1.png")
    store = Path(run(photos).store)
    (store / "damaged" / "old").write_bytes(b"anything")
    (store / "shards" / f"{'a' * 64}.zshard").write_bytes(b"anything")
    return store


def key_of(path):
    return image_key(path.read_bytes())


def rows_without(store, keys, number=None):
    data = extract.open_store(store, number).load(None, "last:avg")
    keep = [key not in keys for key in data.items["image_key"].to_pylist()]
    return data.items["path"].to_numpy()[keep].tolist(), data.X[keep]


@pytest.mark.parametrize("by", ["path", "key"])
def test_nothing_of_the_image_is_left(store, photos, by):
    key = key_of(photos / "cats" / "2.png")
    row = extract.open_store(store).load(None, "last:avg")
    features = row.X[row.items["path"].to_pylist().index("cats/2.png")].tobytes()
    expected = rows_without(store, {key})
    assert find_traces(store_of(store), [key])
    done = forget(store, ["cats/2.png" if by == "path" else key])

    assert (done.image_keys, done.items) == ([key], ["cats/2.png"])
    assert find_traces(store_of(store), [key]) == []
    files = tree(store)
    assert not [n for n, b in files.items() if key.encode() in b or key in n or features in b]
    assert verify(store).problems == {}
    paths, rows = rows_without(store, set())
    assert paths == expected[0]
    np.testing.assert_array_equal(rows, expected[1])


def store_of(path):
    return Store.at(path)


def test_every_snapshot_stays_but_for_the_image(store, photos):
    key = key_of(photos / "cats" / "2.png")
    before = [rows_without(store, {key}, number) for number in (1, 2, 3)]
    done = forget(store, ["cats/2.png"])

    assert done.snapshots == store_of(store).snapshots.numbers() == [4, 5, 6]
    for number, (paths, rows) in zip(done.snapshots, before, strict=True):
        found = rows_without(store, set(), number)
        assert found[0] == paths
        np.testing.assert_array_equal(found[1], rows)


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_shards_stay_in_the_format_that_they_have(photos, tmp_path, form):
    other = {"zarr": "hdf5", "hdf5": "zarr"}[form]
    store = run(photos, layers=["last"], format=form).store
    run(photos, store=store, layers=["last", "3"], format=other)
    forget(store, ["cats/2.png"])
    (photos / "cats" / "2.png").unlink()
    fresh = run(photos, store=tmp_path / "fresh", layers=["last", "3"])

    assert formats(store, "last:avg") == {form}
    assert formats(store, "3:avg") == {other}
    assert extract.open_store(store).root_digest == fresh.root_digest
    assert verify(store).is_sound


def test_an_image_that_is_no_item_any_more_can_be_forgotten(store, photos):
    """Its row stays after it was deleted from the folder, until gc; and so does its old line."""
    key = key_of(photos.parent / "1.png")
    forget(store, ["cats/1.png"])

    assert find_traces(store_of(store), [key]) == []
    assert len(extract.open_store(store).load(None, "last:avg")) == 13
    assert verify(store).is_sound


def test_snapshots_before_the_first_concerned_one_stay(store, photos):
    before = tree(store / "snapshots")
    done = forget(store, ["cats/new.png"])
    after = tree(store / "snapshots")

    assert done.snapshots == [4, 5]
    assert {n: b for n, b in before.items() if n.startswith("000001")}.items() <= after.items()


def test_all_copies_go(store, photos):
    done = forget(store, ["dogs/copy.png"])

    assert done.items == ["cats/0.png", "dogs/copy.png"]


def test_a_later_run_agrees_with_a_store_that_never_had_it(store, photos, tmp_path):
    forget(store, ["cats/2.png"])
    (photos / "cats" / "2.png").unlink()
    summary = run(photos, layers=["last", "3"])
    fresh = run(photos, store=tmp_path / "fresh", layers=["last", "3"])

    assert (summary.extracted, summary.root_digest) == (0, fresh.root_digest)
    assert verify(store).is_sound


def test_several_at_once_and_again_another_time(store, photos):
    forget(store, ["cats/2.png", key_of(photos / "dogs" / "2.png")])
    forget(store, ["cats/3.png"])
    paths = extract.open_store(store).items["path"].to_pylist()

    assert not {"cats/2.png", "dogs/2.png", "cats/3.png"} & set(paths)
    assert verify(store).is_sound


def test_an_unreadable_item_loses_its_line(photos):
    (photos / "cats" / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    store = run(photos).store
    assert forget(store, ["cats/gone.jpg"]).image_keys == []
    assert "cats/gone.jpg" not in extract.open_store(store).items["path"].to_pylist()


def test_what_is_not_there_is_one_line_and_touches_nothing(store, tmp_path):
    before = tree(store)
    for name in ("cats/99.png", "0" * 64):
        with pytest.raises(InputError, match="no item and no image"):
            forget(store, ["cats/2.png", name])
    paths = extract.open_store(store).items["path"].to_pylist()
    with pytest.raises(InputError, match="remove the folder"):
        forget(store, paths)
    assert tree(store) == before
    with pytest.raises(StoreError, match="not a store"):
        forget(tmp_path, ["cats/2.png"])


def test_a_power_cut_at_any_moment_is_made_good_by_the_same_command(photos, picture):
    """Whatever the moment, every snapshot that is there is whole, and the key finishes it."""
    settings = Settings(spec=BackboneSpec(name="digits"), workers=1)
    first = SimulatedFiles()
    store = Store(first, "simulated")
    extract_features(photos, store, settings, Silent())
    picture(photos / "cats" / "new.png", seed=3)
    extract_features(photos, store, settings, Silent())
    key = key_of(photos / "cats" / "2.png")
    calm = SimulatedFiles()
    calm.now, calm.durable = dict(first.now), dict(first.durable)
    forget_images(Store(calm, "calm"), [key])
    root = Store(calm, "calm").open().root_digest
    for moment in itertools.count():
        files = SimulatedFiles(seed=moment, operations_left=moment)
        files.now, files.durable = dict(first.now), dict(first.durable)
        store = Store(files, "simulated")
        try:
            forget_images(store, [key])
            break
        except (PowerCut, StoreWriteError):
            files.crash()
        store = Store(files, "simulated")
        for number in store.snapshots.numbers():
            assert len(store.open(number).load(None)) in (12, 13, 14)
        newest = store.open().items["path"].to_pylist()
        assert "cats/new.png" in newest  # the state of the newest snapshot, at any moment
        with contextlib.suppress(InputError):  # only leftovers without a name, which gc removes
            forget_images(store, [key])
        assert not [t for t in find_traces(store, [key]) if t.startswith(("comm", "snap", "prob"))]
        assert store.open().root_digest == root
        assert len(store.snapshots.numbers()) == 2
    assert moment > 40


def test_another_image_while_an_earlier_call_is_unfinished(photos, picture, monkeypatch):
    """The first call has sealed, and is cut short before anything is removed."""
    settings = Settings(spec=BackboneSpec(name="digits"), workers=1)
    files = SimulatedFiles()
    store = Store(files, "simulated")
    extract_features(photos, store, settings, Silent())
    picture(photos / "cats" / "new.png", seed=3)
    extract_features(photos, store, settings, Silent())
    with monkeypatch.context() as patch:
        patch.setattr("extract.forgetting._Eraser.remove", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            forget_images(store, ["cats/2.png"])
    assert len(store.snapshots.numbers()) == 4
    for name in ("cats/3.png", "cats/2.png"):
        forget_images(store, [name])
    paths = store.open().items["path"].to_pylist()

    assert "cats/new.png" in paths
    assert not {"cats/2.png", "cats/3.png"} & set(paths)
    for number in store.snapshots.numbers():
        store.open(number).load(None)


def test_items_that_were_never_sealed_go_too(store):
    """Nobody can say whose they are: a run was killed before its snapshot had a record."""
    loose = store / "snapshots" / "000009.items.parquet"
    loose.write_bytes((store / "snapshots" / "000001.items.parquet").read_bytes())
    assert "snapshots/000009.items.parquet" in find_traces(Store.at(store), ["0" * 64])
    done = forget(store, ["cats/2.png"])

    assert "snapshots/000009.items.parquet" in done.removed
    assert not loose.exists()
