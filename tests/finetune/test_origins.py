"""A head is tuned on its own data set, also where that has changed, and on no other."""

import csv
import shutil

import pytest

import extract
import finetune
import heads
from extract.store.opening import open_store
from finetune.errors import FinetuneError
from finetune.origins import check_origin
from heads.model_folder import load, save
from tests.finetune.conftest import SPLITS
from tests.finetune.test_cli import typed
from tests.heads.conftest import paint
from tests.heads.models import linear_model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store whose pictures stand in one folder per class, and a head on it."""
    folder = tmp_path_factory.mktemp("origins")
    paint(folder / "photos", SPLITS)
    extract.run(folder / "photos", folder / "photos.features", backbone="digits")
    return folder / "photos.features"


@pytest.fixture
def store(made, tmp_path):
    """A copy of it, that a test may change; the images are beside it."""
    shutil.copytree(made.with_suffix(""), tmp_path / "photos")
    shutil.copytree(made, tmp_path / "photos.features")
    return tmp_path / "photos.features"


@pytest.fixture
def head(store):
    return save(linear_model(store, columns=()), store.with_name("photos.head"))


def renamed(store, *rows):
    """Relabel items: (path, label, split) each; an empty cell stays."""
    table = store.with_name("changes.csv")
    with open(table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    extract.relabel(store, table)


def test_a_head_of_another_data_set_is_refused(store, head, tmp_path, monkeypatch, capsys):
    """Same recipe, same classes, other pictures."""
    paint(tmp_path / "other", SPLITS, seed=1)
    extract.run(tmp_path / "other", tmp_path / "other.features", backbone="digits")
    words = (tmp_path / "other.features", "--head", head.path)
    for command in ("run", "plan"):
        status, _, err = typed(monkeypatch, capsys, command, *words)
        last = err.strip().splitlines()[-1]

        assert status == 1
        assert "another data set" in last
        assert "0 of its 24 training images" in last
        assert last.endswith(
            f"python -m heads fit {tmp_path}/other.features --out {tmp_path}/other.new.head"
        )
        assert not (tmp_path / "other.tuned").exists()


def test_a_store_that_grew_and_was_relabeled_is_still_the_heads(store, head, tmp_path):
    images = store.with_suffix("")
    shutil.copy(images / "test/red/0.png", images / "train/red/again.png")
    for number, path in enumerate(
        sorted(paint(tmp_path / "more", {"x": 4}, seed=1).rglob("*.png"))
    ):
        shutil.copy(path, images / "train" / path.parent.name / f"more{number}.png")
    extract.run(images, store, backbone="digits")
    renamed(store, ("train/red/1.png", "blue", ""))
    now = open_store(store)

    assert now.number > head.store["snapshot"]
    assert now.items.num_rows == 54 + 1 + 12
    assert not check_origin(head, now)


def test_the_same_images_in_another_store_are_the_heads(store, head, tmp_path):
    """Nothing but the items counts: not where the store is, nor whether the old one still is."""
    extract.run(store.with_suffix(""), tmp_path / "again.features", backbone="digits")
    shutil.rmtree(store)
    again = tmp_path / "again.features"
    found = finetune.run(again, head.path, unfreeze="from:conv4", mode="suffix", epochs=1)
    model = load(found.model)

    assert check_origin(head, open_store(again))
    assert model.store["path"] == str(again.resolve())
    assert model.splits == head.splits


def test_a_changed_copy_elsewhere_is_compared_with_the_heads_own_store(store, head, tmp_path):
    shutil.copytree(store, tmp_path / "copy.features")
    renamed(tmp_path / "copy.features", ("train/red/1.png", "blue", ""))
    extract.gc(tmp_path / "copy.features", older_than="0", yes=True)

    assert not check_origin(head, open_store(tmp_path / "copy.features"))


def test_validation_rows_that_the_head_was_trained_on_are_refused(store, head):
    renamed(store, ("train/red/1.png", "", "validation"), ("train/red/2.png", "", "validation"))
    with pytest.raises(FinetuneError, match=r"trained on 2 images that are validation rows .* now"):
        finetune.run(store, head.path)


def test_what_cannot_be_told_is_refused(store, head):
    """Snapshots that were cleared away tell nothing of what a head saw."""
    renamed(store, ("train/red/1.png", "blue", ""))
    extract.gc(store, older_than="0", yes=True)
    with pytest.raises(FinetuneError, match=r"snapshot 1 of .* which is gone: .* cannot be told"):
        check_origin(head, open_store(store))
    heads.fit(store, store.with_name("photos.new.head"), estimator="ridge")

    assert check_origin(load(store.with_name("photos.new.head")), open_store(store))
