"""The goal behind a figure, in parentheses, which says so where it was missed."""

from __future__ import annotations


def at_least(found: float, goal: float, form: str = "g", unit: str = "") -> str:
    """Return the goal of a figure that may be no smaller, such as `(at least 5)`."""
    return _told(f"at least {goal:{form}}{unit}", found >= goal)


def at_most(found: float, goal: float, form: str = "g", unit: str = "") -> str:
    """Return the goal of a figure that may be no larger, such as `(at most 10%)`."""
    return _told(f"at most {goal:{form}}{unit}", found <= goal)


def below(found: float, goal: float, form: str = "g", unit: str = "") -> str:
    """Return the goal of a figure that must be smaller, such as `(below 2,000)`."""
    return _told(f"below {goal:{form}}{unit}", found < goal)


def _told(goal: str, reached: bool) -> str:
    return f"({goal})" if reached else f"({goal}: MISSED)"
