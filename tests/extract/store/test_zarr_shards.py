"""zarr-python is the oracle: it reads our shards, and we read its."""

import asyncio

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from extract.errors import DamagedStoreError
from extract.store.shards import Grid
from extract.store.zarr_shards import ZarrFormat
from tests.strategies import features


def zarr_array(store, rows, grid):
    return zarr.create_array(
        store,
        shape=(rows, *grid.row_shape),
        dtype=grid.dtype,
        shards=(grid.shard_rows, *grid.row_shape),
        chunks=(grid.chunk_rows, *grid.row_shape),
        compressors=[zarr.codecs.Crc32cCodec()],
        fill_value=np.nan,
        config={"write_empty_chunks": True},
    )


def shard_key(grid):
    return "c/0" + "/0" * len(grid.row_shape)


def put(store, key, data):
    buffer = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(data)
    asyncio.run(store.set(key, buffer))


def get(store, key):
    prototype = zarr.core.buffer.default_buffer_prototype()
    return asyncio.run(store.get(key, prototype)).to_bytes()


def grid_of(rows, chunk_rows):
    return Grid(
        row_shape=rows.shape[1:], dtype=rows.dtype.name, shard_rows=64, chunk_rows=chunk_rows
    )


@settings(max_examples=25, deadline=None)
@given(rows=features(), chunk_rows=st.sampled_from([1, 4, 32]))
def test_zarr_reads_what_we_write(rows, chunk_rows):
    grid, store = grid_of(rows, chunk_rows), MemoryStore()
    array = zarr_array(store, len(rows), grid)
    put(store, shard_key(grid), ZarrFormat().encode(rows, grid)[0])

    assert array[...].tobytes() == rows.tobytes()


@settings(max_examples=25, deadline=None)
@given(rows=features(), chunk_rows=st.sampled_from([1, 4, 32]))
def test_we_read_what_zarr_writes(rows, chunk_rows):
    grid, store = grid_of(rows, chunk_rows), MemoryStore()
    zarr_array(store, len(rows), grid)[...] = rows
    data = get(store, shard_key(grid))

    assert ZarrFormat().decode(data, len(rows), grid).tobytes() == rows.tobytes()


def test_a_full_shard_is_zarrs_to_the_byte():
    rows = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
    grid, store = grid_of(rows, 4), MemoryStore()
    zarr_array(store, 64, grid)[...] = rows

    assert ZarrFormat().encode(rows, grid)[0] == get(store, shard_key(grid))


def test_a_chunk_that_holds_rows_may_not_be_absent():
    """zarr-python reads it as fill value without a word."""
    rows = np.ones((8, 2), np.float32)
    grid = grid_of(rows, 4)
    short = ZarrFormat().encode(rows[:4], grid)[0]

    with pytest.raises(DamagedStoreError, match="lacks a chunk"):
        ZarrFormat().decode(short, 8, grid)


def test_a_wrong_checksum_is_an_error():
    rows = np.ones((8, 2), np.float32)
    grid = grid_of(rows, 4)
    data = bytearray(ZarrFormat().encode(rows, grid)[0])
    for position, what in ((0, "chunk"), (len(data) - 10, "index")):
        broken = data.copy()
        broken[position] ^= 1

        with pytest.raises(DamagedStoreError, match=what):
            ZarrFormat().decode(bytes(broken), 8, grid)
