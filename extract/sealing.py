"""The end of a run: items, splits, probes and digests → a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from extract import probe_files
from extract.assemble import Assembler
from extract.errors import ChangedStoreError
from extract.items import Listing
from extract.known import Known
from extract.lazy_engine import LazyEngine
from extract.outcomes import Outcome, items_of
from extract.pixels import decoder_signature
from extract.plan import Plan
from extract.store import succession
from extract.store.commits import Commit, root_of
from extract.store.files import sha256
from extract.store.item_tables import bad_images_csv, items_digest
from extract.store.opening import Store
from extract.store.snapshot_records import SnapshotColumn, SnapshotRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What a run ended with, all of it committed."""

    store: Store
    plan: Plan
    listing: Listing
    outcomes: Sequence[Outcome]
    """What became of each item of the listing."""
    assemblers: Sequence[Assembler]
    """Each names the shards of its column."""
    engine: LazyEngine


@dataclass(frozen=True, slots=True)
class Sealed:
    """A snapshot, and what its items came to."""

    number: int
    root_digest: str
    rows: int
    bad: int
    reasons: Mapping[str, int]
    needs_heic: bool
    """Whether an image is bad only because the extra `heic` is not installed."""


def seal(end: End, known: Known) -> Sealed:
    """Write a snapshot of what a run ended with, unless the newest one says the same.

    Where another command sealed one meanwhile, what it decided of items is kept.

    Args:
        end: Of the run.
        known: What the store held when it began, and the commits that it added.

    Raises:
        ChangedStoreError: If that one has columns which this run knows nothing of.
    """
    newest = known

    def work() -> Sealed:
        nonlocal newest
        newest = _newest(end, newest)
        return _seal(end, newest)

    return succession.unless_changed(work)


def _newest(end: End, known: Known) -> Known:
    """Return what is known, with the snapshot that is the newest by now."""
    number = max(end.store.snapshots.numbers(), default=0)
    if number == (known.previous.number if known.previous else 0):
        return known
    record = end.store.snapshots.read(number)
    ours = {assembler.column.canonical for assembler in end.assemblers}
    theirs = {column.column.canonical for column in record.columns}
    if not theirs <= ours or record.part != end.listing.part or record.replaces:
        raise ChangedStoreError(number)
    return replace(known, previous=record, items=end.store.snapshots.items(record))


def _seal(end: End, known: Known) -> Sealed:
    columns = [[known.commits[digest] for digest in a.digests] for a in end.assemblers]
    table = items_of(end.outcomes, columns, known, end.listing)
    record = _record(end, known, columns, table)
    end.store.snapshots.check_present(record)  # a gc beside this run may have taken an old shard
    number = _unchanged(end.store, known, record, table) or succession.seal(
        end.store, record, table, after=known.previous.number if known.previous else 0
    )
    found = _bad_counts(table)
    needs_heic = any(
        "headstart[heic]" in reason for reason in table["reason"].unique().to_pylist() if reason
    )
    rows = pc.count_distinct(table["image_key"]).as_py()
    return Sealed(number, record.root_digest, rows, sum(found.values()), found, needs_heic)


def _record(
    end: End, known: Known, columns: Sequence[Sequence[Commit]], table: pa.Table
) -> SnapshotRecord:
    """Return what the snapshot says, and make the probes that the store lacks."""
    kept = tuple(
        SnapshotColumn(
            column=a.column,
            row_shape=a.grid.row_shape,
            digests=tuple(a.digests),
            refs=tuple(commit.ref for commit in commits),
        )
        for a, commits in zip(end.assemblers, columns, strict=True)
    )
    of_items, root = _digests(table, kept, columns, known)
    before = known.previous.files if known.previous else {}
    probes = probe_files.keep(end.store.files, end.listing, end.plan, table, end.engine, before)
    return SnapshotRecord(
        recipe_key=end.plan.recipe.key,
        columns=kept,
        files=_shard_files(columns) | probes,
        classes=tuple(sorted(x for x in table["label"].unique().to_pylist() if x is not None)),
        items_digest=of_items,
        root_digest=root,
        decoder=decoder_signature(),
        bad_images=sha256(bad_images_csv(table)),
        distance=known.previous.distance if known.previous else end.engine.distance(),
        found_at={**end.listing.found_at, **_weights_place(end.plan)},
        split_rule=known.previous.split_rule if known.previous else None,
        part=end.listing.part,
    )


def _digests(
    table: pa.Table,
    kept: tuple[SnapshotColumn, ...],
    columns: Sequence[Sequence[Commit]],
    known: Known,
) -> tuple[str, str]:
    """Return (items digest, root digest): those of before, where they would be of the same."""
    before = known.previous
    if before is not None and before.columns == kept and table.equals(known.items):
        return before.items_digest, before.root_digest
    return items_digest(table), _root(table, kept, columns)


def _weights_place(plan: Plan) -> dict[str, str]:
    path = plan.prepared.weights.get("path")
    return {} if path is None else {"weights": path}


def _unchanged(store: Store, known: Known, record: SnapshotRecord, table: pa.Table) -> int | None:
    """Return the newest snapshot's number if a new one would say nothing new."""
    old = known.previous
    if old is None or known.items is None or not known.items.equals(table):
        return None
    if store.snapshots.lost() is not None:  # a newer one that said the same was set aside
        return None
    same = all(
        getattr(old, name) == getattr(record, name)
        for name in ("columns", "classes", "decoder", "found_at", "part")
    )
    if not same or not set(record.files.items()) <= {(k, tuple(v)) for k, v in old.files.items()}:
        return None
    if any(n.startswith("probes/") for n in old.files.keys() - record.files.keys()):
        return None  # a probe was lost whose picture is gone: nobody brings it back
    return old.number if _csv_is_there(store, old) else None


def _csv_is_there(store: Store, record: SnapshotRecord) -> bool:
    try:
        return sha256(store.files.read("bad_images.csv")) == record.bad_images
    except FileNotFoundError:
        return False


def _bad_counts(table: pa.Table) -> dict[str, int]:
    counts = {c["values"]: c["counts"] for c in table["status"].value_counts().to_pylist()}
    return {name: counts.get(name, 0) for name in ("undecodable", "unreadable")}


def _root(
    table: pa.Table, kept: Sequence[SnapshotColumn], columns: Sequence[Sequence[Commit]]
) -> str:
    """Return the root digest of what the items refer to."""
    used = set(table["image_key"].unique().to_pylist())
    parts = [
        (part.column, commit) for part, group in zip(kept, columns, strict=True) for commit in group
    ]
    return root_of(parts, used)


def _shard_files(columns: Sequence[Sequence[Commit]]) -> dict[str, tuple[int, str]]:
    return {
        commit.ref.file: (commit.ref.size, commit.ref.sha256)
        for commits in columns
        for commit in commits
    }
