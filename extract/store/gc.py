"""Remove what nobody needs any more, by age, records first.

    snapshots      older ones, once the next has been there for AGE
    commits        those that no remaining snapshot names, with their shards; those that none ever
                   named once all of them are old: a run that makes more of them will seal them
    shards         without a record; scratch files; files set aside
    probes         that no remaining snapshot names

In two phases: first the records go, durably, so that nothing can lead to a shard that is about to
go; then, unless a run has sealed a snapshot meanwhile that names one of them (it is put back), the
shards go. A power cut between the two leaves shards without a record, which are nobody's. A run
that started before and reuses an old shard is what AGE is for; it checks before it seals.
"""

from __future__ import annotations

import errno
import re
import secrets
import time
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from extract.errors import BucketError, InputError, StoreError, StoreWriteError
from extract.store.commits import Commits, name_of
from extract.store.files import Files, disk_errors, each, publish, write_scratch
from extract.store.opening import Store
from extract.store.shards import damaged
from extract.store.snapshot_records import record_name
from extract.store.strangers import SHARD_NAME

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


def find_garbage(store: Store, age: float, *, rehearsal: bool = False) -> Garbage:
    """Return what no snapshot that stays needs, and what is at least `age` seconds old.

    A rehearsal is content with a store that cannot be written, and with this machine's clock there.

    Raises:
        StoreError: If a snapshot cannot be read: then nobody knows what it needs.
        StoreWriteError: If the disk refuses the scratch file that says what time it is.
    """
    numbers = store.snapshots.numbers()
    if not numbers:
        raise StoreError(f"{store.path} has no snapshot: what it holds is work in progress")
    old = _Ages(store.files, _now_ns(store.files, rehearsal) - int(age * 1e9))
    garbage = Garbage()
    for number, after in pairwise(numbers):
        if old(record_name(after)):  # nobody has begun to read it since
            garbage.snapshots.append(number)
            garbage.records += [record_name(number), store.snapshots.read(number).items_file]
    needed, commits = _needed(store, [n for n in numbers if n not in garbage.snapshots])
    _, once = _needed(store, garbage.snapshots)
    named = needed.union(garbage.records)
    tables = [f"snapshots/{name}" for name in store.snapshots.tables()]
    loose_items = [name for name in tables if name not in named]
    digests = Commits(store.files).digests()
    unsealed = [name_of(d) for d in digests if d not in commits and d not in once]
    sealed_once = [name_of(d) for d in digests if d in once - commits]
    garbage.records += old.sort(sealed_once + loose_items) + old.sort_as_one(unsealed)
    rest = [f"{d}/{n}" for d in ("tmp", "damaged") for n in store.files.list(d)]
    rest += [f"probes/{n}" for n in store.files.list("probes") if f"probes/{n}" not in needed]
    going = {_digest(name) for name in garbage.records}
    held = _shards_of(store, set(digests) - commits - going)
    shards = [f"shards/{n}" for n in store.files.list("shards") if re.fullmatch(SHARD_NAME, n)]
    shards = [name for name in shards if name not in needed]
    rest += [name for name in shards if name not in held]
    old.young += sum(name in held for name in shards)
    garbage.rest += old.sort(rest)
    garbage.kept = old.young
    garbage.bytes = sum(each(store.files.lanes, partial(_size, store.files), garbage.files))
    return garbage


def _now_ns(files: Files, rehearsal: bool) -> int:
    """Return what time it is where the files are: a new one's time.

    The clock of this machine may be days from that of a bucket, or of a disk on a network.
    """
    scratch = f"tmp/{secrets.token_hex(8)}"
    try:
        with disk_errors("a scratch file"):
            write_scratch(files, scratch, b"")
            now = files.stamp(scratch).mtime_ns
            files.remove(scratch)
    except (StoreWriteError, BucketError) as error:
        if rehearsal or _is_full(error.__cause__):
            return time.time_ns()
        raise
    return now


def _is_full(error: BaseException | None) -> bool:
    """Return whether a disk has no room: then gc is what it needs."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class _Ages:
    """Tells old files from young ones by their time."""

    def __init__(self, files: Files, before: int) -> None:
        self._files = files
        self._before = before
        self.young = 0

    def __call__(self, name: str) -> bool:
        try:
            return self._files.stamp(name).mtime_ns <= self._before
        except FileNotFoundError:  # a scratch file, of somebody who is done with it
            return False

    def sort(self, names: Iterable[str]) -> list[str]:
        """Return the old ones, and count the others."""
        names = list(names)
        are_old = each(self._files.lanes, self, names)
        old = [name for name, is_old in zip(names, are_old, strict=True) if is_old]
        self.young += len(names) - len(old)
        return old

    def sort_as_one(self, names: Sequence[str]) -> list[str]:
        """Return all of them if all are old: else somebody still makes more of them."""
        old, young = self.sort(names), self.young
        if len(old) == len(names):
            return old
        self.young = young + len(old)
        return []


def _needed(store: Store, numbers: Iterable[int]) -> tuple[set[str], set[str]]:
    """Return (files, digests of commits) that some snapshots name."""
    files: set[str] = set()
    commits: set[str] = set()
    for number in numbers:
        record = store.snapshots.read(number)
        files |= record.files.keys()
        commits |= {digest for column in record.columns for digest in column.digests}
    return files, commits


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
        numbers = store.snapshots.numbers()
        files, commits = _needed(store, numbers)
        back = [name for name in contents if _digest(name) in commits]
        for name in back:
            publish(store.files, name, contents[name])
        files |= _adopted(store, commits)
        rest = [name for name in garbage.rest if name not in files]
        _remove(store.files, rest)
        _check_not_taken(store, rest, numbers, commits)
    return back + [name for name in garbage.rest if name in files]


def _adopted(store: Store, sealed: Set[str]) -> set[str]:
    """Return the shards of records that no snapshot names: a run made or adopted them."""
    return _shards_of(store, set(Commits(store.files).digests()) - sealed)


def _shards_of(store: Store, digests: Iterable[str]) -> set[str]:
    """Return the shards that records name, which need not have the digest of their record.

    Where one cannot be read, what has its digest may be its shard.
    """
    records = Commits(store.files)

    def named(digest: str) -> list[str]:
        try:
            return [records.read(digest).ref.file]
        except (StoreError, OSError):
            return [f"shards/{digest}.zshard", f"shards/{digest}.h5"]

    return {name for names in each(store.files.lanes, named, digests) for name in names}


def _check_not_taken(
    store: Store, removed: Sequence[str], before: Sequence[int], sealed: Set[str]
) -> None:
    """Raise `DamagedStoreError` if somebody began to need a file after the last look at it.

    Whoever begins still later misses it himself, before or after he seals.
    """
    files, commits = _needed(store, set(store.snapshots.numbers()) - set(before))
    for name in sorted((_adopted(store, sealed | commits) | files).intersection(removed)):
        raise damaged(name, "went while a command beside gc began to use it")


def _remove(files: Files, names: Sequence[str]) -> None:
    """Remove files, durably."""
    each(files.lanes, files.remove, names)
    for folder in sorted({name.partition("/")[0] for name in names}):
        files.fsync(folder)


def _digest(name: str) -> str:
    """Return the digest in the name of a record."""
    return Path(name).stem
