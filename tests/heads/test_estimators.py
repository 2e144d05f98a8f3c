"""The catalogue: names, settings as words, and estimators made from them."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import SGDClassifier

from heads.errors import HeadError
from heads.estimators import ESTIMATORS, class_of, defaults, make, parse_settings, trains
from heads.linear_form import check_scorer, scorer_of
from heads.neighbors import KNNHead
from heads.sklearn_heads import classifiers, required
from heads.svm import SVMHead


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_name_is_an_estimator_with_defaults(name):
    made = make(name, {}, seed=7)
    known = made.get_params()

    assert type(made) is class_of(name)
    assert json.loads(json.dumps(defaults(name))).keys() == known.keys()
    assert known.get("random_state", 7) == 7
    assert trains(name) in ("path", "epochs", "stream", "plain")


SMALL = {
    "sklearn.ensemble.HistGradientBoostingClassifier": {"max_iter": 3},
    "sklearn.ensemble.GradientBoostingClassifier": {"n_estimators": 3},
    "sklearn.ensemble.ExtraTreesClassifier": {"n_estimators": 5},
    "sklearn.ensemble.RandomForestClassifier": {"n_estimators": 5},
    "sklearn.linear_model.LogisticRegressionCV": {"Cs": 2, "cv": 2},
    "sklearn.neighbors.RadiusNeighborsClassifier": {"radius": 1e3, "algorithm": "brute"},
    "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis": {"reg_param": 0.1},
}
DROPPED = {
    "sklearn.linear_model.PassiveAggressiveClassifier",  # leaves scikit-learn with 1.10
    "sklearn.semi_supervised.SelfTrainingClassifier",  # wants another estimator when it is fitted
    "sklearn.naive_bayes.CategoricalNB",  # knows only the categories that it was shown
}


@pytest.mark.parametrize("name", sorted(set(classifiers()) - DROPPED))
def test_every_classifier_of_scikit_learn_is_a_head_or_says_why_not(name):
    """As it is by default: nothing warns of what will change, and the scorer agrees."""
    if required(class_of(name)):
        with pytest.raises(HeadError, match=f"{name} is made of other estimators"):
            make(name, {})
        return
    X, y = make_classification(90, 20, n_informative=8, n_classes=3, random_state=0)
    X = np.abs(X).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)  # some do not converge, and say so
        estimator = make(name, SMALL.get(name, {})).fit(X, y)

        check_scorer(scorer_of(estimator, 3), estimator, X)


def test_settings_reach_the_estimator():
    made = make("sklearn.linear_model.SGDClassifier", {"alpha": 0.1}, "balanced", seed=3)

    assert type(made) is SGDClassifier
    assert (made.alpha, made.class_weight, made.random_state) == (0.1, "balanced", 3)
    assert make("knn", {"n_neighbors": 3}).n_neighbors == 3
    assert make("sklearn.svm.SVC", {"random_state": 5}, seed=3).random_state == 5


@pytest.mark.parametrize(
    ("settings", "Cs"),
    [({"C": 1}, [1]), ({"C": 0.1}, [0.1]), ({"C": [1, 2]}, [1, 2]), ({"Cs": 10}, 10)],
    ids=["integer", "number", "several", "a count"],
)
def test_one_penalty_is_a_list_of_one(settings, Cs):
    assert make("svm", settings).Cs == Cs


def test_lda_is_shrunken_unless_told_otherwise():
    assert make("lda", {}).get_params().items() >= {"solver": "lsqr", "shrinkage": "auto"}.items()
    assert make("lda", {"solver": "svd", "shrinkage": None}).solver == "svd"
    assert class_of("lda") is LinearDiscriminantAnalysis
    assert class_of("knn") is KNNHead
    assert class_of("svm") is SVMHead


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "logstic",
            {},
            "no estimator 'logstic'. Is it logistic\\? There are: logistic, ridge, svm",
        ),
        (
            "os.system",
            {},
            "no estimator 'os.system'. There are: .* and classifiers of scikit-learn",
        ),
        ("sklearn.svm.SVR", {}, "no classifier sklearn.svm.SVR. Is it .*sklearn.svm.SVC"),
        (
            "knn",
            {"neighbors": 3},
            "knn has no setting 'neighbors'. Is it n_neighbors\\? It takes: n",
        ),
        (
            "svm",
            {"kernal": "rbf"},
            "no setting 'kernal'. Is it kernel\\? It takes: Cs, class_weight",
        ),
        ("logistic", {"c": 1}, "logistic has no setting 'c'. Is it C\\?"),
        ("prototype", {"scale": 3}, "prototype has no setting 'scale'. It takes none"),
    ],
)
def test_what_is_unknown_has_near_names(name, settings, message):
    with pytest.raises(HeadError, match=message):
        make(name, settings)


@pytest.mark.parametrize("name", ["lda", "knn", "prototype", "sklearn.naive_bayes.GaussianNB"])
def test_classes_are_weighed_only_where_that_means_something(name):
    with pytest.raises(HeadError, match=f"{name} has no class_weight. Leave --class-weight out"):
        make(name, {}, class_weight="balanced")


def test_streams_are_those_of_partial_fit():
    assert trains("sklearn.linear_model.SGDClassifier") == "stream"
    assert trains("sklearn.svm.SVC") == "plain"


def test_words_become_values():
    words = ["C=0.1", "hidden=256,128", "schedule=cosine", "early_stopping=none", "n-jobs=-1"]
    words += ["tol=1e-3", "shrinking=False", "one=256,", "activation = relu", "text=a=b"]

    assert parse_settings(words) == {
        "C": 0.1,
        "hidden": [256, 128],
        "schedule": "cosine",
        "early_stopping": None,
        "n_jobs": -1,
        "tol": 1e-3,
        "shrinking": False,
        "one": [256],
        "activation": "relu",
        "text": "a=b",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["C"], "--set takes key=value, such as C=0.1. Received: 'C'"),
        (["=3"], "--set takes key=value, such as C=0.1. Received: '=3'"),
        (["C=1", "C=2"], "--set gives C twice. Received: 'C=2'"),
    ],
)
def test_other_words_are_refused(words, message):
    with pytest.raises(HeadError, match=message):
        parse_settings(words)


def test_listing_the_names_imports_nothing_heavy():
    code = (
        "import sys, heads.estimators, heads.linear_form, heads.sklearn_heads; print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()

    assert not {"sklearn", "keras", "skops", "scipy"} & set(loaded)
