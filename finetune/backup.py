"""The state after the last epoch, which a run that was killed goes on with.

Keras copies what is there, then writes weights, then metadata; a kill may cut any of it short.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from finetune.errors import FinetuneError

BACKUP = "backup"
HDF5_GROUPS = 8192
"""Bytes beside the values, for each variable, that HDF5 takes at most for groups and names."""
WEIGHTS, METADATA = "latest.weights.h5", "training_metadata.json"


class Backup(keras.callbacks.BackupAndRestore):
    """Goes on with what a folder holds, and keeps each epoch there.

    Two states are kept: one that was cut short while it was written gives way to the one before.
    Keras does so where HDF5 says OSError; of some torn files it says RuntimeError, or KeyError.
    """

    def __init__(self, folder: Path) -> None:
        self._place = folder / BACKUP
        _mend(self._place)
        super().__init__(str(self._place), double_checkpoint=True, delete_checkpoint=False)

    def on_train_begin(self, logs: Any = None) -> None:
        """Give the model the state of the last epoch that is whole."""
        try:
            super().on_train_begin(logs)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            if not _go_back(self._place):
                raise FinetuneError(
                    f"{self._place} cannot be read: {error}. Remove {self._place.parent}, and the "
                    f"run begins anew"
                ) from error
            super().on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the state after an epoch.

        Raises:
            OSError: If the disk has no room for it.
        """
        if not (self._place / f"{WEIGHTS}.bkp").exists():  # later states take the place of two
            variables = [*self.model.variables, *self.model.optimizer.variables]
            values = sum(math.prod(v.shape) * np.dtype(v.dtype).itemsize for v in variables)
            _find_room(self._place, values + HDF5_GROUPS * len(variables))
        super().on_epoch_end(epoch, logs)


def _find_room(folder: Path, size: int) -> None:
    """Raise `OSError` where so many bytes do not fit on the disk.

    HDF5 that meets a full disk prints a traceback for each group that it cannot close, and ends
    the process with a segmentation fault.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS and Windows
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # it cannot be asked for here
                raise


def _mend(place: Path) -> None:
    """Leave metadata that can be read, or nothing."""
    try:
        json.loads((place / METADATA).read_text(encoding="utf-8"))
    except FileNotFoundError:  # killed in the first epoch's weights, which are of no use
        shutil.rmtree(place, ignore_errors=True)
    except ValueError:
        if not _go_back(place):
            shutil.rmtree(place, ignore_errors=True)


def _go_back(place: Path) -> bool:
    """Put the state before in the place of the last one; returns whether there is one."""
    before = {name: place / f"{name}.bkp" for name in (WEIGHTS, METADATA)}
    if not all(path.is_file() for path in before.values()):
        return False
    for name, path in before.items():
        # A new file, not new bytes: HDF5 takes an inode that is still open for what it has open.
        shutil.copyfile(path, place / f"{name}.new")
        os.replace(place / f"{name}.new", place / name)
    return True
