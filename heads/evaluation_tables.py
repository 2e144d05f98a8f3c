"""An evaluation as tables: what people read of its numbers, classes, confusion and coverage."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from heads.evaluation import Evaluation
from heads.metrics import Report
from heads.task_metrics import TaskReport

MATRIX = 12
"""Most classes whose confusion is printed as a matrix; of more, the pairs that are confused."""
LINES = 20
"""Lines of a table of classes or pairs where there are more classes than that."""
LABELS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1_macro": "F1, mean over classes",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "ece": "expected calibration error",
    "aurc": "area under risk and coverage",
    "f1_micro": "F1, over all labels together",
    "r2": "share of variance explained (R²)",
}
"""Name of a number in a report → words for it; "top_2_accuracy" is "top-2 accuracy"."""


@dataclass(frozen=True, slots=True)
class Table:
    """What `extract.console.Screen.table` prints, and a line above it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    """Texts and whole numbers."""


def tables(evaluation: Evaluation) -> list[Table]:
    """Return what people read of an evaluation: numbers, classes, confusion, coverage."""
    report = evaluation.report
    if isinstance(report, TaskReport):
        return [_task_numbers(report, evaluation.split), _each(report)]
    return [
        _numbers(report, evaluation.split),
        _classes(report),
        _matrix(report) if len(report.classes) <= MATRIX else _pairs(report),
        _coverage(report),
    ]


def _task_numbers(report: TaskReport, split: str) -> Table:
    rows = []
    for name, value in report.scalars.items():
        low, high = report.intervals[name]
        words = LABELS.get(name, name.replace("_", " "))
        rows.append((words, _decimal(value), f"{low:.4f} to {high:.4f}"))
    return Table(f"{report.rows:,} {split} rows", (split, "value", "95 % interval"), tuple(rows))


def _each(report: TaskReport) -> Table:
    """Every label or number of its own."""
    facts = [asdict(one) for one in report.each]
    rows = (
        tuple(_decimal(v) if isinstance(v, float) or v is None else v for v in row.values())
        for row in facts
    )
    names = tuple(name.replace("_", " ") for name in facts[0])
    return Table("Labels" if report.task == "multilabel" else "Numbers", names, tuple(rows))


def _numbers(report: Report, split: str) -> Table:
    rows = []
    for name, value in report.scalars.items():
        words = LABELS.get(name, name.replace("_", "-", 1).replace("_", " "))
        if value is None:
            rows.append((words, "", f"not defined: {report.undefined[name]}"))
        else:
            low, high = report.intervals[name]
            rows.append((words, _decimal(value), f"{low:.4f} to {high:.4f}"))
    return Table(f"{report.rows:,} {split} rows", (split, "value", "95 % interval"), tuple(rows))


def _classes(report: Report) -> Table:
    """Every class; of many, those of lowest F1."""
    shown, title = list(report.classes), "Classes"
    if len(shown) > LINES:
        shown = sorted((c for c in shown if c.f1 is not None), key=lambda c: c.f1 or 0.0)[:LINES]
        title = f"The {len(shown)} of {len(report.classes):,} classes with the lowest F1"
    rows = ((c.name, *map(_decimal, (c.precision, c.recall, c.f1)), c.support) for c in shown)
    return Table(title, ("class", "precision", "recall", "F1", "rows"), tuple(rows))


def _matrix(report: Report) -> Table:
    names = [c.name for c in report.classes]
    rows = zip(names, report.confusion.tolist(), strict=True)
    return Table(
        "Confusion: a line is a class, a column what it is taken for",
        ("class", *names),
        tuple((name, *counts) for name, counts in rows),
    )


def _pairs(report: Report) -> Table:
    """The pairs of classes with most rows of one taken for the other."""
    wrong = report.confusion - np.diag(np.diag(report.confusion))
    most = np.argsort(-wrong, axis=None, kind="stable")[:LINES]
    places = [divmod(int(place), len(wrong)) for place in most]
    rows = (
        (
            report.classes[true].name,
            report.classes[taken].name,
            int(wrong[true, taken]),
            report.classes[true].support,
        )
        for true, taken in places
        if wrong[true, taken]
    )
    return Table("Most confused", ("class", "taken for", "rows", "of"), tuple(rows))


def _coverage(report: Report) -> Table:
    rows = (
        (f"{100 * p.coverage:.1f}%", _decimal(p.accuracy), _decimal(p.threshold), p.rows)
        for p in report.coverage
    )
    return Table(
        "Accuracy, if only the surest are labeled",
        ("coverage", "accuracy", "top probability at least", "rows"),
        tuple(rows),
    )


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
