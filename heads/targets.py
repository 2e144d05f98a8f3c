"""What a head learns, read from columns of the items: one class, several labels, or numbers.

    classification   one column of names               y (n,) int64 codes, -1 where there is none
    multilabel       one column such as "cat|indoor"   y (n, labels) float64 of 0 and 1
                     or several columns of 0 and 1     (NaN in rows without an entry)
    regression       one or several columns of numbers y (n, targets) float64, NaN likewise

An empty cell is no entry: its row is left out and counted. For a row with no label at all, a
multilabel column says "|".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from extract.csv_cells import is_number
from extract.run_words import run_command
from extract.store.item_tables import ITEM_SCHEMA
from heads.errors import HeadError

TASKS = ("classification", "multilabel", "regression")
SEPARATOR = "|"
OURS = frozenset(ITEM_SCHEMA.names)
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


@dataclass(frozen=True, slots=True)
class Target:
    """What is learned, and from which columns of the items."""

    task: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    """Of the classes, labels or numbers, in the order of y."""

    def of(self, items: pa.Table, store: str = "STORE") -> np.ndarray:
        """Return y of some items, of a store that errors name."""
        if self.task == "classification":
            codes = {name: code for code, name in enumerate(self.names)}
            cells = texts(items, self.columns[0])
            return np.array([-1 if cell is None else codes[cell] for cell in cells], np.int64)
        if self.task == "regression":
            columns = [_numbers(items, column, store) for column in self.columns]
            return np.stack(columns, axis=1)
        if len(self.columns) > 1:
            return np.stack([_indicators(items, column) for column in self.columns], axis=1)
        return self._labels(items)

    def _labels(self, items: pa.Table) -> np.ndarray:
        places = {name: place for place, name in enumerate(self.names)}
        cells = texts(items, self.columns[0])
        y = np.zeros((len(cells), len(self.names)))
        for row, cell in enumerate(cells):
            if cell is None:
                y[row] = np.nan
            else:
                y[row, [places[name] for name in _parts(cell)]] = 1
        return y


def known(y: np.ndarray) -> np.ndarray:
    """Return which rows of y have an entry, (n,) bool."""
    return y >= 0 if y.ndim == 1 else ~np.isnan(y).any(axis=1)


def target_of(items: pa.Table, task: str, columns: Sequence[str], store: str) -> Target:
    """Return what a task learns from columns of the items.

    Raises:
        HeadError: If there is no such column, nothing in it, or what is in it does not fit; or
            one is named twice.
    """
    columns = tuple(columns) or ("label",)
    check_once(columns)
    for column in columns:
        if column not in items.column_names:
            raise HeadError(
                f"{store} has no column {column!r} of labels. Its items have: "
                f"{', '.join(_choices(items))}"
            )
    if task == "multilabel" and len(columns) == 1:
        cells = [cell for cell in texts(items, columns[0]) if cell is not None]
        names = tuple(sorted({name for cell in cells for name in _parts(cell)}))
    elif task == "classification":
        names = tuple(sorted({cell for cell in texts(items, columns[0]) if cell is not None}))
    else:
        names = columns
    target = Target(task, columns, names)
    if not names or not known(target.of(items, store)).any():
        raise HeadError(
            f"{store} has nothing in column {columns[0]!r} to learn. Give its items some: "
            f"{_correction(columns[0], store)}"
        )
    return target


def check_once(columns: Sequence[str]) -> None:
    """Raise `HeadError` where a column to learn from is named twice."""
    if len(set(columns)) != len(columns):
        raise HeadError(f"--label names a column twice. Received: {', '.join(columns)}")


def class_target(items: pa.Table, column: str | None, store: str) -> Target | None:
    """Return what a classifier learns from a column; None for "label", which the snapshot reads.

    Raises:
        HeadError: As `target_of` does.
    """
    if column in (None, "label"):
        return None
    return target_of(items, "classification", (column,), store)


def no_classes(names: Sequence[str], labeled: int) -> str:
    """Say why labels are none of classes: several an image, or numbers; "" where they are classes.

    Args:
        names: Distinct labels.
        labeled: Items that have one.
    """
    if any(SEPARATOR in name for name in names):
        return f"Labels such as {_example(names)} do not exclude each other, and are not judged"
    if len(names) > max(labeled / 2, 2) and all(map(is_number, names)):
        return f"Labels such as {names[0]!r} are numbers, not classes, and are not judged"
    return ""


def _example(names: Sequence[str]) -> str:
    return repr(next(name for name in names if SEPARATOR in name))


def texts(items: pa.Table, column: str) -> list[str | None]:
    """Return a column as stripped text, None where there is none."""
    cells = items[column].cast(pa.string()).to_pylist()
    return [cell.strip() if cell is not None and cell.strip() else None for cell in cells]


def _parts(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(SEPARATOR) if part.strip()]


def _choices(items: pa.Table) -> list[str]:
    """Return the columns that people gave."""
    return [c for c in items.column_names if c in ("label", "split", "group") or c not in OURS]


def _correction(column: str, store: str) -> str:
    """Return the command that gives a column other cells."""
    if column == "label":
        return f"python -m extract relabel {store} TABLE.csv, a table of path and label"
    return f"{run_command(store, 'TABLE.csv')}, the images' table with that column"


def _numbers(items: pa.Table, column: str, store: str) -> np.ndarray:
    """Return (n,) float64, NaN for empty cells."""
    found = np.full(items.num_rows, np.nan)
    for row, cell in enumerate(texts(items, column)):
        if cell is None:
            continue
        try:
            found[row] = float(cell)
        except ValueError:
            found[row] = np.inf
        if not np.isfinite(found[row]):
            raise HeadError(
                f"--regression takes numbers, and column {column!r} of "
                f"{items['path'][row].as_py()!r} is {cell!r}. Leave --regression out, or correct "
                f"it: {_correction(column, store)}"
            )
    return found


def _indicators(items: pa.Table, column: str) -> np.ndarray:
    """Return (n,) float64 of 0 and 1, NaN for empty cells."""
    meaning = dict.fromkeys(YES, 1.0) | dict.fromkeys(NO, 0.0)
    found = np.full(items.num_rows, np.nan)
    for row, cell in enumerate(texts(items, column)):
        if cell is None:
            continue
        if cell.lower() not in meaning:
            raise HeadError(
                f"With several columns --multilabel takes 0 and 1 (or true and false), and column "
                f"{column!r} of {items['path'][row].as_py()!r} is {cell!r}. Give one column of "
                f"labels separated by {SEPARATOR}, or train one head per column: leave "
                f"--multilabel out"
            )
        found[row] = meaning[cell.lower()]
    return found
