"""The probe times every cut, or as many as its seconds allow, and changes nothing."""

import numpy as np
import pytest

from finetune import freezing
from finetune.boundary import find_cut
from finetune.guard import values_of
from finetune.probing import Costs, probe


@pytest.fixture(scope="module")
def cuts(network):
    layers = freezing.layers_of(network.built)
    found = [find_cut(network, freezing.make_plan(layers, f"from:conv{i}")) for i in (4, 3)]
    freezing.apply(network, freezing.make_plan(layers, "all"))
    return found


@pytest.mark.parametrize(("seconds", "timed"), [(60.0, [True, True]), (0.0, [True, False])])
def test_the_topmost_cut_is_timed_in_any_case(network, cuts, seconds, timed):
    before = values_of([*network.trunk.weights, *network.head.weights])
    costs = probe(network, cuts, 4, seconds)

    assert [costs[cut.name].suffix is not None for cut in cuts] == timed
    assert all(cost.prefix >= 0 and cost.read > 0 for cost in costs.values())
    assert costs[cuts[0].name].prefix >= costs[cuts[1].name].prefix
    for old, new in zip(
        before, values_of([*network.trunk.weights, *network.head.weights]), strict=True
    ):
        np.testing.assert_array_equal(old, new)


def test_the_speed_up_is_of_an_epoch():
    assert Costs(prefix=0.006, suffix=0.0015, read=0.0005).speedup == pytest.approx(7.5 / 2.0)
    assert Costs(prefix=0.006, suffix=None, read=0.0005).speedup is None
