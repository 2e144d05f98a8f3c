"""Train the backbone of the demo on the digits 0 to 4, and say what it is worth on 5 to 9.

    python -m scripts.train_digits_backbone extract/digits.weights.h5

The backbone hands on 64 numbers, the means of its last maps. A network that only has to tell 0 to
4 apart drops whatever these five do not need, and 5 to 9 may need it. So it trains on patchworks,
each quarter cut from another digit, and from the 64 numbers it must

- name the digit of each quarter, which takes strokes and their places, not whole shapes;
- redraw the patchwork, 8 x 8.

Patchworks and their labels come from pictures of 0 to 4 alone. One in five of these is held out.

Seeds are fixed, and the same machine writes the same bytes again. But sums are taken in another
order by another TensorFlow, processor or number of cores, and training drifts apart from there.
So a run is compared with the committed weights by its accuracies: within 0.02 on the 181 held-out
pictures of 0 to 4, and within 0.01 for the mean on 5 to 9. Where new weights are committed, their
SHA-256 goes into `extract.digits.WEIGHTS_SHA256`.

Printed by Keras 3.15.1 and TensorFlow 2.21.0 on two cores, in a minute:

    random weights     5 to 9: mean 0.9558, worst of ten splits 0.9442
    these weights      5 to 9: mean 0.9888, worst of ten splits 0.9814
    these weights      0 to 4, held out: 0.9945
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import cv2
import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from extract import digits

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

SEED = 0
CLASSES = 5  # the digits 0 to 4
PATCHWORKS = 96_000
BATCH_SIZE = 64
REDRAW_WEIGHT = 30.0  # brings the squared error, about 0.01, to the size of the cross-entropy


def digits_of(classes: range) -> tuple[digits.Pixels, Labels]:
    """Return the images (n, 8, 8), uint8 in 0..16, of `classes`, and their labels (n,)."""
    images, labels = digits.read_digits()
    chosen = np.isin(labels, classes)
    return images[chosen], labels[chosen]


def training_data() -> tuple[digits.Pixels, digits.Pixels, Labels, Labels]:
    """Return images to train on and held out, and labels likewise; digits 0 to 4 only."""
    images, labels = digits_of(range(CLASSES))
    return tuple(
        train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=SEED)
    )


def patchworks(
    images: digits.Pixels, labels: Labels, count: int, random: np.random.Generator
) -> tuple[digits.Pixels, Labels]:
    """Return `count` images (count, 8, 8) whose quarters come from `images`, drawn at random.

    Returns:
        The patchworks, and the labels (count, 4) of their quarters, row by row.
    """
    donors = random.integers(len(images), size=(count, 4))
    result = np.empty((count, 8, 8), np.uint8)
    for quarter in range(4):
        top, left = 4 * (quarter // 2), 4 * (quarter % 2)
        place = np.s_[:, top : top + 4, left : left + 4]
        result[place] = images[donors[:, quarter]][place]
    return result, labels[donors]


def jitter(pictures: digits.Pixels, random: np.random.Generator) -> digits.Pixels:
    """Return each picture (n, 32, 32) turned by up to 9 degrees, scaled and moved a little."""
    middle = (digits.IMAGE_SIZE - 1) / 2
    result = np.empty_like(pictures)
    for row, picture in enumerate(pictures):
        turn = cv2.getRotationMatrix2D(
            (middle, middle), random.uniform(-9, 9), random.uniform(0.925, 1.075)
        )
        turn[:, 2] += random.uniform(-1.6, 1.6, size=2)  # pixels
        result[row] = cv2.warpAffine(picture, turn, picture.shape)
    return result


def redrawn(pictures: digits.Pixels) -> Floats:
    """Return what is to be redrawn of each picture (n, 32, 32): (n, 64), 8 x 8 means in 0..1."""
    blocks = pictures.reshape(-1, 8, 4, 8, 4)
    return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(-1, 64) / 255


def trainer(backbone: keras.Model) -> keras.Model:
    """Return `backbone` with its two tasks on top, compiled: grey pictures (batch, 32, 32, 1) in.

    Its outputs are "quarters", logits (batch, 4, 5), and "redrawn", (batch, 64).
    """
    grey = keras.Input((digits.IMAGE_SIZE, digits.IMAGE_SIZE, 1))
    maps = backbone(keras.layers.Concatenate()([grey] * 3))
    means = keras.layers.GlobalAveragePooling2D()(maps)  # (batch, 64)
    logits = keras.layers.Dense(4 * CLASSES)(means)
    outputs = {
        "quarters": keras.layers.Reshape((4, CLASSES), name="quarters")(logits),
        "redrawn": keras.layers.Dense(64, name="redrawn")(means),
    }
    model = keras.Model(grey, outputs)
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, PATCHWORKS // BATCH_SIZE)
    model.compile(
        keras.optimizers.AdamW(schedule, weight_decay=0.01),
        loss={
            "quarters": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "redrawn": "mean_squared_error",
        },
        loss_weights={"quarters": 1.0, "redrawn": REDRAW_WEIGHT},
    )
    return model


def train() -> tuple[keras.Model, float]:
    """Return the trained backbone, and its accuracy on held-out pictures of 0 to 4."""
    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    images, held_out, labels, held_out_labels = training_data()
    backbone = digits.build()
    model = trainer(backbone)
    mixed, quarters = patchworks(images, labels, PATCHWORKS, random)
    pictures = jitter(digits.render(mixed), random)
    targets = {"quarters": quarters, "redrawn": redrawn(pictures)}
    # Every patchwork is seen once, in the order drawn: there is nothing to shuffle or to repeat.
    model.fit(pictures[..., None], targets, batch_size=BATCH_SIZE, shuffle=False, verbose=2)

    whole = digits.render(held_out)[..., None]
    votes = model.predict(whole, verbose=0)["quarters"].sum(axis=1)  # (n, 4, 5) to (n, 5)
    return backbone, float(np.mean(votes.argmax(axis=1) == held_out_labels))


def transfer_accuracy(backbone: keras.Model) -> npt.NDArray[np.float64]:
    """Return the accuracies (10,) on digits 5 to 9 of logistic regression on averaged features.

    One for each of ten stratified splits, 70 % to train on and 30 % (269 pictures) to test.
    """
    images, labels = digits_of(digits.DEMO_DIGITS)
    pixels = digits.render(images)[..., None].repeat(3, axis=-1)
    features = backbone.predict(pixels, verbose=0).mean(axis=(1, 2))  # (n, 64)
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    splits = StratifiedShuffleSplit(10, test_size=0.3, random_state=SEED)
    return cross_val_score(head, features, labels, cv=splits)


def report(name: str, backbone: keras.Model) -> None:
    """Print one line on what the features of `backbone` are worth on 5 to 9."""
    scores = transfer_accuracy(backbone)
    print(f"{name:<18} 5 to 9: mean {scores.mean():.4f}, worst of ten splits {scores.min():.4f}")


def main() -> None:
    """Train, save the weights, and print accuracies beside those of the committed weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="where the weights go, <name>.weights.h5")
    path = parser.parse_args().path
    tf.config.experimental.enable_op_determinism()

    backbone, accuracy = train()
    keras.utils.set_random_seed(SEED)
    report("random weights", digits.build())
    if digits.WEIGHTS.exists():
        committed = digits.build()
        committed.load_weights(digits.WEIGHTS)
        report("committed weights", committed)
    report("these weights", backbone)
    print(f"{'these weights':<18} 0 to 4, held out: {accuracy:.4f}")

    backbone.save_weights(path)
    content = path.read_bytes()
    print(f"{path}: {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
