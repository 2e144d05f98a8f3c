"""The augmentation grammar as Keras layers: random, in the graph, only while training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extract.augment import Augmentation

if TYPE_CHECKING:
    import keras


def augmentation_layers(text: str, size: int, seed: int) -> keras.Sequential | None:
    """Return pictures (batch, size, size, 3) in 0..255 to changed ones, or None for no text.

    Every call draws anew, for each picture by itself, and does nothing unless `training=True`.

    Raises:
        InputError: If the text is not of the grammar.
    """
    if not text:
        return None
    import keras

    layers = [keras.Input((size, size, 3), name="pixels")]
    for number, (name, arguments) in enumerate(Augmentation.parse(text).keras_layers(size)):
        options = dict(arguments)
        if name.startswith("Random"):
            options["seed"] = seed + number
        layers.append(getattr(keras.layers, name)(**options))
    return keras.Sequential(layers, name="augmentation")
