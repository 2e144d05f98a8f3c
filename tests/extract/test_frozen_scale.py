"""A frozen graph that gets pixels in an unusual scale is told of, and used all the same."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from extract.backbones import BackboneSpec
from extract.frozen_scale import doubt
from extract.known import Known
from extract.plan import Settings, make_plan
from extract.prepare import probe_pixels
from extract.preprocessing import PREPROCESSING, applied, parse_preprocessing
from extract.progress import Silent
from extract.recipe import PixelPolicy

SIZE = 16
PIXELS = probe_pixels(PixelPolicy(image_size=SIZE))
VARIED = PIXELS[PIXELS.std(axis=(1, 2, 3)) > 1]


def graph(path, trained="tf", offset=1.0, scale_apart=False, after="Add"):
    """Write a convolution whose channels are normalized for pixels of one scale, and an offset."""
    seen = applied(VARIED, parse_preprocessing(trained))
    kernel = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)
    given = np.einsum("nhwc,oc->nhwo", seen, kernel[..., 0, 0])
    scale = (1 / given.std(axis=(0, 1, 2)))[:, None, None, None].astype(np.float32)
    image = ops.parameter([-1, 3, SIZE, SIZE], np.float32, name="x")
    weights = kernel if scale_apart else kernel * scale
    node = ops.convolution(image, ops.constant(weights), [1, 1], [0, 0], [0, 0], [1, 1])
    if scale_apart:
        node = ops.multiply(node, ops.constant(scale.reshape(1, 4, 1, 1)))
    if after == "Add":
        node = ops.add(node, ops.constant(np.full((1, 4, 1, 1), offset, np.float32)))
    node = ops.relu(node)
    ov.save_model(ov.Model([node], [image], "m"), path, compress_to_fp16=False)
    return path


@pytest.mark.parametrize("scale_apart", [False, True])
@pytest.mark.parametrize("trained", ["tf", "torch", "caffe", "none", "mean=0,std=1"])
def test_the_scale_that_it_was_trained_on_is_not_doubted(tmp_path, trained, scale_apart):
    path = graph(tmp_path / "m.xml", trained, scale_apart=scale_apart)

    assert doubt(path, parse_preprocessing(trained), PIXELS) == ""


@pytest.mark.parametrize(
    ("trained", "given", "fits"),
    [
        ("tf", "none", "tf or torch or mean=0,std=1"),
        ("torch", "caffe", "tf or torch or mean=0,std=1"),
        ("caffe", "tf", "none or torch or caffe"),
        ("none", "mean=0,std=1", "none or torch or caffe"),
    ],
)
def test_another_scale_is_doubted_and_those_that_fit_are_named(tmp_path, trained, given, fits):
    told = doubt(graph(tmp_path / "m.xml", trained), parse_preprocessing(given), PIXELS)

    assert told.startswith("Pixels may have another scale than m.xml was trained with: ")
    assert told.endswith(f"With --preprocessing {fits} it would not")


@pytest.mark.parametrize(
    "how", [{"offset": 0.0}, {"after": "ReLU"}], ids=["an offset of zero", "no offset"]
)
def test_a_graph_that_cannot_tell_is_not_doubted(tmp_path, how):
    assert doubt(graph(tmp_path / "m.xml", **how), PREPROCESSING["none"], PIXELS) == ""


def test_a_plan_tells_of_it_once_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    notes = []
    monkeypatch.setattr(Silent, "note", lambda self, text: notes.append(text))
    settings = Settings(
        spec=BackboneSpec(name=str(graph(tmp_path / "m.xml")), preprocessing="none"),
        pixels=PixelPolicy(image_size=SIZE),
    )
    for _ in range(2):
        make_plan(settings, Known(), "photos.features", Silent())

    assert [text.partition(":")[0] for text in notes[1:]] == [
        "Pixels may have another scale than m.xml was trained with"
    ]
