"""The network as it trains.

    inputs ─▶ augmentation ─▶ body ─▶ feature row ─▶ dropout ─▶ head ─▶ / temperature ─▶ logits

The body is all of the backbone (inputs are pixels), or what is above a cut (inputs are the
tensors that cross it). It is called with `training=False`, whatever Keras says: a layer further
down would otherwise be told `training=True`, and BatchNormalization would use and move the
statistics of batches.
"""

from __future__ import annotations

from typing import Any

import keras

from finetune.boundary import Cut
from finetune.network import Network


def full_body(network: Network) -> keras.Model:
    """Return pixels (batch, S, S, 3) in 0..255 to the feature row."""
    size = network.built.image_size
    pixels = keras.Input((size, size, 3), dtype="float32", name="pixels")
    maps = network.trunk(network.preprocessing(pixels), training=False)
    return keras.Model(pixels, network.features(maps), name="body")


def suffix_body(network: Network, cut: Cut) -> keras.Model:
    """Return the tensors that cross a cut, float32, to the feature row."""
    inputs = [
        keras.Input(shape, dtype="float32", name=f"boundary_{number}")
        for number, shape in enumerate(cut.shapes)
    ]
    bare = inputs[0] if len(inputs) == 1 else inputs
    maps = cut.suffix(network)(bare, training=False)
    return keras.Model(bare, network.features(maps), name="body")


class Tuner(keras.Model):
    """The network as it trains."""

    def __init__(
        self,
        network: Network,
        body: keras.Model,
        augmentation: keras.Model | None,
        dropout: float,
        seed: int,
        train_statistics: bool,
    ) -> None:
        super().__init__(name="tuner")
        self.body = body
        self.head = network.head
        self.augmentation = augmentation
        self.dropout = keras.layers.Dropout(dropout, seed=seed)
        # A head that is sure of every training row has no gradient to give; a calibrated one has.
        self._temperature = network.model.temperature
        self._train_statistics = train_statistics

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return calibrated logits (batch, classes)."""
        training = bool(training)
        if self.augmentation is not None:
            inputs = self.augmentation(inputs, training=training)
        row = self.body(inputs, training=training and self._train_statistics)
        return self.head(self.dropout(row, training=training)) / self._temperature
