"""What a run begins from: an assembler for each column, and the shards that go on as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from extract import pixels
from extract.assemble import Assembler, Draft
from extract.known import Known
from extract.plan import Plan
from extract.store.snapshot_records import SnapshotColumn


def assemblers_of(plan: Plan, known: Known, write: Callable[[str, Draft], None]) -> list[Assembler]:
    """Return an assembler for each column of a plan; what must be written goes to `write`."""
    decoder = pixels.decoder_signature()
    return [
        Assembler(
            plan.recipe.key,
            column,
            known.grid(column, shape),
            known.places(column, decoder),
            known.commits,
            write,
        )
        for column, shape in zip(plan.columns, plan.row_shapes, strict=True)
    ]


def take_shards(assemblers: Sequence[Assembler], known: Known) -> int:
    """Take the full shards that begin the newest snapshot, whole; return how many rows."""
    kept = known.previous.columns if known.previous else ()
    if [c.column.canonical for c in kept] != [a.column.canonical for a in assemblers]:
        return 0
    pairs = list(zip(assemblers, kept, strict=True))
    step = max(assembler.grid.shard_rows for assembler in assemblers)  # powers of two
    rows = min(_full_rows(known, *pair) for pair in pairs) // step * step
    for assembler, column in pairs:
        for digest in column.digests[: rows // assembler.grid.shard_rows]:
            assembler.take(known.commits[digest])
    return rows


def _full_rows(known: Known, assembler: Assembler, column: SnapshotColumn) -> int:
    """Return how many rows lie in leading shards that are full and still right."""
    rows = 0
    for digest, ref in zip(column.digests, column.refs, strict=True):
        commit = known.commits.get(digest)
        full = ref.rows == assembler.grid.shard_rows
        if not full or commit is None or not assembler.agrees(commit):
            break
        rows += ref.rows
    return rows
