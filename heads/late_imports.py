"""Let scikit-learn start without modules that it imports at its start and seldom uses.

`import sklearn` takes about two seconds on a small machine, and half of that is `scipy.stats`, of
which a head needs nothing. A stand-in takes its place and loads it for whoever asks for any of it.
Only our command line does so: in a notebook, imports are the user's.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

SELDOM = ("scipy.stats",)


class _StandIn(ModuleType):
    """A module that becomes the real one when it is first asked for something."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def import_late() -> None:
    """Put stand-ins where these modules are not loaded yet."""
    for name in SELDOM:
        sys.modules.setdefault(name, _StandIn(name))
