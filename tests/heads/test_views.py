"""Cached views: heads that train in epochs see them all, the others the plain one alone."""

import functools
from dataclasses import replace

import numpy as np
import pytest

import extract
from extract.store.opening import open_store
from heads.data import open_source
from heads.errors import HeadError
from heads.evaluation import evaluate
from heads.fitting import fit
from heads.neural import MLPHead
from tests.heads.conftest import paint, relabelled
from tests.heads.models import linear_model

AUGMENT = "crop=0.5,brightness=0.2"


@pytest.fixture
def images(tmp_path, fake_backbone):
    return paint(tmp_path / "photos")


@pytest.fixture
def viewed(images, tmp_path):
    """A store with three views of "last" and the plain one of "3"."""
    store = tmp_path / "viewed.features"
    extract.run(images, store, layers=["last"], views=3, augment=AUGMENT)
    extract.run(images, store, layers=["3"])
    return store


@pytest.fixture
def plain(images, tmp_path):
    return extract.run(images, tmp_path / "plain.features", layers=["last"]).store


def test_views_are_rows_of_the_same_items(viewed):
    source, snapshot = open_source(viewed, ["last"]), open_store(viewed)
    views = source.load_views("train")

    assert views.shape == (3, 36, 6)
    np.testing.assert_array_equal(views[0], source.load("train").X)
    np.testing.assert_array_equal(views[2], snapshot.load("train", "last:view2").X)


def test_a_view_counts_where_every_column_has_it(viewed):
    assert len(open_source(viewed, ["last"]).views) == 3
    assert len(open_source(viewed, ["3", "last"]).views) == 1


def test_an_mlp_is_trained_on_the_views_of_train_rows(viewed, plain, monkeypatch):
    seen = []
    real = MLPHead.fit

    @functools.wraps(real)  # its signature says how it is trained
    def fit_and_note(self, X, y, **options):
        seen.append(options.get("views"))
        return real(self, X, y, **options)

    monkeypatch.setattr(MLPHead, "fit", fit_and_note)
    settings = {"epochs": 5, "hidden": 8}
    with_views = fit(viewed, estimator="mlp", columns=["last"], settings=settings)
    without = fit(plain, estimator="mlp", settings=settings)

    assert seen[0].shape == (3, 36, 6)
    assert seen[1] is None
    X = open_store(plain).load("test").X
    assert not np.array_equal(with_views.predict_proba(X), without.predict_proba(X))
    assert [column.view for column in with_views.columns] == [0]


@pytest.mark.parametrize("name", ["logistic", "ridge", "svm", "prototype", "knn"])
def test_every_other_head_is_the_head_of_the_plain_view(viewed, plain, name):
    X = open_store(plain).load("test").X
    one = fit(viewed, estimator=name, columns=["last"])
    other = fit(plain, estimator=name)

    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_a_store_of_views_of_one_layer_needs_no_column_named(images, tmp_path):
    store = tmp_path / "one.features"
    extract.run(images, store, layers=["last"], views=3, augment=AUGMENT)

    assert [column.name for column in open_source(store).columns] == ["last:avg"]


def test_a_view_is_no_column_for_a_head(viewed):
    with pytest.raises(HeadError, match="last:avg:view1 is an augmented view.* --column last:avg:"):
        open_source(viewed, ["last:view1"])


def test_views_of_the_frozen_backbone_say_nothing_of_a_tuned_one(viewed):
    """Its head would score them without a word, and every number would be wrong."""
    head = linear_model(viewed)
    recipe = replace(head.recipe, weights_digest="0" * 64)
    tuned = replace(head, kind="finetuned", recipe=recipe)

    with pytest.raises(HeadError, match="views of its frozen backbone.* Leave --tta out"):
        evaluate(tuned, viewed, tta=True)
    assert evaluate(head, viewed, tta=True).rows == 18


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("multilabel", {"red": "red|warm", "green": "green", "blue": "blue|cold"}),
        ("regression", {"red": 3, "green": 1, "blue": -2}),
    ],
)
def test_labels_and_numbers_are_learned_from_views_and_judged_over_them(viewed, task, names):
    relabelled(viewed, lambda row: names[row["label"]])
    settings = {"epochs": 30, "learning_rate": 0.05}
    model = fit(viewed, task=task, columns=["last"], estimator="linear", settings=settings)
    once, mean = evaluate(model, viewed).report, evaluate(model, viewed, tta=True).report
    views = open_source(viewed, ["last"]).load_views("test")

    assert once.scalars.keys() == mean.scalars.keys()
    assert once.scalars != mean.scalars
    found = np.mean([model.predict_proba(view) for view in views], axis=0)
    assert found.shape == (18, len(model.classes))
