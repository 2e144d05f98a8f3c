"""A check that cannot fail is worth nothing."""

from tests.campaign import planted_bugs
from tests.campaign.figures import Effort


def test_every_planted_bug_is_caught_by_the_check_named_for_it():
    figures = list(planted_bugs.measure(Effort()))

    assert [failure for figure in figures for failure in figure.failures] == []
    assert figures[0].tried >= 12
