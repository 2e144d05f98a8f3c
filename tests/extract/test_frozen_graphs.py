"""Frozen graphs as backbones: read by OpenVINO, with pixels, layout and pooling put around them."""

import keras
import numpy as np
import openvino as ov
import pytest
from onnx import TensorProto, helper, numpy_helper, save
from openvino import opset13 as ops

from extract import frozen_files, frozen_graphs
from extract.backbones import BackboneSpec
from extract.engines.openvino import OpenVINOEngine
from extract.errors import BackboneError
from extract.frozen_graphs import image_size_of
from extract.known import Known
from extract.plan import Settings, make_plan
from extract.prepare import build, prepare, probes_for
from extract.prepared import Request, cached, read
from extract.preprocessing import parse_preprocessing
from extract.progress import Silent
from extract.recipe import LayerRequest
from tests.extract.keras_models import small_model

SIZE = 16
KERNEL = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)


def onnx_model(path, batch="batch", external=False, inputs=1, reshape=None):
    """Write an ONNX graph as torch exports it: channels first, a convolution and a ReLU."""
    images = [
        helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])
        for i in range(inputs)
    ]
    nodes = [
        helper.make_node("Conv", ["x0", "kernel"], ["y"], name="/conv"),
        helper.make_node("Relu", ["y"], ["map"], name="map"),
    ]
    constants = [numpy_helper.from_array(KERNEL, "kernel")]
    last, shape = "map", [batch, 4, SIZE - 2, SIZE - 2]
    if reshape is not None:
        nodes.append(helper.make_node("Reshape", ["map", "shape"], ["flat"], name="/flat"))
        constants.append(numpy_helper.from_array(np.array(reshape, np.int64), "shape"))
        last, shape = "flat", reshape
    out = helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "graph", images, [out], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(
        model,
        path,
        save_as_external_data=external,
        location=f"{path.name}.data",
        size_threshold=0,
    )
    return path


def by_hand(pixels, steps):
    """Return the maps (n, 4, h, w) that the ONNX graph gives for pixels, by NumPy alone."""
    turned = pixels[..., ::-1] if steps.flip else pixels
    x = (turned * np.float32(steps.scale) + np.float32(steps.offset)).transpose(0, 3, 1, 2)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return np.maximum(np.einsum("nchwij,ocij->nohw", windows, KERNEL), 0)


def request(path, *layers, preprocessing="none", size=SIZE):
    return Request(
        spec=BackboneSpec(name=str(path), preprocessing=preprocessing),
        image_size=size,
        layers=tuple(map(LayerRequest.parse, layers)) or (LayerRequest(),),
    )


def features(asked, folder):
    folder.mkdir()
    frozen_graphs.convert(asked, probes_for(asked), folder)
    prepared = read(folder)
    return prepared, OpenVINOEngine(prepared.graph)(probes_for(asked))


@pytest.mark.parametrize("preprocessing", ["none", "tf", "torch", "caffe", "mean=0.5,std=0.25"])
def test_features_are_those_of_the_graph(tmp_path, preprocessing):
    asked = request(
        onnx_model(tmp_path / "m.onnx"),
        *("map", "map:max", "map:flatten", "map:none"),
        preprocessing=preprocessing,
    )
    prepared, found = features(asked, tmp_path / "out")
    maps = by_hand(probes_for(asked), parse_preprocessing(preprocessing))
    for array, expected in zip(
        found,
        [maps.mean(axis=(2, 3)), maps.max(axis=(2, 3)), maps.reshape(8, -1), maps],
        strict=True,
    ):
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert [shape for _, shape in prepared.columns] == [(4,), (4,), (784,), (4, 14, 14)]
    assert prepared.preprocessing == parse_preprocessing(preprocessing)


def test_an_openvino_graph_with_channels_last_and_tokens(tmp_path):
    """Ten tokens of three channels: one that is no patch, and nine that are."""
    pixels = ops.parameter([-1, SIZE, SIZE, 3], np.float32, name="pixels")
    rows = ops.reshape(pixels, ops.constant([0, SIZE * SIZE, 3]), special_zero=True)
    tokens = ops.gather(rows, ops.constant(np.arange(10)), ops.constant(1), name="tokens")
    path = tmp_path / "m.xml"
    ov.save_model(ov.Model([tokens], [pixels], "m"), path, compress_to_fp16=False)
    asked = request(path, "tokens:cls", "tokens:patches", "tokens:avg")
    _, found = features(asked, tmp_path / "out")
    first = probes_for(asked).reshape(8, -1, 3)[:, :10]
    np.testing.assert_array_equal(found[0], first[:, 0])
    np.testing.assert_allclose(found[1], first[:, 1:].mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found[2], first.mean(axis=1), rtol=1e-6)


def test_a_saved_model_gives_what_keras_gives(tmp_path):
    model = small_model()
    model.export(tmp_path / "saved", format="tf_saved_model", verbose=False)
    asked = request(tmp_path / "saved", preprocessing="tf")
    prepared, found = features(asked, tmp_path / "out")
    maps = np.asarray(model(probes_for(asked) / 127.5 - 1))
    np.testing.assert_allclose(found[0], maps.mean(axis=(1, 2)), rtol=0, atol=1e-5)
    assert len(prepared.weights["files"]) == 3
    assert image_size_of(tmp_path / "saved") == SIZE


def test_inner_layers_are_pooled_over_their_sides_wherever_openvino_has_them(tmp_path):
    """It has them channels first, though the images and the last layer are channels last."""
    model = small_model()
    model.export(tmp_path / "saved", format="tf_saved_model", verbose=False)
    path = tmp_path / "m.xml"
    ov.save_model(ov.convert_model(tmp_path / "saved"), path, compress_to_fp16=False)
    names = [
        name
        for name, output in frozen_graphs.read(path, SIZE).layers.items()
        if [d.get_length() for d in list(output.partial_shape)[1:]] == [8, 7, 7]
    ]
    asked = request(path, *(f"{name}:{how}" for name in names for how in ("avg", "max")))
    _, found = features(asked, tmp_path / "out")
    maps = np.asarray(keras.Model(model.input, model.get_layer("relu").output)(probes_for(asked)))

    assert names
    np.testing.assert_allclose(found[-2], maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[-1], maps.max(axis=(1, 2)), rtol=1e-4, atol=1e-4)


def test_layers_that_the_file_does_not_name_are_none(tmp_path):
    """OpenVINO numbers them anew at each reading: a column of such a name would not be found."""
    small_model().export(tmp_path / "saved", format="tf_saved_model", verbose=False)
    first, again = (frozen_graphs.read(tmp_path / "saved", SIZE) for _ in range(2))

    assert list(first.layers) == list(again.layers)
    assert first.last in first.layers


def test_a_layer_whose_channels_cannot_be_told_is_refused_but_the_last(tmp_path):
    pixels = ops.parameter([-1, SIZE, SIZE, 3], np.float32, name="pixels")
    part = ops.strided_slice(
        pixels, [0, 0, 0, 0], [0, 3, 3, 3], [1, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0], name="cube"
    )
    path = tmp_path / "m.xml"
    last = ops.multiply(part, np.float32(2), name="last")
    ov.save_model(ov.Model([last], [pixels], "m"), path, compress_to_fp16=False)
    with pytest.raises(
        BackboneError, match=r"\(3, 3, 3\): which of these are channels .* cube:none"
    ):
        frozen_graphs.resolve(frozen_graphs.read(path, SIZE), [LayerRequest("cube", "avg")])
    asked = request(path, "last:avg")
    _, found = features(asked, tmp_path / "out")

    np.testing.assert_allclose(
        found[0], 2 * probes_for(asked)[:, :3, :3].mean(axis=(1, 2)), rtol=1e-5
    )


def test_the_cache_believes_a_graph_as_long_as_all_of_its_files_are_the_same(tmp_path):
    """Identity is the files' content: another byte in the weights is another backbone."""
    path = onnx_model(tmp_path / "m.onnx", external=True)
    first = prepare(request(path), "openvino")
    assert cached(request(path), "openvino") == first
    data = tmp_path / "m.onnx.data"
    data.write_bytes(data.read_bytes()[:-1] + b"\1")
    assert cached(request(path), "openvino") is None
    second = prepare(request(path), "openvino")
    assert second.graph_digest == first.graph_digest
    assert second.weights_digest != first.weights_digest


def test_a_graph_by_another_name_has_the_same_recipe(tmp_path):
    (tmp_path / "other").mkdir()
    paths = [onnx_model(tmp_path / "m.onnx"), onnx_model(tmp_path / "other" / "renamed.onnx")]
    assert len({frozen_files.digests(path) for path in paths}) == 1


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd"])
def test_weights_outside_the_folder_are_refused(tmp_path, location):
    folder = tmp_path / "inside"
    folder.mkdir()
    path = onnx_model(folder / "m.onnx", external=True)
    old = b"m.onnx.data"
    new = location.encode().ljust(len(old), b"x")[: len(old)]
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(BackboneError, match="is refused: it points to .*, outside"):
        frozen_files.files_of(path)


def write(content):
    def make(path):
        path.write_bytes(content)
        return path

    return make


def without_weights(path):
    onnx_model(path, external=True)
    (path.parent / f"{path.name}.data").unlink()
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (write(b"no ONNX"), "is no ONNX model. Export it anew|OpenVINO cannot read"),
        (write(b""), "OpenVINO cannot read|takes 0 inputs"),
        (without_weights, "needs m.onnx.data beside it, which is missing"),
        (lambda path: onnx_model(path, inputs=2), "takes 2 inputs, expected one image"),
        (
            lambda path: onnx_model(path, batch=1, reshape=[1, 784]),
            "fixed number of images a call built in. Export it with a dynamic batch axis",
        ),
    ],
)
def test_a_graph_that_cannot_be_used_is_one_line(tmp_path, make, words):
    with pytest.raises(BackboneError, match=words) as caught:
        frozen_graphs.read(make(tmp_path / "m.onnx"), SIZE)
    assert "\n" not in str(caught.value)


def test_a_batch_of_one_is_opened_where_the_graph_allows_it(tmp_path):
    asked = request(onnx_model(tmp_path / "m.onnx", batch=1))
    _, found = features(asked, tmp_path / "out")
    assert found[0].shape == (8, 4)


def test_another_size_and_unknown_layers_are_one_line(tmp_path):
    path = onnx_model(tmp_path / "m.onnx")
    assert image_size_of(path) == SIZE
    with pytest.raises(BackboneError, match="takes images of 16 pixels, and --image-size is 32"):
        frozen_graphs.read(path, 32)
    with pytest.raises(BackboneError, match="has no layer 'mpa': did you mean map"):
        frozen_graphs.resolve(frozen_graphs.read(path, SIZE), [LayerRequest("mpa")])
    with pytest.raises(BackboneError, match="which cls cannot pool. Ask for map:none"):
        frozen_graphs.resolve(frozen_graphs.read(path, SIZE), [LayerRequest("map", "cls")])


def test_what_cannot_be_is_one_line(tmp_path):
    path = onnx_model(tmp_path / "m.onnx")
    with pytest.raises(BackboneError, match="does not say what it expects.*--preprocessing tf, to"):
        BackboneSpec(name=str(path))
    with pytest.raises(BackboneError, match="cannot become Keras layers: predict, evaluate and pa"):
        build(request(path))
    settings = Settings(spec=request(path).spec, engine="keras")
    with pytest.raises(BackboneError, match="m.onnx is a frozen graph, which OpenVINO runs"):
        make_plan(settings, Known(), "store", Silent())
