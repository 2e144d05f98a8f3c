"""verify names every damaged, missing or foreign file; repair lets a run make it whole again."""

import json
import shutil
from pathlib import Path

import pytest

import extract
from extract.errors import DamagedStoreError, StaleStoreError, StoreError, StoreFormatError
from extract.reading import image_key
from extract.recipe import digest_json
from extract.store.setting_aside import set_aside
from extract.store.verify import verify
from tests.helpers import tree

pytestmark = pytest.mark.usefixtures("fake_backbone")


@pytest.fixture
def store(photos, monkeypatch):
    """A store of three shards and a bad image."""
    monkeypatch.setattr("extract.store.shards.SHARD_ROWS", 4)
    (photos / "cats" / "bad.jpg").write_bytes(b"not a picture")
    return Path(extract.run(photos, backbone="digits").store)


def one(store, pattern):
    return sorted(store.glob(pattern))[0]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def repair(store):
    """Set aside what is damaged, and leave the rest to the next run."""
    return set_aside(store, verify(store).problems)


def rerun(store):
    return extract.run(store.with_name("photos"), backbone="digits")


def test_a_sound_store_has_no_problems(store):
    verdict = verify(store)

    assert (verdict.problems, verdict.notes) == ({}, [])
    assert verdict.bytes == sum(p.stat().st_size for p in (store / "shards").iterdir())


FILES = [
    "store.json",
    "shards/*.zshard",
    "commits/*.json",
    "snapshots/000001.json",
    "snapshots/*.parquet",
    "probes/features-*.npz",
    "probes/ours-grey.jpg",
    "bad_images.csv",
]


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    "damage", [flip, cut, lambda p: p.write_bytes(b"")], ids=["flip", "cut", "empty"]
)
@pytest.mark.parametrize("pattern", FILES)
def test_every_altered_file_is_named(store, pattern, damage):
    path = one(store, pattern)
    damage(path)

    assert path.relative_to(store).as_posix() in verify(store).problems


def test_a_problem_is_told_without_its_file_and_its_cure(store):
    """Both stand beside it: the one before it, the other once at the end of all problems."""
    path = one(store, "shards/*.zshard")
    flip(path)
    name = path.relative_to(store).as_posix()

    assert verify(store).problems == {name: "was altered: its SHA-256 does not fit"}


@pytest.mark.parametrize("pattern", FILES[1:])
def test_every_missing_file_is_named(store, pattern):
    """Without its record a snapshot is gone without a trace, so the last is another story."""
    path = one(store, pattern)
    path.unlink()
    problems = verify(store).problems

    if pattern == "snapshots/000001.json":
        with pytest.raises(StoreError, match="no sealed snapshot"):
            extract.open_store(store)
    else:
        assert path.relative_to(store).as_posix() in problems


def test_a_record_of_a_snapshot_that_went_away_leaves_a_note(store, picture):
    """Nothing else in a store knows of it: gc takes records away, too, and their items after."""
    picture(store.with_name("photos") / "cats" / "new.png", seed=3)
    rerun(store)
    (store / "snapshots" / "000002.json").unlink()

    assert verify(store).notes == [
        "snapshots/000002.items.parquet is without its record: a run was stopped, or it was removed"
    ]


@pytest.mark.parametrize("pattern", ["shards/*.zshard", "commits/*.json"])
def test_two_files_that_change_places_are_noticed(store, pattern):
    a, b = sorted(store.glob(pattern))[:2]
    data = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(data)

    assert {a.relative_to(store).as_posix(), b.relative_to(store).as_posix()} <= set(
        verify(store).problems
    )


@pytest.mark.parametrize("name", ["notes.txt", "shards/x.npy", "commits/a.json", "probes/x", "sub"])
def test_foreign_files_are_named(store, name):
    path = store / name
    path.mkdir() if name == "sub" else path.write_bytes(b"mine")

    assert verify(store).problems == {name: "is foreign: no file of a store has this name"}


def test_a_link_among_the_shards_is_foreign(store, tmp_path):
    path = one(store, "shards/*.zshard")
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)

    assert path.relative_to(store).as_posix() in verify(store).problems


def test_a_shard_without_a_record_is_no_problem(store):
    """A run that was stopped between the two leaves it; it is nobody's."""
    (store / "shards" / f"{'a' * 64}.zshard").write_bytes(b"whatever")
    verdict = verify(store)

    assert verdict.is_sound
    assert verdict.notes == ["1 shards without a record, from a run that was stopped"]


@pytest.mark.parametrize("pattern", [*FILES[1:3], *FILES[4:7]])
def test_readers_refuse_what_does_not_verify(store, pattern):
    """Missing is noticed on opening or loading, and never becomes a number."""
    path = one(store, pattern)
    path.unlink()

    with pytest.raises(DamagedStoreError, match=path.name):
        extract.open_store(store).load(None)


@pytest.mark.parametrize("pattern", FILES)
@pytest.mark.parametrize("damage", [flip, lambda p: p.unlink()], ids=["flip", "missing"])
def test_after_repair_a_run_makes_the_store_whole(store, pattern, damage, fake_backbone):
    root = extract.open_store(store).root_digest
    path = one(store, pattern)
    damage(path)
    repair(store)
    summary = rerun(store)

    assert summary.root_digest == root
    assert verify(store).problems == {}
    assert summary.extracted <= 4
    assert len(extract.open_store(store).load(None)) == 13


def test_a_store_without_its_empty_folders_goes_on(store, picture):
    """git, object stores and some archives drop them."""
    for name in ("tmp", "damaged"):
        (store / name).rmdir()
    picture(store.with_name("photos") / "cats" / "new.png", seed=3)

    assert rerun(store).extracted == 1
    (store / "damaged").rmdir()
    assert repair(store) == []
    assert verify(store).is_sound


def test_a_store_without_its_empty_folders_is_relabeled_and_compacted(store, tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\ncats/0.png,dogs\n")
    one(store.with_name("photos"), "cats/3.png").unlink()
    rerun(store)
    for change in (
        lambda: extract.relabel(store, tmp_path / "labels.csv"),
        lambda: extract.gc(store, compact=True, older_than="0", yes=True),
    ):
        for name in ("tmp", "damaged"):
            shutil.rmtree(store / name, ignore_errors=True)
        change()
    assert verify(store).is_sound


def test_commits_of_another_recipe_are_never_taken(store, tmp_path):
    """Copied in from another store, they would give features of another meaning."""
    other = extract.run(
        store.with_name("photos"), tmp_path / "other", backbone="digits", interpolation="nearest"
    ).store
    for folder in ("shards", "commits"):
        shutil.copytree(Path(other) / folder, store / folder, dirs_exist_ok=True)

    with pytest.raises(DamagedStoreError, match="belongs to another recipe"):
        rerun(store)
    assert len(verify(store).problems) == 4
    repair(store)
    assert rerun(store).extracted == 0
    assert verify(store).is_sound


def test_commits_without_a_header_keep_another_recipe_out(store):
    (store / "store.json").unlink()

    with pytest.raises(StaleStoreError, match="recipe_key"):
        extract.run(store.with_name("photos"), backbone="digits", interpolation="nearest")
    assert rerun(store).extracted == 0


@pytest.mark.parametrize("pattern", FILES[:6])
def test_a_file_that_cannot_be_read_is_named(store, pattern):
    """A folder in its place stands for every reason why reading fails."""
    path = one(store, pattern)
    path.unlink()
    path.mkdir()

    assert path.relative_to(store).as_posix() in verify(store).problems
    if not pattern.startswith("commits/"):  # readers only look whether a record is there
        with pytest.raises(StoreError):
            extract.open_store(store).load(None)


def test_a_probe_that_was_altered_is_never_sealed_anew(store, picture):
    flip(one(store, "probes/ours-plain.png"))
    picture(store.with_name("photos") / "cats" / "new.png", seed=3)

    with pytest.raises(DamagedStoreError, match=r"probes/ours-plain.png was altered.*repair"):
        rerun(store)
    repair(store)
    rerun(store)
    assert verify(store).is_sound


def test_what_no_run_can_bring_back_is_set_aside_in_the_end(store):
    """An old snapshot whose images are gone, and whose shard then breaks, is beyond help."""
    commits = {path: json.loads(path.read_text()) for path in (store / "commits").iterdir()}
    lost = next(c for c in commits.values() if len(c["image_keys"]) == 4)
    for path in store.with_name("photos").rglob("*.png"):
        if image_key(path.read_bytes()) in lost["image_keys"][:1]:
            path.unlink()
    rerun(store)
    flip(store / lost["shard"]["file"])
    for _ in range(2):
        repair(store)
        rerun(store)

    assert verify(store).is_sound


def test_repair_keeps_the_damaged_bytes(store):
    path = one(store, "shards/*.zshard")
    flip(path)
    data = path.read_bytes()
    moved = repair(store)

    assert path.relative_to(store).as_posix() in moved
    assert data in tree(store / "damaged").values()


def test_a_run_on_a_damaged_store_says_so_and_touches_nothing(store, picture):
    path = one(store, "shards/*.zshard")
    path.unlink()
    before = tree(store)
    picture(store.with_name("photos") / "cats" / "new.png", seed=3)

    with pytest.raises(DamagedStoreError, match="is missing.*verify.*repair"):
        rerun(store)
    assert tree(store) == before


def reseal(path, **changes):
    facts = json.loads(path.read_text())
    facts.pop("self_check")
    facts |= changes
    path.write_text(json.dumps({**facts, "self_check": digest_json(facts)}) + "\n")


@pytest.mark.parametrize("changes", [{"format": "2.0"}, {"flags": ["views"]}])
@pytest.mark.parametrize("name", ["store.json", "snapshots/000001.json"])
def test_a_newer_format_or_an_unknown_flag_is_refused(store, name, changes):
    reseal(store / name, **changes)

    with pytest.raises(StoreFormatError, match=r"pip install --upgrade headstart"):
        extract.open_store(store)


def test_a_record_that_was_sealed_anew_with_a_lie_is_noticed(store):
    """A self-check only finds accidents; the digests of the rows find the rest."""
    path = max(store.glob("commits/*.json"), key=lambda p: p.stat().st_size)
    facts = json.loads(path.read_text())
    reseal(path, row_digests=facts["row_digests"][::-1])

    assert path.relative_to(store).as_posix() in verify(store).problems


@pytest.mark.parametrize("what", ["rows", "row_shape"])
def test_a_snapshot_that_claims_more_rows_than_its_shards_hold_is_refused(store, what):
    """Sealed anew by somebody who knows the format: no memory is taken for it."""
    path = store / "snapshots" / "000001.json"
    columns = json.loads(path.read_text())["columns"]
    if what == "rows":
        columns[0]["shards"][0]["rows"] = 1 << 40
    else:
        columns[0]["row_shape"] = [1 << 40]
    reseal(path, columns=columns)

    with pytest.raises(DamagedStoreError, match="000001.json claims rows that shards/.* lacks"):
        extract.open_store(store).load(None)


def test_what_is_no_store_is_one_line(tmp_path):
    for check in (verify, extract.open_store):
        with pytest.raises(StoreError, match=r"not a store: it has no store.json"):
            check(tmp_path)
