"""A head and its frozen backbone as one plain Keras model: a raw image in, a score per class out.

    image (batch, h, w, 3) uint8, any size
      └▶ float32 ─▶ resize ─▶ preprocessing, backbone, pooling ─▶ "feature_row" (batch, d)
                                  └▶ head ─▶ logits ─▶ "temperature" ─▶ softmax (batch, classes)

It is made of Keras' own layers and operations, so that it loads by
`keras.saving.load_model(path, safe_mode=True)` where headstart is not installed. The names of the
classes travel as the name of the last operation, a JSON list: a name is all of a plain Keras
model that is kept through saving, loading and every backend. `class_names` reads it; elsewhere it
is `json.loads(model.operations[-1].name)`.

A column that was cached as float16 is rounded to float16 inside as well, after "feature_row",
because the head was trained on rounded features: without it probabilities would be off by more
than is allowed. On a GPU, numbers are those of `predict` where TF32 is switched off.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from extract import identity, prepare
from heads import graph_resize
from heads.errors import HeadError
from heads.model import Model
from heads.scoring import Dense, Prototype, Scorer

if TYPE_CHECKING:
    import keras

Output = Literal["probabilities", "logits"]

FEATURES = "feature_row"
"""Name of the layer whose output (batch, d) are the columns side by side, in float32."""
SPLIT = 2.0**13 + 1.0
"""Times this, and back, leaves the 11 leading bits of a float32, as float16 has them."""


def join(
    model: Model, output: Output = "probabilities", *, weights: str | Path | None = None
) -> keras.Model:
    """Build the joined model in this process, on the Keras backend that is active.

    Args:
        model: Its scorer is a stack of affine maps, or prototypes.
        output: "probabilities" (each row sums to 1), or "logits" as `model.logits` gives them,
            before the temperature: softmax(logits / model.temperature) are the probabilities.
        weights: Where the backbone's weights file is now, if it is not where it was.

    Returns:
        Model from images (batch, h, w, 3) uint8, of any size, to (batch, classes) float32. The
        backbone is not trainable. Call it by `predict` or with `training=False`.

    Raises:
        HeadError: If the head cannot become layers.
        StaleModelError: If the backbone that is found is not the one that the head was trained
            on; the message names the field.
        BackboneError: If the backbone or its weights cannot be had.
    """
    check(model)
    if output not in get_args(Output):
        raise HeadError(f"output is one of {', '.join(get_args(Output))}. Received: {output!r}")
    import keras

    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    pixels = graph_resize.resize(keras.ops.cast(image, "float32"), model.recipe.pixels)
    x = head_layers(model, _features(model, pixels, weights))
    # The cast changes nothing: it is the operation to bear the names.
    x = _answers(model, x) if output == "probabilities" else keras.ops.cast(x, "float32")
    x._keras_history.operation.name = _as_name(model.classes)
    return keras.Model(image, x, name="joined")


def check(model: Model) -> None:
    """Raise `HeadError` unless a model can be joined; nothing is built or imported."""
    if type(model.scorer) not in _HEADS:
        name = model.estimator.get("name", model.scorer.kind)
        raise HeadError(
            f"A head of kind {model.scorer.kind!r} ({name}) cannot become Keras layers; logistic, "
            f"ridge, svm, lda, linear, mlp and prototype can. Type: python -m heads fit "
            f"{model.store.get('path', 'STORE')} --estimator logistic"
        )
    if model.recipe.precision != "float32":
        raise HeadError(
            f"The head was trained on {model.recipe.precision} features, and a joined model "
            f"computes in float32, which is far from them. Extract with --precision float32, and "
            f"train the head anew"
        )


def class_names(joined: keras.Model) -> list[str]:
    """Return the names of the classes that a joined model tells apart, in the order of its output.

    Raises:
        HeadError: If it is another model.
    """
    try:
        names = json.loads(joined.operations[-1].name)
    except ValueError as error:
        raise HeadError(
            f"Model {joined.name!r} bears no class names: it is not one that heads.join made"
        ) from error
    return list(names)


def _as_name(classes: Sequence[str]) -> str:
    """Return names as ASCII JSON without a slash, which Keras takes in no name."""
    return json.dumps(list(classes)).replace("/", "\\u002f")


def _features(
    model: Model, pixels: keras.KerasTensor, weights: str | Path | None
) -> keras.KerasTensor:
    """Return (batch, d) for pixels (batch, size, size, 3) in 0..255: the columns side by side."""
    import keras

    built, columns, backbone = prepare.build(model.request(weights))
    model.check_backbone(
        built.preprocessing,
        identity.graph_digest(built.model),
        identity.weights_digest(built.model),
    )
    outputs = keras.tree.flatten(backbone(pixels, training=False))
    by_column = {(c.operation, c.pooling): x for c, x in zip(columns, outputs, strict=True)}
    return feature_row([by_column[column.operation, column.pooling] for column in model.columns])


def feature_row(columns: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    """Return (batch, d): columns (batch, ...) flattened and side by side, named `FEATURES`."""
    import keras

    flat = [x if len(x.shape) == 2 else keras.layers.Flatten()(x) for x in columns]
    x = flat[0] if len(flat) == 1 else keras.layers.Concatenate()(flat)
    return keras.layers.Identity(name=FEATURES)(x)


def head_layers(model: Model, row: keras.KerasTensor) -> keras.KerasTensor:
    """Return logits (batch, classes) for a feature row (batch, d): the head as Keras layers.

    Layers with weights are called "head_0", "head_1", ...; `scorer_of` reads them back.
    """
    return _HEADS[type(model.scorer)](model.scorer, _as_cached(row, model))


def scorer_of(model: Model, layers: keras.Model) -> Scorer:
    """Return the scorer of a model, with the weights that `head_layers` have in `layers` now."""
    scorer = model.scorer
    if isinstance(scorer, Prototype):
        # Its lengths are no longer 1, and the scale is in them.
        (kernel,) = layers.get_layer("head_0").get_weights()
        return Prototype(scorer.center, np.ascontiguousarray(kernel.T), 1.0)
    assert isinstance(scorer, Dense)
    pairs = [layers.get_layer(f"head_{i}").get_weights() for i in range(len(scorer.kernels))]
    return Dense(tuple(k for k, _ in pairs), tuple(b for _, b in pairs), scorer.activation)


def _as_cached(row: keras.KerasTensor, model: Model) -> keras.KerasTensor:
    """Round the features of float16 columns to 11 bits, by arithmetic.

    ONNX Runtime and OpenVINO take a cast to float16 and back for nothing and drop it. Below
    6e-5, where float16 has fewer bits, it rounds less.

    Source: Veltkamp's splitting, in T. J. Dekker, A floating-point technique for extending the
    available precision, Numerische Mathematik 18 (1971). A factor of 0 leaves a feature alone.
    """
    import keras

    if all(column.dtype == "float32" for column in model.columns):
        return row
    factors: list[float] = []
    for column, shape in zip(model.columns, model.row_shapes, strict=True):
        factors += [SPLIT if column.dtype == "float16" else 0.0] * math.prod(shape)
    scaled = keras.layers.Rescaling(factors, name="split")(row)
    return scaled - (scaled - row)


def _dense(scorer: Dense, x: keras.KerasTensor) -> keras.KerasTensor:
    """Return logits (batch, classes); two classes are one logit, beside a 0, as in `scoring`."""
    import keras

    for number, (kernel, bias) in enumerate(zip(scorer.kernels, scorer.biases, strict=True)):
        if number:
            x = _ACTIVATIONS[scorer.activation](x)
        x = _affine(x, kernel, bias, f"head_{number}")
    return keras.ops.pad(x, ((0, 0), (1, 0))) if x.shape[1] == 1 else x


def _answers(model: Model, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Return what `heads.scoring.answers` does: the last operation will bear the names."""
    import keras

    if model.task == "regression":
        return keras.ops.multiply(logits[:, -len(model.classes) :], 1.0)
    x = keras.layers.Rescaling(1 / model.temperature, name="temperature")(logits)
    if model.task == "multilabel":
        return keras.ops.sigmoid(x[:, -len(model.classes) :])
    return keras.ops.softmax(x)


def _prototype(scorer: Prototype, x: keras.KerasTensor) -> keras.KerasTensor:
    import keras

    x = keras.layers.Rescaling(1.0, (-scorer.center).tolist(), name="center")(x)
    x = keras.layers.UnitNormalization(name="unit")(x)
    return _affine(x, scorer.prototypes.T * np.float32(scorer.scale), None, "head_0")


def _affine(
    x: keras.KerasTensor, kernel: np.ndarray, bias: np.ndarray | None, name: str
) -> keras.KerasTensor:
    import keras

    layer = keras.layers.Dense(kernel.shape[1], use_bias=bias is not None, name=name)
    y = layer(x)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return y


def _activation(name: str, **options: Any) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        import keras

        return getattr(keras.ops, name)(x, **options)

    return apply


_HEADS: dict[type[Scorer], Callable[[Any, Any], Any]] = {Dense: _dense, Prototype: _prototype}
_ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": _activation("relu"),
    "silu": _activation("silu"),
    "gelu": _activation("gelu", approximate=True),
    "tanh": _activation("tanh"),
}
