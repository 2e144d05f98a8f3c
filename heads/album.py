"""The pictures of one page, by path; those that cannot be had are counted."""

from __future__ import annotations

from collections.abc import Sequence

from extract.store.reader import Snapshot
from heads.thumbnails import Thumbnails


class Album:
    """Pictures of a store's items by their path, and how many were not to be had."""

    def __init__(self, snapshot: Snapshot, images: str | None) -> None:
        self._thumbnails = Thumbnails.of(snapshot, images)
        self._places = {path: i for i, path in enumerate(snapshot.items["path"].to_pylist())}
        self.shown = self.missing = 0

    def pictures(self, paths: Sequence[str], side: int) -> list[str | None]:
        """Return data URIs; None where there is no picture."""
        found = self._thumbnails.uris([self._places[path] for path in paths], side)
        self.shown += len(found)
        self.missing += sum(uri is None for uri in found)
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """Why pictures are missing."""
        if not self.missing:
            return ()
        why = self._thumbnails.why or "they were moved or changed since. Give --images FOLDER"
        return (f"{self.missing:,} of {self.shown:,} pictures are not shown: {why}",)
