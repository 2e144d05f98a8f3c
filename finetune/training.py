"""Epochs of fine-tuning: Keras' `fit`, watched.

Feed (full or suffix) ─▶ Tuner.fit ─▶ each epoch: judge ─▶ guard ─▶ backup for a resume
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from extract.progress import Reporter
from finetune import rates
from finetune.backup import Backup
from finetune.batches import PlainBatches, Take, TrainBatches
from finetune.errors import FinetuneError, TrainingError
from finetune.freezing import FreezePlan
from finetune.guard import Frozen, Guard, assign, values_of
from finetune.judging import Judgment, rows_of
from finetune.memory import is_out_of_memory, out_of_memory
from finetune.network import Network
from finetune.options import Options
from finetune.tuner import Tuner

OnStep = Callable[[float], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Feed:
    """What the network trains on, and what judges it."""

    body: keras.Model
    """Inputs to the feature row."""
    train: Take
    codes: np.ndarray
    """(n,) class of each training row."""
    validation: Take
    validation_codes: np.ndarray
    augmentation: keras.Model | None = None
    """In the graph, on pixels; None where inputs are not random."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What training came to; the network holds the best weights, of the head's and all epochs'."""

    guard: Guard
    variables: list[Any]
    """What trained, and statistics that moved with it."""
    trainable_weights: int
    """How many of these trained."""
    epoch_seconds: list[float]
    trouble: TrainingError | None = None
    """Why training had to stop."""


def train(
    network: Network,
    plan: FreezePlan,
    options: Options,
    feed: Feed,
    folder: Path,
    reporter: Reporter,
    on_step: OnStep | None = None,
) -> Trained:
    """Train, and give the network the best weights.

    Args:
        network: Its plan is applied.
        plan: What trains of the backbone.
        options: How to train.
        feed: Rows.
        folder: For what a resume needs; it stays where training had to stop.
        reporter: Hears sentences for people.
        on_step: Hears the loss of each step.

    Raises:
        FrozenWeightError: If a weight changed that was to stay.
        FinetuneError: If other weights would train than was planned.
    """
    held_out = PlainBatches(feed.validation, len(feed.validation_codes), 2 * options.batch_size)
    tuner, groups, batches = compiled(network, plan, options, feed)
    if len(groups) > 1 and options.layer_decay != 1.0:
        peaks = ", ".join(f"{group.name} {group.rate:.2g}" for group in groups)
        reporter.note(f"Rates at their peak: {peaks}")
    statistics = _moving_statistics(network, plan, options)
    variables = [*tuner.trainable_variables, *statistics]
    frozen = Frozen(network.operations, [*network.trunk.trainable_weights, *statistics])

    def judged() -> Judgment:
        return network.judge(rows_of(feed.body, held_out), feed.validation_codes)

    guard = Guard.begin(folder, judged(), values_of(variables))
    watcher = Watcher(options, batches, groups, guard, variables, network, judged, reporter)
    watcher.on_step = on_step
    trouble: TrainingError | None = None
    with policy(network, options.precision):
        try:
            if not guard.is_over(options.patience):
                tuner.fit(
                    batches,
                    epochs=options.epochs,
                    verbose=0,
                    shuffle=False,
                    callbacks=[watcher, *_callbacks(folder, options, guard)],
                )
        except TrainingError as error:
            trouble = error
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            trouble = out_of_memory(options.batch_size, options.cache_memory)
    frozen.check()
    assign(variables, guard.result)
    return Trained(
        guard=guard,
        variables=variables,
        trainable_weights=len(tuner.trainable_variables),
        epoch_seconds=[row["seconds"] for row in guard.history],
        trouble=trouble,
    )


def compiled(
    network: Network, plan: FreezePlan, options: Options, feed: Feed
) -> tuple[Tuner, list[rates.Group], TrainBatches]:
    """Return the network as it trains, compiled, with its groups of rates and its batches.

    Raises:
        FinetuneError: If other weights would train than was planned, or at other rates.
    """
    weights = class_weights(feed.codes, len(network.model.classes), options)
    targets = np.eye(len(network.model.classes), dtype=np.float32)[feed.codes]
    batches = TrainBatches(feed.train, targets, weights, options.batch_size, options.seed)
    tuner = Tuner(
        network,
        feed.body,
        feed.augmentation,
        options.dropout,
        options.seed,
        options.batchnorm == "train",
    )
    groups = rates.groups_of(network, plan, options)
    optimizer = rates.build_optimizer(groups, options, len(batches))
    _build(tuner, feed)
    expected = plan.weights + len(network.head.trainable_weights)
    if (found := len(tuner.trainable_variables)) != expected:
        raise FinetuneError(f"{found} weights would train, and the plan has {expected}")
    optimizer.build(tuner.trainable_variables)
    rates.check_rates(optimizer, groups)
    tuner.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=options.label_smoothing
        ),
        # XLA takes minutes to compile a backbone for a processor.
        jit_compile=keras.backend.backend() == "jax",
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        auto_scale_loss=False,  # `rates` does
    )
    return tuner, groups, batches


def _build(tuner: Tuner, feed: Feed) -> None:
    """Let Keras know the variables, without computing."""
    inputs = [keras.KerasTensor((None, *x.shape[1:])) for x in feed.body.inputs]
    tuner(inputs[0] if len(inputs) == 1 else inputs)


def class_weights(codes: np.ndarray, classes: int, options: Options) -> np.ndarray:
    """Return the weight (n,) float32 of each row, mean 1."""
    if options.class_weight is None:
        return np.ones(len(codes), np.float32)
    counts = np.bincount(codes, minlength=classes)
    return (len(codes) / (classes * counts[codes])).astype(np.float32)


def _moving_statistics(network: Network, plan: FreezePlan, options: Options) -> list[Any]:
    """Return the variables that do not train, and that training moves all the same."""
    if options.batchnorm != "train":
        return []
    operations = network.operations
    return [
        variable
        for position in sorted(plan.positions)
        for variable in getattr(operations[position], "non_trainable_weights", [])
    ]


def _callbacks(folder: Path, options: Options, guard: Guard) -> list[Any]:
    callbacks: list[Any] = [Backup(folder)]
    if options.tensorboard is not None:
        from finetune.scalars import Scalars

        callbacks.append(Scalars(options.tensorboard, guard))
    return callbacks


@contextmanager
def policy(network: Network, precision: str) -> Iterator[None]:
    """Let every layer compute under a dtype policy; its variables stay float32.

    Backends ask for the policy when they trace a function, and torch each time.
    """
    layers = [
        operation
        for part in (network.preprocessing, network.built.model, network.features, network.head)
        for operation in part.operations
        if hasattr(operation, "dtype_policy")
    ]
    before = [layer.dtype_policy for layer in layers]
    for layer in layers:
        if layer.dtype_policy.name != precision:
            layer.dtype_policy = precision
    try:
        yield
    finally:
        for layer, old in zip(layers, before, strict=True):
            layer.dtype_policy = old


class Watcher(keras.callbacks.Callback):
    """Judges each epoch, keeps what is best, and stops what goes wrong.

    It stops by raising `TrainingError`: callbacks after it, such as the backup for a resume, then
    never see weights that are no numbers.
    """

    def __init__(
        self,
        options: Options,
        batches: TrainBatches,
        groups: Sequence[rates.Group],
        guard: Guard,
        variables: Sequence[Any],
        network: Network,
        judge: Callable[[], Judgment],
        reporter: Reporter,
    ) -> None:
        super().__init__()
        self._options, self._batches, self._groups = options, batches, groups
        self._guard, self._network, self._reporter = guard, network, reporter
        self._variables, self._judge = variables, judge
        self.on_step: OnStep | None = None
        self._epoch, self._started, self._sum, self._steps = 0, 0.0, 0.0, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Turn to the order of this epoch; Keras counts from 0."""
        self._epoch = epoch + 1
        self._batches.begin(self._epoch)
        self._sum, self._steps = 0.0, 0
        self._rate = max(rates.rates_now(self.model.optimizer).values())
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Look at the loss of a step, which Keras tells as the mean of the epoch so far."""
        mean = float(logs["loss"])
        if not math.isfinite(mean):
            raise self._no_number("loss")
        self._steps += 1
        loss = mean * self._steps - self._sum
        self._sum += loss
        if self.on_step is not None:
            self.on_step(loss)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Judge what this epoch came to; the guard and the history hear of it."""
        seconds = time.perf_counter() - self._started
        rates.check_rates(self.model.optimizer, self._groups)
        with self._judged_weights():
            with policy(self._network, "float32"):
                judgment = self._judge()
            if not math.isfinite(judgment.loss):
                raise self._no_number("validation loss")
            better = self._guard.offer(epoch + 1, judgment, values_of(self._variables))
        self._guard.note(
            {
                "stage": "finetune",
                "epoch": epoch + 1,
                "loss": self._sum / max(self._steps, 1),
                "accuracy": float(logs["accuracy"]),
                "val_loss": judgment.loss,
                "val_accuracy": judgment.accuracy,
                "learning_rate": self._rate,
                "seconds": seconds,
            }
        )
        self._reporter.note(
            f"epoch {epoch + 1} of {self._options.epochs}: loss {self._sum / self._steps:.4f}, "
            f"val_accuracy {judgment.accuracy:.4f}, val_loss {judgment.loss:.4f}, {seconds:.1f} s"
            + (f" ({self._guard.praise})" if better else "")
        )
        if self._guard.is_over(self._options.patience):
            self.model.stop_training = True

    def _no_number(self, what: str) -> TrainingError:
        return TrainingError(
            f"The {what} is not a number in epoch {self._epoch}: its steps were too long. Give a "
            f"--learning-rate below {self._options.learning_rate:g}"
        )

    @contextmanager
    def _judged_weights(self) -> Iterator[None]:
        """Put averaged weights in the place of the raw ones, where there are such."""
        if not self._options.ema:
            yield
            return
        raw = values_of(self._variables)
        for part in rates.parts_of(self.model.optimizer):
            averages = values_of(part._model_variables_moving_average)
            assign(part._trainable_variables, averages)
        try:
            yield
        finally:
            assign(self._variables, raw)
