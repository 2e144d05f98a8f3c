"""The goal behind a figure, in parentheses, which says so where it was missed."""

from __future__ import annotations


def at_least(found: float, goal: float, form: str = "g") -> str:
    """Return the goal of a figure that may be no smaller, such as `(at least 5)`."""
    return _told(f"at least {goal:{form}}", found >= goal)


def at_most(found: float, goal: float, form: str = "g") -> str:
    """Return the goal of a figure that may be no larger, such as `(at most 10%)`."""
    return _told(f"at most {goal:{form}}", found <= goal)


def below(found: float, goal: float, form: str = "g") -> str:
    """Return the goal of a figure that must be smaller, such as `(below 2,000)`."""
    return _told(f"below {goal:{form}}", found < goal)


def _told(goal: str, reached: bool) -> str:
    return f"({goal})" if reached else f"({goal}: MISSED)"
