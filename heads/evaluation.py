"""A model and a store → how good the model is on rows of one split.

model ─▶ its store, checked against its recipe ─▶ rows of a split, classes matched by name
      ─▶ probabilities, with the model's temperature ─▶ report, and notes on what it is worth
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from extract.places import bucket_url
from extract.run_words import run_command
from extract.store import header
from extract.store.reader import Data, Snapshot
from heads.data import Source, open_source
from heads.errors import HeadError
from heads.metrics import Report, measure
from heads.model import Model
from heads.model_folder import load
from heads.opening import opened_snapshot
from heads.targets import target_of
from heads.task_metrics import IN_DEVIATIONS, TaskReport, compare
from heads.task_views import matched

NAMED = 20
"""Most classes that a message names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """A report, and what it was made from."""

    report: Any
    """A `heads.metrics.Report`; a `heads.task_metrics.TaskReport` of a multilabel head or a
    regressor."""
    model: str | None
    """Where the model lies; None where it was never saved."""
    store: str
    snapshot: int
    split: str
    left_out: Mapping[str, int]
    """Items of the split that are not judged on, by reason: "bad" or "unlabeled"."""
    notes: tuple[str, ...]
    """What to know before the numbers are believed: sentences for people."""

    @property
    def rows(self) -> int:
        """Rows that were judged on."""
        return self.report.rows

    def to_json(self) -> dict[str, Any]:
        """Return JSON values: what was judged on, and the report's numbers beside it."""
        return {
            "model": self.model,
            "store": self.store,
            "snapshot": self.snapshot,
            "split": self.split,
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
            **self.report.to_json(),
        }


def evaluate(
    model: Model | str | Path,
    store: str | Path | Snapshot | None = None,
    split: str | None = None,
    snapshot: int | None = None,
    *,
    tta: bool = False,
    images: str | Path | None = None,
) -> Evaluation:
    """Judge a model on the rows of one split.

    Args:
        model: A model, or its folder.
        store: A store of the model's recipe; by default the one that it was trained on, where
            that was, else beside the model.
        split: "train", "validation" or "test"; by default test rows, and where there are none,
            validation rows.
        snapshot: Number of a snapshot of the store; the newest by default.
        tta: Probabilities, or numbers, are means over every cached view of an image (test-time
            augmentation).
        images: Where the store's images are now, if they are not where they were; only a
            fine-tuned model needs them, because no store has its features.

    Raises:
        ModelError: If there is no model, or it is damaged.
        StaleModelError: If the store's features are not of the model's recipe.
        StoreError: If the store cannot be opened.
        HeadError: If there is no store, no such split, or a label that the model does not know.
    """
    if not isinstance(model, Model):
        model = load(model)
    opened = opened_snapshot(store if store is not None else find_store(model), snapshot)
    source = open_for(model, opened)
    split = _default_split(source) if split is None else split
    source.check_split(split)
    if tta:
        _check_views(model, source)
    if model.task == "classification":
        probabilities, codes = _predict(model, source, split, images)
        if tta:
            probabilities = _mean_over_views(model, source, split)
        report: Any = measure(probabilities, codes, model.classes)
    else:
        report = _judge(model, source, split, tta)
    left_out = source.left_out(split)
    return Evaluation(
        report=report,
        model=None if model.path is None else str(model.path),
        store=opened.path,
        snapshot=opened.number,
        split=split,
        left_out=left_out,
        notes=(*_notes(model, source, split, left_out), *_no_errors(report)),
    )


def find_store(model: Model) -> Path | str:
    """Return the store that a model was trained on: where it was, else beside the model.

    Raises:
        HeadError: If it is in neither place.
    """
    if url := bucket_url(model.store["path"]):
        return url
    was = Path(model.store["path"])
    places = [was] if model.path is None else [was, model.path.resolve().parent / was.name]
    for place in places:
        if (place / header.NAME).is_file():
            return place
    raise HeadError(
        f"The store that the model was trained on is not at "
        f"{' or '.join(str(place) for place in dict.fromkeys(places))}. Say where it is now: "
        f"python -m heads evaluate {model.path or 'MODEL'} STORE"
    )


def open_for(model: Model, snapshot: Snapshot) -> Source:
    """Return the columns that the model takes; they are known by position, not by name."""
    if model.task == "classification" and model.label_columns == ("label",):
        target = None
    else:
        target = target_of(snapshot.items, model.task, model.label_columns, snapshot.path)
    if not model.could_be_in(snapshot):
        return open_source(snapshot, [snapshot.columns[0].name], target=target)
    model.check_features(snapshot)
    names = {column.canonical: column.name for column in snapshot.columns}
    columns = [names[column.canonical] for column in model.columns]
    return open_source(snapshot, columns, target=target)


def _judge(model: Model, source: Source, split: str, tta: bool) -> TaskReport:
    """Judge a multilabel head or a regressor; labels are matched by name."""
    if unknown := [name for name in source.classes if name not in model.classes]:
        raise _unknown_class(model, source, unknown[0])
    rows = [
        (model.predict_proba(block.X), matched(model, source, np.asarray(block.y)))
        for block in source.blocks(split)
    ]
    found, truth = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    if tta:
        found = _mean_over_views(model, source, split)
    return compare(model.task, found, truth, model.classes, model.thresholds)


def _default_split(source: Source) -> str:
    for split in ("test", "validation"):
        if split in source.splits:
            return split
    raise HeadError(
        f"{source.snapshot.path} has no labeled rows in test or validation. It has: "
        f"{', '.join(source.splits) or 'none'}. To judge on rows that were trained on, give "
        f"--split train"
    )


def _predict(
    model: Model, source: Source, split: str, images: str | Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (n, classes) float64 and the model's codes (n,) of a split."""
    known = _codes(model, source)
    rows = source.count(split)
    probabilities = np.empty((rows, len(model.classes)))
    codes = np.empty(rows, np.int64)
    start = 0
    for block in blocks_of(model, source, split, images):
        here = slice(start, start + len(block))
        codes[here] = known[block.y]
        if (unknown := codes[here] < 0).any():
            assert block.y is not None
            raise _unknown_class(model, source, source.classes[block.y[unknown][0]])
        probabilities[here] = model.predict_proba(block.X)
        start += len(block)
    return probabilities, codes


def _check_views(model: Model, source: Source) -> None:
    """Raise `HeadError` where there are no views of a model's own features to take the mean of."""
    path = source.snapshot.path
    if not model.could_be_in(source.snapshot):
        raise HeadError(
            f"--tta takes the mean over cached views, and {path} has views of its frozen backbone, "
            f"not of a fine-tuned one. Leave --tta out"
        )
    if len(source.views) < 2:
        raise HeadError(
            f"--tta takes the mean over cached views, and {path} has none but the plain one of the "
            f"model's columns. Leave --tta out, or extract views: {run_command(path, 'IMAGES')} "
            f"--views 8 --augment flip"
        )


def _mean_over_views(model: Model, source: Source, split: str) -> np.ndarray:
    """Return what `predict_proba` does, the mean over the views of each row."""
    views = source.load_views(split)
    return np.mean([model.predict_proba(view) for view in views], axis=0)


def blocks_of(
    model: Model, source: Source, split: str, images: str | Path | None
) -> Iterator[Data]:
    """Yield rows with the model's features: from the store, or computed from images."""
    if model.could_be_in(source.snapshot):
        return source.blocks(split)
    from heads import imaging

    return imaging.blocks(model, source, split, images)


def _codes(model: Model, source: Source) -> np.ndarray:
    """Return the model's code of each of the store's classes; -1 where it has no such class."""
    codes = {name: code for code, name in enumerate(model.classes)}
    return np.array([codes.get(name, -1) for name in source.classes], np.int64)


def _unknown_class(model: Model, source: Source, name: str) -> HeadError:
    shown = ", ".join(model.classes[:NAMED]) + (", …" if len(model.classes) > NAMED else "")
    return HeadError(
        f"{source.snapshot.path} has rows of class {name!r}, which the model was not trained on "
        f"(it knows {shown}). Train a head that knows it: python -m heads fit "
        f"{source.snapshot.path}"
    )


def _notes(model: Model, source: Source, split: str, left_out: Mapping[str, int]) -> Iterator[str]:
    snapshot, trained_on = source.snapshot, model.store
    items = trained_on["items_digest"]
    before = model.settings.get("finetune", {}).get("head_items_digest", items)
    same_items = snapshot.items_digest == items == before
    if snapshot.root_digest != trained_on["root_digest"]:
        yield (
            f"{snapshot.path} does not hold the features that the model was trained on: its root "
            f"digest is {snapshot.root_digest[:12]}…, and was {trained_on['root_digest'][:12]}…"
        )
    if not same_items:
        yield (
            f"Images, labels or splits of {snapshot.path} are not those that the model was "
            f"trained with, so rows judged here may be among those it saw"
        )
    if model.task == "regression" and len(model.classes) > 1:
        yield IN_DEVIATIONS
    if seen := _seen(model, split):
        which = "These rows" if same_items else "Those of these rows that were there then"
        yield f"{which} {seen}: expect less on new images"
    for reason, count in left_out.items():
        if count:
            yield f"{count:,} {reason} items of {split} are left out"


def _no_errors(report: Any) -> Iterator[str]:
    """Say what no interval from resampled rows can: Hanley and Lippman-Hand, JAMA 249, 1983."""
    if isinstance(report, Report) and report.accuracy == 1:
        yield (
            f"No row is wrong, and {report.rows:,} rows cannot tell that from "
            f"{min(3 / report.rows, 1):.1%} wrong: intervals do not show it"
        )


def _seen(model: Model, split: str) -> str:
    """Return what training did with the rows of a split; nothing for test rows."""
    refitted = model.settings.get("refit") == "all"
    if split == "train" or (split == "validation" and refitted):
        return "were trained on"
    return "also chose the head and its temperature" if split == "validation" else ""
