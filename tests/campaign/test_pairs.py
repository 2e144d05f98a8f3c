"""Features that meet."""

import pytest

from tests.campaign.figures import Effort

pytest.importorskip("obstore", reason='obstore is absent: pip install "headstart[s3]"')


def test_any_history_of_commands_beside_each_other_ends_where_a_fresh_extraction_ends():
    from tests.campaign import pairs

    figures = list(pairs.measure(Effort()))

    assert [failure for figure in figures for failure in figure.failures] == []
    assert figures[0].tried >= 12
