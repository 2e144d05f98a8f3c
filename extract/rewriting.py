"""Known rows → shards in another order or company: copied, never computed.

Compaction, merging and forgetting all say which images a store should have, in which order, and
where their rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from extract import pixels
from extract.assemble import Assembler, Draft, Place, Row
from extract.mixing import joined, of_places
from extract.recipe import Column
from extract.store.acknowledging import acknowledge_copy
from extract.store.commits import Commit, row_digests
from extract.store.opening import Store
from extract.store.shards import FeatureShards, Grid
from extract.store.snapshot_records import SnapshotColumn


def rewrite_column(
    store: Store,
    source: FeatureShards,
    column: Column,
    grid: Grid,
    keys: Sequence[str],
    places: Mapping[str, Place],
    existing: Mapping[str, Commit],
    take: Callable[[Commit], None] = lambda _: None,
) -> tuple[SnapshotColumn, list[Commit]]:
    """Write what is missing of a column that has these images in this order.

    Args:
        store: Where shards are written.
        source: Where `places` are read.
        column: Which column.
        grid: How it is cut.
        keys: Image keys in row order.
        places: Where each one's row is.
        existing: Commits whose shards can be had as they are.
        take: Called with each of these that is used.

    Returns:
        The column, and its commits in row order.
    """
    found: dict[str, Commit] = {}

    def write(digest: str, draft: Draft) -> None:
        found[digest] = _commit(store, source, digest, draft)

    recipe_key = next(iter(places.values())).commit.recipe_key
    same = [digest for digest, commit in existing.items() if _has_bits_of(commit, column, places)]
    assembler = Assembler(recipe_key, column, grid, places, same, write)
    for key in keys:
        assembler.add(Row(places[key].facts), None)
    assembler.flush()
    for digest in assembler.digests:
        if digest not in found:
            take(existing[digest])
            found[digest] = existing[digest]
    commits = [found[digest] for digest in assembler.digests]
    return (
        SnapshotColumn(
            column=column,
            row_shape=grid.row_shape,
            digests=tuple(assembler.digests),
            refs=tuple(commit.ref for commit in commits),
        ),
        commits,
    )


def _has_bits_of(commit: Commit, column: Column, places: Mapping[str, Place]) -> bool:
    """Return whether a shard's rows are those of `places`: of another machine they may not be."""
    if commit.column.canonical != column.canonical:
        return False
    for row, digest in zip(commit.rows, commit.row_digests, strict=True):
        place = places.get(row.image_key)
        if place is None or place.commit.row_digests[place.index] != digest:
            return False
    return True


def _commit(store: Store, source: FeatureShards, digest: str, draft: Draft) -> Commit:
    """Publish a draft all of whose rows are known, in the format of the first one's shard."""
    features = draft.features(source)
    origins = [place.commit for place in draft.known.values()]
    keys = {row.image_key for row in draft.rows}
    reads = {read for origin in origins for read in origin.reads if read.image_key in keys}
    commit = Commit(
        recipe_key=origins[0].recipe_key,
        column=draft.column,
        ref=store.shards.write(digest, features, draft.grid, origins[0].ref.format),
        rows=draft.rows,
        row_digests=tuple(row_digests(features)),
        reads=tuple(sorted(reads, key=lambda read: read.path)),
        decoder=pixels.decoder_signature(),
        signature=joined(of_places(draft.known.values())),
        versions=origins[0].versions,
    )
    return acknowledge_copy(store, commit)


def places_of(commits: Sequence[Commit]) -> dict[str, Place]:
    """Map image keys to rows."""
    return {
        row.image_key: Place(commit, index)
        for commit in commits
        for index, row in enumerate(commit.rows)
    }


def with_rows(items: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return items whose `row` counts in `keys`."""
    row = {key: index for index, key in enumerate(keys)}
    rows = [row.get(key, -1) for key in items["image_key"].to_pylist()]
    at = items.schema.get_field_index("row")
    return items.set_column(at, items.schema.field("row"), pa.array(rows, pa.int64()))
