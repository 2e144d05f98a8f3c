"""Threads that give results in order, with a bounded number under way."""

import threading
import time

import pytest

from extract.stages import Stage


def test_results_come_in_order_whatever_finishes_first():
    stage = Stage(lambda x: time.sleep(0.01 * (x % 3)) or x * x, threads=4, window=8)

    assert list(stage(range(20))) == [(x, x * x) for x in range(20)]
    stage.close()


def test_no_more_than_the_window_is_under_way():
    taken = threading.Semaphore(0)
    begun = []
    stage = Stage(lambda x: begun.append(x) or taken.acquire(timeout=5) or x, 2, window=3)
    pulled = []

    def source():
        for x in range(10):
            pulled.append(x)
            yield x

    results = stage(source())
    for _ in range(10):
        taken.release()
    for done, _ in enumerate(results):
        assert len(pulled) <= done + 4
    stage.close()


def test_what_needs_no_work_passes_in_its_place():
    stage = Stage(lambda x: x * 10, threads=2, window=4)
    results = list(stage(range(7), needs_work=lambda x: x % 2 == 0))
    stage.close()

    assert results == [(x, x * 10 if x % 2 == 0 else None) for x in range(7)]


def test_an_error_surfaces_where_its_result_would():
    stage = Stage(lambda x: 1 // (3 - x), threads=2, window=2)
    results = stage(range(5))
    taken = [next(results) for _ in range(3)]

    assert taken == [(0, 0), (1, 0), (2, 1)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    stage.close()
