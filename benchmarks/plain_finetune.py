"""The script of the transfer-learning guides: MobileNetV2 with its top unfrozen, `fit`.

    python benchmarks/plain_finetune.py PHOTOS --from 107 [--augment] [--epochs 3]

PHOTOS has train/ and validation/ over class folders. Random flips and rotations are in the graph
with --augment. The last line that it prints is a JSON object with the seconds of each epoch,
validation not included. It uses nothing of headstart.

The backbone is called with `training=False`, as the guides have it. That holds BatchNormalization
in no backbone that trains, as this one does: Keras 3 hands training=True on to its layers. With
--freeze-statistics these layers are frozen.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any


def main(
    photos: Path,
    first: int,
    epochs: int,
    size: int,
    augment: bool,
    weights: str | None,
    freeze_statistics: bool,
) -> list[float]:
    """Train, and return the seconds of each epoch."""
    import keras

    train = keras.utils.image_dataset_from_directory(
        photos / "train", label_mode="categorical", image_size=(size, size), batch_size=32
    )
    base = keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=0.35, include_top=False, pooling="avg", weights=weights
    )
    base.trainable = True
    for layer in base.layers[:first]:
        layer.trainable = False
    if freeze_statistics:
        for layer in base.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    inputs = keras.Input((size, size, 3))
    x = inputs
    if augment:
        x = keras.layers.RandomFlip("horizontal")(x)
        x = keras.layers.RandomRotation(0.1)(x)
    x = keras.applications.mobilenet_v2.preprocess_input(x)
    outputs = keras.layers.Dense(len(train.class_names))(base(x, training=False))
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-5),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begun = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.begun)

    model.fit(train.prefetch(2), epochs=epochs, verbose=0, callbacks=[Clock()])
    return seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument(
        "--from", dest="first", type=int, required=True, help="first layer that trains"
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=224, help="side of the images, in pixels")
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("--random-weights", action="store_true", help="instead of ImageNet's")
    parser.add_argument(
        "--freeze-statistics", action="store_true", help="freeze BatchNormalization"
    )
    options = parser.parse_args()
    found = main(
        options.photos,
        options.first,
        options.epochs,
        options.size,
        options.augment,
        None if options.random_weights else "imagenet",
        options.freeze_statistics,
    )
    print(json.dumps({"epoch_seconds": found}))
