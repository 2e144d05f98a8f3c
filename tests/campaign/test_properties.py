"""Any history ends where a fresh extraction ends."""

from tests.campaign import properties
from tests.campaign.figures import Effort


def test_any_history_ends_where_a_fresh_extraction_ends():
    figures = list(properties.measure(Effort()))

    assert [failure for figure in figures for failure in figure.failures] == []
    assert figures[0].tried >= 12
