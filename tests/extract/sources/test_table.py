"""Tables of paths: what is kept, what is refused in one line, and what never leaves the folder."""

import csv
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import extract
from extract.errors import InputError
from extract.sources import list_images
from tests.helpers import tree


def write(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def listed(listing):
    return [(i.path, i.label, i.split, i.group) for i in listing.items]


def test_columns_become_items_sorted_by_path(tmp_path, photos):
    table = write(
        tmp_path / "photos.csv",
        [
            ["taken", "label", "path", "split", "group"],
            ["2024", "007", "dogs/1.png", "val", "g"],
            ["", "", "./cats//0.png", "", ""],
        ],
    )
    listing = list_images(table, photos)

    assert listed(listing) == [
        ("cats/0.png", None, None, None),
        ("dogs/1.png", "007", "validation", "g"),
    ]
    assert listing.further.to_pydict() == {"taken": ["", "2024"]}
    assert [i.size for i in listing.items] == [
        (photos / i.path).stat().st_size for i in listing.items
    ]


def test_a_parquet_table_keeps_the_types_of_further_columns(tmp_path, photos):
    table = pa.table(
        {
            "path": pa.array(["photos/cats/1.png"]).dictionary_encode(),
            "label": pa.array([3]),
            "age": pa.array([1.5]),
            "size": pa.array([9]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    listing = list_images(tmp_path / "t.parquet")

    assert listed(listing) == [("photos/cats/1.png", "3", None, None)]
    assert listing.further.to_pydict() == {"age": [1.5]}
    assert "not kept: size" in listing.notes[0]


def test_a_missing_file_is_an_item_that_cannot_be_read(tmp_path, photos):
    table = write(
        tmp_path / "t.csv", [["path"], ["photos/cats/1.png"], ["photos/gone.png"], ["photos"]]
    )

    assert {i.path: i.trouble for i in list_images(table).items} == {
        "photos": "not a regular file",
        "photos/cats/1.png": "",
        "photos/gone.png": "No such file or directory",
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["file", "label"], ["a", "b"]], "no column 'path'. Columns found: file, label"),
        ([["path", "path"], ["a", "b"]], "several columns 'path'"),
        ([["path"]], "has no rows"),
        ([["path", "label"], ["", "x"]], "no path in row 1"),
        ([["path"], ["photos/cats/1.png"], ["photos/./cats/1.png"]], "'photos/cats/1.png' twice"),
        ([["path"], ["../secret.png"]], "'../secret.png', which leaves"),
        ([["path"], ["photos/../../secret.png"]], "which leaves the folder"),
        ([["path"], ["/etc/passwd"]], "'/etc/passwd', which leaves"),
        ([["path"], ["photos/link.png"]], "'photos/link.png', a link that leaves"),
        ([["path"], ["photos/out/secret.png"]], "'photos/out/secret.png', a link that leaves"),
        ([["path", "split"], ["photos/cats/1.png", "holdout"]], "split 'holdout'. Expected one"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path, photos, rows, message):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"x")
    inside = photos.rename(tmp_path / "inside").parent / "here"
    inside.mkdir()
    (tmp_path / "inside").rename(inside / "photos")
    (inside / "photos" / "link.png").symlink_to(outside / "secret.png")
    (inside / "photos" / "out").symlink_to(outside)
    table = write(inside / "t.csv", rows)
    before = tree(inside)

    with pytest.raises(InputError, match="^" + str(table)) as caught:
        list_images(table)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tree(inside) == before


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_table_in_another_encoding_is_one_line(tmp_path, encoding):
    (tmp_path / "t.csv").write_bytes("path\nÄpfel.png\n".encode(encoding))

    with pytest.raises(InputError, match="t.csv is not in UTF-8. Save it"):
        list_images(tmp_path / "t.csv")


def test_the_mark_that_some_programs_put_before_utf8_is_no_part_of_a_name(tmp_path, photos):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\nphotos/cats/1.png,x\r\n")

    assert listed(list_images(tmp_path / "t.csv")) == [("photos/cats/1.png", "x", None, None)]


def test_the_folder_of_paths_must_be_one_and_needs_a_table(tmp_path, photos):
    table = write(tmp_path / "t.csv", [["path"], ["a"]])

    with pytest.raises(InputError, match="nowhere is no folder"):
        list_images(table, tmp_path / "nowhere")
    with pytest.raises(InputError, match="--images is the folder of a table's paths"):
        list_images(photos, photos)


@pytest.mark.usefixtures("fake_backbone")
def test_a_table_and_its_folder_share_a_store(tmp_path, photos):
    """The same images under other names: nothing is extracted, and further columns are kept."""
    first = extract.run(photos, backbone="digits")
    rows = [["path", "label", "place"]]
    rows += [[f"photos/{i.path}", "animal", i.label] for i in list_images(photos).items]
    second = extract.run(write(tmp_path / "photos.csv", rows), backbone="digits")
    third = extract.run(tmp_path / "photos.csv", backbone="digits")
    snapshot = extract.open_store(second.store)

    assert second.store == first.store
    assert (second.extracted, second.root_digest) == (0, first.root_digest)
    assert (third.extracted, third.snapshot) == (0, second.snapshot)
    assert snapshot.classes == ("animal",)
    assert set(snapshot.load(None).items["place"].to_pylist()) == {"cats", "dogs"}
    assert snapshot.record.found_at["images"] == str(tmp_path / "photos.csv")


@pytest.mark.usefixtures("fake_backbone")
def test_groups_stay_together_and_splits_of_a_table_count(tmp_path, photos):
    paths = [i.path for i in list_images(photos).items]
    rows = [["path", "split", "group"]]
    rows += [[path, "test" if i < 3 else "", f"g{i % 2}"] for i, path in enumerate(paths)]
    summary = extract.run(
        write(tmp_path / "t.csv", rows), tmp_path / "s", root=photos, backbone="digits"
    )
    items = extract.open_store(summary.store).items.to_pylist()

    assert [i["split"] for i in items[:3]] == ["test"] * 3
    for group in ("g0", "g1"):
        assert len({i["split"] for i in items[3:] if i["group"] == group}) == 1


@pytest.mark.usefixtures("fake_backbone")
def test_size_and_time_say_what_is_unchanged_and_rehash_asks_the_bytes(photos, picture):
    """A file that changed behind its size and time is what `--rehash` is for."""
    extract.run(photos, backbone="digits")
    path = photos / "cats" / "1.png"
    facts = path.stat()
    other = picture(photos.parent / "other.png", seed=5).read_bytes()
    path.write_bytes(other + bytes(max(0, facts.st_size - len(other))))
    os.truncate(path, facts.st_size)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    assert extract.run(photos, backbone="digits").extracted == 0
    again = extract.run(photos, backbone="digits", rehash=True)
    assert again.extracted + again.undecodable == 1
