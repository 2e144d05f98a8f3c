"""Build a backbone as a Keras graph that goes from pixels in 0..255 to features.

    pixels (batch, S, S, 3) -> flip, Rescaling -> the backbone's operations -> pooling -> columns

The flip is `keras.ops.flip`: it saves and loads with a model, runs on every Keras backend, and
exports. `x[..., ::-1]` cannot run on torch, and OpenVINO 2026.4 loses the flip of a Gather
(`keras.ops.take`) where a convolution and a flattening come after it: it says nothing, and the
features are off by a tenth. As a ReverseSequence it is left alone, for 1 % of the time.

`extract.keras_weights` builds the backbone itself; this module adds what goes before and after.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from extract import backbones
from extract.backbone_files import file_of
from extract.backbones import Argument, BackboneEntry, BackboneSpec
from extract.errors import BackboneError
from extract.identity import outputs
from extract.keras_weights import load
from extract.preprocessing import PREPROCESSING, parse_preprocessing
from extract.recipe import Column, DType, LayerRequest, Preprocessing
from extract.tokens import patch_tokens

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
    """The file or folder that was loaded; None where the weights are random."""
    arguments: dict[str, Argument]
    """Arguments that differ from the defaults of the backbone."""
    files: tuple[Path, ...] = ()
    """The files in `weights_path`, if it is a folder."""
    patches: int | None = None
    """Tokens that are patches of the image; None where only their number tells."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of layers' outputs, without the batch axis, where Keras is told wrong ones."""
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
    if spec.kind == "keras":
        return _build_file(spec, image_size)
    if spec.kind == "hub":
        from extract import hub

        return hub.build(spec, image_size)
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


def _build_file(spec: BackboneSpec, image_size: int) -> Built:
    from extract.keras_models import load_keras

    path = file_of(spec.name)
    steps = parse_preprocessing(spec.preprocessing or "none")
    model = load_keras(path, image_size)
    model.trainable = False
    return Built(
        entry=entry_of(model, spec, image_size),
        model=model,
        image_size=image_size,
        preprocessing=steps,
        weights_path=path,
        arguments={},
    )


def entry_of(model: keras.Model, spec: BackboneSpec, image_size: int) -> BackboneEntry:
    """Return what the catalogue would say of a backbone that is a file."""
    return BackboneEntry(
        name=spec.title,
        class_name=type(model).__name__,
        module=type(model).__module__,
        image_size=image_size,
        features=int(model.outputs[0].shape[-1]),
        parameters=model.count_params(),
        preprocessing="none",
        arguments={},
        default_weights="own",
        weights_file=spec.name,
        weights_url=None,
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
    shapes = {row.index: row.shape for row in layers_table(built)}
    features = [
        pool(
            column.pooling,
            by_operation[column.operation],
            f"column_{number}",
            _cropping(column.pooling, shapes[column.operation], built.patches),
        )
        for number, column in enumerate(columns)
    ]
    return keras.Model(pixels, features, name="features")


def resolve(
    built: Built, requests: Sequence[LayerRequest], *, dtype: DType = "float32"
) -> list[Column]:
    """Return the columns that are asked for, each once, in their order.

    Args:
        built: The backbone.
        requests: Layers by their names in a fresh process. None at all, or one without a layer,
            means the last map (of several outputs, the first); one without a pooling means
            `avg`, or `none` for a vector.
        dtype: Type on disk of the columns.

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
        if pooling in ("cls", "patches"):
            _check_tokens(built, row, pooling)
        columns.append(Column(operation=row.index, layer=name, pooling=pooling, dtype=dtype))
    return list(dict.fromkeys(columns))


def _check_tokens(built: Built, row: LayerRow, pooling: str) -> None:
    """Raise `BackboneError` unless a layer gives tokens that can be pooled so."""
    if len(row.shape) != 2 or row.shape[0] is None:
        raise BackboneError(
            f"Layer {row.name} of {built.entry.name} gives shape {row.shape}, and {pooling} pools "
            f"tokens (number, channels). Ask for {row.name}:avg or {row.name}:none."
        )
    others = row.shape[0] - patch_tokens(row.shape[0], built.patches)
    if pooling == "cls" and others < 1:
        raise BackboneError(
            f"Layer {row.name} of {built.entry.name} gives {row.shape[0]} tokens, all of them "
            f"patches: there is no class token. Ask for {row.name}:patches."
        )


def layers_table(built: Built) -> list[LayerRow]:
    """Return one row for each operation of the backbone that has one output."""
    return [
        LayerRow(
            index=index,
            name=operation.name,
            class_name=type(operation).__name__,
            shape=built.shapes.get(operation.name, tuple(tensors[0].shape[1:])),
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


def row_shape(built: Built, column: Column) -> tuple[int, ...]:
    """Return the shape of one row of a column."""
    shape = next(row.shape for row in layers_table(built) if row.index == column.operation)
    sides = tuple(side or 0 for side in shape)
    if column.pooling == "none":
        return sides
    return (math.prod(sides),) if column.pooling == "flatten" else sides[-1:]


def _cropping(
    pooling: str, shape: tuple[int | None, ...], patches: int | None
) -> tuple[int, int] | None:
    """Return how many tokens to leave out before and after those that are pooled."""
    if pooling not in ("cls", "patches"):
        return None
    tokens = shape[0] or 0
    return (0, tokens - 1) if pooling == "cls" else (tokens - patch_tokens(tokens, patches), 0)


def pool(
    pooling: str,
    x: keras.KerasTensor,
    name: str,
    cropping: tuple[int, int] | None = None,
) -> keras.KerasTensor:
    """Pool maps (batch, height, width, channels) or tokens (batch, tokens, channels).

    The operation that does it is called `name`.
    """
    import keras

    axes = "1D" if len(x.shape) == 3 else "2D"
    if cropping is not None:
        x = keras.layers.Cropping1D(cropping, dtype="float32", name=f"{name}_{pooling}")(x)
    layers = {
        "avg": f"GlobalAveragePooling{axes}",
        "max": f"GlobalMaxPooling{axes}",
        "flatten": "Flatten",
        "none": "Identity",
        "cls": "GlobalAveragePooling1D",  # of one token
        "patches": "GlobalAveragePooling1D",
    }
    return getattr(keras.layers, layers[pooling])(dtype="float32", name=name)(x)
