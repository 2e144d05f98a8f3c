"""Listing: which files are items, with which label and split, and what is passed over."""

import os

import pytest

import extract
from extract.errors import InputError
from extract.items import list_files, list_folder


def make(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return root


def listed(root):
    return [(i.path, i.label, i.split) for i in list_folder(root).items]


def test_class_folders_give_labels(tmp_path):
    make(tmp_path, "dogs/b.jpg", "cats/deep/er/a.jpg")

    assert listed(tmp_path) == [("cats/deep/er/a.jpg", "cats", None), ("dogs/b.jpg", "dogs", None)]


def test_split_folders_give_splits_and_labels(tmp_path):
    make(tmp_path, "Train/cats/1.jpg", "val/dogs/2.jpg", "testing/cats/3.jpg")

    assert listed(tmp_path) == [
        ("Train/cats/1.jpg", "cats", "train"),
        ("testing/cats/3.jpg", "cats", "test"),
        ("val/dogs/2.jpg", "dogs", "validation"),
    ]


@pytest.mark.parametrize(
    "paths",
    [
        ("train/cats/1.jpg", "cats/1.jpg"),
        ("train/1.jpg", "test/2.jpg"),
        ("train/cats/1.jpg", "test/2.jpg"),
    ],
    ids=["another folder beside", "no class folders", "one holds no folders"],
)
def test_split_names_are_classes_unless_every_folder_is_one(tmp_path, paths):
    make(tmp_path, *paths)

    assert {split for _, _, split in listed(tmp_path)} == {None}
    assert {label for _, label, _ in listed(tmp_path)} == {p.split("/")[0] for p in paths}


def test_a_flat_folder_has_no_labels(tmp_path):
    make(tmp_path, "2.jpg", "1.jpg", "notes.txt")

    assert listed(tmp_path) == [
        ("1.jpg", None, None),
        ("2.jpg", None, None),
        ("notes.txt", None, None),
    ]


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.jpg",
        "Thumbs.db",
        "thumbs.DB",
        "desktop.ini",
        ".DS_Store",
        "__MACOSX/a.jpg",
        ".git/a.jpg",
        "@eaDir/a.jpg",
    ],
)
def test_what_systems_leave_behind_is_no_item(tmp_path, name):
    make(tmp_path, "cats/1.jpg", f"cats/{name}", name)

    assert listed(tmp_path) == [("cats/1.jpg", "cats", None)]


def test_files_beside_class_folders_are_noted(tmp_path):
    make(tmp_path, "cats/1.jpg", "README.md")
    listing = list_folder(tmp_path)

    assert [i.path for i in listing.items] == ["cats/1.jpg"]
    assert listing.notes == ("1 files beside the folders are not items: README.md",)


def test_a_store_among_the_folders_is_no_class(tmp_path):
    make(tmp_path, "cats/1.jpg", "old.features/store.json")

    assert listed(tmp_path) == [("cats/1.jpg", "cats", None)]


@pytest.mark.parametrize("command", [["run"], ["run", "--plan"], ["preview"]])
def test_a_store_is_no_folder_of_images(cli, photos, fake_backbone, command):
    """Its probes are pictures, and features of these are of no use to anybody."""
    store = extract.run(photos, backbone="digits").store
    before = sorted(photos.parent.iterdir())
    status, _, err = cli(command[0], store, *command[1:])

    assert (status, err) == (
        1,
        f"Error: {store} is a store, no folder of images. IMAGES is a folder such as "
        f"photos/cats/1.jpg. To see what the store holds: python -m extract info {store}\n",
    )
    assert sorted(photos.parent.iterdir()) == before


def test_a_folder_of_images_may_hold_other_files_of_these_names(tmp_path):
    make(tmp_path, "cats/1.jpg", "store.json", "model.json")
    (tmp_path / "model.json").write_text('{"kind": ["model"]}')

    assert [item.path for item in list_folder(tmp_path).items] == ["cats/1.jpg"]
    assert len(list_files(tmp_path).items) == 3


def test_items_carry_size_and_time(tmp_path):
    make(tmp_path, "cats/1.jpg")
    os.utime(tmp_path / "cats/1.jpg", ns=(5, 7))

    assert [(i.size, i.mtime_ns) for i in list_folder(tmp_path).items] == [(1, 7)]


def test_links_that_leave_the_folder_are_bad_and_others_are_items(tmp_path):
    secret = make(tmp_path / "elsewhere", "secret.jpg")
    root = make(tmp_path / "photos", "cats/1.jpg")
    (root / "cats" / "2.jpg").symlink_to(secret / "secret.jpg")
    (root / "cats" / "3.jpg").symlink_to(root / "cats" / "1.jpg")
    trouble = {i.path: i.trouble for i in list_folder(root).items}

    assert trouble == {
        "cats/1.jpg": "",
        "cats/2.jpg": "a link that leaves the folder of images",
        "cats/3.jpg": "",
    }


def test_links_to_folders_are_not_entered(tmp_path):
    """Not even one that leads back to where it is, which would never end."""
    make(tmp_path, "cats/1.jpg")
    (tmp_path / "cats" / "again").symlink_to(tmp_path / "cats")
    listing = list_folder(tmp_path)

    assert [i.path for i in listing.items] == ["cats/1.jpg"]
    assert "cats/again is a link to a folder" in listing.notes[0]


@pytest.mark.parametrize("place", ["linked", "train/linked"])
def test_a_linked_class_or_split_folder_is_not_entered(tmp_path, place):
    make(tmp_path / "elsewhere", "dogs/1.jpg", "2.jpg")
    root = make(tmp_path / "photos", "train/cats/1.jpg", "test/cats/2.jpg")
    (root / place).symlink_to(tmp_path / "elsewhere")
    listing = list_folder(root)

    assert [i.path for i in listing.items] == ["test/cats/2.jpg", "train/cats/1.jpg"]
    assert len(listing.notes) == 1


def test_an_empty_folder_does_not_make_a_flat_folder_one_of_classes(tmp_path):
    make(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "empty").mkdir()

    assert [label for _, label, _ in listed(tmp_path)] == [None, None]


def test_what_is_no_regular_file_is_bad_and_never_opened(tmp_path):
    make(tmp_path, "cats/1.jpg")
    os.mkfifo(tmp_path / "cats" / "pipe.jpg")

    assert [i.trouble for i in list_folder(tmp_path).items] == ["", "not a regular file"]


def test_a_name_that_is_not_utf8_is_bad_and_shown(tmp_path):
    make(tmp_path, "cats/1.jpg")
    with open(os.fsencode(tmp_path) + b"/cats/\xff.jpg", "wb"):
        pass

    assert [(i.path, i.trouble) for i in list_folder(tmp_path).items][1] == (
        "cats/\\udcff.jpg",
        "its name is not UTF-8: rename it",
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "does not exist.*photos/cats/1.jpg"),
        ("file.jpg", "is a file.*photos/cats/1.jpg"),
        ("empty", "holds no files"),
        ("hidden", "holds no files"),
    ],
)
def test_what_cannot_be_listed_is_one_line(tmp_path, name, message):
    make(tmp_path, "file.jpg", "hidden/.jpg")
    (tmp_path / "empty").mkdir()

    with pytest.raises(InputError, match=message):
        list_folder(tmp_path / name)
