"""What a person decides about items: labels, groups and splits; nothing is extracted.

A decision is written into a new snapshot, and every later run keeps it: for single items in their
column `decided`, for a whole cut as the snapshot's split rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from extract import splits
from extract.errors import InputError
from extract.notebook import Shown
from extract.plain_values import whole_number
from extract.splits import SPLITS, Candidate, parse_ratios, split_of_folder
from extract.store import succession
from extract.store.files import read_errors
from extract.store.item_tables import ITEM_SCHEMA
from extract.store.opening import Store
from extract.store.reader import Snapshot
from extract.store.snapshot_records import SnapshotRecord, SplitRule, follow
from extract.tables import check_columns, check_paths, read_table, texts, tidy

FIELDS = ("label", "split", "group")

Rows = list[dict[str, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabeled(Shown):
    """What changed."""

    snapshot: int
    items: int
    labels: int
    """Items whose label changed; likewise the others."""
    splits: int
    groups: int
    moved: int
    """Of the items whose split changed, those that followed their group or a copy."""


def relabel(path: str | Path, table: str | Path) -> Relabeled:
    """Give items other labels, splits or groups, in a new snapshot.

    Args:
        path: The store's folder.
        table: A CSV or Parquet file with `path` and at least one of `label`, `split` and
            `group`. Items that it does not name, and empty cells, stay as they are.

    Returns:
        What changed. An image's copies, and a whole group, get one split: the one that the table
        gives any of them, else the one that most of a new group's items have.

    Raises:
        InputError: If the table cannot be read, names an item that is not there or one twice, or
            gives two splits to what must stay together.
        StoreError: If there is no store.
    """
    return succession.unless_changed(lambda: _relabel(path, table))


def _relabel(path: str | Path, table: str | Path) -> Relabeled:
    store, snapshot = _open(path)
    given = _read(table, snapshot)
    before: Rows = snapshot.items.to_pylist()
    after = [{**row, **given.get(str(row["path"]), {})} for row in before]
    moved = _keep_together(after, before, given)
    for row in after:
        fields = {*(row["decided"] or "").split(), *given.get(str(row["path"]), {})}
        fields |= {"split"} if row["path"] in moved else set()
        row["decided"] = " ".join(name for name in FIELDS if name in fields) or None
    number = _seal(store, snapshot, snapshot.record, after)
    changed = {
        name: sum(a[name] != b[name] for a, b in zip(after, before, strict=True)) for name in FIELDS
    }
    return Relabeled(
        snapshot=number,
        items=len(given),
        labels=changed["label"],
        splits=changed["split"],
        groups=changed["group"],
        moved=len(moved),
    )


def _open(path: str | Path) -> tuple[Store, Snapshot]:
    store = Store.at(path)
    snapshot = store.open()
    if snapshot.record.part is not None:
        raise InputError(f"{snapshot.part_of_what}, then decide on the merged store")
    return store, snapshot


def _read(table: str | Path, snapshot: Snapshot) -> dict[str, dict[str, str | None]]:
    """Return path → the fields that a table gives."""
    content = read_table(table)
    check_columns(table, content, "path")
    fields = [name for name in FIELDS if name in content.column_names]
    if not fields:
        names = ", ".join(content.column_names)
        raise InputError(f"{table} has none of label, split and group. Columns found: {names}")
    known = set(snapshot.items["path"].to_pylist())
    # As `run` reads paths of a table, unless an archive has that very name.
    paths = [p if p is None or p in known else tidy(p) for p in texts(content, "path")]
    check_paths(table, paths)
    if strangers := [name for name in paths if name not in known]:
        raise InputError(
            f"{table} names {len(strangers)} items that the store does not have, such as "
            f"{strangers[0]!r}; it has paths such as {min(known)!r}"
        )
    given: dict[str, dict[str, str | None]] = {str(name): {} for name in paths}
    for field in fields:
        check_columns(table, content, field)
        for name, cell in zip(given, texts(content, field), strict=True):
            if cell:
                given[name][field] = _split(table, cell) if field == "split" else cell
    return given


def _split(table: str | Path, cell: str) -> str:
    split = split_of_folder(cell)
    if split is None:
        raise InputError(f"{table} has a split {cell!r}, expected one of {', '.join(SPLITS)}")
    return split


def _keep_together(after: Rows, before: Rows, given: dict[str, dict[str, str | None]]) -> set[str]:
    """Give what belongs together one split; return the paths that followed others.

    Only where the table says something: folders that part copies of an image are left alone.
    """
    together: dict[str, list[int]] = {}
    for index, unit in enumerate(_units(after)):
        together.setdefault(unit, []).append(index)
    moved: set[str] = set()
    for members in together.values():
        said = {str(after[i]["path"]): given.get(str(after[i]["path"]), {}) for i in members}
        wanted = {fields["split"]: name for name, fields in said.items() if "split" in fields}
        if len(wanted) > 1:
            a, b = list(wanted.items())[:2]
            raise InputError(
                f"{a[1]} and {b[1]} belong together (copies, or one group), and the table puts "
                f"one into {a[0]} and the other into {b[0]}. Give both the same split"
            )
        joined = any(after[i]["group"] != before[i]["group"] for i in members)
        if wanted:
            split = next(iter(wanted))
        elif joined:
            counts = Counter(after[i]["split"] for i in members)
            split = max(SPLITS, key=lambda name: counts[name])
        else:
            continue
        for i in members:
            if after[i]["split"] != split:
                after[i]["split"] = split
                moved.add(str(after[i]["path"]))
    return moved


def _units(rows: Rows) -> list[str]:
    names = [str(row["image_key"] or row["path"]) for row in rows]
    return splits.units_of(names, [row["group"] for row in rows])


def split(path: str | Path, ratios: str = "0.7/0.15/0.15", seed: int = 0) -> dict[str, int]:
    """Cut all items into train, validation and test anew, in a new snapshot.

    Folders and earlier decisions about splits no longer count; later runs keep this cut, and cut
    new images by the same ratios and seed.

    Args:
        path: The store's folder.
        ratios: Shares of train, validation and test.
        seed: Another seed gives another cut.

    Returns:
        "snapshot" and the number of items in each split.

    Raises:
        InputError: If the ratios are not three shares that sum to 1, or the seed is not whole.
        StoreError: If there is no store.
    """
    shares, number = parse_ratios(ratios), whole_number("seed", seed)
    return succession.unless_changed(lambda: _split_anew(path, shares, number))


def _split_anew(path: str | Path, shares: tuple[float, float, float], seed: int) -> dict[str, int]:
    store, snapshot = _open(path)
    rows: Rows = snapshot.items.to_pylist()
    candidates = [
        Candidate(unit, row["label"], None) for unit, row in zip(_units(rows), rows, strict=True)
    ]
    chosen = splits.assign(candidates, seed=seed, ratios=shares)
    for row, name in zip(rows, chosen, strict=True):
        row["split"] = name
        fields = [field for field in (row["decided"] or "").split() if field != "split"]
        row["decided"] = " ".join(fields) or None
    record = replace(snapshot.record, split_rule=SplitRule(shares, seed))
    number = _seal(store, snapshot, record, rows)
    return {"snapshot": number} | {name: chosen.count(name) for name in SPLITS}


def _seal(store: Store, snapshot: Snapshot, record: SnapshotRecord, rows: Sequence[object]) -> int:
    """Seal a snapshot with other items, unless it would say the same; return its number."""
    fields = [*ITEM_SCHEMA, *(f for f in snapshot.items.schema if f.name not in ITEM_SCHEMA.names)]
    items = pa.Table.from_pylist(list(rows), schema=pa.schema(fields))
    if record == snapshot.record and items.equals(snapshot.items):
        return snapshot.number
    with read_errors(store.path):
        return succession.seal(store, follow(record, items), items, after=snapshot.number)
