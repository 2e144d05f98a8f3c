"""HDF5 shards: the same rows give the same bytes, and any h5py reads them."""

import io
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from hypothesis import given, settings

from extract.errors import DamagedStoreError
from extract.store.hdf5_shards import HDF5Format
from extract.store.shards import Grid
from tests.strategies import features


def grid_of(rows):
    return Grid(row_shape=rows.shape[1:], dtype=rows.dtype.name, shard_rows=64, chunk_rows=4)


@settings(max_examples=25, deadline=None)
@given(rows=features())
def test_h5py_reads_what_we_write(rows):
    data, offset, _ = HDF5Format().encode(rows, grid_of(rows))

    with h5py.File(io.BytesIO(data), "r") as file:
        assert list(file) == ["features"]
        assert file["features"][...].tobytes() == rows.tobytes()
    assert data[offset : offset + rows.nbytes] == rows.tobytes()


def test_equal_rows_give_equal_bytes():
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)

    assert HDF5Format().encode(rows, grid_of(rows)) == HDF5Format().encode(rows, grid_of(rows))


@pytest.mark.parametrize("data", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_what_is_not_hdf5_is_an_error(data):
    rows = np.ones((4, 3), np.float32)

    with pytest.raises(DamagedStoreError, match="cannot be parsed"):
        HDF5Format().decode(data, 4, grid_of(rows))


def test_another_shape_is_an_error():
    rows = np.ones((4, 3), np.float32)
    data, _, _ = HDF5Format().encode(rows, grid_of(rows))

    with pytest.raises(DamagedStoreError, match=r"\(4, 3\).*expected.*\(5, 3\)"):
        HDF5Format().decode(data, 5, grid_of(rows))


def test_several_threads_encode_at_once():
    """HDF5 knows files by name, those in memory too: two of one name at once are an error."""
    rows = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    grid = Grid.of((6,), "float32")
    expected = HDF5Format().encode(rows, grid)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: HDF5Format().encode(rows, grid), range(200)))

    assert all(one == expected for one in found)
