"""Remove what nobody needs any more, by age, records first.

    snapshots      older ones, once the next has been there for AGE
    commits        those that no remaining snapshot names, with their shards
    shards         without a record; scratch files; files set aside
    probes         that no remaining snapshot names

In two phases: first the records go, durably, so that nothing can lead to a shard that is about to
go; then, unless a run has sealed a snapshot meanwhile that names one of them (it is put back), the
shards go. A power cut between the two leaves shards without a record, which are nobody's. A run
that started before and reuses an old shard is what AGE is for; it checks before it seals.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from extract.errors import InputError, StoreError
from extract.store.commits import Commits, name_of
from extract.store.files import Files, disk_errors, publish
from extract.store.reader import Store
from extract.store.snapshots import items_name, record_name
from extract.store.verify import SHARD_NAME

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
OLDER_THAN = "7d"


@dataclass(slots=True)
class Garbage:
    """What can go: names of files in the order in which they go, and why."""

    snapshots: list[int] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    """Commit records, snapshots and their items: they go first."""
    rest: list[str] = field(default_factory=list)
    """Shards, probes, scratch files and files set aside."""
    bytes: int = 0
    kept: int = 0
    """Files that nobody needs and that are too young."""

    @property
    def files(self) -> list[str]:
        """Everything, records first."""
        return self.records + self.rest


def parse_age(text: str) -> float:
    """Return the seconds of "0", "12h", "7d" or "2w".

    Raises:
        InputError: If it is none of these.
    """
    match = re.fullmatch(r"(\d+)([smhdw]?)", text)
    if match is None or (not match[2] and int(match[1])):
        raise InputError(f"--older-than is an age such as 12h, 7d, 2w or 0. Received: {text!r}")
    return float(int(match[1]) * UNITS[match[2] or "s"])


def find_garbage(store: Store, age: float) -> Garbage:
    """Return what no snapshot that stays needs, and what is at least `age` seconds old.

    Raises:
        StoreError: If a snapshot cannot be read: then nobody knows what it needs.
    """
    numbers = store.snapshots.numbers()
    if not numbers:
        raise StoreError(f"{store.path} has no snapshot: what it holds is work in progress")
    old = _Ages(store.files, age)
    garbage = Garbage()
    for number, after in pairwise(numbers):
        if old(record_name(after)):  # nobody has begun to read it since
            garbage.snapshots.append(number)
            garbage.records += [record_name(number), items_name(number)]
    needed, commits = _needed(store, [n for n in numbers if n not in garbage.snapshots])
    loose_items = [f"snapshots/{n}" for n in store.files.list("snapshots")]
    loose_items = [n for n in loose_items if _is_orphan(n, numbers)]
    records = [name_of(d) for d in Commits(store.files).digests() if d not in commits]
    rest = [f"{d}/{n}" for d in ("tmp", "damaged") for n in store.files.list(d)]
    rest += [f"probes/{n}" for n in store.files.list("probes") if f"probes/{n}" not in needed]
    shards = [n for n in store.files.list("shards") if re.fullmatch(SHARD_NAME, n)]
    rest += [f"shards/{n}" for n in shards if f"shards/{n}" not in needed]
    garbage.records += old.sort(records + loose_items)
    garbage.rest += old.sort(rest)
    garbage.kept = old.young
    garbage.bytes = sum(_size(store.files, name) for name in garbage.files)
    return garbage


class _Ages:
    """Tells old files from young ones by their time."""

    def __init__(self, files: Files, age: float) -> None:
        self._files = files
        self._before = time.time_ns() - int(age * 1e9)
        self.young = 0

    def __call__(self, name: str) -> bool:
        return self._files.stamp(name).mtime_ns <= self._before

    def sort(self, names: Iterable[str]) -> list[str]:
        """Return the old ones, and count the others."""
        names = list(names)
        old = [name for name in names if self(name)]
        self.young += len(names) - len(old)
        return old


def _needed(store: Store, numbers: Iterable[int]) -> tuple[set[str], set[str]]:
    """Return (files, digests of commits) that some snapshots name."""
    files: set[str] = set()
    commits: set[str] = set()
    for number in numbers:
        record = store.snapshots.read(number)
        files |= record.files.keys()
        commits |= {digest for column in record.columns for digest in column.digests}
    return files, commits


def _is_orphan(name: str, numbers: Iterable[int]) -> bool:
    """Return whether these are items whose snapshot was never sealed."""
    match = re.fullmatch(r"snapshots/(\d+)\.items\.parquet", name)
    return match is not None and int(match[1]) not in set(numbers)


def _size(files: Files, name: str) -> int:
    try:
        return files.stamp(name).size
    except FileNotFoundError:
        return 0


def collect(store: Store, garbage: Garbage) -> list[str]:
    """Remove garbage; return the names of what was needed after all and stays.

    Raises:
        StoreWriteError: If the disk refuses.
    """
    with disk_errors("what gc removes"):
        contents = {
            name: store.files.read(name) for name in garbage.records if name.startswith("commits/")
        }
        # Snapshots first, and their records before their items: what came back after a power cut
        # must find what it names.
        snapshots = [n for n in garbage.records if n not in contents]
        _remove(store.files, [n for n in snapshots if n.endswith(".json")])
        _remove(store.files, [n for n in snapshots if not n.endswith(".json")])
        _remove(store.files, list(contents))
        files, commits = _needed(store, store.snapshots.numbers())
        back = [name for name in contents if _digest(name) in commits]
        for name in back:
            publish(store.files, name, contents[name])
        rest = [name for name in garbage.rest if name not in files]
        _remove(store.files, rest)
    return back + [name for name in garbage.rest if name in files]


def _remove(files: Files, names: Sequence[str]) -> None:
    """Remove files, durably."""
    for name in names:
        files.remove(name)
    for folder in sorted({name.partition("/")[0] for name in names}):
        files.fsync(folder)


def _digest(name: str) -> str:
    return Path(name).name.removesuffix(".json")
