"""Numbers of each epoch as files that TensorBoard reads.

Keras' own callback reads `optimizer.learning_rate`, which raises where there are several.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from finetune import rates


class Scalars(keras.callbacks.Callback):
    """Writes the loss, accuracy and rates of each epoch."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from tensorboard.summary import DirectoryOutput, Writer

        self._writer = Writer(DirectoryOutput(str(folder)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write what Keras tells, and the highest and lowest rate."""
        found = rates.rates_now(self.model.optimizer).values()
        numbers = {**(logs or {}), "rate/highest": max(found), "rate/lowest": min(found)}
        for name, value in numbers.items():
            self._writer.add_scalar(name, float(value), epoch + 1)
        self._writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Close the file."""
        self._writer.close()
