"""Estimators of scikit-learn as bytes and back, without pickle: skops behind our own list of types.

A file is data that somebody may have altered. Its list of types is read as JSON and compared with
ours before skops sees it: an unknown type, or a known one read by the wrong loader, is refused and
nothing of it is imported or run. Trees are checked once more when they are loaded: scikit-learn
follows their indices without looking whether they point outside.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from heads.errors import DamagedModelError, HeadError

SCHEMA = "schema.json"

_SCALARS = (
    "bool bool_ float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 str_"
)
_INTERNAL = {
    "sklearn._loss.link": "HalfLogitLink IdentityLink Interval LogitLink LogLink MultinomialLogit",
    "sklearn._loss.loss": "ExponentialLoss HalfBinomialLoss HalfMultinomialLoss HalfSquaredError",
    "sklearn.calibration": "_CalibratedClassifier _SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.binning": "_BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.gaussian_process._gpc": "_BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels": "ConstantKernel Product RBF Sum WhiteKernel",
    "sklearn.multiclass": "_ConstantPredictor",
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.pipeline": "Pipeline",
    "sklearn.tree._classes": "DecisionTreeRegressor ExtraTreeRegressor",
}
_LOSSES = {
    "sklearn._loss._loss": "CyExponentialLoss CyHalfBinomialLoss CyHalfMultinomialLoss",
    "sklearn.linear_model._sgd_fast": (
        "EpsilonInsensitive Hinge ModifiedHuber SquaredEpsilonInsensitive SquaredHinge"
    ),
}


def _names(modules: dict[str, str]) -> set[str]:
    return {f"{module}.{name}" for module, names in modules.items() for name in names.split()}


@cache
def allowed_types() -> dict[str, frozenset[str]]:
    """Return which types each loader of skops may be given."""
    from sklearn.utils import all_estimators

    scalars = _names({"numpy": _SCALARS})
    found = all_estimators(type_filter=["classifier", "transformer"])
    estimators = {f"{estimator.__module__}.{estimator.__name__}" for _, estimator in found}
    allowed = {
        "DictNode": {"builtins.dict", "sklearn.utils._bunch.Bunch"},
        "JsonNode": {"builtins.str"},
        "ListNode": {"builtins.list"},
        "LossNode": _names(_LOSSES),
        "NdArrayNode": {"numpy.ndarray", *scalars},
        "ObjectNode": estimators | _names(_INTERNAL),
        "RandomGeneratorNode": {"numpy.random._generator.Generator"},
        "RandomStateNode": {"numpy.random.mtrand.RandomState"},
        "TreeNode": {"sklearn.tree._tree.Tree"},
        "TupleNode": {"builtins.tuple"},
        "TypeNode": {"builtins.bool", "builtins.float", "builtins.int", "builtins.str", *scalars},
    }
    return {loader: frozenset(names) for loader, names in allowed.items()}


def dump(estimator: Any) -> bytes:
    """Return a fitted estimator as a skops file.

    Raises:
        HeadError: If it holds a type that `load` would refuse; the message names it.
    """
    from skops.io import dumps
    from skops.io.exceptions import UnsupportedTypeException

    name = type(estimator).__name__
    try:
        data = dumps(estimator)
    except (UnsupportedTypeException, TypeError) as error:
        raise HeadError(f"{name} cannot be saved without pickle: {error}") from error
    if foreign := sorted(_foreign(_schema(data))):
        raise HeadError(
            f"{name} holds {', '.join(foreign)}, which a model does not keep. Choose another "
            f"estimator, or settings without it, such as algorithm=brute for neighbors"
        )
    return data


def load(data: bytes) -> Any:
    """Return the estimator that a skops file holds.

    Raises:
        DamagedModelError: If it is no such file, names a type that is not on our list (nothing of
            it is then imported or run), or holds a tree that points outside itself.
    """
    try:
        schema = _schema(data)
        if foreign := sorted(_foreign(schema)):
            raise DamagedModelError(
                f"The estimator's file names {', '.join(foreign)}, which no model holds. Nothing "
                f"of it was run. Get the model from whoever made it, or train it anew"
            )
        from skops.io import loads

        estimator = loads(data, trusted=sorted({name for _, name in _types(schema)}))
        _check_trees(estimator)
    except DamagedModelError:
        raise
    # What an altered file breaks is not foreseen: zip, JSON, arrays, or scikit-learn's own checks.
    except Exception as error:
        raise DamagedModelError(
            f"The estimator's file cannot be read: {type(error).__name__} {error}. Train it anew"
        ) from error
    return estimator


def _schema(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return json.loads(file.read(SCHEMA))


def _foreign(schema: Any) -> set[str]:
    """Return the names of types that are not on our list for the loader that would read them."""
    allowed = allowed_types()
    return {
        f"{name} (by {loader})" if any(name in names for names in allowed.values()) else name
        for loader, name in _types(schema)
        if name not in allowed.get(loader, ())
    }


def _types(node: Any) -> Iterator[tuple[str, str]]:
    """Yield (loader, type) of each node, however deep; skops calls nothing else a type."""
    if isinstance(node, dict):
        if "__loader__" in node or "__class__" in node:
            name = f"{node.get('__module__')}.{node.get('__class__')}"
            yield str(node.get("__loader__")), name
        for child in node.values():
            yield from _types(child)
    elif isinstance(node, list):
        for child in node:
            yield from _types(child)


def _check_trees(estimator: Any) -> None:
    for part, width in _parts(estimator, sys.maxsize, set()):
        name = f"{type(part).__module__}.{type(part).__qualname__}"
        if (walk := _WALKS.get(name)) is not None and not _is_sound(*walk(part), width):
            raise DamagedModelError("A tree of the estimator points outside itself. Train it anew")


def _tree(tree: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tree.children_left, tree.children_right, tree.feature


def _predictor(tree: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    nodes = tree.nodes
    if nodes["is_categorical"].any():  # its bit sets are not checked, and features are numbers
        raise DamagedModelError("A tree of the estimator splits by category. Train it anew")
    left = np.where(nodes["is_leaf"] != 0, -1, nodes["left"].astype(np.int64))
    return left, nodes["right"].astype(np.int64), nodes["feature_idx"]


_WALKS: dict[str, Callable[[Any], tuple[np.ndarray, np.ndarray, np.ndarray]]] = {
    "sklearn.tree._tree.Tree": _tree,
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": _predictor,
}
"""How to read (left, right, feature) of the nodes of each kind of tree; `left` of a leaf is -1."""


def _is_sound(left: np.ndarray, right: np.ndarray, feature: np.ndarray, width: int) -> bool:
    """Say whether every walk from the root ends in a leaf (whose `left` is -1) of the tree.

    Args:
        left: (nodes,) integers; scikit-learn gives children a greater number than their parent.
        right: (nodes,) integers.
        feature: (nodes,) integers.
        width: Features of a row.
    """
    number = np.arange(len(left))
    inner = left != -1
    children = np.stack([left, right])[:, inner]
    forward = (children > number[inner]) & (children < len(left))
    known = (feature[inner] >= 0) & (feature[inner] < width)
    return bool(len(left) and forward.all() and known.all())


def _parts(value: Any, width: int, seen: set[int]) -> Iterator[tuple[Any, int]]:
    """Yield an object and everything that it holds, each once.

    Beside each stands the least `n_features_in_` of what holds it: wider rows do not reach it.
    """
    if id(value) in seen:
        return
    seen.add(id(value))
    width = min(width, getattr(value, "n_features_in_", width))
    yield value, width
    if isinstance(value, dict):
        children = list(value.values())
    elif isinstance(value, list | tuple):
        children = list(value)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        children = list(value.flat)
    else:
        children = list(getattr(value, "__dict__", {}).values())
    for child in children:
        yield from _parts(child, width, seen)
