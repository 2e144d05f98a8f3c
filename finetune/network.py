"""The network that is fine-tuned: a backbone, its features, and a head as Keras layers.

    pixels (b, S, S, 3) ─▶ preprocessing ─▶ backbone ─▶ maps ─▶ "feature_row" (b, d) ─▶ head
                          └ prefix ─▶ boundary ─▶ suffix ┘

Every model that is made here shares its layers with the others: what one trains, all have. The
backbone is flat, so that it can be cut between any two operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extract import identity, keras_graph
from extract.keras_graph import Built
from extract.recipe import Column
from finetune.errors import FinetuneError
from finetune.judging import Judgment, judge
from heads import joining
from heads.inference import side_by_side
from heads.model import Model
from heads.scoring import Scorer

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-4
"""How far logits of the Keras layers may be from those of the head, relative."""


@dataclass(frozen=True, eq=False)
class Network:
    """A head on its backbone, in layers."""

    model: Model
    """The head that it was made from."""
    built: Built
    columns: tuple[Column, ...]
    """The layer outputs that the head takes, in its order."""
    features: keras.Model
    """Maps of the backbone, one per column, to the feature row (batch, d)."""
    head: keras.Model
    """Feature row (batch, d) to logits (batch, classes)."""

    @property
    def operations(self) -> list[Any]:
        """The backbone's operations in topological order; positions count in them."""
        return list(self.built.model.operations)

    @cached_property
    def tensors(self) -> list[list[keras.KerasTensor]]:
        """Outputs of each operation."""
        return identity.outputs(self.built.model)

    @property
    def maps(self) -> list[keras.KerasTensor]:
        """The symbolic layer outputs that `features` takes."""
        return [self.tensors[column.operation][0] for column in self.columns]

    @cached_property
    def preprocessing(self) -> keras.Model:
        """Pixels (batch, S, S, 3) float32 in 0..255 to what the backbone takes."""
        import keras

        size = self.built.image_size
        pixels = keras.Input((size, size, 3), dtype="float32", name="pixels")
        x = keras_graph.preprocess(pixels, self.built.preprocessing)
        return keras.Model(pixels, keras.layers.Identity()(x), name="preprocessing")

    @cached_property
    def trunk(self) -> keras.Model:
        """Preprocessed images to the maps."""
        return self.between(self.built.model.inputs, self.maps, "trunk")

    def between(
        self,
        inputs: Sequence[keras.KerasTensor],
        outputs: Sequence[keras.KerasTensor],
        name: str,
    ) -> keras.Model:
        """Return the part of the backbone from some of its tensors to others.

        A single input is taken bare; outputs are always a list. Call it with `training=False`:
        Keras hands `training=True` on to every layer, whatever the graph itself says.
        """
        import keras

        return keras.Model(
            inputs[0] if len(inputs) == 1 else list(inputs), list(outputs), name=name
        )

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Return logits (n, classes) float32 of feature rows (n, d), by NumPy, as of now."""
        parts, start = [], 0
        for shape in self.model.row_shapes:
            stop = start + math.prod(shape)
            parts.append(rows[:, start:stop])
            start = stop
        dtypes = [column.dtype for column in self.model.columns]
        return self.scorer().logits(side_by_side(parts, dtypes))

    def judge(self, rows: np.ndarray, codes: np.ndarray) -> Judgment:
        """Judge feature rows (n, d) whose classes are codes (n,), with the head's temperature."""
        return judge(self.logits(rows) / self.model.temperature, codes)

    def scorer(self) -> Scorer:
        """Return the head as it is now, as arrays."""
        return joining.scorer_of(self.model, self.head)


def open_network(model: Model, weights: str | Path | None = None) -> Network:
    """Build the network of a head in this process, on the Keras backend that is active.

    Args:
        model: Its scorer is a stack of affine maps, or prototypes.
        weights: Where the backbone's weights file is now, if it is not where it was.

    Raises:
        HeadError: If the head cannot become layers.
        StaleModelError: If the backbone that is found is not the one it was trained on.
        BackboneError: If the backbone or its weights cannot be had.
    """
    joining.check(model)
    import keras

    request = model.request(weights)
    if request.spec.kind == "graph":
        raise FinetuneError(
            f"{request.spec.title} is a frozen graph: its weights are constants, and cannot be "
            f"trained. Extract with a model of keras.applications (python -m extract backbones "
            f"lists them)"
        )
    built = keras_graph.build(request.spec, request.image_size)
    if built.original is None:
        raise FinetuneError(
            f"{request.spec.title} is not of keras.applications, and fine-tuning takes no other "
            f"backbone. Extract with one of them (python -m extract backbones lists them)"
        )
    resolved = keras_graph.resolve(built, request.layers)
    model.check_backbone(
        built.preprocessing,
        identity.graph_digest(built.model),
        identity.weights_digest(built.model),
    )
    tensors = identity.outputs(built.model)
    maps = [keras.Input(tensors[c.operation][0].shape[1:]) for c in resolved]
    pooled = [
        keras_graph.pool(c.pooling, x, f"column_{i}")
        for i, (c, x) in enumerate(zip(resolved, maps, strict=True))
    ]
    row = keras.Input((model.width,), name="row")
    return Network(
        model=model,
        built=built,
        columns=tuple(resolved),
        features=keras.Model(maps, joining.feature_row(pooled), name="features"),
        head=keras.Model(row, joining.head_layers(model, row), name="head"),
    )


def check_head(network: Network, features: np.ndarray) -> None:
    """Raise `FinetuneError` unless the head's layers give what the head gives.

    Args:
        network: As it was made, before any step.
        features: (n, d) float32 rows of the store.
    """
    import keras

    expected = network.model.logits(features)
    found = keras.ops.convert_to_numpy(network.head(features, training=False))
    scale = max(float(np.abs(expected).max()), 1.0)
    if (apart := float(np.abs(found - expected).max()) / scale) > TOLERANCE:
        raise FinetuneError(
            f"The head as Keras layers differs from the head by {apart:.1e} relative, at most "
            f"{TOLERANCE:.0e} was expected. Train another head: python -m heads fit "
            f"{network.model.store.get('path', 'STORE')}"
        )
