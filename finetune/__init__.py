"""Fine-tune a head with its backbone, at a low rate, from where the head converged.

    import finetune

    print(finetune.plan("photos.features").cuts)       # what each cut of the graph would save
    found = finetune.run("photos.features")            # photos.tuned, never worse than photos.head
    network = finetune.build("photos.head")            # the graph, for a loop of your own

Names are loaded when they are first used, so that `python -m finetune --help` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.building import build
    from finetune.options import Options
    from finetune.planning import Planned, plan
    from finetune.running import Summary, run

_HOMES = {
    "Options": "finetune.options",
    "Planned": "finetune.planning",
    "Summary": "finetune.running",
    "build": "finetune.building",
    "plan": "finetune.planning",
    "run": "finetune.running",
}
__all__ = ["Options", "Planned", "Summary", "build", "plan", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'finetune' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
