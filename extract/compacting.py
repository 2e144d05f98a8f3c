"""gc: remove what no snapshot needs, and with compaction the rows that no item needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from extract.notebook import Shown
from extract.rewriting import places_of, rewrite_column, with_rows
from extract.store import succession
from extract.store.commits import Commits
from extract.store.files import read_errors
from extract.store.gc import OLDER_THAN, collect, find_garbage, parse_age
from extract.store.opening import Store
from extract.store.snapshot_records import follow


@dataclass(slots=True, kw_only=True)
class Collected(Shown):
    """What gc did, or would do."""

    done: bool
    """Whether anything was removed; False for a rehearsal."""
    snapshots: list[int] = field(default_factory=list)
    """Older snapshots that go."""
    files: list[str] = field(default_factory=list)
    """Files that go, those of the snapshots among them."""
    bytes: int = 0
    kept: int = 0
    """Files that nobody needs and that are younger than the age."""
    rows: int = 0
    """Rows of the newest snapshot that no item has; compaction drops them."""
    snapshot: int | None = None
    """The snapshot that compaction sealed."""


def gc(
    path: str | Path, *, compact: bool = False, older_than: str = OLDER_THAN, yes: bool = False
) -> Collected:
    """Remove what no snapshot needs any more.

    A snapshot goes once the next one has been there for the age; commits, shards, probes and
    scratch files go that nobody names and that are older than the age. The newest snapshot stays.

    Args:
        path: The store's folder.
        compact: First write the shards anew that hold rows of images which are no items any more,
            and seal a snapshot. The old shards go with the older snapshots, by age.
        older_than: An age, such as "12h", "7d" or "0".
        yes: Do it; otherwise only say what would be done.

    Raises:
        StoreError: If there is no snapshot, or one cannot be read.
    """
    age = parse_age(older_than)
    store = Store.at(path)
    store.open()  # says it where there is no store
    with read_errors(store.path):
        rows = _unused_rows(store)
        snapshot = compact_rows(store) if compact and yes and rows else None
        garbage = find_garbage(store, age, rehearsal=not yes)
        back = collect(store, garbage) if yes else []
    return Collected(
        done=yes,
        snapshots=garbage.snapshots,
        files=[name for name in garbage.files if name not in back],
        bytes=garbage.bytes,
        kept=garbage.kept,
        rows=rows,
        snapshot=snapshot,
    )


def _unused_rows(store: Store) -> int:
    snapshot = store.open()
    used = {row for row in snapshot.items["row"].to_pylist() if row >= 0}
    return sum(ref.rows for ref in snapshot.record.columns[0].refs) - len(used)


def compact_rows(store: Store) -> int:
    """Seal a snapshot without the rows that no item has; return its number.

    Rows keep their order. Only shards from the first dropped row on are written.
    """
    return succession.unless_changed(lambda: _compact_rows(store))


def _compact_rows(store: Store) -> int:
    snapshot = store.open()
    record, records = snapshot.record, Commits(store.files)
    existing = {digest: records.read(digest) for digest in records.digests()}
    used = {key for key in snapshot.items["image_key"].to_pylist() if key is not None}
    commits = [[existing[d] for d in column.digests] for column in record.columns]
    keys = [row.image_key for commit in commits[0] for row in commit.rows if row.image_key in used]
    columns = [
        rewrite_column(
            store, store.shards, c.column, c.refs[0].grid, keys, places_of(found), existing
        )[0]
        for c, found in zip(record.columns, commits, strict=True)
    ]
    items = with_rows(snapshot.items, keys)
    return succession.seal(store, follow(record, items, columns), items, after=record.number)
