"""Optimizers of `keras.optimizers` by name, with a learning rate that follows a schedule."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from extract.backbones import nearest
from heads.errors import HeadError

if TYPE_CHECKING:
    import keras

SCHEDULES = ("constant", "cosine", "linear")
"""How the learning rate goes from step to step: it stays, or falls to 0 at the last step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerPlan:
    """All that decides an optimizer; equal plans build optimizers that do the same."""

    name: str
    """A class of `keras.optimizers`, as `optimizer_name` spells it."""
    learning_rate: float
    """Of the first step."""
    schedule: str
    """One of `SCHEDULES`."""
    steps: int
    """Steps until the rate is 0; 0 where it stays."""
    weight_decay: float | None
    """Share of each kernel, times the learning rate, that every step takes away; None for what
    the optimizer does by default, which is 0.004 for AdamW and Muon, and none for others."""

    def build(self) -> keras.Optimizer:
        """Return a new optimizer; biases do not decay."""
        import keras

        options: dict[str, Any] = {"learning_rate": self._rate(), "name": "optimizer"}
        if self.weight_decay is not None:
            options["weight_decay"] = self.weight_decay
        optimizer = getattr(keras.optimizers, self.name)(**options)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        return optimizer

    def _rate(self) -> Any:
        from keras.optimizers import schedules

        if self.schedule == "cosine":
            return schedules.CosineDecay(self.learning_rate, self.steps)
        if self.schedule == "linear":
            return schedules.PolynomialDecay(self.learning_rate, self.steps, 0.0)
        return self.learning_rate


def optimizer_names() -> list[str]:
    """Return every optimizer of `keras.optimizers` that stands on its own, as Keras spells it."""
    import keras

    return [
        name
        for name, item in vars(keras.optimizers).items()
        if inspect.isclass(item)
        and issubclass(item, keras.Optimizer)
        and item is not keras.Optimizer
        # Those that wrap other optimizers leave the rate to them.
        and "learning_rate" in inspect.signature(item).parameters
    ]


def optimizer_name(name: object) -> str:
    """Return an optimizer's name as Keras spells it; case does not count.

    Raises:
        HeadError: If there is no such optimizer. It names those that are near.
    """
    known = optimizer_names()
    for spelled in known:
        if str(name).lower() == spelled.lower():
            return spelled
    near = nearest(str(name), known, likeness=0.6)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Give one of {', '.join(known)}"
    raise HeadError(f"keras.optimizers has no optimizer {name!r}. {hint}")
