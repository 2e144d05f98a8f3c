"""Snapshots: sealed states of a store, numbered, written last.

    snapshots/000003.json            which columns, shards and files; digests
    snapshots/000003.items.parquet   path, image_key, label, split, group, status, row, ...

A snapshot names every file that it needs with its size and SHA-256. Readers open the newest
one; if anything it names does not fit, that is an error, never an older answer.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from json.encoder import encode_basestring_ascii
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extract.errors import DamagedStoreError
from extract.recipe import Column
from extract.store.commits import name_of as commit_name
from extract.store.files import Files, disk_errors, publish, publish_copy, sha256
from extract.store.records import seal, unseal
from extract.store.shards import ShardRef, damaged

BAD_IMAGES = "bad_images.csv"
ITEMS_AT_ONCE = 1 << 16
"""Rows of a table that become objects at once: a million together would take half a GB."""

ITEM_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("image_key", pa.string()),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("group", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("stage", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("decided", pa.string()),
    ]
)
"""Columns of an items table; `row` is -1 where there are no bytes to have a row, and `decided`
names what a person decided of an item, such as "label split": a run keeps that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotColumn:
    """A column of a snapshot and the shards that hold it, in row order."""

    column: Column
    row_shape: tuple[int, ...]
    digests: tuple[str, ...]
    refs: tuple[ShardRef, ...]


@dataclass(frozen=True, slots=True)
class SplitRule:
    """Shares of train, validation and test, and the seed of the cut."""

    ratios: tuple[float, float, float]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord:
    """What a snapshot says."""

    recipe_key: str
    columns: tuple[SnapshotColumn, ...]
    files: Mapping[str, tuple[int, str]]
    """Size and SHA-256 of every shard, probe and items file that the snapshot needs.

    Commit records are not among them: they carry hints (what was read and when) that differ
    when a lost shard is made anew. What they say is held by their self-checks, by `columns`,
    which names every record and its shard, and by the root digest.
    """
    classes: tuple[str, ...]
    items_digest: str
    root_digest: str
    decoder: str
    bad_images: str
    """SHA-256 of the bad_images.csv that belongs to it."""
    distance: float | None = None
    """Relative distance to float32 on the probes, where precision is another."""
    found_at: Mapping[str, str] = field(default_factory=dict)
    split_rule: SplitRule | None = None
    """How a person had the items cut; new ones are cut likewise."""
    replaces: int = 0
    """Number of the snapshot that this one is without some images; 0 for none."""
    number: int = 0


class Snapshots:
    """The snapshots of one store."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def numbers(self) -> list[int]:
        """Return the numbers of the sealed snapshots, rising."""
        found = [re.fullmatch(r"(\d{6,})\.json", name) for name in self._files.list("snapshots")]
        return sorted(int(match[1]) for match in found if match)

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
            facts = unseal("snapshot", name, self._files.read(name))
        except FileNotFoundError as error:
            raise DamagedStoreError(f"{name} is missing") from error
        if facts["number"] != number:
            raise DamagedStoreError(f"{name} was renamed: it is number {facts['number']}")
        return _from_json(facts)

    def items(self, record: SnapshotRecord) -> pa.Table:
        """Return the items of a snapshot, in item order.

        Raises:
            DamagedStoreError: If the table is missing or altered.
        """
        name = items_name(record.number)
        try:
            data = self._files.read(name)
        except FileNotFoundError as error:
            raise damaged(name, "is missing") from error
        if (len(data), sha256(data)) != tuple(record.files[name]):
            raise damaged(name, "was altered")
        with pq.ParquetFile(io.BytesIO(data)) as file:  # read_table imports pyarrow.dataset for it
            items = file.read(use_threads=False)
        if "decided" not in items.column_names:  # sealed before anybody could decide
            place = ITEM_SCHEMA.get_field_index("decided")  # the user's further columns follow ours
            nobody = pa.nulls(len(items), pa.string())
            items = items.add_column(place, ITEM_SCHEMA.field(place), nobody)
        return items

    def check_present(self, record: SnapshotRecord) -> None:
        """Raise `DamagedStoreError` for a file that is missing, or not of the size of its rows."""
        for name, (size, _) in record.files.items():
            if (found := self._size(name)) != size:
                raise damaged(name, f"has {found} bytes, expected {size}")
        for column in record.columns:
            for digest in column.digests:
                self._size(commit_name(digest))
            for ref in column.refs:
                own = tuple(ref.row_shape) == column.row_shape
                if not own or ref.rows * ref.grid.row_bytes > ref.size:
                    raise damaged(record_name(record.number), f"claims rows that {ref.file} lacks")

    def _size(self, name: str) -> int:
        try:
            return self._files.stamp(name).size
        except FileNotFoundError as error:
            raise damaged(name, "is missing") from error

    def seal(self, record: SnapshotRecord, items: pa.Table) -> int:
        """Write a new snapshot and return its number; losing a race takes the next number."""
        return self.seal_all([(record, items)])[0]

    def seal_all(self, snapshots: Sequence[tuple[SnapshotRecord, pa.Table]]) -> list[int]:
        """Write several snapshots and return their rising numbers.

        The last one's record is written first, so that whoever looks meanwhile, or after a power
        cut, finds it as the newest.
        """
        sealed: list[tuple[int, bytes]] = []
        with disk_errors("the snapshot"):
            for record, items in snapshots:
                table = parquet_bytes(items)
                number = self._free_number()
                while not publish(self._files, items_name(number), table):
                    number += 1
                files = {**record.files, items_name(number): (len(table), sha256(table))}
                sealed.append((number, seal("snapshot", _to_json(record, number, files))))
            for number, data in reversed(sealed):
                if not publish(self._files, record_name(number), data):
                    raise AssertionError(f"{record_name(number)} appeared beside our items")
            publish_copy(self._files, BAD_IMAGES, bad_images_csv(snapshots[-1][1]))
        return [number for number, _ in sealed]

    def _free_number(self) -> int:
        used = [re.match(r"(\d{6,})\.", name) for name in self._files.list("snapshots")]
        free = max((int(match[1]) for match in used if match), default=0) + 1
        return max(free, self.lost() or 0)


def follow(
    record: SnapshotRecord, items: pa.Table, columns: Iterable[SnapshotColumn] | None = None
) -> SnapshotRecord:
    """Return the record of a snapshot like another one, with other items or shards.

    Its root digest is the other one's: who changes the images says so with `replace`.
    """
    kept = record.columns if columns is None else tuple(columns)
    probes = {n: facts for n, facts in record.files.items() if n.startswith("probes/")}
    return replace(
        record,
        columns=kept,
        files={ref.file: (ref.size, ref.sha256) for c in kept for ref in c.refs} | probes,
        classes=tuple(sorted({x for x in items["label"].to_pylist() if x is not None})),
        items_digest=items_digest(items),
        bad_images=sha256(bad_images_csv(items)),
        replaces=0,
    )


def record_name(number: int) -> str:
    """Return the file name of a snapshot's record."""
    return f"snapshots/{number:06d}.json"


def items_name(number: int) -> str:
    """Return the file name of a snapshot's items."""
    return f"snapshots/{number:06d}.items.parquet"


def parquet_bytes(items: pa.Table) -> bytes:
    """Return the items as the bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(items, sink, compression="zstd")
    return sink.getvalue()


def bad_images_csv(items: pa.Table) -> bytes:
    """Return the CSV (path, stage, reason) of the items that are bad."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "stage", "reason"])
    bad = items.filter(pc.is_in(items["status"], pa.array(["undecodable", "unreadable"])))
    for item in bad.select(["path", "stage", "reason"]).to_pylist():
        writer.writerow([item["path"], item["stage"], item["reason"]])
    return text.getvalue().encode()


def items_digest(items: pa.Table) -> str:
    """Return the SHA-256 over the sorted (path, image_key, label, split, group).

    Each line begins with its path, and no two items have the same one, so lines are sorted by the
    paths as they are written, and made a piece at a time: a million together would take 600 MB.
    """
    paths = [_quoted(path) for path in items["path"].to_pylist()]
    order = sorted(range(len(paths)), key=paths.__getitem__)
    del paths
    chosen = items.select(["path", "image_key", "label", "split", "group"])
    digest = hashlib.sha256()
    for start in range(0, len(order), ITEMS_AT_ONCE):
        piece = chosen.take(order[start : start + ITEMS_AT_ONCE])
        columns = [map(_quoted, column.to_pylist()) for column in piece.columns]
        lines = [f"[{','.join(values)}]\n" for values in zip(*columns, strict=True)]
        digest.update("".join(lines).encode())
    return digest.hexdigest()


def _quoted(text: str | None) -> str:
    """Return what `canonical_json` does, three times as quickly: a million items have five."""
    return "null" if text is None else encode_basestring_ascii(text)


def _to_json(
    record: SnapshotRecord, number: int, files: Mapping[str, tuple[int, str]]
) -> dict[str, Any]:
    return {
        "number": number,
        "recipe_key": record.recipe_key,
        "columns": [
            {
                "column": c.column.to_json(),
                "row_shape": list(c.row_shape),
                "digests": list(c.digests),
                "shards": [ref.to_json() for ref in c.refs],
            }
            for c in record.columns
        ],
        "files": {name: list(facts) for name, facts in files.items()},
        "classes": list(record.classes),
        "items_digest": record.items_digest,
        "root_digest": record.root_digest,
        "decoder": record.decoder,
        "bad_images": record.bad_images,
        "distance": record.distance,
        "found_at": dict(record.found_at),
        "split_rule": None if record.split_rule is None else asdict(record.split_rule),
        "replaces": record.replaces,
    }


def _from_json(facts: Mapping[str, Any]) -> SnapshotRecord:
    columns = tuple(
        SnapshotColumn(
            column=Column(**c["column"]),
            row_shape=tuple(c["row_shape"]),
            digests=tuple(c["digests"]),
            refs=tuple(ShardRef.from_json(ref) for ref in c["shards"]),
        )
        for c in facts["columns"]
    )
    return SnapshotRecord(
        recipe_key=facts["recipe_key"],
        columns=columns,
        files={name: (size, digest) for name, (size, digest) in facts["files"].items()},
        classes=tuple(facts["classes"]),
        items_digest=facts["items_digest"],
        root_digest=facts["root_digest"],
        decoder=facts["decoder"],
        bad_images=facts["bad_images"],
        distance=facts["distance"],
        found_at=facts["found_at"],
        split_rule=_split_rule(facts.get("split_rule")),
        replaces=facts.get("replaces", 0),
        number=facts["number"],
    )


def _split_rule(facts: Mapping[str, Any] | None) -> SplitRule | None:
    return None if facts is None else SplitRule(tuple(facts["ratios"]), facts["seed"])
