"""What writing and reading a shard promises, and the reference that keeps the promise.

A shard is a run of rows of one column, written once and then only read. Readers get the rows
that were written, bit for bit, or an error that names the file: never fewer rows, never a fill
value. `MemoryShards` is the reference, `file_shards.py` the store; one test class holds both.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np

from extract.errors import DamagedStoreError
from extract.store.files import Buffer, sha256

Format = Literal["zarr", "hdf5"]

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

    @property
    def format(self) -> Format:
        """The format of the file, which its ending says."""
        return "hdf5" if self.file.endswith(".h5") else "zarr"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self) | {"row_shape": list(self.row_shape)}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**(dict(facts) | {"row_shape": tuple(facts["row_shape"])}))


def format_of(refs: Iterable[ShardRef]) -> Format:
    """Return the format of a store with these shards: who chose HDF5 once goes on with it."""
    return "hdf5" if any(ref.format == "hdf5" for ref in refs) else "zarr"


class FeatureShards(ABC):
    """Shards by digest: written once, whole; then only read."""

    lanes: int = 1
    """How many reads at once suit the place where they lie."""

    @abstractmethod
    def write(
        self, digest: str, features: np.ndarray, grid: Grid, format: Format | None = None
    ) -> ShardRef:
        """Keep a copy of `features` (rows, *row_shape) under `digest`, durably.

        Rows are 1 to `grid.shard_rows`. Writing what is already there changes nothing, and other
        rows of the same digest are kept beside the first: each ref means the rows that it was
        given for. Where shards are files they have `format`, the first of theirs by default.
        """

    @abstractmethod
    def take(self, ref: ShardRef, rows: np.ndarray, out: np.ndarray, at: np.ndarray) -> None:
        """Put rows of a shard, in rising order and perhaps repeated, into `out[at]`.

        Args:
            ref: The shard.
            rows: (n,) numbers of rows, each at least 0 and below `ref.rows`, n ≥ 1.
            out: (m, *row_shape) of the shard's type or another.
            at: (n,) positions in `out`, where each row goes.

        Raises:
            IndexError: If the shard has no such row.
            DamagedStoreError: If the shard is missing, short or altered.
        """

    def read(self, ref: ShardRef, start: int, stop: int, out: np.ndarray | None = None) -> Any:
        """Return rows [start, stop) as (stop - start, *row_shape), into `out` where given.

        Raises:
            IndexError: If the shard has no such rows.
            DamagedStoreError: If the shard is missing, short or altered.
        """
        check_range(ref, start, stop)
        if out is None:
            out = np.empty((stop - start, *ref.row_shape), ref.grid.little_endian)
        if start < stop:
            self.take(ref, np.arange(start, stop), out, np.arange(stop - start))
        return out


class ShardFormat(ABC):
    """A file format that can hold one shard, uncompressed, at offsets known beforehand."""

    name: Format
    suffix: str

    @abstractmethod
    def encode(self, features: np.ndarray, grid: Grid) -> tuple[bytes, int, int]:
        """Return (bytes of the file, offset of the first chunk, stride between chunks)."""

    @abstractmethod
    def parse(self, data: bytes | Buffer, rows: int, grid: Grid) -> list[np.ndarray]:
        """Read a file by the format's own rules, checksums included.

        Returns:
            Pieces of (n, *row_shape) that together are `rows` rows; perhaps views of `data`.

        Raises:
            DamagedStoreError: If it is not a whole shard of this shape and type.
        """

    def decode(self, data: bytes | Buffer, rows: int, grid: Grid) -> np.ndarray:
        """Return what `parse` reads as one array of its own, (rows, *row_shape)."""
        return np.concatenate(self.parse(data, rows, grid))


class MemoryShards(FeatureShards):
    """The reference: a dictionary."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def write(
        self, digest: str, features: np.ndarray, grid: Grid, format: Format | None = None
    ) -> ShardRef:
        check_rows(features, grid)
        kept = np.ascontiguousarray(features, grid.little_endian)
        own = sha256(kept.tobytes())
        taken = digest in self._arrays and sha256(self._arrays[digest].tobytes()) != own
        name = own if taken else digest
        self._arrays.setdefault(name, kept.copy())
        return ShardRef(
            file=name,
            sha256=own,
            size=kept.nbytes,
            rows=len(kept),
            offset=0,
            stride=grid.row_bytes * grid.chunk_rows,
            **asdict(grid),
        )

    def take(self, ref: ShardRef, rows: np.ndarray, out: np.ndarray, at: np.ndarray) -> None:
        check_range(ref, int(rows[0]), int(rows[-1]) + 1)
        if ref.file not in self._arrays:
            raise damaged(ref.file, "is missing")
        out[at] = self._arrays[ref.file][rows]


CURE = (
    ". To see all that is wrong: python -m extract verify STORE; to make it anew from the images: "
    "python -m extract repair STORE"
)


def damaged(file: str, what: str) -> DamagedStoreError:
    """Say what is wrong with a file of the store, and what to type."""
    return DamagedStoreError(f"{file} {what}{CURE}")


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
