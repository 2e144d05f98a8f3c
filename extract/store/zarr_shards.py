"""A shard as the bytes of one zarr v3 shard.

    chunk 0 | crc32c | chunk 1 | crc32c | ... | index (offset, size) per chunk | crc32c

Chunks are little-endian and uncompressed, the index is at the end, the fill value is NaN, and
chunks past the last row are absent from the index. zarr-python reads these bytes as one shard
of an array, and the tests hold this encoder and zarr-python to each other in both directions.
The bytes are made here because zarr-python pads a last shard to its full size.

Source: zarr v3 sharding codec, https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed
"""

from __future__ import annotations

import struct

import google_crc32c
import numpy as np

from extract.store.files import Buffer
from extract.store.shards import Grid, ShardFormat, damaged

ABSENT = 2**64 - 1
CRC_BYTES = 4


class ZarrFormat(ShardFormat):
    """zarr v3: sharding codec over bytes + crc32c."""

    name = "zarr"
    suffix = ".zshard"

    def encode(self, features: np.ndarray, grid: Grid) -> tuple[bytes, int, int]:
        chunk_bytes = grid.row_bytes * grid.chunk_rows
        stride = chunk_bytes + CRC_BYTES
        num_chunks = -(-len(features) // grid.chunk_rows)
        index_bytes = 16 * (grid.shard_rows // grid.chunk_rows) + CRC_BYTES
        data = bytearray(num_chunks * stride + index_bytes)
        for i in range(num_chunks):
            chunk = _padded(features[i * grid.chunk_rows : (i + 1) * grid.chunk_rows], grid)
            data[i * stride : i * stride + chunk_bytes] = chunk
            data[i * stride + chunk_bytes : (i + 1) * stride] = _crc(chunk)
        data[num_chunks * stride :] = _index(num_chunks, stride, grid)
        return bytes(data), 0, stride

    def parse(self, data: bytes | Buffer, rows: int, grid: Grid) -> list[np.ndarray]:
        file = np.frombuffer(data, np.uint8)
        index = _read_index(file, grid)
        pieces = []
        for first in range(0, rows, grid.chunk_rows):
            offset, size = index[first // grid.chunk_rows]
            pieces.append(_read_chunk(file, offset, size, grid)[: rows - first])
        return pieces


def _padded(rows: np.ndarray, grid: Grid) -> bytes:
    chunk = np.full((grid.chunk_rows, *grid.row_shape), np.nan, grid.little_endian)
    chunk[: len(rows)] = rows
    return chunk.tobytes()


def _crc(data: bytes | np.ndarray) -> bytes:
    return struct.pack("<I", google_crc32c.value(data))


def _index(num_chunks: int, stride: int, grid: Grid) -> bytes:
    entries = np.full((grid.shard_rows // grid.chunk_rows, 2), ABSENT, "<u8")
    entries[:num_chunks, 0] = np.arange(num_chunks) * stride
    entries[:num_chunks, 1] = stride
    index = entries.tobytes()
    return index + _crc(index)


def _read_index(data: np.ndarray, grid: Grid) -> list[tuple[int, int]]:
    size = 16 * (grid.shard_rows // grid.chunk_rows)
    index, check = data[-size - CRC_BYTES : -CRC_BYTES], data[-CRC_BYTES:]
    if len(index) != size or _crc(index) != check.tobytes():
        raise damaged("a zarr shard", "has an index whose crc32c does not fit")
    return [tuple(pair) for pair in index.view("<u8").reshape(-1, 2).tolist()]


def _read_chunk(data: np.ndarray, offset: int, size: int, grid: Grid) -> np.ndarray:
    chunk_bytes = grid.row_bytes * grid.chunk_rows
    end = offset + chunk_bytes
    if size != chunk_bytes + CRC_BYTES or end + CRC_BYTES > len(data):
        raise damaged("a zarr shard", "lacks a chunk that holds rows")
    chunk = data[offset:end]
    if _crc(chunk) != data[end : end + CRC_BYTES].tobytes():
        raise damaged("a zarr shard", "has a chunk whose crc32c does not fit")
    return chunk.view(grid.little_endian).reshape(grid.chunk_rows, *grid.row_shape)
