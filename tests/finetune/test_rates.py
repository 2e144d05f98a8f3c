"""Every variable has the rate of its block, before the first step and at every epoch."""

import keras
import numpy as np
import pytest

from finetune import freezing, rates
from finetune.errors import FinetuneError
from finetune.options import Options
from finetune.rates import Rate


def grouped(network, **fields):
    plan = freezing.make_plan(freezing.layers_of(network.built), "from:conv2")
    freezing.apply(network, plan)
    options = Options(learning_rate=1e-2, **fields)
    groups = rates.groups_of(network, plan, options)
    optimizer = rates.build_optimizer(groups, options, steps_per_epoch=5)
    variables = [*network.trunk.trainable_weights, *network.head.trainable_weights]
    optimizer.build(variables)
    return groups, optimizer, variables


def test_each_block_has_a_share_of_the_rate_above_it(network):
    groups, optimizer, variables = grouped(network, layer_decay=0.5, schedule="constant")
    found = rates.rates_now(optimizer)
    rates.check_rates(optimizer, groups)

    assert len(found) == len(variables)
    assert found["head_0/kernel"] == pytest.approx(1e-2)
    assert found["norm4/gamma"] == pytest.approx(5e-3)
    assert found["relu4" if "relu4" in found else "conv4/kernel"] == pytest.approx(2.5e-3)
    lowest = min(found.values()) / max(found.values())
    assert lowest == pytest.approx(0.5 ** (len(groups) - 1), rel=1e-5)
    with pytest.raises(AttributeError):
        _ = optimizer.learning_rate


def test_groups_that_were_flattened_are_noticed(network):
    """An epoch-only scheduler that sets one rate would make all groups alike."""
    groups, optimizer, _ = grouped(network, layer_decay=0.5, schedule="constant")
    for part in rates.parts_of(optimizer):
        part._learning_rate = Rate(1e-2, 0, 10, False)

    with pytest.raises(FinetuneError, match="of the highest rate, and .* was planned"):
        rates.check_rates(optimizer, groups)


def test_steps_move_by_their_rates(network):
    """With plain SGD and gradients of one, a step is the rate."""
    _, optimizer, variables = grouped(
        network, layer_decay=0.5, schedule="constant", optimizer="sgd"
    )
    before = [keras.ops.convert_to_numpy(v).copy() for v in variables]
    found = rates.rates_now(optimizer)
    optimizer.apply([keras.ops.ones_like(v) for v in variables], variables)
    try:
        for variable, old in zip(variables, before, strict=True):
            moved = old - keras.ops.convert_to_numpy(variable)
            np.testing.assert_allclose(moved, found[variable.path], rtol=1e-2, atol=1e-6)
    finally:
        for variable, old in zip(variables, before, strict=True):
            variable.assign(old)


@pytest.mark.parametrize(
    ("rate", "values"),
    [
        (Rate(1.0, 0, 4, True), [1, 0.853553, 0.5, 0.146447, 0]),
        (Rate(1.0, 2, 4, True), [0.5, 1.0, 1.0, 0.5, 0]),
        (Rate(1.0, 0, 4, False), [1, 1, 1, 1, 1]),
        (Rate(1.0, 4, 8, False), [0.25, 0.5, 0.75, 1, 1]),
    ],
    ids=["cosine", "warm-up and cosine", "constant", "warm-up"],
)
def test_schedules(rate, values):
    found = [float(rate(keras.ops.convert_to_tensor(step))) for step in range(5)]

    np.testing.assert_allclose(found, values, atol=1e-5)


def test_one_rate_is_one_optimizer(network):
    groups, optimizer, _ = grouped(network)

    assert rates.parts_of(optimizer) == [optimizer]
    rates.check_rates(optimizer, groups)


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_losses_are_scaled_in_float16(network, layer_decay):
    """A gradient of 1e-8 is 0 in float16; scaled up, it is not. Scaled down again, rates hold."""
    groups, optimizer, variables = grouped(
        network,
        layer_decay=layer_decay,
        precision="mixed_float16",
        schedule="constant",
        optimizer="sgd",
        ema=0.5,
    )
    rates.check_rates(optimizer, groups)
    before = [keras.ops.convert_to_numpy(v).copy() for v in variables]
    scale = float(optimizer.scale_loss(1.0))
    optimizer.apply([scale * keras.ops.ones_like(v) for v in variables], variables)
    try:
        moved = before[-1] - keras.ops.convert_to_numpy(variables[-1])
        assert scale > 1000
        np.testing.assert_allclose(moved, rates.rates_now(optimizer)[variables[-1].path], rtol=1e-2)
    finally:
        for variable, old in zip(variables, before, strict=True):
            variable.assign(old)
