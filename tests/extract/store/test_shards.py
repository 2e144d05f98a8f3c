"""The reference and the two formats keep one contract, and files notice every kind of damage."""

import itertools
import os
import re
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import DamagedStoreError
from extract.store.file_shards import FileShards
from extract.store.files import LocalFiles
from extract.store.hdf5_shards import HDF5Format
from extract.store.header import FOLDERS
from extract.store.shards import Grid, MemoryShards
from extract.store.strangers import SHARD_NAME
from extract.store.zarr_shards import ZarrFormat
from tests.extract.store.shards_contract import GRID, ROWS, ShardsContract
from tests.simulated import SimulatedFiles
from tests.strategies import features


def local(tmp_path):
    files = LocalFiles(tmp_path / "store")
    for folder in ("", *FOLDERS):
        files.make_folder(folder)
    return files


class TestMemoryShards(ShardsContract):
    @pytest.fixture
    def shards(self):
        return MemoryShards()


class TestZarrShards(ShardsContract):
    @pytest.fixture
    def shards(self, tmp_path):
        return FileShards(local(tmp_path), [ZarrFormat(), HDF5Format()])


class TestHDF5Shards(ShardsContract):
    @pytest.fixture
    def shards(self, tmp_path):
        return FileShards(local(tmp_path), [HDF5Format(), ZarrFormat()])


class TestShardsOnASimulatedDisk(ShardsContract):
    @pytest.fixture
    def shards(self):
        return FileShards(SimulatedFiles(), [ZarrFormat()])


@pytest.mark.parametrize("form", [ZarrFormat, HDF5Format], ids=["zarr", "hdf5"])
@settings(max_examples=40)
@given(rows=features(), data=st.data())
def test_files_answer_as_the_reference_does(tmp_path_factory, form, rows, data):
    """NaN payloads, infinities, negative zeros, in whole and in part: every bit comes back."""
    chunk_rows = data.draw(st.sampled_from([1, 4, 32]))
    grid = Grid(
        row_shape=rows.shape[1:], dtype=rows.dtype.name, shard_rows=64, chunk_rows=chunk_rows
    )
    disk = FileShards(local(tmp_path_factory.mktemp("shards")), [form()])
    memory = MemoryShards()
    refs = disk.write("a" * 64, rows, grid), memory.write("a" * 64, rows, grid)
    for _ in range(3):  # the first read checks the file, the others do not
        start = data.draw(st.integers(0, len(rows)))
        stop = data.draw(st.integers(start, len(rows)))

        assert (
            disk.read(refs[0], start, stop).tobytes()
            == memory.read(refs[1], start, stop).tobytes()
            == rows[start:stop].tobytes()
        )


@pytest.mark.parametrize("form", [ZarrFormat, HDF5Format], ids=["zarr", "hdf5"])
def test_a_format_that_is_asked_for_is_written(tmp_path, form):
    shards = FileShards(local(tmp_path), [ZarrFormat(), HDF5Format()])
    ref = shards.write("a" * 64, ROWS, GRID, form.name)

    assert (ref.format, ref.file) == (form.name, f"shards/{'a' * 64}{form.suffix}")
    np.testing.assert_array_equal(shards.decode(ref), ROWS)


@pytest.fixture(params=[ZarrFormat, HDF5Format], ids=["zarr", "hdf5"])
def written(request, tmp_path):
    """(files, shards that have checked nothing, ref) of one shard on a disk."""
    files = local(tmp_path)
    ref = FileShards(files, [request.param()]).write("a" * 64, ROWS, GRID)
    return files, FileShards(files, [request.param()]), ref


def test_every_flipped_bit_is_noticed(written):
    """One bit anywhere in the file, padding and headers included: never a number."""
    files, shards, ref = written
    path = files.root / ref.file
    whole = path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 200)):
        broken = bytearray(whole)
        broken[position] ^= 1 << (position % 8)
        path.write_bytes(broken)

        with pytest.raises(DamagedStoreError, match="was altered.*verify.*repair"):
            shards.read(ref, 0, 6)


@pytest.mark.parametrize("part", ["whole", "one row"])
@pytest.mark.parametrize(
    "length", [0, 1, -1, -4], ids=["empty", "one byte", "last byte", "4 bytes"]
)
def test_a_short_shard_is_named(written, length, part):
    files, shards, ref = written
    path = files.root / ref.file
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(DamagedStoreError, match=f"{ref.file} has .* bytes, expected {ref.size}"):
        shards.read(ref, 0, 6 if part == "whole" else 1)


def test_a_shard_that_changes_after_its_check_is_checked_again(written):
    files, shards, ref = written
    shards.read(ref, 0, 6)
    path = files.root / ref.file
    broken = bytearray(path.read_bytes())
    broken[ref.offset] ^= 1
    path.unlink()
    path.write_bytes(broken)

    with pytest.raises(DamagedStoreError, match="was altered"):
        shards.read(ref, 0, 1)


@pytest.mark.parametrize("in_the_way", [1, 2])
def test_a_file_in_the_way_is_neither_trusted_nor_touched(written, in_the_way):
    """Exists does not mean correct; and what is there may be a file that another is writing."""
    files, shards, ref = written
    torn = set()
    for _ in range(in_the_way):
        torn.add(shards.write("a" * 64, ROWS, GRID).file)
        for name in torn:
            (files.root / name).write_bytes(b"torn")
    found = shards.write("a" * 64, ROWS, GRID)

    assert replace(found, file=ref.file) == ref
    assert len(torn) == in_the_way
    assert found.file not in torn
    assert re.fullmatch(SHARD_NAME, found.file.removeprefix("shards/"))
    np.testing.assert_array_equal(shards.read(found, 0, 6), ROWS)
    assert {(files.root / name).read_bytes() for name in torn} == {b"torn"}


def test_a_file_that_goes_while_it_is_looked_at_is_written_again(written, monkeypatch):
    _, shards, _ = written
    read = LocalFiles.read

    def gone(self, name):
        (self.root / name).unlink()
        return read(self, name)

    monkeypatch.setattr(LocalFiles, "read", gone)
    found = shards.write("a" * 64, ROWS, GRID)

    np.testing.assert_array_equal(shards.read(found, 0, 6), ROWS)


@pytest.mark.parametrize("form", [ZarrFormat, HDF5Format], ids=["zarr", "hdf5"])
def test_no_interleaving_of_two_writers_takes_a_good_shard_away(form):
    """Before each change of the one, the other writes all of its own; a torn file is in the way."""
    for moment in itertools.count():
        files = SimulatedFiles()
        ref = FileShards(files, [form()]).write("a" * 64, ROWS, GRID)
        files.now[ref.file].data = b"torn"
        theirs = []
        change, left = files._change, iter(range(moment))

        def beside(change=change, left=left, files=files, theirs=theirs):
            if next(left, None) is None and not theirs:
                theirs.append(None)
                theirs[0] = FileShards(files, [form()]).write("a" * 64, ROWS + 1, GRID)
            change()

        files._change = beside
        ours = FileShards(files, [form()]).write("a" * 64, ROWS, GRID)
        np.testing.assert_array_equal(FileShards(files, [form()]).read(ours, 0, 6), ROWS)
        if not theirs:
            break
        np.testing.assert_array_equal(FileShards(files, [form()]).read(theirs[0], 0, 6), ROWS + 1)

    assert moment > 3


def test_nothing_is_left_in_tmp(written):
    files, _, _ = written

    assert files.list("tmp") == []


@pytest.mark.parametrize(
    ("row_shape", "dtype", "expected"),
    [
        ((1280,), "float32", (1024, 64)),
        ((1280,), "float16", (1024, 64)),
        ((7, 7, 1280), "float32", (256, 2)),
        ((112, 112, 96), "float32", (8, 1)),
        ((4096, 4096), "float32", (1, 1)),
        ((1,), "float16", (1024, 64)),
    ],
)
def test_shards_are_bounded_in_rows_and_bytes(row_shape, dtype, expected):
    """A crash costs seconds, and memory does not grow with the layer."""
    grid = Grid.of(row_shape, dtype)

    assert (grid.shard_rows, grid.chunk_rows) == expected


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="this system reads buffer by buffer")
@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=8), most=st.integers(1, 7))
@settings(max_examples=40)
def test_a_read_that_stops_early_goes_on(tmp_path_factory, sizes, most):
    """Linux ends one call at 2 GiB; here at a few bytes."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "f").write_bytes(bytes(range(60)))
    preadv = os.preadv

    def few(descriptor, buffers, offset):
        return preadv(descriptor, [next(filter(len, buffers), buffers[0])[:most]], offset)

    buffers = [memoryview(bytearray(size)) for size in sizes]
    with mock.patch("os.preadv", few):
        assert LocalFiles(folder).read_into("f", [(7, buffers)]) == sum(sizes)
    assert b"".join(buffers) == bytes(range(7, 7 + sum(sizes)))
