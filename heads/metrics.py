"""Numbers that say how good probabilities are, each with an interval; NumPy alone.

Where scikit-learn has the number, it is scikit-learn's: the same name, the same value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from heads.bootstrap import Statistic, intervals, mean_of, resamples
from heads.errors import HeadError
from heads.ranking import Ranking

TOP_K = (2, 3, 4, 5)
"""As far as there are more classes than that."""
BINS = 15
"""Of equal width, for the calibration error."""
COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
ROWS = 4096
"""Rows that are compared at once, so that memory does not grow with the data set."""
COLUMNS = 8
"""Columns that are copied at once: as many float64 as a line of the processor's cache holds."""


@dataclass(frozen=True, slots=True)
class ClassReport:
    """One class against all others; None where a number is not defined."""

    name: str
    support: int
    """Rows of the class."""
    precision: float | None
    """None where no row is predicted as it."""
    recall: float | None
    """None where it has no row."""
    f1: float | None
    """None where both are."""


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """What is right among the rows whose top probability is at least a threshold."""

    coverage: float
    """Share of all rows, 0..1."""
    rows: int
    threshold: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """How good probabilities are."""

    rows: int
    accuracy: float
    top_k: Mapping[int, float]
    """k → share of rows whose class is among the k likeliest; ties go to the earlier class."""
    balanced_accuracy: float
    """Mean recall of the classes that have rows."""
    f1_macro: float
    """Mean F1 of the classes that have rows or are predicted."""
    log_loss: float
    """Mean of -log(probability of the true class), in nats."""
    roc_auc: float | None
    """Two classes: of the second. More: one against the rest, mean over classes. None where a
    class has no rows."""
    average_precision: float | None
    """Likewise."""
    ece: float
    """Expected calibration error: |mean top probability - accuracy| within 15 bins of equal
    width, weighted by rows. Few rows raise it, even where probabilities are exact, and its
    interval shows how it scatters, not that bias."""
    aurc: float
    """Area under the risk-coverage curve: the share of errors among rows at least as sure as a
    row, averaged over rows. 0 is best."""
    intervals: Mapping[str, tuple[float, float]]
    """Name in `scalars` → 95 % bootstrap interval; see `heads.bootstrap`."""
    undefined: Mapping[str, str]
    """Name in `scalars` → why it is None."""
    resamples: int
    classes: tuple[ClassReport, ...]
    confusion: np.ndarray
    """(classes, classes) int64: rows of a class (first axis) that are predicted as another."""
    coverage: tuple[CoveragePoint, ...]
    """From few and sure rows to all of them."""

    @property
    def scalars(self) -> dict[str, float | None]:
        """The numbers about all rows, by name."""
        return {
            "accuracy": self.accuracy,
            **{_top_name(k): value for k, value in self.top_k.items()},
            "balanced_accuracy": self.balanced_accuracy,
            "f1_macro": self.f1_macro,
            "log_loss": self.log_loss,
            "roc_auc": self.roc_auc,
            "average_precision": self.average_precision,
            "ece": self.ece,
            "aurc": self.aurc,
        }

    def to_json(self) -> dict[str, Any]:
        """Return JSON values: each number flat, a pair `<name>_interval` beside it."""
        flat: dict[str, Any] = {"rows": self.rows}
        for name, value in self.scalars.items():
            interval = self.intervals.get(name)
            flat |= {name: value, f"{name}_interval": interval and list(interval)}
        return flat | {
            "undefined": dict(self.undefined),
            "resamples": self.resamples,
            "classes": {c.name: _without_name(c) for c in self.classes},
            "confusion": self.confusion.tolist(),
            "coverage": [asdict(point) for point in self.coverage],
        }


def measure(
    probabilities: np.ndarray, codes: np.ndarray, classes: Sequence[str], *, seed: int = 0
) -> Report:
    """Compare probabilities with the truth.

    Args:
        probabilities: (n, c) in 0..1, n > 0, c > 1; each row sums to 1. Not copied.
        codes: (n,) integers, the class of each row.
        classes: c names.
        seed: Decides the bootstrap's draws.

    Raises:
        HeadError: If there are no rows, or a probability is NaN.
    """
    _check(probabilities)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    right = predicted == codes
    confusion = _confusion(codes, predicted, len(classes))
    top = _top_k(probabilities, codes)
    undefined = _undefined(confusion, classes)
    statistics = {
        "accuracy": mean_of(right),
        **{_top_name(k): statistic for k, statistic in top.items()},
        "balanced_accuracy": _balanced_accuracy(codes, right, confusion),
        "f1_macro": _f1_macro(codes, predicted, confusion),
        "log_loss": mean_of(log_losses(probabilities, codes), most=np.inf),
        **({} if undefined else _areas(probabilities, codes)),
        "ece": _calibration_error(confidence, right),
        "aurc": Ranking(confidence).mean_of_means(~right, np.ones(len(right), bool)),
    }
    value = {name: statistic.value for name, statistic in statistics.items()}
    return Report(
        rows=len(codes),
        accuracy=value["accuracy"],
        top_k={k: statistic.value for k, statistic in top.items()},
        balanced_accuracy=value["balanced_accuracy"],
        f1_macro=value["f1_macro"],
        log_loss=value["log_loss"],
        roc_auc=value.get("roc_auc"),
        average_precision=value.get("average_precision"),
        ece=value["ece"],
        aurc=value["aurc"],
        intervals=intervals(statistics, seed),
        undefined=undefined,
        resamples=resamples(len(codes)),
        classes=_per_class(confusion, classes),
        confusion=confusion,
        coverage=tuple(_coverage(confidence, right)),
    )


def log_losses(probabilities: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return -log(probability of the true class), (n,) in nats.

    A probability of 0 counts as 2.2e-16, as scikit-learn has it: 36 nats, not infinity.
    """
    chosen = probabilities[np.arange(len(codes)), codes].astype(np.float64)
    return -np.log(np.maximum(chosen, np.finfo(np.float64).eps))


def _check(probabilities: np.ndarray) -> None:
    if not len(probabilities):
        raise HeadError("There are no rows to judge on. Give a split that has some")
    if np.isnan(probabilities.sum()):
        raise HeadError(
            "Probabilities are numbers. Received: NaN, so the model or its features are damaged"
        )


def _top_name(k: int) -> str:
    return f"top_{k}_accuracy"


def _without_name(report: ClassReport) -> dict[str, Any]:
    return {key: value for key, value in asdict(report).items() if key != "name"}


def _confusion(codes: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    pairs = np.bincount(codes * count + predicted, minlength=count * count)
    return pairs.reshape(count, count)


def _per_class(confusion: np.ndarray, names: Sequence[str]) -> tuple[ClassReport, ...]:
    hits, support, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return tuple(
        ClassReport(
            name=name,
            support=int(support[i]),
            precision=_ratio(hits[i], predicted[i]),
            recall=_ratio(hits[i], support[i]),
            f1=_ratio(2 * hits[i], support[i] + predicted[i]),
        )
        for i, name in enumerate(names)
    )


def _ratio(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _top_k(probabilities: np.ndarray, codes: np.ndarray) -> dict[int, Statistic]:
    """Return k → top-k accuracy."""
    wanted = [k for k in TOP_K if k < probabilities.shape[1]]
    if not wanted:
        return {}
    ahead = np.concatenate(
        [
            _ahead(probabilities[start : start + ROWS], codes[start : start + ROWS])
            for start in range(0, len(codes), ROWS)
        ]
    )
    return {k: mean_of(ahead < k) for k in wanted}


def _ahead(probabilities: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return (n,) how many classes stand before the true one."""
    true = probabilities[np.arange(len(codes)), codes][:, None]
    earlier = np.arange(probabilities.shape[1]) < codes[:, None]
    return ((probabilities > true) | ((probabilities == true) & earlier)).sum(axis=1)


def _balanced_accuracy(codes: np.ndarray, right: np.ndarray, confusion: np.ndarray) -> Statistic:
    support = confusion.sum(axis=1)
    present = support > 0
    recall = np.diag(confusion) / np.maximum(support, 1)
    each = len(codes) / present.sum() / np.maximum(support, 1)  # what a row of a class weighs
    return Statistic(float(recall[present].mean()), each[codes] * (right - recall[codes]))


def _f1_macro(codes: np.ndarray, predicted: np.ndarray, confusion: np.ndarray) -> Statistic:
    """F1 of a class is 2 hits / (support + predicted): a row moves its own and the predicted."""
    both = confusion.sum(axis=1) + confusion.sum(axis=0)
    known = both > 0
    both = np.maximum(both, 1)
    f1 = 2 * np.diag(confusion) / both
    pull = f1 / both
    influence = 2 * (codes == predicted) / both[codes] - pull[codes] - pull[predicted]
    return Statistic(float(f1[known].mean()), len(codes) / known.sum() * influence)


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> Statistic:
    """Bins hold their upper edge, as in Guo et al., ICML 2017, section 2."""
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    excess = confidence - right
    gap = np.bincount(bins, weights=excess, minlength=BINS)
    value = float(np.abs(gap).sum() / len(right))
    return Statistic(value, np.sign(gap)[bins] * excess - value)


def _undefined(confusion: np.ndarray, names: Sequence[str]) -> dict[str, str]:
    """Return why areas under curves are not defined; nothing where they are."""
    absent = [name for name, rows in zip(names, confusion.sum(axis=1), strict=True) if not rows]
    if not absent:
        return {}
    more = f" and {len(absent) - 1} more have" if len(absent) > 1 else " has"
    why = f"class {absent[0]!r}{more} no rows here"
    return {"roc_auc": why, "average_precision": why}


def _areas(probabilities: np.ndarray, codes: np.ndarray) -> dict[str, Statistic]:
    """Return ROC AUC and average precision, averaged over classes that all have rows."""
    columns = [1] if probabilities.shape[1] == 2 else list(range(probabilities.shape[1]))
    value, influence = np.zeros(2), np.zeros((2, len(codes)))
    for code, score in _scores(probabilities, columns):
        ranking, positive = Ranking(score), codes == code
        both = ranking.roc_auc(positive), ranking.mean_of_means(positive, positive)
        for i, area in enumerate(both):
            value[i] += area.value
            influence[i] += area.influence
    value = np.minimum(value / len(columns), 1)  # a sum of many may round to more
    influence /= len(columns)
    return {
        "roc_auc": Statistic(float(value[0]), influence[0]),
        "average_precision": Statistic(float(value[1]), influence[1]),
    }


def _scores(probabilities: np.ndarray, columns: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield columns as contiguous arrays (n,)."""
    for start in range(0, len(columns), COLUMNS):
        some = columns[start : start + COLUMNS]
        yield from zip(
            some, np.ascontiguousarray(probabilities[:, some[0] : some[-1] + 1].T), strict=True
        )


def _coverage(confidence: np.ndarray, right: np.ndarray) -> Iterator[CoveragePoint]:
    """Yield one point for each of `COVERAGES`; rows of equal confidence are kept together."""
    falling = -np.sort(-confidence)
    for threshold in dict.fromkeys(falling[_last(c, len(right))] for c in COVERAGES):
        kept = confidence >= threshold
        yield CoveragePoint(
            float(kept.mean()), int(kept.sum()), float(threshold), float(right[kept].mean())
        )


def _last(coverage: float, rows: int) -> int:
    """Return the position of the last row that a share of the rows holds."""
    return max(1, round(coverage * rows)) - 1
