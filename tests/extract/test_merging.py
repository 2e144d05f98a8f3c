"""merge: one store of several, with the root that one machine would have come to."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import extract
from extract.api import extract_features
from extract.backbones import BackboneSpec
from extract.errors import InputError, StoreWriteError
from extract.merging import merge, merge_stores
from extract.plan import Settings
from extract.progress import Silent
from extract.store.opening import Store
from extract.store.verify import verify
from tests.helpers import formats, tree
from tests.simulated import PowerCut, SimulatedFiles

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)


@pytest.fixture
def halves(photos):
    """The same pictures in two folders, each with one class and one picture of the other's."""
    folders = []
    for name in ("cats", "dogs"):
        folder = photos.parent / f"only-{name}"
        shutil.copytree(photos / name, folder / name)
        folders.append(folder)
    (folders[0] / "cats" / "bad.jpg").write_bytes(b"not a picture")
    (photos / "cats" / "bad.jpg").write_bytes(b"not a picture")
    return folders


def run(folder, **options):
    return extract.run(folder, backbone="digits", **options)


@pytest.mark.parametrize("formats", [("zarr", "zarr"), ("zarr", "hdf5"), ("hdf5", "hdf5")])
def test_the_merged_root_is_that_of_one_machine(photos, halves, tmp_path, fake_backbone, formats):
    root = run(photos, layers=["last", "3"]).root_digest
    stores = [
        run(folder, layers=["last", "3"], format=form).store
        for folder, form in zip(halves, formats, strict=True)
    ]
    before, images = [tree(Path(store)) for store in stores], fake_backbone.images
    done = merge(stores, tmp_path / "all.features")
    snapshot = extract.open_store(tmp_path / "all.features")

    assert (done.root_digest, snapshot.root_digest) == (root, root)
    assert (done.items, done.rows, done.doubles) == (14, 13, 1)
    assert verify(tmp_path / "all.features").is_sound
    assert [tree(Path(store)) for store in stores] == before
    assert fake_backbone.images == images
    whole = extract.open_store(f"{photos}.features")
    for column in ("last:avg", "3:avg"):
        np.testing.assert_array_equal(
            snapshot.load(None, column, bad="keep").X, whole.load(None, column, bad="keep").X
        )
    assert snapshot.items["path"] == whole.items["path"]
    assert snapshot.items["label"] == whole.items["label"]


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_the_merged_store_has_the_format_of_the_stores(halves, tmp_path, form):
    stores = [run(folder, format=form).store for folder in halves]
    done = merge(stores, tmp_path / "all.features")

    assert formats(done.store) == {form}
    assert done.linked < len(extract.open_store(done.store).record.columns[0].refs)


def test_full_shards_are_linked(halves, tmp_path):
    stores = [run(folder).store for folder in halves]
    done = merge(stores, tmp_path / "all.features")
    names = tree(Path(stores[0]) / "shards").keys() & tree(tmp_path / "all.features/shards").keys()

    assert done.linked == len(names) >= 1
    for name in names:
        assert (Path(stores[0]) / "shards" / name).stat().st_nlink == 2


def test_a_later_run_over_all_images_extracts_nothing(photos, halves, tmp_path):
    merge([run(folder).store for folder in halves], tmp_path / "all.features")
    summary = run(photos, store=tmp_path / "all.features")

    assert summary.extracted == 0
    assert verify(tmp_path / "all.features").is_sound


def test_copies_across_stores_get_one_split(halves, tmp_path):
    merge([run(folder).store for folder in halves], tmp_path / "all.features")
    items = extract.open_store(tmp_path / "all.features").items.to_pylist()
    splits = {row["path"]: row["split"] for row in items}

    assert splits["cats/0.png"] == splits["dogs/copy.png"]


def test_merging_again_says_the_same_and_other_stores_are_refused(halves, tmp_path, picture):
    stores = [run(folder).store for folder in halves]
    out = tmp_path / "all.features"
    assert merge(stores, out).snapshot == merge(stores, out).snapshot == 1
    before = tree(out)
    picture(halves[1] / "dogs" / "new.png", seed=9)
    with pytest.raises(InputError, match="holds other features already"):
        merge([stores[0], run(halves[1]).store], out)
    assert tree(out) == before


def test_what_cannot_be_merged_is_one_line_and_writes_nothing(photos, halves, tmp_path):
    a, b = (run(folder).store for folder in halves)
    other = run(halves[1], store=tmp_path / "nearest", interpolation="nearest").store
    wide = run(halves[1], store=tmp_path / "wide", layers=["last", "3"]).store
    before = tree(tmp_path)
    out = tmp_path / "all.features"

    with pytest.raises(InputError, match=r"interpolation='bilinear' and .* with 'nearest'"):
        merge([a, other], out)
    with pytest.raises(InputError, match="has columns last:avg and .* has last:avg, 3:avg"):
        merge([a, wide], out)
    with pytest.raises(InputError, match="two stores or more"):
        merge([a], out)
    with pytest.raises(InputError, match="two stores or more"):
        merge([a, a], out)
    with pytest.raises(InputError, match="one of the merged"):
        merge([a, b], a)
    with pytest.raises(InputError, match="something else than a store"):
        merge([a, b], photos)
    assert tree(tmp_path) == before


def test_a_path_that_means_two_images_is_named(halves, tmp_path, picture):
    shutil.copytree(halves[0] / "cats", halves[1] / "cats")
    picture(halves[1] / "cats" / "1.png", seed=9)
    stores = [run(folder).store for folder in halves]

    with pytest.raises(InputError, match=r"cats/1.png has image_key .* Rename one"):
        merge(stores, tmp_path / "all.features")


def test_a_power_cut_at_any_moment_is_made_good_by_the_same_command(halves):
    settings = Settings(spec=BackboneSpec(name="digits"), workers=1)
    disks = [SimulatedFiles(), SimulatedFiles()]
    stores = [Store(disk, name) for disk, name in zip(disks, "ab", strict=True)]
    for folder, store in zip(halves, stores, strict=True):
        extract_features(folder, store, settings, Silent())
    root = merge_stores(stores, Store(SimulatedFiles(), "calm")).root_digest
    for moment in itertools.count():
        files = SimulatedFiles(seed=moment, operations_left=moment)
        try:
            merge_stores(stores, Store(files, "out"))
            break
        except (PowerCut, StoreWriteError):
            files.crash()
        done = merge_stores(stores, Store(files, "out"))
        opened = Store(files, "out").open()
        assert done.root_digest == opened.root_digest == root
        assert len(opened.load(None)) == 13
    assert moment > 40


TABLES = {"a": [1, 2], "b": ["x", "y"], "c": [1.5, 2.5]}


def tables(photos, *names):
    """Run a table for each name, with two pictures and a column "age" of its own type."""
    stores = []
    for number, name in enumerate(names):
        path = photos / f"{name}.parquet"
        pictures = [f"cats/{2 * number}.png", f"cats/{2 * number + 1}.png"]
        pd.DataFrame({"path": pictures, "age": TABLES[name]}).to_parquet(path)
        stores.append(run(path).store)
    return stores


def test_further_columns_of_unlike_numbers_become_the_wider_one(photos, tmp_path):
    merge(tables(photos, "a", "c"), tmp_path / "all.features")

    found = extract.open_store(tmp_path / "all.features").items["age"].to_pylist()
    assert found == [1.0, 2.0, 1.5, 2.5]


def test_further_columns_that_do_not_fit_are_named(photos, tmp_path):
    stores = tables(photos, "a", "b")
    with pytest.raises(InputError, match=r"'age' is int64 in .*a.features and .*string in .*b.f"):
        merge(stores, tmp_path / "all.features")

    assert not (tmp_path / "all.features").exists()
