"""What follows from the ways that were measured: other numbers of epochs and heads, what pays."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np


def in_graph_seconds(facts: Mapping[str, Any], epochs: int) -> float:
    """Return what a process takes until so many epochs in the graph have ended.

    As measured where so many were run. Later ones are as long as the mean of all but the first,
    before which the process starts.
    """
    row = facts["rows"]["in_graph"]
    ends = [seconds for seconds, _ in row["curve"][: facts["epochs"]]]
    if epochs <= len(ends):
        return float(ends[epochs - 1])
    one = (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else row["epoch_seconds"]
    return float(ends[-1] + (epochs - len(ends)) * one)


def pays(facts: Mapping[str, Any]) -> dict[str, float]:
    """Return after which epoch, and head of `epochs` epochs, extraction from nothing took less.

    Source: the first e at which e epochs in the graph take no less than extraction and one head;
    the first m at which m whole runs in the graph take no less than extraction and m heads, each
    as long as one `heads fit` as a process.
    """
    rows = facts["rows"]
    epochs = next(e for e in count(1) if in_graph_seconds(facts, e) >= rows["first"]["seconds"])
    extraction = rows["first"]["seconds"] - rows["cached"]["seconds"]
    gain = rows["in_graph"]["seconds"] - rows["cached"]["seconds"]
    heads = extraction / gain if gain > 0 else float("inf")
    return {"epochs": epochs, "heads": max(1.0, np.ceil(heads))}


def many_epochs(facts: Mapping[str, Any]) -> float:
    """Return how often faster many epochs are on features, the backbone converted.

    In the graph they are reckoned; on features they were measured.
    """
    rows = facts["rows"]
    extraction = rows["again"]["seconds"] - rows["cached"]["seconds"]
    ours = extraction + rows["many"]["seconds"]
    return float(in_graph_seconds(facts, facts["many_epochs"]) / ours)


def many_heads(facts: Mapping[str, Any], way: str) -> float:
    """Return how often faster trying all heads is on features, extraction by `way` included."""
    rows = facts["rows"]
    extraction = rows[way]["seconds"] - rows["cached"]["seconds"]
    ours = extraction + rows["sweep"]["seconds"]
    return float(facts["heads"] * rows["in_graph"]["seconds"] / ours)
