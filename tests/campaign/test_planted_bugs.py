"""A check that cannot fail is worth nothing."""

from types import SimpleNamespace

from tests.campaign import planted_bugs
from tests.campaign.figures import Effort
from tests.campaign.planted_bugs import Bug, not_caught


def test_every_planted_bug_is_caught_by_the_check_named_for_it():
    figures = list(planted_bugs.measure(Effort()))

    assert [failure for figure in figures for failure in figure.failures] == []
    assert figures[0].tried >= 12


def test_a_bug_that_only_breaks_the_check_or_is_told_as_something_else_is_not_caught():
    def broken():
        raise TypeError("no such argument")

    bug = Bug("a bug", lambda patch: None, "check", r"rows \d are others")

    assert "broke check: TypeError" in not_caught(bug, SimpleNamespace(check=broken))
    assert "finds nothing" in not_caught(bug, SimpleNamespace(check=list))
    other = SimpleNamespace(check=lambda: ["AttributeError: no such name"])
    assert "something else" in not_caught(bug, other)
    assert not_caught(bug, SimpleNamespace(check=lambda: ["rows 3 are others"])) == ""
