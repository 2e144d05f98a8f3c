"""The garbage collector stands still while very many objects are made that all stay.

Each of its passes looks at everything that lives, so that making a million items costs many times
what the items themselves cost; and there is nothing to collect among them.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Run a block without garbage collection; counting of references goes on as always."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
