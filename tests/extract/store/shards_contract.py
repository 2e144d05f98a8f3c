"""What every place for shards promises; inherited by one class per place and format."""

from dataclasses import replace

import numpy as np
import pytest

from extract.errors import DamagedStoreError
from extract.store.shards import Grid

GRID = Grid(row_shape=(3,), dtype="float32", shard_rows=8, chunk_rows=4)
ROWS = np.arange(18, dtype=np.float32).reshape(6, 3)


class ShardsContract:
    """Inherit this and override `shards` with an empty place."""

    @pytest.fixture
    def shards(self, tmp_path):
        raise NotImplementedError

    @pytest.mark.parametrize(("start", "stop"), [(0, 6), (0, 1), (3, 5), (5, 6), (2, 2), (4, 6)])
    def test_any_range_of_rows_comes_back(self, shards, start, stop):
        ref = shards.write("a" * 64, ROWS, GRID)

        np.testing.assert_array_equal(shards.read(ref, start, stop), ROWS[start:stop], strict=True)

    def test_rows_can_be_read_into_an_array(self, shards):
        ref = shards.write("a" * 64, ROWS, GRID)
        out = np.zeros((3, 3), np.float32)

        assert shards.read(ref, 2, 5, out) is out
        np.testing.assert_array_equal(out, ROWS[2:5])

    def test_rows_can_be_read_into_another_type(self, shards):
        ref = shards.write("a" * 64, ROWS, GRID)
        out = np.zeros((6, 3), np.float64)

        np.testing.assert_array_equal(shards.read(ref, 0, 6, out), ROWS)
        np.testing.assert_array_equal(shards.read(ref, 1, 4, out[:3]), ROWS[1:4])

    @pytest.mark.parametrize("checked", [False, True])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize(
        ("rows", "at"),
        [([0, 1, 2, 3, 4, 5], [2, 0, 6, 1, 5, 3]), ([0, 2, 2, 5], [6, 0, 1, 3]), ([4], [0])],
    )
    def test_rising_rows_go_where_they_are_wanted(self, shards, rows, at, dtype, checked):
        ref = shards.write("a" * 64, ROWS, GRID)
        if checked:
            shards.read(ref, 0, 6)
        out = np.full((7, 3), -1, dtype)
        expected = out.copy()
        expected[at] = ROWS[rows]

        shards.take(ref, np.array(rows), out, np.array(at))
        np.testing.assert_array_equal(out, expected)

    @pytest.mark.parametrize("rows", [[-1, 2], [3, 6]])
    def test_rows_past_the_ends_cannot_be_taken(self, shards, rows):
        ref = shards.write("a" * 64, ROWS, GRID)

        with pytest.raises(IndexError, match="has rows 0 to 6"):
            shards.take(ref, np.array(rows), np.zeros((2, 3)), np.arange(2))

    def test_the_callers_array_is_copied(self, shards):
        rows = ROWS.copy()
        ref = shards.write("a" * 64, rows, GRID)
        rows[:] = -1

        np.testing.assert_array_equal(shards.read(ref, 0, 6), ROWS)

    def test_what_is_read_is_the_callers_own(self, shards):
        ref = shards.write("a" * 64, ROWS, GRID)
        shards.read(ref, 0, 6)[:] = -1

        np.testing.assert_array_equal(shards.read(ref, 0, 6), ROWS)

    def test_writing_twice_changes_nothing(self, shards):
        first = shards.write("a" * 64, ROWS, GRID)

        assert shards.write("a" * 64, ROWS, GRID) == first

    def test_other_rows_of_the_same_name_are_kept_beside_the_first(self, shards):
        """Two machines may make one shard with other bits: each one's ref means its own rows."""
        first = shards.write("a" * 64, ROWS, GRID)
        second = shards.write("a" * 64, ROWS + 1, GRID)

        np.testing.assert_array_equal(shards.read(first, 0, 6), ROWS)
        np.testing.assert_array_equal(shards.read(second, 0, 6), ROWS + 1)
        assert shards.write("a" * 64, ROWS, GRID) == first
        assert shards.write("a" * 64, ROWS + 1, GRID) == second

    def test_the_ref_survives_json(self, shards):
        ref = shards.write("a" * 64, ROWS, GRID)

        assert type(ref).from_json(ref.to_json()) == ref

    @pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 7), (4, 3)])
    def test_rows_that_are_not_there_are_an_error(self, shards, start, stop):
        ref = shards.write("a" * 64, ROWS, GRID)

        with pytest.raises(IndexError, match="has rows 0 to 6"):
            shards.read(ref, start, stop)

    @pytest.mark.parametrize("shape", [(0, 3), (9, 3), (2, 4), (2,)])
    def test_a_shard_that_does_not_fit_is_refused(self, shards, shape):
        with pytest.raises(ValueError, match=r"1 to 8 rows of shape \(3,\)"):
            shards.write("a" * 64, np.zeros(shape, np.float32), GRID)

    def test_a_missing_shard_is_named(self, shards):
        ref = shards.write("a" * 64, ROWS, GRID)

        with pytest.raises(DamagedStoreError, match="elsewhere.*is missing"):
            shards.read(replace(ref, file=ref.file.replace("a" * 64, "elsewhere")), 0, 6)
