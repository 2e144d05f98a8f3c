"""Learning rates: one for all, or one per block; each follows its schedule inside its optimizer.

    head             learning_rate
    top block        learning_rate * layer_decay
    next block       learning_rate * layer_decay ** 2
    ...

With several rates the optimizer is a `keras.optimizers.MultiOptimizer`. Its own `learning_rate`
raises, and a callback that sets one rate an epoch would make all groups alike; so each part has
a schedule of its own, and which variable has which rate is asserted before the first step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from finetune.errors import FinetuneError
from finetune.freezing import FreezePlan
from finetune.network import Network
from finetune.options import Options
from heads.optimizers import optimizer_name

HEAD = "head"


class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises over `warmup` steps, then stays, or falls as a half cosine to 0."""

    def __init__(self, peak: float, warmup: int, steps: int, cosine: bool) -> None:
        self.peak, self.warmup, self.steps, self.cosine = peak, warmup, steps, cosine

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, from 0."""
        ops = keras.ops
        step = ops.cast(step, "float32")
        rise = (step + 1.0) / max(self.warmup, 1)
        if not self.cosine:
            return self.peak * ops.minimum(rise, 1.0) if self.warmup else self.peak + 0.0 * step
        done = (step - self.warmup) / max(self.steps - self.warmup, 1)
        fall = 0.5 * (1.0 + ops.cos(math.pi * ops.clip(done, 0.0, 1.0)))
        return self.peak * (ops.where(step < self.warmup, rise, fall) if self.warmup else fall)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            "peak": self.peak,
            "warmup": self.warmup,
            "steps": self.steps,
            "cosine": self.cosine,
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Variables that have one rate."""

    name: str
    """A block's, or "head"."""
    rate: float
    """At its peak."""
    paths: tuple[str, ...]
    """Paths of its variables."""


def groups_of(network: Network, plan: FreezePlan, options: Options) -> list[Group]:
    """Return what trains in groups of one rate, the head first, then block by block downwards."""
    groups = [Group(HEAD, options.learning_rate, _paths(network.head.trainable_weights))]
    blocks = [
        (name, [layer for layer in layers if layer.index >= plan.first and layer.weights])
        for name, layers in plan.blocks
    ]
    operations = network.operations
    for name, layers in reversed(blocks):
        if layers:
            depth = len(groups)
            rate = options.learning_rate * options.layer_decay**depth
            trained = [
                w for x in layers for p in x.positions for w in operations[p].trainable_weights
            ]
            groups.append(Group(name, rate, _paths(trained)))
    return groups


def _paths(variables: Sequence[Any]) -> tuple[str, ...]:
    return tuple(variable.path for variable in variables)


def build_optimizer(groups: Sequence[Group], options: Options, steps_per_epoch: int) -> Any:
    """Return an optimizer of Keras in which each group has its rate.

    Args:
        groups: As `groups_of` gives them.
        options: How to train.
        steps_per_epoch: Batches of an epoch.
    """
    optimizer = _of_groups(groups, options, steps_per_epoch)
    if options.precision == "mixed_float16":
        # Small gradients are 0 in float16. Keras does this by itself only for a model whose own
        # policy it is, and ours has it in layers.
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _of_groups(groups: Sequence[Group], options: Options, steps_per_epoch: int) -> Any:
    if options.layer_decay == 1.0:
        return _one(options.learning_rate, options, steps_per_epoch)
    parts = {group.name: _one(group.rate, options, steps_per_epoch) for group in groups}
    by_path = {path: parts[group.name] for group in groups for path in group.paths}

    def chosen(variable: Any) -> Any:
        return by_path[variable.path]  # a path that no group has is an error, not a default

    return keras.optimizers.MultiOptimizer(chosen)


def _one(rate: float, options: Options, steps_per_epoch: int) -> Any:
    steps = options.epochs * steps_per_epoch
    warmup = round(options.warmup * steps_per_epoch)
    arguments: dict[str, Any] = {
        "learning_rate": Rate(rate, warmup, steps, options.schedule == "cosine")
    }
    if options.weight_decay is not None:
        arguments["weight_decay"] = options.weight_decay
    if options.ema:
        arguments |= {"use_ema": True, "ema_momentum": options.ema}
    optimizer = getattr(keras.optimizers, optimizer_name(options.optimizer))(**arguments)
    # As is the custom: neither biases nor normalization's scales and offsets decay.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def parts_of(optimizer: Any) -> list[Any]:
    """Return the optimizers that hold the rates: those inside, or the one itself."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return list(getattr(inner, "optimizers", [inner]))


def rates_now(optimizer: Any) -> dict[str, float]:
    """Return the rate of each variable that trains, by its path, as of the next step."""
    return {
        variable.path: rate
        for part in parts_of(optimizer)
        for rate in [float(keras.ops.convert_to_numpy(part.learning_rate))]
        for variable in part._trainable_variables
    }


def check_rates(optimizer: Any, groups: Sequence[Group]) -> None:
    """Raise `FinetuneError` unless variables have the rates of their groups, relative to the head.

    The optimizer is built. Rates are compared by their ratios, which no schedule changes.
    """
    found = rates_now(optimizer)
    wanted = dict(_wanted(groups))
    if found.keys() != wanted.keys():
        odd = sorted(found.keys() ^ wanted.keys())[0]
        raise FinetuneError(f"Variable {odd} is in no group of rates, or in none that trains")
    top = max(found.values())
    if top == 0:  # the last step of a cosine
        return
    peak = max(wanted.values())
    for path, rate in found.items():
        if not math.isclose(rate / top, wanted[path] / peak, rel_tol=1e-3):
            raise FinetuneError(
                f"Variable {path} has {rate / top:.3g} of the highest rate, and "
                f"{wanted[path] / peak:.3g} was planned"
            )


def _wanted(groups: Sequence[Group]) -> Iterator[tuple[str, float]]:
    for group in groups:
        for path in group.paths:
            yield path, group.rate
