"""What a run promises: each image once, every history to the same root, nothing lost or wrong.

The backbone is arithmetic here (`fake_backbone`), so that the pipeline alone is under test.
"""

import errno
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

import extract
from extract.api import extract_features
from extract.errors import (
    BackboneError,
    FeatureError,
    InputError,
    StaleStoreError,
    StoreError,
    StoreWriteError,
)
from extract.known import Known
from extract.plan import Settings
from extract.progress import Silent
from extract.store.opening import Store
from extract.store.verify import verify
from tests.helpers import WIDTH, SyntheticEngine, formats, synthetic_prepared, tree
from tests.simulated import PowerCut, SimulatedFiles

pytestmark = pytest.mark.usefixtures("fake_backbone")

SMALL_SHARDS = 4


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    """Four rows to a shard, so that twelve pictures make several."""
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", SMALL_SHARDS)


def run(photos, **options):
    return extract.run(photos, backbone="digits", **options)


def test_a_first_run_extracts_every_distinct_image_once(photos, fake_backbone):
    summary = run(photos)

    assert (summary.items, summary.rows, summary.extracted, summary.bad) == (13, 12, 12, 0)
    assert summary.store == str(photos.with_name("photos.features"))


def test_a_second_run_does_nothing_and_says_the_same(photos, fake_backbone):
    first = run(photos)
    before, images = tree(photos.with_name("photos.features")), fake_backbone.images
    second = run(photos)

    assert (second.extracted, second.copied, second.reused) == (0, 0, 12)
    assert (second.snapshot, second.root_digest) == (first.snapshot, first.root_digest)
    assert fake_backbone.images == images
    assert tree(photos.with_name("photos.features")) == before


def test_numbers_of_numpy_are_plain_numbers(photos):
    plain = run(photos, image_size=32, antialias=True, views=2, augment="flip", batch_size=8)
    same = run(
        photos,
        store=photos.with_name("numpy.features"),
        image_size=np.int64(32),
        antialias=np.True_,
        views=np.int64(2),
        augment="flip",
        batch_size=np.int32(8),
        workers=np.uint8(1),
    )

    assert same.root_digest == plain.root_digest
    recipes = [extract.open_store(made.store).record.recipe_key for made in (plain, same)]
    assert recipes[0] == recipes[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exif_orientation": "yes"}, "exif_orientation is True or False. Received: 'yes'"),
        ({"exif_orientation": 1}, "exif_orientation is True or False. Received: 1"),
        ({"crop_to_aspect_ratio": 0}, "crop_to_aspect_ratio is True or False. Received: 0"),
        ({"antialias": np.int64(1)}, "antialias is True or False. Received: "),
        ({"image_size": 128.0}, "image_size is a whole number. Received: 128.0"),
        ({"image_size": "128"}, "image_size is a whole number. Received: '128'"),
        ({"image_size": True}, "image_size is a whole number. Received: True"),
        ({"views": 2.5, "augment": "flip"}, "views is a whole number. Received: 2.5"),
        ({"views": None}, "views is a whole number. Received: None"),
        ({"views": np.True_}, "views is a whole number. Received: "),
        ({"batch_size": "8"}, "batch_size is a whole number. Received: '8'"),
        ({"workers": 1.0}, "workers is a whole number. Received: 1.0"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused_before_anything_is_written(photos, options, message):
    with pytest.raises(InputError) as caught:
        run(photos, **options)

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert not photos.with_name("photos.features").exists()


VARIATIONS = [
    {"format": "hdf5"},
    {"batch_size": 1},
    {"batch_size": 5, "workers": 1},
    {"workers": 7},
]


@pytest.mark.parametrize("options", VARIATIONS, ids=str)
def test_what_decides_speed_does_not_decide_the_root(photos, tmp_path, options):
    plain = run(photos, store=tmp_path / "plain")

    assert run(photos, store=tmp_path / "other", **options).root_digest == plain.root_digest


def test_listing_order_and_file_names_do_not_decide_the_root(photos, tmp_path):
    root = run(photos).root_digest
    for number, path in enumerate(sorted(photos.rglob("*.png"), reverse=True)):
        path.rename(path.with_name(f"{number:02}.png"))

    assert run(photos, store=tmp_path / "other").root_digest == root


def test_shard_sizes_do_not_decide_the_root(photos, tmp_path, monkeypatch):
    root = run(photos).root_digest
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 1)

    assert run(photos, store=tmp_path / "other").root_digest == root


def test_renaming_every_file_extracts_nothing(photos, fake_backbone):
    first = run(photos)
    images = fake_backbone.images
    for path in sorted(photos.rglob("*.png")):
        path.rename(path.with_name("new-" + path.name))
    second = run(photos)

    assert (second.extracted, fake_backbone.images) == (0, images)
    assert second.root_digest == first.root_digest
    assert second.snapshot == 2


def test_one_new_image_extracts_one_and_leaves_full_shards_alone(photos, picture):
    run(photos)
    store = photos.with_name("photos.features")
    before = tree(store / "shards")
    picture(photos / "cats" / "0-new.png", seed=99)
    second = run(photos)

    assert (second.extracted, second.reused) == (1, 12)
    assert before.items() <= tree(store / "shards").items()


def test_rows_of_a_partial_shard_are_copied_not_computed(photos, picture, fake_backbone):
    picture(photos / "cats" / "6.png", seed=98)  # 13 distinct images: the last shard has one row
    run(photos)
    images = fake_backbone.images
    picture(photos / "dogs" / "9.png", seed=97)
    second = run(photos)

    assert (second.extracted, second.copied, second.reused) == (1, 1, 12)
    assert fake_backbone.images == images + 1


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_a_later_run_writes_the_format_that_the_store_has(photos, tmp_path, picture, form):
    store = run(photos, format=form).store
    picture(photos / "zebras" / "new.png", seed=3)
    later = run(photos, layers=["last", "3"], views=2, augment="flip")
    fresh = run(photos, store=tmp_path / "a", layers=["last", "3"], views=2, augment="flip")

    assert formats(store) == {form}
    assert formats(fresh.store) == {"zarr"}
    assert later.root_digest == fresh.root_digest


def test_a_format_that_is_asked_for_is_written_whatever_the_store_has(photos, picture):
    store = run(photos, format="hdf5").store
    picture(photos / "zebras" / "new.png", seed=3)
    run(photos, format="zarr")

    assert formats(store) == {"zarr", "hdf5"}


def test_a_deleted_image_stays_until_gc_and_leaves_the_root(photos, tmp_path, picture):
    without = run(photos, store=tmp_path / "without").root_digest
    extra = picture(photos / "cats" / "extra.png", seed=5)
    store = tmp_path / "with"
    assert run(photos, store=store).root_digest != without
    extra.unlink()
    summary = run(photos, store=store)

    assert (summary.extracted, summary.rows, summary.root_digest) == (0, 12, without)
    assert summary.reused + summary.copied == 12  # counts are of what items refer to


def test_a_changed_file_is_extracted_anew(photos, picture):
    run(photos)
    old = extract.open_store(photos.with_name("photos.features"))
    picture(photos / "cats" / "1.png", seed=50)
    summary = run(photos)
    new = extract.open_store(photos.with_name("photos.features"))
    index = old.items["path"].to_pylist().index("cats/1.png")

    assert summary.extracted == 1
    assert old.items["image_key"][index] != new.items["image_key"][index]


def test_rows_and_labels_and_items_stay_together(photos, tmp_path, picture):
    """The features of each item are those of its own file, whatever the store went through."""
    run(photos)
    picture(photos / "ants" / "first.png", seed=7)
    (photos / "cats" / "3.png").unlink()
    picture(photos / "dogs" / "2.png", seed=8)
    run(photos)
    data = extract.open_store(photos.with_name("photos.features")).load(None)
    for features, label, item in zip(data.X, data.y, data.items.to_pylist(), strict=True):
        alone = tmp_path / "alone" / "x"
        alone.mkdir(parents=True)
        shutil.copy(photos / item["path"], alone / "one.png")
        run(alone.parent, store=tmp_path / "alone.features")
        expected = extract.open_store(tmp_path / "alone.features").load(None).X[0]
        shutil.rmtree(alone.parent)
        shutil.rmtree(tmp_path / "alone.features")

        np.testing.assert_array_equal(features, expected)
        assert item["label"] == item["path"].split("/")[0]
        assert ["ants", "cats", "dogs"][label] == item["label"]


# Columns -------------------------------------------------------------------------------------


def test_a_new_column_leaves_every_file_and_extracts_only_itself(photos):
    first = run(photos)
    store = photos.with_name("photos.features")
    before = {n: b for n, b in tree(store).items() if n != "bad_images.csv"}
    second = run(photos, layers=["last", "3:max"])
    snapshot = extract.open_store(store)

    assert second.extracted == 12
    assert before.items() <= tree(store).items()
    assert {c.name for c in snapshot.columns} == {"last:avg", "3:max"}
    assert second.root_digest != first.root_digest
    np.testing.assert_allclose(  # the engine adds the layer's number: one rounding apart
        snapshot.load(None, column="3:max").X,
        snapshot.load(None, column="last:avg").X - 6,
        rtol=1e-6,
    )


def test_a_run_converts_its_backbone_once_at_most(photos, monkeypatch):
    """Also where other columns go on, and never again where it is repeated."""
    kept, converted = {}, []

    def prepare(request, kind, keep):
        converted.append(request)
        kept[repr(request)] = synthetic_prepared(request)
        return kept[repr(request)]

    monkeypatch.setattr("extract.plan.cached", lambda request, kind: kept.get(repr(request)))
    monkeypatch.setattr("extract.plan.prepare", prepare)
    for layers, conversions in [
        ([], 1),
        ([], 0),
        (["3"], 1),
        (["3"], 0),
        (["4:max", "5"], 1),
        (["4:max", "5"], 0),
        (["5:flatten"], 1),
        (["5:flatten"], 0),
        ([], 1),  # by now its store has more columns than the first conversion gave
        ([], 0),
    ]:
        before = len(converted)
        run(photos, layers=layers)
        assert len(converted) == before + conversions, layers
    names = {c.name for c in extract.open_store(photos.with_name("photos.features")).columns}
    assert names == {"last:avg", "3:avg", "4:max", "5:avg", "5:flatten"}


def test_a_new_layer_beside_views_is_no_view_of_the_old_ones(photos, monkeypatch):
    monkeypatch.setattr("extract.plan.prepare", lambda request, *_: synthetic_prepared(request))
    monkeypatch.setattr("extract.plan.cached", lambda request, kind: None)
    run(photos, layers=["3"])
    run(photos, layers=["4"], views=2, augment="flip")

    snapshot = extract.open_store(photos.with_name("photos.features"))
    assert {c.name for c in snapshot.columns} == {"3:avg", "4:avg", "4:avg:view1"}


def test_columns_that_a_snapshot_has_go_on(photos, picture):
    run(photos, layers=["3"])
    picture(photos / "cats" / "new.png", seed=1)
    run(photos, layers=["4"])
    snapshot = extract.open_store(photos.with_name("photos.features"))

    assert {c.name for c in snapshot.columns} == {"3:avg", "4:avg"}
    assert (
        len(snapshot.load(None, column="3:avg")) == len(snapshot.load(None, column="4:avg")) == 14
    )


def test_a_new_column_after_images_went_away_still_seals(photos, tmp_path):
    run(photos)
    (photos / "cats" / "2.png").unlink()
    summary = run(photos, layers=["last", "3"])

    assert (summary.rows, summary.bad, summary.extracted) == (11, 0, 11)
    fresh = run(photos, layers=["last", "3"], store=tmp_path / "fresh")
    assert summary.root_digest == fresh.root_digest
    again = run(photos, layers=["last", "3"])
    assert (again.extracted, again.copied, again.snapshot) == (0, 0, summary.snapshot)


def test_a_file_that_changed_behind_its_size_and_time_is_never_mistaken(photos, picture):
    """A new column reads files again: bytes that are not those of the known row are no features
    of it. The next run reads them as what they are."""
    run(photos)
    path = photos / "cats" / "1.png"
    facts = path.stat()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    first = run(photos, layers=["3"])
    second = run(photos, layers=["3"])
    snapshot = extract.open_store(photos.with_name("photos.features"), first.snapshot)

    assert (first.bad, first.unreadable) == (1, 1)
    assert "cats/1.png" not in snapshot.load(None, column="3:avg").items["path"].to_pylist()
    assert second.unreadable == 0


def test_float16_is_another_column_of_the_same_recipe(photos):
    first = run(photos)
    second = run(photos, dtype="float16")
    snapshot = extract.open_store(photos.with_name("photos.features"))

    assert sorted(c.dtype for c in snapshot.columns) == ["float16", "float32"]
    assert second.snapshot == first.snapshot + 1


# Bad images ----------------------------------------------------------------------------------


def test_bad_images_are_listed_counted_and_not_tried_again(photos, fake_backbone):
    (photos / "cats" / "bad.jpg").write_bytes(b"not a picture")
    (photos / "cats" / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    first = run(photos)
    again = run(photos)
    text = (photos.with_name("photos.features") / "bad_images.csv").read_text()

    assert (first.items, first.rows, first.extracted) == (15, 13, 12)
    assert (first.bad, first.undecodable, first.unreadable) == (2, 1, 1)
    assert first.too_many_bad == (int(15 * 0.1) < 2)
    assert text.splitlines()[0] == "path,stage,reason"
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == [
        "cats/bad.jpg",
        "cats/gone.jpg",
    ]
    assert (again.extracted, again.snapshot, again.bad) == (0, 1, 2)


def test_a_bad_image_is_tried_again_when_the_decoder_changes(photos, monkeypatch):
    (photos / "cats" / "bad.jpg").write_bytes(b"a new kind of picture")
    run(photos)
    real = extract.pipeline.pixels.load
    monkeypatch.setattr("extract.pixels.decoder_signature", lambda: "newer")
    monkeypatch.setattr("extract.sealing.decoder_signature", lambda: "newer")
    monkeypatch.setattr(
        "extract.pixels.load",
        lambda data, policy: (
            (np.ones((32, 32, 3), np.float32), None) if data[:1] == b"a" else real(data, policy)
        ),
    )
    second = run(photos)

    assert (second.extracted, second.bad) == (1, 0)
    third = run(photos)
    assert (third.extracted, third.bad, third.snapshot) == (0, 0, second.snapshot)
    assert verify(photos.with_name("photos.features")).problems == {}


def test_a_bad_image_that_stays_bad_under_another_decoder_is_judged_once(photos, monkeypatch):
    (photos / "cats" / "bad.jpg").write_bytes(b"not a picture")
    run(photos)
    monkeypatch.setattr("extract.pixels.decoder_signature", lambda: "newer")
    monkeypatch.setattr("extract.sealing.decoder_signature", lambda: "newer")
    tried = []
    real = extract.pipeline.pixels.load
    monkeypatch.setattr(
        "extract.pixels.load", lambda data, policy: tried.append(1) or real(data, policy)
    )

    assert run(photos).bad == run(photos).bad == 1
    # each run decodes up to 32 pictures for nothing else than the bad one
    assert len(tried) == 1


def test_no_good_image_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "photos" / "cats"
    folder.mkdir(parents=True)
    for number in range(9):
        (folder / f"{number}.jpg").write_bytes(b"no picture %d" % number)

    with pytest.raises(InputError, match="None of the 9 files"):
        run(folder.parent)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]


def test_no_good_image_any_more_leaves_a_store_as_it_was(photos):
    run(photos)
    before = tree(photos.with_name("photos.features"))
    for path in photos.rglob("*.png"):
        path.write_bytes(b"no picture any more")

    with pytest.raises(InputError, match="None of the 13 files"):
        run(photos)
    assert tree(photos.with_name("photos.features")) == before


def test_one_unreadable_copy_does_not_make_the_others_bad(photos):
    """A new column reads files again, and the first copy of a picture has changed unseen."""
    run(photos)
    path = photos / "cats" / "0.png"
    facts = path.stat()
    path.write_bytes(bytes(facts.st_size))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    summary = run(photos, layers=["3"])
    snapshot = extract.open_store(summary.store)

    assert (summary.unreadable, summary.rows) == (1, 12)
    assert "dogs/copy.png" in snapshot.load(None, column="3:avg").items["path"].to_pylist()


def test_asking_for_columns_in_another_order_changes_nothing(photos):
    run(photos, layers=["last", "3"])
    numbers = {run(photos, layers=layers).snapshot for layers in (["3", "last"], ["3"], "last")}

    assert numbers == {1}


def test_moved_images_are_found_where_they_are_now(photos, tmp_path):
    store = run(photos).store
    moved = photos.rename(tmp_path / "moved")
    summary = run(moved, store=store)

    assert summary.extracted == 0
    assert extract.open_store(store).record.found_at["images"] == str(moved)


@pytest.mark.parametrize("folders", [["tmp"], ["tmp", "shards", "commits"]])
def test_a_run_that_was_killed_while_it_made_the_store_goes_on(photos, folders):
    for name in folders:
        (photos.with_name("photos.features") / name).mkdir(parents=True)

    assert run(photos).extracted == 12


def test_another_engine_is_mixed_in_only_when_asked_for(photos, picture, monkeypatch):
    run(photos)
    picture(photos / "cats" / "new.png", seed=2)
    newer = {"engine": "synthetic", "version": "2", "instructions": "none"}
    monkeypatch.setattr(SyntheticEngine, "signature", newer)

    with pytest.raises(BackboneError, match="version '2' instead of '1'.*begun with.*--engine"):
        run(photos)
    assert run(photos, engine="keras").extracted == 1


def test_bad_rows_before_the_first_good_one_are_kept(tmp_path, picture):
    """Whole shards of bad images wait until an image is good: then the store begins."""
    folder = tmp_path / "photos" / "cats"
    folder.mkdir(parents=True)
    for number in range(9):
        (folder / f"{number}.jpg").write_bytes(b"no picture %d" % number)
    picture(folder / "z.png", seed=1)
    summary = run(folder.parent)

    assert (summary.rows, summary.bad, summary.extracted) == (10, 9, 1)
    assert verify(summary.store).is_sound


def test_copies_of_a_bad_image_are_all_bad(photos):
    for name in ("a.jpg", "b.jpg"):
        (photos / "cats" / name).write_bytes(b"not a picture")
    summary = run(photos)

    assert (summary.bad, summary.undecodable, summary.rows) == (2, 2, 13)


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_images_before_a_bad_feature_are_kept(photos, monkeypatch, form):
    real = SyntheticEngine.__call__

    def call(self, pixels):
        outputs = real(self, pixels)
        if self.images > 8:
            outputs[0][-1] = np.nan
        return outputs

    monkeypatch.setattr(SyntheticEngine, "__call__", call)
    monkeypatch.setattr("extract.lazy_engine.LazyEngine.streams", 1)  # batches one by one
    with pytest.raises(FeatureError):
        run(photos, format=form)
    monkeypatch.setattr(SyntheticEngine, "__call__", real)
    summary = run(photos)

    assert summary.extracted == 4
    assert formats(summary.store) == {form}


def test_two_runs_that_begin_one_store_with_two_recipes_do_not_mix(photos, monkeypatch):
    """The second finds the store made between its look and its first row."""
    run(photos, interpolation="nearest")
    monkeypatch.setattr("extract.api.read_known", lambda store: Known())

    with pytest.raises(StaleStoreError, match="interpolation='nearest'.*'bilinear'"):
        run(photos)


@pytest.mark.parametrize("what", ["NaN", "infinity"])
def test_a_good_image_with_a_bad_feature_is_an_error_that_names_it(photos, monkeypatch, what):
    value = np.nan if what == "NaN" else np.inf
    monkeypatch.setattr(
        "tests.helpers.SyntheticEngine.__call__",
        lambda self, pixels: [np.full((len(pixels), WIDTH), value, np.float32)],
    )

    with pytest.raises(FeatureError, match="Layer last gave NaN or infinity for cats/0.png"):
        run(photos)


def test_float16_overflow_names_layer_image_and_cure(photos, monkeypatch):
    monkeypatch.setattr(
        "tests.helpers.SyntheticEngine.__call__",
        lambda self, pixels: [np.full((len(pixels), WIDTH), 1e6, np.float32)],
    )

    with pytest.raises(FeatureError, match="Layer last .* cats/0.png.*--dtype float32"):
        run(photos, dtype="float16")


@pytest.fixture
def late_overflow(monkeypatch):
    """A function: of the images that go through the engine from then on, the ninth overflows."""
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    monkeypatch.setattr("extract.lazy_engine.LazyEngine.streams", 1)  # batches one by one
    real, seen = SyntheticEngine.__call__, []

    def call(self, pixels):
        seen.extend(pixels)
        outputs = real(self, pixels)
        return [np.full_like(x, 1e6) for x in outputs] if len(seen) > 8 else outputs

    return lambda: monkeypatch.setattr(SyntheticEngine, "__call__", call)


def test_a_late_overflow_says_what_undoes_it(photos, cli, late_overflow):
    store = photos.with_name("photos.features")
    run(photos)
    before = tree(store)
    late_overflow()
    with pytest.raises(FeatureError, match=r"a good image. Use --dtype float32. What") as caught:
        run(photos, dtype="float16")
    _, _, words = str(caught.value).partition("To undo it, type: python -m extract ")

    assert tree(store) != before
    assert cli(*words.split())[0] == 0
    assert tree(store) == before


def test_a_late_overflow_of_a_first_run_leaves_a_folder_to_remove(photos, late_overflow):
    late_overflow()
    with pytest.raises(FeatureError, match=r"To undo it, remove .*photos\.features$"):
        run(photos, dtype="float16")


def test_an_overflow_before_anything_is_kept_leaves_nothing_to_undo(photos, monkeypatch):
    monkeypatch.setattr(
        "tests.helpers.SyntheticEngine.__call__",
        lambda self, pixels: [np.full((len(pixels), WIDTH), 1e6, np.float32)],
    )
    with pytest.raises(FeatureError, match=r"a good image. Use --dtype float32$"):
        run(photos, dtype="float16")

    assert not photos.with_name("photos.features").exists()


# Refusals ------------------------------------------------------------------------------------


def test_another_recipe_is_refused_and_named(photos):
    run(photos)
    before = tree(photos.with_name("photos.features"))

    with pytest.raises(StaleStoreError, match="interpolation='bilinear'.*'nearest'.*--store"):
        run(photos, interpolation="nearest")
    with pytest.raises(StaleStoreError, match="image_size=32.*64"):
        run(photos, image_size=64)
    with pytest.raises(StaleStoreError, match="backbone='digits'.*'mobilenet_v2'"):
        extract.run(photos)
    assert tree(photos.with_name("photos.features")) == before


def test_a_store_inside_the_images_is_refused(photos):
    with pytest.raises(InputError, match="lies inside the images"):
        run(photos, store=photos / "cats" / "features")


def test_something_else_in_the_stores_place_is_left_alone(photos, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    for target in ("notes", "notes/diary.txt"):
        with pytest.raises(InputError, match="something else than a store"):
            run(photos, store=tmp_path / target)
    assert tree(tmp_path / "notes") == {"diary.txt": b"mine"}


# Failures ------------------------------------------------------------------------------------


def simulated_run(photos, files):
    store = Store(files, "simulated")
    settings = Settings(spec=extract.backbones.BackboneSpec(name="digits"), workers=1)
    return extract_features(photos, store, settings, Silent())


def test_a_power_cut_at_any_moment_loses_no_more_than_a_shard(photos, fake_backbone):
    """Cut the power before every third change to the disk, forget what was not synced, and run
    again: the root is that of an undisturbed run, and no committed row is computed twice. The
    campaign cuts before every one."""
    calm = SimulatedFiles()
    expected = simulated_run(photos, calm)
    for moment in itertools.count(0, 3):
        files = SimulatedFiles(seed=moment, operations_left=moment)
        try:
            simulated_run(photos, files)
            break  # the run ended before this moment
        except (PowerCut, StoreWriteError):
            files.crash()
        committed = sum(name.startswith("commits/") for name in files.durable)
        again = simulated_run(photos, files)

        assert again.root_digest == expected.root_digest
        assert again.extracted <= 12 - SMALL_SHARDS * min(committed, 3)
        opened = Store(files, "simulated").open().load(None)
        assert len(opened) == 13
        assert np.isfinite(opened.X).all()
    assert moment > 40  # the run has that many moments: the loop did test them


def test_a_full_disk_is_one_line_and_the_same_command_resumes(photos):
    files = SimulatedFiles()
    calm = simulated_run(photos, SimulatedFiles()).root_digest
    real = files.write_new

    def write_new(name, data):
        if sum(n.startswith("commits/") for n in files.now) == 2:
            files.full = True
        real(name, data)

    files.write_new = write_new
    with pytest.raises(
        StoreWriteError, match="No space left on device.*run the same command again"
    ):
        simulated_run(photos, files)
    files.full, files.write_new = False, real
    again = simulated_run(photos, files)

    assert again.root_digest == calm
    assert again.extracted <= 12 - 2 * SMALL_SHARDS


def test_a_disk_that_cannot_be_written_is_one_line(photos):
    files = SimulatedFiles()
    files.full = True

    with pytest.raises(StoreWriteError, match=r"^Cannot write the store: No space"):
        simulated_run(photos, files)
    assert files.now == {}


@pytest.mark.parametrize("name", ["probes/ours-plain.png", "commits/"])
def test_a_disk_that_fails_while_a_run_reads_is_one_line(photos, name):
    files = SimulatedFiles()
    real = files.read

    def read(asked):
        if asked.startswith(name):
            raise OSError(errno.EIO, "Input/output error", asked)
        return real(asked)

    files.read = read
    with pytest.raises(StoreError, match=f"Cannot .*Input/output error .{name}"):
        simulated_run(photos, files)


@pytest.fixture
def as_nobody():
    """Give up root's right to write anywhere, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def open_folder(photos):
    """A folder of pictures that every user may read, in a folder that nobody may write."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(photos, folder / "photos")
    run(photos)  # modules that are imported on first use are imported as root
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_folder_is_one_line(open_folder, as_nobody):
    with pytest.raises(StoreWriteError, match="Cannot write the store: Permission denied"):
        run(open_folder / "photos")
    assert [path.name for path in open_folder.iterdir()] == ["photos"]


def test_ctrl_c_keeps_what_was_finished(photos, fake_backbone, monkeypatch):
    """A person who stops a run loses nothing that the backbone had done and been taken."""
    real = extract.pipeline.Extraction._tick
    ticks = itertools.count()

    def interrupted(self):
        if next(ticks) == 1:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr("extract.pipeline.Extraction._tick", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(photos)
    monkeypatch.setattr("extract.pipeline.Extraction._tick", real)
    summary = run(photos)

    assert summary.extracted == 12 - 8  # two batches of four were taken
    assert (summary.copied + summary.reused, summary.rows) == (8, 12)
