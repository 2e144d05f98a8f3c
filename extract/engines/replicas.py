"""Several accelerators as one engine: a replica of the backbone and a queue for each.

A call goes to the replica whose queue is shortest, and waits for its answer there. Every replica
has a thread that builds it and runs it, because frameworks keep the current device by thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from extract.engines.engine import Engine
from extract.errors import BackboneError

WAITING = 2
"""Calls for each replica: one computes, one waits, so that none ever stands still."""


class Replicas(Engine):
    """Engines of one backbone that compute at the same time."""

    def __init__(self, makers: Sequence[Callable[[], Engine]]) -> None:
        """Make the replicas, one after the other, each in its own thread.

        Raises:
            BackboneError: If they do not give the same bits by their signatures.
        """
        self._threads = [
            ThreadPoolExecutor(1, thread_name_prefix=f"replica-{number}")
            for number in range(len(makers))
        ]
        self._engines = [
            thread.submit(maker).result()
            for thread, maker in zip(self._threads, makers, strict=True)
        ]
        first = self._engines[0]
        for number, other in enumerate(self._engines):
            if dict(other.signature) != dict(first.signature):
                raise BackboneError(
                    f"Device {number} computes as {dict(other.signature)} and the first as "
                    f"{dict(first.signature)}. Give --devices of one kind"
                )
        self.signature = first.signature
        self.batch_size = first.batch_size
        self.streams = WAITING * len(makers)
        self._queued = [0] * len(makers)
        self._lock = threading.Lock()

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        with self._lock:
            number = self._queued.index(min(self._queued))
            self._queued[number] += 1
        try:
            return self._threads[number].submit(partial(self._engines[number], pixels)).result()
        finally:
            with self._lock:
                self._queued[number] -= 1
