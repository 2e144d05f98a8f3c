"""Two thousand mutations of the files of stores and heads."""

from tests.campaign import damage
from tests.campaign.figures import Effort


def test_every_damage_is_noticed_and_none_becomes_a_number():
    figures = list(damage.measure(Effort()))

    assert [failure for figure in figures for failure in figure.failures] == []
    assert sum(figure.tried for figure in figures) >= 2000
