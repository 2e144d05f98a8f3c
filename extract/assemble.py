"""Rows in order → shards of one column: reused where they exist, else copied or computed.

Rows arrive in the store's row order. A full shard whose name exists is left alone; rows that
are known from another shard are copied, never computed again; the rest are fresh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from extract.errors import DamagedStoreError
from extract.recipe import Column
from extract.store.commits import HAS_FEATURES, Commit, RowFacts, row_digests, shard_digest
from extract.store.shards import FeatureShards, Grid


@dataclass(frozen=True, slots=True)
class Place:
    """Where a known row of a column is: a commit, and its position there."""

    commit: Commit
    index: int

    @property
    def facts(self) -> RowFacts:
        """Which image it is and how it went."""
        return self.commit.rows[self.index]


@dataclass(frozen=True, slots=True)
class Row:
    """One row on its way into the store."""

    facts: RowFacts
    fresh: bool = False
    """Whether this run decoded the image."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A shard that is to be written."""

    column: Column
    grid: Grid
    rows: tuple[RowFacts, ...]
    fresh: Mapping[int, np.ndarray]
    known: Mapping[int, Place]

    def features(self, shards: FeatureShards) -> np.ndarray:
        """Return (rows, *row_shape) in the column's type, NaN where a row has no features."""
        out = np.full((len(self.rows), *self.grid.row_shape), np.nan, self.grid.dtype)
        for index, features in self.fresh.items():
            out[index] = features
        for commit, pairs in _by_commit(self.known):
            sources = [source for _, source in pairs]
            span = shards.read(commit.ref, min(sources), max(sources) + 1)
            rows = span[[source - min(sources) for source in sources]]
            if row_digests(rows) != [commit.row_digests[source] for source in sources]:
                raise DamagedStoreError(f"{commit.ref.file} does not fit its record's row digests")
            out[[index for index, _ in pairs]] = rows
        return out


def _by_commit(known: Mapping[int, Place]) -> list[tuple[Commit, list[tuple[int, int]]]]:
    """Group places: [(commit, [(position in the new shard, position in the old one)])]."""
    groups: dict[str, tuple[Commit, list[tuple[int, int]]]] = {}
    for index, place in known.items():
        pairs = groups.setdefault(place.commit.ref.file, (place.commit, []))[1]
        pairs.append((index, place.index))
    return list(groups.values())


class Assembler:
    """Cuts the rows of one column into shards.

    `digests` lists the shards in row order; what must be written goes to `write`.
    """

    def __init__(
        self,
        recipe_key: str,
        column: Column,
        grid: Grid,
        known: Mapping[str, Place],
        existing: Iterable[str],
        write: Callable[[str, Draft], None],
    ) -> None:
        """`known` maps image keys to places, `existing` names the shards that have a commit."""
        self.column = column
        self.grid = grid
        self.digests: list[str] = []
        self.reused: set[str] = set()
        """Image keys of known rows in shards that were left as they are."""
        self.copied: set[str] = set()
        """Image keys of known rows in shards that were written."""
        self._recipe_key = recipe_key
        self._known = known
        self._existing = frozenset(existing)
        self._write = write
        self._rows: list[RowFacts] = []
        self._fresh: dict[int, np.ndarray] = {}
        self._places: dict[int, Place] = {}
        self._decoded: set[int] = set()

    def knows(self, image_key: str) -> bool:
        """Return whether the column has this image's row already."""
        return image_key in self._known

    def has_features(self, image_key: str) -> bool:
        """Return whether the column has features of this image from an earlier run."""
        place = self._known.get(image_key)
        return place is not None and place.facts.status in HAS_FEATURES

    def agrees(self, commit: Commit) -> bool:
        """Return whether a shard's rows are what is known of their images by now."""
        for row in commit.rows:
            place = self._known.get(row.image_key)
            if place is None:
                return False
            if place.commit is not commit and (
                (place.facts.status in HAS_FEATURES) != (row.status in HAS_FEATURES)
            ):
                return False
        return True

    def take(self, commit: Commit) -> None:
        """Take a whole shard as it is; what `add` would come to, row by row."""
        assert not self._rows
        self.digests.append(commit.digest)
        self.reused.update(row.image_key for row in commit.rows)

    def add(self, row: Row, features: np.ndarray | None) -> None:
        """Add the next row, with this column's fresh features where there are any."""
        index = len(self._rows)
        place = self._known.get(row.facts.image_key)
        if place is not None:
            self._places[index] = place
        elif features is not None:
            self._fresh[index] = features
        if row.fresh:
            self._decoded.add(index)
        self._rows.append(row.facts if place is None else place.facts)
        if len(self._rows) == self.grid.shard_rows:
            self.flush()

    def flush(self) -> None:
        """End the current shard; at the end of the rows, or when a run is interrupted."""
        if not self._rows:
            return
        digest = shard_digest(self._recipe_key, self.column, self._rows)
        old = {self._rows[index].image_key for index in self._places if index not in self._decoded}
        if digest in self._existing:  # the same name is the same content
            self.reused |= old
        else:
            self.copied |= old
            draft = Draft(
                self.column, self.grid, tuple(self._rows), dict(self._fresh), dict(self._places)
            )
            self._write(digest, draft)
        self.digests.append(digest)
        for part in (self._rows, self._fresh, self._places, self._decoded):
            part.clear()
