"""verify --quick, --images and --recompute: each finds what it covers, and no more."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import extract
from extract.checks import check_images, recompute
from extract.errors import InputError, StoreError
from extract.store.verify import verify
from tests.helpers import SyntheticEngine, tree

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture
def store(photos, monkeypatch):
    """A store of three shards and a bad image."""
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    (photos / "cats" / "bad.jpg").write_bytes(b"not a picture")
    return Path(extract.run(photos, backbone="digits", image_size=32).store)


class TestQuick:
    def test_a_sound_store_is_sound_and_no_shard_was_hashed(self, store):
        verdict = verify(store, quick=True)

        assert (verdict.problems, verdict.bytes) == ({}, 0)

    @pytest.mark.parametrize(
        "pattern", ["shards/*.zshard", "probes/ours-grey.jpg", "snapshots/*.parquet"]
    )
    def test_a_file_that_is_short_or_missing_is_named(self, store, pattern):
        path = next(iter(store.glob(pattern)))
        name = path.relative_to(store).as_posix()
        path.write_bytes(path.read_bytes()[:-1])
        assert name in verify(store, quick=True).problems
        path.unlink()
        assert name in verify(store, quick=True).problems

    @pytest.mark.parametrize("pattern", ["commits/*.json", "snapshots/*.json", "store.json"])
    def test_an_altered_record_is_named(self, store, pattern):
        path = next(iter(store.glob(pattern)))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

        assert path.relative_to(store).as_posix() in verify(store, quick=True).problems


class TestImages:
    def test_images_that_are_as_they_were_fit(self, store):
        before = tree(store)
        verdict = check_images(store)

        assert (verdict.problems, verdict.notes, verdict.checks) == ({}, [], 14)
        assert verdict.bytes == sum(len(b) for b in tree(store.with_name("photos")).values())
        assert tree(store) == before

    def test_what_changed_or_went_away_is_named(self, store, picture):
        photos = store.with_name("photos")
        (photos / "cats" / "1.png").unlink()
        picture(photos / "dogs" / "2.png", seed=77)
        verdict = check_images(store)

        assert verdict.problems.keys() == {"cats/1.png", "dogs/2.png"}
        assert "other bytes" in verdict.problems["dogs/2.png"]
        assert f"looked for in {photos} alone" in verdict.notes[0]

    def test_moved_images_are_found_where_the_caller_says(self, store, tmp_path):
        moved = store.with_name("photos").rename(tmp_path / "moved")

        with pytest.raises(
            InputError, match=r"are not in .*photos.* any more. Give --found-at FOLDER"
        ):
            check_images(store)
        assert check_images(store, moved).is_sound

    def test_a_store_that_moved_with_its_images_finds_them_beside_it(self, store, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        shutil.move(store.with_name("photos"), elsewhere / "photos")
        shutil.move(store, elsewhere / "photos.features")

        assert check_images(elsewhere / "photos.features").is_sound


class TestRecompute:
    def test_rows_come_out_bit_for_bit(self, store, fake_backbone):
        images = fake_backbone.images
        verdict = recompute(store, 5)

        assert (verdict.problems, verdict.checks) == ({}, 5)
        assert fake_backbone.images == images + 5

    def test_no_more_images_than_there_are(self, store):
        assert recompute(store, 100).checks == 12

    def test_every_column_is_compared(self, store):
        extract.run(
            store.with_name("photos"), backbone="digits", image_size=32, layers=["last", "3:max"]
        )

        assert recompute(store, 4).checks == 8

    def test_one_other_bit_is_a_problem_within_one_signature(self, store, monkeypatch):
        real = SyntheticEngine.__call__
        monkeypatch.setattr(
            SyntheticEngine,
            "__call__",
            lambda self, pixels: [np.nextafter(x, np.inf) for x in real(self, pixels)],
        )
        problems = recompute(store, 3).problems

        assert len(problems) == 3
        assert "expected the same bits" in next(iter(problems.values()))

    @pytest.mark.parametrize(("change", "bad"), [(1e-6, 0), (1e-4, 3)])
    def test_across_signatures_a_tolerance_decides(self, store, monkeypatch, change, bad):
        real = SyntheticEngine.__call__
        other = {"engine": "synthetic", "version": "2", "instructions": "none"}
        monkeypatch.setattr(SyntheticEngine, "signature", other)
        monkeypatch.setattr(
            SyntheticEngine,
            "__call__",
            lambda self, pixels: [x * np.float32(1 + change) for x in real(self, pixels)],
        )

        assert len(recompute(store, 3).problems) == bad

    def test_the_seed_decides_which(self, store):
        for path in sorted(store.with_name("photos").rglob("*.png"))[6:]:
            path.write_bytes(b"another")
        one, other = recompute(store, 2, seed=0), recompute(store, 2, seed=1)

        assert (one.checks, other.checks) == (2, 2)

    def test_images_that_are_gone_are_noted_and_others_drawn(self, store):
        for path in sorted(store.with_name("photos").rglob("*.png"))[6:]:
            path.unlink()
        verdict = recompute(store, 12)

        assert verdict.checks == 6
        assert verdict.notes[0].startswith("6 images that were drawn are not in")

    def test_nothing_to_compare_with_is_one_line(self, store):
        for path in store.with_name("photos").rglob("*.png"):
            path.unlink()
        with pytest.raises(InputError, match="None of the images"):
            recompute(store, 3)
        with pytest.raises(InputError, match="at least 1"):
            recompute(store, 0)
        with pytest.raises(StoreError, match="not a store"):
            recompute(store.with_name("photos"), 3)
