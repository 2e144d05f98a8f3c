"""How many cores this process may use."""

from __future__ import annotations

import os

_most: int | None = None


def use_at_most(cores: int) -> None:
    """Leave the other cores to the other processes that compute on this machine."""
    global _most
    _most = max(1, cores)


def most_cores() -> int | None:
    """Return what `use_at_most` was told; None where nobody said anything."""
    return _most


def num_cores() -> int:
    """Return how many cores this process may use, at least 1."""
    return min(_available(), _most or _available())


def _available() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
