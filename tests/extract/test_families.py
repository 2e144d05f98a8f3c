"""One member of every family, built once: its graph, its features, and OpenVINO's of it."""

import importlib
from dataclasses import dataclass

import keras
import numpy as np
import pytest

from extract import openvino_export
from extract.backbones import BackboneSpec, catalogue, entry
from extract.engines.engine import PARITY, relative_distance
from extract.engines.openvino import OpenVINOEngine
from extract.identity import graph_digest
from extract.keras_graph import Built, build, feature_model, resolve
from tests.extract.families import FAMILIES

GRAPH_DIGESTS = {
    "convnext_tiny": "a81bae71972b125a45c521c92a0fab4224da4dad13eb2d647fd70cc707279002",
    "densenet121": "4b76e9115630cd73660b3ee15308678f6712b256e6f10573638d73895a58da5e",
    "efficientnet_b0": "7c031cc457f2c75e09d20a20c4a8a387be310df8b41fb69a9066e417c6f720ae",
    "efficientnet_v2_b0": "0ec5a9e0c921d2219ed0a19c5bbab8ba41240d05ce5743ba79820f29f90ed7d5",
    "inception_resnet_v2": "87c3310e652b185b6cb0efd957b26e4ad5ca9b1b8bf49f91c8a384e179cefdb4",
    "inception_v3": "de9da4758caaee88914d44a88712cfac30b39a461781089d53c0eb4ceae8db52",
    "mobilenet": "76f0445bf9a2306ee34f611fa231e640a92570a1da34c3d999afdf4fba65d007",
    "mobilenet_v2": "d67392996014933ecd4f12f6229b074840a865b9b8dc8ef7289af729fe90a095",
    "mobilenet_v3_small": "2a569d9275e4d723c172731b4ac4a025a549992c5c7d685c81ac45d2d774a63a",
    "nasnet_mobile": "50ef5fdc60c39805570a7b83dc9813b5b3240404716cbd40e155cedf9521e742",
    "resnet50": "bc531977d007cf1e76f55b5e101fa35bdd6aaf397a66d5acf943e021f170a1f0",
    "resnet50_v2": "6991139dda09ed3a1c8eba1da3af3e28f62764ceb0bec27584dac90a749a6e35",
    "vgg16": "605a3e120cfe6062c5aad4c627b651e07ce3dac5c044b79daa6c82e829adfc56",
    "vgg19": "15fec590121a5cd0500e95f9b63fb8fd842875c6b68fbb8be3de0f3b811dde45",
    "xception": "d44138da18dde379b913c107fa4526b644ccea1d3aed8e70de2921048792046a",
}
"""Of one member of each family; users keep stores for years, so these stay the same."""


@dataclass
class Member:
    """A backbone with random weights, its features as a model, and those of some pixels."""

    name: str
    built: Built
    model: keras.Model
    pixels: np.ndarray
    features: np.ndarray


@pytest.fixture(scope="module", params=FAMILIES)
def member(request):
    """Each in turn, for every test of this file: the large ones take seconds to build."""
    arguments, size = FAMILIES[request.param]
    spec = BackboneSpec(name=request.param, arguments=arguments, weights="random")
    built = build(spec, size)
    model = feature_model(built, resolve(built, []))
    pixels = np.random.default_rng(0).uniform(0, 255, (4, size, size, 3)).astype(np.float32)
    model.compile(run_eagerly=True)  # the same operations, without tracing them once more
    return Member(request.param, built, model, pixels, model.predict(pixels, verbose=0))


def test_features_are_those_of_the_application(member):
    """The reference is plain Keras: preprocess_input, the model, GlobalAveragePooling2D.

    Tolerance: the scaling is one multiplication and one addition here, and a division and a
    subtraction there; what that moves grows with depth, 7e-6 at most in these.
    """
    built, (arguments, size) = member.built, FAMILIES[member.name]
    reference = getattr(keras.applications, built.entry.class_name)(
        weights=None, include_top=False, input_shape=(size, size, 3), **arguments
    )
    reference.set_weights(built.model.get_weights())
    module = importlib.import_module(built.entry.module)
    maps = reference(module.preprocess_input(member.pixels.copy()), training=False)
    expected = np.asarray(keras.layers.GlobalAveragePooling2D()(maps))

    # Two builds in one process, the second with other names: one digest, for years.
    digests = [graph_digest(model) for model in (built.model, reference)]
    assert digests == [GRAPH_DIGESTS[member.name]] * 2
    apart = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(member.features, expected, rtol=0, atol=apart)


def test_openvino_gives_the_features_of_keras_predict(member, tmp_path):
    openvino_export.export(member.model, tmp_path / "graph.xml")

    (found,) = OpenVINOEngine(tmp_path / "graph.xml")(member.pixels)

    if relative_distance(found, member.features) > PARITY:
        # Whose rounding is it? On one processor Keras' float32 was 1.1e-5 from the exact features
        # of EfficientNetV2B0 with random weights, and OpenVINO's 0.8e-5.
        assert relative_distance(found, exact(member.model, member.pixels)) <= PARITY


def exact(model, pixels):
    """Return the features that Keras computes in double precision."""

    def doubled(config):
        if isinstance(config, dict):
            return {key: doubled(value) for key, value in config.items()}
        if isinstance(config, list | tuple):
            return type(config)(map(doubled, config))
        return "float64" if config == "float32" else config

    twin = keras.Model.from_config(doubled(model.get_config()))
    twin.set_weights([weights.astype(np.float64) for weights in model.get_weights()])
    outputs = keras.tree.flatten(twin(pixels.astype(np.float64), training=False))
    assert outputs[0].dtype == "float64"
    return np.asarray(outputs[0])


def test_the_families_are_all_of_kerass():
    modules = {item.module for item in catalogue().values() if item.name != "digits"}
    assert {entry(name).module for name in FAMILIES} == modules
