"""WebDataset shards: what webdataset writes is read, and its own reader sees the same samples."""

import io
import tarfile
from pathlib import Path

import pytest

import extract
from extract.errors import ImageError, InputError
from extract.reading import read
from extract.sources import list_images
from extract.sources.tars import expand


def pack(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def shards(tmp_path, photos):
    """Two shards of the twelve pictures, written by webdataset."""
    import webdataset

    pattern = str(tmp_path / "pets-%06d.tar")
    with webdataset.ShardWriter(pattern, maxcount=8, verbose=0) as writer:
        for number, path in enumerate(sorted(photos.rglob("*.png"))):
            label = ["cats", "dogs"].index(path.parent.name)
            writer.write({"__key__": f"{number:04d}", "png": path.read_bytes(), "cls": label})
    return tmp_path / "pets-{000000..000001}.tar"


def test_samples_are_those_that_webdataset_reads(shards):
    from webdataset.tariterators import group_by_keys, tar_file_expander

    listing = list_images(shards)
    found = {i.path: (read(listing, i).data, i.label) for i in listing.items}
    expected = {}
    for path in map(Path, expand(str(shards))):
        with path.open("rb") as stream:  # WebDataset itself leaves closing to the collector
            for sample in group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}])):
                name = f"{path.stem}/{sample['__key__']}.png"
                expected[name] = (sample["png"], sample["cls"].decode())

    assert found == expected
    assert len(found) == 13


@pytest.mark.usefixtures("fake_backbone")
def test_shards_and_their_folder_share_a_store(shards, photos):
    first = extract.run(photos, backbone="digits")
    second = extract.run(shards, first.store, backbone="digits")
    third = extract.run(shards, first.store, backbone="digits")

    assert (second.extracted, second.root_digest) == (0, first.root_digest)
    assert (third.snapshot, third.read_seconds) == (second.snapshot, 0.0)


def test_a_sample_ends_at_the_first_dot_and_its_image_is_the_plainest(tmp_path):
    members = [
        ("./a/1.mask.png", b"m"),
        ("./a/1.JPG", b"image"),
        ("./a/1.cls", b" cat\n"),
        ("./a/2.txt", b"no image"),
        ("./a/.hidden.jpg", b"x"),
        ("./a/README", b"x"),
    ]
    listing = list_images(pack(tmp_path / "s.tar", members))

    assert [(i.path, i.label, i.size) for i in listing.items] == [("s/a/1.jpg", "cat", 5)]
    assert listing.notes == ("1 samples hold no image and are not items",)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{08..10}.tar", ["a-08.tar", "a-09.tar", "a-10.tar"]),
        ("{9..10}/a.tar", ["9/a.tar", "10/a.tar"]),
    ],
)
def test_a_range_in_braces_names_shards(name, names):
    assert expand(name) == names


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../1.jpg", b"x")], "leaves its folder"),
        ([("/1.jpg", b"x")], "leaves its folder"),
        ([("1.jpg", b"x"), ("2.jpg", b"x"), ("1.jpg", b"x")], "Two samples are called 's/1.jpg'"),
        ([("1.txt", b"x")], "holds no images"),
        ([("1.jpg", b"x"), ("1.cls", b"\xff")], "1.cls is not text"),
    ],
)
def test_a_bad_shard_is_one_line(tmp_path, members, message):
    with pytest.raises(InputError, match=message):
        list_images(pack(tmp_path / "s.tar", members))


def test_what_is_no_plain_archive_is_one_line(tmp_path):
    pack(tmp_path / "z.tar", [("1.jpg", b"x")], "w:gz")
    (tmp_path / "n.tar").write_bytes(b"no archive")

    for name in ("z.tar", "n.tar"):
        with pytest.raises(InputError, match="tar archive that is not compressed"):
            list_images(tmp_path / name)
    with pytest.raises(InputError, match="s-1.tar cannot be read: No such file"):
        list_images(tmp_path / "s-{1..2}.tar")
    with pytest.raises(InputError, match="smaller number first"):
        list_images(tmp_path / "s-{2..1}.tar")


@pytest.mark.usefixtures("fake_backbone")
def test_a_name_that_is_not_utf_8_is_written_out(tmp_path, photos):
    picture = next(photos.rglob("*.png")).read_bytes()
    members = [(b"caf\xe9.png".decode(errors="surrogateescape"), picture), ("b.png", picture)]
    summary = extract.run(pack(tmp_path / "s.tar", members), backbone="digits")

    assert (summary.items, summary.bad) == (2, 0)
    paths = extract.open_store(summary.store).items["path"].to_pylist()
    assert paths == ["s/b.png", r"s/caf\xe9.png"]


def test_a_member_with_odd_numbers_is_one_line(tmp_path):
    info = tarfile.TarInfo("1.jpg")
    info.pax_headers = {"GNU.sparse.map": "a,b"}
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)

    with pytest.raises(InputError, match="s.tar cannot be read as a tar archive"):
        list_images(tmp_path / "s.tar")


def test_a_shard_that_changed_since_it_was_listed_is_not_read(tmp_path):
    listing = list_images(pack(tmp_path / "s.tar", [("1.jpg", b"x")]))
    pack(tmp_path / "s.tar", [("1.jpg", b"y")])

    with pytest.raises(ImageError, match="changed since it was listed"):
        read(listing, listing.items[0])
