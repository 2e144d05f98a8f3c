"""The reference and the two formats keep one contract, and files notice every kind of damage."""

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


def test_a_file_in_the_way_is_set_aside_not_trusted(written):
    """Exists does not mean correct: a torn file under the final name is replaced, and kept."""
    files, shards, ref = written
    (files.root / ref.file).write_bytes(b"torn")

    assert shards.write("a" * 64, ROWS, GRID) == ref
    np.testing.assert_array_equal(shards.read(ref, 0, 6), ROWS)
    assert [p.read_bytes() for p in (files.root / "damaged").iterdir()] == [b"torn"]


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
