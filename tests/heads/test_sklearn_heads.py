"""Classifiers of scikit-learn by name, on a stream, and as scorers."""

import sys

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
)
from sklearn.linear_model import Perceptron, SGDClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, NuSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import compute_class_weight

from heads.errors import DamagedModelError, HeadError
from heads.scoring import softmax
from heads.sklearn_heads import SklearnScorer, classifiers, fit_stream, resolve
from heads.skops_io import dump

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def problem(classes, n=300, seed=0):
    X, y = make_classification(
        n, 20, n_informative=8, n_classes=classes, flip_y=0.05, class_sep=2, random_state=seed
    )
    return X.astype(np.float32), y


def stream(X, y, rows=64):
    """A function that gives blocks anew, and a list of how many rows each had."""
    seen = []

    def blocks():
        for start in range(0, len(X), rows):
            seen.append(len(X[start : start + rows]))
            yield X[start : start + rows], y[start : start + rows]

    return blocks, seen


def test_a_class_is_found_by_the_name_that_one_imports():
    assert resolve("sklearn.svm.SVC") is SVC
    assert resolve("sklearn.ensemble.HistGradientBoostingClassifier") is (
        HistGradientBoostingClassifier
    )
    assert all(name.startswith("sklearn.") and "._" not in name for name in classifiers())


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("sklearn.svm.SVM", "Is it .*sklearn.svm.SVC"),
        ("sklearn.RandomForest", "Is it .*sklearn.ensemble.RandomForestClassifier"),
        ("sklearn.svm.LinearSVR", "Is it .*sklearn.svm.LinearSVC"),
        ("sklearn.datasets.load_iris", "Is it a class such as sklearn.svm.SVC"),
        ("os.system", "Is it "),
        ("this.Zen", "Is it "),
    ],
)
def test_another_name_is_refused_and_imports_nothing(name, near):
    with pytest.raises(HeadError, match=f"no classifier {name}. {near}"):
        resolve(name)
    assert "this" not in sys.modules


def test_naive_bayes_on_a_stream_is_naive_bayes_on_all_rows():
    X, y = problem(3)
    blocks, seen = stream(X, y)
    streamed, whole = fit_stream(GaussianNB(), blocks, np.arange(3)), GaussianNB().fit(X, y)

    assert len(seen) == 5  # one pass
    np.testing.assert_allclose(streamed.theta_, whole.theta_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(streamed.var_, whole.var_, rtol=1e-4)


STREAMED = [
    SGDClassifier(random_state=0, early_stopping=True),
    Perceptron(random_state=0, class_weight="balanced"),
    MLPClassifier((16,), random_state=0, learning_rate_init=0.01),
]


@pytest.mark.parametrize("held_out", [True, False], ids=["validation", "alone"])
@pytest.mark.parametrize("estimator", STREAMED, ids=lambda e: type(e).__name__)
def test_a_stream_teaches_what_all_rows_do(estimator, held_out):
    X, y = problem(3, n=600)
    blocks, seen = stream(X[:400], y[:400])
    validation, _ = stream(X[400:500], y[400:500])
    classes = np.arange(3)
    found = fit_stream(estimator, blocks, classes, validation if held_out else None)

    assert found is estimator
    assert max(seen) == 64
    assert 6 * 7 <= len(seen) < 100 * 7  # it stopped by itself
    assert found.score(X[500:], y[500:]) > 0.75


class Recorded:
    """An estimator of one number, whose accuracy in each pass is told beforehand."""

    def __init__(self, scores, **parameters):
        self.scores, self.parameters, self.passes = scores, parameters, 0

    def get_params(self, deep=True):
        return self.parameters

    def partial_fit(self, X, y, classes):
        self.passes += 1

    def predict(self, X):
        right = self.scores[self.passes - 1]
        return np.where(np.arange(len(X)) < right * len(X), 1, 0)


@pytest.mark.parametrize(
    ("scores", "parameters", "kept"),
    [
        ([0.5, 0.9, 0.7, 0.8, 0.6, 0.1], {"max_iter": 6}, 2),
        ([0.5, 0.9, 0.7, 0.8, 1.0, 0.1], {"max_iter": 99, "n_iter_no_change": 2}, 2),
        ([0.5, 0.6, 0.7, 0.8, 1.0, 0.1], {"max_iter": 5}, 5),
        ([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], {"max_iter": 99, "tol": 0.3, "n_iter_no_change": 3}, 4),
    ],
    ids=["best of all", "patience", "passes", "tolerance"],
)
def test_the_best_pass_on_validation_rows_is_kept(scores, parameters, kept):
    ones, _ = stream(np.zeros((20, 1)), np.ones(20, int), rows=20)
    found = fit_stream(Recorded(scores, **parameters), ones, np.arange(2), ones)

    assert found.passes == kept


def test_balanced_weights_are_counted_over_the_stream():
    X, y = problem(3)
    keep = (y > 0) | (np.arange(len(y)) % 5 == 0)
    blocks, _ = stream(X[keep], y[keep])
    estimator = fit_stream(SGDClassifier(class_weight="balanced"), blocks, np.arange(3))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y[keep])

    np.testing.assert_allclose([estimator.class_weight[code] for code in range(3)], expected)


SCORED = [
    AdaBoostClassifier(n_estimators=5, random_state=0),
    BernoulliNB(),
    DecisionTreeClassifier(max_depth=4, random_state=0),
    ExtraTreesClassifier(5, random_state=0),
    GaussianNB(),
    GradientBoostingClassifier(n_estimators=5),
    KNeighborsClassifier(),
    MLPClassifier((8,), activation="logistic", random_state=0, max_iter=50),
    NuSVC(break_ties=True),
    SVC(break_ties=True),
]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("estimator", SCORED, ids=lambda e: type(e).__name__)
def test_the_largest_logit_is_what_the_estimator_predicts(estimator, classes):
    X, y = problem(classes)
    scorer = SklearnScorer.of(estimator.fit(X, y))
    again = SklearnScorer.from_skops(scorer.content)
    logits = scorer.logits(X)
    best = np.sort(logits, axis=1)
    sure = best[:, -1] - best[:, -2] > 1e-4 * np.abs(logits).max()

    assert logits.shape == (len(X), classes)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert sure.mean() > 0.8
    np.testing.assert_array_equal(logits.argmax(axis=1)[sure], estimator.predict(X)[sure])
    np.testing.assert_array_equal(again.logits(X), logits)
    assert again.facts() == scorer.facts()


def test_probabilities_of_nothing_are_small_and_finite():
    X, y = problem(2)
    logits = SklearnScorer.of(DecisionTreeClassifier().fit(X, y)).logits(X)

    np.testing.assert_allclose(softmax(logits)[np.arange(len(y)), y], 1, atol=1e-6)


def test_no_rows_give_no_logits():
    scorer = SklearnScorer.of(GaussianNB().fit(*problem(4)))

    assert scorer.logits(np.empty((0, 20), np.float32)).shape == (0, 4)


def test_an_estimator_without_values_or_probabilities_is_refused():
    estimator = NearestCentroid(metric="manhattan").fit(*problem(3))

    with pytest.raises(HeadError, match="sklearn.neighbors.NearestCentroid gives neither"):
        SklearnScorer.of(estimator)


def test_a_file_that_holds_no_classifier_is_refused():
    content = dump(StandardScaler().fit(problem(2)[0]))

    with pytest.raises(DamagedModelError, match="holds no classifier: StandardScaler"):
        SklearnScorer.from_skops(content)
