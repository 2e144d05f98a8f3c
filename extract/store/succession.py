"""Seal a snapshot after the one that its work began from, so that nobody undoes what others sealed.

A snapshot is sealed under the number that follows, or not at all: put-if-absent makes it exact,
without a lock. Who comes late does again what is cheap, on the newest snapshot (`unless_changed`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa

from extract.errors import ChangedStoreError, DamagedStoreError
from extract.store import header
from extract.store.files import Files, disk_errors, publish, publish_copy, sha256
from extract.store.item_tables import bad_images_csv, parquet_bytes
from extract.store.opening import Store
from extract.store.shards import damaged
from extract.store.snapshot_records import SnapshotRecord, encode, items_name, record_name

TRIES = 5
"""How often work is done that another command's snapshot makes vain."""
T = TypeVar("T")


def unless_changed(work: Callable[[], T]) -> T:
    """Do work that reads the newest snapshot and seals another one, anew where one came between.

    Raises:
        ChangedStoreError: If others were quicker each time.
    """
    for _ in range(TRIES - 1):
        try:
            return work()
        except ChangedStoreError:
            continue
    return work()


def seal(store: Store, record: SnapshotRecord, items: pa.Table, *, after: int) -> int:
    """Write a new snapshot and return its number.

    Args:
        store: Whose it is.
        record: What it says.
        items: Its items.
        after: Number of the snapshot that was the newest when the work began; 0 for none.

    Raises:
        ChangedStoreError: If there is a newer one by now.
        DamagedStoreError: If something removed meanwhile what it needs.
    """
    return seal_all(store, [(record, items)], after=after)[0]


def seal_all(
    store: Store, snapshots: Sequence[tuple[SnapshotRecord, pa.Table]], *, after: int
) -> list[int]:
    """Write several snapshots and return their rising numbers; see `seal`.

    The last one's record is written first, so that whoever looks meanwhile, or after a power
    cut, finds it as the newest.
    """
    sealed: list[tuple[SnapshotRecord, bytes]] = []
    with disk_errors("the snapshot"):
        _make_names_durable(store.files, (record for record, _ in snapshots))
        newest = max(store.snapshots.numbers(), default=0)
        if newest != after:
            raise ChangedStoreError(newest)
        first = max(after + 1, store.snapshots.lost() or 0)
        for number, (record, items) in enumerate(snapshots, first):
            name, facts = _put_items(store.files, number, parquet_bytes(items))
            made = replace(record, number=number, files={**_own(record), name: facts})
            sealed.append((made, encode(made)))
        for made, data in reversed(sealed):
            name = record_name(made.number)
            # A bucket may have lost its answer to this very put; who says the same is us.
            if not publish(store.files, name, data) and store.files.read(name) != data:
                raise ChangedStoreError(made.number)
        publish_copy(store.files, header.COPY, bad_images_csv(snapshots[-1][1]))
    for made, _ in sealed:
        _check_kept(store, made)
    return [made.number for made, _ in sealed]


def renew_bad_images(store: Store) -> None:
    """Write the copy for people, where a power cut came between the newest snapshot and it."""
    record = store.snapshots.read(max(store.snapshots.numbers()))
    with contextlib.suppress(FileNotFoundError):
        if sha256(store.files.read(header.COPY)) == record.bad_images:
            return
    with disk_errors(header.COPY):
        publish_copy(store.files, header.COPY, bad_images_csv(store.snapshots.items(record)))


def _make_names_durable(files: Files, records: Iterable[SnapshotRecord]) -> None:
    """Sync the folders of all that is needed.

    A run that was killed may have named files in them and not synced the names, and whoever
    found them there had no reason to.
    """
    needed = {name.rpartition("/")[0] for record in records for name in record.files}
    for folder in sorted(needed | {"commits"}):
        files.fsync(folder)


def _put_items(files: Files, number: int, table: bytes) -> tuple[str, tuple[int, str]]:
    """Write the items of a snapshot; return their name, and their size and SHA-256.

    Where others have the name, theirs stay: they may still be sealed, under this number.
    """
    digest = sha256(table)
    for name in (items_name(number), f"snapshots/{number:06d}.{digest[:8]}.items.parquet"):
        if publish(files, name, table) or files.read(name) == table:
            return name, (len(table), digest)
    raise damaged(name, "was altered")


def _check_kept(store: Store, record: SnapshotRecord) -> None:
    """Raise `DamagedStoreError` if a gc that began before the seal took what it needs."""
    try:
        store.snapshots.check_present(record)
    except DamagedStoreError as error:
        raise DamagedStoreError(
            f"Something, perhaps gc, removed what snapshot {record.number} needs while it was "
            f"sealed: {error}"
        ) from error


def _own(record: SnapshotRecord) -> dict[str, tuple[int, str]]:
    """Return the files of a record but for items, which are of the one that it was made from."""
    return {name: facts for name, facts in record.files.items() if name != record.items_file}
