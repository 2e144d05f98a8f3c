"""Parity and speed of the backbones of `keras.applications`, converted for OpenVINO.

    python -m benchmarks.backbones --only mobilenet,mobilenet_v2,resnet50 --repeats 5
    python -m benchmarks.backbones --tiny

Parity is |OpenVINO - Keras| / |Keras| of the last map, averaged, on the eight synthetic probes in
float32; the backbone is refused above 1e-5. Speed is OpenVINO's, two images a call on as many
streams as it opens, no decoding: median [min, max] over the repeats. Weights are ImageNet's where
they are at hand and else random, which changes neither graph nor speed but makes parity another
(activations of random weights are larger or smaller). Not measured: accuracy, memory, GPUs.

`--tiny` takes the smallest image size of each that its graph allows, to see that all of them work.
"""

from __future__ import annotations

import argparse
import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.command_line import in_one_line, positive
from benchmarks.timing import Table, machine, seconds_of
from extract import prepare
from extract.backbones import BackboneEntry, BackboneSpec, catalogue, entry, weights_state
from extract.engines.engine import relative_distance
from extract.engines.openvino import OpenVINOEngine
from extract.prepared import Request
from extract.recipe import LayerRequest

TINY = 75  # pixels: what Xception and Inception take at least
OWN_SIZE = ("digits",)
"""Backbones that take images of one size alone."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one backbone came to."""

    name: str
    weights: str
    image_size: int
    convert_seconds: float
    parity: float
    images_per_second: tuple[float, ...]
    """One per repeat."""


def measure(item: BackboneEntry, *, tiny: bool, images: int, repeats: int) -> Result:
    """Build, convert and compare one backbone in this process, then time it."""
    import keras

    from extract import openvino_export

    weights = item.default_weights if weights_state(item) == "yes" else "random"
    size = TINY if tiny and item.name not in OWN_SIZE else item.image_size
    spec = BackboneSpec(name=item.name, weights="random" if weights == "random" else "imagenet")
    request = Request(spec=spec, image_size=size, layers=(LayerRequest(),))
    probes = prepare.probes_for(request)
    *_, model = prepare.build(request)
    with TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.xml"
        seconds = seconds_of(lambda: openvino_export.export(model, graph))
        engine = OpenVINOEngine(graph)
    expected = keras.ops.convert_to_numpy(model(probes, training=False))
    parity = relative_distance(engine(probes)[0], expected)
    batch = np.concatenate([probes] * -(-images // len(probes)))[:images]
    rates = tuple(images / _seconds(engine, batch) for _ in range(repeats))
    return Result(item.name, weights, size, seconds, parity, rates)


def _seconds(engine: OpenVINOEngine, images: np.ndarray) -> float:
    """Return the time of a pass over all images, on every stream."""
    size = engine.batch_size
    batches = [images[i : i + size] for i in range(0, len(images), size)]
    with ThreadPoolExecutor(engine.streams) as pool:
        return seconds_of(lambda: list(pool.map(engine, batches)))


def main(arguments: list[str] | None = None) -> list[Result]:
    """Measure the backbones that are asked for, and print a row for each as it is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default="", help="names, separated by commas; all by default")
    parser.add_argument("--tiny", action="store_true", help="small images, to see that all work")
    parser.add_argument("--images", type=positive, default=64, help="images in a pass")
    parser.add_argument("--repeats", type=positive, default=3)
    asked = parser.parse_args(arguments)
    names = asked.only.split(",") if asked.only else list(catalogue())
    table, results = Table("OpenVINO, forward pass alone", "images/s"), []
    for name in names:
        found = measure(entry(name), tiny=asked.tiny, images=asked.images, repeats=asked.repeats)
        results.append(found)
        print(
            f"{name}: parity {found.parity:.1e}, {found.weights} weights, {found.image_size} "
            f"pixels, converted in {found.convert_seconds:.1f} s",
            flush=True,
        )
        table.add(name, found.images_per_second)
        gc.collect()
    table.show()
    print(machine())
    return results


if __name__ == "__main__":
    in_one_line(main)
