"""Many linear heads in one product, beside one of them, and beside all of them one by one.

    python -m benchmarks.heads_sweep --repeats 3

Data: rows like pooled features of photographs (`benchmarks.heads_linear.draw`), N = 2000 and
D = 1280, as many classes as asked for, half as many rows more that judge. 30 epochs at most,
batches of 128; a head ends 5 epochs after its best.

- one          a grid of one head, for each of the 52: the mean; a head of a large learning rate
               is finished after few epochs, one of a small rate after all of them
- many         the grid of 52 heads, the worse half dropped at every rung
- all          the same, with no head dropped
- one_by_one   the 52 grids of one head, one after the other
- keras        `LinearHead` with the middle setting, traced before: what one head costs there

`many` / `one` and `one_by_one` / `many` are what the goals are about; `all` says what the product
gives without the dropping. Not measured: reading a store, ridge and logistic, imports. Threads are
those of the process: on a busy machine set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.goals import at_least, at_most
from benchmarks.heads_linear import draw
from benchmarks.timing import Table, machine, seconds_of

MOST, LEAST = 3.0, 10.0


def measure(
    repeats: int = 3, rows: int = 2000, width: int = 1280, epochs: int = 30, keras: bool = True
) -> dict[str, Any]:
    """Return seconds and ratios for two classes and for ten."""
    found = {}
    for classes in (2, 10):
        found[str(classes)] = measure_one(classes, repeats, rows, width, epochs, keras)
    return found


def table_of(X: np.ndarray, y: np.ndarray, count: int, classes: int) -> Any:
    """Return the rows of a sweep: the first `count` train, half as many after them judge."""
    from heads import halving
    from heads.neural_rows import scaling_of

    more = min(len(X) - count, count // 2)
    scaling = scaling_of(X[:count], np.ones(count))
    return halving.Table(
        scaling=scaling,
        X=scaling(X[:count]),
        codes=y[:count],
        weights=np.ones(count, np.float32),
        shares=np.bincount(y[:count], minlength=classes) / count,
        X_judge=scaling(X[count : count + more]),
        codes_judge=y[count : count + more],
    )


def measure_one(
    classes: int, repeats: int, rows: int, width: int, epochs: int, keras: bool
) -> dict[str, Any]:
    """Measure the grid on rows of some classes."""
    from heads import halving
    from heads.grid import Grid
    from heads.neural import LinearHead

    X, y, count = draw(rows, width)
    y = y % classes
    rows_of = table_of(X, y, count, classes)
    settings = Grid().settings(["features"])
    middle = settings[len(settings) // 2]
    more = len(rows_of.X_judge)
    judges = X[count : count + more], y[count : count + more]
    head = LinearHead(
        learning_rate=middle.learning_rate,
        weight_decay=middle.weight_decay,
        label_smoothing=middle.label_smoothing,
        epochs=epochs,
        random_state=0,
    )

    def grid(some: list[Any], halve: bool = True) -> float:
        return seconds_of(lambda: halving.train({"features": rows_of}, some, epochs, halve))

    rounds: dict[str, list[float]] = {}
    for _ in range(repeats):
        alone = [grid([setting]) for setting in settings]
        times = {
            "one": statistics.mean(alone),
            "many": grid(settings),
            "all": grid(settings, halve=False),
            "one_by_one": sum(alone),
        }
        if keras:
            head.fit(X[:count], y[:count], validation_data=judges)  # traced here the first time
            times["keras"] = seconds_of(
                lambda: head.fit(X[:count], y[:count], validation_data=judges)
            )
        for name, value in times.items():
            rounds.setdefault(name, []).append(value)
    table = Table(f"{len(settings)} heads, {count} x {width}, {classes} classes", "s")
    for name, values in rounds.items():
        table.add(name, values, digits=3)
    table.show()
    facts: dict[str, Any] = {name: statistics.median(values) for name, values in rounds.items()}
    return facts | {
        "heads": len(settings),
        "many_by_one": facts["many"] / facts["one"],
        "all_by_one": facts["all"] / facts["one"],
        "faster": facts["one_by_one"] / facts["many"],
    }


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each number of classes, beside what it must reach."""
    lines = []
    for classes, found in facts.items():
        text = (
            f"{found['heads']} heads, {classes} classes: {found['many_by_one']:.1f} x the time of "
            f"one {at_most(found['many_by_one'], MOST)}, {found['faster']:.0f} x faster than one "
            f"by one {at_least(found['faster'], LEAST)}; "
            f"{found['all_by_one']:.1f} x the time of one where none is dropped"
        )
        if "keras" in found:
            ratio = found["heads"] * found["keras"] / found["many"]
            text += f"; {ratio:.0f} x faster than as many LinearHeads of Keras"
        lines.append(text)
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    found = measure(parser.parse_args().repeats)
    for line in verdict(found):
        print(line, file=sys.stderr)
    print(json.dumps({"machine": machine(), **found}))
