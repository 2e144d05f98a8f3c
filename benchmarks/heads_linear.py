"""`logistic` and `ridge` beside scikit-learn, on the same rows in one run.

    python -m benchmarks.heads_linear --repeats 3

Data: rows drawn around 10 class means with a covariance whose eigenvalues fall as k^-1, as those
of pooled features do, seed 0, float32; a fifth as many rows more choose and judge. Logistic has
N = 10,000 and D = 1280, ridge N = 9305 and D = 2048. Every way runs once a round; ratios are
medians over the rounds. Imports are not counted. Not measured: reading a store.

- logistic     `LogisticHead` with the default 10 penalties and one fold of held-out rows
- warm         scikit-learn's LogisticRegression with `warm_start` over the same penalties, on
               the same standardized rows, in its default tolerance, up to 1000 iterations
- cv           LogisticRegressionCV(Cs=10, cv=5) on standardized rows, as users call it
- ridge        `RidgeHead`, 45 penalties, scored on held-out rows, or by leave-one-out
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.timing import Table, machine, seconds_of

CLASSES = 10
ALPHA_CHECKED = 100.0
GOALS = {"warm": 3.0, "cv": 15.0}


def draw(rows: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, int]:
    """Return X, y of training rows followed by held-out ones, and how many train."""
    rng = np.random.default_rng(seed)
    total = rows + max(rows // 5, CLASSES)
    y = rng.integers(0, CLASSES, total)
    y[:CLASSES] = y[-CLASSES:] = range(CLASSES)
    deviation = 1 / np.sqrt(1 + np.arange(width))
    means = rng.normal(size=(CLASSES, width)) * deviation * 0.6
    basis = np.linalg.qr(rng.normal(size=(width, width)))[0]
    X = (means[y] + rng.normal(size=(total, width)) * deviation) @ basis
    return X.astype(np.float32), y, rows


def measure_logistic(rows: int = 10_000, width: int = 1280, repeats: int = 1) -> dict[str, Any]:
    """Return seconds, ratios, and accuracies on held-out rows."""
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.model_selection import PredefinedSplit
    from sklearn.preprocessing import StandardScaler

    from heads.logistic import LogisticHead

    X, y, count = draw(rows, width)
    fold = np.where(np.arange(len(y)) < count, -1, 0)
    scaler = StandardScaler().fit(X[:count])
    Z = scaler.transform(X)
    head = LogisticHead(cv=PredefinedSplit(fold), refit=False)
    warm = LogisticRegression(warm_start=True, max_iter=1000)
    cv = LogisticRegressionCV(
        Cs=10, cv=5, use_legacy_attributes=False, l1_ratios=(0,), scoring="accuracy"
    )
    best: list[float] = []

    def run_warm() -> None:
        warm.__dict__.pop("coef_", None)
        scores = []
        for C in np.geomspace(1e-4, 1e4, 10):
            warm.set_params(C=C).fit(Z[:count], y[:count])
            scores.append(float(warm.score(Z[count:], y[count:])))
        best.append(max(scores))

    ways = {
        "logistic": lambda: head.fit(X, y),
        "warm": run_warm,
        "cv": lambda: cv.fit(Z[:count], y[:count]),
    }
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that lbfgs stops at its iterations
        for _ in range(repeats):
            for name, way in ways.items():
                rounds[name].append(seconds_of(way))
    table = Table(f"logistic, {rows} x {width}, {CLASSES} classes", "s")
    for name, values in rounds.items():
        table.add(name, values, digits=2)
    table.show()
    facts: dict[str, Any] = {name: statistics.median(values) for name, values in rounds.items()}
    for name in GOALS:
        pairs = zip(rounds[name], rounds["logistic"], strict=True)
        facts[f"{name}_ratio"] = statistics.median(a / b for a, b in pairs)
    facts["accuracy"] = float(head.scores_.max())
    facts["warm_accuracy"] = best[-1]
    facts["cv_accuracy"] = float(cv.score(Z[count:], y[count:]))
    return facts


def measure_ridge(rows: int = 9305, width: int = 2048, repeats: int = 1) -> dict[str, Any]:
    """Return seconds and the relative distance of coefficients to scikit-learn's in float64."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import PredefinedSplit

    from heads.ridge import RidgeHead, targets

    X, y, count = draw(rows, width)
    fold = np.where(np.arange(len(y)) < count, -1, 0)
    held_out = RidgeHead(cv=PredefinedSplit(fold), refit=False)
    alone = RidgeHead()
    rounds: dict[str, list[float]] = {"validation": [], "leave_one_out": []}
    for _ in range(repeats):
        rounds["validation"].append(seconds_of(lambda: held_out.fit(X, y)))
        rounds["leave_one_out"].append(seconds_of(lambda: alone.fit(X[:count], y[:count])))
    table = Table(f"ridge, {rows} x {width}, 45 penalties", "s")
    for name, values in rounds.items():
        table.add(name, values, digits=2)
    table.show()
    distances = {}
    for alpha in sorted({ALPHA_CHECKED, held_out.alpha_}):
        ours = RidgeHead([alpha]).fit(X[:count], y[:count]).coef_
        exact = RidgeCV([alpha]).fit(X[:count].astype(np.float64), targets(y[:count], CLASSES))
        distances[alpha] = float(np.linalg.norm(ours - exact.coef_) / np.linalg.norm(exact.coef_))
    facts: dict[str, Any] = {name: statistics.median(values) for name, values in rounds.items()}
    return {**facts, "alpha": held_out.alpha_, "distance": max(distances.values())}


def measure(repeats: int = 3) -> dict[str, Any]:
    """Measure both at the sizes that goals are set for."""
    return {
        "logistic": measure_logistic(repeats=repeats),
        "ridge": measure_ridge(repeats=repeats),
    }


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each figure, beside what it must reach."""
    logistic, ridge = facts["logistic"], facts["ridge"]
    return [
        *(
            f"logistic: {logistic[f'{name}_ratio']:.1f} x faster than {name} (at least {goal:.0f})"
            for name, goal in GOALS.items()
        ),
        f"logistic accuracy {logistic['accuracy']:.4f}, warm {logistic['warm_accuracy']:.4f}, cv "
        f"{logistic['cv_accuracy']:.4f} (no more than .002 below)",
        f"ridge with validation scores {ridge['validation']:.2f} s (at most 2.0), with "
        f"leave-one-out {ridge['leave_one_out']:.2f} s (at most 3.0)",
        f"ridge coefficients within {ridge['distance']:.1e} of RidgeCV (at most 1e-4)",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    found = measure(parser.parse_args().repeats)
    for line in verdict(found):
        print(line, file=sys.stderr)
    print(json.dumps({"machine": machine(), **found}))
