"""Power cuts at every moment of every command; `python -m tests.campaign` draws more states."""

from tests.campaign import crashes
from tests.campaign.figures import Effort


def test_nothing_is_lost_or_wrong_whenever_the_power_is_cut():
    figures = list(crashes.measure(Effort()))

    assert [failure for figure in figures for failure in figure.failures] == []
    assert len(figures) == 6
    assert sum(figure.tried for figure in figures) > 10_000
