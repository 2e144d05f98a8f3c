"""export: what other tools read is, to the bit, what the store gives."""

import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

import extract
from extract.errors import DamagedStoreError, InputError, StoreWriteError
from extract.exporting import export
from tests.helpers import tree

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture(params=["zarr", "hdf5"])
def store(photos, monkeypatch, request):
    """A store of four shards per column, the last of one row, and an image that is bad."""
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    (photos / "cats" / "bad.jpg").write_bytes(b"not a picture")
    options = {"layers": ["last", "3:max"], "format": request.param}
    return Path(extract.run(photos, backbone="digits", **options).store)


def expected(store, column="last:avg"):
    return extract.open_store(store).load(None, column, bad="keep")


def rows_of(store, column):
    """Features by row, as the plain arrays have them."""
    data = expected(store, column)
    rows = data.items["row"].to_numpy()
    out = np.empty((rows.max() + 1, *data.X.shape[1:]), data.X.dtype)
    out[rows] = data.X
    return out


def test_zarr_opens_with_zarr_python(store, tmp_path):
    done = export(store, tmp_path / "out.zarr")
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")

    for name, column in (("last.avg", "last:avg"), ("3.max", "3:max")):
        np.testing.assert_array_equal(group[name][...], rows_of(store, column))
    items = expected(store).items
    np.testing.assert_array_equal(group["item_row"][...], items["row"].to_numpy())
    names = group["item_label"].attrs["names"]
    assert [names[code] for code in group["item_label"][...]] == items["label"].to_pylist()
    assert pq.read_table(tmp_path / "out.items.parquet")["path"] == items["path"]
    assert group.attrs["headstart"]["root_digest"] == extract.open_store(store).root_digest
    assert done.linked + done.copied == 8


def test_zarr_links_to_the_stores_own_shards(store, tmp_path):
    done = export(store, tmp_path / "out.zarr")
    if not next((store / "shards").iterdir()).name.endswith(".zshard"):
        assert (done.linked, done.copied) == (0, 8)
        return
    chunks = [p for p in (tmp_path / "out.zarr" / "last.avg" / "c").rglob("*") if p.is_file()]
    inodes = {p.stat().st_ino for p in (store / "shards").iterdir()}

    assert done.linked == 8
    assert {p.stat().st_ino for p in chunks} <= inodes


def test_zarr_opens_with_xarray_and_dask(store, tmp_path):
    import dask.array
    import xarray

    export(store, tmp_path / "out.zarr")
    with xarray.open_zarr(tmp_path / "out.zarr", consolidated=False, chunks=None) as dataset:
        np.testing.assert_array_equal(dataset["last.avg"].values, rows_of(store, "last:avg"))
        assert dataset["last.avg"].dims[0] == "row"
    array = dask.array.from_zarr(str(tmp_path / "out.zarr"), component="last.avg")
    np.testing.assert_array_equal(array.compute(), rows_of(store, "last:avg"))


def test_zarr_opens_with_tensorstore(store, tmp_path):
    import tensorstore

    export(store, tmp_path / "out.zarr")
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(tmp_path / "out.zarr" / "last.avg")},
    }
    array = tensorstore.open(spec, read=True).result().read().result()

    np.testing.assert_array_equal(array, rows_of(store, "last:avg"))


def test_hdf5_has_items_in_order(store, tmp_path):
    export(store, tmp_path / "out.h5")
    data = expected(store)
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["last.avg"][...], data.X)
        np.testing.assert_array_equal(file["y"][...], data.y)
        assert file["path"].asstr()[...].tolist() == data.items["path"].to_pylist()
        assert file["split"].asstr()[...].tolist() == data.items["split"].to_pylist()
        assert file.attrs["classes"].tolist() == ["cats", "dogs"]


def test_npz_has_items_in_order_and_no_pickle(store, tmp_path):
    export(store, tmp_path / "out.npz")
    data = expected(store)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["last.avg"], data.X)
        np.testing.assert_array_equal(file["3.max"], expected(store, "3:max").X)
        assert file["path"].tolist() == data.items["path"].to_pylist()
        assert file["classes"][file["y"]].tolist() == data.items["label"].to_pylist()


def test_npy_is_one_column_with_its_items_beside_it(store, tmp_path):
    with pytest.raises(InputError, match="Give one of 'last:avg', '3:max'"):
        export(store, tmp_path / "out.npy")
    export(store, tmp_path / "out.npy", "3:max")

    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected(store, "3:max").X)
    assert len((tmp_path / "out.items.csv").read_text().splitlines()) == 15


def test_parquet_has_one_line_per_item(store, tmp_path):
    export(store, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    data = expected(store)

    assert table["path"].to_pylist() == data.items["path"].to_pylist()
    np.testing.assert_array_equal(np.array(table["last.avg"].to_pylist(), np.float32), data.X)


@pytest.mark.parametrize("name", ["out.zarr", "out.h5", "out.npz", "out.parquet", "out.npy"])
class TestPlace:
    def test_an_earlier_export_is_replaced_whole(self, store, tmp_path, name):
        export(store, tmp_path / name, "last:avg")
        first = tree(tmp_path).keys()
        export(store, tmp_path / name, "3:max")

        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
        if name == "out.zarr":
            assert not (tmp_path / name / "last.avg").exists()
        assert len(tree(tmp_path).keys()) == len(first)

    def test_anything_else_is_left_alone(self, store, tmp_path, name):
        (tmp_path / name).write_bytes(b"mine")
        with pytest.raises(InputError, match="something else than an export"):
            export(store, tmp_path / name, "last:avg")
        assert (tmp_path / name).read_bytes() == b"mine"

    def test_a_damaged_shard_is_an_error_and_leaves_nothing(self, store, tmp_path, name):
        for path in (store / "shards").iterdir():
            path.write_bytes(path.read_bytes()[:-1] + b"x")
        before = tree(tmp_path)
        with pytest.raises(DamagedStoreError, match="was altered"):
            export(store, tmp_path / name, "last:avg")
        assert tree(tmp_path) == before

    def test_a_name_that_the_disk_refuses_is_one_line(self, store, tmp_path, name):
        """The disk refuses to remove what it refused to write; as one that is read-only does."""
        with pytest.raises(StoreWriteError, match=r"Cannot write .*File name too long"):
            export(store, tmp_path / f"{'p' * 240}{name}", "last:avg")


@pytest.mark.parametrize("name", ["out.h5", "out.npz", "out.parquet", "out.npy"])
def test_a_sound_file_of_the_user_is_left_alone(store, tmp_path, name):
    """Such as the data set itself: `run photos.npz`, then `export photos.features photos.npz`."""
    out, x = tmp_path / name, np.zeros((2, 3))
    match out.suffix:
        case ".h5":
            with h5py.File(out, "w") as file:
                file["x"] = x
        case ".npz":
            np.savez(out, x=x)
        case ".parquet":
            pq.write_table(pa.table({"path": ["a.png"]}), out)
        case ".npy":
            np.save(out, x)
    before = tree(tmp_path)
    with pytest.raises(InputError, match="something else than an export"):
        export(store, out, "last:avg")

    assert tree(tmp_path) == before


def test_a_folder_of_somebody_else_is_left_alone(store, tmp_path):
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "zarr.json").write_text(json.dumps({"attributes": {}}))
    (tmp_path / "other.items.csv").write_text("mine")
    extract.run(store.with_name("photos"), backbone="digits", layers=["last", "3:max"])
    with pytest.raises(InputError, match="would be overwritten"):
        export(store, tmp_path / "other.npy", "last")
    for name in ("out.zarr", "nowhere/out.zarr", "out.txt"):
        with pytest.raises(InputError):
            export(store, tmp_path / name)


def test_float16_and_maps_keep_their_type_and_shape(photos, tmp_path):
    store = extract.run(photos, backbone="digits", dtype="float16").store
    for name in ("out.npz", "out.h5", "out.parquet", "out.zarr"):
        export(store, tmp_path / name)

    assert np.load(tmp_path / "out.npz")["last.avg.float16"].dtype == np.float16
    assert zarr.open_group(tmp_path / "out.zarr", mode="r")["last.avg.float16"].dtype == np.float16
