"""Where the graph can be cut: the frozen prefix ends, and the suffix that trains begins.

Operations stand in topological order, so everything before a position is independent of what
comes from there on. The tensors that cross the position are what must be kept of each image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune.errors import CutError
from finetune.freezing import FreezePlan, block_of
from finetune.network import Network

if TYPE_CHECKING:
    import keras

BYTES = 2
"""Of one kept number: float16."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A place between two operations of a backbone."""

    position: int
    """The prefix is the operations before it."""
    sources: tuple[int, ...]
    """Positions of the operations whose output crosses."""
    names: tuple[str, ...]
    """Their names."""
    shapes: tuple[tuple[int, ...], ...]
    """Shapes of their outputs, without the batch axis."""

    @property
    def name(self) -> str:
        """How people call it: "block_15_add", or "a + b" where two tensors cross."""
        return " + ".join(self.names)

    @property
    def row_bytes(self) -> int:
        """Bytes that are kept of an image, as float16."""
        return BYTES * sum(math.prod(shape) for shape in self.shapes)

    def tensors(self, network: Network) -> list[keras.KerasTensor]:
        """Return the symbolic tensors that cross."""
        return [network.tensors[source][0] for source in self.sources]

    def prefix(self, network: Network) -> keras.Model:
        """Return preprocessed images to the tensors that cross."""
        return network.between(network.built.model.inputs, self.tensors(network), "prefix")

    def suffix(self, network: Network) -> keras.Model:
        """Return the tensors that cross to the maps that the head's features are made of."""
        return network.between(self.tensors(network), network.maps, "suffix")


def crossing(network: Network) -> list[tuple[int, ...]]:
    """Return, for each position, whose outputs cross it; index 0 is before the input."""
    operations = network.operations
    place = {id(operation): i for i, operation in enumerate(operations)}
    last_use = [-1] * len(operations)
    for position, operation in enumerate(operations):
        for source in _inputs(network, position, operation):
            last_use[place[id(source)]] = max(last_use[place[id(source)]], position)
    for column in network.columns:
        last_use[column.operation] = len(operations)
    return [
        tuple(i for i in range(position) if last_use[i] >= position)
        for position in range(len(operations) + 1)
    ]


def _inputs(network: Network, position: int, operation: Any) -> list[Any]:
    """Return the operations whose outputs an operation of the flat backbone takes."""
    output = network.tensors[position][0]
    node = operation._inbound_nodes[output._keras_history.node_index]
    return [tensor._keras_history.operation for tensor in node.input_tensors]


def first_trained(network: Network, plan: FreezePlan) -> int:
    """Return the position of the first operation with weights that train, or of the last map."""
    operations = network.operations
    trained = [p for p in sorted(plan.positions) if getattr(operations[p], "weights", [])]
    top = max(column.operation for column in network.columns) + 1
    return min([*trained, top])


def find_cut(network: Network, plan: FreezePlan) -> Cut:
    """Return the cut below what a plan trains: the one that keeps least of an image.

    Of the positions from the first trained operation back to where its block begins, that with
    the fewest tensors, and of those with the fewest bytes.

    Raises:
        CutError: If the input itself trains, or what crosses cannot be kept.
    """
    first = first_trained(network, plan)
    weighted = [p for p, o in enumerate(network.operations) if getattr(o, "weights", [])]
    candidates = [
        cut
        for p in _block(network, first)
        if p > min(weighted) and (cut := _cut(network, p)) is not None
    ]
    if not candidates:
        raise CutError(
            f"No set of tensors can be kept below what --unfreeze {plan.unfreeze} trains: nothing "
            f"but the input is frozen there. Type --mode full, or unfreeze less, such as last:10"
        )
    return min(candidates, key=lambda cut: (len(cut.names), cut.row_bytes, -cut.position))


def _block(network: Network, first: int) -> range:
    """Return the positions from `first` back to the beginning of its block."""
    operations = network.operations
    name = block_of(operations[min(first, len(operations) - 1)].name)
    start = first
    while start > 1 and (
        block_of(operations[start - 1].name) == name
        or not hasattr(operations[start - 1], "trainable")
    ):
        start -= 1
    return range(start, first + 1)


def _cut(network: Network, position: int) -> Cut | None:
    """Return the cut at a position; None where a tensor that crosses cannot be a column."""
    return _made(network, position, crossing(network)[position])


def _made(network: Network, position: int, sources: Sequence[int]) -> Cut | None:
    outputs = [network.tensors[source] for source in sources]
    if any(len(tensors) != 1 for tensors in outputs) or not sources:
        return None
    shapes = [tuple(tensors[0].shape[1:]) for tensors in outputs]
    if any(None in shape for shape in shapes):
        return None
    names = tuple(network.operations[source].name for source in sources)
    return Cut(position, tuple(sources), names, tuple(shapes))


def block_cuts(network: Network, most: int = 6) -> list[Cut]:
    """Return a cut below each block, topmost first: where one tensor crosses, else the fewest.

    Args:
        network: The network.
        most: Cuts at most; those nearest the top stay, since less is trained there.
    """
    across = crossing(network)
    top = max(column.operation for column in network.columns) + 1
    starts = [position for position in range(2, top) if _begins_block(network, position)]
    cuts = [cut for p in starts if (cut := _made(network, p, across[p])) is not None]
    least = min((len(cut.names) for cut in cuts), default=1)
    kept = [cut for cut in cuts if len(cut.names) <= max(least, 2)]
    return list(reversed(kept))[:most]


def _begins_block(network: Network, position: int) -> bool:
    """Whether a block begins at a position, or the layers that follow the last block do."""
    below, here = (network.operations[p].name for p in (position - 1, position))
    return block_of(below) != block_of(here) and (
        block_of(below) != below or block_of(here) != here
    )


def flops(network: Network) -> np.ndarray:
    """Return multiply-adds of each operation for one image: (operations,) float64.

    Convolutions and dense layers count their products, all else one per number that comes out.
    """
    return np.array(
        [_flops(operation, network.tensors[i][0]) for i, operation in enumerate(network.operations)]
    )


def _flops(operation: Any, output: keras.KerasTensor) -> float:
    size = float(math.prod(n for n in output.shape[1:] if n is not None))
    kernels = [w for w in getattr(operation, "weights", []) if len(w.shape) >= 2]
    channels = output.shape[-1] or 1
    return size / channels * sum(math.prod(w.shape) for w in kernels) if kernels else size
