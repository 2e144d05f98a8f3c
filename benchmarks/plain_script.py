"""The script that people write: a frozen MobileNetV2 in the graph, one Dense, `fit`.

    python benchmarks/plain_script.py PHOTOS [--epochs 10]

PHOTOS has train/ and validation/ over two class folders. The last line that it prints is a JSON
object with the validation accuracy of the last epoch. It uses nothing of headstart.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def main(photos: Path, epochs: int, size: int, weights: str | None) -> float:
    """Train, and return the validation accuracy of the last epoch."""
    import keras

    def dataset(split: str) -> Any:
        return keras.utils.image_dataset_from_directory(
            photos / split, label_mode="binary", image_size=(size, size), batch_size=32
        ).prefetch(2)

    base = keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=0.35, include_top=False, pooling="avg", weights=weights
    )
    base.trainable = False
    inputs = keras.Input((size, size, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(base(x, training=False)))
    model.compile(
        optimizer=keras.optimizers.RMSprop(1e-3),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0, name="accuracy")],
    )
    history = model.fit(
        dataset("train"), validation_data=dataset("validation"), epochs=epochs, verbose=2
    )
    return float(history.history["val_accuracy"][-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=224, help="side of the images, in pixels")
    parser.add_argument("--random-weights", action="store_true", help="instead of ImageNet's")
    options = parser.parse_args()
    given = None if options.random_weights else "imagenet"
    accuracy = main(options.photos, options.epochs, options.size, given)
    print(json.dumps({"val_accuracy": accuracy}))
