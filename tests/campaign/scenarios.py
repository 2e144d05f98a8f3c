"""The commands that change a store, each with a store to begin with and what must be so after it.

`begin` is a tree of files; `command` is typed once, disturbed, and then again: whatever happened
meanwhile, the second time it must end with the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from extract.compacting import gc
from extract.errors import StoreError
from extract.relabeling import relabel
from extract.repairing import repair
from extract.store.commits import Commit, Commits, row_digests
from extract.store.reader import Store, open_store
from extract.store.verify import verify
from tests.campaign.world import (
    EARLY,
    LATE,
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


@dataclass(frozen=True)
class Scenario:
    """One command on one store."""

    name: str
    begin: Tree
    command: Callable[[Path], object]
    truth: Truth
    removes: bool = False
    """Whether the command removes shards on purpose."""
    damaged: frozenset[str] = frozenset()
    """Files of `begin` that are damaged or missing: what rests on them may be refused."""
    afterwards: Callable[[Path], object] | None = None
    """What must be typed after the command was disturbed, where that is something else."""

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
        newest = max(acknowledged.snapshots, default=0)
        gone = set(acknowledged.snapshots) - set(numbers)
        if self.damaged and newest in numbers:  # a repair may take one for damaged that it made
            gone = set()
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
def scenarios() -> Iterator[list[Scenario]]:
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
        relabelled = open_store(store)
        yield [
            Scenario("extract", {}, lambda s: extract_folder(photos, s), truth),
            Scenario(
                "extract more", early, lambda s: extract_folder(photos, s, format="hdf5"), truth
            ),
            _repair("repair", photos, late, truth, ["shards/*", "probes/user-*"]),
            _repair("repair the snapshot", photos, late, truth, ["snapshots/000002.json"]),
            Scenario(
                "gc --compact",
                late,
                lambda s: gc(s, compact=True, older_than="0", yes=True),
                truth,
                removes=True,
            ),
            Scenario(
                "relabel",
                late,
                lambda s: relabel(s, table),
                Truth(truth.features, truth.root_digest, relabelled.items_digest),
            ),
        ]


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

    return Scenario(name, content, mend, truth, damaged=frozenset(harmed))
