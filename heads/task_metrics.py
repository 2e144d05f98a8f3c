"""How good labels that do not exclude each other are, and numbers; each with an interval.

Where scikit-learn has the number, it is scikit-learn's: the same name, the same value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from heads.bootstrap import Statistic, intervals, mean_of, resamples
from heads.errors import HeadError
from heads.ranking import Ranking
from heads.scoring import answers


@dataclass(frozen=True, slots=True)
class LabelReport:
    """One label; None where a number is not defined."""

    name: str
    support: int
    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None


@dataclass(frozen=True, slots=True)
class NumberReport:
    """One number that is predicted, in its own unit."""

    name: str
    mean_absolute_error: float
    root_mean_squared_error: float
    r2: float | None
    """None where all rows have the same number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskReport:
    """How good a multilabel head or a regressor is."""

    task: str
    rows: int
    scalars: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    resamples: int
    each: tuple[LabelReport | NumberReport, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values: each number flat, a pair `<name>_interval` beside it."""
        flat: dict[str, Any] = {"task": self.task, "rows": self.rows}
        for name, value in self.scalars.items():
            flat |= {name: value, f"{name}_interval": list(self.intervals[name])}
        each = [asdict(one) for one in self.each]
        return flat | {"resamples": self.resamples, "each": each}


def measure_labels(
    probabilities: np.ndarray, y: np.ndarray, names: Sequence[str], thresholds: Sequence[float]
) -> TaskReport:
    """Compare probabilities (n, labels) with indicators y (n, labels)."""
    _check(probabilities)
    given, true = probabilities >= np.array(thresholds), y > 0
    hits = given & true
    ranked = [
        (place, Ranking(p)) for place, p in enumerate(probabilities.T) if true[:, place].any()
    ]
    precisions = {
        place: ranking.mean_of_means(true[:, place], true[:, place]) for place, ranking in ranked
    }
    statistics = {
        "subset_accuracy": mean_of((given == true).all(axis=1)),
        "hamming_loss": mean_of((given != true).mean(axis=1)),
        "f1_micro": _ratio(2 * hits.sum(axis=1), (given.sum(axis=1) + true.sum(axis=1))),
        "f1_macro": _mean(
            [_ratio(2 * h, (g * 1 + t)) for h, g, t in zip(hits.T, given.T, true.T, strict=True)]
        ),
        "log_loss": mean_of(_log_losses(probabilities, true), most=np.inf),
    }
    if precisions:
        statistics["average_precision"] = _mean(list(precisions.values()))
    each = tuple(
        LabelReport(
            name=name,
            support=int(true[:, i].sum()),
            threshold=float(thresholds[i]),
            precision=_share(hits[:, i].sum(), given[:, i].sum()),
            recall=_share(hits[:, i].sum(), true[:, i].sum()),
            f1=_share(2 * hits[:, i].sum(), given[:, i].sum() + true[:, i].sum()),
            average_precision=precisions[i].value if i in precisions else None,
        )
        for i, name in enumerate(names)
    )
    return _report("multilabel", len(y), statistics, each)


IN_DEVIATIONS = (
    "Errors over several numbers are in standard deviations of each number's rows; of one number "
    "they are in its own unit"
)


def measure_numbers(found: np.ndarray, y: np.ndarray, names: Sequence[str]) -> TaskReport:
    """Compare numbers found (n, targets) with y (n, targets).

    Errors over several targets are in standard deviations of each target's rows here.
    """
    _check(found)
    many = y.shape[1] > 1
    scale = np.where(y.std(axis=0) > 0, y.std(axis=0), 1) if many else np.ones(1)
    errors = (found - y) / scale
    squares = mean_of((errors**2).mean(axis=1), most=np.inf)
    root = squares.value**0.5
    statistics = {
        "mean_absolute_error": mean_of(np.abs(errors).mean(axis=1), most=np.inf),
        "root_mean_squared_error": Statistic(
            root, squares.influence / (2 * max(root, 1e-300)), np.inf
        ),
    }
    parts = [_r2(f, t) for f, t in zip(found.T, y.T, strict=True) if t.std() > 0]
    r2 = [part for part in parts if part is not None]
    each = tuple(
        NumberReport(
            name=name,
            mean_absolute_error=float(np.abs(f - t).mean()),
            root_mean_squared_error=float(((f - t) ** 2).mean() ** 0.5),
            r2=_r2(f, t).value if t.std() > 0 else None,
        )
        for name, f, t in zip(names, found.T, y.T, strict=True)
    )
    report = _report("regression", len(y), statistics, each)
    if not r2:
        return report
    mean = _mean(r2)  # may be below 0, where `intervals` does not go: it is told as a loss of it
    low, high = intervals({"loss": Statistic(1 - mean.value, -mean.influence, np.inf)})["loss"]
    return TaskReport(
        task=report.task,
        rows=report.rows,
        scalars={**report.scalars, "r2": mean.value},
        intervals={**report.intervals, "r2": (1 - high, 1 - low)},
        resamples=report.resamples,
        each=each,
    )


def best_thresholds(probabilities: np.ndarray, y: np.ndarray) -> tuple[float, ...]:
    """Return, for each label, the probability at which giving it has the best F1.

    Halfway between the two rows that it parts; 0.5 for a label that no row has.
    """
    found = []
    for score, true in zip(probabilities.T, y.T > 0, strict=True):
        if not true.any():
            found.append(0.5)
            continue
        order = np.argsort(-score, kind="stable")
        falling = score[order]
        hits = np.cumsum(true[order])
        f1 = 2 * hits / (np.arange(1, len(score) + 1) + true.sum())
        f1[:-1][falling[:-1] == falling[1:]] = 0  # rows of one score go together
        last = int(f1.argmax())
        after = falling[last + 1] if last + 1 < len(score) else 0.0
        found.append(float((falling[last] + after) / 2))
    return tuple(found)


def _report(
    task: str, rows: int, statistics: Mapping[str, Statistic], each: tuple[Any, ...]
) -> TaskReport:
    return TaskReport(
        task=task,
        rows=rows,
        scalars={name: s.value for name, s in statistics.items()},
        intervals=intervals(statistics),
        resamples=resamples(rows),
        each=each,
    )


def _check(values: np.ndarray) -> None:
    if not len(values):
        raise HeadError("There are no rows to judge on. Give a split that has some")
    if np.isnan(values.sum()):
        raise HeadError("Received: NaN, so the model or its features are damaged")


def _log_losses(probabilities: np.ndarray, true: np.ndarray) -> np.ndarray:
    right = np.where(true, probabilities, 1 - probabilities)
    return -np.log(np.maximum(right, np.finfo(np.float64).eps)).mean(axis=1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> Statistic:
    """Return sum(part) / sum(whole) of rows (n,); 0 where there is nothing."""
    total = float(whole.sum())
    if not total:
        return Statistic(0.0, np.zeros(len(part)))
    value = float(part.sum()) / total
    return Statistic(value, len(part) * (part - value * whole) / total)


def _mean(statistics: Sequence[Statistic]) -> Statistic:
    return Statistic(
        float(np.mean([s.value for s in statistics])),
        np.mean([s.influence for s in statistics], axis=0),
    )


def _r2(found: np.ndarray, y: np.ndarray) -> Statistic:
    """Return 1 - sum of squared errors / sum of squares about the mean."""
    ratio = _ratio((found - y) ** 2, (y - y.mean()) ** 2)
    return Statistic(1 - ratio.value, -ratio.influence)


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def judge(
    task: str,
    logits: np.ndarray,
    y: np.ndarray | None,
    names: tuple[str, ...],
    temperature: float,
    thresholds: tuple[float, ...],
) -> TaskReport:
    """Return how good logits (n, outputs) are."""
    assert y is not None
    return compare(task, answers(logits, task, temperature, len(names)), y, names, thresholds)


def compare(
    task: str,
    found: np.ndarray,
    y: np.ndarray,
    names: tuple[str, ...],
    thresholds: tuple[float, ...],
) -> TaskReport:
    """Return how good probabilities of labels, or numbers, (n, outputs) are."""
    if task == "regression":
        return measure_numbers(found, y, names)
    return measure_labels(found, y, names, thresholds)
