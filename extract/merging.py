"""Several stores of one recipe → one: every image once, shards by link where their rows fit.

A machine that had seen all the images would have ended with the same root digest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from extract.assemble import Place
from extract.errors import InputError, StaleStoreError
from extract.known import Known, read_known
from extract.notebook import Shown
from extract.recipe import Column, first_difference
from extract.rewriting import places_of, rewrite_column
from extract.splits import units_of
from extract.store import header
from extract.store.commits import (
    HAS_FEATURES,
    Commit,
    Commits,
    RowFacts,
    root_digest,
    root_line,
)
from extract.store.files import Files, LocalFiles, disk_errors, publish, read_errors
from extract.store.reader import Snapshot, Store
from extract.store.shards import FeatureShards, Grid, ShardRef
from extract.store.snapshots import follow, items_digest

Row = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Merged(Shown):
    """What a merge came to."""

    store: str
    snapshot: int
    items: int
    rows: int
    doubles: int
    """Images that more than one store had."""
    linked: int
    """Shards that were taken as they are; others were written from known rows."""
    root_digest: str


@dataclass(frozen=True, slots=True)
class Source:
    """One of the stores that are merged."""

    store: Store
    snapshot: Snapshot
    known: Known


class ManyShards(FeatureShards):
    """The shards of several stores, each read where it is."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._homes = {
            (commit.ref.file, commit.ref.sha256): source.store
            for source in reversed(sources)
            for commit in source.known.commits.values()
        }

    def home(self, ref: ShardRef) -> Store:
        """Return the first store that has a shard."""
        return self._homes[ref.file, ref.sha256]

    def write(self, digest: str, features: np.ndarray, grid: Grid) -> ShardRef:
        raise NotImplementedError("merged stores are only read")

    def read(self, ref: ShardRef, start: int, stop: int, out: np.ndarray | None = None) -> Any:
        return self.home(ref).shards.read(ref, start, stop, out)


def merge(paths: Sequence[str | Path], out: str | Path) -> Merged:
    """Make one store of several; these stay as they are.

    Args:
        paths: Folders of stores with one recipe and the same columns.
        out: The new store's folder.

    Raises:
        InputError: If columns differ, a path means two images or two labels, or something else
            is at `out`.
        StaleStoreError: If recipes differ.
    """
    inside = {Path(path).resolve() for path in paths}
    if len(inside) < 2 or len(inside) < len(paths):
        raise InputError("merge takes two stores or more, each once")
    if Path(out).resolve() in inside:
        raise InputError(f"{out} is one of the merged stores. Give --store a new folder")
    if Path(out).exists() and {p.name for p in Path(out).iterdir()} - {
        header.NAME,
        "bad_images.csv",
        *header.FOLDERS,
    }:
        raise InputError(f"{out} is something else than a store. Give --store a new folder")
    return merge_stores([Store.at(path) for path in paths], Store.at(out))


def merge_stores(stores: Sequence[Store], out: Store) -> Merged:
    """Do what `merge` says, on any stores."""
    sources = [_open(store) for store in stores]
    _check_alike(sources)
    items = _items(sources)
    keys, doubles = _keys(sources)
    record = sources[0].snapshot.record
    places = {c.column.canonical: _places(sources, c.column.canonical) for c in record.columns}
    root, facts = _outcome(keys, places, {c.column.canonical: c.column for c in record.columns})
    table = _table(items, sources, keys, facts)
    done = Merged(
        store=out.path,
        snapshot=_sealed(out, root, items_digest(table)) or 0,
        items=len(items),
        rows=len(keys),
        doubles=doubles,
        linked=0,
        root_digest=root,
    )
    if done.snapshot:
        return done
    _create(out, sources[0])
    taker = _Taker(ManyShards(sources), out)
    existing = _commits(sources)
    columns = [
        rewrite_column(
            out,
            taker.shards,
            kept.column,
            kept.refs[0].grid,
            keys,
            places[kept.column.canonical],
            existing,
            taker,
        )[0]
        for kept in record.columns
    ]
    _keep_probes(sources[0], out)
    rules = {source.snapshot.record.split_rule for source in sources}
    merged = replace(
        follow(record, table, columns),
        root_digest=root,
        split_rule=record.split_rule if len(rules) == 1 else None,
    )
    done.snapshot = out.snapshots.seal(merged, table)
    done.linked = taker.count
    return done


def _create(out: Store, source: Source) -> None:
    """Make the new store, or find that an earlier merge did."""
    head = header.read(source.store.files)
    assert head is not None
    there = header.read(out.files)
    if there is not None and (difference := first_difference(there.recipe, head.recipe)):
        raise StaleStoreError(out.path, *difference)
    header.create(out.files, there or head)


def _outcome(
    keys: Sequence[str],
    places: Mapping[str, Mapping[str, Place]],
    columns: Mapping[str, Column],
) -> tuple[str, dict[str, RowFacts]]:
    """Return the root digest, and how each image went: bad where it is in any column."""
    lines: list[str] = []
    facts: dict[str, RowFacts] = {}
    for canonical, found in places.items():
        for key in keys:
            place = found[key]
            digest = place.commit.row_digests[place.index]
            lines.append(root_line(place.facts, canonical, digest))
            if key not in facts or place.facts.status not in HAS_FEATURES:
                facts[key] = place.facts
    return root_digest(lines), facts


def _open(store: Store) -> Source:
    snapshot = store.open()
    with read_errors(store.path):
        return Source(store, snapshot, read_known(store))


def _check_alike(sources: Sequence[Source]) -> None:
    first = sources[0].snapshot
    names = {column.canonical: column.title for column in first.columns}
    for source in sources[1:]:
        other = source.snapshot
        if difference := first_difference(first.recipe, other.recipe):
            raise StaleStoreError(first.path, *difference)
        if {column.canonical for column in other.columns} != names.keys():
            raise InputError(
                f"{first.path} has columns {', '.join(names.values())} and {other.path} has "
                f"{', '.join(c.title for c in other.columns)}. Extract the same --layer, --views "
                f"and --augment for both"
            )


def _items(sources: Sequence[Source]) -> list[Row]:
    """Return the items of all stores, sorted by path, each path once."""
    found: dict[str, tuple[Row, str]] = {}
    for source in sources:
        for row in source.snapshot.items.to_pylist():
            before, where = found.setdefault(row["path"], (row, source.store.path))
            for name in ("image_key", "label", "group"):
                if before[name] != row[name]:
                    raise InputError(
                        f"{row['path']} has {name} {before[name]} in {where} and {row[name]} in "
                        f"{source.store.path}. Rename one, or relabel it"
                    )
    return [found[path][0] for path in sorted(found)]


def _keys(sources: Sequence[Source]) -> tuple[list[str], int]:
    """Return the keys of all images that are items, in first-seen order, and the doubles."""
    counts: dict[str, int] = {}
    for source in sources:
        used = {key for key in source.snapshot.items["image_key"].to_pylist() if key is not None}
        for key in source.known.order:
            if key in used:
                counts[key] = counts.get(key, 0) + 1
    return list(counts), sum(count > 1 for count in counts.values())


def _commits(sources: Sequence[Source]) -> dict[str, Commit]:
    """Return every commit by its digest; the first store's where several have it."""
    found: dict[str, Commit] = {}
    for source in reversed(sources):
        found |= source.known.commits
    return found


def _places(sources: Sequence[Source], canonical: str) -> dict[str, Place]:
    """Map image keys to rows: those with features first, then those of the first store."""
    found: dict[str, Place] = {}
    for source in sources:
        kept = next(c for c in source.snapshot.record.columns if c.column.canonical == canonical)
        commits = [source.known.commits[digest] for digest in kept.digests]
        for key, place in places_of(commits).items():
            better = place.facts.status in HAS_FEATURES
            if key not in found or (better and found[key].facts.status not in HAS_FEATURES):
                found[key] = place
    return found


class _Taker:
    """Brings shards of other stores into a new one as they are: shard first, then its record."""

    def __init__(self, shards: ManyShards, out: Store) -> None:
        self.shards = shards
        self.count = 0
        self._out = out

    def __call__(self, commit: Commit) -> None:
        home = self.shards.home(commit.ref)
        home.shards.parse(commit.ref)  # what is taken is what was sealed
        with disk_errors(commit.ref.file):
            _link(home.files, self._out.files, commit.ref.file)
        self._out.shards.parse(commit.ref)  # exists does not mean correct
        Commits(self._out.files).publish(commit)
        self.count += 1


def _link(source: Files, target: Files, name: str) -> None:
    """Give a file of one store to another: a hard link where the disk has them, else a copy."""
    if isinstance(source, LocalFiles) and isinstance(target, LocalFiles):
        try:
            os.link(source.root / name, target.root / name)
        except FileExistsError:
            pass
        except OSError:
            publish(target, name, source.read(name))
        target.fsync(name.rpartition("/")[0])
    else:
        publish(target, name, source.read(name))


def _keep_probes(source: Source, out: Store) -> None:
    """Take the first store's probes: their features belong to those pictures."""
    with disk_errors("the probes"):
        for name in source.snapshot.record.files:
            if name.startswith("probes/"):
                publish(out.files, name, source.store.files.read(name))


def _table(
    items: Sequence[Row],
    sources: Sequence[Source],
    keys: Sequence[str],
    facts: Mapping[str, RowFacts],
) -> pa.Table:
    """Return the merged items, with rows, statuses and one split for what belongs together."""
    row_of = {key: index for index, key in enumerate(keys)}
    names = [row["image_key"] or row["path"] for row in items]
    splits: dict[str, str] = {}
    units = units_of(names, [row["group"] for row in items])
    unit_of = {row["path"]: unit for row, unit in zip(items, units, strict=True)}
    for source in sources:  # the first store decides
        for path, split in zip(
            source.snapshot.items["path"].to_pylist(),
            source.snapshot.items["split"].to_pylist(),
            strict=True,
        ):
            splits.setdefault(unit_of[path], split)
    rows = []
    for row, unit in zip(items, units, strict=True):
        found = facts.get(row["image_key"])
        told = (
            {}
            if found is None
            else {
                "status": found.status,
                "stage": found.stage or None,
                "reason": found.reason or None,
                "row": row_of[found.image_key],
            }
        )
        rows.append(row | told | {"split": splits[unit]})
    schemas = [source.snapshot.items.schema for source in sources]
    return pa.Table.from_pylist(rows, schema=pa.unify_schemas(schemas))


def _sealed(out: Store, root: str, items: str) -> int | None:
    """Return the newest snapshot of an earlier merge of the same, or None where there is none.

    Raises:
        InputError: If there is a snapshot that says something else.
    """
    numbers = out.snapshots.numbers()
    if not numbers:
        return None
    record = out.snapshots.read(numbers[-1])
    if (record.root_digest, record.items_digest) != (root, items):
        raise InputError(f"{out.path} holds other features already. Give --store a new folder")
    return record.number
