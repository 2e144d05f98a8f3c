"""Look at everything that a store holds, and name what does not fit.

Every record is unsealed, and every snapshot must find the records and files that it names. In
full, every file is hashed again, every shard is parsed by its format's own rules and some of its
rows are hashed as its commit hashed them, and every snapshot's digests are computed anew. Nothing
is changed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from extract.collector import paused
from extract.cores import num_cores
from extract.errors import DamagedStoreError, StoreError
from extract.notebook import Shown
from extract.store import commits, header
from extract.store.commits import Commit, Commits, root_of, row_digests
from extract.store.files import read_errors, sha256
from extract.store.item_tables import items_digest
from extract.store.opening import Store
from extract.store.shards import CURE, ShardRef
from extract.store.snapshot_records import SnapshotRecord, record_name
from extract.store.strangers import foreign, leftovers

T = TypeVar("T")

ROWS_SHARE = 16
"""One row in so many is hashed anew in each shard, others each time ..."""
ROWS_ALWAYS = 8
"""... and at least so many."""


@dataclass(slots=True)
class Verdict(Shown):
    """What verification found."""

    problems: dict[str, str] = field(default_factory=dict)
    """File → what is wrong with it: damaged, missing or foreign."""
    refused: list[str] = field(default_factory=list)
    """Those of `problems` that the disk refused to read: they may be whole."""
    notes: list[str] = field(default_factory=list)
    """What is left over but harms nothing."""
    checks: int = 0
    bytes: int = 0
    """Bytes of shards that were read and hashed."""
    unsealed: bool = False
    """Whether there is no snapshot yet: the first run did not finish."""

    @property
    def is_sound(self) -> bool:
        """Whether everything fits."""
        return not self.problems


@paused()
def verify(
    path: str | Path,
    progress: Callable[[int, int], None] = lambda _, __: None,
    *,
    quick: bool = False,
) -> Verdict:
    """Check every file of a store.

    Args:
        path: The store's folder.
        progress: Called with (shards done, shards).
        quick: Check that every file is there with its size, and the records; hash no shard,
            table or probe.

    Raises:
        StoreError: If there is no store.
    """
    with read_errors(str(path)):
        return _verify(path, progress, quick)


def _verify(path: str | Path, progress: Callable[[int, int], None], quick: bool) -> Verdict:
    store = Store.at(path)
    verdict = Verdict()
    head = _checked(verdict, header.NAME, lambda: header.read(store.files))
    if head is None and header.NAME not in verdict.problems:
        if not Commits(store.files).digests():
            raise store.missing()
        verdict.problems[header.NAME] = "is missing; the next run writes it again"
    good = _verify_commits(store, verdict, progress, quick)
    strangers = [d for d, c in good.items() if head is not None and c.recipe_key != head.recipe.key]
    if strangers and len(strangers) == len(good):
        verdict.problems[header.NAME] = (
            "has another recipe than every shard: it is of another store"
        )
        strangers = []
    for digest in strangers:
        verdict.problems[commits.name_of(digest)] = "belongs to another recipe"
    made = _newest_refs(store)
    numbers = store.snapshots.numbers()
    for number in numbers:
        _verify_snapshot(store, verdict, number, good, made, quick)
    if (lost := store.snapshots.lost()) is not None:
        verdict.problems[record_name(lost)] = "was set aside, and no run has taken its place"
    verdict.unsealed = not numbers and lost is None
    _verify_copy(store, verdict)
    for name in foreign(store):
        verdict.problems[name] = "is foreign: no file of a store has this name"
    committed = {commit.ref.file for commit in good.values()}
    verdict.notes += leftovers(store, committed | verdict.problems.keys())
    return verdict


def readable_commits(store: Store) -> dict[str, Commit]:
    """Return the commits whose records are sound, by digest."""
    records, found = Commits(store.files), {}
    for digest in records.digests():
        try:
            found[digest] = records.read(digest)
        except (StoreError, OSError):
            continue
    return found


def _checked(verdict: Verdict, name: str, work: Callable[[], T]) -> T | None:
    """Run one check; a deliberate error becomes a problem of the file `name`."""
    verdict.checks += 1
    try:
        return work()
    except StoreError as error:
        told = str(error).removesuffix(CURE)  # which the end of all that is told says
        verdict.problems.setdefault(name, told.removeprefix(f"{name} "))
    except OSError as error:
        verdict.problems.setdefault(name, f"cannot be read: {error.strerror or error}")
        verdict.refused.append(name)
    return None


def _verify_commits(
    store: Store, verdict: Verdict, progress: Callable[[int, int], None], quick: bool
) -> dict[str, Commit]:
    """Check every record and its shard; return the commits whose records are sound."""
    good: dict[str, Commit] = {}
    digests = Commits(store.files).digests()
    check = partial(_verify_commit, store, verdict, quick)
    threads = max(num_cores(), store.files.lanes // 4)
    with ThreadPoolExecutor(threads) as pool:  # hashing leaves the interpreter's lock
        for done, (digest, commit) in enumerate(
            zip(digests, pool.map(check, digests), strict=True)
        ):
            if commit is not None:
                good[digest] = commit
                verdict.bytes += 0 if quick else commit.ref.size
            progress(done + 1, len(digests))
    return good


def _verify_commit(store: Store, verdict: Verdict, quick: bool, digest: str) -> Commit | None:
    name = commits.name_of(digest)
    commit = _checked(verdict, name, lambda: Commits(store.files).read(digest))
    if commit is None:
        return None
    if quick:
        ref = commit.ref
        _checked(verdict, ref.file, lambda: _check_size(store, ref.file, ref.size))
        return commit
    pieces = _checked(verdict, commit.ref.file, lambda: store.shards.parse(commit.ref))
    if pieces is not None:
        _checked(verdict, name, lambda: _check_rows(commit, pieces))
    return commit


def _check_rows(commit: Commit, pieces: Sequence[np.ndarray]) -> None:
    """Hash some rows as the commit did, others each time.

    The file is the one that the record names, to the byte, so a row's digest can only be wrong
    where the record was wrong from the start. Hashing every row would be a second SHA-256 over
    every byte, and halve the speed.
    """
    count = len(commit.rows)
    chosen = random.sample(range(count), min(count, max(ROWS_ALWAYS, count // ROWS_SHARE)))
    size = len(pieces[0])  # every piece but the last has as many rows
    rows = np.stack([pieces[index // size][index % size] for index in chosen])
    if row_digests(rows) != [commit.row_digests[index] for index in chosen]:
        raise DamagedStoreError("names row digests that its shard's rows do not have")


def _newest_refs(store: Store) -> dict[str, ShardRef]:
    """Return the shard of each record that the newest snapshot names."""
    try:
        record = store.snapshots.read(max(store.snapshots.numbers(), default=0))
    except (StoreError, OSError):  # told of with the snapshots
        return {}
    return {d: ref for c in record.columns for d, ref in zip(c.digests, c.refs, strict=True)}


def _verify_snapshot(
    store: Store,
    verdict: Verdict,
    number: int,
    good: dict[str, Commit],
    made: dict[str, ShardRef],
    quick: bool,
) -> None:
    name = record_name(number)
    record = _checked(verdict, name, lambda: store.snapshots.read(number))
    if record is None:
        return
    check_file = _check_present if quick else _check_file
    for file, (size, digest) in record.files.items():
        _checked(verdict, file, partial(check_file, store, file, size, digest))
    _verify_columns(verdict, record, good, made)
    if quick:
        return
    items = _checked(verdict, record.items_file, lambda: store.snapshots.items(record))
    if items is None:
        return
    if items_digest(items) != record.items_digest:
        verdict.problems[name] = "its items digest does not fit its items"
    root = _root(record, set(items["image_key"].to_pylist()), good)
    if root not in (None, record.root_digest):
        verdict.problems.setdefault(name, "its root digest does not fit its rows")


def _verify_columns(
    verdict: Verdict,
    record: SnapshotRecord,
    good: dict[str, Commit],
    made: dict[str, ShardRef],
) -> None:
    """Check that every record of a snapshot is there and means the shard that was sealed.

    Where a shard was lost and made anew with other bits, the newest snapshot has it, and the record
    is right: an older snapshot then names what nothing brings back.
    """
    for column in record.columns:
        for digest, ref in zip(column.digests, column.refs, strict=True):
            name = commits.name_of(digest)
            if digest not in good:
                verdict.problems.setdefault(name, f"is missing; snapshot {record.number} names it")
            elif good[digest].ref != ref and made.get(digest) == good[digest].ref:
                verdict.problems[record_name(record.number)] = (
                    f"names a shard that was lost, and made anew with other bits: {ref.file}"
                )
            elif good[digest].ref != ref:
                verdict.problems[name] = f"names another shard than snapshot {record.number} does"


def _check_size(store: Store, name: str, size: int) -> None:
    try:
        found = store.files.stamp(name).size
    except FileNotFoundError as error:
        raise DamagedStoreError("is missing") from error
    if found != size:
        raise DamagedStoreError(f"has {found} bytes, expected {size}")


def _check_present(store: Store, name: str, size: int, digest: str) -> None:
    _check_size(store, name, size)


def _check_file(store: Store, name: str, size: int, digest: str) -> None:
    if name.startswith("shards/"):  # hashed with its commit
        return
    try:
        data = store.files.read(name)
    except FileNotFoundError as error:
        raise DamagedStoreError("is missing") from error
    if (len(data), sha256(data)) != (size, digest):
        raise DamagedStoreError("was altered: its SHA-256 does not fit its snapshot")


def _root(record: SnapshotRecord, used: set[str], good: dict[str, Commit]) -> str | None:
    """Compute the root digest anew; None where a commit is damaged, which is told elsewhere."""
    if any(digest not in good for column in record.columns for digest in column.digests):
        return None
    parts = [(c.column, good[digest]) for c in record.columns for digest in c.digests]
    return root_of(parts, used)


def _verify_copy(store: Store, verdict: Verdict) -> None:
    numbers = store.snapshots.numbers()
    if not numbers or record_name(numbers[-1]) in verdict.problems:
        return
    expected = store.snapshots.read(numbers[-1]).bad_images
    try:
        data = store.files.read(header.COPY)
    except FileNotFoundError:
        verdict.problems[header.COPY] = "is missing; the next run writes it again"
        return
    if sha256(data) != expected:
        verdict.problems[header.COPY] = "is not that of the newest snapshot; the next run writes it"
