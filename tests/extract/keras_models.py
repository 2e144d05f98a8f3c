"""Small Keras models as users save them, with weights that a seed decides."""

import keras
import numpy as np


def small_model(*before, size=16, trained_on=None, name="mine"):
    """Return a model of two convolutions; `before` are layers between its input and these.

    `trained_on` gives its BatchNormalization the statistics of what reaches it where pixels go
    through this function first.
    """
    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, 3), name="image")
    x = image
    for layer in before:
        x = layer(x)
    normalization = keras.layers.BatchNormalization(name="bn")
    seen = keras.layers.Conv2D(8, 3, strides=2, name="conv")(x)
    x = keras.layers.ReLU(name="relu")(normalization(seen))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="last")(x)
    model = keras.Model(image, x, name=name)
    if trained_on is not None:
        pixels = np.random.default_rng(0).uniform(0, 255, (16, size, size, 3)).astype("float32")
        values = np.asarray(keras.Model(image, seen)(trained_on(pixels)))
        normalization.moving_mean.assign(values.mean(axis=(0, 1, 2)))
        normalization.moving_variance.assign(values.var(axis=(0, 1, 2)))
    return model


def as_tf(pixels):
    """Pixels in -1..1."""
    return pixels / 127.5 - 1


def saved(model, path):
    """Save a model, and return the path."""
    model.save(path)
    return path
