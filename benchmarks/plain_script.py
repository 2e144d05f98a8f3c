"""The script of the guides: a frozen backbone in the graph, one Dense, `fit`; then the top of it.

    python benchmarks/plain_script.py PHOTOS [--epochs 10] [--augment] [--then-epochs 1 --then-from 100]

PHOTOS has train/ and validation/ (or val/), and perhaps test/, over class folders. The last line
that it prints is a JSON object: accuracies of every epoch and of the end, and when each epoch was
done, in seconds from the start of `main`. It uses nothing of headstart.

The backbone is called with `training=False`, as the guides have it. That holds BatchNormalization
only while all of it is frozen: once it trains, Keras 3 hands training=True on to its layers.
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

KEYS = ("train", "validation", "test")


def datasets(photos: Path, size: int) -> dict[str, Any]:
    """Return the splits that are there, as batches of pixels and whole-number labels."""
    import keras

    found = {}
    for split, names in zip(KEYS, (["train"], ["validation", "val"], ["test"]), strict=True):
        folder = next((photos / name for name in names if (photos / name).is_dir()), None)
        if folder is not None:
            found[split] = keras.utils.image_dataset_from_directory(
                folder, image_size=(size, size), batch_size=32, seed=0, verbose=False
            )
    return found


def build(options: argparse.Namespace, classes: int) -> tuple[Any, Any]:
    """Return the model, and the backbone inside of it, which is frozen."""
    import keras

    size = options.size
    backbone = getattr(keras.applications, options.backbone)
    base = backbone(
        input_shape=(size, size, 3),
        include_top=False,
        pooling="avg",
        weights=None if options.random_weights else options.weights,
        **json.loads(options.arguments),
    )
    base.trainable = False
    inputs = x = keras.Input((size, size, 3))
    if options.augment:
        x = keras.layers.RandomFlip("horizontal")(x)
        x = keras.layers.RandomRotation(0.1)(x)
    if options.wrong_scale:
        x = keras.layers.Rescaling(1 / 255)(x)  # the mistake: what follows wants 0..255
    x = sys.modules[backbone.__module__].preprocess_input(x)
    x = keras.layers.Dropout(options.dropout)(base(x, training=False))
    return keras.Model(inputs, keras.layers.Dense(1 if classes == 2 else classes)(x)), base


def compile_for(model: Any, classes: int, optimizer: str, rate: float) -> None:
    """Compile for one logit of two classes, or a logit for each."""
    import keras

    two = classes == 2
    losses = keras.losses
    loss = losses.BinaryCrossentropy if two else losses.SparseCategoricalCrossentropy
    metric = (
        keras.metrics.BinaryAccuracy(threshold=0, name="accuracy")
        if two
        else keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    )
    optimizers = {"rmsprop": "RMSprop", "adam": "Adam", "sgd": "SGD"}
    chosen = getattr(keras.optimizers, optimizers[optimizer])(rate)
    model.compile(optimizer=chosen, loss=loss(from_logits=True), metrics=[metric])


def loop(model: Any, train: Any, validation: Any, epochs: int, clock: Any) -> dict[str, Any]:
    """Train by a loop of one's own over `trainable_weights`, as the guides do on each backend."""
    import keras

    two = model.output_shape[-1] == 1
    history: dict[str, Any] = {"accuracy": [], "val_accuracy": []}
    model.optimizer.build(model.trainable_weights)
    step = STEPS[keras.backend.backend()](model)
    for epoch in range(epochs):
        right = total = 0
        for pixels, labels in train.as_numpy_iterator():
            targets = labels[:, None].astype("float32") if two else labels
            logits = keras.ops.convert_to_numpy(step(pixels, targets))
            chosen = logits[:, 0] > 0 if two else logits.argmax(axis=1)
            right += int((chosen == labels).sum())
            total += len(labels)
        history["accuracy"].append(right / total)
        history["val_accuracy"].append(model.evaluate(validation, verbose=0)[1])
        clock.on_epoch_end(epoch, None)
    return history


def tensorflow_step(model: Any) -> Any:
    """Return a function of pixels and targets that trains on a batch and returns its logits."""
    import tensorflow as tf

    def step(pixels: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = model(pixels, training=True)
            value = model.loss(targets, logits)
        gradients = tape.gradient(value, model.trainable_weights)
        model.optimizer.apply(gradients, model.trainable_weights)
        return logits

    return tf.function(step, reduce_retracing=True)


def torch_step(model: Any) -> Any:
    """Return the same for torch, whose tensors keep their own gradients."""
    import torch

    def step(pixels: Any, targets: Any) -> Any:
        model.zero_grad()
        logits = model(pixels, training=True)
        model.loss(targets, logits).backward()
        trained = model.trainable_weights
        with torch.no_grad():
            model.optimizer.apply([weight.value.grad for weight in trained], trained)
        return logits.detach()

    return step


def jax_step(model: Any) -> Any:
    """Return the same for JAX, where all that changes goes in and comes out."""
    import jax

    def loss(trained: Any, fixed: Any, pixels: Any, targets: Any) -> Any:
        logits, fixed = model.stateless_call(trained, fixed, pixels, training=True)
        return model.loss(targets, logits), (logits, fixed)

    def update(state: Any, pixels: Any, targets: Any) -> Any:
        trained, fixed, moments = state
        (_, (logits, fixed)), gradients = jax.value_and_grad(loss, has_aux=True)(
            trained, fixed, pixels, targets
        )
        trained, moments = model.optimizer.stateless_apply(moments, gradients, trained)
        return (trained, fixed, moments), logits

    update = jax.jit(update)
    places = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)

    def step(pixels: Any, targets: Any) -> Any:
        state = tuple([variable.value for variable in place] for place in places)
        state, logits = update(state, pixels, targets)
        for place, values in zip(places, state, strict=True):
            for variable, value in zip(place, values, strict=True):
                variable.assign(value)
        return logits

    return step


STEPS = {"tensorflow": tensorflow_step, "torch": torch_step, "jax": jax_step}


def main(options: argparse.Namespace) -> dict[str, Any]:
    """Train; return accuracies and times."""
    import keras

    start = time.perf_counter()
    keras.utils.set_random_seed(0)
    data = datasets(options.photos, options.size)
    classes = len(data["train"].class_names)
    model, base = build(options, classes)
    done: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: done.append(time.perf_counter() - start)
    )
    facts: dict[str, Any] = {"accuracies": [], "val_accuracies": []}

    def fit(optimizer: str, rate: float, epochs: int) -> None:
        compile_for(model, classes, optimizer, rate)
        train, validation = data["train"].prefetch(2), data["validation"].prefetch(2)
        if options.loop:
            found = loop(model, train, validation, epochs, clock)
        else:
            found = model.fit(
                train, validation_data=validation, epochs=epochs, verbose=0, callbacks=[clock]
            ).history
        facts["accuracies"] += map(float, found["accuracy"])
        facts["val_accuracies"] += map(float, found["val_accuracy"])

    begun = time.perf_counter() - start
    fit(options.optimizer, options.learning_rate, options.epochs)
    if options.then_epochs:
        base.trainable = True
        for layer in base.layers[: options.then_from]:
            layer.trainable = False
        fit(options.then_optimizer or options.optimizer, options.then_rate, options.then_epochs)
    if "test" in data:
        facts["test_accuracy"] = float(model.evaluate(data["test"], verbose=0)[1])
    return facts | {
        "val_accuracy": facts["val_accuracies"][-1],
        "fit_begun": begun,
        "epochs_done": done,
    }


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", default="MobileNetV2", help="a name in keras.applications")
    parser.add_argument("--arguments", default='{"alpha": 0.35}', help="of the backbone, as JSON")
    parser.add_argument("--weights", default="imagenet", help="imagenet, or a file")
    parser.add_argument("--random-weights", action="store_true", help="instead of ImageNet's")
    parser.add_argument("--size", type=int, default=224, help="side of the images, in pixels")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--optimizer", default="rmsprop")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--augment", action="store_true", help="random flips and rotations")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--wrong-scale", action="store_true", help="divide pixels by 255")
    parser.add_argument("--loop", action="store_true", help="of one's own, not `fit`")
    parser.add_argument("--then-epochs", type=int, default=0, help="of fine-tuning, afterwards")
    parser.add_argument("--then-from", type=int, default=0, help="first layer that then trains")
    parser.add_argument("--then-rate", type=float, default=1e-5)
    parser.add_argument("--then-optimizer", help="the same by default")
    return parser.parse_args(words)


if __name__ == "__main__":
    print(json.dumps(main(parse())))
