"""The forward pass alone: images per second of an engine on pixels in memory, all cores loaded.

    python -m benchmarks.forward '{"name": "mobilenet_v2", "arguments": {"alpha": 0.35}}' 224

prints {"images_per_second": ...} as JSON. It is what extraction could reach if reading, decoding
and writing cost nothing; on an accelerator, the way of the pixels to it counts as forward.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np

from benchmarks import device
from benchmarks.timing import seconds_of
from extract import prepare
from extract.backbones import BackboneSpec
from extract.cores import num_cores
from extract.engines.engine import Engine
from extract.prepared import Request
from extract.recipe import LayerRequest

Kind = Literal["openvino", "keras"]
SECONDS = 2.0
"""How long a rate is measured at least, by a first guess at it."""


def engine_of(spec: BackboneSpec, image_size: int, kind: Kind) -> Engine:
    """Return a loaded engine of the backbone's last map, pooled."""
    request = Request(spec=spec, image_size=image_size, layers=(LayerRequest(),))
    if kind == "openvino":
        from extract.engines.openvino import OpenVINOEngine

        return OpenVINOEngine(prepare.prepare(request, "openvino").graph)
    from extract.engines.keras_backend import KerasEngine

    *_, model = prepare.build(request)
    return KerasEngine(model)


def kind_here() -> Kind:
    """Return the engine that `auto` means in a new store: the accelerator, or OpenVINO."""
    return "openvino" if device.facts()["device"] == device.CPU else "keras"


def rate(engine: Engine, image_size: int, count: int) -> float:
    """Return images per second over about `count` images."""
    size = engine.batch_size
    shape = (size, image_size, image_size, 3)
    batch = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    calls = max(1, count // size)
    with ThreadPoolExecutor(engine.streams) as pool:
        seconds = seconds_of(lambda: list(pool.map(engine, [batch] * calls)))
    return calls * size / seconds


def busy(summary: Mapping[str, Any], kind: Kind) -> dict[str, float]:
    """Return stage → the share of a run's time in which its threads were busy.

    Args:
        summary: Fields of `extract.Summary`, with an image extracted at least.
        kind: The engine, which decides how many threads call it.
    """
    wall = summary["extracted"] / summary["images_per_second"]
    cores = num_cores()
    calling = cores + 1 if kind == "openvino" else 1
    threads = {"reading": cores, "decoding": cores, "forward": calling, "writing": 1}
    keys = {"reading": "read", "decoding": "decode", "forward": "forward", "writing": "write"}
    return {s: summary[f"{keys[s]}_seconds"] / (threads[s] * wall) for s in threads}


def waits(shares: Mapping[str, float]) -> str:
    """Return which stage waits for which: the busiest one sets the pace.

    The forward pass is what the others are there for; where it sets the pace itself, they wait.
    """
    slowest = max(shares, key=shares.__getitem__)
    return "reading and decoding wait" if slowest == "forward" else f"forward waits for {slowest}"


def main(spec: BackboneSpec, image_size: int) -> float:
    """Return the rate of the engine that `auto` chooses, after a pass that warms it up."""
    engine = engine_of(spec, image_size, kind_here())
    rate(engine, image_size, engine.batch_size)
    guess = rate(engine, image_size, 4 * engine.batch_size)
    return rate(engine, image_size, int(SECONDS * guess))


if __name__ == "__main__":
    found = main(BackboneSpec(**json.loads(sys.argv[1])), int(sys.argv[2]))
    print(json.dumps({"images_per_second": found}))
