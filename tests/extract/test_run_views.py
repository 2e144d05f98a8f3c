"""Views in a store: columns of their own, made once, the same whatever the way there."""

from pathlib import Path

import numpy as np
import pytest

import extract
from extract import pixels
from extract.augment import Augmentation
from extract.backbones import BackboneSpec
from extract.checks import recompute
from extract.compacting import compact_rows
from extract.comparing import diff
from extract.errors import FeatureError, InputError, StaleStoreError
from extract.estimating import estimate
from extract.explaining import explain
from extract.exporting import export
from extract.forgetting import find_traces, forget
from extract.merging import merge
from extract.plan import Settings
from extract.reading import image_key
from extract.recipe import Column, LayerRequest, PixelPolicy
from extract.repairing import repair
from extract.store.opening import Store
from extract.store.verify import verify
from extract.views import make_view
from tests.helpers import SyntheticEngine, tree

pytestmark = pytest.mark.usefixtures("fake_backbone")

AUGMENT = "crop=0.5,brightness=0.2"
POLICY = PixelPolicy(image_size=32)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)


def run(photos, views=3, augment=AUGMENT, **options):
    augment = augment if views > 1 else ""
    return extract.run(photos, backbone="digits", views=views, augment=augment, **options)


def settings(*layers, views=3, augment=AUGMENT):
    return Settings(
        spec=BackboneSpec(name="digits"),
        pixels=POLICY,
        layers=tuple(map(LayerRequest.parse, layers)),
        views=views,
        augment=augment,
    )


def expected(photos, path, view):
    """The features of one view of a file, by hand."""
    data = (photos / path).read_bytes()
    plain, _ = pixels.load(data, POLICY)
    seen = make_view(plain, Augmentation.parse(AUGMENT), image_key(data), view)
    return np.concatenate([seen.mean(axis=(0, 1)), seen.max(axis=(0, 1))]) + 9


def test_every_view_is_a_column_with_the_features_of_that_view(photos):
    snapshot = extract.open_store(run(photos).store)

    assert [c.name for c in snapshot.columns] == ["last:avg", "last:avg:view1", "last:avg:view2"]
    for view, column in enumerate(snapshot.columns):
        data = snapshot.load(None, column.name)
        for path, features in zip(data.items["path"].to_pylist(), data.X, strict=True):
            np.testing.assert_allclose(features, expected(photos, path, view), rtol=1e-5)


def test_the_plain_view_is_what_a_run_without_views_gives(photos, tmp_path):
    with_views = extract.open_store(run(photos).store)
    without = extract.open_store(run(photos, views=1, store=tmp_path / "plain").store)

    assert without.columns == with_views.columns[:1]
    np.testing.assert_array_equal(with_views.load(None).X, without.load(None).X)
    np.testing.assert_array_equal(with_views.load(None, "last").X, without.load(None).X)


WAYS = [
    {"batch_size": 1, "workers": 1},
    {"batch_size": 5, "workers": 3},
    {"batch_size": 64},
    {"format": "hdf5"},
]


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_batches_and_workers_do_not_decide_a_view(photos, tmp_path, options):
    assert run(photos, store=tmp_path / "a", **options).root_digest == run(photos).root_digest


def test_order_names_and_histories_do_not_decide_a_view(photos, tmp_path):
    """Views first or last, images first or last, files renamed: one root."""
    root = run(photos, store=tmp_path / "a").root_digest
    for views in (1, 2, 3):
        later = run(photos, views=views, store=tmp_path / "b").root_digest
    assert later == root

    hidden = photos / "cats" / "3.png"
    hidden.rename(tmp_path / "3.png")
    run(photos, store=tmp_path / "c")
    (tmp_path / "3.png").rename(photos / "dogs" / "first.png")
    for number, path in enumerate(sorted(photos.rglob("*.png"), reverse=True)):
        path.rename(path.with_name(f"{number:02}.png"))
    assert run(photos, store=tmp_path / "c").root_digest == root


def test_a_run_that_was_stopped_goes_on_to_the_same_views(photos, tmp_path, monkeypatch):
    root = run(photos, store=tmp_path / "a").root_digest
    real = SyntheticEngine.__call__

    def call(self, batch):
        outputs = real(self, batch)
        if self.images > 60:
            outputs[0][-1] = np.nan
        return outputs

    monkeypatch.setattr(SyntheticEngine, "__call__", call)
    monkeypatch.setattr("extract.lazy_engine.LazyEngine.streams", 1)
    with pytest.raises(FeatureError, match=r"Layer last gave NaN or infinity for .*, a good image"):
        run(photos)
    monkeypatch.setattr(SyntheticEngine, "__call__", real)
    summary = run(photos)

    assert 0 < summary.extracted < 12
    assert summary.root_digest == root


def test_a_bad_feature_names_the_view(photos, monkeypatch):
    monkeypatch.setattr(
        "extract.pipeline.make_view", lambda p, a, k, view: p + [0, np.inf, 0][view]
    )

    with pytest.raises(FeatureError, match="for view 1 of cats/0.png, a good image"):
        run(photos)


def test_more_views_extract_only_what_is_missing(photos, fake_backbone, monkeypatch):
    """And an image is decoded once for all of its missing views."""
    decoded = []
    real = pixels.load
    monkeypatch.setattr("extract.pixels.load", lambda *a: decoded.append(1) or real(*a))

    def counts(**options):
        before, engine = len(decoded), fake_backbone.images
        summary = run(photos, **options)
        return summary.extracted, len(decoded) - before, fake_backbone.images - engine

    monkeypatch.setattr("extract.sealing.probe_files.keep", lambda *_: {})  # these are apart
    assert counts(views=1) == (12, 12, 12)
    shards = tree(photos.with_name("photos.features") / "shards")
    assert counts(views=3) == (12, 12, 24)
    assert counts(views=6) == (12, 12, 36)
    assert counts(views=2) == (0, 0, 0)
    assert shards.items() <= tree(photos.with_name("photos.features") / "shards").items()


def test_layers_and_views_are_added_in_any_order(photos, tmp_path, fake_backbone):
    run(photos, layers=["last", "3"], store=tmp_path / "a")
    run(photos, layers=["last"], store=tmp_path / "b")
    run(photos, layers=["3"], views=1, store=tmp_path / "b")
    before = tree(tmp_path / "b" / "shards")
    images = fake_backbone.images
    summary = run(photos, layers=["3"], store=tmp_path / "b")

    assert fake_backbone.images - images == 24  # views 1 and 2; "last" has all it needs
    assert before.items() <= tree(tmp_path / "b" / "shards").items()
    assert summary.root_digest == extract.open_store(tmp_path / "a").root_digest


def test_a_run_that_does_not_name_views_keeps_them_up(photos, picture):
    store = run(photos).store
    picture(photos / "cats" / "new.png", seed=3)
    summary = run(photos, views=1)
    snapshot = extract.open_store(store)

    assert (summary.extracted, len(snapshot.columns)) == (1, 3)
    np.testing.assert_allclose(
        snapshot.load(None, "last:view2").X[6], expected(photos, "cats/new.png", 2), rtol=1e-5
    )


def test_a_bad_picture_is_bad_in_every_view(photos):
    (photos / "cats" / "bad.jpg").write_bytes(b"not a picture")
    run(photos, views=1)
    summary = run(photos)

    assert (summary.bad, summary.undecodable, summary.extracted) == (1, 1, 12)
    assert extract.open_store(summary.store).load(None, "last:view1").X.shape == (13, 6)


def test_half_precision_has_views_of_its_own(photos):
    run(photos)
    snapshot = extract.open_store(run(photos, views=2, dtype="float16").store)

    assert [c.name for c in snapshot.columns[3:]] == [
        "last:avg:float16",
        "last:avg:float16:view1",
    ]
    np.testing.assert_allclose(
        snapshot.load(None, "last:avg:float16:view1").X,
        snapshot.load(None, "last:avg:view1").X,
        rtol=1e-3,
    )


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"views": 0}, "--views is at least 1, which is the plain one. Received: 0"),
            ({"views": 2, "augment": ""}, "--views 2 takes --augment.* Add --augment flip,"),
            ({"augment": "rotte=0.1", "views": 2}, "'rotte': did you mean rotation"),
        ],
    )
    def test_an_option_that_makes_no_sense(self, photos, options, message):
        with pytest.raises(InputError, match=message):
            extract.run(photos, backbone="digits", **options)
        assert not photos.with_name("photos.features").exists()

    def test_an_augmentation_without_views(self, photos):
        with pytest.raises(InputError, match="--augment is for the views besides.* --views 8"):
            extract.run(photos, backbone="digits", augment="flip")

    def test_another_augmentation_on_the_same_store(self, photos):
        store = Path(run(photos).store)
        before = tree(store)

        with pytest.raises(StaleStoreError, match="augment='crop=0.5,brightness=0.2', but this"):
            run(photos, augment="flip")
        assert tree(store) == before
        assert run(photos, augment=" crop=.50, brightness=0.20").extracted == 0

    def test_leftovers_of_another_augmentation_are_not_mixed_in(self, photos, monkeypatch):
        """A run that never sealed had another one, and the snapshot that tells is lost."""
        with monkeypatch.context() as context:
            context.setattr("extract.pipeline.seal", None)
            with pytest.raises(TypeError):
                run(photos, augment="flip")
        store = Path(run(photos).store)
        assert {c.augment for c in extract.open_store(store).columns} == {"", AUGMENT}
        root = extract.open_store(store).root_digest
        record = next(store.glob("snapshots/*.json"))
        record.write_bytes(record.read_bytes()[:-9])

        assert "augment=" in repair(store).todo
        assert run(photos).root_digest == root

    @pytest.mark.parametrize("facts", [{"view": 1}, {"augment": "flip"}, {"view": -1}])
    def test_a_column_of_a_view_that_cannot_be(self, facts):
        with pytest.raises(InputError, match="View 0 is plain and all others are augmented"):
            Column(operation=1, layer="a", **facts)


class TestUpkeep:
    """What looks after a store knows views as it knows columns."""

    @pytest.fixture
    def store(self, photos):
        (photos / "cats" / "bad.jpg").write_bytes(b"not a picture")
        run(photos, layers=["last", "3"], views=2)
        return Path(run(photos, layers=["last"], views=3).store)

    def test_verify_recomputes_every_view(self, store):
        assert verify(store).is_sound
        verdict = recompute(store, 4)

        assert (verdict.problems, verdict.checks) == ({}, 4 * 5)

    def test_verify_finds_a_view_that_another_augmentation_would_give(self, store, monkeypatch):
        monkeypatch.setattr("extract.checks.make_view", lambda p, a, k, view: p + view)
        problems = recompute(store, 1).problems

        assert "view2 differs by" in next(iter(problems.values()))

    @pytest.mark.parametrize("lost", ["shards/*.zshard", "snapshots/*.json", "commits/*.json"])
    def test_repair_brings_back_exactly_the_columns_that_were_there(self, store, lost):
        before = extract.open_store(store)
        for path in store.glob(lost):
            path.write_bytes(path.read_bytes()[:-9])
        done = repair(store)
        after = extract.open_store(store)

        assert (done.problems, done.todo, bool(done.moved)) == ({}, "", True)
        assert {c.canonical for c in after.columns} == {c.canonical for c in before.columns}
        assert after.root_digest == before.root_digest

    def test_a_plan_and_an_explanation_count_views(self, store, photos, fake_backbone):
        found = estimate(photos, store, settings("last", views=5))
        why = explain(store, settings("last", views=5))
        other = explain(store, settings("last", augment="flip"))

        assert (found.known, found.new, found.extract) == (0, 0, 13)
        assert why.fits
        assert why.missing_columns == ("last:avg:view3", "last:avg:view4")
        assert other.differences == (("augment", AUGMENT, "flip=horizontal"),)
        assert not other.fits

    def test_a_probe_makes_missing_views_only(self, store, photos, fake_backbone):
        images = fake_backbone.images
        estimate(photos, store, settings("last", views=4))
        probes = 8  # synthetic pictures, once more for the probe's own store
        assert fake_backbone.images - images < 2 * (13 + probes + 24)

    @pytest.mark.parametrize("name", ["out.zarr", "out.h5", "out.npz", "out.parquet"])
    def test_an_export_has_every_view(self, store, tmp_path, name):
        done = export(store, tmp_path / name)

        assert done.columns == [
            "last.avg",
            "3.avg",
            "last.avg.view1",
            "3.avg.view1",
            "last.avg.view2",
        ]

    def test_a_plain_file_holds_the_plain_view(self, photos, tmp_path):
        store = run(photos).store
        export(store, tmp_path / "out.npy")
        export(store, tmp_path / "view.npy", column="last:view1")

        plain, view = (np.load(tmp_path / name) for name in ("out.npy", "view.npy"))
        np.testing.assert_array_equal(plain, extract.open_store(store).load(None, bad="keep").X)
        assert not np.array_equal(plain, view)

    def test_a_merge_has_the_views_of_both(self, photos, tmp_path):
        for name in ("cats", "dogs"):
            (tmp_path / name).mkdir()
            (photos / name).rename(tmp_path / name / name)
            run(tmp_path / name)
        merged = merge(
            [tmp_path / "cats.features", tmp_path / "dogs.features"], tmp_path / "all.features"
        )
        for name in ("cats", "dogs"):
            (tmp_path / name / name).rename(photos / name)

        assert merged.root_digest == run(photos).root_digest
        assert verify(tmp_path / "all.features").is_sound

    def test_views_of_two_augmentations_are_not_merged_and_differ(self, photos, tmp_path):
        a, b = (
            run(photos, augment=augment, store=tmp_path / augment[:4]).store
            for augment in (AUGMENT, "flip")
        )
        with pytest.raises(InputError, match=r"view1 \(crop=0.5.*view1 \(flip=horizontal\)"):
            merge([a, b], tmp_path / "out")
        found = diff(a, b)
        assert found.only_b == [f"last:avg:view{n} (flip=horizontal)" for n in (1, 2)]
        assert [c.column for c in found.columns] == ["last:avg"]

    def test_a_forgotten_image_is_in_no_view(self, store, photos):
        key = image_key((photos / "cats" / "1.png").read_bytes())
        forget(store, ["cats/1.png"])

        assert find_traces(Store.at(store), {key}) == []
        assert verify(store).is_sound
        assert len(extract.open_store(store).load(None, "last:view2")) == 12

    def test_compacting_keeps_every_view_of_what_is_left(self, photos):
        store = Path(run(photos).store)
        (photos / "cats" / "1.png").unlink()
        root = run(photos).root_digest
        compact_rows(Store.at(store))
        snapshot = extract.open_store(store)

        assert snapshot.root_digest == root
        assert [sum(r.rows for r in c.refs) for c in snapshot.record.columns] == [11, 11, 11]
