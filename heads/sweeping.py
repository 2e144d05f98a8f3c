"""Many heads on one store, of which validation rows choose one: the road of `heads.sweep`.

    every column ─┬▶ linear      the grid, in one product per step, halved as it goes
                  ├▶ logistic    every penalty from one preconditioner
                  └▶ ridge       every penalty from one decomposition
                  ─▶ the best by validation accuracy, then by calibrated log loss ─▶ a model
                  ─▶ test rows, read once

What was tried is kept in the model, as `sweep.csv`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from extract.progress import Reporter, Silent
from extract.recipe import Column
from extract.store.reader import Snapshot
from heads import halving
from heads.calibration import fit_temperature
from heads.data import (
    Source,
    check_classes,
    check_validation,
    open_source,
)
from heads.errors import HeadError
from heads.evaluation import Evaluation, evaluate
from heads.fitting import check_class_weight, default_model, finish, left_out_notes
from heads.grid import Grid, Setting
from heads.halving import Table, Tried
from heads.labels import check_labels
from heads.metrics import log_losses
from heads.model import Model
from heads.model_folder import check_place
from heads.names import listed
from heads.neural_rows import scaling_of
from heads.opening import opened_snapshot
from heads.scoring import softmax
from heads.select import class_weights
from heads.targets import class_target
from heads.train import Rows, Trained, train

ESTIMATORS = ("linear", "logistic", "ridge")
EPOCHS = 30
PENALTIES = {"logistic": "C", "ridge": "alpha"}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep came to."""

    model: Model
    """The chosen head, saved; `model.sweep` is the table."""
    test: Evaluation | None
    """Of the chosen head, on test rows; None where there are none."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """The best head of an estimator on one column, and all that were tried beside it."""

    source: Source
    trained: Trained
    rows: list[dict[str, Any]]
    best: int
    """Which of `rows` it is."""
    accuracy: float = field(default=0.0)
    log_loss: float = field(default=math.inf)
    """Of validation rows, with the best temperature: what estimators are compared by."""


def sweep(
    store: str | Path | Snapshot,
    out: str | Path | None = None,
    *,
    columns: str | Sequence[str] = (),
    estimators: str | Sequence[str] = ESTIMATORS,
    grid: Grid | None = None,
    epochs: int = EPOCHS,
    class_weight: str | None = None,
    label: str | None = None,
    reporter: Reporter | None = None,
    on_epoch: Callable[[str], None] | None = None,
) -> Sweep:
    """Train many heads, and save the one that validation rows find best.

    Args:
        store: A store's folder, or an open snapshot, with validation rows.
        out: The model's folder; `photos.head` for `photos.features` by default.
        columns: Columns to try, each alone; all by default.
        estimators: Of "linear", "logistic" and "ridge".
        grid: What `linear` heads are tried with; 52 heads for each column by default.
        epochs: Most epochs of a `linear` head; each stops 5 epochs after its best.
        class_weight: "balanced" gives every class the same weight.
        label: Column of the items to learn from; "label" by default.
        reporter: Hears sentences for people.
        on_epoch: Hears a sentence about the leader after each epoch of the grid.

    Raises:
        HeadError: If there are no validation rows to choose by, or nothing to try.
        HeadstartError: With one line that says what to do; `out` is then as it was.
    """
    start = time.perf_counter()
    reporter = Silent() if reporter is None else reporter
    grid = Grid() if grid is None else grid
    columns, estimators = listed(columns), listed(estimators)
    _check(estimators, epochs)
    check_class_weight(class_weight)
    snapshot = opened_snapshot(store)
    learned = class_target(snapshot.items, label, snapshot.path)
    sources = [
        open_source(snapshot, [column.name], target=learned)
        for column in _columns(snapshot, columns)
    ]
    target = Path(out) if out is not None else default_model(snapshot.path)
    check_place(target)
    check_classes(sources[0])
    check_validation(sources[0])
    for note in [*check_labels(snapshot), *left_out_notes(sources[0])]:
        reporter.note(note)

    seed = int(grid.seeds[0])
    candidates = []
    for name in estimators:
        if name == "linear":
            found = [_linear(sources, grid, epochs, class_weight, on_epoch)]
        else:
            found = [_path(source, name, class_weight, seed) for source in sources]
        for candidate in found:
            candidates.append(_compared(candidate))
            reporter.note(_sentence(name, candidates[-1]))
    chosen = min(candidates, key=lambda c: (-round(c.accuracy, 12), c.log_loss))
    table = _table(candidates, chosen)
    settings = {
        "seed": seed,
        "class_weight": class_weight,
        "refit": "train",
        "seconds": round(time.perf_counter() - start, 3),
    }
    model = finish(chosen.source, chosen.trained, target, settings, sweep=table)
    test = evaluate(model, snapshot, "test") if "test" in chosen.source.splits else None
    return Sweep(model=model, test=test, seconds=time.perf_counter() - start)


def _check(estimators: Sequence[str], epochs: int) -> None:
    if not estimators:
        raise HeadError(f"There is nothing to try. Give --estimator one of {', '.join(ESTIMATORS)}")
    for name in estimators:
        if name not in ESTIMATORS:
            raise HeadError(
                f"A sweep tries {', '.join(ESTIMATORS)}. Received: {name!r}. For others type: "
                f"python -m heads fit STORE --estimator {name}"
            )
    if epochs < 1:
        raise HeadError(f"--epochs is at least 1. Received: {epochs}")


def _columns(snapshot: Snapshot, names: Sequence[str]) -> list[Column]:
    plain = [column for column in snapshot.columns if column.view == 0]
    return list(dict.fromkeys(snapshot.find(name) for name in names)) if names else plain


def _path(source: Source, name: str, class_weight: str | None, seed: int) -> _Candidate:
    """Try every penalty of an estimator on one column."""
    trained = train(source, name, {}, class_weight, seed)
    penalty = PENALTIES[name]
    column = source.columns[0].name
    rows = [
        {"estimator": name, "column": column, **{k: row.get(k) for k in (penalty, "accuracy")}}
        | {"log_loss": row.get("log_loss")}
        for row in trained.selection
    ]
    best = [row[penalty] for row in rows].index(trained.description["chosen"][penalty])
    return _Candidate(source=source, trained=trained, rows=rows, best=best)


def _linear(
    sources: Sequence[Source],
    grid: Grid,
    epochs: int,
    class_weight: str | None,
    on_epoch: Callable[[str], None] | None,
) -> _Candidate:
    """Try the grid on every column."""
    by_column = {source.columns[0].name: source for source in sources}
    tables = {name: standardized(source, class_weight) for name, source in by_column.items()}
    settings = grid.settings(list(tables))

    def hear(epoch: int, leader: Tried, running: int) -> None:
        if on_epoch is not None:
            on_epoch(
                f"epoch {epoch}: {running} of {len(settings)} heads; leader "
                f"{_words(leader.setting)}, validation accuracy {leader.accuracy:.4f}"
            )

    tried, head = halving.train(tables, settings, epochs, on_epoch=hear)
    best = min(range(len(tried)), key=lambda i: tried[i].rank)
    if not math.isfinite(tried[best].log_loss):
        raise HeadError(
            "No head of the grid has a finite loss: their steps were too long. Give "
            "--learning-rate smaller numbers, such as 0.0001,0.001"
        )
    source = by_column[tried[best].setting.column]
    chosen = {**_facts(tried[best].setting), "epochs": tried[best].best_epoch}
    trained = Trained(
        scorer=head,
        description={
            "name": "linear",
            "class": "heads.neural.LinearHead",
            "parameters": {**chosen, "class_weight": class_weight},
            "chosen": chosen,
        },
        settings=chosen,
        rows=Rows(source),
    )
    return _Candidate(source=source, trained=trained, rows=[_row(t) for t in tried], best=best)


def _facts(setting: Setting) -> dict[str, float]:
    return {
        "learning_rate": setting.learning_rate,
        "weight_decay": setting.weight_decay,
        "label_smoothing": setting.label_smoothing,
    }


def _words(setting: Setting) -> str:
    facts = ", ".join(f"{key}={value:g}" for key, value in _facts(setting).items())
    return f"{setting.column} with {facts}, seed={setting.seed}"


def _row(tried: Tried) -> dict[str, Any]:
    return {
        "estimator": "linear",
        "column": tried.setting.column,
        **_facts(tried.setting),
        "seed": tried.setting.seed,
        "accuracy": tried.accuracy,
        "log_loss": tried.log_loss if math.isfinite(tried.log_loss) else None,
        "best_epoch": tried.best_epoch,
        "epochs": tried.epochs,
        "dropped": tried.dropped,
    }


def standardized(source: Source, class_weight: str | None = None) -> Table:
    """Return training and validation rows of a column as the grid takes them."""
    rows, judges = source.load("train"), source.load("validation")
    assert rows.y is not None
    assert judges.y is not None
    count = len(source.classes)
    factors = class_weights(class_weight, np.arange(count), rows.y, np.ones(len(rows.y)))
    weights = factors[rows.y]
    scaling = scaling_of(rows.X, np.ones(len(rows.X)))
    return Table(
        scaling=scaling,
        X=scaling(rows.X),
        codes=rows.y,
        weights=(weights / weights.mean()).astype(np.float32),
        shares=np.bincount(rows.y, weights, count) / weights.sum(),
        X_judge=scaling(judges.X),
        codes_judge=judges.y,
    )


def _compared(candidate: _Candidate) -> _Candidate:
    """Measure a candidate on validation rows, as it would be with a temperature."""
    blocks = list(candidate.source.blocks("validation"))
    logits = np.concatenate([candidate.trained.scorer.logits(block.X) for block in blocks])
    codes = np.concatenate([np.asarray(block.y) for block in blocks])
    probabilities = softmax(logits, fit_temperature(logits, codes))
    return _Candidate(
        source=candidate.source,
        trained=candidate.trained,
        rows=candidate.rows,
        best=candidate.best,
        accuracy=float(np.mean(logits.argmax(axis=1) == codes)),
        log_loss=float(log_losses(probabilities, codes).mean()),
    )


def _sentence(name: str, candidate: _Candidate) -> str:
    row = candidate.rows[candidate.best]
    dropped = sum(bool(r.get("dropped")) for r in candidate.rows)
    behind = f", {dropped} dropped early" if dropped else ""
    return (
        f"{name} on {row['column']}: {len(candidate.rows)} heads{behind}; best validation accuracy "
        f"{candidate.accuracy:.4f}, log loss {candidate.log_loss:.4f}"
    )


COLUMNS = (
    *("estimator", "column", "C", "alpha", "learning_rate", "weight_decay", "label_smoothing"),
    *("seed", "accuracy", "log_loss", "best_epoch", "epochs", "dropped", "chosen"),
)
"""Of the table of all tried heads. `accuracy` and `log_loss` are of validation rows, before any
temperature; ridge has no log loss, because its outputs are no logits. `dropped`: stopped early; its
best epoch may win all the same, but for one of 0 epochs, dropped in the middle of the first."""


def _table(candidates: Sequence[_Candidate], chosen: _Candidate) -> tuple[Mapping[str, Any], ...]:
    """Return one row per tried head, the chosen one first, then the best."""
    rows: list[dict[str, Any]] = []
    for candidate in candidates:
        for index, row in enumerate(candidate.rows):
            is_it = candidate is chosen and index == candidate.best
            rows.append({name: row.get(name) for name in COLUMNS} | {"chosen": is_it})
    rows.sort(key=lambda r: (not r["chosen"], -r["accuracy"], r["log_loss"] or math.inf))
    return tuple(rows)
