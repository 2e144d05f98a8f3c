"""Snapshots: sealed states of a store, numbered, written last. Here they are found and read.

A snapshot names every file that it needs with its size and SHA-256. Readers open the newest
one; if anything it names does not fit, that is an error, never an older answer.
`extract.store.succession` seals them.
"""

from __future__ import annotations

import re

import pyarrow as pa

from extract.errors import DamagedStoreError
from extract.store.commits import name_of as commit_name
from extract.store.files import Files, each, sha256
from extract.store.item_tables import ITEM_SCHEMA, read_parquet
from extract.store.shards import damaged
from extract.store.snapshot_records import TABLE_NAME, SnapshotRecord, decode, record_name


class Snapshots:
    """The snapshots of one store."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def numbers(self) -> list[int]:
        """Return the numbers of the sealed snapshots, rising."""
        found = [re.fullmatch(r"(\d{6,})\.json", name) for name in self._files.list("snapshots")]
        return sorted(int(match[1]) for match in found if match)

    def tables(self) -> list[str]:
        """Return the names, in their folder, of all items tables, also of those without record."""
        return [name for name in self._files.list("snapshots") if re.fullmatch(TABLE_NAME, name)]

    def lost(self) -> int | None:
        """Return the number of a snapshot that was set aside and is newer than all that are left.

        None where there is none. Until a run has taken its place, the newest that is left is an
        older state of the store.
        """
        names = self._files.list("damaged")
        aside = [re.fullmatch(r"\w+-snapshots-(\d{6,})\.json", name) for name in names]
        lost = max((int(match[1]) for match in aside if match), default=0)
        return lost if lost > max(self.numbers(), default=0) else None

    def read(self, number: int) -> SnapshotRecord:
        """Return one snapshot's record.

        Raises:
            DamagedStoreError: If it was altered.
        """
        name = record_name(number)
        try:
            record = decode(name, self._files.read(name))
        except FileNotFoundError as error:
            raise DamagedStoreError(f"{name} is missing") from error
        if record.number != number:
            raise DamagedStoreError(f"{name} was renamed: it is number {record.number}")
        return record

    def items(self, record: SnapshotRecord) -> pa.Table:
        """Return the items of a snapshot, in item order.

        Raises:
            DamagedStoreError: If the table is missing or altered.
        """
        name = record.items_file
        try:
            data = self._files.read(name)
        except FileNotFoundError as error:
            raise damaged(name, "is missing") from error
        if (len(data), sha256(data)) != tuple(record.files[name]):
            raise damaged(name, "was altered")
        items = read_parquet(data)
        if "decided" not in items.column_names:  # sealed before anybody could decide
            place = ITEM_SCHEMA.get_field_index("decided")  # the user's further columns follow ours
            nobody = pa.nulls(len(items), pa.string())
            items = items.add_column(place, ITEM_SCHEMA.field(place), nobody)
        return items

    def check_present(self, record: SnapshotRecord) -> None:
        """Raise `DamagedStoreError` for a file that is missing, or not of the size of its rows."""
        sizes = each(self._files.lanes, self._size, record.files)
        for (name, (size, _)), found in zip(record.files.items(), sizes, strict=True):
            if found != size:
                raise damaged(name, f"has {found} bytes, expected {size}")
        for column in record.columns:
            each(self._files.lanes, self._size, map(commit_name, column.digests))
            for ref in column.refs:
                own = tuple(ref.row_shape) == column.row_shape
                if not own or ref.rows * ref.grid.row_bytes > ref.size:
                    raise damaged(record_name(record.number), f"claims rows that {ref.file} lacks")

    def _size(self, name: str) -> int:
        try:
            return self._files.stamp(name).size
        except FileNotFoundError as error:
            raise damaged(name, "is missing") from error
