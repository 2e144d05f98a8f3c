"""Another command between two operations of one that is under way, and buckets in memory.

Both are in one process: before the n-th operation on its files a thread of one command stops, the
other command runs from its first word to its last, and the first goes on with what it knew.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extract.errors import HeadstartError
from extract.store.files import Files, LocalFiles
from extract.store.object_files import ObjectFiles
from extract.store.opening import Store

OPERATIONS = (
    "read",
    "view",
    "read_into",
    "stamp",
    "list",
    "write_new",
    "fsync",
    "link_new",
    "rename",
    "remove",
)
FOLDERS = ("", "shards", "commits", "snapshots", "probes", "damaged")


class Interruption:
    """Work that is done once, before the n-th operation of others."""

    def __init__(self, at: int, work: Callable[[], object]) -> None:
        self.left, self.work = at, work
        self.done = False
        self.error: HeadstartError | None = None
        """What it ended with, where that was a line."""
        self._lock = threading.Lock()

    def step(self) -> None:
        """Count an operation."""
        with self._lock:  # not during the work, which has threads of its own
            self.left -= 1
            if self.left >= 0 or self.done:
                return
            self.done = True
        try:
            self.work()
        except HeadstartError as error:
            self.error = error


@contextlib.contextmanager
def interrupting(at: int, work: Callable[[], object]) -> Iterator[Interruption]:
    """Do some work before the n-th operation on any store that is opened meanwhile."""
    found = Interruption(at, work)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("extract.store.opening.LocalFiles", _counted(LocalFiles, found))
        patch.setattr("extract.store.object_files.ObjectFiles", _counted(ObjectFiles, found))
        yield found


def _counted(kind: type, interruption: Interruption) -> type:
    """Return a class of files each of whose operations is a step."""

    def counted(name: str) -> Callable[..., Any]:
        operation = getattr(kind, name)

        def call(self: Any, *words: Any) -> Any:
            interruption.step()
            return operation(self, *words)

        return call

    return type(f"Counted{kind.__name__}", (kind,), {name: counted(name) for name in OPERATIONS})


@contextlib.contextmanager
def buckets_in_memory() -> Iterator[None]:
    """Let every URL of a bucket be a place in the memory of this process."""
    from obstore.store import MemoryStore

    places: dict[str, Any] = {}

    def opened(url: str) -> Any:
        return places.setdefault(url, MemoryStore())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("extract.store.object_files.open_bucket", opened)
        yield


def overwrite(files: Files, name: str, data: bytes) -> None:
    """Give a name to other bytes, as a person or a broken disk does."""
    files.remove(name)
    files.write_new(name, data)


def copied(store: Path | str, folder: Path) -> Path:
    """Copy a store into a folder of this machine."""
    files = Store.at(store).files
    for place in FOLDERS:
        (folder / place).mkdir(parents=True, exist_ok=True)
        for name in files.list(place):
            whole = f"{place}/{name}".lstrip("/")
            (folder / whole).write_bytes(files.read(whole))
    return folder
