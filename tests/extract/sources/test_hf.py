"""Data sets of Hugging Face's library: made here, found by path, read as the bytes they hold."""

import os

import pyarrow as pa
import pytest

import extract
from extract.errors import ImageError, InputError
from extract.items import list_folder
from extract.reading import read
from extract.sources import list_images

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _offline(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf-cache")
    datasets.disable_progress_bars()


@pytest.fixture
def saved(tmp_path, photos):
    """A data set of two splits with the bytes of twelve pictures, as `save_to_disk` leaves it."""
    features = datasets.Features(
        {"photo": datasets.Image(), "label": datasets.ClassLabel(names=["cats", "dogs"])}
    )
    rows = [
        {"photo": {"bytes": (photos / i.path).read_bytes(), "path": None}, "label": i.label}
        for i in list_folder(photos).items
    ]
    parts = {"train": rows[::2], "test": rows[1::2]}
    whole = datasets.DatasetDict(
        {split: datasets.Dataset.from_list(part, features) for split, part in parts.items()}
    )
    whole.save_to_disk(tmp_path / "pets")
    return tmp_path / "pets"


def test_rows_become_items_with_labels_and_splits(saved):
    listing = list_images(f"hf:{saved}")

    assert len(listing.items) == 13
    assert [(i.path, i.label, i.split) for i in listing.items[:2]] == [
        ("test/00000000", "cats", "test"),
        ("test/00000001", "cats", "test"),
    ]
    assert [(i.path, i.label, i.split) for i in listing.items[-1:]] == [
        ("train/00000006", "dogs", "train")
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["cat", None], ["cat", None]), ([7, -1], ["7", "-1"]), ([0.5, 1.5], [None, None])],
    ids=["text", "whole numbers", "floats are no classes"],
)
def test_a_column_called_label_needs_no_classes(tmp_path, photos, values, expected):
    data = next(photos.rglob("*.png")).read_bytes()
    rows = {"image": [{"bytes": data, "path": None}] * 2, "label": values, "note": ["a", "b"]}
    whole = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    whole.save_to_disk(tmp_path / "pets")

    assert [item.label for item in list_images(f"hf:{tmp_path / 'pets'}").items] == expected


def test_a_slice_holds_what_the_library_says(saved):
    listing = list_images(f"hf:{saved}[train[:40%]+test]")
    paths = [i.path for i in listing.items]
    expected = datasets.load_from_disk(str(saved))["train"][:3]  # 40 % of 7, rounded

    assert len([p for p in paths if p.startswith("train[:40%]/")]) == len(expected["label"])
    assert {i.split for i in listing.items} == {"train", "test"}


@pytest.mark.usefixtures("fake_backbone")
def test_a_data_set_and_its_folder_share_a_store(saved, photos, monkeypatch):
    first = extract.run(photos, backbone="digits")
    second = extract.run(f"hf:{saved}", first.store, backbone="digits")
    monkeypatch.setattr("extract.sources.hf.Rows.read", None)
    third = extract.run(f"hf:{saved}", first.store, backbone="digits")

    assert (second.extracted, second.root_digest) == (0, first.root_digest)
    assert (third.snapshot, third.extracted) == (second.snapshot, 0)


def test_a_folder_that_the_library_knows_is_read_without_the_network(tmp_path, photos, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listing = list_images(f"hf:{photos}[train]")
    data = {read(listing, i).data for i in listing.items}

    assert data == {p.read_bytes() for p in photos.rglob("*.png")}
    assert {i.label for i in listing.items} == {"cats", "dogs"}


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("outside", "names a file outside the data set's folders"),
        ("link", "names a file outside the data set's folders"),
        ("pipe", "names what is no file"),
        ("folder", "names what is no file"),
        ("nowhere", "No such file"),
        ("none", "no bytes"),
        ("odd", "no name of a file"),
        ("huge", "bytes, more than .* are not read"),
    ],
)
def test_a_row_names_no_file_but_the_data_sets_own(tmp_path, photos, named, reason):
    """Whoever wrote the rows would otherwise read any file of the machine, or block it."""
    folder = tmp_path / "pets"
    kinds = datasets.Features({"image": datasets.Image()})
    places = {
        "outside": str(next(photos.rglob("*.png"))),
        "none": None,
        "odd": "a\0b",
    } | {name: str(folder / name) for name in ("link", "pipe", "folder", "nowhere", "huge")}
    image = {"bytes": (photos / places["outside"]).read_bytes(), "path": None}
    datasets.Dataset.from_list([{"image": image}], kinds).save_to_disk(folder)
    (arrow,) = folder.glob("*.arrow")
    with pa.ipc.open_stream(arrow.read_bytes()) as stream:
        cells = pa.array([{"bytes": None, "path": places[named]}], stream.schema.field(0).type)
        table = pa.table([cells], stream.schema)
    with pa.ipc.new_stream(arrow, table.schema) as stream:
        stream.write_table(table)
    (folder / "link").symlink_to(places["outside"])
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    with open(folder / "huge", "wb") as file:
        file.truncate(2**29 + 1)
    listing = list_images(f"hf:{folder}")

    with pytest.raises(ImageError, match=reason):
        read(listing, listing.items[0])


def test_a_column_of_images_is_needed(tmp_path):
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["a"]})}).save_to_disk(
        tmp_path / "texts"
    )

    with pytest.raises(InputError, match="texts has no column of images"):
        list_images(f"hf:{tmp_path / 'texts'}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("[dev]", "no split 'dev', it has train, test"),
        ("[train", r"Expected NAME\[SPLITS\], such as mnist"),
        ("[train+train]", "named twice"),
        ("[]", "Expected NAME"),
    ],
)
def test_a_bad_split_is_one_line(saved, name, message):
    with pytest.raises(InputError, match=message) as caught:
        list_images(f"hf:{saved}{name}")
    assert "\n" not in str(caught.value)


def test_what_is_nowhere_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be had") as caught:
        list_images(f"hf:{tmp_path / 'nowhere'}")
    assert "\n" not in str(caught.value)


def test_without_the_library_the_command_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)

    with pytest.raises(InputError, match=r'pip install "headstart\[hf\]"'):
        list_images("hf:mnist")
