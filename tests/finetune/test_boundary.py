"""A cut keeps all that the suffix needs, and no more than it must."""

import numpy as np
import pytest

from extract import keras_graph
from extract.backbones import BackboneSpec
from extract.recipe import Column
from finetune import boundary, freezing
from finetune.errors import CutError
from finetune.network import Network


def network_of(name, size, **arguments):
    """Return a backbone without a head: all that cutting needs."""
    built = keras_graph.build(BackboneSpec(name=name, weights="random", arguments=arguments), size)
    last = len(built.model.operations) - 1
    columns = (Column(operation=last, layer=built.model.operations[-1].name),)
    return Network(model=None, built=built, columns=columns, features=None, head=None)


@pytest.fixture(scope="module")
def mobilenet():
    return network_of("mobilenet_v2", 32, alpha=0.35)


@pytest.fixture(scope="module")
def resnet():
    return network_of("resnet50", 32)


def cut_for(network, unfreeze):
    plan = freezing.make_plan(freezing.layers_of(network.built), unfreeze)
    return boundary.find_cut(network, plan)


@pytest.mark.parametrize(
    ("unfreeze", "name"),
    [
        ("from:block_16", "block_15_add"),
        ("from:block_12", "block_11_add"),
        ("last:10", "block_15_add"),
        ("from:block_16_project", "block_15_add"),
        ("from:Conv_1", "block_16_project_BN"),
    ],
)
def test_the_cheapest_tensor_below_is_kept(mobilenet, unfreeze, name):
    assert cut_for(mobilenet, unfreeze).name == name


def test_nothing_frozen_cannot_be_cut(mobilenet):
    with pytest.raises(CutError, match="Type --mode full, or unfreeze less"):
        cut_for(mobilenet, "all")


@pytest.mark.parametrize("unfreeze", ["from:conv5_block3", "from:conv5_block2_2_conv"])
def test_prefix_and_suffix_are_the_whole(resnet, unfreeze):
    """Also for a residual block that is cut through, where the cut goes below it or around it."""
    cut = cut_for(resnet, unfreeze)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    inner = cut.prefix(resnet)(x, training=False)
    found = cut.suffix(resnet)(inner if len(inner) > 1 else inner[0], training=False)[0]

    np.testing.assert_allclose(found, resnet.trunk(x, training=False)[0], rtol=1e-5, atol=1e-5)


def test_two_tensors_that_cross_are_both_kept(resnet):
    """In the middle of a residual block the shortcut crosses, too."""
    operations = resnet.operations
    position = next(i for i, o in enumerate(operations) if o.name == "conv5_block2_2_conv")
    cut = boundary._cut(resnet, position)
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    found = cut.suffix(resnet)(cut.prefix(resnet)(x, training=False), training=False)[0]

    assert len(cut.names) == 2
    np.testing.assert_allclose(found, resnet.trunk(x, training=False)[0], rtol=1e-5, atol=1e-5)


def test_cuts_lie_below_blocks_topmost_first(mobilenet):
    names = [cut.name for cut in boundary.block_cuts(mobilenet)]

    assert names[:3] == ["block_16_project_BN", "block_15_add", "block_14_add"]
    assert len(names) == 6


def test_flops_are_those_of_convolutions(mobilenet):
    """MobileNetV2 0.35 at 224 has 59 million multiply-adds; at 32 a fiftieth of that."""
    total = boundary.flops(mobilenet).sum()

    assert 1.0e6 < total < 1.6e6
