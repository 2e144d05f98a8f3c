"""The end of a run: items, splits, probes and digests → a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from extract import probe_files, splits
from extract.assemble import Assembler
from extract.errors import ImageError
from extract.items import Item, Listing
from extract.known import Known
from extract.lazy_engine import LazyEngine
from extract.pixels import decoder_signature
from extract.plan import Plan
from extract.store.commits import HAS_FEATURES, Commit, FileRead, RowFacts, root_of
from extract.store.files import sha256
from extract.store.reader import Store
from extract.store.snapshots import (
    ITEM_SCHEMA,
    ITEMS_AT_ONCE,
    SnapshotColumn,
    SnapshotRecord,
    bad_images_csv,
    items_digest,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one item."""

    item: Item
    read: FileRead | None = None
    """None where it could not be read."""
    trouble: ImageError | None = None
    """Why it could not be read."""


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


def seal(
    store: Store,
    plan: Plan,
    known: Known,
    listing: Listing,
    outcomes: Sequence[Outcome],
    assemblers: Sequence[Assembler],
    engine: LazyEngine,
) -> Sealed:
    """Write a snapshot of what the run ended with, unless the newest one says the same."""
    columns = [[known.commits[digest] for digest in a.digests] for a in assemblers]
    table = _with_further(_items(outcomes, _facts(columns), known), listing)
    found = _bad_counts(table)
    kept = tuple(
        SnapshotColumn(
            column=a.column,
            row_shape=a.grid.row_shape,
            digests=tuple(a.digests),
            refs=tuple(commit.ref for commit in commits),
        )
        for a, commits in zip(assemblers, columns, strict=True)
    )
    digests = _digests(table, kept, columns, known)
    before = known.previous.files if known.previous else {}
    probes = probe_files.keep(store.files, listing, plan, table, engine, before)
    record = SnapshotRecord(
        recipe_key=plan.recipe.key,
        columns=kept,
        files=_shard_files(columns) | probes,
        classes=tuple(sorted(x for x in table["label"].unique().to_pylist() if x is not None)),
        items_digest=digests[0],
        root_digest=digests[1],
        decoder=decoder_signature(),
        bad_images=sha256(bad_images_csv(table)),
        distance=known.previous.distance if known.previous else engine.distance(),
        found_at={**listing.found_at, **_weights_place(plan)},
        split_rule=known.previous.split_rule if known.previous else None,
    )
    store.snapshots.check_present(record)  # a gc beside this run may have taken an old shard
    number = _unchanged(store, known, record, table) or store.snapshots.seal(record, table)
    needs_heic = any(
        "headstart[heic]" in reason for reason in table["reason"].unique().to_pylist() if reason
    )
    rows = pc.count_distinct(table["image_key"]).as_py()
    return Sealed(number, digests[1], rows, sum(found.values()), found, needs_heic)


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
        for name in ("columns", "classes", "decoder", "found_at")
    )
    if not same or not set(record.files.items()) <= {(k, tuple(v)) for k, v in old.files.items()}:
        return None
    return old.number if _csv_is_there(store, old) else None


def _csv_is_there(store: Store, record: SnapshotRecord) -> bool:
    try:
        return sha256(store.files.read("bad_images.csv")) == record.bad_images
    except FileNotFoundError:
        return False


def _facts(columns: Sequence[Sequence[Commit]]) -> dict[str, tuple[int, RowFacts]]:
    """Map image keys to (row, facts); an image without features in any column is bad."""
    facts: dict[str, tuple[int, RowFacts]] = {}
    for commits in columns:
        rows = (row for commit in commits for row in commit.rows)
        for index, row in enumerate(rows):
            if row.image_key not in facts or row.status not in HAS_FEATURES:
                facts[row.image_key] = (index, row)
    return facts


def _items(
    outcomes: Sequence[Outcome], facts: Mapping[str, tuple[int, RowFacts]], known: Known
) -> pa.Table:
    decisions = _decisions(known)
    outcomes = [_as_decided(o, decisions.get(o.item.path)) for o in outcomes]
    split = _splits(outcomes, decisions, known)
    pieces: dict[str, list[pa.Array]] = {name: [] for name in ITEM_SCHEMA.names}
    for start in range(0, len(outcomes), ITEMS_AT_ONCE):
        chosen = slice(start, start + ITEMS_AT_ONCE)
        rows = [_item_row(o, facts) for o in outcomes[chosen]]
        for row, name in zip(rows, split[chosen], strict=True):
            row["split"] = name
            row["decided"] = decisions.get(str(row["path"]), {}).get("decided")
        batch = pa.RecordBatch.from_pylist(rows, schema=ITEM_SCHEMA)
        for name in pieces:
            pieces[name].append(batch[name])
    # Column by column, so that no more than one of them is in memory twice.
    arrays = [pa.concat_arrays(pieces.pop(name)) for name in ITEM_SCHEMA.names]
    return pa.table(arrays, schema=ITEM_SCHEMA)


def _with_further(table: pa.Table, listing: Listing) -> pa.Table:
    """Put the user's further columns beside ours."""
    further = listing.further
    if further is None:
        return table
    return pa.table(
        [*table.columns, *further.combine_chunks().columns],
        schema=pa.schema([*table.schema, *further.schema.remove_metadata()]),
    )


def _decisions(known: Known) -> dict[str, dict[str, str]]:
    """Map paths to what a person decided of these items: `relabel` did it, and runs keep it."""
    if known.items is None:
        return {}
    decided = known.items.filter(pc.is_valid(known.items["decided"]))
    names = ["path", "label", "split", "group", "decided"]
    return {row["path"]: row for row in decided.select(names).to_pylist()}


def _as_decided(outcome: Outcome, decision: Mapping[str, str] | None) -> Outcome:
    """Put the label and group that a person chose in the place of the folder's."""
    if decision is None:
        return outcome
    fields = [name for name in ("label", "group") if name in decision["decided"].split()]
    chosen: dict[str, Any] = {name: decision[name] for name in fields}
    return replace(outcome, item=replace(outcome.item, **chosen))


def _splits(
    outcomes: Sequence[Outcome], decisions: Mapping[str, Mapping[str, str]], known: Known
) -> list[str]:
    names = [o.read.image_key if o.read else o.item.path for o in outcomes]
    units = splits.units_of(names, [o.item.group for o in outcomes])
    before = _kept_splits(known)
    kept: dict[str, str] = {}
    for unit, name in zip(units, names, strict=True):
        if name in before:
            kept.setdefault(unit, before[name])
    candidates = [
        splits.Candidate(unit, o.item.label, o.item.split, _pinned(decisions.get(o.item.path)))
        for unit, o in zip(units, outcomes, strict=True)
    ]
    rule = known.previous.split_rule if known.previous else None
    if rule is None:
        return splits.assign(candidates, kept)
    return splits.assign(candidates, kept, rule.seed, rule.ratios)


def _pinned(decision: Mapping[str, str] | None) -> str | None:
    return decision["split"] if decision and "split" in decision["decided"].split() else None


def _kept_splits(known: Known) -> dict[str, str]:
    """Map image keys, or paths where there are none, to the splits of the newest snapshot."""
    if known.items is None:
        return {}
    kept: dict[str, str] = {}
    own = {split: split for split in splits.SPLITS}  # one text for all, not one each
    for batch in known.items.select(["image_key", "path", "split"]).to_batches(ITEMS_AT_ONCE):
        for key, path, split in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            kept[key or path] = own.get(split, split)
    return kept


def _item_row(outcome: Outcome, facts: Mapping[str, tuple[int, RowFacts]]) -> dict[str, object]:
    item, read = outcome.item, outcome.read
    if read is None or facts[read.image_key][1].status == "absent":
        trouble = outcome.trouble or ImageError("read", "changed while it was read")
        key, size, mtime_ns, index = None, item.size, item.mtime_ns, -1
        status, stage, reason = "unreadable", trouble.stage, trouble.reason
    else:
        _, size, mtime_ns, key = read
        index, (_, status, stage, reason) = facts[key]
    return {
        "path": item.path,
        "label": item.label,
        "group": item.group,
        "image_key": key,
        "size": size,
        "mtime_ns": mtime_ns,
        "status": status,
        "stage": stage or None,
        "reason": reason or None,
        "row": index,
    }


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
