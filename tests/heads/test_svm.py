"""The SVM head: scikit-learn's contract, its choice of C, and its temperature."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV, PredefinedSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from heads.calibration import fit_temperature
from heads.scoring import Dense, softmax, two_columns
from heads.sklearn_heads import SklearnScorer
from heads.svm import KERNEL_CS, LINEAR_CS, SVMHead

CS = [1e-3, 1e-2, 1e-1]


@parametrize_with_checks([SVMHead(), SVMHead("rbf", [10.0], cv=2)])
def test_scikit_learns_contract_holds(estimator, check):
    check(estimator)


def problem(classes, n=240, seed=0):
    X, y = make_classification(
        n, 12, n_informative=6, n_classes=classes, flip_y=0.1, random_state=seed
    )
    return (3 * X + 2).astype(np.float32), y


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("classes", [2, 5])
def test_C_is_chosen_as_a_grid_search_over_pipelines_does(kernel, classes):
    X, y = problem(classes)
    machine = LinearSVC(random_state=0) if kernel == "linear" else SVC(break_ties=True)
    name = f"{type(machine).__name__.lower()}__C"
    search = GridSearchCV(
        make_pipeline(StandardScaler(), machine), {name: CS}, cv=StratifiedKFold(5)
    ).fit(X, y)
    head = SVMHead(kernel, CS, random_state=0).fit(X, y)

    assert search.best_params_ == {name: head.C_}
    np.testing.assert_allclose(head.scores_.mean(axis=0), search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(head.predict(X), search.predict(X))
    np.testing.assert_allclose(head.decision_function(X), search.decision_function(X), rtol=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_one_fold_without_refit_keeps_what_its_train_rows_gave(kernel):
    """So a command can pass validation rows as the fold, and train on none of them."""
    X, y = problem(3)
    fold = np.where(np.arange(len(y)) < 180, -1, 0)
    head = SVMHead(kernel, CS, cv=PredefinedSplit(fold), refit=False).fit(X, y)
    alone = SVMHead(kernel, [head.C_], cv=3).fit(X[:180], y[:180])
    values = head.decision_function(X[180:])

    np.testing.assert_allclose(values, alone.decision_function(X[180:]), rtol=1e-6)
    assert head.scores_[0].max() == head.score(X[180:], y[180:])
    assert head.temperature_ == pytest.approx(fit_temperature(two_columns(values), y[180:]))


@pytest.mark.parametrize("classes", [2, 5])
def test_the_linear_machine_is_affine_in_features_as_they_come(classes):
    X, y = problem(classes)
    head = SVMHead(Cs=CS).fit(X, y)
    values = head.decision_function(X)

    assert head.coef_.shape == ((1 if classes == 2 else classes), X.shape[1])
    np.testing.assert_allclose(
        (X @ head.coef_.T + head.intercept_).reshape(values.shape), values, rtol=1e-5, atol=1e-6
    )
    assert isinstance(head.scorer(), Dense)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_scorer_gives_decision_values(kernel, classes):
    X, y = problem(classes)
    head = SVMHead(kernel, CS).fit(X, y)
    logits = head.scorer().logits(X)

    np.testing.assert_allclose(
        softmax(logits, head.temperature_), head.predict_proba(X), rtol=1e-4, atol=1e-6
    )
    assert kernel == "linear" or isinstance(head.scorer(), SklearnScorer)


def test_penalties_are_a_list_or_a_count_or_those_of_the_kernel():
    X, y = problem(2, n=60)

    assert tuple(SVMHead().fit(X, y).Cs_) == LINEAR_CS
    assert tuple(SVMHead("rbf").fit(X, y).Cs_) == KERNEL_CS
    np.testing.assert_allclose(SVMHead("rbf", 3).fit(X, y).Cs_, [1e-4, 1, 1e4])


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (SVMHead("cubic"), "kernel is one of linear, rbf, poly, sigmoid. Received: 'cubic'"),
        (SVMHead(Cs=[1, -1]), r"Cs is a list of numbers > 0. Received: \[1, -1\]"),
        (SVMHead(refit=False), "refit=False needs a cv with one fold. Received: 5 folds"),
    ],
    ids=["kernel", "Cs", "folds"],
)
def test_what_cannot_be_trained_says_why(head, message):
    with pytest.raises(ValueError, match=message):
        head.fit(*problem(2, n=60))
