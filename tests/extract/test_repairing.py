"""repair computes again what was bad, and nothing else, and keeps the bad bytes."""

import contextlib
import errno
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import extract
from extract.errors import DamagedStoreError, StoreError
from extract.reading import image_key
from extract.repairing import repair
from extract.store.setting_aside import set_aside
from extract.store.snapshots import Snapshots
from extract.store.verify import verify
from tests.campaign.disk import Disk, Fault, watching
from tests.helpers import SyntheticEngine, formats, tree

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture
def store(photos, monkeypatch):
    """A store of three shards, two columns and a bad image."""
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    (photos / "cats" / "bad.jpg").write_bytes(b"not a picture")
    return Path(extract.run(photos, backbone="digits", image_size=32, layers=["last", "3"]).store)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


FILES = [
    "shards/*.zshard",
    "commits/*.json",
    "snapshots/*.parquet",
    "probes/features-*.npz",
    "probes/user-*",
    "probes/ours-grey.jpg",
    "bad_images.csv",
]


@pytest.mark.parametrize("pattern", FILES)
@pytest.mark.parametrize("damage", [flip, lambda p: p.unlink()], ids=["flip", "missing"])
def test_repair_alone_makes_a_store_whole(store, pattern, damage):
    snapshot = extract.open_store(store)
    damage(sorted(store.glob(pattern))[0])
    done = repair(store)
    again = extract.open_store(store)

    assert (done.problems, done.todo) == ({}, "")
    assert done.extracted <= 4
    assert verify(store).is_sound
    assert (again.root_digest, again.items_digest) == (snapshot.root_digest, snapshot.items_digest)


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
@pytest.mark.parametrize("lost", ["shards", "commits", "snapshots"])
def test_what_is_made_anew_has_the_format_of_what_was_lost(photos, monkeypatch, form, lost):
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    store = Path(extract.run(photos, backbone="digits", image_size=32, format=form).store)
    root = extract.open_store(store).root_digest
    flip(max((store / lost).iterdir()))
    repair(store)

    assert formats(store) == {form}
    assert extract.open_store(store).root_digest == root


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_a_shard_of_a_store_of_both_formats_comes_back_in_its_own(photos, monkeypatch, form):
    """In another one it would be another file, and older snapshots would lose theirs."""
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    other = {"zarr": "hdf5", "hdf5": "zarr"}[form]
    options = {"backbone": "digits", "image_size": 32}
    store = Path(extract.run(photos, format=form, layers=["last"], **options).store)
    before = tree(store / "shards")
    extract.run(photos, format=other, layers=["last", "3"], **options)
    (store / "shards" / min(before)).unlink()
    repair(store)

    assert (formats(store, "last:avg"), formats(store, "3:avg")) == ({form}, {other})
    assert before.items() <= tree(store / "shards").items()
    assert extract.open_store(store, 1).load(None).X.shape == (13, 6)


@pytest.mark.parametrize("damage", [flip, lambda p: p.unlink()], ids=["flip", "missing"])
def test_a_probe_whose_picture_is_gone_is_given_up(store, photos, damage):
    """Nobody can bring it back: the next snapshot does without, and the store is whole."""
    probe = sorted(store.glob("probes/user-*"))[0]
    key = probe.name.removeprefix("user-")
    for path in photos.rglob("*.*"):
        if image_key(path.read_bytes()) == key:
            path.unlink()
    extract.run(photos, store, backbone="digits", image_size=32)
    snapshot = extract.open_store(store)
    damage(probe)
    done = repair(store)

    assert (done.problems, done.todo, done.extracted) == ({}, "", 0)
    assert verify(store).is_sound
    assert extract.open_store(store).root_digest == snapshot.root_digest


@pytest.mark.parametrize("at", range(12))
def test_what_a_disk_refused_to_read_once_is_not_set_aside(store, at):
    """A read error is no damage: the first file that is read is store.json."""
    before = tree(store)
    with (
        watching(Disk(before, fault=Fault(at, errno.EIO, for_good=False))),
        contextlib.suppress(StoreError),
    ):
        repair(store)
    assert {name: data for name, data in tree(store).items() if name in before} == before


def test_a_sound_store_is_left_alone(store):
    before = tree(store)
    done = repair(store)

    assert (done.moved, done.extracted, done.snapshot) == ([], 0, None)
    assert tree(store) == before


def test_the_bad_bytes_are_kept(store):
    path = sorted(store.glob("shards/*"))[0]
    flip(path)
    data = path.read_bytes()
    repair(store)

    assert data in tree(store / "damaged").values()


def test_only_what_is_bad_is_computed(store, picture):
    """New images in the folder, and images that went away, are the next run's affair."""
    photos = store.with_name("photos")
    items = extract.open_store(store).items
    picture(photos / "cats" / "new.png", seed=5)
    commits = [json.loads(p.read_text()) for p in store.glob("commits/*.json")]
    lost = next(c for c in commits if c["shard"]["rows"] == 4)
    other = next(
        p for p in photos.rglob("*.png") if image_key(p.read_bytes()) not in lost["image_keys"]
    )
    if other.name != "new.png":
        other.unlink()
    flip(store / lost["shard"]["file"])
    done = repair(store)

    assert done.extracted <= 4
    assert done.problems == {}
    assert extract.open_store(store).items.equals(items)


def test_foreign_files_go_aside_without_a_run(store, fake_backbone):
    (store / "notes.txt").write_text("mine")
    images = fake_backbone.images
    done = repair(store)

    assert (done.moved, done.snapshot, done.problems) == (["notes.txt"], None, {})
    assert fake_backbone.images == images


def test_without_the_images_the_damage_is_set_aside_and_the_cure_is_said(store, tmp_path):
    moved = store.with_name("photos").rename(tmp_path / "moved")
    flip(sorted(store.glob("shards/*"))[0])
    done = repair(store)

    assert len(done.moved) == 2
    assert "Give --images FOLDER" in done.todo
    assert done.problems
    assert repair(store, moved).problems == {}
    assert verify(store).is_sound


def test_a_folder_whose_files_are_gone_is_no_place_to_repair_from(store):
    """A snapshot of items that nobody can read would replace the one that names them."""
    photos = store.with_name("photos")
    snapshots = tree(store / "snapshots")
    for path in sorted(photos.rglob("*.png"))[1:]:
        path.rename(store.with_name(f"{path.parent.name}-{path.name}"))
    flip(sorted(store.glob("shards/*"))[0])
    done = repair(store)

    assert "12 of the 14 images of" in done.todo
    assert f"are gone from {photos}. Give --images FOLDER" in done.todo
    assert (done.snapshot, tree(store / "snapshots")) == (None, snapshots)
    for path in store.parent.glob("*-*.png"):
        path.rename(photos / path.name.replace("-", "/"))
    assert repair(store).problems == {}


def test_an_archive_that_lacks_its_members_is_no_place_to_repair_from(photos, tmp_path):
    archive = tmp_path / "pets.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in photos.rglob("*.png"):
            file.write(path, path.relative_to(photos))
    store = Path(extract.run(archive, backbone="digits").store)
    snapshots = tree(store / "snapshots")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("cats/other.png", b"another data set")
    flip(sorted(store.glob("shards/*"))[0])
    done = repair(store)

    assert "13 of the 13 images of" in done.todo
    assert tree(store / "snapshots") == snapshots


def test_without_the_header_the_run_that_made_the_store_is_asked_for(store):
    flip(store / "store.json")
    done = repair(store)

    assert done.todo.endswith(f"python -m extract run IMAGES --store {store}")
    extract.run(store.with_name("photos"), backbone="digits", image_size=32, layers=["last", "3"])
    assert verify(store).is_sound


def test_the_header_of_another_store_does_not_make_its_shards_strangers(store, tmp_path):
    """One file is wrong, and not all the others: nothing is computed by the wrong recipe."""
    photos, shards = store.with_name("photos"), tree(store / "shards")
    extract.run(photos, tmp_path / "other", backbone="digits", image_size=16)
    (store / "store.json").write_bytes((tmp_path / "other" / "store.json").read_bytes())
    done = repair(store)

    assert done.moved == ["store.json"]
    assert done.todo.endswith(f"python -m extract run IMAGES --store {store}")
    assert tree(store / "shards") == shards


def test_a_damaged_newest_snapshot_is_made_from_the_folder_not_from_an_older_one(store, picture):
    picture(store.with_name("photos") / "cats" / "new.png", seed=5)
    extract.run(store.with_name("photos"), backbone="digits", image_size=32)
    items = extract.open_store(store).items_digest
    flip(store / "snapshots" / "000002.json")
    done = repair(store)

    assert (done.problems, done.extracted) == ({}, 0)
    assert extract.open_store(store).items_digest == items


def test_a_repair_that_was_stopped_never_leaves_an_older_state_as_the_newest(store, picture):
    """Stopped after the damaged snapshot went aside, before the run sealed another one."""
    picture(store.with_name("photos") / "cats" / "new.png", seed=5)
    extract.run(store.with_name("photos"), backbone="digits", image_size=32)
    items = extract.open_store(store).items_digest
    flip(store / "snapshots" / "000002.json")
    set_aside(store, verify(store).problems)

    with pytest.raises(DamagedStoreError, match="snapshot 2 was damaged and set aside.* repair"):
        extract.open_store(store)
    assert "snapshots/000002.json" in verify(store).problems
    assert extract.open_store(store, 1).number == 1
    assert repair(store).problems == {}
    assert extract.open_store(store).items_digest == items


def test_a_new_snapshot_takes_the_place_of_all_that_were_set_aside(store, picture):
    for seed in (5, 6):
        picture(store.with_name("photos") / "cats" / f"{seed}.new.png", seed=seed)
        extract.run(store.with_name("photos"), backbone="digits", image_size=32)
    for number in (2, 3):
        flip(store / "snapshots" / f"00000{number}.json")
    repair(store)

    assert verify(store).is_sound
    assert extract.open_store(store).number >= 3
    assert extract.open_store(store).items.num_rows == 16


def test_what_no_run_can_bring_back_is_given_up_with_its_old_snapshot(store):
    photos = store.with_name("photos")
    commits = [json.loads(p.read_text()) for p in store.glob("commits/*.json")]
    lost = next(c for c in commits if c["shard"]["rows"] == 4)
    for path in photos.rglob("*.png"):
        if image_key(path.read_bytes()) in lost["image_keys"][:1]:
            path.unlink()
    extract.run(photos, backbone="digits", image_size=32)
    flip(store / lost["shard"]["file"])

    assert repair(store).problems == {}


def test_an_older_snapshot_whose_rows_came_back_with_other_bits_is_given_up(
    store, picture, monkeypatch
):
    """Its record names the shard that was lost, to the byte; no run makes that one again."""
    picture(store.with_name("photos") / "cats" / "new.png", seed=1)
    options = {"backbone": "digits", "image_size": 32, "layers": ["last", "3"]}
    extract.run(store.with_name("photos"), **options)
    refs = [
        {r.file for c in extract.open_store(store, n).record.columns for r in c.refs}
        for n in (1, 2)
    ]
    flip(store / min(refs[0] & refs[1]))
    last_bit = np.float32(1 + 2e-7)
    call = SyntheticEngine.__call__
    monkeypatch.setattr(
        SyntheticEngine, "__call__", lambda self, pixels: [f * last_bit for f in call(self, pixels)]
    )
    done = repair(store)

    assert (done.problems, done.todo) == ({}, "")
    assert 0 < done.extracted <= 4  # and not once more for the older snapshot
    assert verify(store).is_sound
    assert "snapshots/000001.json" in done.moved
    assert len(extract.open_store(store).load(None, "last:avg").X) == 14


def test_an_old_snapshot_that_the_disk_refuses_to_read_is_an_error(store, picture, monkeypatch):
    """It may name what no run brings back: passed over, it would be left, the cause unsaid."""
    photos = store.with_name("photos")
    picture(photos / "cats" / "new.png", seed=99)
    extract.run(photos, backbone="digits", image_size=32, layers=["last", "3"])
    before, read = tree(store), Snapshots.read

    def refuse(self, number):
        if number == 1:
            raise OSError(errno.EIO, "Input/output error", str(store / "snapshots/000001.json"))
        return read(self, number)

    monkeypatch.setattr(Snapshots, "read", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        set_aside(store, [])
    assert tree(store) == before


def test_what_is_no_store_is_one_line(tmp_path):
    with pytest.raises(StoreError, match="not a store"):
        repair(tmp_path)
