"""A frozen backbone as scikit-learn sees it, and as its store does: each image once."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks, get_tags

import extract
from extract import FrozenBackbone
from extract.errors import InputError, StaleStoreError
from tests.helpers import WIDTH, tree

pytestmark = pytest.mark.usefixtures("fake_backbone")

CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]
"""scikit-learn's own checks that need no matrix of numbers."""


@pytest.fixture
def frozen(tmp_path):
    return FrozenBackbone("digits", image_size=32, store=tmp_path / "frozen.features")


@pytest.fixture
def paths(photos):
    return sorted(map(str, photos.rglob("*.png")))


@pytest.fixture
def labels(paths):
    return [Path(path).parent.name for path in paths]


@pytest.fixture
def expected(photos, paths, tmp_path):
    """What `extract.run` gives for the same pictures, in the order of paths."""
    store = extract.run(photos, tmp_path / "run.features", backbone="digits", image_size=32).store
    return extract.open_store(store).load(None).X


@pytest.mark.parametrize("name", CHECKS)
def test_scikit_learn_finds_nothing_wrong(name):
    getattr(estimator_checks, name)("FrozenBackbone", FrozenBackbone("digits"))


def test_tags_say_what_it_takes_and_that_it_learns_nothing():
    tags = get_tags(FrozenBackbone())

    assert (tags.requires_fit, tags.no_validation) == (False, True)
    assert (tags.input_tags.string, tags.input_tags.one_d_array) == (True, True)
    assert (tags.input_tags.two_d_array, tags.transformer_tags.preserves_dtype) == (False, [])


def test_features_are_those_of_a_run(frozen, paths, expected):
    features = frozen.fit_transform(paths)

    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, expected)


FORMS = {
    "paths": lambda paths: [Path(path) for path in paths],
    "an array": lambda paths: np.array(paths),
    "objects": lambda paths: np.array(paths, dtype=object),
    "a column": lambda paths: np.array(paths)[:, None],
    "a series": lambda paths: pd.Series(paths, index=range(5, 5 + len(paths))),
    "a frame": lambda paths: pd.DataFrame({"path": paths}),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_paths_come_in_any_form(frozen, paths, expected, form):
    np.testing.assert_array_equal(frozen.transform(form(paths)), expected)


def test_each_image_goes_through_the_backbone_once(frozen, paths, expected, fake_backbone):
    """Whatever is asked for, in any order and number, by copies of the transformer too."""
    frozen.transform(paths[:4])
    chosen = np.random.default_rng(0).integers(0, len(paths), 40)
    images = fake_backbone.images
    found = clone(frozen).transform([paths[i] for i in chosen])
    again = fake_backbone.images
    frozen.transform(paths[::-1])

    np.testing.assert_array_equal(found, expected[chosen])
    assert again - images <= 12 - 4 + 1
    assert fake_backbone.images == again


def test_what_is_known_leaves_the_store_as_it_is(frozen, paths):
    frozen.transform(paths)
    before = tree(Path(frozen.store))
    frozen.transform(paths[3:5])

    assert tree(Path(frozen.store)) == before


def test_a_renamed_file_is_known_by_its_bytes(frozen, photos, paths, fake_backbone):
    features = frozen.transform(paths)
    images = fake_backbone.images
    moved = photos.rename(photos.with_name("moved"))
    found = frozen.transform(sorted(map(str, moved.rglob("*.png"))))

    np.testing.assert_array_equal(found, features)
    assert fake_backbone.images == images


def test_arrays_do_as_well(frozen):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 20, 30, 3), np.uint8)
    features = frozen.transform(pictures)

    np.testing.assert_array_equal(frozen.transform(list(pictures[::-1])), features[::-1])
    np.testing.assert_allclose(features[:, 3:], 9 + 255, atol=30)
    assert frozen.transform(pictures[:2, :, :, :1]).shape == (2, WIDTH)


def test_a_store_of_a_run_is_used(photos, paths, fake_backbone):
    store = extract.run(photos, backbone="digits", image_size=32).store
    images = fake_backbone.images
    frozen = FrozenBackbone("digits", image_size=32, store=store)

    np.testing.assert_array_equal(frozen.transform(paths), extract.open_store(store).load(None).X)
    assert fake_backbone.images == images


@pytest.mark.parametrize("kind", ["folder", "arrays", "arrays without labels"])
def test_a_store_of_a_run_keeps_its_snapshot(photos, paths, kind):
    """A snapshot of the new images alone would lose every label, and gc then the rows."""
    whole = photos
    if kind != "folder":
        whole = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
        whole = [*zip(whole, "aabb", strict=True)] if kind == "arrays" else whole
    store = extract.run(whole, photos.parent / "s.features", backbone="digits", image_size=32).store
    new = photos / "cats" / "new.png"
    new.write_bytes(Path(paths[0]).read_bytes() + b"of other bytes")
    before = tree(Path(store))
    frozen = FrozenBackbone("digits", image_size=32, store=store)

    with pytest.raises(InputError, match=r"lacks 1 of these.*python -m extract run, or leave"):
        frozen.transform([new])
    assert tree(Path(store)) == before


@pytest.mark.parametrize("first", ["paths", "arrays"])
def test_a_store_of_its_own_takes_more_in_either_form(frozen, paths, first):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    halves = [paths[:4], pictures[:3], paths[4:], pictures[3:]]
    for half in halves if first == "paths" else halves[::-1]:
        frozen.transform(half)

    before = tree(frozen.store)
    assert frozen.transform(pictures).shape == (6, WIDTH)
    assert len(frozen.transform(paths)) == len(paths)
    assert tree(frozen.store) == before


def test_a_store_of_its_own_is_a_runs_once_one_took_it_over(frozen):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    frozen.transform(pictures[:3])
    extract.run(pictures[:3], frozen.store, backbone="digits", image_size=32)

    with pytest.raises(InputError, match="holds the features of arrays in memory and lacks 3"):
        frozen.transform(pictures)


def test_layers_stand_side_by_side_and_have_names(frozen, paths):
    frozen.transform(paths)
    both = clone(frozen).set_params(layers=["3", "last:max"])
    features = both.transform(paths)

    np.testing.assert_allclose(features[:, :WIDTH], frozen.transform(paths) - 6, rtol=1e-6)
    names = both.get_feature_names_out().tolist()
    assert (names[0], names[-1], len(names)) == ("3:avg[0]", "last:max[5]", features.shape[1])


def test_it_stands_in_a_pipeline_before_any_estimator(frozen, paths, labels, fake_backbone):
    pipeline = make_pipeline(frozen, LogisticRegression(max_iter=2000))
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0]}, cv=3)
    search.fit(paths, labels)

    assert fake_backbone.images <= 12 + 2 * (8 + 24)  # and probes
    assert search.predict(paths).shape == (13,)
    assert cross_val_score(pipeline, np.array(paths), labels, cv=2).shape == (2,)


def test_it_stands_beside_other_columns_and_gives_frames(frozen, paths, labels):
    frame = pd.DataFrame({"path": paths, "weight": range(len(paths))}, index=labels)
    joined = make_column_transformer((frozen, ["path"]), ("passthrough", ["weight"]))
    found = joined.set_output(transform="pandas").fit_transform(frame)

    assert found.columns[0] == "frozenbackbone__last:avg[0]"
    assert found.index.tolist() == labels
    assert found.shape == (13, WIDTH + 1)


def test_without_a_store_it_is_the_users_cache(paths, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    FrozenBackbone("digits", image_size=32).transform(paths)
    FrozenBackbone("digits", image_size=40).transform(paths)

    assert len(list((tmp_path / "cache" / "features").glob("digits-*.features"))) == 2


def test_the_users_cache_of_an_earlier_release_goes_on(tmp_path, monkeypatch):
    """It calls pictures "arrays in memory", as a run does."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    pictures = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    frozen = FrozenBackbone("digits", image_size=32)
    frozen.transform(pictures[:2])
    (store,) = (tmp_path / "cache" / "features").glob("digits-*.features")
    extract.run(pictures[:3], store, backbone="digits", image_size=32)

    assert frozen.transform(pictures).shape == (6, WIDTH)


def test_a_file_is_a_backbone_and_its_store_is_in_the_users_cache(paths, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    for name in ("m.onnx", "m.keras"):
        (tmp_path / "models" / name).write_bytes(b"a graph")
    for name, preprocessing in [("m.onnx", "tf"), ("m.onnx", "torch"), ("m.keras", None)]:
        path = tmp_path / "models" / name
        frozen = FrozenBackbone(path, preprocessing=preprocessing, image_size=32)
        assert clone(frozen).transform(paths[:2]).shape == (2, WIDTH)

    stores = sorted(path.name for path in (tmp_path / "cache" / "features").iterdir())
    assert [name.partition("-")[0] for name in stores] == ["m.keras", "m.onnx", "m.onnx"]
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"m.onnx", "m.keras"}


def test_default_stores_keep_their_names(tmp_path, monkeypatch):
    """Another name would extract again what is in the user's cache."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    frozen = FrozenBackbone("digits", image_size=32)

    assert frozen._store(frozen._settings()).path.endswith(
        "/features/digits-c9004deae2652dce.features"
    )


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("X", "message"),
        [
            ("photos", "X is a list of paths, or arrays of pixels. Received: 'photos'"),
            (["nowhere.png"], r"X\[0\] nowhere.png cannot be read: No such file"),
            ([], "There are no arrays"),
            (np.zeros((2, 8, 8, 3)), "Element 0 is .*float64. Expected"),
        ],
    )
    def test_what_is_no_list_of_images(self, frozen, X, message):
        for method in (frozen.fit, frozen.transform):
            with pytest.raises(InputError, match=message):
                method(X)

    def test_a_bad_picture_is_named_by_its_place(self, frozen, photos, paths):
        (photos / "bad.jpg").write_bytes(b"no picture")
        for _ in range(2):
            with pytest.raises(InputError, match=r"X\[2\] .*/bad.jpg: "):
                frozen.transform([*paths[:2], photos / "bad.jpg"])

    def test_arguments_are_checked_in_fit(self, paths):
        with pytest.raises(InputError, match="--interpolation is one of"):
            FrozenBackbone("digits", interpolation="lanczos").fit(paths)

    def test_a_store_of_another_recipe(self, frozen, paths):
        frozen.transform(paths)
        with pytest.raises(StaleStoreError, match="image_size=32, but this run asks for 40"):
            clone(frozen).set_params(image_size=40).transform(paths)


def test_importing_extract_imports_no_scikit_learn():
    code = "import sys, extract; extract.run; print('sklearn' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
