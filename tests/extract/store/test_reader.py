"""Features and labels leave a snapshot only together, in item order."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import extract
from extract.errors import InputError
from extract.recipe import Column
from extract.store.reader import gather
from extract.store.shards import Grid, MemoryShards
from extract.store.snapshot_records import SnapshotColumn

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture
def snapshot(photos, monkeypatch):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    (photos / "cats" / "bad.jpg").write_bytes(b"not a picture")
    return extract.open_store(extract.run(photos, backbone="digits").store)


@given(data=st.data(), total=st.integers(1, 30), shard_rows=st.sampled_from([1, 4, 8]))
@settings(max_examples=60)
def test_any_rows_in_any_order_come_back(data, total, shard_rows):
    """Indexing an array is the oracle for reading shards; -1 is a row of NaN."""
    features = np.arange(total * 3, dtype=np.float32).reshape(total, 3)
    shards = MemoryShards()
    grid = Grid(row_shape=(3,), dtype="float32", shard_rows=shard_rows, chunk_rows=1)
    refs = [
        shards.write(str(start), features[start : start + shard_rows], grid)
        for start in range(0, total, shard_rows)
    ]
    kept = SnapshotColumn(
        column=Column(operation=0, layer="x"), row_shape=(3,), digests=(), refs=tuple(refs)
    )
    rows = np.array(data.draw(st.lists(st.integers(-1, total - 1), max_size=40)), np.int64)
    with_nan = np.vstack([features, np.full((1, 3), np.nan, np.float32)])

    np.testing.assert_array_equal(gather(shards, kept, rows), with_nan[rows])


def test_one_entry_per_item_in_item_order(snapshot):
    data = snapshot.load(None)

    assert data.items["path"].to_pylist() == sorted(data.items["path"].to_pylist())
    assert len(data.X) == len(data.y) == data.items.num_rows == 13
    paths = data.items["path"].to_pylist()
    np.testing.assert_array_equal(
        data.X[paths.index("cats/0.png")], data.X[paths.index("dogs/copy.png")]
    )


def test_splits_partition_the_items(snapshot):
    parts = [
        set(snapshot.load(s).items["path"].to_pylist()) for s in ("train", "validation", "test")
    ]

    assert sum(map(len, parts)) == len(set.union(*parts)) == 13


def test_bad_items_are_dropped_kept_or_an_error(snapshot):
    dropped, kept = snapshot.load(None), snapshot.load(None, bad="keep")
    status = np.array(kept.items["status"].to_pylist())

    assert (len(dropped), len(kept)) == (13, 14)
    np.testing.assert_array_equal(np.isnan(kept.X).all(axis=1), status == "undecodable")
    with pytest.raises(InputError, match="cats/bad.jpg is bad"):
        snapshot.load(None, bad="error")


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 5, 100])
@pytest.mark.parametrize("ahead", [1, 2000, 32 << 20])
def test_batches_are_what_load_returns_in_pieces(snapshot, batch_size, shuffle, ahead, monkeypatch):
    monkeypatch.setattr("extract.store.reader.READ_AHEAD", ahead)  # a row has 256 bytes
    whole = snapshot.load(None)
    pieces = list(snapshot.batches(None, batch_size, shuffle, seed=3))
    items = pa.concat_tables([piece.items for piece in pieces])
    order = [whole.items["path"].to_pylist().index(p) for p in items["path"].to_pylist()]

    assert [len(p) for p in pieces[:-1]] == [batch_size] * (len(pieces) - 1)
    assert sorted(order) == list(range(13))
    assert shuffle == (order != sorted(order))
    np.testing.assert_array_equal(np.concatenate([p.X for p in pieces]), whole.X[order])
    np.testing.assert_array_equal(np.concatenate([p.y for p in pieces]), whole.y[order])


def test_the_seed_alone_decides_the_order(snapshot):
    orders = [
        [p for b in snapshot.batches(None, 4, seed=seed) for p in b.items["path"].to_pylist()]
        for seed in (0, 0, 1)
    ]

    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "trian"}, "split is one of test, train, validation. Received: 'trian'"),
        ({"column": "relu"}, "column 'relu' is no column. Give one of 'last:avg'"),
        ({"bad": "skip"}, "bad is one of drop, keep, error. Received: 'skip'"),
    ],
)
def test_what_is_not_there_is_one_line(snapshot, options, message):
    with pytest.raises(InputError, match=message):
        snapshot.load(**options)


@pytest.mark.parametrize("mask", [[True, False], np.ones(13, bool), np.zeros(13, bool)], ids=str)
def test_a_mask_is_not_read_as_the_rows_0_and_1(snapshot, mask):
    with pytest.raises(InputError, match=r"Rows are whole numbers.*bool.*np.flatnonzero\(mask\)"):
        snapshot.take(mask)


def test_rows_are_whole_numbers(snapshot):
    with pytest.raises(InputError, match="Rows are whole numbers. Received: float64"):
        snapshot.take(np.array([0.0, 1.0]))
    assert snapshot.take([]).shape == (0, snapshot.take([1]).shape[1])
    np.testing.assert_array_equal(snapshot.take([1, 0]), snapshot.take(np.array([1, 0], np.uint8)))


def test_a_flat_folder_has_no_labels(photos, tmp_path):
    summary = extract.run(photos / "cats", tmp_path / "flat.features", backbone="digits")
    snapshot = extract.open_store(summary.store)

    assert snapshot.load(None).y is None
    assert snapshot.classes == ()


def test_columns_that_differ_in_type_alone_are_told_apart(photos):
    extract.run(photos, backbone="digits")
    snapshot = extract.open_store(extract.run(photos, backbone="digits", dtype="float16").store)

    assert snapshot.load(None, column="last:avg").X.dtype == np.float32
    assert snapshot.load(None, column="last:avg:float16").X.dtype == np.float16
    with pytest.raises(InputError, match="'last' may be several columns. Give one of 'last:avg', "):
        snapshot.load(None, column="last")


def test_items_go_to_pandas(snapshot):
    frame = snapshot.load(None).items.to_pandas()

    assert list(frame.columns[:4]) == ["path", "image_key", "label", "split"]


def test_an_older_snapshot_is_opened_when_asked_for(snapshot, photos, picture):
    picture(photos / "cats" / "new.png", seed=1)
    extract.run(photos, backbone="digits")

    assert extract.open_store(snapshot.path).number == 2
    assert extract.open_store(snapshot.path, 1).items.equals(snapshot.items)


def test_a_snapshot_says_what_it_is(snapshot):
    assert repr(snapshot).startswith(
        f"Snapshot({snapshot.path!r}, number=1, items=14, columns=[last:avg]"
    )
