"""Which image is which row, and whose bytes are needed for it: rows of old, then items in theirs.

    items ─▶ hints (path, size, time) ─▶ rows in order ─▶ read where that must tell ─▶ candidates

A row keeps its place for ever, so what the newest snapshot has comes first, in its order; then
every new image where its first item is. Files are read ahead in threads, and what each came to is
noted as the item's outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from extract.assemble import Assembler
from extract.errors import ImageError
from extract.items import Item, Listing
from extract.known import Known
from extract.outcomes import Outcome
from extract.reading import FileBytes, read
from extract.stages import Stage
from extract.store.commits import FileRead, RowFacts

READ_AHEAD = 16  # files


@dataclass(frozen=True, slots=True)
class Wanted:
    """An item, or a row of old, on its way to becoming a row."""

    index: int
    """Position among the items; -1 for a row whose image is no item any more."""
    image_key: str | None
    """Known from an earlier run; None where only reading can tell."""
    fetch: bool
    """Whether its bytes are needed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that is going to be added, with bytes where it must be decoded."""

    image_key: str
    path: str
    data: bytes | np.ndarray | None = None
    facts: RowFacts | None = None
    """Set where the outcome is known without decoding."""


class RowOrder:
    """The rows of one run, in order, with the bytes of those that must be decoded."""

    def __init__(
        self,
        listing: Listing,
        known: Known,
        assemblers: Sequence[Assembler],
        *,
        taken: int,
        workers: int,
        rehash: bool,
        note: Callable[[FileRead], None],
    ) -> None:
        """Recognize items.

        Args:
            listing: The items.
            known: What the store holds; only its order is kept.
            assemblers: They know which rows the columns have.
            taken: Rows, from the first on, whose shards go on as they are.
            workers: Threads that read; a bucket takes more.
            rehash: Whether every item is read, also where size and time are as they were.
            note: Called with each file that was read.
        """
        self._listing = listing
        self._assemblers = assemblers
        self._order = known.order
        self._taken = taken
        self._note = note
        self.stage: Stage[Wanted, FileBytes | ImageError] = Stage(
            self._read, max(workers, listing.lanes), max(READ_AHEAD, 2 * listing.lanes)
        )
        self.outcomes = [self._hinted(item, known, rehash) for item in listing.items]
        """What became of each item, as far as it is known by now."""
        self.items_done = sum(
            o.read is not None and self._is_known(o.read.image_key) for o in self.outcomes
        )
        """Items that are done with so far."""
        self._placed: set[str] = set()
        self._copies: dict[str, list[int]] = {}
        """Image key → the items that earlier runs, or this one's first look, know to have it; only
        of images whose bytes may be needed."""

    def close(self) -> None:
        """End every thread."""
        self.stage.close()

    def forget(self) -> None:
        """Drop what only the order of rows needed: all of them are placed."""
        self._placed.clear()

    def _is_known(self, image_key: str) -> bool:
        return all(assembler.knows(image_key) for assembler in self._assemblers)

    def _hinted(self, item: Item, known: Known, rehash: bool) -> Outcome:
        """Recognize a file that was read before by its path, size and time, if that may be."""
        key = None if rehash else known.key_of(item)
        if key is None:
            return Outcome(item=item)
        return Outcome(item=item, read=FileRead(item.path, item.size, item.mtime_ns, key))

    def item_keys(self) -> set[str]:
        """Return the image keys that items are known to have by now."""
        return {outcome.read.image_key for outcome in self.outcomes if outcome.read}

    def _wanted(self) -> Iterator[Wanted]:
        """Yield rows of old in their order, then items in theirs."""
        rest = self._order[self._taken :]
        self._placed.update(self._order[: self._taken])
        if not all(self._is_known(key) for key in rest):
            # A column is new, or a shard was set aside: rows of old need their images, so every
            # item must have its key before the first row is placed.
            self._resolve_all()
        wanted = set(rest)
        for index, outcome in enumerate(self.outcomes):
            if outcome.read is not None:
                key = outcome.read.image_key
                if key in wanted or not self._is_known(key):
                    self._copies.setdefault(key, []).append(index)
        for key in rest:
            self._placed.add(key)
            index = self._copies.get(key, [-1])[0]
            yield Wanted(index, key, fetch=index >= 0 and not self._is_known(key))
        for index, outcome in enumerate(self.outcomes):
            if outcome.read is None:
                yield Wanted(index, None, fetch=True)
            elif outcome.read.image_key not in self._placed:
                self._placed.add(outcome.read.image_key)
                yield Wanted(
                    index, outcome.read.image_key, not self._is_known(outcome.read.image_key)
                )

    def _resolve_all(self) -> None:
        unknown = (Wanted(i, None, True) for i, o in enumerate(self.outcomes) if o.read is None)
        for wanted, file in self.stage(unknown):
            self._settle(wanted, file)

    def _settle(self, wanted: Wanted, file: FileBytes | ImageError | None) -> None:
        """Note what reading an item came to."""
        item = self._listing.items[wanted.index]
        if isinstance(file, FileBytes):
            self.outcomes[wanted.index] = Outcome(item=item, read=file.read)
            self._note(file.read)
        elif file is not None:
            self.outcomes[wanted.index] = Outcome(item=item, trouble=file)

    def candidates(self) -> Iterator[Candidate]:
        """Yield rows that are going to be added, each distinct image once."""
        for wanted, file in self.stage(self._wanted(), needs_work=lambda w: w.fetch):
            self.items_done += wanted.fetch
            candidate = self._accept(wanted, file)
            if candidate is not None:
                yield candidate

    def _accept(self, wanted: Wanted, file: FileBytes | ImageError | None) -> Candidate | None:
        path = self._listing.items[wanted.index].path if wanted.index >= 0 else ""
        if wanted.image_key is not None and not wanted.fetch:
            absent = wanted.index < 0 and not self._is_known(wanted.image_key)
            facts = RowFacts(wanted.image_key, "absent") if absent else None
            return Candidate(wanted.image_key, path, facts=facts)
        self._settle(wanted, file)
        if wanted.image_key is not None:
            return self._accept_known(wanted, path, file)
        if not isinstance(file, FileBytes) or file.read.image_key in self._placed:
            return None
        key = file.read.image_key
        self._placed.add(key)
        return Candidate(key, path, None if self._is_known(key) else file.data)

    def _accept_known(
        self, wanted: Wanted, path: str, file: FileBytes | ImageError | None
    ) -> Candidate:
        """Take the bytes of an image whose key an earlier run knew, if they still are its."""
        key = str(wanted.image_key)
        if isinstance(file, FileBytes) and file.read.image_key == key:
            return Candidate(key, path, file.data)
        if isinstance(file, FileBytes):  # other bytes of the same size and time
            item = self._listing.items[wanted.index]
            trouble = ImageError("read", "changed since an earlier run, which the next run reads")
            self.outcomes[wanted.index] = Outcome(item=item, trouble=trouble)
        copies = self._copies.get(key, [])
        if wanted.index in copies[:-1]:  # another copy may still be readable
            after = replace(wanted, index=copies[copies.index(wanted.index) + 1])
            again = self._read(after)
            self._settle(after, again)
            return self._accept_known(after, self._listing.items[after.index].path, again)
        return Candidate(key, path, facts=RowFacts(key, "absent"))

    def _read(self, wanted: Wanted) -> FileBytes | ImageError:
        try:
            return read(self._listing, self._listing.items[wanted.index])
        except ImageError as error:
            return error
