"""What a run tells while it works; `extract.console` shows it, libraries may listen."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Tick:
    """How far a run is."""

    items_done: int
    items: int
    images_per_second: float
    """Images through the backbone per second, over the last seconds; 0.0 before the first."""
    seconds_left: float | None
    waiting_for: str
    """The stage that limits it now: "read", "decode", "forward" or "write"."""


class Reporter(Protocol):
    """Somebody who wants to know."""

    def note(self, text: str) -> None:
        """Hear one sentence for people."""

    def tick(self, tick: Tick) -> None:
        """Hear how far the run is; called a few times a second."""


class Silent:
    """Nobody: the default from Python."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def tick(self, tick: Tick) -> None:
        """Do nothing."""


class Ticker:
    """Turns counts into ticks, a few a second."""

    EVERY = 0.25  # seconds
    WINDOW = 40  # ticks: the rate is that of the last ten seconds

    def __init__(self, items: int) -> None:
        self._items = items
        self.items_done = 0
        self._history: deque[tuple[float, int, int]] = deque(maxlen=self.WINDOW)
        self._waited: dict[str, float] = {}

    def tick(self, extracted: int, waited: dict[str, float]) -> Tick | None:
        """Return how far the run is, or None where the last tick is too fresh."""
        now = time.perf_counter()
        if self._history and now - self._history[-1][0] < self.EVERY:
            return None
        self._history.append((now, extracted, self.items_done))
        seconds = now - self._history[0][0]
        images = extracted - self._history[0][1]
        items = self.items_done - self._history[0][2]
        step = {name: total - self._waited.get(name, 0.0) for name, total in waited.items()}
        self._waited = waited
        return Tick(
            items_done=min(self.items_done + 1, self._items),
            items=self._items,
            images_per_second=images / seconds if seconds else 0.0,
            seconds_left=(self._items - self.items_done) * seconds / items if items else None,
            waiting_for=max(step, key=lambda name: step[name]),
        )
