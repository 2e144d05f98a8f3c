"""`run --plan` counts what a run will do, times a few images, and touches nothing."""

from pathlib import Path

import pytest

import extract
from extract.backbones import BackboneSpec
from extract.errors import InputError, StaleStoreError
from extract.estimating import estimate
from extract.plan import Settings
from extract.recipe import LayerRequest, PixelPolicy
from tests.helpers import tree

SETTINGS = Settings(spec=BackboneSpec(name="digits"), pixels=PixelPolicy(image_size=32))

pytestmark = pytest.mark.usefixtures("fake_backbone")


def test_a_first_plan_counts_everything_and_writes_nothing(photos):
    before = tree(photos.parent)
    found = estimate(photos, None, SETTINGS)

    assert (found.items, found.known, found.new, found.extract) == (13, 0, 13, 13)
    assert tree(photos.parent) == before
    assert found.store == f"{photos}.features"
    assert (found.images_per_second > 0, found.probed) == (True, 13)
    assert 0 < found.disk < found.disk_free
    assert found.memory > 0


def test_a_plan_over_a_store_counts_what_is_new(photos, picture):
    store = Path(extract.run(photos, backbone="digits").store)
    picture(photos / "cats" / "new.png", seed=3)
    before = tree(store)
    found = estimate(photos, None, SETTINGS)

    assert (found.items, found.known, found.new, found.extract) == (14, 13, 1, 1)
    assert tree(store) == before


def test_nothing_to_do_costs_nothing(photos, fake_backbone):
    extract.run(photos, backbone="digits")
    images = fake_backbone.images
    found = estimate(photos, None, SETTINGS)

    assert (found.known, found.extract, found.disk, found.seconds) == (13, 0, 0, 0.0)
    assert found.images_per_second is None
    assert fake_backbone.images == images


def test_a_new_column_costs_every_distinct_image_once(photos):
    extract.run(photos, backbone="digits")
    settings = Settings(
        spec=SETTINGS.spec, pixels=SETTINGS.pixels, layers=(LayerRequest("3", None),)
    )
    found = estimate(photos, None, settings)

    assert (found.known, found.new, found.extract) == (0, 0, 12)


def test_the_growth_is_no_less_than_what_the_run_then_writes(photos, monkeypatch):
    """Features and records; probes are the same for every store."""
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    found = estimate(photos, None, SETTINGS)
    store = Path(extract.run(photos, backbone="digits").store)
    written = sum(p.stat().st_size for name in ("shards",) for p in (store / name).iterdir())

    assert written <= found.disk


def test_pictures_that_cannot_be_read_leave_the_time_unknown(tmp_path):
    folder = tmp_path / "photos" / "cats"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"no picture")
    found = estimate(folder.parent, None, SETTINGS)

    assert (found.extract, found.images_per_second, found.seconds) == (1, None, None)


def test_what_a_run_refuses_a_plan_refuses(photos):
    extract.run(photos, backbone="digits")
    other = Settings(spec=SETTINGS.spec, pixels=PixelPolicy(image_size=64))

    with pytest.raises(StaleStoreError, match="image_size"):
        estimate(photos, None, other)
    with pytest.raises(InputError, match="lies inside the images"):
        estimate(photos, photos / "cats" / "features", SETTINGS)


class TestRoom:
    """Features that cannot fit on the disk are refused before anything is written."""

    @pytest.fixture
    def free(self, monkeypatch):
        def set_free(count):
            monkeypatch.setattr("extract.needs.free_bytes", lambda store: count)

        return set_free

    def test_a_layer_that_does_not_fit_is_refused_with_its_size(self, photos, free):
        free(100)
        before = tree(photos.parent)

        with pytest.raises(InputError, match=r"13 images take .* GB.*last:avg takes.*--store"):
            extract.run(photos, backbone="digits")
        with pytest.raises(InputError, match=r"13 images take .* GB.*last:avg takes.*--store"):
            estimate(photos, None, SETTINGS)
        assert tree(photos.parent) == before

    def test_renamed_files_need_no_room(self, photos, free):
        extract.run(photos, backbone="digits")
        for path in sorted(photos.rglob("*.png")):
            path.rename(path.with_name("new-" + path.name))
        free(100)

        assert extract.run(photos, backbone="digits").extracted == 0
