"""The table that `predict` writes, with the standard library and NumPy alone.

    path,label,probability,novelty,status,label_2,probability_2,...

`label` is the likeliest class and `label_2` the next one. An image that could not be read has a
status that says so and no label; one that is more novel than `--reject` allows is `rejected`, and
has no label either, so that nobody takes a guess for an answer. A head of labels, or of numbers,
has other columns: see `write_outputs_csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from extract.csv_cells import TextWriter
from heads.inference import Answer
from heads.scoring import largest

REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is said of one image."""

    path: str
    label: str
    """Empty where the image is bad or rejected."""
    probability: float | None
    novelty: float | None
    status: str
    """"good", "warned", "rejected", "undecodable" or "unreadable"."""
    others: tuple[tuple[str, float], ...] = ()
    """The next likeliest classes with their probabilities."""
    reason: str = ""
    """Why it is bad."""


def judged(
    task: str,
    path: str,
    status: str,
    answer: Answer,
    row: int,
    names: Sequence[str],
    *,
    thresholds: Sequence[float],
    top_k: int,
    reject: float | None,
) -> Prediction:
    """Return what row `row` of an answer says of the image at `path`, by what the head is of."""
    if task == "classification":
        return judge(path, status, answer, row, names, top_k=top_k, reject=reject)
    return judge_outputs(path, status, answer, row, names, thresholds=thresholds, reject=reject)


def write_table(
    file: IO[str],
    predictions: Iterator[Prediction],
    task: str,
    names: Sequence[str],
    *,
    top_k: int,
) -> None:
    """Write predictions as they come, by what the head is of; `top_k` is of classes alone."""
    if task == "classification":
        write_csv(file, predictions, top_k)
    else:
        write_outputs_csv(file, predictions, names, labels=task == "multilabel")


def judge(
    path: str,
    status: str,
    answer: Answer,
    row: int,
    classes: Sequence[str],
    *,
    top_k: int,
    reject: float | None,
) -> Prediction:
    """Return what row `row` of an answer says of the image at `path`."""
    probabilities = answer.probabilities[row]
    order = largest(probabilities[None], top_k)[0]
    novelty = float(answer.novelty[row])
    rejected = reject is not None and novelty > reject
    return Prediction(
        path=path,
        label="" if rejected else classes[order[0]],
        probability=float(probabilities[order[0]]),
        novelty=novelty,
        status=REJECTED if rejected else status,
        others=tuple((classes[i], float(probabilities[i])) for i in order[1:]),
    )


def judge_outputs(
    path: str,
    status: str,
    answer: Answer,
    row: int,
    names: Sequence[str],
    *,
    thresholds: Sequence[float],
    reject: float | None,
) -> Prediction:
    """Return what a multilabel head, or a regressor (no thresholds), says of an image.

    The label is all labels that are given, separated by "|"; `others` has every name.
    """
    values = answer.probabilities[row]
    given = (
        [n for n, v, t in zip(names, values, thresholds, strict=True) if v >= t]
        if len(thresholds)
        else []
    )
    novelty = float(answer.novelty[row])
    rejected = reject is not None and novelty > reject
    return Prediction(
        path=path,
        label="" if rejected else "|".join(given),
        probability=None,
        novelty=novelty,
        status=REJECTED if rejected else status,
        others=() if rejected else tuple(zip(names, map(float, values), strict=True)),
    )


def write_outputs_csv(
    file: IO[str], predictions: Iterator[Prediction], names: Sequence[str], labels: bool
) -> None:
    """Write a column for each label's probability, or for each number."""
    writer = TextWriter(file)
    writer.writerow(["path", *(["label"] if labels else []), "novelty", "status", *names])
    for p in predictions:
        values = [_number(value) for _, value in p.others] or [""] * len(names)
        shown = [p.label] if labels else []
        writer.writerow([p.path, *shown, _number(p.novelty), p.status, *values])


def is_replaceable(path: Path) -> bool:
    """Return whether nothing but earlier predictions, or nothing at all, would be lost there."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            names = next(csv.reader(file), None)
    except FileNotFoundError:
        return True
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return names is None or {"path", "novelty", "status"} <= set(names)


def header(top_k: int) -> list[str]:
    """Return the names of the columns."""
    names = ["path", "label", "probability", "novelty", "status"]
    for rank in range(2, top_k + 1):
        names += [f"label_{rank}", f"probability_{rank}"]
    return names


def write_csv(file: IO[str], predictions: Iterator[Prediction], top_k: int) -> None:
    """Write predictions as they come; `top_k` is at most the number of classes."""
    writer = TextWriter(file)
    writer.writerow(header(top_k))
    for prediction in predictions:
        writer.writerow(_cells(prediction, top_k))


def _cells(prediction: Prediction, top_k: int) -> list[str]:
    others = [cell for name, p in prediction.others for cell in (name, _number(p))]
    return [
        prediction.path,
        prediction.label,
        _number(prediction.probability),
        _number(prediction.novelty),
        prediction.status,
        *others,
        *[""] * (2 * (top_k - 1) - len(others)),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else np.format_float_positional(value, 6, trim="-")
