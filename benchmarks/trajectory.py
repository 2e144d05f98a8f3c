"""A Keras head on cached features beside the same head in the graph: the same road, epoch by epoch.

    python -m benchmarks.trajectory --shared ../shared [--epochs 10] [--count 100]

- cached      `extract.run` (MobileNetV2 0.35 at 224 pixels), then `LinearHead` on its features
- in-graph    pixels through the frozen backbone at every step, a standardization with the same
              means and scales, one Dense; the same first weights, order of rows, optimizer
              (RMSprop 1e-3) and batch size (32), no augmentation

Both see the same pixels, decoded and resized by `extract.pixels`. Validation accuracies must be
the same after every epoch, and the weights at the end within 1e-3 of each other's norm, both for
features as they are. What is not measured: speed. `seconds` is shown for orientation; in-graph
decodes every image anew at every epoch, as a data set that does not fit into memory would.

`plain_script_seconds` times the script that people write (`benchmarks.plain_script`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import extract
from benchmarks.command_line import photographs_of
from benchmarks.goals import at_most
from benchmarks.timing import machine
from extract import keras_graph, pixels
from extract.backbones import BackboneSpec
from extract.cores import num_cores
from extract.recipe import PixelPolicy
from extract.store.reader import Data
from heads.data import open_source
from heads.epochs import batch_order

DATA = "cats_dogs_200px"
SPEC = BackboneSpec(arguments={"alpha": 0.35})
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
SEED = 0
TOLERANCE = 1e-3
PREDICT_ROWS = 64


@dataclass(frozen=True)
class Run:
    """What one way of training came to."""

    accuracies: list[float]
    """On validation rows, after each epoch."""
    kernel: np.ndarray
    """(d, outputs), for features as they are."""
    bias: np.ndarray
    """(outputs,), for features as they are."""
    seconds: float


@dataclass(frozen=True)
class Photos:
    """The labelled rows of a store, with the images that they were made from."""

    root: Path
    policy: PixelPolicy
    train: Data
    validation: Data

    def pixels(self, data: Data, rows: np.ndarray) -> np.ndarray:
        """Return (len(rows), size, size, 3) float32: images decoded and resized anew."""
        paths = [self.root / data.items["path"][int(row)].as_py() for row in rows]
        with ThreadPoolExecutor(num_cores()) as pool:
            images = pool.map(lambda path: pixels.load(path.read_bytes(), self.policy)[0], paths)
            return np.stack(list(images))


@contextmanager
def subset(photos: Path, count: int | None) -> Iterator[Path]:
    """Yield a folder with the first `count` images of each class and split; all, without one."""
    if count is None:
        yield photos
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for place in sorted(path for path in photos.glob("*/*") if path.is_dir()):
            chosen = Path(folder) / place.relative_to(photos)
            chosen.mkdir(parents=True)
            for path in sorted(place.iterdir())[:count]:
                shutil.copy(path, chosen)
        yield Path(folder)


def extracted(photos: Path, spec: BackboneSpec) -> Photos:
    """Extract features into a store that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        store = Path(folder) / "store"
        extract.run(
            photos,
            store,
            backbone=spec.name,
            arguments=dict(spec.arguments),
            weights=spec.weights,
        )
        source = open_source(store)
        policy = source.snapshot.recipe.pixels
        return Photos(photos, policy, source.load("train"), source.load("validation"))


def train_on_features(photos: Photos, epochs: int) -> Run:
    """Train a `LinearHead` on cached features."""
    from heads.neural import LinearHead

    head = LinearHead(
        optimizer="rmsprop",
        learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        early_stopping=None,
        random_state=SEED,
    )
    start = time.perf_counter()
    held_out = (photos.validation.X, photos.validation.y)
    head.fit(photos.train.X, photos.train.y, validation_data=held_out)
    accuracies = [row["val_accuracy"] for row in head.history_]
    return Run(accuracies, head.coef_.T, head.intercept_, time.perf_counter() - start)


def train_in_graph(photos: Photos, spec: BackboneSpec, epochs: int) -> Run:
    """Train the same head by Keras' own means, on the frozen backbone in the graph."""
    start = time.perf_counter()
    mean, scale = standardization(photos.train.X)
    codes = np.asarray(photos.train.y)
    model = in_graph_model(spec, photos.policy.image_size, mean, scale, codes)
    accuracies = []
    for epoch in range(1, epochs + 1):
        order = batch_order(len(codes), SEED, epoch)
        for rows in np.split(order, range(BATCH_SIZE, len(order), BATCH_SIZE)):
            model.train_on_batch(photos.pixels(photos.train, rows), targets(codes)[rows])
        accuracies.append(accuracy(model, photos))
    kernel, bias = (np.asarray(weight, np.float64) for weight in model.head.get_weights())
    kernel = kernel / scale[:, None]
    return Run(accuracies, kernel, bias - mean @ kernel, time.perf_counter() - start)


def standardization(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and scale (d,), float64, as scikit-learn has them."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(X)
    return scaler.mean_, scaler.scale_


def targets(codes: np.ndarray) -> np.ndarray:
    """Return (n, 1) for two classes, (n, classes) for more."""
    classes = int(codes.max()) + 1
    encoded = codes[:, None] if classes == 2 else np.eye(classes)[codes]
    return encoded.astype(np.float32)


def in_graph_model(
    spec: BackboneSpec, image_size: int, mean: np.ndarray, scale: np.ndarray, codes: np.ndarray
) -> Any:
    """Return a compiled model from pixels to logits; its `head` starts where `LinearHead` does."""
    import keras

    class InGraph(keras.Model):
        def __init__(self, features: Any, scaling: Any, head: Any) -> None:
            super().__init__()
            self.features, self.scaling, self.head = features, scaling, head

        def call(self, inputs: Any) -> Any:
            # Said here too: a model that trains overrules what its inner models were told.
            return self.head(self.scaling(self.features(inputs, training=False)))

    built = keras_graph.build(spec, image_size)
    features = keras_graph.feature_model(built, keras_graph.resolve(built, []))
    features.trainable = False
    encoded = targets(codes)
    share = np.bincount(codes) / len(codes)
    two = encoded.shape[1] == 1
    head = keras.layers.Dense(encoded.shape[1], kernel_initializer="zeros")
    head.build((None, len(mean)))
    head.bias.assign(np.log(share[1:] / share[:1]) if two else np.log(share))
    scaling = keras.layers.Rescaling((1 / scale).tolist(), (-mean / scale).tolist())
    model = InGraph(features, scaling, head)
    losses = keras.losses
    loss = losses.BinaryCrossentropy if two else losses.CategoricalCrossentropy
    optimizer = keras.optimizers.RMSprop(LEARNING_RATE)
    model.compile(optimizer=optimizer, loss=loss(from_logits=True), jit_compile=False)
    return model


def accuracy(model: Any, photos: Photos) -> float:
    """Return the share of validation rows whose label the model gives."""
    codes = np.asarray(photos.validation.y)
    steps = np.split(np.arange(len(codes)), range(PREDICT_ROWS, len(codes), PREDICT_ROWS))
    logits = [model.predict_on_batch(photos.pixels(photos.validation, rows)) for rows in steps]
    found = np.concatenate(logits)
    chosen = found[:, 0] > 0 if found.shape[1] == 1 else found.argmax(axis=1)
    return float((chosen == codes).mean())


def compare(photos: Path, spec: BackboneSpec, epochs: int) -> dict[str, Any]:
    """Train both ways on a folder of images with train and validation; return what they came to."""
    rows = extracted(photos, spec)
    cached, in_graph = train_on_features(rows, epochs), train_in_graph(rows, spec, epochs)
    difference = cached.kernel - in_graph.kernel
    return {
        "rows": {"train": len(rows.train), "validation": len(rows.validation)},
        "epochs": epochs,
        "cached": cached.accuracies,
        "in_graph": in_graph.accuracies,
        "kernel_difference": float(np.linalg.norm(difference) / np.linalg.norm(in_graph.kernel)),
        "bias_difference": float(
            np.linalg.norm(cached.bias - in_graph.bias) / np.linalg.norm(in_graph.bias)
        ),
        "seconds": {"cached": cached.seconds, "in_graph": in_graph.seconds},
    }


def measure(shared: Path, *, epochs: int = 10, count: int | None = None) -> dict[str, Any]:
    """Compare both ways on real photographs, and print a table.

    Args:
        shared: The folder of real weights and photographs.
        epochs: How many.
        count: Images of each class and split; all by default.
    """
    with subset(photographs_of(shared, DATA), count) as photos:
        facts = compare(photos, SPEC, epochs)
    show(facts)
    return facts


def show(facts: Mapping[str, Any]) -> None:
    """Print validation accuracies of both ways, epoch by epoch."""
    print("validation accuracy\nepoch  cached  in-graph", file=sys.stderr)
    pairs = zip(facts["cached"], facts["in_graph"], strict=True)
    for epoch, (cached, in_graph) in enumerate(pairs, 1):
        print(f"{epoch:5}  {cached:.4f}  {in_graph:.4f}", file=sys.stderr)


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each figure, beside what it must reach."""
    furthest = max(facts["kernel_difference"], facts["bias_difference"])
    same = sum(a == b for a, b in zip(facts["cached"], facts["in_graph"], strict=True))
    return [
        f"the same validation accuracy after {same} of {facts['epochs']} epochs (all)",
        f"kernels differ by {facts['kernel_difference']:.1e} of their norm, biases by "
        f"{facts['bias_difference']:.1e} {at_most(furthest, TOLERANCE)}",
    ]


def plain_script_seconds(
    photos: Path,
    home: Path | None = None,
    *,
    epochs: int = 10,
    count: int | None = None,
    options: Sequence[str] = (),
) -> tuple[float, float]:
    """Run the script that people write as a process of its own.

    Args:
        photos: A folder with train/ and validation/ over two class folders.
        home: Where Keras finds its weights; where it is by default, without one.
        epochs: How many.
        count: Images of each class and split; all by default.
        options: More words for the script, such as "--random-weights".

    Returns:
        Wall time in seconds from start to end, and the validation accuracy of the last epoch.
    """
    script = Path(__file__).with_name("plain_script.py")
    environment = {**os.environ, **({"KERAS_HOME": str(home)} if home is not None else {})}
    with subset(photos, count) as chosen:
        words = [sys.executable, script, chosen, "--epochs", epochs, *options]
        start = time.perf_counter()
        done = subprocess.run(
            list(map(str, words)),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            text=True,
        )
        seconds = time.perf_counter() - start
    return seconds, float(json.loads(done.stdout.splitlines()[-1])["val_accuracy"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--count", type=int, help="images of each class and split")
    arguments = parser.parse_args()
    shared = arguments.shared.resolve()
    measured = measure(shared, epochs=arguments.epochs, count=arguments.count)
    for line in verdict(measured):
        print(line, file=sys.stderr)
    print(json.dumps({"machine": machine(), "trajectory": measured}))
