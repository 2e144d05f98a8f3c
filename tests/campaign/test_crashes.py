"""Power cuts at every moment of every command; `python -m tests.campaign` draws more states."""

import itertools

import pytest

from tests.campaign import crashes
from tests.campaign.disk import Disk, put_back
from tests.campaign.figures import Effort
from tests.campaign.scenarios import NAMES, Acknowledged, scenarios
from tests.campaign.world import numbered_scratch_names, scratch


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost_or_wrong_whenever_the_power_is_cut(name):
    once, twice = crashes.measure(Effort(), [name])

    assert once.failures == twice.failures == []
    assert once.tried >= 60 * 10  # states at ten write points or more
    assert twice.tried >= 12 * 3  # while every third of these was made good


@pytest.mark.parametrize("name", ["extract", "extract more", "relabel"])
def test_what_a_killed_run_left_is_durable_once_the_next_one_is_through(name):
    """The next run finds names that the killed one gave and had not synced: it syncs them."""
    with scenarios([name]) as (scenario,), numbered_scratch_names(), scratch() as folder:
        store, failures = folder / "store", []
        for moment in itertools.count():
            disk = Disk(scenario.begin, cut_at=moment)
            if crashes.interrupted(scenario, store, disk) is None:
                break
            disk, told = disk.after_kill(), Acknowledged()
            assert crashes.interrupted(scenario, store, disk, told) is None
            put_back(store, disk.after_crash(0))  # what was not durable is gone
            failures += [
                f"killed before change {moment}: {f}" for f in scenario.crashed(store, told)
            ]

    assert moment > 10
    assert failures == []
