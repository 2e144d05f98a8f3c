"""The I-th of N runs of a sorted listing: one machine's share, in a store of its own.

    python -m extract run photos --part 1/2       → photos.part-1-of-2.features
    python -m extract run photos --part 2/2       → photos.part-2-of-2.features
    python -m extract merge photos.part-*-of-2.features --store photos.features

Every machine lists everything and takes its share of the names. What only all images together can
decide, who is train, validation and test, stays open in a part and is decided by the merge. A part
remembers what the whole listing was, so that parts of two different listings are never joined.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from extract.errors import InputError

if TYPE_CHECKING:
    from extract.items import Listing


@dataclass(frozen=True, slots=True)
class Part:
    """Which share of a listing."""

    index: int
    """1 to `of`."""
    of: int
    listing: str = ""
    """SHA-256 of the names, labels, splits and groups of the whole listing."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "2/4".

        Raises:
            InputError: If it is not such a text.
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        index, of = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= index <= of or of < 2:
            raise InputError(
                f"--part is I/N, such as 2/4 for the second of four parts. Received: {text!r}"
            )
        return cls(index, of)

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def store_of(self, whole: str) -> str:
        """Return `photos.part-2-of-4.features` for `photos.features`, a path or a URL."""
        name = whole.removesuffix(".features")
        return f"{name}.part-{self.index}-of-{self.of}.features"

    @classmethod
    def of_store(cls, store: Path) -> tuple[Path, Self | None]:
        """Read a name that `store_of` gave: the place of the images, and the part; None if whole.

        For a store whose snapshots are lost: they would say it.
        """
        place = store.with_suffix("")
        found = re.fullmatch(r"(.+)\.part-(\d+)-of-(\d+)", place.name)
        if found is None:
            return place, None
        return place.with_name(found[1]), cls(int(found[2]), int(found[3]))

    def to_json(self) -> list[Any]:
        """Return JSON values."""
        return [self.index, self.of, self.listing]

    @classmethod
    def from_json(cls, facts: list[Any] | None) -> Self | None:
        """Read what `to_json` wrote."""
        return None if facts is None else cls(*facts)


def part_of(listing: Listing, part: Part | None) -> Listing:
    """Return one share of a listing: a run of its items, as long as the others to within one.

    Raises:
        InputError: If there are fewer items than parts.
    """
    if part is None:
        return listing
    count = len(listing.items)
    if count < part.of:
        raise InputError(
            f"{listing.name} has {count} items, which cannot be cut into {part.of} parts. "
            f"Give --part I/{max(2, count)}, or leave --part out"
        )
    start, stop = (count * i // part.of for i in (part.index - 1, part.index))
    return replace(
        listing,
        items=listing.items[start:stop],
        further=None if listing.further is None else listing.further.slice(start, stop - start),
        part=replace(part, listing=digest_of(listing)),
    )


def digest_of(listing: Listing) -> str:
    """Return the SHA-256 of what a listing says of its items; sizes and times are hints."""
    digest = hashlib.sha256()
    for item in listing.items:
        facts = (item.path, item.label, item.split, item.group)
        digest.update(f"{facts!r}\n".encode(errors="backslashreplace"))
    return digest.hexdigest()


def check_part(stored: Part | None, wanted: Part | None, store: str) -> None:
    """Raise `InputError` where a store holds another share than a run is of."""
    if _place(stored) != _place(wanted):
        names = [f"part {part}" if part else "all images" for part in (stored, wanted)]
        cure = f"Give --part {stored}" if stored else "Leave --part out"
        raise InputError(
            f"{store} holds {names[0]} and this run is of {names[1]}. {cure}, or another --store"
        )


def parts_in_order(parts: list[tuple[str, Part | None]]) -> list[int] | None:
    """Return the positions of stores, (name, part), in the order of a listing that they make up.

    None if none of them is a part: then they are stores of different data sets.

    Raises:
        InputError: If only some are, if one is missing or there twice, or if the listing was not
            the same for all of them.
    """
    known = [(name, part) for name, part in parts if part is not None]
    if not known:
        return None
    if len(known) < len(parts):
        whole = next(name for name, part in parts if part is None)
        raise InputError(
            f"{known[0][0]} is part {known[0][1]} and {whole} is none. Merge parts alone"
        )
    (first, one), found = known[0], dict[int, str]()
    for name, part in known:
        if part.of != one.of:
            raise InputError(
                f"{first} is part {one} and {name} is part {part}: merge those of one N"
            )
        if (twin := found.setdefault(part.index, name)) != name:
            raise InputError(f"{twin} and {name} are both part {part}. Leave one out")
    missing = [f"{index}/{one.of}" for index in range(1, one.of + 1) if index not in found]
    if missing:
        raise InputError(
            f"{len(missing)} of {one.of} parts are missing: {', '.join(missing[:5])}"
            f"{', …' if len(missing) > 5 else ''}. Run these too: --part {missing[0]}"
        )
    for name, part in known:
        if part.listing != one.listing:
            raise InputError(
                f"The images were listed otherwise for {first} than for {name}: some came, went or "
                f"changed their label between the runs. Run each part again, then merge"
            )
    return sorted(range(len(known)), key=lambda at: known[at][1].index)


def _place(part: Part | None) -> tuple[int, int] | None:
    return None if part is None else (part.index, part.of)
