"""--part I/N and merge: what several machines make apart is what one machine makes."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import extract
from extract.errors import InputError
from extract.items import Item, Listing
from extract.merging import merge
from extract.parts import Part, part_of
from extract.repairing import repair
from extract.store.verify import verify
from heads.data import open_source
from heads.errors import HeadError
from tests.helpers import tree

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)


@pytest.fixture
def many(tmp_path, picture):
    """Three classes; copies that end up in different parts, bad bytes, and a file with no rights.

    The last class is in the last part alone.
    """
    folder = tmp_path / "many"
    for label, count in (("ants", 11), ("bees", 9), ("cows", 3)):
        for number in range(count):
            picture(folder / label / f"{number:02}.png", seed=100 * len(label) + number)
    for label in ("ants", "bees", "cows"):
        picture(folder / label / "own.png", seed=ord(label[0]))
    (folder / "bees" / "copy.png").write_bytes((folder / "ants" / "00.png").read_bytes())
    (folder / "cows" / "copy.png").write_bytes((folder / "ants" / "00.png").read_bytes())
    (folder / "ants" / "bad.png").write_bytes(b"no picture")
    (folder / "cows" / "bad.png").write_bytes(b"no picture either")
    (folder / "bees" / "away.png").symlink_to(tmp_path / "elsewhere.png")
    return folder


def run(folder, part=None, **options):
    return extract.run(folder, backbone="digits", part=part, **options)


def parts(folder, of, **options):
    return [run(folder, f"{index}/{of}", **options).store for index in range(1, of + 1)]


@pytest.mark.parametrize("of", [2, 3, 5, 29])
def test_merged_parts_are_what_one_machine_makes(many, tmp_path, of, fake_backbone):
    """Root, items, labels, splits, classes, statuses: with a part for each item, too."""
    stores = parts(many, of)
    extracted = fake_backbone.images
    done = merge(stores, tmp_path / "all.features")
    assert fake_backbone.images == extracted
    whole, merged = (extract.open_store(p) for p in (run(many).store, tmp_path / "all.features"))

    assert done.root_digest == merged.root_digest == whole.root_digest
    assert merged.items_digest == whole.items_digest
    assert merged.classes == whole.classes
    names = [name for name in whole.items.column_names if name != "mtime_ns"]
    assert merged.items.select(names).equals(whole.items.select(names))
    assert verify(tmp_path / "all.features").is_sound
    for split in ("train", "validation"):
        np.testing.assert_array_equal(merged.load(split).X, whole.load(split).X)


def test_split_folders_and_groups_are_as_one_machine_cuts_them(tmp_path, picture):
    for split in ("train", "test"):
        for label in ("a", "b"):
            for number in range(9):
                path = tmp_path / "data" / split / label / f"{number}.png"
                picture(path, seed=hash_of(split, label, number))
    stores = parts(tmp_path / "data", 3)
    merge(stores, tmp_path / "all")

    a, b = (extract.open_store(p) for p in (run(tmp_path / "data").store, tmp_path / "all"))
    assert a.items["split"] == b.items["split"]
    assert {"train", "validation", "test"} == set(b.items["split"].to_pylist())


def hash_of(*facts):
    return sum(ord(c) * 31**i for i, c in enumerate(repr(facts))) % 2**31


def test_a_table_with_groups_and_further_columns(tmp_path, picture):
    rows = ["path,label,group,city"]
    for number in range(12):
        picture(tmp_path / "pictures" / f"{number:02}.png", seed=number)
        rows.append(f"pictures/{number:02}.png,{'ab'[number % 2]},patient{number % 5},c{number}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(rows) + "\n")
    merge(parts(table, 4), tmp_path / "all")

    whole, merged = (extract.open_store(p) for p in (run(table).store, tmp_path / "all"))
    assert merged.items_digest == whole.items_digest
    assert merged.items["city"] == whole.items["city"]


def test_a_later_run_over_all_images_extracts_nothing(many, tmp_path, fake_backbone):
    merge(parts(many, 3), tmp_path / "all")
    before = extract.open_store(tmp_path / "all")
    images = fake_backbone.images
    summary = run(many, store=tmp_path / "all")

    assert (summary.extracted, fake_backbone.images) == (0, images)
    assert summary.root_digest == before.root_digest
    assert extract.open_store(tmp_path / "all").items_digest == before.items_digest


def test_a_part_has_its_own_store_beside_the_images_and_resumes(many, fake_backbone):
    summary = run(many, "2/3")
    images = fake_backbone.images

    assert Path(summary.store) == many.with_name("many.part-2-of-3.features")
    assert run(many, "2/3").snapshot == summary.snapshot == 1
    assert fake_backbone.images == images
    assert verify(summary.store).is_sound


def test_parts_cover_the_listing_once():
    items = tuple(Item(f"{number:03}") for number in range(103))
    further = pa.table({"n": list(range(103))})
    listing = Listing(Path(), items, further=further)
    for of in (2, 7, 103):
        found = [part_of(listing, Part(index, of)) for index in range(1, of + 1)]

        assert sum((part.items for part in found), ()) == items
        assert pa.concat_tables([part.further for part in found]) == further
        assert {len(part.items) for part in found} <= {103 // of, 103 // of + 1}


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/1", "2", "a/b", "1/2/3", "-1/2"])
def test_what_is_no_part_is_one_line(cli, many, text):
    status, _, err = cli("run", many, "--backbone", "digits", "--part", text)

    assert status == 1
    assert "--part is I/N, such as 2/4" in err


def test_more_parts_than_items_are_refused(tmp_path, picture):
    picture(tmp_path / "few" / "a" / "1.png", seed=1)

    with pytest.raises(InputError, match="has 1 items, which cannot be cut into 3 parts"):
        run(tmp_path / "few", "1/3")


def test_what_does_not_belong_together_is_not_merged(many, tmp_path, picture):
    first, second, third = parts(many, 3)
    whole = run(many).store
    other = run(many, "1/2", store=tmp_path / "half").store
    again = run(many, "1/3", store=tmp_path / "again").store
    out, before = tmp_path / "all", tree(tmp_path)

    for stores, message in (
        ((first, third), r"1 of 3 parts are missing: 2/3. Run these too: --part 2/3"),
        ((first, again, second, third), "are both part 1/3"),
        ((first, second, third, whole), "is part 1/3 and .* is none"),
        ((first, second, third, other), "merge those of one N"),
    ):
        with pytest.raises(InputError, match=message):
            merge(stores, out)
    assert tree(tmp_path) == before

    picture(many / "ants" / "new.png", seed=77)
    changed = run(many, "3/3").store
    with pytest.raises(InputError, match="listed otherwise for .*part-1.* than for .*part-3"):
        merge([first, second, changed], out)
    done = merge(parts(many, 3), out)
    assert done.root_digest == run(many, store=tmp_path / "fresh").root_digest


def test_a_store_holds_one_part(many):
    first = run(many, "1/3").store
    whole = run(many).store

    for part, store, message in (
        ("2/3", first, "holds part 1/3 and this run is of part 2/3"),
        (None, first, "holds part 1/3 and this run is of all images"),
        ("2/3", whole, "holds all images and this run is of part 2/3. Leave --part out"),
    ):
        with pytest.raises(InputError, match=message):
            run(many, part, store=store)


def test_heads_and_decisions_wait_for_the_merge(many, tmp_path):
    store = run(many, "1/2").store
    (tmp_path / "labels.csv").write_text("path,label\nants/00.png,wasps\n")

    for ask in (
        lambda: extract.open_store(store).load("train"),
        lambda: extract.relabel(store, tmp_path / "labels.csv"),
        lambda: extract.split(store),
    ):
        with pytest.raises(InputError, match=r"is part 1/2 of its images, .* extract merge"):
            ask()
    with pytest.raises(HeadError, match="extract merge"):
        open_source(store)
    assert len(extract.open_store(store).load(None)) == 14


def test_a_part_without_one_good_image_is_a_part(tmp_path, picture, monkeypatch):
    """Nothing that can be read, or nothing that can be decoded: the merge needs it all the same."""
    folder = tmp_path / "data"
    for number in range(4):
        picture(folder / "c" / f"{number}.png", seed=number)
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    for number in range(4):
        (folder / "a" / f"{number}.png").symlink_to("/nowhere")
        (folder / "b" / f"{number}.png").write_bytes(b"no picture %d" % number)
    stores = parts(folder, 3)
    done = merge(stores, tmp_path / "all")

    whole = run(folder)
    assert (done.root_digest, done.items) == (whole.root_digest, 12)
    items = [extract.open_store(p).items_digest for p in (whole.store, tmp_path / "all")]
    assert items[0] == items[1]
    assert all(verify(store).is_sound for store in [*stores, tmp_path / "all"])
    extract.export(stores[1], tmp_path / "bad.zarr")


def test_repairing_a_part_keeps_it_a_part(many, tmp_path):
    stores = parts(many, 3)
    shard = next((Path(stores[1]) / "shards").iterdir())
    shard.write_bytes(b"")
    snapshot = Path(stores[2]) / "snapshots" / "000001.json"
    snapshot.write_bytes(b"")

    for store in stores[1:]:
        done = repair(store)
        assert (done.problems, done.todo) == ({}, "")
    assert merge(stores, tmp_path / "all").root_digest == run(many).root_digest


def test_a_merge_again_is_the_same_snapshot(many, tmp_path):
    stores = parts(many, 2)

    assert merge(stores, tmp_path / "all").snapshot == merge(stores, tmp_path / "all").snapshot == 1


def test_the_command_line_goes_from_parts_to_one_store(cli, many, tmp_path):
    for part in ("1/2", "2/2"):
        words = ("--backbone", "digits", "--part", part, "--max-bad", 9)
        assert cli("run", many, *words)[0] == 0
    status, out, _ = cli("run", many, "--backbone", "digits", "--part", "1/2", "--plan", "--json")
    plan = json.loads(out.splitlines()[-1])
    assert (status, plan["new"], plan["extract"]) == (0, 0, 0)

    status, out, _ = cli("info", many.with_name("many.part-1-of-2.features"))
    assert status == 0
    assert "part 1/2" in out
    stores = sorted(tmp_path.glob("many.part-*"))
    status, out, _ = cli("merge", *stores, "--store", tmp_path / "many.features", "--json")
    assert json.loads(out.splitlines()[-1])["root_digest"] == run(many, store="x").root_digest


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
