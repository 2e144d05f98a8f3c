"""A model: a head and all that it needs to be trusted, as values. `heads.model_folder` keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from extract.backbones import BackboneSpec
from extract.prepared import Request
from extract.recipe import Column, LayerRequest, Preprocessing, Recipe, first_difference
from extract.run_words import run_command
from extract.store.reader import Snapshot
from heads.errors import StaleModelError
from heads.novelty import Novelty
from heads.scoring import Scorer, answers

Kind = Literal["head", "finetuned"]
RECORD_KINDS: Mapping[Kind, str] = {"head": "model", "finetuned": "finetuned"}
"""Kind of a model → kind of its record."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A trained head, with what its features are made by."""

    scorer: Scorer
    """Features (n, d) to logits (n, classes)."""
    classes: tuple[str, ...]
    temperature: float
    """Logits are divided by it; fitted on validation rows, 1.0 where there were none."""
    novelty: Novelty
    recipe: Recipe
    columns: tuple[Column, ...]
    row_shapes: tuple[tuple[int, ...], ...]
    """Shape of one row of each column."""
    backbone: Mapping[str, Any]
    """name, arguments, weights: where the backbone was found, beside its digests in `recipe`."""
    estimator: Mapping[str, Any]
    """name, class and parameters of what trained it, as JSON values."""
    store: Mapping[str, Any]
    """path, snapshot, root_digest and items_digest of what it was trained on."""
    splits: Mapping[str, int]
    """Rows of each split when it was trained, and what was done with them: see `fit`."""
    metrics: Mapping[str, Any]
    """Numbers on training and validation rows; test rows are not read."""
    selection: tuple[Mapping[str, Any], ...] = ()
    """What was tried and what each came to."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """seed, class_weight, refit, seconds (without importing libraries), versions."""
    history: tuple[Mapping[str, Any], ...] = ()
    """One row per epoch, for heads that have epochs."""
    sweep: tuple[Mapping[str, Any], ...] = ()
    """One row per head that was tried, for a head that a sweep chose."""
    task: str = "classification"
    """Or "multilabel" or "regression": `classes` are then names of labels or of numbers."""
    label_columns: tuple[str, ...] = ("label",)
    """Columns of the items that it learned from."""
    thresholds: tuple[float, ...] = ()
    """Of a multilabel head: probability at which each label is given."""
    kind: Kind = "head"
    """"finetuned" if it was trained on with its backbone: its features are in no store then, and
    are computed from images, unless training kept the head as it was."""
    attachments: Mapping[str, Path] = field(default_factory=dict)
    """Further files of the folder, by name, and where each is now."""
    path: Path | None = None
    """Where it lies; None before it is saved."""

    def __repr__(self) -> str:
        return (
            f"Model({self.estimator.get('name')!r}, classes={len(self.classes)}, "
            f"recipe={self.recipe.key[:12]}…)"
        )

    @property
    def width(self) -> int:
        """Features of one row, d."""
        return sum(int(np.prod(shape)) for shape in self.row_shapes)

    @property
    def image_size(self) -> int:
        """Side of the square that the backbone sees, in pixels."""
        return self.recipe.pixels.image_size

    def logits(self, X: np.ndarray) -> np.ndarray:
        """Return (n, classes) float32 for features X (n, d), before the temperature."""
        return self.scorer.logits(X)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return (n, classes) float64 for features X (n, d); numbers under regression."""
        return answers(self.logits(X), self.task, self.temperature, len(self.classes))

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the likeliest class of each row of X (n, d), as names (n,).

        A multilabel head gives indicators (n, labels) bool, a regressor numbers (n, targets).
        """
        if self.task == "regression":
            return self.predict_proba(X)
        if self.task == "multilabel":
            return self.predict_proba(X) >= np.array(self.thresholds)
        return np.asarray(self.classes)[self.logits(X).argmax(axis=1)]

    def request(self, weights: str | Path | None = None) -> Request:
        """Return what `extract.prepare` makes this model's backbone from.

        Args:
            weights: Where the backbone's weights file is now, if it is not where it was.
        """
        own = self.attachments.get(self.backbone["weights"])
        place = own if weights is None else weights
        return Request(
            spec=BackboneSpec.located_at(self.backbone, None if place is None else str(place)),
            image_size=self.image_size,
            layers=tuple(LayerRequest(c.layer, c.pooling) for c in self.columns),
        )

    def check_backbone(
        self, preprocessing: Preprocessing, graph_digest: str, weights_digest: str
    ) -> None:
        """Raise `StaleModelError` unless a backbone is the one that the head was trained on."""
        found = {
            "preprocessing": preprocessing,
            "graph_digest": graph_digest,
            "weights_digest": weights_digest,
        }
        for name, value in found.items():
            if value != (wanted := getattr(self.recipe, name)):
                raise StaleModelError(
                    f"The backbone that was found has {name} {value}, and the model was trained "
                    f"with {wanted}. Give --weights the file that it was trained with"
                )

    def could_be_in(self, snapshot: Snapshot) -> bool:
        """Whether a store could hold its features: they are not of a backbone of its own."""
        return self.kind == "head" or self.recipe.key == snapshot.recipe.key

    def check_features(self, snapshot: Snapshot) -> None:
        """Raise `StaleModelError` unless a snapshot holds features of this model's recipe."""
        if (difference := first_difference(self.recipe, snapshot.recipe)) is not None:
            name, ours, theirs = difference
            raise StaleModelError(
                f"{snapshot.path} holds features of another recipe: {name} is {theirs!r}, and the "
                f"model was trained with {ours!r}. Extract with the model's recipe, or train a "
                f"head on this store: python -m heads fit {snapshot.path}"
            )
        kept = {column.canonical for column in snapshot.columns}
        for column in self.columns:
            if column.canonical not in kept:
                raise StaleModelError(
                    f"{snapshot.path} has no column {column.name!r}, which the model takes. Type: "
                    f"{run_command(snapshot.path, 'IMAGES')} "
                    f"--layer {column.layer}:{column.pooling}"
                )

    @cached_property
    def record(self) -> dict[str, Any]:
        """What `model.json` says, without the list of files."""
        return {
            "scorer": {"kind": self.scorer.kind, **self.scorer.facts()},
            "classes": list(self.classes),
            "task": self.task,
            "label_columns": list(self.label_columns),
            "thresholds": list(self.thresholds),
            "temperature": self.temperature,
            "recipe": self.recipe.to_json(),
            "recipe_key": self.recipe.key,
            "columns": [
                {"column": column.to_json(), "row_shape": list(shape)}
                for column, shape in zip(self.columns, self.row_shapes, strict=True)
            ],
            "backbone": dict(self.backbone),
            "estimator": dict(self.estimator),
            "store": dict(self.store),
            "splits": dict(self.splits),
            "metrics": dict(self.metrics),
            "selection": [dict(row) for row in self.selection],
            "settings": dict(self.settings),
            "attachments": sorted(self.attachments),
        }
