"""diff says which items and features differ, and how far."""

import pytest

import extract
import extract.relabeling
from extract.comparing import diff
from extract.errors import InputError, StoreError
from tests.helpers import SyntheticEngine

pytestmark = pytest.mark.usefixtures("fake_backbone")


def run(photos, **options):
    return extract.run(photos, backbone="digits", **options).store


def test_a_store_does_not_differ_from_another_history_of_the_same(photos, tmp_path):
    store = run(photos)
    other = run(photos, store=tmp_path / "other", format="hdf5")
    found = diff(store, other)

    assert found.is_none
    assert (found.columns[0].images, found.columns[0].differ) == (12, 0)


def test_items_that_came_went_changed_or_were_relabeled(photos, picture):
    store = run(photos)
    picture(photos / "cats" / "new.png", seed=3)
    (photos / "cats" / "1.png").unlink()
    picture(photos / "cats" / "2.png", seed=4)
    run(photos)
    extract.relabeling.relabel(store, _table(photos, "path,label\ndogs/1.png,wolves\n"))
    found = diff(f"{store}@1", store)

    assert (found.added, found.removed) == (["cats/new.png"], ["cats/1.png"])
    assert found.changed == ["cats/2.png"]
    assert "dogs/1.png" in found.relabeled
    assert found.columns[0].images == 10
    assert not found.is_none
    assert diff(store, store).is_none


def _table(photos, text):
    path = photos.parent / "t.csv"
    path.write_text(text)
    return path


def test_features_that_differ_and_how_far(photos, tmp_path, monkeypatch):
    store = run(photos)
    real = SyntheticEngine.__call__
    monkeypatch.setattr(SyntheticEngine, "__call__", lambda s, p: [x * 1.001 for x in real(s, p)])
    other = run(photos, store=tmp_path / "other")
    found = diff(store, other).columns[0]

    assert found.differ == 12
    assert found.farthest == pytest.approx(1e-3, rel=0.1)
    assert diff(store, other, tolerance=0.01).is_none
    assert diff(store, other, tolerance=1e-4).columns[0].differ == 12


def test_recipes_and_columns_that_differ_are_named(photos, tmp_path):
    store = run(photos)
    other = run(photos, store=tmp_path / "other", interpolation="nearest", layers=["3"])
    found = diff(store, other)

    assert found.recipe == ["pixels.interpolation"]
    assert (found.only_a, found.only_b) == (["last:avg"], ["3:avg"])


def test_what_is_not_there_is_one_line(photos, tmp_path):
    store = run(photos)
    with pytest.raises(StoreError, match=r"photos.features has no snapshot 9. It has: 1$"):
        diff(f"{store}@9", store)
    with pytest.raises(StoreError, match="not a store"):
        diff(store, tmp_path / "nowhere")
    with pytest.raises(InputError, match="--tolerance"):
        diff(store, store, -1.0)
