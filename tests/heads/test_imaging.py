"""Where a fine-tuned model finds the images of a store, and what is said where it cannot."""

import shutil
import zipfile

import numpy as np
import pytest

import extract
from extract.store.opening import open_store
from heads.errors import HeadError
from heads.imaging import images_root, read_known
from tests.heads.conftest import COLORS, paint, tabulate

FEW = {"train": 2, "validation": 1}


@pytest.fixture
def listed(tmp_path, fake_backbone):
    """A store of a table whose images lie in another folder, named otherwise than the store."""
    images = paint(tmp_path / "pictures", FEW)
    table = tabulate(images, tmp_path / "list.csv", label={color: color for color in COLORS})
    return open_store(extract.run(table, tmp_path / "photos.features", root=images).store)


def test_images_of_a_table_are_in_the_folder_of_its_paths(listed, tmp_path):
    assert images_root(listed) == tmp_path / "pictures"


def test_images_that_moved_with_their_store_are_found_beside_it(listed, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name in ("pictures", "photos.features"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    moved = open_store(tmp_path / "elsewhere" / "photos.features")

    assert images_root(moved) == tmp_path / "elsewhere" / "pictures"


def test_an_archive_can_be_unpacked(tmp_path, fake_backbone):
    images = paint(tmp_path / "plain", FEW)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in images.rglob("*.png"):
            archive.write(path, path.relative_to(images))
    snapshot = open_store(extract.run(tmp_path / "photos.zip", tmp_path / "a.features").store)
    row = snapshot.items.to_pylist()[0]

    with pytest.raises(HeadError, match=r"photos.zip, .*files of a folder. Unpack it, .*--images"):
        images_root(snapshot)
    assert read_known(images_root(snapshot, images), row["path"], row["image_key"])


def test_an_array_has_no_files(tmp_path, fake_backbone):
    x = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "photos.npz", x=x, y=np.arange(6) % 2)
    snapshot = open_store(extract.run(tmp_path / "photos.npz", tmp_path / "a.features").store)

    with pytest.raises(
        HeadError, match="photos.npz, .*files of a folder. Extract from one: python"
    ):
        images_root(snapshot)


def test_images_that_are_gone_are_asked_for(listed, tmp_path):
    shutil.rmtree(tmp_path / "pictures")

    with pytest.raises(HeadError, match=r"not at \S+pictures or .*--images FOLDER"):
        images_root(listed)
    with pytest.raises(HeadError, match=r"not at \S+nowhere, and"):
        images_root(listed, tmp_path / "nowhere")
