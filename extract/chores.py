"""What is missing of a store → chores: each the images of one shard, for one worker.

An image is known by its bytes alone, and so only after it was read. A plan cannot know copies
beforehand; it takes every file that was not read yet for an image of its own, in the order of the
items after the rows of old, and cuts where shards end. Without copies, and without bad files, the
shards of the workers are thus the very shards that one machine writes, names and all. Behind a copy
or a bad file rows move up by one: then sealing finds the rows in the workers' shards and copies
them into the shards of their order, and an image that two workers made has one of its two rows.

Chores are decided before the first one is handed out, and hold positions in the listing: a million
items are a thousand chores of eight kilobytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from extract.items import Item, Listing
from extract.known import Known
from extract.needs import grids
from extract.pixels import decoder_signature
from extract.plan import Plan

FileFacts = tuple[str, int, int]
"""(path, size, mtime_ns) of an item, all that a worker needs of it."""


@dataclass(frozen=True, slots=True)
class Chore:
    """The items of one shard."""

    number: int
    """In the order of the rows."""
    indices: array[int]
    """Positions of its items in the listing, in row order."""
    columns: tuple[int, ...]
    """Positions in the plan of the columns that any of them lacks."""

    def files(self, items: Sequence[Item]) -> list[FileFacts]:
        """Return what a worker must know of the items."""
        chosen = (items[index] for index in self.indices)
        return [(item.path, item.size, item.mtime_ns) for item in chosen]

    def title(self, items: Sequence[Item]) -> str:
        """Return words for people: the first and the last item."""
        first, last = items[self.indices[0]].path, items[self.indices[-1]].path
        return first if first == last else f"{first} … {last}"


def chores_of(listing: Listing, known: Known, plan: Plan) -> list[Chore]:
    """Compare a listing with what a store knows, and cut what is missing; no file is opened."""
    cut = max(grid.shard_rows for grid in grids(known, plan))  # powers of two: all fit into it
    places = [known.places(column, decoder_signature()) for column in plan.columns]
    rows = {key: row for row, key in enumerate(known.order)}
    following = len(rows)
    every = frozenset(range(len(plan.columns)))
    groups: dict[int, tuple[list[tuple[int, int]], set[int]]] = {}
    seen: set[str] = set()
    for index, item in enumerate(listing.items):
        key, missing = known.key_of(item), every
        if item.trouble or key in seen:
            continue
        if key is not None:
            seen.add(key)
            missing = frozenset(at for at, place in enumerate(places) if key not in place)
        row = rows.get(key, following) if key is not None else following
        following += row == following
        if missing:
            members, columns = groups.setdefault(row // cut, ([], set()))
            members.append((row, index))
            columns |= missing
    return [
        Chore(group, array("l", [index for _, index in sorted(members)]), tuple(sorted(columns)))
        for group, (members, columns) in sorted(groups.items())
    ]
