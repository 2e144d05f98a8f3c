"""Damaged pictures and bombs."""

from tests.campaign import images
from tests.campaign.figures import Effort


def test_a_run_lives_through_damaged_pictures_and_counts_them_all():
    figures = list(images.measure(Effort()))

    assert [failure for figure in figures for failure in figure.failures] == []
    assert figures[0].tried > 500
    assert figures[1].tried == 4
