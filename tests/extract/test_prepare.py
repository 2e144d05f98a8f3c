"""What is prepared once stays true: a changed weights file or a broken cache is noticed."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from extract import digits, prepare
from extract.backbones import BackboneSpec
from extract.engines.openvino import OpenVINOEngine
from extract.errors import BackboneError
from extract.prepared import Request, cached, place_of
from extract.recipe import LayerRequest, PixelPolicy

LAST_MAP = (LayerRequest(),)
ROOT = Path(__file__).resolve().parents[2]


def request(weights="imagenet", layers=LAST_MAP):
    return Request(
        spec=BackboneSpec(name="digits", weights=str(weights)), image_size=32, layers=layers
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The digits backbone with its weights by path, converted in a child process."""
    weights = tmp_path_factory.mktemp("weights") / "digits.weights.h5"
    shutil.copy(digits.WEIGHTS, weights)
    return weights, prepare.prepare(request(weights), "openvino")


def test_what_was_prepared_is_found_again_and_is_the_same(prepared):
    weights, first = prepared

    assert cached(request(weights), "openvino") == first


def test_the_graph_gives_the_columns(prepared):
    features = OpenVINOEngine(prepared[1].graph)(np.zeros((2, 32, 32, 3), np.float32))

    assert [f.shape for f in features] == [(2, *shape) for _, shape in prepared[1].columns]


def test_the_engine_decides_no_digest(prepared):
    """In this process and in a child, for Keras and for OpenVINO: one recipe."""
    weights, first = prepared
    other = prepare.prepare(request(weights), "keras")

    assert other.graph_digest == first.graph_digest
    assert other.weights_digest == first.weights_digest
    assert other.columns == first.columns
    assert other.files == {}


def test_a_touched_weights_file_is_recognized_by_its_bytes(prepared):
    weights, first = prepared
    weights.touch()

    assert cached(request(weights), "openvino") == first


def test_a_changed_weights_file_is_prepared_anew(prepared, tmp_path):
    weights, _ = prepared
    before = weights.read_bytes()
    weights.write_bytes(before + b"\0")
    try:
        assert cached(request(weights), "openvino") is None
    finally:
        weights.write_bytes(before)


def test_a_weights_file_that_is_gone_is_not_taken_from_the_cache(prepared):
    weights, _ = prepared
    aside = weights.rename(weights.with_suffix(".aside"))
    try:
        assert cached(request(weights), "openvino") is None
    finally:
        aside.rename(weights)


@pytest.mark.parametrize("name", ["graph.xml", "graph.bin", "prepared.json"])
def test_a_broken_file_in_the_cache_is_not_believed(prepared, name):
    weights, _ = prepared
    path = place_of(request(weights), "openvino") / name
    before = path.read_bytes()
    path.write_bytes(before[:-2])
    try:
        assert cached(request(weights), "openvino") is None
    finally:
        path.write_bytes(before)


def test_a_cache_that_cannot_be_written_costs_only_time(monkeypatch, tmp_path):
    """A read-only home, or a container without one: what was made serves this process."""
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file" / "cache"))
    found = prepare.prepare(request("random"), "keras")

    assert Path(found.folder).is_dir()
    assert found.columns


def test_a_layer_that_is_not_there_is_one_line_from_the_child(prepared):
    with pytest.raises(BackboneError, match="relu4"):
        prepare.prepare(request(layers=(LayerRequest("rleu4"),)), "openvino")


def test_a_graph_that_differs_from_keras_is_refused(monkeypatch, tmp_path):
    """Converters have lost a channel flip without a word; the probes notice."""
    monkeypatch.setattr(
        OpenVINOEngine, "__call__", lambda self, pixels: [np.ones((len(pixels), 64), np.float32)]
    )
    with pytest.raises(BackboneError, match="OpenVINO differs from Keras by .*--engine keras"):
        prepare._convert(request(), prepare.probe_pixels(PixelPolicy(image_size=32)), tmp_path)


def test_a_child_hears_the_request_and_the_probes_to_the_bit():
    pixels = prepare.probe_pixels(PixelPolicy(image_size=32))

    heard, array = prepare._understood(prepare._message(request(), pixels))

    assert heard == request()
    np.testing.assert_array_equal(array, pixels, strict=True)


LIGHT = """
import json, sys
from extract import prepare
prepare.travel_light()
import keras, openvino
from openvino.tools.ovc import telemetry_utils
loaded = [name for name in prepare.UNUSED if sys.modules.get(name)]
print(json.dumps([loaded, telemetry_utils.tm.__name__]))
"""


def test_a_child_imports_nothing_that_it_does_not_use_and_reports_to_nobody():
    """OpenVINO's converter sends events over the network where `openvino_telemetry` is there."""
    printed = subprocess.run(
        [sys.executable, "-c", LIGHT],
        cwd=ROOT,
        env={**os.environ, **prepare.QUIET},
        check=True,
        stdout=subprocess.PIPE,
    ).stdout

    assert json.loads(printed) == [[], "openvino.tools.ovc.telemetry_stub"]


def test_a_child_that_dies_is_our_bug_and_its_words_are_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))

    with pytest.raises(RuntimeError, match=r"extract.prepare ended with 1"):
        prepare._in_child(request(), tmp_path)


def test_what_kerashub_builds_is_kept_for_its_version(tmp_path, monkeypatch):
    """Its layers are part of what was converted; the catalogue has none of them."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "m.keras").write_bytes(b"a model")
    names = ["mobilenet_v2", str(tmp_path), str(tmp_path / "m.keras")]

    def places(installed):
        version = importlib.metadata.version

        def told(package):
            if package != "keras-hub":
                return version(package)
            if installed is None:
                raise importlib.metadata.PackageNotFoundError(package)
            return installed

        with monkeypatch.context() as patched:
            patched.setattr(importlib.metadata, "version", told)
            specs = [BackboneSpec(name=name) for name in names]
            asked = [Request(spec=spec, image_size=32, layers=()) for spec in specs]
            return [place_of(request, "openvino") for request in asked]

    old, new, absent = places("0.32.0"), places("0.33.0"), places(None)
    assert [a == b for a, b in zip(old, new, strict=True)] == [True, False, False]
    assert [a == b for a, b in zip(new, absent, strict=True)] == [True, False, False]
