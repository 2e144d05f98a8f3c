"""Presets of KerasHub: the converter's own pixels, the backbone's own numbers."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("keras_hub", reason='pip install "headstart[hub]"')

from extract import pixels, prepare
from extract.backbone_pixels import pixel_policy
from extract.backbones import BackboneSpec
from extract.engines.openvino import OpenVINOEngine
from extract.errors import BackboneError
from extract.hub_presets import converter_of, folder_of
from extract.keras_graph import build, resolve
from extract.prepared import Request, read
from extract.recipe import LayerRequest
from tests.extract.hub_models import SIZE, preset

CONVERTER = {
    "scale": [1 / 50, 1 / 60, 1 / 70],
    "offset": [-2.0, -1.5, -1.0],
    "interpolation": "bicubic",
    "antialias": True,
    "crop_to_aspect_ratio": True,
}
LAYERS = {
    "vit": ("vit_encoder", 1),
    "dinov2": ("tiny_layernorm", 5),
    "siglip": ("tiny_post_layer_norm", 0),
    "clip": ("tiny_layer_norm", 1),
}
"""The layer that gives tokens, and how many of these are no patches."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    return folder, *preset("clip", folder, **CONVERTER)


def pictures():
    """Return two pictures, wide and high, as PNG and as arrays."""
    rng = np.random.default_rng(0)
    arrays = [
        cv2.resize(rng.uniform(0, 255, (5, 7, 3)).astype(np.float32), size).astype(np.uint8)
        for size in ((90, 60), (50, 80))
    ]
    return [cv2.imencode(".png", a[..., ::-1])[1].tobytes() for a in arrays], arrays


@pytest.mark.parametrize("name", LAYERS)
def test_features_are_those_of_its_own_predict(name, tmp_path):
    """From the file: decoding, crop, antialiased bicubic resize, scaling, backbone, pooling.

    Tolerance: 1e-4 of the largest value; the resize is ours on one side and TensorFlow's on the
    other, and what it differs by (1e-5) passes through two layers of attention.
    """
    import keras

    (tmp_path / "preset").mkdir()
    backbone, converter = preset(name, tmp_path / "preset", **CONVERTER)
    layer, others = LAYERS[name]
    spec = BackboneSpec(name=str(tmp_path / "preset"))
    policy = pixel_policy(spec, image_size=None)
    poolings = ["none", "patches", *(["cls"] if others else [])]
    layers = tuple(LayerRequest(layer, pooling) for pooling in poolings)
    request = Request(spec=spec, image_size=policy.image_size, layers=layers)
    (tmp_path / "out").mkdir()
    prepare._convert(request, prepare.probes_for(request), tmp_path / "out")
    files, arrays = pictures()
    found = OpenVINOEngine(read(tmp_path / "out").graph)(
        np.stack([pixels.load(data, policy)[0] for data in files])
    )

    seen = np.concatenate([np.asarray(converter(a[None].astype(np.float32))) for a in arrays])
    if name == "siglip":  # its own output is pooled; its tokens are the layer before
        backbone = keras.Model(backbone.inputs, backbone.post_layer_norm.output)
    named = isinstance(backbone.input, dict)
    tokens = backbone.predict({"images": seen} if named else seen, verbose=0)
    expected = [tokens, tokens[:, others:].mean(axis=1), tokens[:, 0]]
    for array, reference in zip(found, expected, strict=False):
        assert array.shape == reference.shape
        np.testing.assert_allclose(array, reference, rtol=0, atol=1e-4 * np.abs(reference).max())
    assert tokens.shape[1] - others == 16


def test_a_preset_brings_policies_and_preprocessing(clip):
    folder, *_ = clip
    spec = BackboneSpec(name=f"hub:{folder}")
    policy = pixel_policy(spec, image_size=None)
    assert (policy.image_size, policy.interpolation) == (SIZE, "bicubic")
    assert (policy.antialias, policy.crop_to_aspect_ratio) == (True, True)
    assert converter_of(spec.name).preprocessing.scale == tuple(CONVERTER["scale"])
    assert spec == BackboneSpec(name=str(folder))


def test_what_is_asked_for_overrides_the_converter(clip):
    policy = pixel_policy(
        BackboneSpec(name=str(clip[0])), interpolation="bilinear", pad_to_aspect_ratio=True
    )
    assert policy.interpolation == "bilinear"
    assert (policy.crop_to_aspect_ratio, policy.pad_to_aspect_ratio) == (False, True)


def test_without_a_class_token_cls_is_refused(tmp_path):
    preset("siglip", tmp_path)
    built = build(BackboneSpec(name=str(tmp_path)), SIZE)
    layer = LAYERS["siglip"][0]
    with pytest.raises(BackboneError, match=f"16 tokens, all of them patches.*{layer}:patches"):
        resolve(built, [LayerRequest(layer, "cls")])
    with pytest.raises(BackboneError, match=r"gives shape \(8,\), and cls pools tokens"):
        resolve(built, [LayerRequest(None, "cls")])


def altered(clip, tmp_path, file, change):
    folder, *_ = clip
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    facts = json.loads((tmp_path / file).read_text())
    change(facts)
    (tmp_path / file).write_text(json.dumps(facts))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        (
            "image_converter.json",
            lambda f: f["config"].update(interpolation="lanczos3"),
            "resizes by lanczos3, expected one of bilinear, nearest, bicubic",
        ),
        (
            "image_converter.json",
            lambda f: f["config"].update(image_size=[28, 14]),
            "takes images of 28 x 14 pixels, expected squares",
        ),
        ("image_converter.json", lambda f: f.clear(), "has no image converter that says what"),
    ],
)
def test_a_converter_that_we_cannot_follow_is_one_line(clip, tmp_path, file, change, words):
    with pytest.raises(BackboneError, match=words):
        converter_of(BackboneSpec(name=altered(clip, tmp_path, file, change)).name)


def test_a_preset_with_code_in_it_is_refused(clip, tmp_path):
    name = altered(
        clip, tmp_path, "config.json", lambda f: f["config"].update(x={"class_name": "Lambda"})
    )
    with pytest.raises(BackboneError, match="is a Lambda, which holds Python code"):
        build(BackboneSpec(name=name), SIZE)


def test_an_unknown_preset_is_one_line(monkeypatch, tmp_path):
    with pytest.raises(BackboneError, match=r"preset nothing_here cannot be had.*hub:FOLDER") as e:
        folder_of("hub:nothing_here")
    assert "\n" not in str(e.value)
