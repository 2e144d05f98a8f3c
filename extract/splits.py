"""Who is train, validation and test: decided once, here, and written into the snapshot.

Folders that name splits decide for themselves. What they leave open is cut by hash, so that
the answer depends on the images and the seed alone, never on order, names or machines:

    train and test folders            validation is 20 % of train
    train and validation folders      nothing is cut
    none                              0.7 / 0.15 / 0.15

An image and all its copies, or a whole group, stay together, and who has a split keeps it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from extract.errors import InputError

NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
SPLITS = tuple(NAMES)
RATIOS = (0.7, 0.15, 0.15)
VALIDATION_OF_TRAIN = (0.8, 0.2, 0.0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What splitting needs to know of an item."""

    unit: str
    """What must stay together: a group, an image key, or a path where there is no key."""
    label: str | None
    given: str | None
    """The split that its folder names."""
    pinned: str | None = None
    """The split that a person chose for it: nothing else is asked."""


def split_of_folder(name: str) -> str | None:
    """Return "train", "validation" or "test" for a folder that is named so, in any case."""
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def assign(
    candidates: Sequence[Candidate],
    kept: Mapping[str, str] | None = None,
    seed: int = 0,
    ratios: tuple[float, float, float] | None = None,
) -> list[str]:
    """Return the split of each candidate.

    Args:
        candidates: The items, in any order.
        kept: Unit → split, from an earlier snapshot; such a unit stays where it is.
        seed: Another seed gives another cut.
        ratios: Shares of train, validation and test that a person chose: folders then decide
            nothing. None to let folders, or the defaults, decide.
    """
    if ratios is not None:
        candidates = [replace(candidate, given=None) for candidate in candidates]
    cut = ratios or _ratios({c.given for c in candidates})
    open_units: dict[str, dict[str, None]] = {}  # label → units, in order, without repeats
    for candidate in candidates:
        if _is_open(candidate, cut):
            open_units.setdefault(candidate.label or "", {})[candidate.unit] = None
    allowed = {s for s, share in zip(SPLITS, cut or RATIOS, strict=True) if share}
    chosen = {unit: split for unit, split in (kept or {}).items() if split in allowed}
    chosen |= {c.unit: c.pinned for c in candidates if c.pinned is not None}
    for label in sorted(open_units):
        chosen |= _cut(list(open_units[label]), chosen, cut, seed)
    return [c.pinned or (chosen[c.unit] if _is_open(c, cut) else str(c.given)) for c in candidates]


def units_of(names: Sequence[str], groups: Sequence[str | None]) -> list[str]:
    """Return what must stay together: items of one image, items of one group, and chains of both.

    Args:
        names: For each item its image key, or its path where it has none.
        groups: For each item its group, or None.
    """
    parents: dict[str, str] = {}

    def find(unit: str) -> str:
        while parents.get(unit, unit) != unit:
            unit = parents[unit]
        return unit

    for name, group in zip(names, groups, strict=True):
        if group is not None:  # the first in order stands for all: a group's, before any name's
            first, second = sorted([find(name), find(f" {group}")])
            parents[second] = first
    return [find(name) for name in names]


def parse_ratios(text: str) -> tuple[float, float, float]:
    """Read "0.7/0.15/0.15", the shares of train, validation and test.

    Raises:
        InputError: If these are not three shares that sum to 1, with some for training.
    """
    try:
        shares = tuple(float(part) for part in text.split("/")) if isinstance(text, str) else ()
    except ValueError:
        shares = ()
    if len(shares) != 3 or not min(shares) >= 0 or not shares[0] or abs(sum(shares) - 1) > 1e-6:
        raise InputError(
            f"--ratios are three shares that sum to 1, such as 0.7/0.15/0.15. Received: {text!r}"
        )
    return shares[0], shares[1], shares[2]


def _ratios(given: set[str | None]) -> tuple[float, float, float] | None:
    """Return how what is open is to be cut; None where folders decide everything."""
    if given == {None}:
        return RATIOS
    return VALIDATION_OF_TRAIN if "train" in given and "validation" not in given else None


def _is_open(candidate: Candidate, ratios: tuple[float, float, float] | None) -> bool:
    if candidate.pinned is not None:
        return False
    return candidate.given is None or (ratios == VALIDATION_OF_TRAIN and candidate.given == "train")


def _cut(
    units: list[str],
    chosen: Mapping[str, str],
    ratios: tuple[float, float, float] | None,
    seed: int,
) -> dict[str, str]:
    """Give every unit of one class a split: those that have one keep it, hashes fill the rest."""
    wanted = dict(zip(SPLITS, counts(len(units), ratios or RATIOS), strict=True))
    for unit in units:
        if unit in chosen and wanted.get(chosen[unit], 0) > 0:
            wanted[chosen[unit]] -= 1
    new = sorted((unit for unit in units if unit not in chosen), key=lambda unit: _rank(seed, unit))
    places = [split for split in SPLITS for _ in range(wanted[split])]
    return dict(zip(new, places, strict=False))


def counts(total: int, ratios: Sequence[float]) -> list[int]:
    """Cut `total` at the ratios, which sum to 1: whole numbers that sum to `total`."""
    edges = [round(total * sum(ratios[:i])) for i in range(len(ratios) + 1)]
    return [stop - start for start, stop in pairwise(edges)]


def _rank(seed: int, unit: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{unit}".encode()).digest()
