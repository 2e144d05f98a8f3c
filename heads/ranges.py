"""Parameters that have to be in a range, or one of some names: one line where they are not."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from extract.backbones import nearest
from heads.errors import HeadError


def check_number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    whole: bool = False,
) -> None:
    """Raise `HeadError` unless a parameter is in its range."""
    kind = Integral if whole else Real
    right = isinstance(value, kind) and not isinstance(value, bool)
    if right and least <= value < below and value > above:
        return
    ends = {"at least": least, "above": above, "below": below}
    said = " and ".join(f"{word} {end}" for word, end in ends.items() if math.isfinite(end))
    raise HeadError(f"{name} is a {'whole ' * whole}number {said}. Received: {value!r}")


def plain_seed(seed: Any) -> int:
    """Return what decides chance as a plain integer, which JSON takes; NumPy's are not.

    Raises:
        HeadError: If it is no whole number of at least 0.
    """
    check_number("seed", seed, least=0, whole=True)
    return int(seed)


def check_name(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Raise `HeadError` unless a parameter is one of some names."""
    if value in known:
        return
    near = nearest(str(value), known, likeness=0.6)
    hint = f". Did you mean {' or '.join(near)}?" if near else ""
    raise HeadError(f"{name} is one of {', '.join(known)}. Received: {value!r}{hint}")
