"""What each layer of a backbone gives and costs: shape, size, and share of the forward time.

OpenVINO fuses layers and counts the time of what it made of them, so the share of a layer is that
of everything that has run once it is there, in the order in which OpenVINO runs. A layer that was
made one with those after it is there when these are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from extract.backbone_files import file_of
from extract.backbones import BackboneSpec
from extract.prepare import in_child, leave, serve

RUNS = 12
BATCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """One layer output of a backbone."""

    name: str
    class_name: str
    shape: tuple[int, ...]
    """Of one image."""
    kib: float
    """KiB per image as it is, in float32; pooling makes it smaller."""
    share: float
    """Share of the forward time, 0 to 1, that has passed when it is there."""


def layer_costs(spec: BackboneSpec, image_size: int) -> list[LayerCost]:
    """Return every layer output of a backbone, in order.

    A backbone of the catalogue is built with random weights: no file is needed.

    Raises:
        BackboneError: If it cannot be built or converted.
    """
    if spec.kind == "graph":
        return _frozen(spec, image_size)
    weights = spec.weights if spec.kind != "catalogue" else "random"
    asked = {"spec": {**spec.locators, "weights": weights}, "image_size": image_size}
    said = in_child(["extract.layer_costs"], lambda: json.dumps(asked).encode())
    rows = json.loads(said.strip().splitlines()[-1])
    return [LayerCost(**{**row, "shape": tuple(row["shape"])}) for row in rows]


def _cost(name: str, class_name: str, shape: Sequence[int], share: float) -> LayerCost:
    kib = 4 * math.prod(shape) / 1024
    return LayerCost(name=name, class_name=class_name, shape=tuple(shape), kib=kib, share=share)


def _frozen(spec: BackboneSpec, image_size: int) -> list[LayerCost]:
    from extract import frozen_graphs

    graph = frozen_graphs.read(file_of(spec.name), image_size)
    layers = {
        name: output
        for name, output in graph.layers.items()
        if all(side.is_static for side in list(output.partial_shape)[1:])
    }
    nodes = {name: output.get_node() for name, output in layers.items()}
    shares = _shares(nodes, graph.model)
    return [
        _cost(
            name,
            nodes[name].get_type_name(),
            [side.get_length() for side in list(output.partial_shape)[1:]],
            shares[name],
        )
        for name, output in layers.items()
    ]


def _built(message: bytes) -> None:
    """Build and profile what `layer_costs` asks for, and print it; in the child."""
    from extract import keras_graph
    from extract.openvino_export import converted
    from extract.recipe import Column

    asked = json.loads(message)
    spec = BackboneSpec.located_at(asked["spec"])
    built = keras_graph.build(spec, asked["image_size"])
    rows = [row for row in built.layers if row.class_name != "InputLayer" and None not in row.shape]
    columns = [Column(operation=row.index, layer=row.name, pooling="none") for row in rows]
    model = converted(keras_graph.feature_model(built, columns))
    nodes = {
        row.name: _maker(result.get_node().input_value(0).get_node())
        for row, result in zip(rows, model.outputs, strict=True)
    }
    shares = _shares(nodes, model)
    shapes = [(row, [side or 0 for side in row.shape]) for row in rows]
    costs = [_cost(row.name, row.class_name, shape, shares[row.name]) for row, shape in shapes]
    print(json.dumps([asdict(cost) for cost in costs]))


def _maker(node: Any) -> Any:
    """Return the node that computes what a node passes on in another layout."""
    while node.get_type_name() in ("Transpose", "Convert", "Reshape", "Result"):
        inner = node.input_value(0).get_node()
        if inner.get_type_name() in ("Constant", "Parameter"):
            break
        node = inner
    return node


def _shares(nodes: Mapping[str, Any], model: Any) -> dict[str, float]:
    """Return the share of the forward time that has passed when each node is done.

    Only the last output is asked for, as in a run: else nothing could be fused.
    """
    import openvino as ov

    last = list(nodes.values())[-1]
    plain = ov.Model([last.output(0)], model.get_parameters(), "profiled")
    compiled = ov.Core().compile_model(plain, "CPU", {"PERF_COUNT": True})
    request = compiled.create_infer_request()
    shape = [BATCH, *(side.get_length() for side in list(compiled.inputs[0].partial_shape)[1:])]
    image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    kind = compiled.inputs[0].get_element_type().to_dtype()
    rounds = []
    for _ in range(RUNS):
        request.infer([image.astype(kind)])
        found = _executed(compiled)
        rounds.append([seconds for seconds, _ in found])
    passed = np.cumsum(np.median(rounds, axis=0))
    done: dict[str, float] = {}
    for at, (_, names) in enumerate(found):
        for name in names:
            done[name] = float(passed[at] / max(passed[-1], 1e-9))
    return _filled({name: done.get(node.get_friendly_name()) for name, node in nodes.items()})


def _executed(compiled: Any) -> list[tuple[float, list[str]]]:
    """Return (microseconds, names of the nodes that it was made of) in the order of execution."""
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = {key: value.astype(str) for key, value in node.get_rt_info().items()}
        time = facts.get("execTimeMcs", "not_executed")
        names = facts.get("originalLayersNames", "").split(",")
        order = int(facts.get("execOrder", 0))
        found.append((order, 0.0 if time == "not_executed" else float(time), names))
    return [(time, names) for _, time, names in sorted(found, key=lambda row: row[0])]


def _filled(shares: Mapping[str, float | None]) -> dict[str, float]:
    """Give a layer that was made one with those after it the share of the next that is known."""
    filled, after = {}, 1.0
    for name, share in reversed(list(shares.items())):
        after = after if share is None else share
        filled[name] = after
    return dict(reversed(list(filled.items())))


if __name__ == "__main__":
    leave(serve(_built))
