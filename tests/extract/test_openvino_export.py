"""A converted graph is what Keras' own export writes: the same bits, float32, any batch."""

import keras
import numpy as np
import openvino as ov
import pytest

from extract import keras_graph, openvino_export
from extract.backbones import BackboneSpec
from extract.engines.openvino import OpenVINOEngine
from extract.recipe import LayerRequest
from tests.extract.families import FAMILIES


def graph(name, layers=()):
    arguments, size = FAMILIES[name]
    built = keras_graph.build(BackboneSpec(name=name, arguments=arguments, weights="random"), size)
    return keras_graph.feature_model(built, keras_graph.resolve(built, list(layers)))


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """MobileNet with three columns: a model, and its converted graph."""
    layers = [LayerRequest(), LayerRequest("conv1_relu", "max"), LayerRequest("conv_pw_1", "avg")]
    model, path = graph("mobilenet", layers), tmp_path_factory.mktemp("graph") / "graph.xml"
    openvino_export.export(model, path)
    return model, path


@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg16"])
def test_features_are_those_of_keras_own_export_to_the_bit(name, tmp_path):
    """Within one numeric signature bits agree, whoever converted the graph."""
    model = graph(name)
    size = model.input_shape[1]
    model.export(str(tmp_path / "keras.xml"), format="openvino", verbose=False)
    openvino_export.export(model, tmp_path / "ours.xml")
    pixels = np.random.default_rng(0).uniform(0, 255, (3, size, size, 3)).astype(np.float32)

    expected = OpenVINOEngine(tmp_path / "keras.xml")(pixels)[0]
    (found,) = OpenVINOEngine(tmp_path / "ours.xml")(pixels)

    np.testing.assert_array_equal(found, expected, strict=True)


def test_columns_come_in_the_order_of_the_model(mobilenet):
    model, path = mobilenet
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)

    found = OpenVINOEngine(path)(pixels)

    for ours, keras_own in zip(found, model(pixels, training=False), strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-3, atol=1e-4)


def test_only_the_outputs_of_the_model_are_outputs(tmp_path):
    """`swish` also returns what its gradient would need, and converters take that for outputs."""
    pixels = keras.Input((8, 8, 3), name="pixels")
    x = keras.layers.Conv2D(4, 3, activation="swish")(pixels)
    dropped = keras.layers.Dropout(0.5)(x)  # in inference the same tensor
    outputs = [keras.layers.GlobalMaxPooling2D()(x), dropped, x, keras.layers.Identity()(pixels)]
    openvino_export.export(keras.Model(pixels, outputs), tmp_path / "graph.xml")
    array = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)

    pooled, same, maps, handed_through = OpenVINOEngine(tmp_path / "graph.xml")(array)

    np.testing.assert_array_equal(pooled, maps.max((1, 2)))
    np.testing.assert_array_equal(same, maps)
    np.testing.assert_array_equal(handed_through, array)


def test_weights_are_kept_in_float32_and_the_batch_is_open(mobilenet):
    converted = ov.Core().read_model(mobilenet[1])
    floats = {"f16", "bf16", "f32", "f64"}
    kinds = {o.get_element_type().get_type_name() for n in converted.get_ops() for o in n.outputs()}

    assert kinds & floats == {"f32"}
    assert str(converted.inputs[0].partial_shape) == "[?,64,64,3]"


def test_a_model_computes_with_its_own_weights_after_it_was_converted(tmp_path):
    """The trace puts constants in the place of weights, and only for itself."""
    pixels = keras.Input((4, 4, 3), name="pixels")
    model = keras.Model(pixels, keras.layers.Conv2D(2, 1, kernel_initializer="ones")(pixels))
    openvino_export.export(model, tmp_path / "graph.xml")
    model.weights[0].assign(np.full((1, 1, 3, 2), 2, np.float32))

    found = model(np.ones((1, 4, 4, 3), np.float32), training=False)

    np.testing.assert_array_equal(found, np.full((1, 4, 4, 2), 6, np.float32))


def test_other_backends_export_as_keras_does(monkeypatch, tmp_path):
    asked = {}

    class Model:
        def export(self, filepath, **options):
            asked.update(options, filepath=filepath)

    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    openvino_export.export(Model(), tmp_path / "graph.xml")

    assert asked == {
        "filepath": str(tmp_path / "graph.xml"),
        "format": "openvino",
        "verbose": False,
    }
