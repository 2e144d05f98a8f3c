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
from typing import Any

import numpy as np

from extract.prepared import WEIGHTS_WORDS
from extract.progress import Reporter, Silent
from extract.recipe import one_of
from extract.store.reader import Snapshot
from heads.calibration import fit_temperature
from heads.data import Source, check_classes, check_labels, open_source
from heads.errors import HeadError
from heads.metrics import log_losses
from heads.model import Model, check_place, save
from heads.novelty import Novelty
from heads.scoring import Scorer, softmax
from heads.train import Blocks, Trained, train

REFITS = ("train", "all")


def fit(
    store: str | Path | Snapshot,
    out: str | Path | None = None,
    *,
    estimator: str | Any = "logistic",
    settings: Mapping[str, Any] | None = None,
    columns: Sequence[str] = (),
    class_weight: str | None = None,
    seed: int = 0,
    refit: str = "train",
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
            a pipeline. A copy of it is trained, on labels 0, 1, 2, ...
        settings: Parameters of the estimator, such as {"C": 0.1}.
        columns: Columns whose features stand side by side; not needed where there is one.
        class_weight: "balanced" gives every class the same weight; None gives every row one.
        seed: Decides everything that is drawn by chance.
        refit: "train" keeps the head that validation rows chose; "all" trains it once more on
            train and validation rows, with what they chose.
        reporter: Hears sentences for people.
        on_epoch: Is called with each row of the history, for heads that train in epochs.

    Returns:
        The model, saved, with its path.

    Raises:
        HeadstartError: With one line that says what to do; `out` is then as it was.
    """
    start = time.perf_counter()
    reporter = Silent() if reporter is None else reporter
    _check_options(refit, class_weight)
    source = open_source(store, columns)
    target = Path(out) if out is not None else default_model(source.snapshot.path)
    check_place(target)
    check_classes(source)
    for note in [*check_labels(source.snapshot), *_notes(source)]:
        reporter.note(note)

    trained = train(source, estimator, dict(settings or {}), class_weight, seed, on_epoch=on_epoch)
    judged = _judge(source, trained)
    if refit == "all" and "validation" in source.splits:
        again = train(
            source, estimator, trained.settings, class_weight, seed, on=("train", "validation")
        )
        trained = replace(trained, scorer=again.scorer)
    return save(
        _model(
            source,
            trained,
            judged,
            {
                "seed": seed,
                "class_weight": class_weight,
                "refit": refit,
                "seconds": round(time.perf_counter() - start, 3),
                "versions": _versions(),
            },
        ),
        target,
    )


def default_model(store: str | Path) -> Path:
    """Return `photos.head` for `photos.features`."""
    path = Path(store)
    return path.with_name(path.name.removesuffix(".features") + ".head")


def _check_options(refit: str, class_weight: str | None) -> None:
    one_of("refit", refit, REFITS)
    if class_weight not in (None, "balanced"):
        raise HeadError(f"--class-weight is balanced, or left out. Received: {class_weight!r}")


def _notes(source: Source) -> list[str]:
    notes = [
        f"{count} {reason} items are not trained on"
        for reason, count in source.left_out().items()
        if count
    ]
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
    snapshot = source.snapshot
    return Model(
        scorer=trained.scorer,
        classes=source.classes,
        temperature=judged.temperature,
        novelty=judged.novelty,
        recipe=snapshot.recipe,
        columns=source.columns,
        row_shapes=tuple(snapshot.row_shape(c.name) for c in source.columns),
        backbone=_backbone(snapshot),
        estimator=trained.description,
        store={
            "path": str(Path(snapshot.path).resolve()),
            "snapshot": snapshot.number,
            "root_digest": snapshot.root_digest,
            "items_digest": snapshot.items_digest,
            "distance_to_float32": snapshot.distance,
        },
        splits={split: source.count(split) for split in source.splits},
        metrics=judged.metrics,
        selection=trained.selection,
        settings=settings,
        history=trained.history,
    )


def _backbone(snapshot: Snapshot) -> dict[str, Any]:
    """Return the backbone's locators; a weights file by the path where it was found."""
    found = dict(snapshot.backbone)
    if found["weights"] not in WEIGHTS_WORDS:
        found["weights"] = snapshot.record.found_at.get("weights", found["weights"])
    return found


def _versions() -> dict[str, str]:
    names = ("headstart", "numpy", "scikit-learn", "keras")
    return {name: importlib.metadata.version(name) for name in names}
