"""Build a backbone as a Keras graph that goes from pixels in 0..255 to features.

    pixels (batch, S, S, 3) -> flip, Rescaling -> the backbone's operations -> pooling -> columns

The flip is `keras.ops.flip`: it saves and loads with a model, runs on every Keras backend, and
exports. `x[..., ::-1]` cannot run on torch, and OpenVINO 2026.4 loses the flip of a Gather
(`keras.ops.take`) where a convolution and a flattening come after it: it says nothing, and the
features are off by a tenth. As a ReverseSequence it is left alone, for 1 % of the time.

`extract.keras_weights` builds the backbone itself; this module adds what goes before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extract import backbones
from extract.backbones import PREPROCESSING, Argument, BackboneEntry, BackboneSpec
from extract.errors import BackboneError
from extract.identity import outputs
from extract.keras_weights import load
from extract.recipe import Column, DType, LayerRequest, Preprocessing

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """One operation of a backbone, for people to choose from."""

    index: int
    """Position in topological order; what a `Column` keeps."""
    name: str
    """Its name in a fresh process."""
    class_name: str
    shape: tuple[int | None, ...]
    """Shape of its output, without the batch axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A backbone with its weights, without a classifier."""

    entry: BackboneEntry
    model: keras.Model
    """Preprocessed images (batch, S, S, 3) to the last map; flat, not trainable, float32."""
    image_size: int
    """S, in pixels."""
    preprocessing: Preprocessing
    """What `feature_model` puts before `model`."""
    weights_path: Path | None
    """The file that was loaded; None where the weights are random."""
    arguments: dict[str, Argument]
    """Arguments that differ from the defaults of the backbone."""
    original: keras.Model | None = None
    """As its builder made it, of the very same layers; `model` is this, written out flat."""

    @property
    def layers(self) -> list[LayerRow]:
        """`layers_table` of this."""
        return layers_table(self)


def build(spec: BackboneSpec, image_size: int) -> Built:
    """Build a backbone for images of one size, and give it its weights.

    Weights "imagenet" are those of the catalogue: looked for in `keras_home()/models`, else
    downloaded there. "random" are He-uniform draws of NumPy from a fixed seed, the same bits in
    every process and on every Keras backend. Anything else is the path of a weights file, legacy
    HDF5 or `.weights.h5`, with the classifier or without.

    Args:
        spec: What to build.
        image_size: Side of the images, in pixels.

    Returns:
        The backbone, with layer names as in a fresh process.

    Raises:
        BackboneError: If the backbone cannot take these arguments or this size, or its weights
            are missing, do not fit, or cannot be downloaded.
    """
    import keras

    if keras.config.image_data_format() != "channels_last":
        raise BackboneError(
            "Keras is set to channels_first images, and headstart works with channels_last. Set "
            "image_data_format in keras.json, or call keras.config.set_image_data_format."
        )
    item = backbones.entry(spec.name)
    model, original, path = load(spec, image_size)
    model.trainable = False
    return Built(
        entry=item,
        model=model,
        image_size=image_size,
        preprocessing=PREPROCESSING[item.preprocessing],
        weights_path=path,
        arguments=spec.changed_arguments,
        original=original,
    )


def feature_model(built: Built, columns: Sequence[Column]) -> keras.Model:
    """Return one graph from pixels to every column.

    Args:
        built: The backbone.
        columns: At least one, as `resolve` gives them; their views and types on disk do not
            matter here.

    Returns:
        Model from pixels (batch, S, S, 3), float32 in 0..255, to a list of float32 arrays, one
        per column: (batch, features) for `avg`, `max` and `flatten`, the map for `none`. Keras
        unpacks a list of one. Call it by `predict` or with `training=False`: a model that is
        called with `training=True` overrules the False that its own graph holds.
    """
    import keras

    size = built.image_size
    pixels = keras.Input((size, size, 3), dtype="float32", name="pixels")
    tensors = outputs(built.model)
    wanted = list(dict.fromkeys(column.operation for column in columns))
    backbone = keras.Model(
        built.model.input, [tensors[index][0] for index in wanted], name="backbone"
    )
    maps = backbone(preprocess(pixels, built.preprocessing), training=False)
    by_operation = dict(zip(wanted, keras.tree.flatten(maps), strict=True))
    features = [
        pool(column.pooling, by_operation[column.operation], f"column_{number}")
        for number, column in enumerate(columns)
    ]
    return keras.Model(pixels, features, name="features")


def resolve(
    built: Built, requests: Sequence[LayerRequest], *, dtype: DType = "float32", view: int = 0
) -> list[Column]:
    """Return the columns that are asked for, each once, in their order.

    Args:
        built: The backbone.
        requests: Layers by their names in a fresh process. None at all, or one without a layer,
            means the last map; one without a pooling means `avg`, or `none` for a vector.
        dtype: Type on disk of the columns.
        view: View of the columns.

    Raises:
        BackboneError: If there is no such layer (the message names the nearest), or it cannot
            be pooled as asked.
    """
    rows = {row.name: row for row in layers_table(built)}
    last = built.model.outputs[0]._keras_history.operation.name
    columns = []
    for request in requests or [LayerRequest()]:
        name = request.layer or last
        if name not in rows:
            raise BackboneError(_unknown_layer(built, name, list(rows)))
        row = rows[name]
        pooling = request.pooling or ("none" if len(row.shape) == 1 else "avg")
        if pooling in ("avg", "max") and len(row.shape) not in (2, 3):
            raise BackboneError(
                f"Layer {name} of {built.entry.name} gives shape {row.shape}, which "
                f"{pooling} cannot pool. Ask for {name}:none or {name}:flatten."
            )
        columns.append(
            Column(operation=row.index, layer=name, pooling=pooling, view=view, dtype=dtype)
        )
    return list(dict.fromkeys(columns))


def layers_table(built: Built) -> list[LayerRow]:
    """Return one row for each operation of the backbone that has one output."""
    return [
        LayerRow(
            index=index,
            name=operation.name,
            class_name=type(operation).__name__,
            shape=tuple(tensors[0].shape[1:]),
        )
        for index, (operation, tensors) in enumerate(
            zip(built.model.operations, outputs(built.model), strict=True)
        )
        if len(tensors) == 1
    ]


def _unknown_layer(built: Built, name: str, known: list[str]) -> str:
    near = backbones.nearest(name, known, likeness=0.6) or known[-3:]
    return f"{built.entry.name} has no layer {name!r}: did you mean {', '.join(near)}?"


def preprocess(pixels: keras.KerasTensor, steps: Preprocessing) -> keras.KerasTensor:
    """Return pixels (batch, S, S, 3) in 0..255 as the backbone wants them."""
    import keras

    x = keras.ops.flip(pixels, axis=-1) if steps.flip else pixels
    if steps == Preprocessing(flip=steps.flip):
        return x
    return keras.layers.Rescaling(list(steps.scale), list(steps.offset), name="preprocessing")(x)


def pool(pooling: str, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Pool maps (batch, height, width, channels) or tokens (batch, tokens, channels).

    The operation that does it is called `name`.
    """
    import keras

    axes = "1D" if len(x.shape) == 3 else "2D"
    layers = {
        "avg": f"GlobalAveragePooling{axes}",
        "max": f"GlobalMaxPooling{axes}",
        "flatten": "Flatten",
        "none": "Identity",
    }
    return getattr(keras.layers, layers[pooling])(dtype="float32", name=name)(x)
