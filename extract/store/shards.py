"""What writing and reading a shard promises, and the two places where shards can be.

A shard is a run of rows of one column, written once and then only read. Readers get the rows
that were written, bit for bit, or an error that names the file: never fewer rows, never a fill
value. `MemoryShards` is the reference, `FileShards` the store; one test class holds both.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from extract.errors import DamagedStoreError
from extract.store.files import READ_ONCE, Buffer, Files, Stamp, disk_errors, publish, sha256

SHARD_BYTES = 64 << 20
"""A shard holds at most this many bytes, so that memory does not grow with the layer."""
SHARD_ROWS = 1024
"""... and at most this many rows, so that a crash costs seconds of work."""
CHUNK_BYTES = 512 << 10
"""Chunks inside a shard: what other zarr readers read and check at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How the rows of a column are cut: shards of `shard_rows`, chunks of `chunk_rows`."""

    row_shape: tuple[int, ...]
    dtype: str
    shard_rows: int
    chunk_rows: int

    @classmethod
    def of(cls, row_shape: tuple[int, ...], dtype: str) -> Self:
        """Choose a cut for rows of this shape: powers of two, at least one row."""
        row_bytes = max(1, math.prod(row_shape) * np.dtype(dtype).itemsize)
        chunk_rows = _power_of_two(min(64, SHARD_ROWS, CHUNK_BYTES // row_bytes))
        shard_rows = max(chunk_rows, _power_of_two(min(SHARD_ROWS, SHARD_BYTES // row_bytes)))
        return cls(
            row_shape=tuple(row_shape), dtype=dtype, shard_rows=shard_rows, chunk_rows=chunk_rows
        )

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.row_shape) * np.dtype(self.dtype).itemsize

    @property
    def little_endian(self) -> np.dtype[Any]:
        """The type on disk."""
        return np.dtype(self.dtype).newbyteorder("<")


def _power_of_two(at_most: int) -> int:
    return 1 << (max(1, at_most).bit_length() - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRef:
    """Where a shard lies and what its bytes must be; part of the commit record.

    Chunk i, rows [i * chunk_rows, (i + 1) * chunk_rows), begins `offset + i * stride` bytes into
    the file, uncompressed; so rows are read straight into the result.
    """

    file: str
    sha256: str
    size: int
    rows: int
    row_shape: tuple[int, ...]
    dtype: str
    shard_rows: int
    chunk_rows: int
    offset: int
    stride: int

    @property
    def grid(self) -> Grid:
        """The cut of the shard's column."""
        return Grid(
            row_shape=self.row_shape,
            dtype=self.dtype,
            shard_rows=self.shard_rows,
            chunk_rows=self.chunk_rows,
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self) | {"row_shape": list(self.row_shape)}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**(dict(facts) | {"row_shape": tuple(facts["row_shape"])}))


class FeatureShards(ABC):
    """Shards by digest: written once, whole; then only read."""

    @abstractmethod
    def write(self, digest: str, features: np.ndarray, grid: Grid) -> ShardRef:
        """Keep a copy of `features` (rows, *row_shape) under `digest`, durably.

        Rows are 1 to `grid.shard_rows`. Writing what is already there changes nothing.
        """

    @abstractmethod
    def read(self, ref: ShardRef, start: int, stop: int, out: np.ndarray | None = None) -> Any:
        """Return rows [start, stop) as (stop - start, *row_shape), into `out` where given.

        Raises:
            DamagedStoreError: If the shard is missing, short or altered.
        """


class ShardFormat(ABC):
    """A file format that can hold one shard, uncompressed, at offsets known beforehand."""

    suffix: str

    @abstractmethod
    def encode(self, features: np.ndarray, grid: Grid) -> tuple[bytes, int, int]:
        """Return (bytes of the file, offset of the first chunk, stride between chunks)."""

    @abstractmethod
    def decode(self, data: bytes, rows: int, grid: Grid) -> np.ndarray:
        """Parse a file by the format's own rules, checksums included, into (rows, *row_shape).

        Raises:
            DamagedStoreError: If it is not a whole shard of this shape and type.
        """


class MemoryShards(FeatureShards):
    """The reference: a dictionary."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def write(self, digest: str, features: np.ndarray, grid: Grid) -> ShardRef:
        check_rows(features, grid)
        kept = self._arrays.setdefault(digest, features.astype(grid.little_endian))
        return ShardRef(
            file=digest,
            sha256=sha256(np.ascontiguousarray(kept).data.cast("B")),
            size=kept.nbytes,
            rows=len(kept),
            offset=0,
            stride=grid.row_bytes * grid.chunk_rows,
            **asdict(grid),
        )

    def read(self, ref: ShardRef, start: int, stop: int, out: np.ndarray | None = None) -> Any:
        check_range(ref, start, stop)
        if ref.file not in self._arrays:
            raise damaged(ref.file, "is missing")
        if out is None:
            return self._arrays[ref.file][start:stop].copy()
        out[...] = self._arrays[ref.file][start:stop]
        return out


class FileShards(FeatureShards):
    """Shards as files of one store; written in one format, read in whichever they have."""

    def __init__(self, files: Files, formats: Sequence[ShardFormat]) -> None:
        """`formats[0]` is written; all of them are read."""
        self._files = files
        self._formats = {form.suffix: form for form in formats}
        self._writes = formats[0]
        self._checked: dict[str, tuple[str, Stamp]] = {}

    def write(self, digest: str, features: np.ndarray, grid: Grid) -> ShardRef:
        check_rows(features, grid)
        form = self._writes
        data, offset, stride = form.encode(features, grid)
        again = form.decode(data, len(features), grid)
        if again.tobytes() != np.ascontiguousarray(features, grid.little_endian).tobytes():
            raise AssertionError(f"{form.suffix} gave back other rows than it was given")
        ref = ShardRef(
            file=f"shards/{digest}{form.suffix}",
            sha256=sha256(data),
            size=len(data),
            rows=len(features),
            offset=offset,
            stride=stride,
            **asdict(grid),
        )
        with disk_errors(ref.file):
            if not publish(self._files, ref.file, data):
                self._settle(ref, data)
        return ref

    def _settle(self, ref: ShardRef, data: bytes) -> None:
        """Meet a file that already has the name: exists does not mean correct."""
        if sha256(self._files.read(ref.file)) == ref.sha256:
            return
        aside = ref.file.replace("shards/", "damaged/", 1)
        self._files.rename(ref.file, aside)
        self._files.fsync("damaged")
        publish(self._files, ref.file, data)

    def read(self, ref: ShardRef, start: int, stop: int, out: np.ndarray | None = None) -> Any:
        check_range(ref, start, stop)
        if out is None:
            out = np.empty((stop - start, *ref.row_shape), ref.grid.little_endian)
        if self._is_checked(ref):
            self._read_rows(ref, start, stop, out)
        elif (start, stop) == (0, ref.rows) and _can_fill(ref, out):
            self._read_checked(ref, out)
        else:
            whole = np.empty((ref.rows, *ref.row_shape), ref.grid.little_endian)
            self._read_checked(ref, whole)
            out[...] = whole[start:stop]
        return out

    def decode(self, ref: ShardRef) -> np.ndarray:
        """Return all rows by the format's own parser, after checking the file's digest."""
        data = self._read_file(ref)
        return self._format_of(ref).decode(data, ref.rows, ref.grid)

    def _read_file(self, ref: ShardRef) -> bytes:
        try:
            data = self._files.read(ref.file)
        except FileNotFoundError as error:
            raise damaged(ref.file, "is missing") from error
        if len(data) != ref.size:
            raise damaged(ref.file, f"has {len(data)} bytes, expected {ref.size}")
        if sha256(data) != ref.sha256:
            raise damaged(ref.file, "was altered: its SHA-256 does not fit")
        return data

    def _format_of(self, ref: ShardRef) -> ShardFormat:
        return self._formats["." + ref.file.rpartition(".")[2]]

    def _is_checked(self, ref: ShardRef) -> bool:
        return self._checked.get(ref.file) == (ref.sha256, self._stamp(ref))

    def _stamp(self, ref: ShardRef) -> Stamp:
        try:
            stamp = self._files.stamp(ref.file)
        except FileNotFoundError as error:
            raise damaged(ref.file, "is missing") from error
        if stamp.size != ref.size:
            raise damaged(ref.file, f"has {stamp.size} bytes, expected {ref.size}")
        return stamp

    def _read_checked(self, ref: ShardRef, out: np.ndarray) -> None:
        """Read and hash the file in one pass, its rows straight into `out`, all of it."""
        stamp = self._stamp(ref)
        digest, position = hashlib.sha256(), 0
        for buffer in _file_buffers(ref, _bytes_of(out)):
            for piece in _pieces(buffer):
                if self._files.read_into(ref.file, position, [piece]) != len(piece):
                    raise damaged(ref.file, "became shorter while it was read")
                digest.update(piece)
                position += len(piece)
        if digest.hexdigest() != ref.sha256:
            raise damaged(ref.file, "was altered: its SHA-256 does not fit")
        self._checked[ref.file] = (ref.sha256, stamp)

    def _read_rows(self, ref: ShardRef, start: int, stop: int, out: np.ndarray) -> None:
        if start == stop:
            return
        target = out if _can_fill(ref, out) else np.empty(out.shape, ref.grid.little_endian)
        offset, buffers = _row_buffers(ref, start, stop, _bytes_of(target))
        if self._files.read_into(ref.file, offset, buffers) != sum(map(len, buffers)):
            raise damaged(ref.file, "became shorter while it was read")
        if target is not out:
            out[...] = target


def damaged(file: str, what: str) -> DamagedStoreError:
    """Say what is wrong with a file of the store, and what to type."""
    return DamagedStoreError(
        f"{file} {what}. To see all that is wrong: python -m extract verify STORE; to set it "
        f"aside: python -m extract repair STORE, then run the extraction again"
    )


def check_rows(features: np.ndarray, grid: Grid) -> None:
    """Raise `ValueError` unless `features` fits one shard of this grid."""
    if features.shape[1:] != grid.row_shape or not 1 <= len(features) <= grid.shard_rows:
        raise ValueError(
            f"A shard holds 1 to {grid.shard_rows} rows of shape {grid.row_shape}. "
            f"Received: {features.shape}"
        )


def check_range(ref: ShardRef, start: int, stop: int) -> None:
    """Raise `IndexError` unless [start, stop) lies in the shard."""
    if not 0 <= start <= stop <= ref.rows:
        raise IndexError(f"{ref.file} has rows 0 to {ref.rows}. Received: {start} to {stop}")


def _can_fill(ref: ShardRef, out: np.ndarray) -> bool:
    return bool(out.dtype == ref.grid.little_endian and out.flags.c_contiguous)


def _bytes_of(array: np.ndarray) -> Buffer:
    return array.reshape(-1).view(np.uint8).data


def _pieces(buffer: Buffer) -> Sequence[Buffer]:
    return [buffer[i : i + READ_ONCE] for i in range(0, len(buffer), READ_ONCE)]


def _file_buffers(ref: ShardRef, rows: Buffer) -> list[Buffer]:
    """Cut the whole file, in order, into buffers: rows go to `rows`, the rest to scratch."""
    chunk_bytes = ref.grid.row_bytes * ref.chunk_rows
    buffers, position, done = [], 0, 0
    while done < len(rows):
        chunk = ref.offset + (done // chunk_bytes) * ref.stride
        if chunk > position:
            buffers.append(memoryview(bytearray(chunk - position)))
        count = min(chunk_bytes, len(rows) - done)
        buffers.append(rows[done : done + count])
        position, done = chunk + count, done + count
    if ref.size > position:
        buffers.append(memoryview(bytearray(ref.size - position)))
    return buffers


def _row_buffers(ref: ShardRef, start: int, stop: int, rows: Buffer) -> tuple[int, list[Buffer]]:
    """Return (offset, buffers) that read rows [start, stop) in one scattered read."""
    row_bytes = ref.grid.row_bytes
    gap = memoryview(bytearray(ref.stride - row_bytes * ref.chunk_rows))
    buffers: list[Buffer] = []
    row, done = start, 0
    while row < stop:
        count = min(stop, (row // ref.chunk_rows + 1) * ref.chunk_rows) - row
        if buffers and len(gap):
            buffers.append(gap)
        buffers.append(rows[done : done + count * row_bytes])
        row, done = row + count, done + count * row_bytes
    first = ref.offset + start // ref.chunk_rows * ref.stride
    return first + start % ref.chunk_rows * row_bytes, buffers
