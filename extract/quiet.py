"""Import a framework without what it says on the way.

TensorFlow writes about drivers that a machine does not have, from C++ and before any setting of
its own is read, so the only way to not hear it is to close its ears: file descriptor 2.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", "GLOG_minloglevel": "3"}
"""What keeps TensorFlow quiet later."""


def quiet_import(name: str) -> ModuleType:
    """Import a module; what its libraries print on stderr meanwhile is not shown.

    What it raises is raised.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    if name in sys.modules:
        return sys.modules[name]
    with _silent_stderr():
        return importlib.import_module(name)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    sys.stderr.flush()
    try:
        before = os.dup(2)
    except OSError:  # there is no stderr to be silenced
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)
