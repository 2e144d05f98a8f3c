"""Work in threads that comes back in order, with bounded memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Stage(Generic[In, Out]):
    """A stage of a pipeline: a function, the threads that run it, and how long it took.

    `seconds` is time that its threads were busy, summed over them; `waited` is time that the
    consumer stood waiting for it: the stage with the largest `waited` limits the pipeline.
    """

    def __init__(self, work: Callable[[In], Out], threads: int, window: int) -> None:
        """`window` items at most are under way or finished and not yet taken."""
        self._work = work
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=work.__name__.strip("_"))
        self._window = window
        self.seconds = 0.0
        self.waited = 0.0

    def __call__(
        self, items: Iterable[In], needs_work: Callable[[In], bool] = lambda _: True
    ) -> Iterator[tuple[In, Out | None]]:
        """Yield (item, result) in order; None is the result of an item that needs no work."""
        ahead: deque[tuple[In, Future[tuple[Out, float]] | None]] = deque()
        for item in items:
            ahead.append((item, self._pool.submit(self._timed, item) if needs_work(item) else None))
            while len(ahead) >= self._window or (ahead and ahead[0][1] is None):
                yield self._take(ahead)
        while ahead:
            yield self._take(ahead)

    def _timed(self, item: In) -> tuple[Out, float]:
        start = time.perf_counter()
        result = self._work(item)
        return result, time.perf_counter() - start

    def _take(
        self, ahead: deque[tuple[In, Future[tuple[Out, float]] | None]]
    ) -> tuple[In, Out | None]:
        item, future = ahead.popleft()
        if future is None:
            return item, None
        start = time.perf_counter()
        result, seconds = future.result()
        self.waited += time.perf_counter() - start
        self.seconds += seconds
        return item, result

    def close(self) -> None:
        """Drop what has not begun and wait for what has."""
        self._pool.shutdown(wait=True, cancel_futures=True)
