"""What a fine-tuning is asked for; `finetune.run` and the command line both make one."""

from __future__ import annotations

import importlib.util
import math
import re
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from extract.augment import Augmentation
from finetune.errors import FinetuneError

Mode = Literal["auto", "full", "suffix"]
Schedule = Literal["cosine", "constant"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
BatchNorm = Literal["inference", "train"]
WHOLE = ("epochs", "batch_size", "patience", "views", "seed")
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to train; every field is an option of the command line."""

    unfreeze: str = "20%"
    """Which layers train: see `finetune.freezing.make_plan`."""
    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-5
    """Of the head and, without `layer_decay`, of everything, once warm-up is over."""
    layer_decay: float = 1.0
    """Each block has this share of the rate of the block above it."""
    warmup: float = 0.0
    """Epochs in which the rate rises from 0."""
    schedule: Schedule = "cosine"
    """"cosine" falls to 0 at the last step."""
    optimizer: str = "adam"
    """A class of `keras.optimizers`; case does not count."""
    weight_decay: float | None = None
    """None for what the optimizer does by default."""
    dropout: float = 0.0
    """Share of the features that is dropped before the head."""
    label_smoothing: float = 0.0
    class_weight: str | None = None
    """"balanced": every class weighs the same."""
    augment: str = ""
    """Such as "flip,rotation=0.1": random, only while training."""
    views: int = 0
    """Augmented views that suffix mode extracts and trains on; 0 for the plain image."""
    precision: Precision = "float32"
    """A dtype policy of Keras: what training computes in. What is measured is float32."""
    patience: int = 0
    """Epochs without a better validation, after which training stops; 0 for never."""
    ema: float = 0.0
    """Momentum of an average of the weights, which is judged and kept; 0 for none."""
    batchnorm: BatchNorm = "inference"
    """"train" lets BatchNormalization of layers that train use and move batch statistics."""
    wise_ft: bool = False
    """Whether weights between the head's and the tuned ones are tried at the end."""
    mode: Mode = "auto"
    seed: int = 0
    cache_memory: str = "2GB"
    """How much of decoded images and activations stays in memory; the rest is on disk."""
    tensorboard: Path | None = None
    """Folder for TensorBoard's files."""

    def __post_init__(self) -> None:
        for field in fields(self):  # JSON takes no number of NumPy
            if isinstance(value := getattr(self, field.name), np.generic):
                object.__setattr__(self, field.name, value.item())
        _one_of("mode", self.mode, get_args(Mode))
        _one_of("schedule", self.schedule, get_args(Schedule))
        _one_of("precision", self.precision, get_args(Precision))
        _one_of("batchnorm", self.batchnorm, get_args(BatchNorm))
        if self.class_weight not in (None, "balanced"):
            raise FinetuneError(
                f"--class-weight is balanced, or left out. Received: {self.class_weight!r}"
            )
        for name, low, high in (
            ("epochs", 1, None),
            ("batch_size", 1, None),
            ("warmup", 0, None),
            ("patience", 0, None),
            ("views", 0, None),
            ("seed", 0, None),
            ("layer_decay", 0, 1),
            ("dropout", 0, 0.99),
            ("label_smoothing", 0, 0.99),
            ("ema", 0, 0.9999),
        ):
            _within(name, getattr(self, name), low, high, whole=name in WHOLE)
        _number("learning_rate", self.learning_rate)
        if self.weight_decay is not None:
            _within("weight_decay", self.weight_decay, 0, None)
        if not 0 < self.learning_rate < math.inf or self.layer_decay == 0:
            raise FinetuneError(
                f"--learning-rate and --layer-decay are above 0. Received: {self.learning_rate} "
                f"and {self.layer_decay}"
            )
        if self.augment:
            Augmentation.parse(self.augment)
        _check_cached(self)
        parse_size(self.cache_memory)

    @property
    def cache_bytes(self) -> int:
        """`cache_memory` in bytes."""
        return parse_size(self.cache_memory)


def _check_cached(options: Options) -> None:
    """Refuse what would keep one random draw for ever, or ask for views of nothing."""
    if options.mode == "suffix" and options.augment and not options.views:
        raise FinetuneError(
            f"--mode suffix keeps activations, so random --augment {options.augment} would be "
            f"drawn once and then stay the same. Give --views 4 to train on four kept draws, or "
            f"--mode full"
        )
    if options.views and not options.augment:
        raise FinetuneError("--views takes what --augment says: give --augment flip,rotation=0.1")
    if options.views and options.mode == "full":
        raise FinetuneError(
            "--views is for --mode suffix; in --mode full each epoch draws anew. Leave it out"
        )


def check_tensorboard() -> None:
    """Raise `FinetuneError` unless files for TensorBoard can be written here."""
    if importlib.util.find_spec("tensorboard") is None:
        raise FinetuneError('--tensorboard needs an extra: pip install "headstart[tensorboard]"')


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        option = "--" + name.replace("_", "-")
        raise FinetuneError(f"{option} is one of {', '.join(allowed)}. Received: {value!r}")


def _number(name: str, value: Any, whole: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        option = "--" + name.replace("_", "-")
        raise FinetuneError(f"{option} is a {'whole ' * whole}number. Received: {value!r}")


def _within(name: str, value: float, low: float, high: float | None, whole: bool = False) -> None:
    _number(name, value, whole)
    if not low <= value < math.inf or (high is not None and value > high):
        option = "--" + name.replace("_", "-")
        upper = "" if high is None else f" and at most {high}"
        raise FinetuneError(f"{option} is at least {low}{upper}. Received: {value}")


def parse_size(text: str) -> int:
    """Return bytes of a text such as "500MB".

    Raises:
        FinetuneError: If it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]B)", text.strip(), re.IGNORECASE)
    if match is None:
        raise FinetuneError(f"--cache-memory is a size such as 2GB. Received: {text!r}")
    return int(float(match[1]) * UNITS[match[2].upper()])
