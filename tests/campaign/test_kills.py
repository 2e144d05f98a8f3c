"""kill -9 of real processes, a handful; the long mode does fifty in each format."""

from tests.campaign import kills
from tests.campaign.figures import Effort


def test_a_killed_process_leaves_a_store_that_goes_on():
    figures = list(kills.measure(Effort()))

    assert [failure for figure in figures for failure in figure.failures] == []
    assert sum(figure.tried for figure in figures) >= 8
