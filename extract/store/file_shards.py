"""Shards as files: written once through a format, checked once, then read straight into arrays.

Shards are uncompressed and a `ShardRef` says where their rows lie, so reading takes one scattered
read and no parser. The first read of a file hashes all of it, in the pass that reads it.

A file that has its name keeps it. Another may be writing it, or have acknowledged it a moment ago,
and a disk or a bucket cannot move it aside only if it is still the one that was looked at. So who
finds a shard's name taken by other bytes, torn ones or another processor's, gives its own another
name: the record says which of them is the store's, and `gc` removes the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np

from extract.store.files import (
    Buffer,
    Files,
    Read,
    Stamp,
    disk_errors,
    publish,
    sha256,
)
from extract.store.shards import (
    FeatureShards,
    Format,
    Grid,
    ShardFormat,
    ShardRef,
    check_range,
    check_rows,
    damaged,
)

READ_THROUGH = 8 << 10  # bytes: reading over a gap this short is cheaper than another read
_SCRATCH = memoryview(bytearray(READ_THROUGH))


class FileShards(FeatureShards):
    """Shards as files of one store; written in a format, read in whichever they have."""

    def __init__(self, files: Files, formats: Sequence[ShardFormat]) -> None:
        """`formats[0]` is written where no other is asked for; all of them are read."""
        self.lanes = files.lanes
        self._files = files
        self._formats = {form.suffix: form for form in formats}
        self._writers = {form.name: form for form in formats}
        self._default = formats[0].name
        self._checked: dict[str, tuple[str, Stamp]] = {}

    def write(
        self, digest: str, features: np.ndarray, grid: Grid, format: Format | None = None
    ) -> ShardRef:
        check_rows(features, grid)
        form = self._writers[format or self._default]
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
        # A name after the content, so that a run which is killed and typed again leaves one file.
        for name in (digest, ref.sha256, secrets.token_hex(32)):
            ref = replace(ref, file=f"shards/{name}{form.suffix}")
            with disk_errors(ref.file):
                if publish(self._files, ref.file, data) or self._holds(ref.file, data):
                    return ref
        raise AssertionError(f"{ref.file} is taken, and nobody else has drawn this name")

    def _holds(self, name: str, data: bytes) -> bool:
        """Return whether a file that was there is ours: exists does not mean correct."""
        try:
            if self._files.read(name) != data:
                return False
            # Where a disk has no hard links, who was killed may have left it whole and unsynced.
            with contextlib.suppress(PermissionError):  # of another user, on such a disk or not
                self._files.fsync(name)
        except FileNotFoundError:  # a run beside us took back what it could not write
            return False
        return True

    def take(self, ref: ShardRef, rows: np.ndarray, out: np.ndarray, at: np.ndarray) -> None:
        check_range(ref, int(rows[0]), int(rows[-1]) + 1)
        if self._is_checked(ref):
            self._read_rows(ref, rows, out, at)
        elif len(rows) == ref.rows and _is_run(rows) and _is_run(at) and _can_fill(ref, out):
            self._read_checked(ref, out[at[0] : at[-1] + 1])
        else:
            whole = np.empty((ref.rows, *ref.row_shape), ref.grid.little_endian)
            self._read_checked(ref, whole)
            out[at] = whole[rows]

    def decode(self, ref: ShardRef) -> np.ndarray:
        """Return all rows by the format's own parser, after checking the file's digest."""
        return np.concatenate(self.parse(ref))

    def parse(self, ref: ShardRef) -> list[np.ndarray]:
        """Return what `decode` does, in pieces, without copying a byte."""
        self._stamp(ref)
        data = self._files.view(ref.file)
        if sha256(data) != ref.sha256:
            raise damaged(ref.file, "was altered: its SHA-256 does not fit")
        return self._format_of(ref).parse(data, ref.rows, ref.grid)

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
        for group in _groups(_file_buffers(ref, _bytes_of(out)), self._files.piece):
            expected = sum(map(len, group))
            if self._files.read_into(ref.file, [(position, group)]) != expected:
                raise damaged(ref.file, "became shorter while it was read")
            for piece in group:
                digest.update(piece)
            position += expected
        if digest.hexdigest() != ref.sha256:
            raise damaged(ref.file, "was altered: its SHA-256 does not fit")
        self._checked[ref.file] = (ref.sha256, stamp)

    def _read_rows(self, ref: ShardRef, rows: np.ndarray, out: np.ndarray, at: np.ndarray) -> None:
        if not _can_fill(ref, out):
            own = np.empty((len(rows), *ref.row_shape), ref.grid.little_endian)
            self._read_rows(ref, rows, own, np.arange(len(rows)))
            out[at] = own
            return
        reads = _reads(ref, rows, _bytes_of(out), at)
        expected = sum(len(buffer) for _, buffers in reads for buffer in buffers)
        if self._files.read_into(ref.file, reads) != expected:
            raise damaged(ref.file, "became shorter while it was read")


def _is_run(numbers: np.ndarray) -> bool:
    return bool(np.all(np.diff(numbers) == 1))


def _can_fill(ref: ShardRef, out: np.ndarray) -> bool:
    return bool(out.dtype == ref.grid.little_endian and out.flags.c_contiguous)


def _bytes_of(array: np.ndarray) -> Buffer:
    return array.reshape(-1).view(np.uint8).data


def _groups(buffers: Sequence[Buffer], size: int) -> Iterator[list[Buffer]]:
    """Cut buffers into groups of about `size` bytes, which one scattered read fills."""
    group: list[Buffer] = []
    for buffer in buffers:
        for start in range(0, len(buffer), size):
            group.append(buffer[start : start + size])
            if sum(map(len, group)) >= size:
                yield group
                group = []
    if group:
        yield group


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


def _reads(ref: ShardRef, rows: np.ndarray, out: Buffer, at: np.ndarray) -> list[Read]:
    """Return the scattered reads that put rising rows where they go: few, and few bytes more."""
    row_bytes = ref.grid.row_bytes
    chunks, inside = np.divmod(rows, ref.chunk_rows)
    offsets = ref.offset + chunks * ref.stride + inside * row_bytes
    apart = (np.diff(offsets) != row_bytes) | (np.diff(at) != 1)
    firsts = np.concatenate([[0], np.flatnonzero(apart) + 1])
    sizes = np.diff(firsts, append=len(rows)) * row_bytes
    places = at[firsts] * row_bytes
    reads: list[Read] = []
    end = -1
    for offset, place, size in zip(
        offsets[firsts].tolist(), places.tolist(), sizes.tolist(), strict=True
    ):
        gap = offset - end
        if end < 0 or not 0 <= gap <= READ_THROUGH:
            buffers: list[Buffer] = []
            reads.append((offset, buffers))
        elif gap:
            buffers.append(_SCRATCH[:gap])
        buffers.append(out[place : place + size])
        end = offset + size
    return reads
