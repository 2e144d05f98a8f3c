"""One actor of a crew, as the driver sees it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from extract.chores import Chore


@dataclass(slots=True, eq=False)
class Hand:
    """An actor, and what it is doing."""

    actor: Any
    node: str
    """Ray's id of the node."""
    address: str
    place: tuple[str, int]
    """The node, and which of its actors this is."""
    born: float = field(default_factory=time.monotonic)
    ready: bool = False
    chores: dict[int, Chore] = field(default_factory=dict)
    items_done: int = 0
    asked: bool = False
    """Whether it was asked for `items_done`, and did not answer yet."""


def reason_of(error: Exception) -> str:
    """Return in some words why an actor died, from what Ray says of it."""
    text = " ".join(str(error).split())
    for words in ("node has died", "out of memory", "OOM", "SIGKILL", "unexpected system error"):
        if words.lower() in text.lower():
            return words
    return type(error).__name__
