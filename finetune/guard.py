"""Never worse than the head: weights are judged, the best are kept, and what is frozen stays.

before step 1 ─▶ the head's judgment, digests of all that is frozen
each epoch    ─▶ judge; better than all before? keep these weights, on disk too
at the end    ─▶ the best weights come back; digests are compared
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from finetune.errors import FrozenWeightError
from finetune.judging import Judgment

BEST, STATE = "best.npz", "state.json"
NOTHING = Judgment(-1.0, -np.inf)
"""What every judgment beats."""


def values_of(variables: Sequence[Any]) -> list[np.ndarray]:
    """Return copies of variables' values."""
    import keras

    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Give variables their values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


@dataclass
class Guard:
    """What was best so far; a folder holds it, so that a crash costs nothing of it."""

    folder: Path
    head: Judgment
    """Before the first step."""
    start: list[np.ndarray]
    """The trainable weights before the first step."""
    best: Judgment = NOTHING
    """Of the best epoch, whether or not it beats the head."""
    weights: list[np.ndarray] = field(default_factory=list)
    """Those of `best`; none before the first epoch."""
    epoch: int = 0
    """After which the weights were these; 0 before the first."""
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, folder: Path, judgment: Judgment, weights: list[np.ndarray]) -> Guard:
        """Return a guard for weights that were judged, with what `folder` holds of a crash."""
        guard = cls(folder, judgment, weights)
        if (folder / STATE).is_file() and (folder / BEST).is_file():
            guard._resume()
        return guard

    def offer(self, epoch: int, judgment: Judgment, weights: Sequence[np.ndarray]) -> bool:
        """Hear of weights after an epoch, and return whether none was better so far."""
        better = judgment.beats(self.best)
        if better:
            self.best, self.weights, self.epoch = judgment, list(weights), epoch
            self._write(BEST, _npz(self.weights))
        return better

    def note(self, row: Mapping[str, Any]) -> None:
        """Add a row to the history, in the place of one that a crash left of the same epoch."""
        self.history = [old for old in self.history if old["epoch"] < row["epoch"]] + [dict(row)]
        facts = {
            "best": [self.best.accuracy, self.best.goodness],
            "epoch": self.epoch,
            "history": self.history,
        }
        self._write(STATE, json.dumps(facts).encode())

    def is_over(self, patience: int) -> bool:
        """Whether so many epochs have ended since the best one; 0 is never."""
        last = self.history[-1]["epoch"] if self.history else 0
        return patience > 0 and last - self.epoch >= patience

    @property
    def praise(self) -> str:
        """What people hear of an epoch that is better than all before it."""
        return "best epoch so far, not better than the head" if self.kept_head else "best so far"

    @property
    def kept_head(self) -> bool:
        """Whether no epoch was better than the head."""
        return not self.best.beats(self.head)

    @property
    def result(self) -> list[np.ndarray]:
        """The best weights, those of the head among them."""
        return self.start if self.kept_head else self.weights

    def _resume(self) -> None:
        facts = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        self.best, self.epoch = Judgment(*facts["best"]), facts["epoch"]
        self.history = facts["history"]
        with np.load(self.folder / BEST, allow_pickle=False) as stored:
            self.weights = [stored[name] for name in sorted(stored.files)]

    def _write(self, name: str, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = self.folder / f".{name}"
        with open(scratch, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, self.folder / name)


def _npz(arrays: Sequence[np.ndarray]) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, **{f"{i:05d}": array for i, array in enumerate(arrays)})  # type: ignore[arg-type]
    return sink.getvalue()


class Frozen:
    """Digests of every weight and moving statistic that is to stay as it is, bit for bit."""

    def __init__(self, operations: Sequence[Any], may_move: Sequence[Any]) -> None:
        """Take the variables of `operations` that are not in `may_move`."""
        moving = {id(variable) for variable in may_move}
        found = {id(v): v for o in operations for v in getattr(o, "weights", [])}
        self.variables = [v for key, v in found.items() if key not in moving]
        self._before = [_digest(variable) for variable in self.variables]

    def check(self) -> None:
        """Raise `FrozenWeightError` if one has changed."""
        changed = [
            variable.path
            for variable, before in zip(self.variables, self._before, strict=True)
            if _digest(variable) != before
        ]
        if changed:
            raise FrozenWeightError(
                f"{len(changed)} weights that were to stay as they are have changed, such as "
                f"{changed[0]}. Give --batchnorm train if moving statistics may move; else report "
                f"this"
            )


def _digest(variable: Any) -> bytes:
    import keras

    array = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
    return hashlib.sha256(array.tobytes()).digest()
