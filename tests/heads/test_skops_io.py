"""Estimators survive the trip without pickle, and an altered file runs nothing."""

import io
import json
import sys
import zipfile

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from heads.errors import DamagedModelError, HeadError
from heads.skops_io import dump, load

X, Y = make_classification(80, 20, n_informative=6, n_classes=3, random_state=0)
X = X.astype(np.float32)

KEPT = [
    BaggingClassifier(n_estimators=3, max_features=0.5, random_state=0),
    DecisionTreeClassifier(random_state=np.random.RandomState(0)),
    GaussianNB(),
    GaussianProcessClassifier(),
    GradientBoostingClassifier(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3),
    KNeighborsClassifier(),
    MLPClassifier((4,), activation="logistic", max_iter=500, tol=0.1),
    RandomForestClassifier(3),
    SGDClassifier(),
    SVC(),
    make_pipeline(StandardScaler(), SVC()),
]


@pytest.mark.parametrize("estimator", KEPT, ids=lambda e: type(e).__name__)
def test_a_fitted_estimator_comes_back(estimator):
    estimator.fit(X, Y)
    again = load(dump(estimator))

    assert type(again) is type(estimator)
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))


def test_what_a_model_does_not_keep_is_refused_when_it_is_saved():
    estimator = KNeighborsClassifier(algorithm="kd_tree").fit(X, Y)

    with pytest.raises(HeadError, match=r"holds .*KDTree.*such as algorithm=brute"):
        dump(estimator)


def altered(data, change):
    """Return a skops file whose schema went through `change`."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(sink, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "schema.json":
                content = json.dumps(change(json.loads(content))).encode()
            new.writestr(name, content)
    return sink.getvalue()


def node(loader, module, name, **facts):
    return {"__loader__": loader, "__module__": module, "__class__": name, **facts}


EMPTY = node(
    "DictNode",
    "builtins",
    "dict",
    content={},
    key_types=node("ListNode", "builtins", "list", content=[]),
)
TEXT = node("JsonNode", "builtins", "str", content='"touch ran"', is_json=True)
ARGUMENTS = node("TupleNode", "builtins", "tuple", content=[TEXT])
PAYLOADS = {
    "a function": node("FunctionNode", "os", "system"),
    "a type": node("TypeNode", "trap", "Trap"),
    "a call": node(
        "PartialNode",
        "functools",
        "partial",
        content={
            "func": node("FunctionNode", "os", "system"),
            "args": ARGUMENTS,
            "kwds": EMPTY,
            "namespace": EMPTY,
        },
    ),
    "a method": node("MethodNode", "builtins", "str", content={"func": "format", "obj": TEXT}),
    "an operator": node("OperatorFuncNode", "operator", "methodcaller", attrs=ARGUMENTS),
    "a foreign object": node("ObjectNode", "trap", "Trap", content=EMPTY),
    "a constructor": node("ConstructorFromReduceNode", "os", "system", content=ARGUMENTS),
    "a dict that is none": node(
        "DictNode", "trap", "Trap", content={}, key_types=EMPTY["key_types"]
    ),
    "a loss that is none": node(
        "LossNode", "os", "system", __reduce__={"args": ARGUMENTS}, content=EMPTY
    ),
    "an estimator as a list": node("ListNode", "sklearn.svm._classes", "SVC", content=[]),
    "a node without a type": {"__loader__": "ObjectNode", "content": EMPTY},
}


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that nobody may import."""
    (tmp_path / "trap.py").write_text("class Trap(dict): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert "trap" not in sys.modules
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_file_that_names_another_type_is_refused_and_runs_nothing(payload):
    def hide(schema):
        schema["content"]["content"]["var_smoothing"] = payload
        return schema

    data = altered(dump(GaussianNB().fit(X, Y)), hide)

    with pytest.raises(DamagedModelError, match=r"names .*, which no model holds. Nothing of it"):
        load(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a zip",
        dump(GaussianNB().fit(X, Y))[:-50],
        altered(dump(GaussianNB().fit(X, Y)), lambda s: []),
    ],
    ids=["empty", "text", "cut short", "no schema"],
)
def test_a_broken_file_is_one_error(data):
    with pytest.raises(DamagedModelError, match="file cannot be read"):
        load(data)


def tree_with(field, value):
    """A decision tree whose root was altered."""
    estimator = DecisionTreeClassifier(random_state=0).fit(X, Y)
    state = estimator.tree_.__getstate__()
    state["nodes"][field][0] = value
    estimator.tree_.__setstate__(state)
    return estimator


@pytest.mark.parametrize(
    ("field", "value"),
    [("left_child", 10**6), ("right_child", 0), ("feature", 20), ("feature", -3)],
    ids=["outside", "a circle", "no such feature", "a feature below 0"],
)
def test_a_tree_that_points_outside_itself_is_refused(field, value):
    """scikit-learn would read memory that is not the tree's, or walk for ever."""
    data = dump(tree_with(field, value))

    with pytest.raises(DamagedModelError, match="points outside itself"):
        load(data)


def test_a_tree_wider_than_its_forest_is_refused():
    """The forest lets rows of 20 features through, and the tree would read a 21st."""
    forest = RandomForestClassifier(2, random_state=0).fit(np.c_[X, Y], Y)
    forest.n_features_in_ = 20

    with pytest.raises(DamagedModelError, match="points outside itself"):
        load(dump(forest))


@pytest.mark.parametrize(("field", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 20)])
def test_so_is_one_of_histogram_boosting(field, value):
    estimator = HistGradientBoostingClassifier(max_iter=1).fit(X, Y)
    estimator._predictors[0][0].nodes[field][0] = value

    with pytest.raises(DamagedModelError, match="points outside itself"):
        load(dump(estimator))
