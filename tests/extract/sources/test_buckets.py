"""Folders and tables in a bucket are the data sets that they are on a disk, and are read once."""

import csv
from types import SimpleNamespace

import pytest

import extract
from extract.bucket import open_bucket
from extract.errors import BucketError, ImageError, InputError
from extract.items import list_folder
from extract.reading import read
from extract.sources import list_images
from extract.sources.buckets import Objects, items_of, list_objects
from extract.store.object_files import ObjectFiles
from extract.store.opening import Store, open_store
from extract.stored import remember

pytestmark = pytest.mark.usefixtures("fake_backbone")


def upload(folder, url):
    """Copy a folder to a bucket; return its URL."""
    files = ObjectFiles.at(url)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files.write_new(path.relative_to(folder).as_posix(), path.read_bytes())
    return url


@pytest.fixture
def uploaded(photos, bucket):
    """URL of the twelve pictures and their copy, in a bucket."""
    return upload(photos, f"{bucket}/photos")


TREES = {
    "classes": ["cats/1.jpg", "cats/deep/2.jpg", "dogs/1.jpg"],
    "splits": ["train/cats/1.jpg", "train/dogs/1.jpg", "val/cats/2.jpg", "val/dogs/2.jpg"],
    "splits with loose files": ["train/cats/1.jpg", "train/x.jpg", "test/cats/2.jpg"],
    "a class called train": ["train/1.jpg", "test/2.jpg"],
    "flat": ["1.jpg", "2.jpg"],
    "files beside folders": ["cats/1.jpg", "x.txt", "y.txt", "z.txt", "zz.txt"],
    "hidden": ["cats/1.jpg", "cats/.x.jpg", ".git/a/b", "cats/Thumbs.db", "__MACOSX/cats/1.jpg"],
    "a store among them": ["cats/1.jpg", "old.features/store.json", "old.features/shards/a"],
    "odd names": ["cats/a b.jpg", "cats/é.jpg", "cats/x#y%20z.jpg", "cats/[1]+(2)~;'&=.jpg"],
}


@pytest.mark.parametrize("names", TREES.values(), ids=TREES)
def test_folders_mean_what_they_mean_on_a_disk(tmp_path, names, bucket):
    for name in names:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"12345")
    here = list_folder(tmp_path / "photos")
    there = list_images(upload(tmp_path / "photos", f"{bucket}/photos"))
    facts = [[(i.path, i.label, i.split, i.size) for i in x.items] for x in (here, there)]

    assert facts[0] == facts[1]
    assert here.notes == there.notes


def test_empty_objects_that_consoles_make_for_folders_are_no_items():
    facts = (5, 1)
    items, _ = items_of({"cats": (0, 1), "cats/1.jpg": facts, "cats/2.jpg": (0, 1)}, "s3://b/x")

    assert [item.path for item in items] == ["cats/1.jpg", "cats/2.jpg"]


def test_the_root_is_that_of_the_files(photos, tmp_path, uploaded):
    here = extract.run(photos, tmp_path / "here.features", backbone="digits")
    there = extract.run(uploaded, backbone="digits")

    assert there.store == f"{uploaded}.features"
    assert there.root_digest == here.root_digest
    assert open_store(there.store).items_digest == open_store(here.store).items_digest


def test_what_did_not_change_is_not_read_again(uploaded, tmp_path, monkeypatch):
    extract.run(uploaded, tmp_path / "x.features", backbone="digits")
    monkeypatch.setattr(Objects, "read", lambda self, item: pytest.fail(f"{item.path} was read"))

    assert extract.run(uploaded, tmp_path / "x.features", backbone="digits").extracted == 0


def test_an_object_that_was_written_again_in_the_same_second_is_read(uploaded, tmp_path, photos):
    """Buckets tell seconds: the ETag must say that other bytes of one size came."""
    extract.run(uploaded, tmp_path / "x.features", backbone="digits")
    before = Objects.at(uploaded).facts()["cats/0.png"]
    data = bytearray((photos / "cats" / "1.png").read_bytes())
    data += b"\0" * max(0, before[0] - len(data))  # what follows the end of a PNG is nothing
    files = ObjectFiles.at(uploaded)
    files.remove("cats/0.png")
    files.write_new("cats/0.png", bytes(data[: before[0]]))

    assert Objects.at(uploaded).facts()["cats/0.png"][0] == before[0]
    summary = extract.run(uploaded, tmp_path / "x.features", backbone="digits")
    key = open_store(summary.store).items["image_key"].to_pylist()[0]
    assert key == extract.reading.image_key(bytes(data[: before[0]]))


def test_listing_and_reading_say_the_same_of_an_object(uploaded):
    listing = list_images(uploaded)
    for item in listing.items:
        found = read(listing, item).read

        assert (found.path, found.size, found.mtime_ns) == (item.path, item.size, item.mtime_ns)


def test_an_object_that_went_away_is_one_bad_item(uploaded, tmp_path):
    listing = list_images(uploaded)
    ObjectFiles.at(uploaded).remove("cats/0.png")

    with pytest.raises(ImageError, match="There is no such object"):
        read(listing, listing.items[0])


def test_a_bucket_out_of_reach_makes_no_image_bad(photos, faulty_bucket, tmp_path):
    """It ends the run, in one line: a snapshot must not say that pictures cannot be read."""
    bucket, proxy = faulty_bucket(kinds=("503",))
    url = upload(photos, f"{bucket}/photos")
    listing = list_images(url)
    proxy.share = 1.0

    with pytest.raises(BucketError, match="did not do what was asked"):
        read(listing, listing.items[0])


def write_table(path, prefix=""):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "taken"])
        writer.writerow([f"{prefix}dogs/1.png", "dog", "2024"])
        writer.writerow([f"{prefix}cats/0.png", "cat", "2025"])
        writer.writerow([f"{prefix}cats/gone.png", "cat", "2026"])
    return path


class ShortAnswers:
    """A bucket whose first answers end early, as behind a proxy that keeps half of a body."""

    def __init__(self, bucket, short):
        self.bucket, self.short, self.asked = bucket, short, 0

    def get(self, name):
        self.asked += 1
        found = self.bucket.get(name)
        data = bytes(found.bytes())
        cut = data[: len(data) // 2] if self.asked <= self.short else data
        return SimpleNamespace(meta=found.meta, bytes=lambda: cut)


def test_half_an_object_is_asked_for_again_and_never_a_picture(uploaded, photos):
    item = next(item for item in list_objects(uploaded).items if item.path == "cats/0.png")
    for short in (0, 1, 2):
        objects = Objects(uploaded, ShortAnswers(open_bucket(uploaded), short))

        assert objects.read(item).data == (photos / "cats" / "0.png").read_bytes()
        assert objects.bucket.asked == short + 1

    with pytest.raises(BucketError, match=r"cats/0.png came with \d+ of \d+ bytes"):
        Objects(uploaded, ShortAnswers(open_bucket(uploaded), 99)).read(item)


def test_half_a_table_is_no_table(bucket, uploaded, monkeypatch):
    table = "path,label\ncats/0.png,cats\ncats/1.png,cats\n"
    ObjectFiles.at(uploaded).write_new("photos.csv", table.encode())
    monkeypatch.setattr(
        "extract.sources.buckets.open_bucket", lambda url: ShortAnswers(open_bucket(url), 99)
    )
    with pytest.raises(BucketError, match=r"photos.csv came with \d+ of \d+ bytes"):
        list_images(f"{uploaded}/photos.csv")


@pytest.mark.parametrize("table_in", ["bucket", "disk"])
@pytest.mark.parametrize("images_in", ["bucket", "disk"])
def test_a_table_and_its_images_may_lie_in_different_places(
    photos, tmp_path, uploaded, bucket, table_in, images_in
):
    table = str(write_table(tmp_path / "table.csv"))
    expected = list_images(table, photos)
    if table_in == "bucket":
        ObjectFiles.at(bucket).write_new("table.csv", (tmp_path / "table.csv").read_bytes())
        table = f"{bucket}/table.csv"
    listing = list_images(table, uploaded if images_in == "bucket" else photos)

    facts = [[(i.path, i.label, bool(i.trouble)) for i in x.items] for x in (expected, listing)]
    assert facts[0] == facts[1]
    assert listing.further.equals(expected.further)
    assert listing.found_at == {
        "images": table,
        "folder": uploaded if images_in == "bucket" else str(photos),
    }


def test_a_tables_paths_are_relative_to_its_own_folder(photos, uploaded, bucket, tmp_path):
    data = write_table(tmp_path / "table.csv", "photos/").read_bytes()
    ObjectFiles.at(bucket).write_new("table.csv", data)
    summary = extract.run(f"{bucket}/table.csv", backbone="digits")

    assert summary.store == f"{bucket}/table.features"
    assert (summary.items, summary.bad) == (3, 1)


def test_a_store_finds_its_images_in_the_bucket_again(uploaded, bucket, tmp_path):
    for store in (f"{bucket}/x.features", str(tmp_path / "x.features")):
        extract.run(uploaded, store, backbone="digits")
        opened = Store.at(store)
        memory = remember(opened)

        assert len(memory.listing(None, "--images").items) == 13
        assert len(memory.listing(None, "--images", opened.open().items).items) == 13


def test_any_depth_is_listed_for_predictions(uploaded):
    listing = list_objects(uploaded)

    assert len(listing.items) == 13
    assert {item.label for item in listing.items} == {None}


@pytest.mark.parametrize("store", ["inside.features", "cats/x"])
def test_a_store_among_its_images_is_refused(uploaded, store):
    with pytest.raises(InputError, match=r"lies inside the images"):
        extract.run(uploaded, f"{uploaded}/{store}", backbone="digits")


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar", "photos.npz"])
def test_archives_in_a_bucket_are_refused_with_the_cure(bucket, name):
    with pytest.raises(InputError, match="Copy it"):
        list_images(f"{bucket}/{name}")


@pytest.mark.parametrize("what", ["", "/nothing", "/photos.csv"])
def test_what_is_not_there_is_said_to_be_missing(bucket, what):
    with pytest.raises(InputError, match=r"There is no"):
        list_images(f"{bucket}{what}")
