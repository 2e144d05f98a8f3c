"""The commands that change a store, each with a store to begin with and what must be so after it.

`begin` is a tree of files; `command` is typed once, disturbed, and then again: whatever happened
meanwhile, the second time it must end with the truth.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from extract.compacting import gc
from extract.errors import InputError, StoreError
from extract.forgetting import find_traces, forget
from extract.merging import merge
from extract.reading import image_key
from extract.relabeling import relabel, split
from extract.repairing import repair
from extract.store.commits import Commit, Commits, row_digests
from extract.store.opening import Store, open_store
from extract.store.verify import verify
from tests.campaign.disk import SOURCE
from tests.campaign.world import (
    EARLY,
    LATE,
    WORDS,
    Tree,
    Truth,
    arithmetic_backbone,
    extract_folder,
    scratch,
    tree,
    truth_of,
    write_tree,
)

LABELS = "path,label\ntrain/cats/new.png,dogs\ntrain/dogs/2.png,cats\n"

STORE = "STORE"
NAMES = (
    "extract",
    "extract more",
    "repair",
    "repair the snapshot",
    "gc --compact",
    "relabel",
    "split",
    "extract where names are taken",
    "merge",
    "forget",
)
FORGOTTEN = ("train/dogs/new.png", "train/cats/bad.jpg")


@dataclass(frozen=True)
class Scenario:
    """One command on one store."""

    name: str
    begin: Tree
    command: Callable[[Path], object]
    words: tuple[str, ...]
    """The same as it is typed, without `python -m extract`; STORE stands for the store."""
    truth: Truth
    removes: bool = False
    """Whether the command removes shards on purpose."""
    damaged: frozenset[str] = frozenset()
    """Files of `begin` that are damaged or missing: what rests on them may be refused."""
    already: str = ""
    """What the command may say when it is typed again after it was cut short, and what is typed
    then."""
    afterwards: Callable[[Path], object] | None = None
    """What must be typed after the command was disturbed, where that is something else."""

    def typed(self, store: Path) -> list[str]:
        """Return the words of the command line."""
        return [str(store) if word == STORE else word for word in self.words]

    def again(self, store: Path) -> None:
        """Type the command again, until it is through."""
        (self.afterwards or self.command)(store)

    def finished(self, store: Path) -> list[str]:
        """Return what is not as it must be once the command is through."""
        found = [f"{name} {what}" for name, what in verify(store).problems.items()]
        return found + self.truth.problems(open_store(store))

    def crashed(self, store: Path, acknowledged: Acknowledged) -> list[str]:
        """Return what is not as it must be after a crash: lost, or wrong."""
        found = []
        opened = Store.at(store)
        for digest, commit in acknowledged.commits.items():
            found += _lost(opened, digest, commit)
        numbers = opened.snapshots.numbers()
        gone = set(acknowledged.snapshots) - set(numbers)
        if gone and not self.removes:
            found.append(f"snapshots {acknowledged.snapshots} were acknowledged, {numbers} left")
        for number in numbers:
            try:
                found += self.truth.problems(open_store(store, number), root=False)
            except StoreError as error:
                if not self.damaged:
                    found.append(f"snapshot {number} does not open: {error}")
        return found


@dataclass
class Acknowledged:
    """What a command was told is safe."""

    commits: dict[str, Commit] = field(default_factory=dict)
    snapshots: list[int] = field(default_factory=list)


def _lost(store: Store, digest: str, commit: Commit) -> list[str]:
    try:
        found = Commits(store.files).read(digest)
        rows = store.shards.decode(found.ref)
    except StoreError as error:
        return [f"an acknowledged shard is lost: {error}"]
    if tuple(row_digests(rows)) != commit.row_digests:
        return ["an acknowledged shard has other rows"]
    return []


@contextmanager
def scenarios(names: Sequence[str] = NAMES) -> Iterator[list[Scenario]]:
    """Make the stores that the commands begin with; images lie beside them as long as this."""
    with arithmetic_backbone(), scratch() as folder:
        truth = truth_of(folder / "truth", EARLY, LATE)
        photos, store = write_tree(folder / "photos", EARLY), folder / "made"
        extract_folder(photos, store)
        early = tree(store)
        write_tree(photos, LATE)
        extract_folder(photos, store)
        late = tree(store)
        table = folder / "labels.csv"
        table.write_text(LABELS)
        relabel(store, table)
        relabeled = open_store(store)
        write_tree(store, late)
        split(store, seed=3)
        cut = open_store(store)
        run = ("run", str(photos), "--store", STORE, *WORDS)
        every = [
            Scenario("extract", {}, lambda s: extract_folder(photos, s), run, truth),
            Scenario(
                "extract more",
                early,
                lambda s: extract_folder(photos, s, format="hdf5"),
                (*run, "--format", "hdf5"),
                truth,
            ),
            _repair("repair", photos, late, truth, ["shards/*", "probes/user-*"]),
            _repair("repair the snapshot", photos, late, truth, ["snapshots/000002.json"]),
            Scenario(
                "gc --compact",
                late,
                lambda s: gc(s, compact=True, older_than="0", yes=True),
                ("gc", STORE, "--compact", "--older-than", "0", "--yes"),
                truth,
                removes=True,
            ),
            Scenario(
                "relabel",
                late,
                lambda s: relabel(s, table),
                ("relabel", STORE, str(table)),
                Truth(truth.features, truth.root_digest, relabeled.items_digest),
            ),
            Scenario(
                "split",
                late,
                lambda s: split(s, seed=3),
                ("split", STORE, "--seed", "3"),
                Truth(truth.features, truth.root_digest, cut.items_digest),
            ),
            _taken(photos, early, late, run, truth),
            _merge(folder, truth),
            _forget(folder, late, truth),
        ]
        assert tuple(scenario.name for scenario in every) == NAMES
        yield [scenario for scenario in every if scenario.name in names]


def _taken(photos: Path, early: Tree, late: Tree, run: tuple[str, ...], truth: Truth) -> Scenario:
    """A second writer lost its power: torn files have the names that are about to be given."""
    torn = {n: late[n][:99] for n in late.keys() - early.keys() if n.startswith("shards/")}

    def extract(store: Path) -> None:
        extract_folder(photos, store)

    def collect(store: Path) -> None:
        extract(store)
        gc(store, older_than="0", yes=True)  # what is torn goes, and nothing else

    name = "extract where names are taken"
    return Scenario(name, early | torn, extract, run, truth, afterwards=collect)


def _merge(folder: Path, truth: Truth) -> Scenario:
    """Two stores, of which shards are linked and copied, become one."""
    for half in (0, 1):
        content = {n: data for i, (n, data) in enumerate(sorted(LATE.items())) if i % 2 == half}
        photos = write_tree(folder / f"half-{half}", content)
        extract_folder(photos, folder / f"{SOURCE}-{half}")
    stores = [folder / f"{SOURCE}-{half}" for half in (0, 1)]
    words = ("merge", *map(str, stores), "--store", STORE)
    return Scenario("merge", {}, lambda s: merge(stores, s), words, truth)


def _forget(folder: Path, late: Tree, truth: Truth) -> Scenario:
    """An image and a bad file are erased, in two snapshots; afterwards nothing may have them."""
    left = {n: data for n, data in LATE.items() if n not in FORGOTTEN}
    without = truth_of(folder / "without", left)
    keys = [image_key(LATE[name]) for name in FORGOTTEN]

    def again(store: Path) -> None:
        for name in FORGOTTEN:
            with contextlib.suppress(InputError):  # it is no item any more
                forget(store, [name])
        gc(store, older_than="0", yes=True)
        assert find_traces(Store.at(store), keys) == []

    return Scenario(
        "forget",
        late,
        lambda s: forget(s, FORGOTTEN),
        ("forget", STORE, *FORGOTTEN),
        Truth(truth.features, without.root_digest, without.items_digest),
        removes=True,
        already="If an earlier forget was cut short, this finishes it",
        afterwards=again,
    )


def _repair(name: str, photos: Path, whole: Tree, truth: Truth, patterns: list[str]) -> Scenario:
    content = dict(whole)
    harmed = set()
    for pattern in patterns:
        victim = sorted(n for n in whole if Path(n).match(pattern))[0]
        data = bytearray(whole[victim])
        data[len(data) // 3] ^= 4
        content[victim] = bytes(data)
        harmed.add(victim)

    def mend(store: Path) -> None:
        done = repair(store)
        if done.todo:
            raise StoreError(done.todo)

    return Scenario(name, content, mend, ("repair", STORE), truth, damaged=frozenset(harmed))
