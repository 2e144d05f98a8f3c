"""Few-shot: how good heads are with 1, 2, 5, 10, 20 ... training images per class.

    train rows ─▶ k per class, drawn again and again ─▶ ridge, prototype, logistic
               ─▶ accuracy on validation rows ─▶ mean ± interval over the draws

The curve says whether more labels would help: where it still rises at its right end, they would.
Test rows are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from extract.progress import Reporter, Silent
from extract.store.reader import Snapshot
from heads.data import Source, check_classes, check_validation, open_source
from heads.errors import HeadError
from heads.opening import opened_snapshot
from heads.ranges import plain_seed
from heads.targets import class_target

SHOTS = (1, 2, 5, 10, 20, 50, 100)
DRAWS = 10
HARDLY = 0.01
"""Accuracy: a gain that is surely below it is hardly one."""
ESTIMATORS = ("ridge", "prototype", "logistic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An estimator with k images of each class."""

    estimator: str
    shots: int | None
    """k; None for all training images."""
    images: int
    """Training images in all."""
    accuracy: float
    """Mean over the draws, of validation rows."""
    interval: float | None
    """Half the width of the 95 % interval of that mean (Student's t over the draws); None where
    there is one way to draw."""
    draws: int


@dataclass(frozen=True, kw_only=True)
class FewShot:
    """The curves of several estimators, and what they say."""

    store: str
    points: tuple[Point, ...]
    judged: int
    """Validation rows that each head is judged on."""
    verdict: str
    """Whether more labels would help: a sentence for people."""
    plot: Path | None
    notes: tuple[str, ...]

    def curve(self, estimator: str) -> list[Point]:
        """Return the points of one estimator, from few images to all."""
        return [point for point in self.points if point.estimator == estimator]


def few_shot(
    store: str | Path | Snapshot,
    out: str | Path | None = None,
    *,
    columns: str | Sequence[str] = (),
    label: str | None = None,
    shots: Sequence[int] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    reporter: Reporter | None = None,
    on_point: Callable[[str], None] | None = None,
) -> FewShot:
    """Train on few images per class, again and again.

    Ridge chooses its penalty by leave-one-out among the drawn rows; logistic has C=1 on
    standardized features; prototype has none. All see the same draws.

    Args:
        store: A store's folder, or an open snapshot, with validation rows.
        out: Where the plot goes, a `.png` or `.svg`; none is made by default.
        columns: Columns whose features stand side by side; not needed where there is one.
        label: Column of the items to learn from; "label" by default.
        shots: Images per class; by default 1, 2, 5, 10, 20 ... as far as the smallest class goes.
        draws: How often k images of each class are drawn, at least 2.
        seed: Decides the draws.
        reporter: Hears sentences for people.
        on_point: Hears a sentence after each k.

    Raises:
        HeadError: If there are no validation rows, or a k is larger than a class.
    """
    _check(draws, out)
    seed = plain_seed(seed)
    snapshot = opened_snapshot(store)
    learned = class_target(snapshot.items, label, snapshot.path)
    source = open_source(snapshot, columns, target=learned)
    curve = curve_of(
        source, shots=shots, draws=draws, seed=seed, reporter=reporter, on_point=on_point
    )
    if out is None:
        return curve
    from heads.plotting import plot_few_shot

    plot_few_shot(curve, Path(out))
    return replace(curve, plot=Path(out))


def curve_of(
    source: Source,
    *,
    shots: Sequence[int] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    reporter: Reporter | None = None,
    on_point: Callable[[str], None] | None = None,
) -> FewShot:
    """Do what `few_shot` does with what a source has to learn, without a plot."""
    reporter = Silent() if reporter is None else reporter
    check_classes(source)
    check_validation(source)
    train, judge = source.load("train"), source.load("validation")
    assert train.y is not None
    counts = np.bincount(train.y, minlength=len(source.classes))
    chosen, notes = _shots(shots, counts, source.classes)
    for note in notes:
        reporter.note(note)
    points: list[Point] = []
    for k in [*chosen, None]:
        rows = list(draw_rows(train.y, k, draws, seed))
        for name in ESTIMATORS:
            found = [_accuracy(name, train.X[r], train.y[r], judge.X, judge.y) for r in rows]
            points.append(_point(name, k, len(rows[0]), found))
        if on_point is not None:
            now = ", ".join(f"{p.estimator} {p.accuracy:.4f}" for p in points[-len(ESTIMATORS) :])
            on_point(f"{'all' if k is None else k} images per class: {now}")
    return FewShot(
        store=source.snapshot.path,
        points=tuple(points),
        judged=len(judge.X),
        verdict=verdict(points, chosen),
        plot=None,
        notes=tuple(notes),
    )


def _check(draws: int, out: str | Path | None) -> None:
    if draws < 2:
        raise HeadError(f"--draws is at least 2: one draw has no interval. Received: {draws}")
    if out is not None and Path(out).suffix.lower() not in (".png", ".svg"):
        raise HeadError(f"--out is a .png or .svg file. Received: {str(out)!r}")


def _shots(
    wanted: Sequence[int] | None, counts: np.ndarray, classes: Sequence[str]
) -> tuple[list[int], list[str]]:
    """Return the numbers of images per class, rising, and notes on what is left out.

    Raises:
        HeadError: If a number that was asked for is larger than a class.
    """
    smallest, name = int(counts.min()), classes[int(counts.argmin())]
    if wanted is None:
        left = [k for k in SHOTS if k > smallest]
        note = f"Class {name!r} has {smallest} training images, so the curve ends there"
        return [k for k in SHOTS if k <= smallest], [note] if left else []
    if not wanted or min(wanted) < 1:
        raise HeadError(f"--shots are whole numbers of at least 1. Received: {list(wanted)}")
    if max(wanted) > smallest:
        raise HeadError(
            f"--shots {max(wanted)} is more than class {name!r} has: {smallest} images with "
            f"features in train. Give numbers up to {smallest}"
        )
    return sorted(set(wanted)), []


def draw_rows(codes: np.ndarray, k: int | None, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield rows of `draws` draws of k per class; all rows, once, where k is None."""
    if k is None:
        yield np.arange(len(codes))
        return
    members = [np.flatnonzero(codes == code) for code in range(int(codes.max()) + 1)]
    for number in range(draws):
        # Of one draw, fewer images are among the first of more: curves rise by their own images.
        random = np.random.default_rng([seed, number])
        yield np.concatenate([random.permutation(rows)[:k] for rows in members])


def _accuracy(
    name: str, X: np.ndarray, y: np.ndarray, X_judge: np.ndarray, y_judge: np.ndarray | None
) -> float:
    from heads.logistic import LogisticHead
    from heads.neighbors import PrototypeHead
    from heads.ridge import RidgeHead

    if name == "ridge":
        X, X_judge = in_their_span(X, X_judge)
        head: Any = RidgeHead()
    else:
        head = PrototypeHead() if name == "prototype" else LogisticHead([1.0])
    return float(np.mean(head.fit(X, y).predict(X_judge) == y_judge))


def in_their_span(X: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows X (n, d) and others (m, d) as coordinates (n, n) and (m, n), where n < d.

    Ridge does not change under rotations, and its coefficients lie in the span of the rows: the
    fit is the same, and its decomposition is of n² numbers, not of d².
    """
    if len(X) >= X.shape[1]:
        return X, others
    center = X.mean(axis=0, dtype=np.float64)
    basis = np.linalg.svd(X - center, full_matrices=False)[2].T  # (d, n)
    return (X - center) @ basis, (others - center) @ basis


def _point(name: str, k: int | None, images: int, accuracies: Sequence[float]) -> Point:
    from scipy.stats import t

    many = len(accuracies)
    half = None
    if many > 1:
        half = float(t.ppf(0.975, many - 1) * np.std(accuracies, ddof=1) / many**0.5)
    return Point(
        estimator=name,
        shots=k,
        images=images,
        accuracy=float(np.mean(accuracies)),
        interval=half,
        draws=many,
    )


def verdict(points: Sequence[Point], shots: Sequence[int]) -> str:
    """Say what the last doubling or so of the best curve came to, as far as its interval tells."""
    if len(shots) < 2:
        return "One point is no curve: give more --shots"
    ends = {p.estimator: p for p in points if p.shots == shots[-1]}
    best = max(ends.values(), key=lambda p: p.accuracy)
    before = next(p for p in points if p.estimator == best.estimator and p.shots == shots[-2])
    gain = best.accuracy - before.accuracy
    error = float(np.hypot(best.interval or 0, before.interval or 0))
    said = (
        f"From {shots[-2]} to {shots[-1]} images per class {best.estimator}, the best there, moved "
        f"by {gain:+.4f} ± {error:.4f}: "
    )
    if gain > error and gain > 0:
        return said + "more labels would help"
    if gain + error > HARDLY:
        return said + (
            f"that can be a gain of {gain + error:.4f} or none, so whether more labels would help "
            f"cannot be told. Draws, validation rows or images per class were too few"
        )
    return said + "more labels of this kind would hardly help; another backbone or column might"
