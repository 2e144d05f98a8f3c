"""What a snapshot says: its columns, the files that it needs, and its digests.

snapshots/000003.json            this record
snapshots/000003.items.parquet   its items (`extract.store.item_tables`)
snapshots/000003.9f86d081.items.parquet   where somebody else's have the name above
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from extract.parts import Part
from extract.recipe import Column
from extract.store.files import sha256
from extract.store.item_tables import bad_images_csv, items_digest
from extract.store.records import ITEMS_BESIDE, seal, unseal
from extract.store.shards import ShardRef

TABLE_NAME = r"\d{6,}\.([0-9a-f]{8}\.)?items\.parquet"


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
    part: Part | None = None
    """Which share of a listing its items are; their splits are open then."""
    number: int = 0

    @property
    def items_file(self) -> str:
        """The name of its items."""
        beside = rf"snapshots/{self.number:06d}\.[0-9a-f]{{8}}\.items\.parquet"
        found = (name for name in self.files if re.fullmatch(beside, name))
        return next(found, items_name(self.number))


def record_name(number: int) -> str:
    """Return the file name of a snapshot's record."""
    return f"snapshots/{number:06d}.json"


def items_name(number: int) -> str:
    """Return the file name of a snapshot's items, unless others had it: see `items_file`."""
    return f"snapshots/{number:06d}.items.parquet"


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


def encode(record: SnapshotRecord) -> bytes:
    """Return the bytes of a record."""
    return seal("snapshot", _to_json(record))


def decode(name: str, data: bytes) -> SnapshotRecord:
    """Read what `encode` wrote; `name` is that of the file, for messages.

    Raises:
        DamagedStoreError: If the bytes are not what was sealed.
        StoreFormatError: If the record needs a newer headstart.
    """
    return _from_json(unseal("snapshot", name, data))


def _to_json(record: SnapshotRecord) -> dict[str, Any]:
    return {
        "number": record.number,
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
        "files": {name: list(facts) for name, facts in record.files.items()},
        "classes": list(record.classes),
        "items_digest": record.items_digest,
        "root_digest": record.root_digest,
        "decoder": record.decoder,
        "bad_images": record.bad_images,
        "distance": record.distance,
        "found_at": dict(record.found_at),
        "split_rule": None if record.split_rule is None else asdict(record.split_rule),
        "replaces": record.replaces,
        **({} if record.part is None else {"part": record.part.to_json()}),
        **({} if record.items_file == items_name(record.number) else {"flags": [ITEMS_BESIDE]}),
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
        part=Part.from_json(facts.get("part")),
        number=facts["number"],
    )


def _split_rule(facts: Mapping[str, Any] | None) -> SplitRule | None:
    return None if facts is None else SplitRule(tuple(facts["ratios"]), facts["seed"])
