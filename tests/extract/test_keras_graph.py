import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from extract.backbones import BackboneSpec, catalogue, entry
from extract.errors import BackboneError
from extract.identity import graph_digest, weights_digest
from extract.keras_graph import Built, build, feature_model, layers_table, resolve
from extract.preprocessing import PREPROCESSING
from extract.recipe import Column, LayerRequest

ROOT = Path(__file__).parents[2]
SMALL = BackboneSpec(name="mobilenet", arguments={"alpha": 0.25}, weights="random")


def random_pixels(size, count=2):
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def small():
    """MobileNet 0.25 at 64 pixels, with seeded weights."""
    return build(SMALL, 64)


def stub(name, make, shape=(8, 8, 3)):
    """Return a backbone that does to preprocessed images what `make` does."""
    inputs = keras.Input(shape)
    return Built(
        entry=entry(name),
        model=keras.Model(inputs, make(inputs)),
        image_size=shape[0],
        preprocessing=PREPROCESSING[entry(name).preprocessing],
        weights_path=None,
        arguments={},
    )


def features(built, *requests):
    """Return what each requested layer gives for random pixels, as a list of arrays."""
    columns = resolve(built, [LayerRequest.parse(text) for text in requests])
    model = feature_model(built, columns)
    outputs = model.predict(random_pixels(built.image_size), verbose=0)
    return outputs if isinstance(outputs, list) else [outputs]


@pytest.mark.parametrize(
    "name", {item.module: name for name, item in catalogue().items() if name != "digits"}.values()
)
def test_preprocessing_is_the_familys_own(name):
    """Within 1e-6 of the largest value: one multiplication against a division and a sum."""
    built = stub(name, keras.layers.Identity())
    pixels = random_pixels(8)
    expected = importlib.import_module(built.entry.module).preprocess_input(pixels.copy())
    column = Column(operation=1, layer="identity", pooling="none")
    found = np.asarray(feature_model(built, [column])(pixels))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_predict_gives_one_array_per_column(small):
    """Two columns of one layer, a vector, a whole map: each as Keras would pool it."""
    names = ["conv_pw_6_relu:avg", "conv_pw_6_relu:max", "conv1:flatten", "conv1:none"]
    average, maximum, flat, maps = features(small, *names)
    assert [x.shape for x in (average, maximum)] == [(2, 128)] * 2
    assert maps.shape == (2, 32, 32, 8)
    assert {x.dtype for x in (average, maximum, flat, maps)} == {np.dtype("float32")}
    np.testing.assert_array_equal(flat, maps.reshape(2, -1))
    assert (average <= maximum).all()
    assert (average < maximum).any()


def test_the_last_map_averaged_is_the_default(small):
    row = layers_table(small)[-1]
    assert resolve(small, []) == resolve(small, [LayerRequest()])
    assert resolve(small, []) == [Column(operation=row.index, layer=row.name, pooling="avg")]


def test_a_column_that_is_asked_for_twice_comes_once(small):
    requests = [LayerRequest("conv1"), LayerRequest("conv1", "max"), LayerRequest("conv1", "avg")]
    columns = resolve(small, requests, dtype="float16")
    assert [(x.name, x.dtype) for x in columns] == [
        ("conv1:avg:float16", "float16"),
        ("conv1:max:float16", "float16"),
    ]


def test_tokens_are_pooled_over_the_token_axis():
    built = stub("convnext_tiny", keras.layers.Reshape((16, 12)))
    average, maximum, flat = features(built, "reshape:avg", "reshape:max", "reshape:flatten")
    tokens = random_pixels(8).reshape(2, 16, 12)
    np.testing.assert_allclose(average, tokens.mean(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(maximum, tokens.max(axis=1))
    np.testing.assert_array_equal(flat, tokens.reshape(2, -1))


def test_a_vector_is_taken_as_it_is():
    built = stub("convnext_tiny", keras.layers.GlobalAveragePooling2D(name="vector"))
    assert resolve(built, [])[0].pooling == "none"
    assert features(built, "vector")[0].shape == (2, 3)
    with pytest.raises(BackboneError, match=r"gives shape \(3,\), which avg cannot pool\. Ask for"):
        resolve(built, [LayerRequest("vector", "avg")])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("conv_pw_13_rleu", "conv_pw_13_relu"),
        ("ConvPW13", "conv_pw_13"),
        ("nonsense", "conv_pw_13, conv_pw_13_bn, conv_pw_13_relu"),
    ],
    ids=["typing error", "spelling", "like no other"],
)
def test_an_unknown_layer_is_met_by_the_nearest_ones(small, name, near):
    with pytest.raises(BackboneError, match=f"^mobilenet has no layer '{name}': did you .* {near}"):
        resolve(small, [LayerRequest(name)])


def test_what_has_several_outputs_is_no_layer_to_keep():
    built = stub("convnext_tiny", lambda x: keras.layers.Add()(keras.ops.split(x, 3, axis=-1)))
    assert [row.class_name for row in layers_table(built)] == ["InputLayer", "Add"]


def test_the_table_has_operations_that_layers_leave_out():
    """`a + b` in a model is an operation, and no layer."""
    built = stub("convnext_tiny", lambda x: keras.layers.ReLU(name="last")(x) + x)
    rows = layers_table(built)
    assert [(row.index, row.class_name, row.shape) for row in rows] == [
        (0, "InputLayer", (8, 8, 3)),
        (1, "ReLU", (8, 8, 3)),
        (2, "Add", (8, 8, 3)),
    ]
    assert len(built.model.layers) == 2
    assert built.layers == rows


def test_a_layer_has_one_name_however_often_keras_counted():
    """Names are those of a fresh process; Keras alone would number the second build on."""
    spec = BackboneSpec(name="xception", weights="random")
    keras.layers.Conv2D(1, 1)
    first, second = build(spec, 75), build(spec, 75)
    names = [row.name for row in first.layers]
    assert {"input_layer", "conv2d", "conv2d_1", "batch_normalization", "add"} <= set(names)
    assert names == [row.name for row in second.layers]
    requests = [LayerRequest("conv2d_3"), LayerRequest("block14_sepconv2_act")]
    assert resolve(first, requests) == resolve(second, requests)


def test_building_leaves_automatic_names_as_they_were():
    number = keras.backend.get_uid("conv2d")
    build(SMALL, 64)
    assert keras.backend.get_uid("conv2d") == number + 1


def test_a_mixed_policy_of_the_process_does_not_change_a_backbone(small):
    """float32 is the precision of recipes; an engine that lowers it says so itself."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        built = build(SMALL, 64)
        digest = graph_digest(built.model)
    finally:
        keras.config.set_dtype_policy("float32")
    assert digest == graph_digest(small.model)
    np.testing.assert_array_equal(features(built, "conv1")[0], features(small, "conv1")[0])


def test_random_weights_are_the_same_bits_in_every_process(small):
    """A store made with them can be added to later."""
    code = (
        "import numpy; numpy.random.seed(5)\n"
        "from extract.backbones import BackboneSpec\n"
        "from extract.identity import weights_digest\n"
        "from extract.keras_graph import build\n"
        f"print(weights_digest(build({SMALL!r}, 64).model))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert other.stdout.strip() == weights_digest(small.model)
    assert weights_digest(small.model) == (
        "256fcd20e29227e2750a199aa6e89eec7d630ece8cad7a0faa9f611582f7e241"
    )


def test_a_backbone_is_frozen_and_says_what_it_is(small):
    assert small.arguments == {"alpha": 0.25}
    assert small.weights_path is None
    assert small.model.trainable_variables == []
    assert small.model.input_shape == (None, 64, 64, 3)


def test_our_own_backbone_takes_its_own_image_size():
    built = build(BackboneSpec(name="digits", weights="random"), 32)
    assert features(built)[0].shape == (2, entry("digits").features)
    with pytest.raises(BackboneError, match=r"digits takes --image-size 32\. Received: 64"):
        build(BackboneSpec(name="digits", weights="random"), 64)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("xception", 64, "^xception cannot be built for images of 64 pixels: .*at least 71x71"),
        ("mobilenet_v2", 16, "at least 32x32"),
        ("nasnet_mobile", 31, "at least 32x32"),
    ],
)
def test_a_size_that_the_backbone_refuses_is_one_line(name, size, words):
    with pytest.raises(BackboneError, match=words) as caught:
        build(BackboneSpec(name=name, weights="random"), size)
    assert "\n" not in str(caught.value)


def test_an_argument_that_the_builder_refuses_is_one_line():
    spec = BackboneSpec(name="mobilenet", arguments={"depth_multiplier": 0}, weights="random")
    with pytest.raises(BackboneError, match="^mobilenet with depth_multiplier=0 cannot be built"):
        build(spec, 64)


def test_channels_first_is_refused_with_the_cure(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(BackboneError, match="set to channels_first.*set_image_data_format"):
        build(SMALL, 64)


@pytest.mark.parametrize("name", ["convnext_tiny", "mobilenet", "resnet50", "densenet121"])
def test_preprocessing_saves_and_loads(tmp_path, name):
    """Layers of Keras' own alone, so nobody needs headstart to open the file."""
    built = stub(name, keras.layers.Identity())
    check_saved(feature_model(built, resolve(built, [])), random_pixels(8), tmp_path)


def test_a_flattened_backbone_saves_and_loads(tmp_path):
    """ConvNeXt has nested models, and layers that only its own module defines."""
    built = build(BackboneSpec(name="convnext_tiny", weights="random"), 32)
    check_saved(feature_model(built, resolve(built, [])), random_pixels(32), tmp_path)


def check_saved(model, pixels, folder):
    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    np.testing.assert_array_equal(loaded(pixels), model(pixels))


def test_openvino_keeps_the_channel_flip(tmp_path):
    """OpenVINO 2026.4 folds a Gather into the convolution behind it, wrongly if this is flattened.

    Both are wanted here: without the flattening the Gather, too, would pass.
    """
    import openvino

    built = stub("vgg16", keras.layers.Conv2D(4, 3, kernel_initializer="he_normal", name="conv"))
    requests = [LayerRequest("conv", "flatten"), LayerRequest("conv", "avg")]
    model = feature_model(built, resolve(built, requests))
    file = str(tmp_path / "model.xml")
    model.export(file, format="openvino", verbose=False)
    compiled = openvino.compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    pixels = random_pixels(8)
    for found, expected in zip(
        compiled(pixels).values(), model.predict(pixels, verbose=0), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_other_preprocessing_can_be_put_before_a_backbone():
    """What `replace` is for: a file of weights that wants its own scaling."""
    built = replace(stub("vgg16", keras.layers.Identity()), preprocessing=PREPROCESSING["tf"])
    column = Column(operation=1, layer="identity", pooling="none")
    found = np.asarray(feature_model(built, [column])(np.full((1, 8, 8, 3), 255, np.float32)))
    np.testing.assert_allclose(found, 1, rtol=1e-6)
