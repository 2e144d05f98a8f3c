"""The estimators by name: what each is, what it takes, and how one is made from words.

A name is one of `ESTIMATORS`, or a classifier of scikit-learn such as "sklearn.svm.SVC". Classes
are imported when they are asked for: listing the names costs nothing.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from heads.errors import HeadError

SKLEARN = "sklearn."
ALIASES = {"C": "Cs", "alpha": "alphas"}
"""One penalty, as people say it → the list of penalties that heads choose from."""
QUIET: Mapping[str, Mapping[str, Any]] = {
    # Its largest decision value is then what it predicts.
    "break_ties": {"break_ties": True},
    # LogisticRegressionCV of 1.8 and later warns of what its defaults will be.
    "use_legacy_attributes": {
        "use_legacy_attributes": False,
        "l1_ratios": (0.0,),
        "scoring": "accuracy",
    },
}
"""Parameter of a class of scikit-learn → what is given to classes that take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """One line of the catalogue."""

    path: str
    """Module and class."""
    description: str
    trains: str
    """"path": several penalties, of which held-out rows choose one; "epochs": passes over the
    rows, stopped by validation; "stream": block by block; "plain": at once."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Ours, where the class has other defaults."""


ESTIMATORS: Mapping[str, Estimator] = {
    "logistic": Estimator(
        path="heads.logistic.LogisticHead",
        description="multinomial logistic regression, its penalty chosen on validation rows",
        trains="path",
    ),
    "ridge": Estimator(
        path="heads.ridge.RidgeHead",
        description="least squares in closed form, all penalties from one pass over the store",
        trains="path",
    ),
    "svm": Estimator(
        path="heads.svm.SVMHead",
        description="support vector machine, linear or with a kernel, its penalty chosen",
        trains="path",
    ),
    "lda": Estimator(
        path="sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
        description="linear discriminant analysis with a shrunken covariance (Ledoit-Wolf)",
        trains="plain",
        # Features are about as many as rows: without shrinkage the covariance is near singular.
        settings={"solver": "lsqr", "shrinkage": "auto"},
    ),
    "prototype": Estimator(
        path="heads.neighbors.PrototypeHead",
        description="the nearest class mean by cosine",
        trains="plain",
    ),
    "knn": Estimator(
        path="heads.neighbors.KNNHead",
        description="a vote of the nearest training rows by cosine",
        trains="plain",
    ),
    "linear": Estimator(
        path="heads.neural.LinearHead",
        description="logistic regression trained by Keras, with any of its optimizers",
        trains="epochs",
    ),
    "mlp": Estimator(
        path="heads.neural.MLPHead",
        description="multilayer perceptron trained by Keras",
        trains="epochs",
    ),
    "stream": Estimator(
        path="heads.streaming.StreamHead",
        description="logistic regression that streams the store, for what memory does not hold",
        trains="stream",
    ),
}


def class_of(name: str) -> type:
    """Return the class that a name stands for.

    Raises:
        HeadError: If nothing has that name; the message has names that are near.
    """
    if name in ESTIMATORS:
        module, _, attribute = ESTIMATORS[name].path.rpartition(".")
        return getattr(importlib.import_module(module), attribute)
    if name.startswith(SKLEARN):
        from heads.sklearn_heads import resolve

        return resolve(name)
    near = difflib.get_close_matches(name.lower(), ESTIMATORS, 1, 0.6)
    hint = f"Is it {near[0]}? " if near else ""
    raise HeadError(
        f"There is no estimator {name!r}. {hint}There are: {', '.join(ESTIMATORS)}, and "
        f"classifiers of scikit-learn such as sklearn.svm.SVC"
    )


def trains(name: str) -> str:
    """Return how an estimator is trained: "path", "epochs", "stream" or "plain"."""
    if name in ESTIMATORS:
        return ESTIMATORS[name].trains
    return "stream" if hasattr(class_of(name), "partial_fit") else "plain"


def defaults(name: str) -> dict[str, Any]:
    """Return what an estimator takes, and the values that it has unless told otherwise, as JSON.

    `random_state` and `class_weight` are among them: the command has options of its own for both.

    Raises:
        HeadError: If nothing has that name, or it cannot be made from a command.
    """
    made = make(name, {}, seed=0)
    return {key: json_value(value) for key, value in made.get_params(deep=False).items()}


def make(
    name: str,
    settings: Mapping[str, Any],
    class_weight: str | None = None,
    seed: int = 0,
) -> Any:
    """Return an estimator, not fitted yet.

    Args:
        name: One of `ESTIMATORS`, or a classifier of scikit-learn by its dotted name.
        settings: Parameters by name. `C` and `alpha` also name the only one of `Cs` and `alphas`;
            one number does for a parameter that takes several and whose default is several.
        class_weight: "balanced" gives every class the same weight.
        seed: Goes into `random_state`, where the estimator has one and `settings` has none.

    Raises:
        HeadError: If there is no such estimator or parameter, or it cannot weigh classes.
    """
    cls = class_of(name)
    known = _parameters(name, cls)
    given = dict(ESTIMATORS[name].settings) if name in ESTIMATORS else _quiet(known)
    if "random_state" in known:
        given["random_state"] = seed
    if class_weight is not None:
        if "class_weight" not in known:
            raise HeadError(
                f"{name} has no class_weight. Leave --class-weight out, or choose an estimator "
                f"that weighs classes, such as logistic"
            )
        given["class_weight"] = class_weight
    for key, value in settings.items():
        parameter = _parameter(name, key, known)
        several = key != parameter or isinstance(known[parameter], list | tuple)
        given[parameter] = listed(value) if several else value
    return cls(**given)


def _parameters(name: str, cls: type) -> dict[str, Any]:
    """Return the parameters of a class and their defaults."""
    from heads.sklearn_heads import required

    if missing := required(cls):
        raise HeadError(
            f"{name} is made of other estimators ({', '.join(missing)}), which cannot be told in "
            f"one line. Choose another classifier"
        )
    return cls().get_params(deep=False)


def _quiet(known: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for key, given in QUIET.items() if key in known for k, v in given.items()}


def _parameter(name: str, key: str, known: Mapping[str, Any]) -> str:
    """Return the parameter that a key names.

    Raises:
        HeadError: If there is none; the message has names that are near, and all of them.
    """
    if key in known:
        return key
    if ALIASES.get(key) in known:
        return ALIASES[key]
    words = [*known, *(alias for alias, meant in ALIASES.items() if meant in known)]
    plain = {word.lower(): word for word in words}
    near = [plain[match] for match in difflib.get_close_matches(key.lower(), plain, 1, 0.6)]
    hint = f"Is it {near[0]}? " if near else ""
    takes = f"It takes: {', '.join(known)}" if known else "It takes none"
    raise HeadError(f"{name} has no setting {key!r}. {hint}{takes}")


def listed(value: Any) -> Any:
    """Return [0.1] for 0.1; lists and text stay as they are."""
    return [value] if isinstance(value, Real) else value


def parse_settings(words: Iterable[str]) -> dict[str, Any]:
    """Return settings from words such as "C=0.1", "hidden=256,128" or "early_stopping=none".

    A value is an integer, a number, true, false or none where it reads as one, a list where it
    has commas, else text.

    Raises:
        HeadError: If a word has no "=", or a key comes twice.
    """
    settings: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip().replace("-", "_")
        if not (key and equals):
            raise HeadError(f"--set takes key=value, such as C=0.1. Received: {word!r}")
        if key in settings:
            raise HeadError(f"--set gives {key} twice. Received: {word!r}")
        settings[key] = _value(text.strip())
    return settings


def _value(text: str) -> Any:
    if "," in text:
        return [_value(part.strip()) for part in text.split(",") if part.strip()]
    words: dict[str, Any] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def json_value(value: Any) -> Any:
    """Return a parameter as a JSON value; what is none is told in words."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
