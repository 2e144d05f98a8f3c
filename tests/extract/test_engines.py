"""Engines: equal to Keras' own `predict`, and no image depends on its neighbors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from extract import keras_graph, openvino_export
from extract.backbones import BackboneSpec
from extract.engines.engine import instruction_family
from extract.engines.keras_backend import KerasEngine
from extract.engines.openvino import OpenVINOEngine
from extract.errors import BackboneError
from extract.recipe import LayerRequest

ROOT = Path(__file__).resolve().parents[2]


def pictures(count, size, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (count, size, size, 3)).astype(np.float32)


def graph(name, arguments, size, layers=()):
    built = keras_graph.build(BackboneSpec(name=name, arguments=arguments, weights="random"), size)
    return keras_graph.feature_model(built, keras_graph.resolve(built, list(layers)))


@pytest.fixture(scope="module", params=["openvino", "keras"])
def engine(request, tmp_path_factory):
    """MobileNetV2 with two columns, 64 pixels."""
    layers = [LayerRequest(), LayerRequest("block_3_expand_relu", "max")]
    model = graph("mobilenet_v2", {"alpha": 0.35}, 64, layers)
    if request.param == "keras":
        return KerasEngine(model)
    path = tmp_path_factory.mktemp("graph") / "graph.xml"
    openvino_export.export(model, path)
    return OpenVINOEngine(path)


@pytest.mark.parametrize("count", [1, 2, 7, 16, 33, 64])
def test_an_image_does_not_depend_on_its_neighbors_to_the_bit(engine, count):
    pixels = pictures(64, 64)
    alone = [
        np.concatenate(c) for c in zip(*(engine(pixels[i : i + 1]) for i in range(64)), strict=True)
    ]
    together = [
        np.concatenate(c)
        for c in zip(*(engine(pixels[i : i + count]) for i in range(0, 64, count)), strict=True)
    ]

    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_columns_come_in_order_as_float32(engine):
    first, second = engine(pictures(3, 64))

    assert (first.shape, second.shape) == ((3, 1280), (3, 48))
    assert first.dtype == second.dtype == np.float32


def test_what_an_engine_returns_is_the_callers_own(engine):
    """The next call may not write into it."""
    first = engine(pictures(2, 64))
    kept = [array.copy() for array in first]
    engine(pictures(2, 64, seed=1))

    for array, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_signatures_say_what_decides_bits(engine):
    assert {"engine", "version", "instructions"} <= engine.signature.keys()
    assert instruction_family().count("-") == 1


FIRST_CALLS = """
import os, sys, threading
import numpy as np
from extract.engines.openvino import OpenVINOEngine

sys.setswitchinterval(1e-6)
engine, barrier = OpenVINOEngine(sys.argv[1]), threading.Barrier(8)

def call():
    barrier.wait()
    engine(np.zeros((1, 32, 32, 3), np.float32))

threads = [threading.Thread(target=call, daemon=True) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
os._exit(any(thread.is_alive() for thread in threads))
"""


def test_first_calls_in_many_threads_at_once_do_not_lock_up(tmp_path):
    """Without a first call in one thread, six of eight such processes hung for ever."""
    openvino_export.export(graph("mobilenet", {"alpha": 0.25}, 32), tmp_path / "graph.xml")
    for _ in range(4):
        subprocess.run(
            [sys.executable, "-c", FIRST_CALLS, str(tmp_path / "graph.xml")],
            check=True,
            timeout=60,
            cwd=ROOT,
        )


def test_a_precision_that_the_processor_does_not_give_is_refused(tmp_path, monkeypatch):
    """OpenVINO gives another type than the hint without a word: what is read back counts."""
    import openvino

    compile_model = openvino.Core.compile_model

    def plain(self, model, device, config):
        return compile_model(self, model, device, {**config, "INFERENCE_PRECISION_HINT": "f32"})

    model = graph("mobilenet", {"alpha": 0.25}, 32)
    openvino_export.export(model, tmp_path / "graph.xml")
    monkeypatch.setattr(openvino.Core, "compile_model", plain)

    with pytest.raises(BackboneError, match="computes in f.*32 where --precision bfloat16"):
        OpenVINOEngine(tmp_path / "graph.xml", "bfloat16")
