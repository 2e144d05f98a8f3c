"""Labels that changed since they were sealed: no head is trained on yesterday's.

Files of a folder or a table are followed through a move by their size and time. An entry of an
archive, an array file or another library's data set is known by its name alone, and compared once
that was written again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from extract.items import Item, Listing
from extract.run_words import run_command
from extract.sources.changes import list_again
from extract.store.reader import Snapshot
from heads.errors import HeadError

Row = dict[str, Any]


def check_labels(snapshot: Snapshot) -> list[str]:
    """Compare the snapshot's labels with what it was made from, where that is at hand.

    What a person decided with `relabel` stays decided, whatever folders and tables say.

    Returns:
        Sentences for people: that images came or went since. None where all is as it was, or
        the images are not here.

    Raises:
        HeadError: If an image has another label now.
    """
    names = ["path", "size", "mtime_ns", "label", "decided"]
    before = {row["path"]: row for row in snapshot.items.select(names).to_pylist()}
    found_at = snapshot.record.found_at
    listing = list_again(found_at, max(row["mtime_ns"] for row in before.values()))
    if listing is None:
        return []
    again = _command(found_at, snapshot.path)
    origin = _origins(before, listing)
    _refuse_other_labels(before, listing, origin, again)
    now = {item.path for item in listing.items}
    unknown = now - origin.keys() - before.keys()
    gone = before.keys() - set(origin.values()) - now
    notes = []
    if unknown:
        notes.append(f"{_images(unknown)} new since and not trained on: {again}")
    if gone:
        notes.append(f"{_images(gone)} gone since and still trained on: {again}")
    if listing.source is not None and not notes:
        notes.append(f"{listing.place} was written again since, with the same labels: {again}")
    return notes


def _images(paths: Collection[str]) -> str:
    return "1 image is" if len(paths) == 1 else f"{len(paths)} images are"


def _command(found_at: Mapping[str, str], store: str) -> str:
    """Return the command that takes labels over."""
    table, folder = found_at["images"], found_at.get("folder")
    apart = folder is not None and Path(folder) != Path(table).parent
    return run_command(store, table, *(["--images", str(folder)] if apart else []))


def _origins(before: Mapping[str, Row], listing: Listing) -> dict[str, str]:
    """Map paths of now to the paths of then that are the same image, as far as that shows."""
    if listing.source is not None:
        return {item.path: item.path for item in listing.items if item.path in before}
    then = [(path, (row["size"], row["mtime_ns"])) for path, row in before.items()]
    now = [(item.path, (item.size, item.mtime_ns)) for item in listing.items]
    same = dict(then).items() & dict(now).items()
    origin = {path: path for path, _ in same}
    once = [{stamp: p for p, stamp in _once(files)} for files in (then, now)]
    for stamp, path in once[1].items():
        if stamp in once[0]:
            origin.setdefault(path, once[0][stamp])
    return origin


def _once(files: list[tuple[str, tuple[int, int]]]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the files whose size and time no other one has: they are known through a move."""
    count = Counter(stamp for _, stamp in files)
    yield from (file for file in files if count[file[1]] == 1)


def _refuse_other_labels(
    before: Mapping[str, Row], listing: Listing, origin: Mapping[str, str], again: str
) -> None:
    """Raise `HeadError` for images whose label is another one than then."""
    moved = [
        (origin[item.path], item)
        for item in listing.items
        if item.path in origin and _differs(before[origin[item.path]], item)
    ]
    if moved:
        old, item = min(moved, key=lambda pair: pair[0])
        was = f"was {before[old]['label']!r} and is now {item.label!r}"
        where = was if item.path == old else f"is now {item.path}"
        raise HeadError(
            f"{len(moved)} images have another label than when they were extracted, such as "
            f"{old}, which {where}. Take the labels over, nothing is computed again: {again}"
        )


def _differs(row: Row, item: Item) -> bool:
    decided = "label" in (row["decided"] or "").split()
    return not decided and row["label"] != item.label
