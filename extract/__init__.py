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
    from extract.api import run
    from extract.checks import check_images, recompute
    from extract.compacting import gc
    from extract.comparing import diff
    from extract.exporting import export
    from extract.forgetting import forget
    from extract.frozen import FrozenBackbone
    from extract.merging import merge
    from extract.questions import estimate, explain
    from extract.relabeling import relabel, split
    from extract.repairing import repair
    from extract.store.opening import open_store
    from extract.store.reader import Data, Snapshot
    from extract.store.verify import verify
    from extract.summary import Summary

__all__ = [
    "Data",
    "FrozenBackbone",
    "HeadstartError",
    "Snapshot",
    "Summary",
    "check_images",
    "diff",
    "estimate",
    "explain",
    "export",
    "forget",
    "gc",
    "merge",
    "open_store",
    "recompute",
    "relabel",
    "repair",
    "run",
    "split",
    "verify",
]

_HOMES = {
    "extract.api": ("run",),
    "extract.checks": ("check_images", "recompute"),
    "extract.comparing": ("diff",),
    "extract.compacting": ("gc",),
    "extract.exporting": ("export",),
    "extract.forgetting": ("forget",),
    "extract.frozen": ("FrozenBackbone",),
    "extract.merging": ("merge",),
    "extract.questions": ("estimate", "explain"),
    "extract.relabeling": ("relabel", "split"),
    "extract.repairing": ("repair",),
    "extract.store.opening": ("open_store",),
    "extract.store.reader": ("Data", "Snapshot"),
    "extract.store.verify": ("verify",),
    "extract.summary": ("Summary",),
}


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'extract' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
