"""A store → a model: the road of a head, joined here and nowhere else.

    source ─▶ estimator trains on train rows, chooses on validation rows
           ─▶ its arrays (scorer), checked equal to it
           ─▶ temperature, novelty and metrics from validation rows ─▶ model folder, whole

Test rows are not read: `evaluate` does that, at the end.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from extract.places import beside
from extract.prepared import WEIGHTS_WORDS
from extract.progress import Reporter, Silent
from extract.recipe import one_of
from extract.store.reader import Bad, Data, Snapshot
from heads.calibration import fit_temperature
from heads.data import Source, check_classes, open_source
from heads.errors import HeadError
from heads.estimators import class_of
from heads.labels import check_labels
from heads.metrics import log_losses
from heads.model import Model
from heads.model_folder import check_place, save
from heads.names import listed
from heads.novelty import Novelty
from heads.opening import opened_snapshot
from heads.ranges import plain_seed
from heads.scoring import Scorer, softmax
from heads.sklearn_heads import check_classifier
from heads.targets import TASKS, target_of
from heads.tasks import train_task
from heads.train import Blocks, Trained, train

REFITS = ("train", "all")


def fit(
    store: str | Path | Snapshot,
    out: str | Path | None = None,
    *,
    estimator: str | Any | None = None,
    settings: Mapping[str, Any] | None = None,
    columns: str | Sequence[str] = (),
    class_weight: str | None = None,
    seed: int = 0,
    refit: str = "train",
    task: str = "classification",
    label: str | Sequence[str] = (),
    reporter: Reporter | None = None,
    on_epoch: Callable[[Mapping[str, Any]], None] | None = None,
) -> Model:
    """Train a head on the features of a store, and save it as a model.

    Args:
        store: A store's folder, or an open snapshot. Its splits are used as they are.
        out: The model's folder; `photos.head` for `photos.features` by default. A model that was
            there is replaced, whole, once the new one is finished.
        estimator: A name that `python -m heads estimators` lists, or a classifier of
            scikit-learn by name, such as "sklearn.svm.SVC"; or one that is made already, such as
            a pipeline. A copy of it is trained, on labels 0, 1, 2, ... "logistic" by default,
            and "ridge" for numbers.
        settings: Parameters of the estimator, such as {"C": 0.1}.
        columns: Columns whose features stand side by side; not needed where there is one.
        class_weight: "balanced" gives every class the same weight; None gives every row one.
        seed: Decides everything that is drawn by chance.
        refit: "train" keeps the head that validation rows chose; "all" trains it once more on
            train and validation rows, with what they chose.
        task: "classification"; "multilabel" for labels that do not exclude each other; or
            "regression" for numbers. `heads.targets` has what their columns hold.
        label: Column of the items to learn from, "label" by default; or several of them, for
            "multilabel" and "regression". `fit_columns` trains a head for each.
        reporter: Hears sentences for people.
        on_epoch: Is called with each row of the history, for heads that train in epochs.

    Returns:
        The model, saved, with its path.

    Raises:
        HeadstartError: With one line that says what to do; `out` is then as it was.
    """
    one_of("task", task, TASKS)
    seed = plain_seed(seed)
    estimator = default_estimator(task) if estimator is None else estimator
    if isinstance(estimator, str):
        class_of(estimator)  # importing scikit-learn or Keras takes seconds, and is no work
    elif task == "classification":
        check_classifier(estimator)
    start = time.perf_counter()
    reporter = Silent() if reporter is None else reporter
    _check_options(refit, class_weight)
    snapshot = opened_snapshot(store)
    label = listed(label)
    if task == "classification" and len(label) > 1:
        raise HeadError(
            f"One head learns one column of classes. Received: {', '.join(label)}. Give "
            f"--multilabel or --regression, or call heads.fit_columns"
        )
    plain = task == "classification" and label in ((), ("label",))
    learned = None if plain else target_of(snapshot.items, task, label, snapshot.path)
    source = open_source(snapshot, columns, target=learned)
    target = Path(out) if out is not None else default_model(source.snapshot.path)
    check_place(target)
    if task == "classification":
        check_classes(source)
    for note in [*check_labels(source.snapshot), *_notes(source)]:
        reporter.note(note)

    if task != "classification":
        fields = train_task(
            source,
            str(estimator),
            dict(settings or {}),
            class_weight,
            refit,
            seed=seed,
            on_epoch=on_epoch,
        )
        facts = _settings(seed, class_weight, refit, start)
        return save(Model(**fields, **_origin(source), settings=facts), target)
    trained = train(source, estimator, dict(settings or {}), class_weight, seed, on_epoch=on_epoch)
    judged = _judge(source, trained)
    if refit == "all" and "validation" in source.splits:
        again = train(
            source, estimator, trained.settings, class_weight, seed, on=("train", "validation")
        )
        trained = replace(trained, scorer=again.scorer)
    facts = _settings(seed, class_weight, refit, start)
    model = _model(source, trained, judged, facts)
    return save(replace(model, label_columns=label or model.label_columns), target)


def fit_columns(
    store: str | Path | Snapshot,
    labels: str | Sequence[str],
    out: str | Path | None = None,
    **options: Any,
) -> list[Model]:
    """Train a head for each of several columns of labels, in one pass over the features.

    Args:
        store: A store's folder, or an open snapshot.
        labels: Columns of the items, each with the class of an item, or empty.
        out: A folder for the models, one for each column; beside the store by default, such as
            `photos.breed.head`.
        options: As `fit` takes them.

    Returns:
        The models, saved, in the order of `labels`, one for each name.

    Raises:
        HeadError: If a column's name cannot be part of a folder's, or as `fit` does.
    """
    snapshot = _Remembering.of(opened_snapshot(store))
    labels = listed(labels)
    for name in dict.fromkeys(labels):
        if any(sign in name for sign in "/\\\0"):
            raise HeadError(
                f"Column {name!r} cannot be in the name of a folder. Train it alone: "
                f"python -m heads fit {snapshot.path} --label {name!r} --out MODEL"
            )
    models = []
    for name in dict.fromkeys(labels):
        if out is None:
            place = default_model(snapshot.path)
            target = place.with_name(place.name.removesuffix(".head") + f".{name}.head")
        else:
            target = Path(out) / f"{name}.head"
        models.append(fit(snapshot, target, label=name, **options))
    return models


class _Remembering(Snapshot):
    """A snapshot that reads each split of a column once."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        """Return the same snapshot, remembering."""
        made = cls.__new__(cls)
        made.__dict__.update(snapshot.__dict__, _loaded={})
        return made

    def load(
        self, split: str | None = "train", column: str | None = None, bad: Bad = "drop"
    ) -> Data:
        key = split, column, bad
        if key not in self._loaded:
            self._loaded[key] = super().load(split, column, bad)
        return self._loaded[key]

    _loaded: dict[tuple[str | None, str | None, Bad], Data]


def default_estimator(task: str) -> str:
    """Return what learns a task where nothing is said."""
    return "ridge" if task == "regression" else "logistic"


def _settings(seed: int, class_weight: str | None, refit: str, start: float) -> dict[str, Any]:
    return {
        "seed": seed,
        "class_weight": class_weight,
        "refit": refit,
        "seconds": round(time.perf_counter() - start, 3),
        "versions": _versions(),
    }


def finish(
    source: Source,
    trained: Trained,
    target: Path,
    settings: Mapping[str, Any],
    sweep: tuple[Mapping[str, Any], ...] = (),
) -> Model:
    """Judge a trained head on validation rows, and save it as a model with its sweep."""
    model = _model(source, trained, _judge(source, trained), {**settings, "versions": _versions()})
    learned = model.label_columns if source.target is None else source.target.columns
    return save(replace(model, sweep=sweep, label_columns=learned), target)


def default_model(store: str | Path) -> Path:
    """Return `photos.head` for `photos.features`; in this folder for a store in a bucket."""
    path = beside(store)
    return path.with_name(path.name.removesuffix(".features") + ".head")


def _check_options(refit: str, class_weight: str | None) -> None:
    one_of("refit", refit, REFITS)
    check_class_weight(class_weight)


def check_class_weight(class_weight: str | None) -> None:
    """Raise `HeadError` unless a weight of classes is one that there is."""
    if class_weight not in (None, "balanced"):
        raise HeadError(f"--class-weight is balanced, or left out. Received: {class_weight!r}")


def left_out_notes(source: Source) -> list[str]:
    """Return a sentence for each reason for which items are left out."""
    return [
        f"{count} {reason} items are not trained on"
        for reason, count in source.left_out().items()
        if count
    ]


def _notes(source: Source) -> list[str]:
    notes = left_out_notes(source)
    if "validation" not in source.splits:
        notes.append(
            "There are no validation rows: what is chosen is chosen by cross-validation on train "
            "rows, and probabilities are not calibrated"
        )
    return notes


@dataclass(frozen=True, slots=True)
class Judged:
    """What rows that were not trained on say of a head."""

    temperature: float
    novelty: Novelty
    metrics: dict[str, Any]


def _judge(source: Source, trained: Trained) -> Judged:
    """Fit temperature and novelty, and measure, on validation rows (else on train rows)."""
    held_out = "validation" if "validation" in source.splits else "train"
    scored = {
        split: _scores(trained.scorer, trained.rows(split))
        for split in dict.fromkeys(["train", held_out])
    }
    logits, codes = scored[held_out]
    temperature = fit_temperature(logits, codes) if held_out == "validation" else 1.0
    novelty = Novelty.fit(trained.rows("train"), len(source.classes), trained.rows(held_out))
    return Judged(
        temperature,
        novelty,
        {split: _measure(*pair, temperature) for split, pair in scored.items()},
    )


def _scores(scorer: Scorer, rows: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (n, classes) and codes (n,) of a split."""
    pairs = [(scorer.logits(block.X), block.y) for block in rows()]
    return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])


def _measure(logits: np.ndarray, codes: np.ndarray, temperature: float) -> dict[str, Any]:
    return {
        "rows": len(codes),
        "accuracy": float(np.mean(logits.argmax(axis=1) == codes)),
        "log_loss": float(log_losses(softmax(logits, temperature), codes).mean()),
    }


def _model(source: Source, trained: Trained, judged: Judged, settings: Mapping[str, Any]) -> Model:
    return Model(
        scorer=trained.scorer,
        temperature=judged.temperature,
        novelty=judged.novelty,
        estimator=trained.description,
        metrics=judged.metrics,
        selection=trained.selection,
        settings=settings,
        history=trained.history,
        **_origin(source),
    )


def _origin(source: Source) -> dict[str, Any]:
    """Return the fields of a model that its store decides."""
    snapshot = source.snapshot
    return {
        "classes": source.classes,
        "recipe": snapshot.recipe,
        "columns": source.columns,
        "row_shapes": tuple(snapshot.row_shape(c.name) for c in source.columns),
        "backbone": _backbone(snapshot),
        **source.origin,
    }


def _backbone(snapshot: Snapshot) -> dict[str, Any]:
    """Return the backbone's locators; a weights file by the path where it was found."""
    found = dict(snapshot.backbone)
    if found["weights"] not in WEIGHTS_WORDS:
        found["weights"] = snapshot.record.found_at.get("weights", found["weights"])
    return found


def _versions() -> dict[str, str]:
    names = ("headstart", "numpy", "scikit-learn", "keras")
    return {name: importlib.metadata.version(name) for name in names}
