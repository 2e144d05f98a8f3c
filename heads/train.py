"""Train one estimator on a source, in the way that it can be trained, and choose on validation.

    path     has `Cs` or `alphas`: fits all of them, and a fold of validation rows chooses
    blocks   has `fit_blocks`: the store is streamed, memory does not grow with it
    epochs   takes `validation_data`: Keras heads, which stop at the best epoch
    stream   has `partial_fit`: the store is streamed, pass by pass
    plain    everything else: one `fit`

What comes out is the same for all: a scorer, what was tried, and the settings that repeat it.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from extract.quiet import quiet_import
from extract.store.reader import Data
from heads.data import Source
from heads.errors import HeadError
from heads.estimators import json_value, make
from heads.linear_form import check_scorer, scorer_of
from heads.scoring import Scorer
from heads.sklearn_heads import fit_stream

Blocks = Callable[[], Iterable[Data]]
"""Gives the rows of a split anew at each call, in pieces."""
Pairs = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""The same as X (m, d) and y (m,)."""
OnEpoch = Callable[[Mapping[str, Any]], None]

CHOSEN = {"C_": "Cs", "alpha_": "alphas", "best_epoch_": "epochs"}
"""Fitted attribute → the parameter that can repeat what it says was chosen."""
ONE: Mapping[str, Callable[[Any], Any]] = {"Cs": float, "alphas": float, "epochs": int}
SINGULAR = {"Cs": "C", "alphas": "alpha"}


class Rows:
    """The rows of a source by split: in memory once they were loaded, else streamed."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._loaded: dict[str, Data] = {}

    def load(self, split: str) -> Data:
        """Return all rows of a split, and keep them."""
        if split not in self._loaded:
            self._loaded[split] = self._source.load(split)
        return self._loaded[split]

    def __call__(self, split: str) -> Blocks:
        """Return a function that gives the rows of a split anew at each call."""
        if split in self._loaded:
            return lambda: [self._loaded[split]]
        return lambda: self._source.blocks(split)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A fitted estimator, as arrays and as words."""

    scorer: Scorer
    description: Mapping[str, Any]
    """name, class, parameters as they were given, and what was chosen: JSON values."""
    settings: Mapping[str, Any]
    """Settings that train the same head again, without choosing."""
    rows: Rows
    selection: tuple[Mapping[str, Any], ...] = ()
    """What was tried, and what validation said of each."""
    history: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """What an estimator is trained on."""

    source: Source
    rows: Rows
    on: tuple[str, ...]
    """Splits whose rows are trained on, together."""
    seed: int
    on_epoch: OnEpoch | None

    @property
    def chooses(self) -> bool:
        """Whether there are validation rows that are not trained on."""
        return "validation" in self.source.splits and "validation" not in self.on

    def together(self, splits: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return X (n, d) and y (n,) of some splits, one after the other."""
        parts = [self.rows.load(split) for split in splits]
        if len(parts) == 1:
            return parts[0].X, _codes(parts[0])
        return np.concatenate([p.X for p in parts]), np.concatenate([_codes(p) for p in parts])

    def blocks(self, *splits: str, shuffle: bool = False) -> Pairs:
        """Return a function that streams (X, y) of some splits anew at each call.

        With `shuffle`, each call has an order of its own, which the seed decides.
        """
        seeds = itertools.count(self.seed)

        def stream() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            seed = next(seeds) if shuffle else None
            for split in splits:
                for block in self.source.blocks(split, shuffle_seed=seed):
                    yield block.X, _codes(block)

        return stream


def _codes(data: Data) -> np.ndarray:
    assert data.y is not None  # `heads.data` gives labeled rows only
    return data.y


def train(
    source: Source,
    estimator: str | Any,
    settings: Mapping[str, Any],
    class_weight: str | None = None,
    seed: int = 0,
    *,
    on: tuple[str, ...] = ("train",),
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Train an estimator.

    Args:
        source: Where rows come from; its validation rows choose, unless they are trained on.
        estimator: A name, see `heads.estimators.make`; or a classifier of scikit-learn, of which a
            copy is trained.
        settings: Its parameters.
        class_weight: "balanced" or None.
        seed: For everything that is drawn by chance.
        on: Splits whose rows are trained on, together.
        on_epoch: Is called with each row of the history.

    Raises:
        HeadError: If the estimator or a setting is unknown, or the estimator refuses the data.
    """
    if isinstance(estimator, str):
        name, made = estimator, make(estimator, settings, class_weight=class_weight, seed=seed)
    else:
        name, made = type(estimator).__name__, _copy(estimator, settings)
    parameters = made.get_params(deep=False)  # before `cv` becomes ours
    rows = Rows(source)
    _fit(name, made, Work(source, rows, on, seed, on_epoch))
    chosen = {
        parameter: ONE[parameter](np.ravel(getattr(made, fitted))[0])
        for fitted, parameter in CHOSEN.items()
        if hasattr(made, fitted) and parameter in parameters
    }
    scorer = scorer_of(made, len(source.classes))
    check_scorer(scorer, made, next(iter(rows(on[0])())).X)
    return Trained(
        scorer=scorer,
        description={
            "name": name,
            "class": f"{type(made).__module__}.{type(made).__qualname__}",
            "parameters": {key: json_value(value) for key, value in parameters.items()},
            "chosen": {SINGULAR.get(key, key): value for key, value in chosen.items()},
        },
        settings={**settings, **{k: [v] if k in SINGULAR else v for k, v in chosen.items()}},
        rows=rows,
        selection=tuple(getattr(made, "selection_", ())),
        history=tuple(getattr(made, "history_", ())),
    )


def _copy(estimator: Any, settings: Mapping[str, Any]) -> Any:
    from sklearn.base import clone

    return clone(estimator).set_params(**settings)


def _fit(name: str, estimator: Any, work: Work) -> None:
    try:
        way_of(estimator)(estimator, work)
    except HeadError:
        raise
    except (ValueError, TypeError) as error:  # how scikit-learn refuses a parameter or data
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise HeadError(
            f"{name} cannot be trained so: {reason}. See: python -m heads estimators {name}"
        ) from error


def way_of(estimator: Any) -> Callable[[Any, Work], None]:
    """Return how an estimator is trained, by what it offers."""
    if hasattr(estimator, "fit_blocks"):
        return _fit_blocks
    if "validation_data" in inspect.signature(estimator.fit).parameters:
        return _fit_epochs
    if {"Cs", "cv", "refit"} <= estimator.get_params(deep=False).keys():
        return _fit_path
    if hasattr(estimator, "partial_fit"):
        return _fit_stream
    return _fit_plain


def _fit_blocks(estimator: Any, work: Work) -> None:
    validation = work.blocks("validation") if work.chooses else None
    estimator.fit_blocks(work.blocks(*work.on), validation)


def _fit_epochs(estimator: Any, work: Work) -> None:
    quiet_import("keras")
    options = epoch_options(work.source, work.on, work.on_epoch)
    if work.chooses:
        options["validation_data"] = work.together(["validation"])
    estimator.fit(*work.together(work.on), **options)


def epoch_options(source: Source, on: tuple[str, ...], on_epoch: OnEpoch | None) -> dict[str, Any]:
    """Return what a head that trains in epochs takes beside rows: channels of maps, and views."""
    options: dict[str, Any] = {"on_epoch": on_epoch}
    if len(source.columns) == 1:
        shape = source.snapshot.row_shape(source.columns[0].name)
        options["channels"] = shape[-1] if len(shape) > 1 else 0
    if len(source.views) > 1:
        options["views"] = np.concatenate([source.load_views(split) for split in on], axis=1)
    return options


def _fit_path(estimator: Any, work: Work) -> None:
    """Let one fold of validation rows choose: the mean over the folds is then that fit itself."""
    if not work.chooses:
        estimator.fit(*work.together(work.on))
        return
    X, y = work.together([*work.on, "validation"])
    trains, judges = np.split(np.arange(len(y)), [len(y) - work.source.count("validation")])
    estimator.set_params(cv=[(trains, judges)], refit=False).fit(X, y)


def _fit_stream(estimator: Any, work: Work) -> None:
    classes = np.arange(len(work.source.classes))
    validation = work.blocks("validation") if work.chooses else None
    fit_stream(estimator, work.blocks(*work.on, shuffle=True), classes, validation)


def _fit_plain(estimator: Any, work: Work) -> None:
    estimator.fit(*work.together(work.on))
