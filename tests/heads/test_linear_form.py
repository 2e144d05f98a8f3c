"""Estimators as affine maps: the same decisions, whatever the estimator and the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    LogisticRegression,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.naive_bayes import ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC, NuSVC

from heads.errors import HeadError, ParityError
from heads.estimators import make
from heads.linear_form import affine_stack, check_scorer, linear_form, scorer_of
from heads.neighbors import KNNHead, PrototypeHead
from heads.scoring import Dense, Neighbors, Prototype, softmax
from heads.sklearn_heads import SklearnScorer
from heads.svm import SVMHead

# Whether scikit-learn's optimizers converge does not matter here: what they stopped at is compared.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def data(seed, classes, n=120, d=9):
    """Positive features with offsets and scales of their own, as those behind a ReLU are."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = rng.normal(size=(classes, d))[y] + rng.normal(size=(n, d))
    X = X * rng.uniform(0.2, 5, size=d) + rng.normal(size=d)
    return np.abs(X).astype(np.float32), y


AFFINE = {
    "logistic": lambda: LogisticRegression(max_iter=20),
    "logistic cv": lambda: make(
        "sklearn.linear_model.LogisticRegressionCV", {"Cs": 2, "cv": 2, "max_iter": 20}
    ),
    "without intercept": lambda: LogisticRegression(fit_intercept=False, max_iter=20),
    "ridge": RidgeClassifier,
    "ridge cv": RidgeClassifierCV,
    "sgd": lambda: SGDClassifier(random_state=0),
    "perceptron": lambda: Perceptron(random_state=0),
    "linear svc": lambda: LinearSVC(C=0.01),
    "crammer and singer": lambda: LinearSVC(multi_class="crammer_singer", C=0.01),
    "lda": LinearDiscriminantAnalysis,
    "lda, shrunken": lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    "svm head": lambda: SVMHead(Cs=[1e-2], cv=2),
    "standard": lambda: make_pipeline(StandardScaler(), RidgeClassifier()),
    "only centered": lambda: make_pipeline(StandardScaler(with_std=False), RidgeClassifier()),
    "only scaled": lambda: make_pipeline(StandardScaler(with_mean=False), RidgeClassifier()),
    "min max": lambda: make_pipeline(MinMaxScaler((-1, 2)), LinearSVC()),
    "max abs": lambda: make_pipeline(MaxAbsScaler(), RidgeClassifier()),
    "robust": lambda: make_pipeline(RobustScaler(), RidgeClassifier()),
    "robust, not scaled": lambda: make_pipeline(
        RobustScaler(with_scaling=False), RidgeClassifier()
    ),
    "pca": lambda: make_pipeline(PCA(4), RidgeClassifier()),
    "three steps": lambda: Pipeline(
        [
            ("scale", StandardScaler()),
            ("nothing", "passthrough"),
            ("pca", PCA(5, whiten=True)),
            ("head", LinearDiscriminantAnalysis()),
        ]
    ),
    "a pipeline in a pipeline": lambda: make_pipeline(
        MaxAbsScaler(), make_pipeline(StandardScaler(), RidgeClassifier())
    ),
}
UNEQUAL = st.sampled_from([2, 5])


@pytest.mark.parametrize("name", AFFINE)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), classes=UNEQUAL)
def test_a_linear_head_is_its_coefficients(name, seed, classes):
    """`decision_function` to 1e-4 of its largest value, and `predict` wherever that is clear."""
    X, y = data(seed, classes)
    X, y = X[: len(y) - 13], y[: len(y) - 13]  # classes of unequal size
    estimator = AFFINE[name]().fit(X, y)
    values = estimator.decision_function(X)
    largest = np.abs(values).max()
    coef, intercept = linear_form(estimator)
    scorer = scorer_of(estimator, classes)
    logits = scorer.logits(X)

    assert coef.dtype == intercept.dtype == np.float64
    assert coef.shape == ((1 if classes == 2 else classes), X.shape[1])
    np.testing.assert_allclose(
        (X.astype("f8") @ coef.T + intercept).reshape(values.shape), values, atol=1e-4 * largest
    )
    assert isinstance(scorer, Dense)
    found = logits[:, 1] if classes == 2 else logits
    np.testing.assert_allclose(found, values, atol=1e-4 * largest)
    check_scorer(scorer, estimator, X)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(
    "estimator",
    [MultinomialNB(), ComplementNB(), NearestCentroid(), NearestCentroid(priors="empirical")],
    ids=repr,
)
def test_so_are_those_that_predict_otherwise(estimator, classes):
    """They have no decision function, or one with a term that all classes share."""
    X, y = (part[:-13] for part in data(0, classes))
    estimator.fit(X, y)
    scorer = scorer_of(estimator, classes)

    assert isinstance(scorer, Dense)
    check_scorer(scorer, estimator, X)


@pytest.mark.parametrize("make", [SVC, NuSVC])
def test_pairs_of_classes_are_affine_only_if_there_is_one(make):
    two = make(kernel="linear", break_ties=True).fit(*data(0, 2))
    three = make(kernel="linear", break_ties=True).fit(*data(0, 3))

    np.testing.assert_allclose(
        scorer_of(two, 2).logits(data(1, 2)[0])[:, 1],
        two.decision_function(data(1, 2)[0]),
        rtol=1e-4,
        atol=1e-4,
    )
    assert linear_form(three) is None
    assert isinstance(scorer_of(three, 3), SklearnScorer)


@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("scaler", [True, False], ids=["scaled", "bare"])
def test_a_perceptron_is_a_stack(activation, classes, scaler):
    X, y = data(0, classes)
    network = MLPClassifier((6, 5), activation=activation, random_state=0, max_iter=20)
    estimator = (make_pipeline(StandardScaler(), network) if scaler else network).fit(X, y)
    scorer = scorer_of(estimator, classes)

    assert isinstance(scorer, Dense)
    assert len(scorer.kernels) == 3
    assert linear_form(estimator) is None
    check_scorer(scorer, estimator, X)
    np.testing.assert_allclose(
        softmax(scorer.logits(X)), estimator.predict_proba(X), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize(
    "estimator",
    [
        GaussianNB(),
        SVC(),
        MLPClassifier((4,), activation="logistic", max_iter=20),
        make_pipeline(Normalizer(), RidgeClassifier()),
        make_pipeline(MinMaxScaler(clip=True), RidgeClassifier()),
        make_pipeline(StandardScaler(), GaussianNB()),
        type("Mine", (RidgeClassifier,), {}),
    ],
    ids=["quadratic", "kernel", "logistic units", "norm", "clip", "scaled", "subclass"],
)
def test_what_is_not_affine_has_no_form(estimator):
    estimator = estimator() if isinstance(estimator, type) else estimator

    assert affine_stack(estimator.fit(*data(0, 3))) is None


@pytest.mark.parametrize(
    ("head", "scorer"),
    [
        (PrototypeHead(), Prototype),
        (KNNHead(3), Neighbors),
        (SVMHead(Cs=[0.01], cv=2), Dense),
        (SVMHead("rbf", [1.0], cv=2), SklearnScorer),
        (GaussianNB(), SklearnScorer),
    ],
    ids=["prototype", "knn", "svm", "svm with a kernel", "naive Bayes"],
)
def test_every_head_has_a_scorer(head, scorer):
    X, y = data(0, 3)
    found = scorer_of(head.fit(X, y), 3)

    assert isinstance(found, scorer)
    check_scorer(found, head, X)


class Ours:
    """Fitted state as our Keras heads keep it."""

    __module__ = "heads.neural"
    classes_ = np.arange(3)


def test_networks_of_ours_become_stacks_by_their_arrays():
    rng = np.random.default_rng(0)
    head = Ours()
    head.coefs_ = [rng.normal(size=(9, 4)), rng.normal(size=(4, 3))]
    head.intercepts_ = [rng.normal(size=4), rng.normal(size=3)]
    head.activation = "silu"
    scorer = scorer_of(head, 3)

    assert scorer.activation == "silu"
    np.testing.assert_allclose(scorer.kernels[0], head.coefs_[0], rtol=1e-6)
    np.testing.assert_allclose(scorer.biases[1], head.intercepts_[1], rtol=1e-6)


def test_other_classes_than_those_of_the_store_are_refused():
    X, y = data(0, 3)

    with pytest.raises(HeadError, match=r"learns 4 classes.*Received: .*array\(\[0, 1, 2\]\)"):
        scorer_of(RidgeClassifier().fit(X, y), 4)


def test_a_scorer_that_names_other_classes_is_noticed():
    X, y = data(0, 3)
    estimator = RidgeClassifier().fit(X, y)
    coef, intercept = linear_form(estimator)

    with pytest.raises(ParityError, match=r"RidgeClassifier as arrays names another class .* rows"):
        check_scorer(Dense.linear(coef[::-1], intercept[::-1]), estimator, X)
