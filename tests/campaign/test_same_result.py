"""Many ways, one root."""

from tests.campaign import same_result
from tests.campaign.figures import Effort


def test_what_decides_speed_or_order_does_not_decide_the_root():
    figures = list(same_result.measure(Effort()))

    assert [failure for figure in figures for failure in figure.failures] == []
    assert [figure.tried for figure in figures] == [36, 2]
    assert figures[0].note == "18 of them interrupted"
