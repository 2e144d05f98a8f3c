"""Grids of heads, epoch by epoch: what falls behind is dropped, the best epoch of each is kept.

    lane        heads of one column and one seed: the same rows in the same order, one product
    rung        after epochs 1, 2, 4, 8, 16 ... the better half of all heads goes on, and of each
                lane in the middle of the first epoch, when all of them still cost their share

Rungs go by the log loss of validation rows: after few steps it tells heads apart better than the
accuracy does, of which many have the same.

Source: Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter
Optimization, AISTATS 2016 (successive halving).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from heads.batched import Heads
from heads.epochs import Scaling, batch_order
from heads.grid import Setting
from heads.scoring import Dense

BATCH = 128
PATIENCE = 5
"""Epochs without a lower validation loss after which a head is finished."""
FEWEST = 2
"""Heads that no rung drops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What became of one head of the grid."""

    setting: Setting
    accuracy: float = 0.0
    """Of validation rows, after the best epoch."""
    log_loss: float = np.inf
    """Mean over validation rows in nats, after the best epoch: the lowest of all epochs."""
    best_epoch: int = 0
    epochs: int = 0
    """Whole epochs that it was trained; 0 where it was dropped in the middle of the first."""
    dropped: bool = False
    """Whether it fell behind and was stopped; what its best epoch made of it may yet win."""

    @property
    def rank(self) -> tuple[bool, float, float]:
        """What is lower for the better head; one without a whole epoch is never the best."""
        return (self.epochs == 0, -round(self.accuracy, 12), self.log_loss)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of one column: training rows and the validation rows that judge, standardized."""

    scaling: Scaling
    X: np.ndarray
    """(n, d) float32."""
    codes: np.ndarray
    weights: np.ndarray
    """(n,) float32, of mean 1."""
    shares: np.ndarray
    """(classes,) weight of each class, of sum 1."""
    X_judge: np.ndarray
    """(m, d) float32."""
    codes_judge: np.ndarray


OnEpoch = Callable[[int, Tried, int], None]
"""Is called with the epoch, the leader, and how many heads are still training."""


def train(
    tables: dict[str, Table],
    settings: Sequence[Setting],
    epochs: int,
    halve: bool = True,
    on_epoch: OnEpoch | None = None,
) -> tuple[list[Tried], Dense]:
    """Train a grid.

    Args:
        tables: The rows of each column that a setting names.
        settings: At least one; those of one column and seed train in one product.
        epochs: Most epochs of a head.
        halve: Whether the worse half is dropped at every rung.
        on_epoch: Hears how it goes; what it raises stops the training.

    Returns:
        What became of each setting, in their order, and the best head, for features as they are.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for index, setting in enumerate(settings):
        groups.setdefault((setting.column, setting.seed), []).append(index)
    lanes = [_Lane(tables[key[0]], [settings[i] for i in group]) for key, group in groups.items()]
    for epoch in range(1, epochs + 1):
        running = [lane for lane in lanes if len(lane.heads)]
        if not running:
            break
        for lane in running:
            lane.epoch(epoch, halve and epoch == 1)
        if halve and epoch & (epoch - 1) == 0:
            _drop(lanes)
        if on_epoch is not None:
            leader = min((t for lane in lanes for t in lane.tried), key=lambda t: t.rank)
            on_epoch(epoch, leader, sum(len(lane.heads) for lane in lanes))
    order = [index for group in groups.values() for index in group]
    tried = [t for lane in lanes for t in lane.tried]
    best = min(lanes, key=lambda lane: min(t.rank for t in lane.tried))
    return [t for _, t in sorted(zip(order, tried, strict=True), key=lambda p: p[0])], best.best()


class _Lane:
    """Heads that see the same rows in the same order."""

    def __init__(self, table: Table, settings: Sequence[Setting]) -> None:
        self.tried = [Tried(setting=setting) for setting in settings]
        self.heads = Heads.start(table.X.shape[1], table.shares, settings)
        self._table, self._seed = table, settings[0].seed
        self._running = np.arange(len(settings))
        """Which of `tried` each head is."""
        self._kernels, self._biases = self.heads.kernels.copy(), self.heads.biases.copy()
        """Of every head, after its best epoch."""

    def epoch(self, number: int, halve: bool) -> None:
        """Train on every row once, judge, and let heads end that no longer get better.

        With `halve`, the worse half of the heads is stopped in the middle.
        """
        table = self._table
        order = batch_order(len(table.X), self._seed, number)
        starts = range(0, len(order), BATCH)
        middle = starts[len(starts) // 2]
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that is no number never wins
            for start in starts:
                if halve and start == middle > 0:
                    self._halve()
                chosen = order[start : start + BATCH]
                self.heads.step(table.X[chosen], table.codes[chosen], table.weights[chosen])
            accuracy, loss = self.heads.judge(table.X_judge, table.codes_judge)
        better = np.zeros(len(self._running), bool)
        for place, index in enumerate(self._running):
            before = self.tried[index]
            better[place] = loss[place] < before.log_loss
            if better[place]:
                before = replace(
                    before,
                    accuracy=float(accuracy[place]),
                    log_loss=float(loss[place]),
                    best_epoch=number,
                )
            self.tried[index] = replace(before, epochs=number)
        self._kernels[..., self._running[better]] = self.heads.kernels[..., better]
        self._biases[..., self._running[better]] = self.heads.biases[..., better]
        self.keep([number - self.tried[i].best_epoch < PATIENCE for i in self._running])

    def _halve(self) -> None:
        accuracy, loss = self.heads.judge(self._table.X_judge, self._table.codes_judge)
        order = np.argsort(np.nan_to_num(loss, nan=np.inf), kind="stable")
        behind = order[max(FEWEST, (len(order) + 1) // 2) :]
        for place in behind.tolist():
            index = self._running[place]
            self.tried[index] = replace(
                self.tried[index],
                accuracy=float(accuracy[place]),
                log_loss=float(loss[place]),
                dropped=True,
            )
        self.keep([place not in behind for place in range(len(order))])

    def keep(self, kept: Sequence[bool]) -> None:
        """Let only some of the running heads go on."""
        if not all(kept):
            mask = np.array(kept, bool)
            self.heads, self._running = self.heads.only(mask), self._running[mask]

    def drop(self, indices: set[int]) -> None:
        """Stop heads that fell behind."""
        for index in indices & set(self._running.tolist()):
            self.tried[index] = replace(self.tried[index], dropped=True)
        self.keep([index not in indices for index in self._running.tolist()])

    def best(self) -> Dense:
        """Return the best head of the lane, for features as they are."""
        leader = min(range(len(self.tried)), key=lambda i: self.tried[i].rank)
        kernel, bias = self._kernels[..., leader], self._biases[..., leader]
        return self._table.scaling.fold([kernel], [bias], "linear")


def _drop(lanes: Sequence[_Lane]) -> None:
    """Stop the worse half of all heads that were not dropped yet."""
    left = [
        (tried.log_loss, number, index)
        for number, lane in enumerate(lanes)
        for index, tried in enumerate(lane.tried)
        if not tried.dropped
    ]
    behind = sorted(left)[max(FEWEST, (len(left) + 1) // 2) :]
    for number, lane in enumerate(lanes):
        lane.drop({index for _, lane_of, index in behind if lane_of == number})
