"""Several stores of one recipe → one: every image once, shards by link where their rows fit.

A machine that had seen all the images would have ended with the same root digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from extract import merged_items, merged_splits, mixing
from extract.assemble import Place
from extract.errors import ChangedStoreError, InputError, StaleStoreError
from extract.known import read_known
from extract.merged_shards import ManyShards, Source, Taker
from extract.notebook import Shown
from extract.parts import parts_in_order
from extract.places import resolved
from extract.recipe import Column, first_difference
from extract.rewriting import places_of, rewrite_column
from extract.store import header, succession
from extract.store.commits import (
    HAS_FEATURES,
    Commit,
    RowFacts,
    root_digest,
    root_line,
)
from extract.store.files import disk_errors, publish, read_errors
from extract.store.item_tables import items_digest
from extract.store.opening import Store
from extract.store.snapshot_records import follow


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
    signatures: list[dict[str, str]]
    """Numeric signatures of the rows, each once: more than one where they were to be mixed."""


def merge(paths: Sequence[str | Path], out: str | Path, *, mix: bool = False) -> Merged:
    """Make one store of several; these stay as they are.

    Args:
        paths: Folders of stores with one recipe and the same columns.
        out: The new store's folder.
        mix: Whether to join also what other engines or processors made, whose features differ in
            their last bits; the root digest is then that of no one machine.

    Raises:
        BackboneError: If numeric signatures differ, and `mix` does not ask for it.
        InputError: If recipes or columns differ, a path means two images or two labels, or
            something else is at `out`.
        StaleStoreError: If a store of another recipe is at `out`.
    """
    inside = {resolved(path) for path in paths}
    if len(inside) < 2 or len(inside) < len(paths):
        raise InputError("merge takes two stores or more, each once")
    if resolved(out) in inside:
        raise InputError(f"{out} is one of the merged stores. Give --store a new folder")
    target = Store.at(out)
    with read_errors(target.path):
        if header.is_foreign(target.files):
            raise InputError(f"{out} is something else than a store. Give --store a new folder")
        return merge_stores([Store.at(path) for path in paths], target, mix=mix)


def merge_stores(stores: Sequence[Store], out: Store, *, mix: bool = False) -> Merged:
    """Do what `merge` says, on any stores."""
    sources = [_open(store) for store in stores]
    _check_alike(sources)
    signatures = _signatures(sources)
    if not mix:
        mixing.check_one(signatures)
    order = parts_in_order([(s.store.path, s.snapshot.record.part) for s in sources])
    are_parts = order is not None
    sources = sources if order is None else [sources[at] for at in order]
    snapshots = [source.snapshot for source in sources]
    items = merged_items.items_of(snapshots)
    keys, doubles = _keys(sources)
    record = sources[0].snapshot.record
    places = {c.column.canonical: _places(sources, c.column.canonical) for c in record.columns}
    root, facts = _outcome(keys, places, {c.column.canonical: c.column for c in record.columns})
    if are_parts and not any(found.status in HAS_FEATURES for found in facts.values()):
        raise InputError(f"None of the {len(items)} files of these parts is a good image")
    tables = [snapshot.items for snapshot in snapshots]
    split = merged_splits.cut(items) if are_parts else merged_splits.as_cut(items, tables)
    table = merged_items.table_of(items, snapshots, keys, facts, split)
    done = Merged(
        store=out.path,
        snapshot=_sealed(out, root, items_digest(table)) or 0,
        items=len(items),
        rows=len(keys),
        doubles=doubles,
        linked=0,
        root_digest=root,
        signatures=[dict(found) for found in _once(found for _, found in signatures)],
    )
    if done.snapshot:
        return done
    _create(out, sources[0])
    taker = Taker(ManyShards(sources), out)
    existing = _commits(sources)
    columns = [
        rewrite_column(
            out,
            taker.shards,
            kept.column,
            next(iter(places[kept.column.canonical].values())).commit.ref.grid,
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
        part=None,
    )
    try:
        done.snapshot = succession.seal(out, merged, table, after=0)
    except ChangedStoreError:  # a merge of the same beside us was first
        done.snapshot = _sealed(out, root, items_digest(table)) or 0
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
            name, ours, theirs = difference
            raise InputError(
                f"{first.path} was made with {name}={ours!r} and {other.path} with {theirs!r}: "
                f"stores of two recipes do not become one. Extract one of them again as the other"
            )
        if {column.canonical for column in other.columns} != names.keys():
            raise InputError(
                f"{first.path} has columns {', '.join(names.values())} and {other.path} has "
                f"{', '.join(c.title for c in other.columns)}. Extract the same --layer, --views "
                f"and --augment for both"
            )


def _signatures(sources: Sequence[Source]) -> list[tuple[str, mixing.Signature]]:
    """Return (store, numeric signature) of all rows, each of a store once."""
    found: list[tuple[str, mixing.Signature]] = []
    for source in sources:
        digests = [d for column in source.snapshot.record.columns for d in column.digests]
        own = _once(source.known.commits[digest].signature for digest in digests)
        found += [(source.store.path, signature) for signature in own if signature]
    return found


def _once(signatures: Iterable[mixing.Signature]) -> list[mixing.Signature]:
    found: list[mixing.Signature] = []
    for signature in signatures:
        if signature not in found:
            found.append(signature)
    return found


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


def _keep_probes(source: Source, out: Store) -> None:
    """Take the first store's probes: their features belong to those pictures."""
    with disk_errors("the probes"):
        for name in source.snapshot.record.files:
            if name.startswith("probes/"):
                publish(out.files, name, source.store.files.read(name))


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
    succession.renew_bad_images(out)
    return record.number
