"""Disks that are full or fail, at every moment."""

from tests.campaign import disk_faults
from tests.campaign.figures import Effort


def test_a_disk_that_refuses_is_one_line_and_the_same_command_goes_on():
    figures = list(disk_faults.measure(Effort()))

    assert [failure for figure in figures for failure in figure.failures] == []
    assert sum(figure.tried for figure in figures) > 300
