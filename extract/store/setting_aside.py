"""Move files that have problems out of the way, so that a run makes anew what they held.

Nothing is lost by it: a file that is set aside lies in `damaged/` until `gc` removes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from extract.errors import StoreError
from extract.store import commits, header
from extract.store.commits import Commits
from extract.store.files import Files, LocalFiles, disk_errors
from extract.store.opening import Store
from extract.store.snapshot_records import TABLE_NAME, record_name


def set_aside(path: str | Path, problems: Iterable[str]) -> list[str]:
    """Move the files that have problems to `damaged/`; return their names.

    A shard and its record go together, so that a run computes its rows again; so do a snapshot
    and its items.

    Raises:
        OSError: If the disk refuses to read a record.
        StoreWriteError: If it refuses a change.
    """
    store = Store.at(path)
    problems = list(problems)
    partners = _records_of_shards(store, problems)
    tables = [n for n in problems if re.fullmatch(f"snapshots/{TABLE_NAME}", n)]
    partners |= {name: f"{name.partition('.')[0]}.json" for name in tables}
    names = dict.fromkeys(problems)
    names |= dict.fromkeys(partners[name] for name in problems if name in partners)
    names |= dict.fromkeys(_hopeless_snapshots(store))
    with disk_errors("what is set aside"):
        header.make_folders(store.files)
        moved = [name for name in names if _is_there(store.files, name)]
        plain = [name for name in moved if _is_plain(store.files, name)]
        for name in plain:
            store.files.link_new(name, _aside(name))
        store.files.fsync("damaged")  # whatever a power cut leaves, it was damaged: see `lost`
        for name in moved:
            if name in plain:
                store.files.remove(name)
            else:
                store.files.rename(name, _aside(name))
        for folder in sorted({name.rpartition("/")[0] for name in moved}):
            store.files.fsync(folder)
    return moved


def _records_of_shards(store: Store, problems: Sequence[str]) -> dict[str, str]:
    """Return each shard's record.

    One that the disk refuses to read now, and did not before, is an error: left behind by its shard
    it would promise rows to the next run that are not there.
    """
    records, found = Commits(store.files), {}
    for digest in records.digests():
        name = commits.name_of(digest)
        if name not in problems:
            with contextlib.suppress(StoreError):
                found[records.read(digest).ref.file] = name
    return found


def _aside(name: str) -> str:
    return f"damaged/{secrets.token_hex(4)}-{name.replace('/', '-')}"


def _is_there(files: Files, name: str) -> bool:
    if isinstance(files, LocalFiles):
        return os.path.lexists(files.root / name)  # a link that leads nowhere is there
    try:
        files.stamp(name)
    except FileNotFoundError:
        return False
    return True


def _is_plain(files: Files, name: str) -> bool:
    if not isinstance(files, LocalFiles):
        return True
    path = files.root / name
    return path.is_file() and not path.is_symlink()


def _hopeless_snapshots(store: Store) -> Iterator[str]:
    """Yield the files of older snapshots that name a record or probe which no run brought back.

    Its images are gone from the data set, so no run ever will. A snapshot that the disk refuses to
    read is an error: it may be such a one, and would be left.
    """
    there = set(Commits(store.files).digests())
    *older, newest = store.snapshots.numbers() or [0]
    gone: set[str] = set()
    with contextlib.suppress(StoreError):  # what that one names may still come back
        kept = store.snapshots.read(newest).files.keys()
        gone = _lost_probes(store, older) - kept
    for number in older:
        try:
            record = store.snapshots.read(number)
        except StoreError:
            continue
        digests = {digest for column in record.columns for digest in column.digests}
        if not digests <= there or gone & record.files.keys():
            yield from (record_name(number), record.items_file)


def _lost_probes(store: Store, numbers: Iterable[int]) -> set[str]:
    """Return the probes that snapshots name and that are not there."""
    named: set[str] = set()
    for number in numbers:
        with contextlib.suppress(StoreError):
            named |= {n for n in store.snapshots.read(number).files if n.startswith("probes/")}
    return named - {f"probes/{name}" for name in store.files.list("probes")}
