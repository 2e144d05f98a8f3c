"""Disks that are full or fail, at every moment."""

import pytest

from tests.campaign import disk_faults
from tests.campaign.figures import Effort
from tests.campaign.scenarios import NAMES, scenarios
from tests.campaign.world import scratch


@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_refuses_is_one_line_and_the_same_command_goes_on(name):
    [figure] = disk_faults.refuse(Effort(), [name])

    assert figure.failures == []
    assert figure.tried > 20


def test_small_file_systems_are_one_line_too():
    with scenarios(["extract"]) as [command], scratch() as folder:
        figure = disk_faults.small_disks(command, folder / "disk")

    assert figure.failures == []
    assert figure.tried in (0, disk_faults.SMALL_DISKS)  # none where nobody may mount
