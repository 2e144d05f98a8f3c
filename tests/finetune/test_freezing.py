"""`--unfreeze` counts as the tutorials do, and what it says is what trains."""

import keras
import pytest

from extract import identity, keras_graph
from extract.backbones import BackboneSpec
from finetune import freezing
from finetune.errors import FinetuneError, UnfreezeError
from finetune.freezing import LayerFacts, block_of, make_plan

BACKBONES = {
    "mobilenet_v2": ("MobileNetV2", 32),
    "resnet50": ("ResNet50", 32),
    "resnet50_v2": ("ResNet50V2", 32),
    "xception": ("Xception", 71),
    "convnext_tiny": ("ConvNeXtTiny", 32),
}


@pytest.fixture(scope="module", params=BACKBONES)
def pair(request):
    """A backbone as we build it, and as a tutorial does."""
    class_name, size = BACKBONES[request.param]
    built = keras_graph.build(BackboneSpec(name=request.param, weights="random"), size)
    tutorial = getattr(keras.applications, class_name)(
        include_top=False, weights=None, input_shape=(size, size, 3)
    )
    return built, tutorial


@pytest.mark.parametrize("count", [1, 10, 25, 60])
def test_last_and_from_are_the_tutorials_slices(pair, count):
    """base_model.trainable = True; for layer in base_model.layers[:-count]: trainable = False."""
    built, tutorial = pair
    layers = freezing.layers_of(built)
    tutorial.trainable = False  # the first stage of the tutorials
    tutorial.trainable = True
    for layer in tutorial.layers[:-count]:
        layer.trainable = False
    freezing.set_trainable(built.model.operations, make_plan(layers, f"last:{count}"))
    ours = [id(v) for op in built.model.operations for v in getattr(op, "trainable_weights", [])]
    theirs = len(tutorial.trainable_weights)

    assert len(layers) == len(tutorial.layers)
    assert len(ours) == theirs == make_plan(layers, f"last:{count}").weights
    assert _trained(built.model) == _trained(tutorial)
    start = len(tutorial.layers) - count
    assert make_plan(layers, f"from:{start}").first == make_plan(layers, f"last:{count}").first


def _trained(model):
    """Return positions of the weights that an optimizer would see."""
    trained = {
        id(v) for op in identity.operations(model) for v in getattr(op, "trainable_weights", [])
    }
    return [i for i, v in enumerate(identity.variables(model)) if id(v) in trained]


def facts(*names, parameters=10):
    return tuple(
        LayerFacts(i, name, block_of(name), "Conv2D", (i,), parameters, 1)
        for i, name in enumerate(names)
    )


LAYERS = facts(
    "input", "Conv1", "block_1_expand", "block_1_add", "block_16_expand", "block_16_project", "out"
)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("all", 0),
        ("last:2", 5),
        ("from:3", 3),
        ("from:block_16", 4),
        ("from:block_1", 2),
        ("from:block_16_project", 5),
        ("10%", 6),
        ("29%", 4),
        ("100%", 0),
    ],
)
def test_values(text, first):
    assert make_plan(LAYERS, text).first == first


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("from:block_61", "did you mean block_1, block_16"),
        ("from:block_17", "has no layer or block 'block_17'"),
        ("last:8", "takes 1 to 7 layers"),
        ("last:0", "takes 1 to 7 layers"),
        ("from:7", "takes 0 to 6 layers"),
        ("0%", "above 0% to 100%"),
        ("top", "all, last:10, from:100, from:out or 20%. Received: 'top'"),
    ],
)
def test_what_matches_nothing_says_what_would(text, words):
    with pytest.raises(UnfreezeError, match=words):
        make_plan(LAYERS, text)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("block_16_project_BN", "block_16"),
        ("conv5_block3_1_conv", "conv5_block3"),
        ("block14_sepconv1", "block14"),
        ("conv_pw_13_relu", "conv_pw_13"),
        ("convnext_tiny_stage_3_block_2_layer_scale", "convnext_tiny_stage_3_block_2"),
        ("block7a_expand_conv", "block7a"),
        ("out_relu", "out_relu"),
    ],
)
def test_blocks_are_read_from_names(name, block):
    assert block_of(name) == block


def test_the_table_counts_layers_and_parameters():
    table = make_plan(LAYERS, "last:2").table()

    assert table == [
        ("input … Conv1", 2, 20, "no", 0),
        ("block_1", 2, 20, "no", 0),
        ("block_16", 2, 20, "1 of 2", 0),
        ("out", 1, 10, "yes", 0),
    ]


def test_a_parent_that_was_frozen_is_noticed(network):
    """A model set to trainable=False silences layers that are set to True later."""
    layers = freezing.layers_of(network.built)
    network.trunk.trainable = False
    try:
        network.trunk._trainable = False
        with pytest.raises(FinetuneError, match=r"0 weights of the backbone would train.* has 3"):
            freezing.apply(network, make_plan(layers, "from:conv4"))
    finally:
        network.trunk.trainable = True
    freezing.apply(network, make_plan(layers, "from:conv4"))
