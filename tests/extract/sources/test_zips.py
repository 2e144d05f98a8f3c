"""Archives: folders mean what they mean on the disk, and no member reaches the disk."""

import gc
import stat
import struct
import zipfile

import pytest

import extract
from extract.errors import ImageError, InputError
from extract.items import list_folder
from extract.reading import read
from extract.sources import list_images
from tests.helpers import tree


def pack(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def listed(listing):
    return [(i.path, i.label, i.split) for i in listing.items]


LAYOUTS = {
    "classes": ["cats/1.jpg", "dogs/deep/er/2.jpg"],
    "splits": ["train/cats/1.jpg", "Val/dogs/2.jpg", "test/cats/3.jpg"],
    "a class beside splits": ["train/cats/1.jpg", "cats/1.jpg"],
    "splits without classes": ["train/1.jpg", "test/2.jpg"],
    "one split without classes": ["train/cats/1.jpg", "test/2.jpg"],
    "files beside classes in a split": ["train/cats/1.jpg", "train/x.jpg", "test/dogs/1.jpg"],
    "flat": ["2.jpg", "1.jpg", "notes.txt"],
    "files beside folders": ["cats/1.jpg", "README.md"],
    "hidden": ["cats/1.jpg", "cats/.x.jpg", "__MACOSX/cats/1.jpg", "cats/Thumbs.db"],
    "one split": ["train/cats/1.jpg", "train/dogs/2.jpg"],
    "one split with files": ["Test/cats/1.jpg", "Test/x.jpg"],
    "one class": ["cats/1.jpg", "cats/2.jpg"],
}


@pytest.mark.parametrize("names", LAYOUTS.values(), ids=LAYOUTS)
def test_an_archive_means_what_the_folder_means(tmp_path, names):
    for name in names:
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    archive = pack(tmp_path / "photos.zip", dict.fromkeys(names, b"x"))

    assert listed(list_images(archive)) == listed(list_folder(tmp_path / "photos"))


def test_a_packed_folder_is_that_folder(tmp_path):
    archive = pack(tmp_path / "p.zip", {"photos/cats/1.jpg": b"x", "photos/dogs/2.jpg": b"y"})
    listing = list_images(archive)

    assert listed(listing) == [("cats/1.jpg", "cats", None), ("dogs/2.jpg", "dogs", None)]
    assert read(listing, listing.items[1]).data == b"y"
    assert "in photos/" in listing.notes[0]


@pytest.mark.usefixtures("fake_backbone")
def test_an_archive_and_its_folder_share_a_store_and_nothing_is_unpacked(tmp_path, photos):
    first = extract.run(photos, backbone="digits")
    items = list_folder(photos).items
    archive = pack(tmp_path / "photos.zip", {i.path: (photos / i.path).read_bytes() for i in items})
    before = tree(photos)
    second = extract.run(archive, backbone="digits")
    third = extract.run(archive, backbone="digits")

    assert (second.store, second.extracted) == (first.store, 0)
    assert second.root_digest == first.root_digest
    assert (third.snapshot, third.read_seconds) == (second.snapshot, 0.0)
    assert tree(photos) == before
    assert {p.name for p in tmp_path.iterdir()} == {"photos", "photos.zip", "photos.features"}


@pytest.mark.parametrize(
    "name",
    ["../evil.jpg", "/etc/evil.jpg", "cats/../../evil.jpg", "..\\evil.jpg", "C:/evil.jpg"],
)
def test_a_member_that_leads_elsewhere_is_one_line(tmp_path, name):
    archive = pack(tmp_path / "p.zip", {"cats/1.jpg": b"x", name: b"x"})

    with pytest.raises(InputError, match="which leaves its folder"):
        list_images(archive)


def test_a_member_that_comes_twice_is_one_line(tmp_path):
    archive = pack(tmp_path / "p.zip", {"cats/1.jpg": b"x", "cats\\1.jpg": b"x"})

    with pytest.raises(InputError, match="'cats/1.jpg' twice"):
        list_images(archive)


def test_encrypted_links_and_bombs_are_bad_items(tmp_path):
    archive = pack(tmp_path / "p.zip", {"c/1.jpg": b"x", "c/2.jpg": b"x"})
    with zipfile.ZipFile(archive, "a") as file:
        link = zipfile.ZipInfo("c/3.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    data = bytearray(archive.read_bytes())
    central = data.index(b"PK\1\2")
    data[central + 8] |= 1  # the first member says that it is encrypted
    second = data.index(b"PK\1\2", central + 4)
    struct.pack_into("<I", data, second + 24, 2**31)  # and the second that it inflates to 2 GiB
    archive.write_bytes(data)

    assert {i.path: i.trouble for i in list_images(archive).items} == {
        "c/1.jpg": "encrypted: pack it without a password",
        "c/2.jpg": f"{2**31} bytes, more than {2**29} are not read",
        "c/3.jpg": "a link, which has no bytes of its own",
    }


def test_a_broken_member_is_a_bad_item(tmp_path):
    archive = tmp_path / "p.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("c/1.jpg", b"abcdefgh" * 10)
        file.writestr("c/2.jpg", b"good")
    data = bytearray(archive.read_bytes())
    data[data.index(b"abcdefgh")] ^= 1
    archive.write_bytes(data)
    listing = list_images(archive)

    assert read(listing, listing.items[1]).data == b"good"
    with pytest.raises(ImageError, match="broken member of the archive: Bad CRC-32"):
        read(listing, listing.items[0])


def test_an_archive_is_closed_with_its_listing(tmp_path):
    """Also where both are in a circle: the collector may come to the file before the archive."""
    listing = list_images(pack(tmp_path / "p.zip", {"c/1.jpg": b"x"}))
    archive = listing.source._archive
    circle = [listing]
    circle.append(circle)
    del listing, circle
    gc.collect()

    assert archive.fp is None


@pytest.mark.parametrize("data", [b"", b"no archive"])
def test_what_is_no_archive_is_one_line(tmp_path, data):
    (tmp_path / "p.zip").write_bytes(data)

    with pytest.raises(InputError, match="cannot be read as a zip archive"):
        list_images(tmp_path / "p.zip")
    with pytest.raises(InputError, match="No such file"):
        list_images(tmp_path / "nowhere.zip")
    with pytest.raises(InputError, match="holds no files"):
        list_images(pack(tmp_path / "empty.zip", {}))


def test_names_that_say_they_are_utf_8_and_are_not_are_one_line(tmp_path):
    data = bytearray(pack(tmp_path / "p.zip", {"c/1.jpg": b"x"}).read_bytes())
    entry = data.index(b"PK\1\2")
    data[entry + 9] |= 8  # flag bit 11, APPNOTE.TXT 4.4.4
    data[entry + 46] = 0xFF
    (tmp_path / "p.zip").write_bytes(data)

    with pytest.raises(
        InputError, match="p.zip cannot be read as a zip archive: .*utf-8"
    ) as caught:
        list_images(tmp_path / "p.zip")
    assert "\n" not in str(caught.value)
