"""Shards as files: written once through a format, checked once, then read straight into arrays.

Shards are uncompressed and a `ShardRef` says where their rows lie, so reading takes one scattered
read and no parser. The first read of a file hashes all of it, in the pass that reads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from extract.store.files import READ_ONCE, Buffer, Files, Stamp, disk_errors, publish, sha256
from extract.store.shards import (
    FeatureShards,
    Grid,
    ShardFormat,
    ShardRef,
    check_range,
    check_rows,
    damaged,
)


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
        for group in _groups(_file_buffers(ref, _bytes_of(out))):
            expected = sum(map(len, group))
            if self._files.read_into(ref.file, position, group) != expected:
                raise damaged(ref.file, "became shorter while it was read")
            for piece in group:
                digest.update(piece)
            position += expected
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


def _can_fill(ref: ShardRef, out: np.ndarray) -> bool:
    return bool(out.dtype == ref.grid.little_endian and out.flags.c_contiguous)


def _bytes_of(array: np.ndarray) -> Buffer:
    return array.reshape(-1).view(np.uint8).data


def _groups(buffers: Sequence[Buffer]) -> Iterator[list[Buffer]]:
    """Cut buffers into groups of about `READ_ONCE` bytes, which one scattered read fills."""
    group: list[Buffer] = []
    for buffer in buffers:
        for start in range(0, len(buffer), READ_ONCE):
            group.append(buffer[start : start + READ_ONCE])
            if sum(map(len, group)) >= READ_ONCE:
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
