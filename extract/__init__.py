"""Run a frozen backbone once over your images, and keep its features.

    import extract

    summary = extract.run("photos")              # photos.features, resumed if it exists
    snapshot = extract.open_store("photos.features")
    data = snapshot.load("train")                # data.X, data.y, data.items: row by row

Names are loaded when they are first used, so that `python -m extract --help` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from extract.errors import HeadstartError

if TYPE_CHECKING:
    from extract.api import Summary, run
    from extract.frozen import FrozenBackbone
    from extract.store.reader import Data, Snapshot, open_store

__all__ = ["Data", "FrozenBackbone", "HeadstartError", "Snapshot", "Summary", "open_store", "run"]

_HOMES = {
    "Summary": "extract.api",
    "run": "extract.api",
    "FrozenBackbone": "extract.frozen",
    "Data": "extract.store.reader",
    "Snapshot": "extract.store.reader",
    "open_store": "extract.store.reader",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'extract' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
