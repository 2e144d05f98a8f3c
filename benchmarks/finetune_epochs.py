"""Full mode and suffix mode by turns, in one process: what slows the machine slows both.

Both take the same batches through `fit`, as in a run, and the same weights train. Validation is
not in it, and neither is the first turn, which traces.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from extract.progress import Silent

MODES = ("full", "suffix")
GOALS = {"block_15_add": 5.0, "block_11_add": 1.8}
TURNS = 7
"""Epochs of each mode that are timed."""


@contextmanager
def opened(store: Path, batch_size: int) -> Iterator[tuple[Any, Any]]:
    """Yield the rows of a store, and the layers of the backbone of the head that lies beside it."""
    from finetune import freezing
    from finetune.feeds import Feeds
    from finetune.network import open_network
    from finetune.options import Options
    from finetune.rows import beside, open_rows
    from heads.model_folder import load

    model = load(beside(store, ".head"))
    _, train, validation = open_rows(model, store)
    network = open_network(model)
    layers = freezing.layers_of(network.built)
    options = Options(batch_size=batch_size)
    with Feeds(network, options, train, validation, store, None, Silent()) as feeds:
        yield feeds, layers


def take_turns(
    feeds: Any, plan: Any, cut: Any, turns: int, steps: int | None = None
) -> dict[str, list[list[float]]]:
    """Return the seconds of each step, turn by turn, by mode.

    Args:
        feeds: As `opened` gives them.
        plan: What trains.
        cut: Where suffix mode begins.
        turns: Of each mode, after one that traces.
        steps: Of a turn; an epoch by default. The first step of a turn begins with the turn.
    """
    import keras

    from finetune import freezing
    from finetune.choosing import Choice
    from finetune.training import compiled

    class Clock(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.ends: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.ends.append(time.perf_counter())

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            float(logs["loss"])  # waits for the step
            self.ends.append(time.perf_counter())

    freezing.apply(feeds.network, plan)
    ways = {
        mode: compiled(feeds.network, plan, feeds.options, feeds.feed(Choice(mode, "", place)))
        for mode, place in zip(MODES, (None, cut), strict=True)
    }
    spent: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
    for turn in range(turns + 1):
        for mode, (tuner, _, batches) in ways.items():
            clock = Clock()
            batches.begin(turn + 1)
            tuner.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[clock])
            if turn:
                spent[mode].append([b - a for a, b in pairwise(clock.ends)])
    return spent


def measure_speed(store: Path, cuts: dict[str, str], turns: int = TURNS) -> list[dict[str, Any]]:
    """Return, for each cut, predicted and measured speed-up, and what comes before training."""
    import extract
    import finetune
    from finetune import freezing
    from finetune.boundary import find_cut
    from finetune.suffix import boundary_store

    images = extract.open_store(store).items["split"].to_pylist().count("train")
    rows = []
    for unfreeze, cut in cuts.items():
        planned = finetune.plan(store, unfreeze=unfreeze)
        predicted = next(facts.speedup for facts in planned.cuts if facts.name == cut)
        found = {}
        for mode in MODES:
            shutil.rmtree(boundary_store(store), ignore_errors=True)
            out = store.with_name(f"{mode}.tuned")
            found[mode] = finetune.run(store, out=out, unfreeze=unfreeze, mode=mode, epochs=1)
        with opened(store, batch_size=32) as (feeds, layers):
            plan = freezing.make_plan(layers, unfreeze)
            spent = take_turns(feeds, plan, find_cut(feeds.network, plan), turns)
        full, suffix = ([sum(steps) for steps in spent[mode]] for mode in MODES)
        ratios = [a / b for a, b in zip(full, suffix, strict=True)]
        rows.append(
            {
                "cut": cut,
                "images": images,
                "full_epoch": statistics.median(full),
                "full_epochs": full,
                "suffix_epoch": statistics.median(suffix),
                "suffix_epochs": suffix,
                "extraction": found["suffix"].extraction_seconds,
                "full_decoding": found["full"].decoding_seconds,
                "suffix_decoding": found["suffix"].decoding_seconds,
                "full_run": found["full"].seconds,
                "suffix_run": found["suffix"].seconds,
                "speedup": statistics.median(full) / statistics.median(suffix),
                "range": [min(ratios), max(ratios)],
                "predicted": predicted,
                "goal": GOALS.get(cut),
            }
        )
    return rows
