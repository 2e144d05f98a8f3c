"""Which layers of the backbone train: what `--unfreeze` says, as a plan that is checked.

Layers count as the tutorials do, `base_model.layers[-10:]`: those of `keras.applications`, with
the input layer, without our preprocessing, pooling or head; a nested model is one layer. What is
no layer (an addition written as `a + b`) has no weights, and stands with what consumes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from extract import identity
from extract.backbones import nearest
from extract.keras_graph import Built
from finetune.errors import FinetuneError, UnfreezeError
from finetune.network import Network

BLOCK = re.compile(r"^.*?(?:block|stage|mixed|layer|cell|conv_[dp]w)_?\d+[a-z]?(?:_block_?\d+)?")
"""How the names of `keras.applications` begin where a block has one: "block_16_project" is in
block_16, "conv5_block3_1_conv" in conv5_block3, "conv_pw_13_relu" in conv_pw_13."""


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One layer as `keras.applications` counts it."""

    index: int
    name: str
    block: str
    """What its name begins with, where that names a block; else its name."""
    class_name: str
    positions: tuple[int, ...]
    """Positions of its operations in the flat backbone; several for a nested model."""
    parameters: int
    """Numbers in its weights."""
    weights: int
    """Variables that train where the layer does."""


@dataclass(frozen=True, slots=True)
class FreezePlan:
    """Which layers train."""

    unfreeze: str
    """As it was asked for."""
    layers: tuple[LayerFacts, ...]
    first: int
    """Index of the first layer that trains; as many as there are layers where none does."""

    @property
    def trainable(self) -> tuple[LayerFacts, ...]:
        """The layers that train."""
        return self.layers[self.first :]

    @property
    def positions(self) -> frozenset[int]:
        """Positions of the operations that train."""
        return frozenset(p for layer in self.trainable for p in layer.positions)

    @property
    def weights(self) -> int:
        """How many variables of the backbone train."""
        return sum(layer.weights for layer in self.trainable)

    @property
    def parameters(self) -> int:
        """How many numbers of the backbone train; those of moving statistics included."""
        return sum(layer.parameters for layer in self.trainable)

    @property
    def blocks(self) -> list[tuple[str, list[LayerFacts]]]:
        """The layers in runs of one block, in order."""
        return [(name, list(run)) for name, run in groupby(self.layers, lambda x: x.block)]

    def describe(self) -> str:
        """Return one line that says how much trains."""
        return (
            f"--unfreeze {self.unfreeze}: {len(self.trainable)} of {len(self.layers)} layers "
            f"train, {self.weights} weights, {self.parameters:,} parameters, and the head"
        )

    def table(self) -> list[tuple[str, int, int, str, int]]:
        """Return (block, layers, parameters, trainable, BatchNorm layers) for people.

        Blocks of one layer that are alike in what they say are drawn together.
        """
        lines: list[tuple[str, int, int, str, int]] = []
        for alone, runs in groupby(self.blocks, lambda run: len(run[1]) == 1):
            for name, layers in _merged(list(runs)) if alone else runs:
                lines.append(self._line(name, layers))
        return lines

    def _line(self, name: str, layers: Sequence[LayerFacts]) -> tuple[str, int, int, str, int]:
        training = sum(layer.index >= self.first for layer in layers)
        words = {0: "no", len(layers): "yes"}.get(training, f"{training} of {len(layers)}")
        return (
            name,
            len(layers),
            sum(layer.parameters for layer in layers),
            words,
            sum(layer.class_name == "BatchNormalization" for layer in layers),
        )


def _merged(runs: Sequence[tuple[str, list[LayerFacts]]]) -> list[tuple[str, list[LayerFacts]]]:
    layers = [layer for _, run in runs for layer in run]
    name = layers[0].name if len(layers) == 1 else f"{layers[0].name} … {layers[-1].name}"
    return [(name, layers)]


def block_of(name: str) -> str:
    """Return the block that a layer's name begins with, or the name itself."""
    found = BLOCK.match(name)
    return found[0] if found else name


def layers_of(built: Built) -> tuple[LayerFacts, ...]:
    """Return the layers of a backbone as `keras.applications` counts them."""
    assert built.original is not None
    place = {id(operation): i for i, operation in enumerate(built.model.operations)}
    facts = []
    for index, layer in enumerate(built.original.layers):
        leaves = _leaves(layer)
        for leaf in leaves:  # a plan decides later; here every variable that could train counts
            _set(leaf, True)
        facts.append(
            LayerFacts(
                index=index,
                name=layer.name,
                block=block_of(layer.name),
                class_name=type(layer).__name__,
                positions=tuple(sorted(place[id(x)] for x in leaves if id(x) in place)),
                parameters=int(layer.count_params()),
                weights=sum(len(getattr(leaf, "trainable_weights", [])) for leaf in leaves),
            )
        )
    return tuple(facts)


def _leaves(layer: Any) -> list[Any]:
    import keras

    return identity.operations(layer) if isinstance(layer, keras.Model) else [layer]


def make_plan(layers: tuple[LayerFacts, ...], unfreeze: str) -> FreezePlan:
    """Return the plan for an `--unfreeze` value.

    Args:
        layers: As `layers_of` gives them.
        unfreeze: "all", "last:10" (layers), "from:100" (index of a layer), "from:block_16" (a
            layer or block, and all above it), or "20%" (the fewest top layers that hold this
            share of the backbone's parameters).

    Raises:
        UnfreezeError: If it matches nothing; it names what is near.
    """
    return FreezePlan(unfreeze, layers, _first(layers, unfreeze.strip()))


def _first(layers: Sequence[LayerFacts], text: str) -> int:
    if text == "all":
        return 0
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", text):
        return _first_of_share(layers, float(match[1]), text)
    if match := re.fullmatch(r"last:(\d+)", text):
        count = int(match[1])
        if not 1 <= count <= len(layers):
            raise UnfreezeError(_range("last:N", 1, len(layers), text))
        return len(layers) - count
    if match := re.fullmatch(r"from:(\d+)", text):
        if not int(match[1]) < len(layers):
            raise UnfreezeError(_range("from:N", 0, len(layers) - 1, text))
        return int(match[1])
    if text.startswith("from:"):
        return _first_of_name(layers, text.removeprefix("from:"))
    raise UnfreezeError(
        f"--unfreeze is all, last:10, from:100, from:{layers[-1].block} or 20%. Received: {text!r}"
    )


def _range(form: str, low: int, high: int, text: str) -> str:
    return f"--unfreeze {form} takes {low} to {high} layers of this backbone. Received: {text!r}"


def _first_of_share(layers: Sequence[LayerFacts], percent: float, text: str) -> int:
    if not 0 < percent <= 100:
        raise UnfreezeError(f"--unfreeze takes above 0% to 100%. Received: {text!r}")
    total, held = sum(layer.parameters for layer in layers), 0
    for layer in reversed(layers):
        held += layer.parameters
        if held >= total * percent / 100:
            return layer.index
    return 0


def _first_of_name(layers: Sequence[LayerFacts], name: str) -> int:
    exact = [x.index for x in layers if x.name == name]
    block = [x.index for x in layers if x.block == name or x.name.startswith(f"{name}_")]
    if found := exact or block:
        return found[0]
    known = dict.fromkeys([x.block for x in layers] + [x.name for x in layers])
    near = nearest(name, known, likeness=0.5) or [layers[-1].block]
    raise UnfreezeError(
        f"The backbone has no layer or block {name!r}: did you mean {', '.join(near)}?"
    )


def apply(network: Network, plan: FreezePlan) -> None:
    """Let exactly the planned layers train, and the head.

    It is set from the leaves up, since a model that is set to `trainable = False` also silences
    what is set to True inside it later; then what trains is counted.

    Raises:
        FinetuneError: If the count of trainable weights is not the plan's.
    """
    set_trainable(network.operations, plan)
    found = len(network.trunk.trainable_weights)
    if found != plan.weights:
        raise FinetuneError(
            f"{found} weights of the backbone would train, and the plan for --unfreeze "
            f"{plan.unfreeze} has {plan.weights}. Set no layer of it by hand"
        )


def set_trainable(operations: Sequence[Any], plan: FreezePlan) -> None:
    """Set what trains of a flat backbone's operations, and what does not."""
    for position, operation in enumerate(operations):
        _set(operation, position in plan.positions)


def _set(operation: Any, trains: bool) -> None:
    """Let an operation train or not, with all that is inside it.

    Keras 3.15 passes on a change only: True for what is True already leaves what is inside alone.
    """
    if hasattr(operation, "trainable"):
        operation.trainable = not trains
        operation.trainable = trains
