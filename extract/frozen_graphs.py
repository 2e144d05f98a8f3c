"""Frozen graphs as backbones: ONNX, OpenVINO's own, SavedModel, all read and run by OpenVINO.

    pixels (batch, S, S, 3) -> flip, scale, offset -> the graph's layout -> graph -> pooling

Such a graph says neither which pixels it expects nor how its layers are called, so somebody says
`--preprocessing`, and a layer is known by the name that the graph's file gives it. Which axes of a
map are height and width follows from the input: channels first, as torch exports them, or last.

What is put before and after is held against the graph as it came, image by image, on the probes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from extract import backbones, frozen_files
from extract.backbone_files import file_of
from extract.errors import BackboneError
from extract.prepared import Prepared, Request, file_facts
from extract.preprocessing import applied, parse_preprocessing
from extract.recipe import Column, LayerRequest, Pooling, Preprocessing
from extract.store.files import sha256
from extract.store.records import seal
from extract.tokens import patch_tokens

HIDDEN = ("Constant", "Result", "ReadValue", "ShapeOf")
"""Kinds of nodes that are no layers."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A graph with an open batch axis, as OpenVINO reads it."""

    path: Path
    model: Any
    channels_first: bool
    size: int | None
    """Side of the images that it was made for; None for any."""
    named: frozenset[str]
    """The names of nodes that are the file's own."""

    @property
    def layers(self) -> dict[str, Any]:
        """Every output of one named node that depends on the image, by its name, in order."""
        found: dict[str, Any] = {}
        for node in self.model.get_ordered_ops():
            if node.get_type_name() in HIDDEN or node.get_output_size() != 1:
                continue
            if node.get_friendly_name() not in self.named | {self.last}:
                continue
            shape = node.output(0).partial_shape
            if shape.rank.is_static and len(shape) and shape[0].is_dynamic:
                found[node.get_friendly_name()] = node.output(0)
        return found

    @property
    def last(self) -> str:
        """The name of the layer that the graph gives, the first of several."""
        return str(self.model.outputs[0].get_node().input_value(0).get_node().get_friendly_name())


def image_size_of(path: Path) -> int | None:
    """Return the side of the images that a graph was made for, in pixels; None for any."""
    return _read(path)[2]


def read(path: Path, size: int) -> Frozen:
    """Read a graph for images of one size.

    Raises:
        BackboneError: If it cannot be read, or takes something else than a batch of images.
    """
    model, channels_first, own_size = _read(path)
    if own_size not in (None, size):
        raise BackboneError(
            f"{path} takes images of {own_size} pixels, and --image-size is {size}. Leave it out"
        )
    try:
        model.reshape([-1, 3, size, size] if channels_first else [-1, size, size, 3])
    except RuntimeError as error:
        raise _fixed_batch(path) from error
    if model.outputs[0].partial_shape[0].is_static:
        raise _fixed_batch(path)
    return Frozen(path, model, channels_first, own_size, _names(model) & _names(_read(path)[0]))


def _names(model: Any) -> frozenset[str]:
    """Return the names of all nodes.

    A node that OpenVINO's frontend put in is called by a counter of the process (`Transpose_44`),
    by which nobody would find it again: names that a second reading has too are the file's.
    """
    return frozenset(node.get_friendly_name() for node in model.get_ops())


def _fixed_batch(path: Path) -> BackboneError:
    return BackboneError(
        f"{path} has a fixed number of images a call built in. Export it with a dynamic batch axis"
    )


def _read(path: Path) -> tuple[Any, bool, int | None]:
    """Return (OpenVINO's model, whether channels come first, side of its images or None)."""
    import openvino as ov

    frozen_files.files_of(path)
    try:
        model = ov.Core().read_model(path)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise BackboneError(f"OpenVINO cannot read {path}: {reason}. Export it anew") from error
    if len(model.inputs) != 1:
        raise BackboneError(
            f"{path} takes {len(model.inputs)} inputs, expected one image. Export a part of one"
        )
    shape = model.inputs[0].partial_shape
    sides = [d.get_length() if d.is_static else None for d in shape] if shape.rank.is_static else []
    if len(sides) != 4 or 3 not in (sides[1], sides[3]):
        raise BackboneError(
            f"{path} takes inputs of shape {shape}, expected images (batch, 3, height, width) or "
            f"(batch, height, width, 3). Export it for RGB images"
        )
    kind = model.inputs[0].get_element_type().get_type_name()
    if kind not in ("f32", "f16", "bf16"):
        raise BackboneError(
            f"{path} takes numbers of type {kind}, expected float32. Export it without quantization"
        )
    channels_first = sides[1] == 3
    height, width = sides[2:] if channels_first else sides[1:3]
    if None not in (height, width) and height != width:
        raise BackboneError(f"{path} takes images of {height} x {width} pixels, expected squares")
    return model, channels_first, height if height is not None else width


def resolve(graph: Frozen, requests: Sequence[LayerRequest]) -> list[Column]:
    """Return the columns that are asked for, each once, in their order.

    Raises:
        BackboneError: If there is no such layer (the message names the nearest), or it cannot
            be pooled as asked.
    """
    layers = graph.layers
    columns = []
    for request in requests or [LayerRequest()]:
        name = request.layer or graph.last
        if name not in layers:
            near = backbones.nearest(name, layers, likeness=0.6) or list(layers)[-3:]
            raise BackboneError(
                f"{graph.path.name} has no layer {name!r}: did you mean {', '.join(near)}?"
            )
        shape = _row_shape(graph, name, layers[name])
        pooling = request.pooling or ("none" if len(shape) < 2 else "avg")
        _check_pooling(graph, name, shape, pooling)
        columns.append(Column(operation=_number(name), layer=name, pooling=pooling))
    return list(dict.fromkeys(columns))


def _number(name: str) -> int:
    """Return what stands for a layer in a column: OpenVINO's order may change, names do not."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6])


def _row_shape(graph: Frozen, name: str, output: Any) -> tuple[int, ...]:
    shape = list(output.partial_shape)[1:]
    if any(side.is_dynamic for side in shape):
        raise BackboneError(f"Layer {name} of {graph.path.name} has no fixed shape. Name another")
    return tuple(side.get_length() for side in shape)


def _check_pooling(graph: Frozen, name: str, shape: tuple[int, ...], pooling: Pooling) -> None:
    fits = {"avg": (2, 3), "max": (2, 3), "cls": (2,), "patches": (2,)}.get(pooling)
    if fits is not None and len(shape) not in fits:
        raise BackboneError(
            f"Layer {name} of {graph.path.name} gives shape {shape}, which {pooling} cannot pool. "
            f"Ask for {name}:none or {name}:flatten."
        )
    if (
        pooling in ("avg", "max")
        and len(shape) == 3
        and _channels_first(graph, name, shape) is None
    ):
        raise BackboneError(
            f"Layer {name} of {graph.path.name} gives shape {shape}: which of these are channels "
            f"cannot be told. Ask for {name}:none or {name}:flatten."
        )
    if pooling == "cls" and shape[0] == patch_tokens(shape[0]):
        raise BackboneError(
            f"Layer {name} of {graph.path.name} gives {shape[0]} tokens, all of them patches: "
            f"there is no class token. Ask for {name}:patches."
        )


def convert(request: Request, probes: np.ndarray, scratch: Path) -> None:
    """Write `graph.xml` and `prepared.json` for a frozen graph, held against itself on the probes.

    Args:
        request: Its spec names the graph.
        probes: The synthetic probes, (n, size, size, 3) float32 in 0..255.
        scratch: An empty folder.

    Raises:
        BackboneError: If the graph cannot be used; the message says why.
    """
    import openvino as ov

    path = file_of(request.spec.name)
    steps = parse_preprocessing(request.spec.preprocessing or "none")
    graph = read(path, request.image_size)
    columns = resolve(graph, request.layers)
    expected = _by_hand(graph, columns, applied(probes, steps))
    joined = _with_pixels(graph, columns, steps, request.image_size)
    ov.save_model(joined, scratch / "graph.xml", compress_to_fp16=False)
    shapes = _check(graph, columns, expected, scratch / "graph.xml", probes)
    graph_digest, weights_digest = frozen_files.digests(path)
    prepared = Prepared(
        graph_digest=graph_digest,
        weights_digest=weights_digest,
        arguments={},
        preprocessing=steps,
        columns=tuple(zip(columns, shapes, strict=True)),
        weights=file_facts(path, frozen_files.files_of(path)),
        folder=scratch,
        files={p.name: sha256(p.read_bytes()) for p in sorted(scratch.glob("graph.*"))},
    )
    (scratch / "prepared.json").write_bytes(seal("prepared", prepared.to_json()))


def _with_pixels(graph: Frozen, columns: Sequence[Column], steps: Preprocessing, size: int) -> Any:
    """Return OpenVINO's model from pixels to columns; `graph.model` becomes part of it."""
    import openvino as ov
    from openvino import opset13 as ops

    pixels = ops.parameter([-1, size, size, 3], np.float32, name="pixels")
    x = pixels
    if steps.flip:
        x = ops.concat(ops.split(x, ops.constant(3), 3).outputs()[::-1], 3)
    x = ops.multiply(x, np.array(steps.scale, np.float32))
    x = ops.add(x, np.array(steps.offset, np.float32))
    if graph.channels_first:
        x = ops.transpose(x, ops.constant([0, 3, 1, 2]))
    image = graph.model.inputs[0]
    if image.get_element_type() != ov.Type.f32:
        x = ops.convert(x, image.get_element_type().to_dtype())
    layers = graph.layers
    for target in image.get_target_inputs():
        target.replace_source_output(x.output(0))
    pooled = [_pooled(graph, c, layers[c.layer], number) for number, c in enumerate(columns)]
    return ov.Model([ops.result(node) for node in pooled], [pixels], "features")


def _pooled(graph: Frozen, column: Column, output: Any, number: int) -> Any:
    from openvino import opset13 as ops

    x, shape = ops.convert(output, np.float32), _row_shape(graph, column.layer, output)
    axes = ops.constant(_spatial(graph, column.layer, shape))
    tokens = shape[0] if len(shape) == 2 else 1
    name = f"column_{number}"
    match column.pooling:
        case "avg":
            return ops.reduce_mean(x, axes, name=name)
        case "max":
            return ops.reduce_max(x, axes, name=name)
        case "flatten":
            return ops.reshape(x, ops.constant([0, -1]), special_zero=True, name=name)
        case "cls":
            return ops.gather(x, ops.constant(0), ops.constant(1), name=name)
        case "patches":
            kept = ops.constant(np.arange(tokens - patch_tokens(tokens), tokens))
            return ops.reduce_mean(ops.gather(x, kept, ops.constant(1)), axes, name=name)
        case _:
            return ops.convert(x, np.float32, name=name)


def _spatial(graph: Frozen, layer: str, shape: tuple[int, ...]) -> list[int]:
    """Return the axes to pool over; `shape` is that of a row, the batch is axis 0."""
    if len(shape) < 3:
        return [1]
    return [2, 3] if _channels_first(graph, layer, shape) else [1, 2]


def _channels_first(graph: Frozen, layer: str, shape: tuple[int, ...]) -> bool | None:
    """Return where the channels of a map are; None where nothing tells.

    Not the graph's own layout: OpenVINO moves transposes, so that inner layers of a graph with
    channels last have them first, and some graphs mix both. Images are squares, so are their maps.
    """
    first, last = shape[1] == shape[2], shape[0] == shape[1]
    if first != last:
        return first
    return graph.channels_first if layer == graph.last else None


def _by_hand(graph: Frozen, columns: Sequence[Column], images: np.ndarray) -> list[np.ndarray]:
    """Return what the graph alone gives for images one by one, pooled with NumPy."""
    import openvino as ov

    layers = graph.layers
    plain = ov.Model([layers[c.layer] for c in columns], graph.model.get_parameters(), "plain")
    compiled = ov.Core().compile_model(plain, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    turned = images.transpose(0, 3, 1, 2) if graph.channels_first else images
    kind = compiled.inputs[0].get_element_type().to_dtype()
    rows = [list(compiled(image[None].astype(kind)).values()) for image in turned]
    found = [np.concatenate(arrays).astype(np.float32) for arrays in zip(*rows, strict=True)]
    return [_pooled_by_hand(graph, c, x) for c, x in zip(columns, found, strict=True)]


def _pooled_by_hand(graph: Frozen, column: Column, x: np.ndarray) -> np.ndarray:
    axes = tuple(_spatial(graph, column.layer, x.shape[1:]))
    match column.pooling:
        case "avg":
            return np.asarray(x.mean(axis=axes))
        case "max":
            return np.asarray(x.max(axis=axes))
        case "flatten":
            return x.reshape(len(x), -1)
        case "cls":
            return x[:, 0]
        case "patches":
            return np.asarray(x[:, x.shape[1] - patch_tokens(x.shape[1]) :].mean(axis=1))
        case _:
            return x


def _check(
    graph: Frozen,
    columns: Sequence[Column],
    expected: Sequence[np.ndarray],
    written: Path,
    probes: np.ndarray,
) -> list[tuple[int, ...]]:
    """Return the shape of a row of each column, if all agree with the graph as it came."""
    from extract.engines.engine import PARITY, relative_distance
    from extract.engines.openvino import OpenVINOEngine

    for column, found, alone in zip(
        columns, OpenVINOEngine(written)(probes), expected, strict=True
    ):
        same = found.shape == alone.shape
        if not same or relative_distance(found, alone) > PARITY:
            raise BackboneError(
                f"{graph.path} gives other features in a batch than alone, at {column.name}. "
                f"Export it with a dynamic batch axis, and in float32"
            )
    return [tuple(array.shape[1:]) for array in expected]
