"""Files that somebody sends who means harm."""

from tests.campaign import hostile
from tests.campaign.figures import Effort


def test_hostile_files_are_refused_and_nothing_happens():
    figures = list(hostile.measure(Effort()))

    assert [failure for figure in figures for failure in figure.failures] == []
    assert figures[0].tried >= 25
    assert figures[1].tried >= 4
