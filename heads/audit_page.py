"""An audit as a page with pictures, and its table beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from extract.places import beside
from extract.splits import SPLITS
from extract.store.reader import Snapshot
from heads.album import Album
from heads.audit_table import csv_bytes, is_table
from heads.auditing import KINDS, SMALL, Audit, audit
from heads.duplicates import SIMILARITY
from heads.errors import HeadError
from heads.evaluation_tables import Table
from heads.folder import publish_file
from heads.opening import opened_snapshot
from heads.page import beginning, check_place, write_page

SHOWN = 48
"""Cards of a gallery; the table has all."""
CARD = 112
"""Side of a picture, in pixels."""
NO_DISTANCE = 1e-3
"""Standard deviations below which a distance is none: most images may be copies of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """What an audit came to; `--json` prints its fields."""

    out: str
    table: str
    bytes: int
    images: int
    counts: Mapping[str, int]
    """Kind of finding → how many."""
    missing: int
    """Pictures that are shown as placeholders, because they are not at hand any more."""
    notes: tuple[str, ...]
    seconds: float


def write_audit(
    store: str | Path,
    out: str | Path | None = None,
    *,
    columns: str | Sequence[str] = (),
    label: str | None = None,
    similarity: float = SIMILARITY,
    images: str | Path | None = None,
    seed: int = 0,
) -> AuditPage:
    """Audit a store, and write a page and a table.

    Args:
        store: Its folder.
        out: The page; photos.audit.html beside photos.features by default. The table is beside
            it, as .csv, and is replaced.
        columns: As `audit` takes them.
        label: Likewise.
        similarity: Likewise.
        seed: Likewise.
        images: Where the images are now, if not where they were.

    Raises:
        HeadError: If something else than an audit has the path, or as `audit` does.
        StoreError: If the store cannot be opened.
    """
    begin = time.perf_counter()
    if out is None:
        near = beside(store)
        out = near.with_name(near.name.removesuffix(".features") + ".audit.html")
    out = Path(out)
    table = out.with_suffix(".csv")
    check_place(out, "audit")
    _check_table(table)
    snapshot = opened_snapshot(store)
    found = audit(snapshot, columns=columns, label=label, similarity=similarity, seed=seed)
    album = Album(snapshot, None if images is None else str(images))
    try:
        publish_file(table, csv_bytes(found))
    except OSError as error:
        raise HeadError(
            f"The table cannot be written to {table}: {error.strerror or error}. Give another --out"
        ) from error
    size = write_page(out, "audit", _values(found, snapshot, album, out, table))
    return AuditPage(
        out=str(out),
        table=str(table),
        bytes=size,
        images=len(found.items),
        counts=found.counts,
        missing=album.missing,
        notes=(*found.notes, *album.notes),
        seconds=time.perf_counter() - begin,
    )


def _check_table(path: Path) -> None:
    if path.exists() and not is_table(beginning(path)):
        raise HeadError(f"{path} is something else than an audit's table. Give another --out")


def _values(
    found: Audit, snapshot: Snapshot, album: Album, out: Path, table: Path
) -> Mapping[str, Any]:
    return {
        "title": out.name.removesuffix(".html"),
        "facts": [
            ("store", f"{snapshot.path}, snapshot {snapshot.number}"),
            ("root digest", f"{snapshot.root_digest[:16]}…"),
            ("images", f"{len(found.items):,} with features"),
            ("labels", f"column {found.label_column!r}"),
            ("table", f"{table.name}: {_taken_back(found)}"),
        ],
        "summary": Table(
            "Findings",
            ("finding", "how many", "what it means"),
            tuple((kind, count, KINDS[kind]) for kind, count in found.counts.items()),
        ),
        "notes": found.notes,
        "pairs": [
            {"title": kind, "text": KINDS[kind], "cards": _pairs(found, kind, album)}
            for kind in ("leakage", "conflict", "duplicate")
        ],
        "labels": _labels(found, album),
        "outliers": _outliers(found, album),
        "sizes": _sizes(found),
        "shifts": _shifts(found),
        "small": SMALL,
        "shown": SHOWN,
        "album": album,
    }


def _taken_back(found: Audit) -> str:
    if found.label_column == "label":
        return "correct it, then python -m extract relabel takes it back"
    return (
        "python -m extract relabel takes its groups; correct labels where the store has them from"
    )


def _side(found: Audit, index: int, picture: str | None) -> Mapping[str, Any]:
    item = found.items.slice(index, 1).to_pylist()[0]
    return {
        "path": item["path"],
        "label": item["label"],
        "split": item["split"],
        "picture": picture,
    }


def _sides(found: Audit, indices: Sequence[int], album: Album) -> list[Mapping[str, Any]]:
    names = found.items["path"].take(np.asarray(indices, np.int64)).to_pylist()
    pictures = album.pictures(names, CARD)
    return [_side(found, i, uri) for i, uri in zip(indices, pictures, strict=True)]


def _pairs(found: Audit, kind: str, album: Album) -> list[Mapping[str, Any]]:
    pairs = found.pairs_of(kind)[:SHOWN]
    firsts = _sides(found, [pair.first for pair in pairs], album)
    seconds = _sides(found, [pair.second for pair in pairs], album)
    return [
        {"sides": (a, b), "similarity": pair.similarity}
        for pair, a, b in zip(pairs, firsts, seconds, strict=True)
    ]


def _labels(found: Audit, album: Album) -> list[Mapping[str, Any]]:
    rows = found.doubted[:SHOWN].tolist()
    if found.doubts is None:
        return []
    return [
        {
            **side,
            "suggested": found.classes[found.doubts.suggested[row]],
            "margin": float(found.doubts.margin[row]),
        }
        for row, side in zip(rows, _sides(found, rows, album), strict=True)
    ]


def _outliers(found: Audit, album: Album) -> list[Mapping[str, Any]]:
    rows = found.outliers[:SHOWN].tolist()
    usual = max(float(np.median(found.distance)), NO_DISTANCE)
    return [
        {**side, "distance": float(found.distance[row]) / usual}
        for row, side in zip(rows, _sides(found, rows, album), strict=True)
    ]


def _sizes(found: Audit) -> Table:
    rows = (
        (name, *(counts.get(split, 0) for split in SPLITS), sum(counts.values()))
        for name, counts in found.sizes.items()
    )
    return Table("Images with features", ("class", *SPLITS, "all"), tuple(rows))


def _shifts(found: Audit) -> Table:
    rows = (
        (
            s.split,
            f"{s.roc_auc:.4f}",
            f"{s.interval[0]:.4f} to {s.interval[1]:.4f}",
            _differs(s.found),
        )
        for s in found.shifts
    )
    return Table(
        "How well a head tells a split from train",
        ("split", "ROC AUC", "95 % interval", "so they"),
        tuple(rows),
    )


def _differs(found: bool) -> str:
    return "differ" if found else "look alike"
