"""Labels that do not exclude each other, and numbers: a store → a model, as `fitting` has classes.

target (n, outputs) ─▶ estimator trains on train rows, chooses on validation rows
                    ─▶ temperature and thresholds from validation rows ─▶ model
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from extract.store.reader import Data
from heads.calibration import fit_temperature
from heads.data import Source
from heads.errors import HeadError
from heads.estimators import json_value
from heads.multi_output import make
from heads.novelty import Novelty
from heads.scoring import Dense, answers
from heads.task_metrics import TaskReport, best_thresholds, judge
from heads.train import OnEpoch, epoch_options


def train_task(
    source: Source,
    name: str,
    settings: Mapping[str, Any],
    class_weight: str | None,
    refit: str,
    *,
    seed: int = 0,
    on_epoch: OnEpoch | None = None,
) -> dict[str, Any]:
    """Return the fields of a `Model` that training decides, as `heads.fit` has the arguments.

    Raises:
        HeadError: If the task has no such estimator, or there is nothing to learn from.
    """
    assert source.target is not None
    task = source.target.task
    head = make(task, name, settings, class_weight, seed)
    parameters = _parameters(head)
    source.check_split("train")
    train = source.load("train")
    judges = source.load("validation") if "validation" in source.splits else None
    if task == "multilabel":
        _check_labels(source, train.y)
    scorer = _fitted(head, train, judges, source, ("train",), on_epoch)
    temperature, thresholds = 1.0, (0.5,) * len(source.classes)
    if task == "multilabel" and judges is not None:
        temperature, thresholds = _calibrated(scorer, judges, len(source.classes))
    shown = {"train": train} | ({} if judges is None else {"validation": judges})
    metrics = {
        split: _facts(
            judge(task, scorer.logits(data.X), data.y, source.classes, temperature, thresholds)
        )
        for split, data in shown.items()
    }
    selection = tuple(getattr(head, "selection_", ()))
    chosen = {key: np.ravel(value).tolist() for key, value in _chosen(head).items()}
    if refit == "all" and judges is not None:
        again = make(task, name, _again(settings, head), class_weight, seed)
        both = Data(
            np.concatenate([train.X, judges.X]),
            np.concatenate([np.asarray(train.y), np.asarray(judges.y)]),
            train.items,
        )
        scorer = _fitted(again, both, None, source, ("train", "validation"), None)
    return {
        "scorer": scorer,
        "temperature": temperature,
        "novelty": _novelty(source, train, judges if judges is not None else train),
        "metrics": metrics,
        "selection": selection,
        "history": tuple(getattr(head, "history_", ())),
        "task": task,
        "label_columns": source.target.columns,
        "thresholds": thresholds if task == "multilabel" else (),
        "estimator": {
            "name": name,
            "class": f"{type(head).__module__}.{type(head).__qualname__}",
            "parameters": {key: json_value(value) for key, value in parameters.items()},
            "chosen": {k: v[0] for k, v in chosen.items() if len(v) == 1},
        },
    }


def _fitted(
    head: Any,
    train: Data,
    judges: Data | None,
    source: Source,
    on: tuple[str, ...],
    on_epoch: OnEpoch | None,
) -> Dense:
    """Train on the rows of `on`; heads that have epochs see maps, views and a listener too."""
    data = None if judges is None else (judges.X, np.asarray(judges.y))
    options = epoch_options(source, on, on_epoch) if hasattr(head, "head") else {}
    head.fit(train.X, train.y, validation_data=data, **options)
    if hasattr(head, "dense_"):
        return head.dense_
    return Dense.linear(head.coef_, head.intercept_)


def _parameters(head: Any) -> dict[str, Any]:
    return getattr(head, "head", head).get_params(deep=False)


def _check_labels(source: Source, y: np.ndarray | None) -> None:
    """Raise `HeadError` where all training rows, or none, have a label."""
    assert y is not None
    for name, count in zip(source.classes, y.sum(axis=0), strict=True):
        if count in (0, len(y)):
            raise HeadError(
                f"Label {name!r} is on {int(count)} of {len(y)} training images, so there is "
                f"nothing to tell apart. Give train images with it and without it"
            )


def _calibrated(scorer: Dense, data: Data, names: int) -> tuple[float, tuple[float, ...]]:
    """Return one temperature for all labels, each a choice between two, and their thresholds."""
    assert data.y is not None
    logits = scorer.logits(data.X)[:, -names:]
    pairs = np.stack([np.zeros(logits.size), logits.ravel().astype(np.float64)], axis=1)
    temperature = fit_temperature(pairs, data.y.ravel().astype(np.int64))
    return temperature, best_thresholds(answers(logits, "multilabel", temperature, names), data.y)


def _facts(report: TaskReport) -> dict[str, Any]:
    return {"rows": report.rows, **report.scalars}


def _chosen(head: Any) -> dict[str, Any]:
    names = {"C": "C_", "alpha": "alpha_", "epochs": "best_epoch_"}
    return {key: getattr(head, name) for key, name in names.items() if hasattr(head, name)}


def _again(settings: Mapping[str, Any], head: Any) -> dict[str, Any]:
    """Return settings with what was chosen; one C for all labels, where each had its own."""
    kept = {key: value for key, value in settings.items() if key not in ("C", "alpha")}
    if hasattr(head, "best_epoch_"):
        return kept | {"epochs": head.best_epoch_}
    if hasattr(head, "alpha_"):
        return kept | {"alphas": [head.alpha_]}
    return kept | {"Cs": [float(np.exp(np.log(head.C_).mean()))]}


def _novelty(source: Source, train: Data, held_out: Data) -> Novelty:
    """Distances from the mean of all rows: there are no classes that exclude each other."""

    def of(data: Data) -> Callable[[], Iterator[Any]]:
        return lambda: iter([SimpleNamespace(X=data.X, y=np.zeros(len(data.X), np.int64))])

    return Novelty.fit(of(train), 1, of(held_out))
