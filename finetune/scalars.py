"""Numbers of each epoch as files that TensorBoard reads.

Keras' own callback reads `optimizer.learning_rate`, which raises where there are several, and knows
nothing of how epochs are judged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from finetune import rates
from finetune.guard import Guard

NAMES = ("loss", "accuracy", "val_loss", "val_accuracy")


class Scalars(keras.callbacks.Callback):
    """Writes losses, accuracies and rates of each epoch, once the guard has noted it."""

    def __init__(self, folder: Path, guard: Guard) -> None:
        super().__init__()
        from tensorboard.summary import DirectoryOutput, Writer

        self._writer = Writer(DirectoryOutput(str(folder)))
        self._guard = guard

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write a row of the history, and the highest and lowest rate."""
        row = self._guard.history[-1]
        found = rates.rates_now(self.model.optimizer).values()
        numbers = {name: row[name] for name in NAMES}
        numbers |= {"rate/highest": max(found), "rate/lowest": min(found)}
        for name, value in numbers.items():
            self._writer.add_scalar(name, float(value), epoch + 1)
        self._writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Close the file."""
        self._writer.close()
