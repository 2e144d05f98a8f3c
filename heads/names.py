"""Names of columns and estimators as Python gives them: one, or a list of them."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return several names as they are, and one as a list of one: its letters are no names."""
    return (names,) if isinstance(names, str) else tuple(names)
