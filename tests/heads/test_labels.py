"""Labels that changed since the snapshot are refused, whatever the images came from."""

import os

import pytest

import extract
from extract.relabeling import relabel
from extract.store.opening import open_store
from heads.errors import HeadError
from heads.labels import check_labels
from tests.extract.sources.making import make, pictures

MODULES = {"hf": "datasets", "tfds": "tensorflow_datasets"}


class TestAFolder:
    def test_nothing_changed(self, snapshot):
        assert check_labels(snapshot) == []

    def test_the_images_are_somewhere_else(self, snapshot, tmp_path):
        (tmp_path / "photos").rename(tmp_path / "elsewhere")

        assert check_labels(snapshot) == []

    @pytest.mark.parametrize("name", ["3.png", "new.png"], ids=["over another", "beside others"])
    def test_a_moved_image_has_another_label(self, snapshot, tmp_path, name):
        train = tmp_path / "photos" / "train"
        (train / "red" / "3.png").replace(train / "blue" / name)

        with pytest.raises(
            HeadError,
            match=r"1 images have another label .*train/red/3.png, which is now train/blue/\w+.png",
        ):
            check_labels(snapshot)

    def test_another_name_is_no_other_label(self, snapshot, tmp_path):
        red = tmp_path / "photos" / "train" / "red"
        (red / "3.png").rename(red / "new.png")

        assert check_labels(snapshot) == []

    def test_new_and_vanished_images_are_notes(self, snapshot, tmp_path, picture):
        picture(tmp_path / "photos" / "train" / "red" / "new.png", 1)
        (tmp_path / "photos" / "train" / "red" / "0.png").unlink()
        notes = check_labels(snapshot)

        assert [note.split(":")[0] for note in notes] == [
            "1 image is new since and not trained on",
            "1 image is gone since and still trained on",
        ]

    def test_what_a_person_decided_stays_decided(self, snapshot, tmp_path):
        """A relabelled image lies in its old folder: that is no change since."""
        table = tmp_path / "t.csv"
        table.write_text("path,label\ntrain/red/3.png,blue\n", encoding="utf-8")
        relabel(snapshot.path, table)

        assert check_labels(open_store(snapshot.path)) == []

    def test_files_of_one_size_and_time_are_known_by_their_paths(self, snapshot, tmp_path):
        for path in (tmp_path / "photos").rglob("*.png"):
            path.write_bytes(path.read_bytes().ljust(4096, b"\0"))
            os.utime(path, ns=(1, 1))
        extract.run(tmp_path / "photos", snapshot.path, layers=["last", "3"])

        assert check_labels(open_store(snapshot.path)) == []


class TestATable:
    @pytest.fixture
    def table(self, tmp_path, fake_backbone):
        make("csv", tmp_path / "data", pictures())
        extract.run(tmp_path / "data" / "pets.csv", tmp_path / "s")
        return tmp_path / "data" / "pets.csv"

    def test_nothing_changed(self, table, tmp_path):
        assert check_labels(open_store(tmp_path / "s")) == []

    @pytest.mark.parametrize("label", ["puma", ""])
    def test_a_cell_that_changed_is_named(self, table, tmp_path, label):
        text = table.read_text().replace("pets/cats/2.png,cats", f"pets/cats/2.png,{label}")
        table.write_text(text)
        said = f"pets/cats/2.png, which was 'cats' and is now {label or None!r}"

        with pytest.raises(HeadError, match=said) as caught:
            check_labels(open_store(tmp_path / "s"))
        command = str(caught.value).rpartition(": ")[2]
        assert command == (
            f"python -m extract run {table} --store {tmp_path / 's'} --layer last:avg"
        )

    def test_the_folder_of_paths_is_named_where_it_is_another(self, table, tmp_path):
        (tmp_path / "tables").mkdir()
        apart = table.rename(tmp_path / "tables" / "pets.csv")
        extract.run(apart, tmp_path / "s", root=tmp_path / "data")
        apart.write_text(apart.read_text().replace("0.png,cats", "0.png,puma"))

        with pytest.raises(HeadError, match=f"{apart} --images {tmp_path / 'data'} --store"):
            check_labels(open_store(tmp_path / "s"))

    def test_rows_that_came_or_went_are_notes(self, table, tmp_path, picture):
        picture(tmp_path / "data" / "pets" / "new.png", 1)
        lines = table.read_text().splitlines()
        table.write_text("\n".join([*lines[:-1], "pets/new.png,cats"]))
        notes = check_labels(open_store(tmp_path / "s"))

        assert [note.split(":")[0] for note in notes] == [
            "1 image is new since and not trained on",
            "1 image is gone since and still trained on",
        ]

    def test_without_the_table_there_is_nothing_to_compare_with(self, table, tmp_path):
        table.unlink()

        assert check_labels(open_store(tmp_path / "s")) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TensorFlow Datasets' friends
@pytest.mark.usefixtures("fake_backbone")
@pytest.mark.parametrize("kind", ["npz", "tar", "hf", "tfds"])
def test_another_label_of_an_entry_is_named(kind, tmp_path):
    """An archive that nobody wrote to is not opened; one that was is compared entry by entry."""
    if kind in MODULES:
        pytest.importorskip(MODULES[kind])
    images = pictures()
    place = make(kind, tmp_path / "data", images)
    extract.run(place, tmp_path / "s")
    snapshot = open_store(tmp_path / "s")
    assert check_labels(snapshot) == []
    make(kind, tmp_path / "data", images)
    (note,) = check_labels(snapshot)
    assert note.startswith(f"{place} was written again since, with the same labels: ")
    names = [name.replace("cats/1", "dogs/9") for name in images]
    make(kind, tmp_path / "data", dict(zip(names, images.values(), strict=True)))
    with pytest.raises(HeadError, match="1 images have .* was 'cats' and is now 'dogs'"):
        check_labels(snapshot)


@pytest.mark.usefixtures("fake_backbone")
def test_a_member_of_another_folder_of_a_zip_came_and_went(tmp_path):
    images = pictures()
    place = make("zip", tmp_path / "data", images)
    extract.run(place, tmp_path / "s")
    snapshot = open_store(tmp_path / "s")
    assert check_labels(snapshot) == []
    images["dogs/9.png"] = images.pop("cats/1.png")
    make("zip", tmp_path / "data", images)

    assert [note.split(":")[0] for note in check_labels(snapshot)] == [
        "1 image is new since and not trained on",
        "1 image is gone since and still trained on",
    ]


@pytest.mark.usefixtures("fake_backbone")
def test_arrays_in_memory_are_nowhere_to_be_compared(tmp_path):
    labeled = [(x, name.partition("/")[0]) for name, x in pictures().items()]
    extract.run(labeled, tmp_path / "s")

    assert check_labels(open_store(tmp_path / "s")) == []


@pytest.mark.usefixtures("fake_backbone")
@pytest.mark.parametrize("kind", ["npz", "tar", "hf"])
def test_what_nobody_wrote_to_is_not_listed(kind, tmp_path, monkeypatch):
    if kind in MODULES:
        pytest.importorskip(MODULES[kind])
    extract.run(make(kind, tmp_path / "data", pictures()), tmp_path / "s")
    monkeypatch.setattr("extract.sources.changes.list_images", None)

    assert check_labels(open_store(tmp_path / "s")) == []
