import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers, ops

from extract.backbones import BackboneSpec
from extract.errors import BackboneError
from extract.identity import flat, graph_digest, operations, outputs, weights_digest
from extract.keras_graph import build

GRAPHS = [
    (
        "MobileNet",
        {"alpha": 0.25},
        64,
        "76f0445bf9a2306ee34f611fa231e640a92570a1da34c3d999afdf4fba65d007",
    ),
    (
        "MobileNetV2",
        {"alpha": 0.35},
        64,
        "d67392996014933ecd4f12f6229b074840a865b9b8dc8ef7289af729fe90a095",
    ),
    (
        "MobileNetV3Small",
        {},
        64,
        "2a569d9275e4d723c172731b4ac4a025a549992c5c7d685c81ac45d2d774a63a",
    ),
    (
        "EfficientNetV2B0",
        {},
        64,
        "0ec5a9e0c921d2219ed0a19c5bbab8ba41240d05ce5743ba79820f29f90ed7d5",
    ),
    ("ConvNeXtTiny", {}, 64, "a81bae71972b125a45c521c92a0fab4224da4dad13eb2d647fd70cc707279002"),
    ("Xception", {}, 75, "d44138da18dde379b913c107fa4526b644ccea1d3aed8e70de2921048792046a"),
]


def application(name, arguments, size):
    return getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=(size, size, 3), **arguments
    )


@pytest.mark.parametrize(
    ("name", "arguments", "size", "expected"), GRAPHS, ids=[row[0] for row in GRAPHS]
)
def test_graph_digests_stay_the_same(name, arguments, size, expected):
    """Users keep stores for years, and Keras numbers layers anew with each build.

    `test_families` pins one of every family.
    """
    digests = [graph_digest(application(name, arguments, size)) for _ in range(2)]
    assert digests == [expected] * 2


def test_a_second_build_has_other_names_and_the_same_digest():
    """The reason why names do not count."""
    first, second = (application("Xception", {}, 75) for _ in range(2))
    names = [{operation.name for operation in model.operations} for model in (first, second)]
    assert len(names[0] - names[1]) > 15
    assert graph_digest(first) == graph_digest(second)


@pytest.mark.parametrize(
    ("file", "name", "alpha", "expected"),
    [
        (
            "mobilenet_2_5_224_tf_no_top.h5",
            "mobilenet",
            0.25,
            "03f5698b15d3590bae626a14fa92b77fc64cb086b54feac681d5ad7fba67d36c",
        ),
        (
            "mobilenet_5_0_224_tf_no_top.h5",
            "mobilenet",
            0.5,
            "d2e80a6195dee2230bd3dbbc627564bd65eb88211185e112cd1c7628385e1560",
        ),
        (
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_128_no_top.h5",
            "mobilenet_v2",
            0.35,
            "6be77f8ce461d62dcc5ee4b573b9894e3e7f71cf45192653abb8921a0aba414c",
        ),
        (
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
            "mobilenet_v2",
            0.35,
            "2b67b8c7c5c9c35c450a0738f893c30049698cbdef1c8d72d960af03c635de4d",
        ),
    ],
    ids=["mobilenet 0.25", "mobilenet 0.5", "mobilenet_v2 at 128", "mobilenet_v2 at 224"],
)
def test_weights_digests_stay_the_same(shared, file, name, alpha, expected):
    """The same promise for real files."""
    path = shared / "keras_home" / "models" / file
    built = build(BackboneSpec(name=name, arguments={"alpha": alpha}, weights=str(path)), 64)
    assert weights_digest(built.model) == expected


def graph(make, shape=(4, 4, 3)):
    """Return a model of whatever `make` does to its input."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, make(inputs))


def branches(join):
    """Return what joins the results of two layers that can be told apart."""

    def make(x):
        return join([layers.ReLU(1.0)(x), layers.ReLU(2.0)(x)])

    return make


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (layers.Conv2D(4, 3), layers.Conv2D(5, 3)),
        (layers.Conv2D(4, 3), layers.Conv2D(4, 3, strides=2)),
        (layers.Conv2D(4, 3), layers.Conv2D(4, 3, activation="relu")),
        (layers.Conv2D(4, 3), layers.Conv2D(4, 3, use_bias=False)),
        (layers.Conv2D(4, 3), layers.Conv2D(4, 3, dtype="mixed_bfloat16")),
        (layers.Conv2D(4, 3), layers.Conv2DTranspose(4, 3)),
        (layers.BatchNormalization(), layers.BatchNormalization(epsilon=1e-5)),
        (layers.ReLU(), layers.ReLU(6.0)),
        (lambda x: x * 2.0, lambda x: x * 3.0),
        (lambda x: x - 2.0, lambda x: 2.0 - x),
        (lambda x: x + np.float32([1, 2, 3]), lambda x: x + np.float32([1, 2, 4])),
        (lambda x: x[:, 1:], lambda x: x[:, :-1]),
        (lambda x: ops.take(x, [2, 1, 0], -1), lambda x: ops.take(x, [0, 1, 2], -1)),
        (lambda x: ops.maximum(x, -np.inf), lambda x: ops.maximum(x, np.inf)),
        (branches(layers.Subtract()), branches(lambda pair: layers.Subtract()(pair[::-1]))),
        (branches(layers.Concatenate()), branches(lambda pair: layers.Concatenate()(pair[::-1]))),
        (branches(layers.Add()), branches(lambda pair: layers.Add()([pair[0], pair[0]]))),
        (branches(lambda pair: pair), branches(lambda pair: pair[::-1])),
        (lambda x: ops.split(x, 3, -1)[0], lambda x: ops.split(x, 3, -1)[1]),
        (layers.Dropout(0.5), lambda x: layers.Dropout(0.5)(x, training=True)),
    ],
    ids=[
        *("filters", "stride", "activation", "bias", "dtype", "class", "epsilon", "limit"),
        *("constant", "constant's side", "array", "slice", "indices", "infinity"),
        *("subtraction", "concatenation", "repeated input", "outputs", "tensor index"),
        "training mode",
    ],
)
def test_what_decides_a_feature_changes_the_digest(one, other):
    """Two graphs that may give other features are never taken for one."""
    assert graph_digest(graph(one)) != graph_digest(graph(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (layers.ReLU(), layers.ReLU(name="my_own")),
        (layers.Conv2D(4, 3), layers.Conv2D(4, 3, kernel_initializer="zeros")),
        (layers.Conv2D(4, 3), layers.Conv2D(4, 3, kernel_regularizer="l2", trainable=False)),
        (layers.Conv2D(4, 3), layers.Conv2D(4, (3, 3), strides=[1, 1])),
        (layers.Conv2D(4, 3), layers.Conv2D(4, 3, dtype=keras.DTypePolicy("float32"))),
        (layers.BatchNormalization(), layers.BatchNormalization(momentum=0.5)),
        (layers.Dropout(0.5), layers.Dropout(0.5, seed=3)),
        (layers.Dropout(0.5), lambda x: layers.Dropout(0.5)(x, training=False)),
        (
            layers.TimeDistributed(layers.Dense(2, name="a")),
            layers.TimeDistributed(layers.Dense(2, name="b")),
        ),
    ],
    ids=[
        *("name", "initializer", "regularizer", "spelling", "dtype policy", "momentum", "seed"),
        *("inference mode", "inner name"),
    ],
)
def test_what_decides_no_feature_leaves_the_digest(one, other):
    """Nothing runs again because of a name, or of what only training reads."""
    assert graph_digest(graph(one)) == graph_digest(graph(other))


def test_an_argument_that_a_release_adds_orphans_nothing():
    """Keras 3.15's BatchNormalization has three arguments that 3.10's has not."""

    class ReLU(layers.ReLU):
        def __init__(self, max_value=None, shiny=0.25, **kwargs):
            super().__init__(max_value, **kwargs)
            self.shiny = shiny

        def get_config(self):
            return super().get_config() | {"shiny": self.shiny}

    assert graph_digest(graph(ReLU())) == graph_digest(graph(layers.ReLU()))
    assert graph_digest(graph(ReLU(shiny=0.5))) != graph_digest(graph(layers.ReLU()))


def test_a_default_that_a_release_changes_changes_the_digest():
    """The words of the program stay the same then, and its features do not."""

    class ReLU(layers.ReLU):
        def __init__(self, max_value=6.0, **kwargs):
            super().__init__(max_value, **kwargs)

    assert graph_digest(graph(ReLU())) != graph_digest(graph(layers.ReLU()))
    assert graph_digest(graph(ReLU())) == graph_digest(graph(layers.ReLU(6.0)))


def test_asking_for_a_digest_leaves_automatic_names_alone():
    """The digest makes instances of layers to learn their defaults; users must not see these."""
    model = graph(layers.Dropout(0.5))
    before = keras.layers.Dropout(0.5).name
    graph_digest(model)
    after = keras.layers.Dropout(0.5).name
    numbers = [int("0" + name.removeprefix("dropout").strip("_")) for name in (before, after)]
    assert numbers[1] == numbers[0] + 1


def test_the_policy_of_the_process_is_no_part_of_a_graph():
    """A float32 layer is one wherever it is looked at."""
    model = graph(layers.LeakyReLU())
    expected = graph_digest(model)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = graph_digest(model)
    finally:
        keras.config.set_dtype_policy("float32")
    assert found == expected


def nested_and_plain():
    """Return a model with a model in a model in it, and the same layers side by side."""
    steps = [layers.Rescaling(0.5), layers.Conv2D(4, 3), layers.ReLU()]
    inner = keras.Sequential([keras.Input((4, 4, 3)), *steps[1:]])
    outer = graph(lambda x: inner(steps[0](x)))
    nested = graph(lambda x: layers.Flatten()(outer(x, training=False)))
    return nested, graph(lambda x: layers.Flatten()(steps[2](steps[1](steps[0](x)))))


def test_nested_models_are_written_out_in_place():
    nested, plain = nested_and_plain()
    kinds = [type(operation).__name__ for operation in operations(nested)]
    assert kinds == ["InputLayer", "Rescaling", "Conv2D", "ReLU", "Flatten"]
    assert graph_digest(nested) == graph_digest(plain)
    assert weights_digest(nested) == weights_digest(plain)


def test_a_flat_model_gives_what_the_nested_one_gives():
    nested, _ = nested_and_plain()
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(flat(nested)(pixels), nested(pixels))


def test_a_sequential_model_is_a_graph_too():
    steps = [layers.Rescaling(0.5), layers.ReLU()]
    sequential = keras.Sequential([keras.Input((4, 4, 3)), *steps])
    assert graph_digest(sequential) == graph_digest(graph(lambda x: steps[1](steps[0](x))))


def test_outputs_are_those_of_this_graph():
    """A layer that other graphs share has calls there too, and those come first."""
    layer = layers.ReLU()
    graph(layer)
    model = graph(lambda x: layer(layer(x)), shape=(7,))
    assert [tensors[0].shape for tensors in outputs(model)] == [(None, 7), (None, 7)]
    assert outputs(model)[1][0] is not model.outputs[0]  # the first of its two calls


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (keras.Sequential([layers.ReLU()], name="unbuilt"), "no graph of operations"),
        (
            graph(lambda x: graph(layers.ReLU())(x, training=True)),
            "called with training=True",
        ),
        (
            graph(lambda x: graph(layers.ReLU(name="a"))(graph(layers.ReLU(name="a"))(x))),
            "cannot be written out: .*'a'|\"a\"",
        ),
    ],
    ids=["unbuilt", "training mode", "two of one name"],
)
def test_what_is_no_graph_for_features_is_refused(model, words):
    with pytest.raises(BackboneError, match=words):
        graph_digest(model)


def two_dense():
    return graph(lambda x: layers.Dense(2)(layers.Dense(2)(x)), shape=(2,))


def test_one_changed_weight_changes_the_digest():
    model = two_dense()
    before = weights_digest(model)
    values = model.get_weights()
    values[2][1, 1] = np.nextafter(values[2][1, 1], 1)
    model.set_weights(values)
    assert weights_digest(model) != before


def test_swapped_weights_change_the_digest():
    model = two_dense()
    before = weights_digest(model)
    values = model.get_weights()
    model.set_weights([values[2], *values[1:2], values[0], *values[3:]])
    assert weights_digest(model) != before


def test_weights_digests_do_not_depend_on_names_or_random_states():
    """Dropout keeps a generator's state among its variables, another one in each process."""
    first, second = (
        graph(lambda x: layers.Dropout(0.5)(layers.Dense(2)(x)), shape=(2,)) for _ in range(2)
    )
    second.set_weights(first.get_weights())
    assert weights_digest(first) == weights_digest(second)


def test_shared_weights_count_once():
    layer = layers.Dense(2)
    once, twice = graph(layer, (2,)), graph(lambda x: layer(layer(x)), (2,))
    assert weights_digest(once) == weights_digest(twice)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_a_weights_dtype_is_part_of_the_digest(dtype):
    """One zero of each type: the bytes alone could not tell float16 from bfloat16."""
    model = graph(layers.Dense(1, kernel_initializer="zeros", dtype=dtype), (1,))
    reference = graph(layers.Dense(1, kernel_initializer="zeros"), (1,))
    assert (weights_digest(model) == weights_digest(reference)) == (dtype == "float32")


def test_an_integer_counts_the_same_on_every_backend():
    """`Normalization` counts in an int64 on TensorFlow, and in an int32 on JAX and torch."""

    class Counter(layers.Layer):
        def build(self, shape):
            self.count = self.add_weight(shape=(), dtype=self.kind, initializer="ones")

        def call(self, x):
            return x

    digests = []
    for kind in ("int32", "int64"):
        layer = Counter()
        layer.kind = kind
        digests.append(weights_digest(graph(layer)))
    assert digests[0] == digests[1]


def test_nan_weights_have_a_digest():
    """NaN differs from itself, and its bytes do not."""
    model = graph(layers.Dense(2), (2,))
    model.set_weights([np.full((2, 2), np.nan), np.zeros(2)])
    assert weights_digest(model) == weights_digest(model)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", ml_dtypes.bfloat16], ids=str)
def test_bytes_are_little_endian_whatever_the_machine(dtype):
    from extract.identity import _little_endian

    number = _little_endian(np.ones((), dtype))
    assert number.shape == ()
    assert number.tobytes()[-2:] == b"\x80\x3f"
