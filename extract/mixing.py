"""Whose bits a store has, where it has those of several processors or engines.

Features agree bit for bit within one numeric signature, and to 1e-5 across. For float32 a signature
is no part of the recipe, so that a store can go on elsewhere when somebody asks for it; who mixes
must have asked, and every record says what its rows are of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from extract.assemble import Place
from extract.errors import BackboneError
from extract.store.commits import HAS_FEATURES

Signature = Mapping[str, str]


def joined(signatures: Iterable[Signature]) -> dict[str, str]:
    """Return the signature of rows that have several: no engine's, unless they are all the same.

    So nobody takes such rows for those of one engine, and asks for its bits.
    """
    found = [signature for signature in signatures if signature]
    if all(signature == found[0] for signature in found):
        return dict(found[0]) if found else {}
    names = dict.fromkeys(name for signature in found for name in signature)
    return {
        name: ", ".join(sorted({p for s in found for p in s.get(name, "").split(", ")}))
        for name in names
    }


def of_places(places: Iterable[Place]) -> list[Signature]:
    """Return the signatures of rows that are copied; a row without features has none."""
    commits = {p.commit.ref.file: p.commit for p in places if p.facts.status in HAS_FEATURES}
    return [commit.signature for commit in commits.values()]


def check_one(signatures: Sequence[tuple[str, Signature]]) -> None:
    """Refuse to join stores whose features differ in their last bits.

    Args:
        signatures: (store, numeric signature) of what is joined.

    Raises:
        BackboneError: If two differ.
    """
    for store, found in signatures:
        first_store, first = signatures[0]
        differ = [name for name in {**first, **found} if first.get(name) != found.get(name)]
        if differ:
            raise BackboneError(
                f"{store} was made with {differ[0]} {found.get(differ[0])!r} and {first_store} "
                f"with {first.get(differ[0])!r}: bits differ within 1e-5, and the root digest "
                f"would be that of no one machine. To merge them all the same: --mix"
            )
