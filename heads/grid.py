"""A grid of linear heads: learning rate x weight decay x label smoothing x column x seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heads.errors import HeadError

LEARNING_RATES = tuple(float(f"{10 ** (-4 + i / 4):.3g}") for i in range(13))
"""1e-4 to 0.1, four to a decade."""
WEIGHT_DECAYS = (0.0, 0.1)
LABEL_SMOOTHINGS = (0.0, 0.1)
# 13 x 2 x 2 = 52 heads for each column and seed.


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What decides one head of the grid; the words are those of `heads.neural.LinearHead`."""

    column: str
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The values that are combined, each with each."""

    learning_rates: Sequence[float] = LEARNING_RATES
    weight_decays: Sequence[float] = WEIGHT_DECAYS
    label_smoothings: Sequence[float] = LABEL_SMOOTHINGS
    seeds: Sequence[float] = (0,)

    def __post_init__(self) -> None:
        _check("--learning-rate", self.learning_rates, "above 0", lambda v: v > 0)
        _check("--weight-decay", self.weight_decays, "at least 0", lambda v: v >= 0)
        _check("--label-smoothing", self.label_smoothings, "0 to below 1", lambda v: 0 <= v < 1)
        _check("--seed", self.seeds, "whole and at least 0", lambda v: v >= 0 and v == int(v))

    def settings(self, columns: Sequence[str]) -> list[Setting]:
        """Return every combination; heads of one column and seed stand together."""
        return [
            Setting(
                column=column,
                seed=int(seed),
                learning_rate=rate,
                weight_decay=decay,
                label_smoothing=smoothing,
            )
            for column, seed, rate, decay, smoothing in itertools.product(
                columns,
                dict.fromkeys(self.seeds),
                dict.fromkeys(self.learning_rates),
                dict.fromkeys(self.weight_decays),
                dict.fromkeys(self.label_smoothings),
            )
        ]


def _check(
    option: str, values: Sequence[float], words: str, right: Callable[[float], bool]
) -> None:
    """Raise `HeadError` unless there are values, and each is a finite number in its range."""
    if not values:
        raise HeadError(f"The grid is empty: give {option} at least one number {words}")
    for value in values:
        if not (math.isfinite(value) and right(value)):
            raise HeadError(f"{option} takes numbers {words}. Received: {value!r}")


def numbers(option: str, text: str | None, default: Sequence[float]) -> tuple[float, ...]:
    """Return numbers from text such as "0.001,0.01"; `default` where there is no text.

    Raises:
        HeadError: If a part is no number, or there is none.
    """
    if text is None:
        return tuple(default)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = tuple(float(part) for part in parts)
    except ValueError as error:
        raise HeadError(
            f"{option} takes numbers separated by commas, such as 0.001,0.01. Received: {text!r}"
        ) from error
    if not found:
        raise HeadError(
            f"The grid is empty: {option} has no number in {text!r}. Give some, such as "
            f"{option} {','.join(f'{v:g}' for v in default[:2])}"
        )
    return found
