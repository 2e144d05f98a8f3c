"""Ridge in closed form equals scikit-learn's, penalty by penalty, streamed or not."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
from sklearn.model_selection import PredefinedSplit, StratifiedKFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from heads.errors import HeadError
from heads.ridge import RidgeHead, targets

ALPHAS = np.logspace(-2, 4, 7)


def rows(seed, n=200, d=12, classes=3, dtype=np.float32):
    """Rows far from the origin, whose classes overlap and whose features differ in size."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, n)
    codes[:classes] = range(classes)
    spread = np.geomspace(0.1, 10, d)
    X = rng.normal(size=(classes, d))[codes] * 0.7 + rng.normal(size=(n, d))
    return (X * spread + 30 * spread).astype(dtype), codes


@parametrize_with_checks([RidgeHead()])
def test_scikit_learns_contract(estimator, check):
    check(estimator)


@settings(deadline=None)  # the first call of a process loads a library
@given(
    seed=st.integers(0, 99),
    classes=st.integers(2, 5),
    n=st.integers(12, 60),
    d=st.integers(1, 30),
    alpha=st.sampled_from(ALPHAS.tolist()),
    balanced=st.sampled_from([None, "balanced"]),
)
def test_a_fit_is_scikit_learns(seed, classes, n, d, alpha, balanced):
    """More rows than features or fewer, in float64: equal to rounding."""
    X, y = rows(seed, n, d, classes, np.float64)
    ours = RidgeHead(alphas=[alpha], class_weight=balanced).fit(X, y)
    theirs = RidgeClassifier(alpha, solver="cholesky", class_weight=balanced).fit(X, y)

    scale = np.abs(theirs.coef_).max()
    coef = theirs.coef_.reshape(ours.coef_.shape)  # theirs is flat for one feature
    np.testing.assert_allclose(ours.coef_, coef, rtol=1e-6, atol=1e-7 * scale)
    np.testing.assert_allclose(
        ours.decision_function(X), theirs.decision_function(X), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("classes", [2, 4])
def test_float32_rows_lose_little(classes):
    """Products in float32 and sums in float64: within 1e-4 of float64, relative to the norm."""
    X, y = rows(0, 3000, 64, classes)
    for alpha in (0.1, 10.0, 1e4):
        ours = RidgeHead(alphas=[alpha]).fit(X, y).coef_
        theirs = RidgeClassifier(alpha, solver="cholesky").fit(X.astype("f8"), y).coef_

        assert np.linalg.norm(ours - theirs) <= 1e-4 * np.linalg.norm(theirs)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("n", [10, 90])
def test_leave_one_out_leaves_each_row_out(classes, n):
    """The reference fits n times, each time without one row."""
    X, y = rows(1, n, 8, classes, np.float64)
    ours = RidgeHead(ALPHAS).fit(X, y)
    right = np.zeros((len(ALPHAS), n))
    error = np.zeros((len(ALPHAS), n))
    for i in range(n):
        rest = np.arange(n) != i
        for k, alpha in enumerate(ALPHAS):
            Y = targets(y, classes)
            mean, level = X[rest].mean(axis=0), Y[rest].mean(axis=0)
            Z = X[rest] - mean
            coef = np.linalg.solve(Z.T @ Z + alpha * np.eye(8), Z.T @ (Y[rest] - level))
            fit = (X[i] - mean) @ coef + level
            right[k, i] = (fit[0] > 0 if classes == 2 else fit.argmax()) == y[i]
            error[k, i] = ((fit - Y[i]) ** 2).mean()

    np.testing.assert_allclose(ours.scores_[0], right.mean(axis=1), rtol=1e-12)
    found = [row["squared_error"] for row in ours.selection_]
    np.testing.assert_allclose(found, error.mean(axis=1), rtol=1e-8)


def test_the_default_choice_is_near_scikit_learns():
    """Both leave one out; theirs minimizes squared error, ours counts mistakes first."""
    X, y = rows(2, 400, 20, 3, np.float64)
    ours = RidgeHead(ALPHAS).fit(X, y)
    theirs = RidgeClassifierCV(ALPHAS, scoring="accuracy").fit(X, y)

    assert ours.scores_.max() >= theirs.best_score_ - 1e-12


def test_one_fold_without_refit_is_the_fit_on_its_rows():
    """This is how a command chooses on validation rows."""
    X, y = rows(3)
    fold = np.where(np.arange(len(y)) < 150, -1, 0)
    ours = RidgeHead(ALPHAS, cv=PredefinedSplit(fold), refit=False).fit(X, y)
    again = RidgeHead([ours.alpha_]).fit(X[:150], y[:150])
    whole = RidgeHead(ALPHAS, cv=PredefinedSplit(fold)).fit(X, y)

    np.testing.assert_allclose(ours.coef_, again.coef_, rtol=1e-6)
    assert ours.alpha_ == whole.alpha_
    accuracy = [
        np.mean(RidgeHead([a]).fit(X[:150], y[:150]).predict(X[150:]) == y[150:]) for a in ALPHAS
    ]
    np.testing.assert_allclose(ours.scores_[0], accuracy)
    np.testing.assert_allclose(whole.coef_, RidgeHead([whole.alpha_]).fit(X, y).coef_, rtol=1e-6)


def stream(X, y, size):
    return lambda: ((X[i : i + size], y[i : i + size]) for i in range(0, len(X), size))


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("balanced", [None, "balanced"])
def test_a_stream_gives_what_arrays_give(size, balanced):
    X, y = rows(4, dtype=np.float64)
    fold = np.where(np.arange(len(y)) < 150, -1, 0)
    arrays = RidgeHead(ALPHAS, class_weight=balanced).fit(X[:150], y[:150])
    streamed = RidgeHead(ALPHAS, class_weight=balanced)
    streamed.fit_blocks(stream(X[:150], y[:150], size))
    np.testing.assert_allclose(streamed.coef_, arrays.coef_, rtol=1e-7)
    np.testing.assert_allclose(streamed.scores_, arrays.scores_)

    streamed.fit_blocks(stream(X[:150], y[:150], size), stream(X[150:], y[150:], size))
    chosen = RidgeHead(ALPHAS, cv=PredefinedSplit(fold), refit=False, class_weight=balanced)
    chosen.fit(X, y)
    np.testing.assert_allclose(streamed.coef_, chosen.coef_, rtol=1e-7)
    np.testing.assert_allclose(streamed.scores_, chosen.scores_)
    assert streamed.alpha_ == chosen.alpha_


def test_memory_is_bounded_by_features_and_one_block():
    """Ten times the rows take no more memory."""

    def endless(blocks):
        def give():
            rng = np.random.default_rng(0)
            for _ in range(blocks):
                X = rng.normal(size=(500, 40)).astype(np.float32)
                yield X, (X[:, 0] > 0).astype(int)

        return give

    peaks = []
    for blocks in (4, 40):
        tracemalloc.start()
        RidgeHead(ALPHAS).fit_blocks(endless(blocks), endless(2))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 1.1 * peaks[0]


def test_few_rows_in_float32_lose_nothing():
    """X'X is near singular there: what float32 rounds away a weak penalty would show."""
    X, y = rows(6, 60, 200)
    ours = RidgeHead(ALPHAS).fit(X, y)
    exact = RidgeHead(ALPHAS).fit(X.astype(np.float64), y)

    np.testing.assert_allclose(ours.coef_, exact.coef_, rtol=1e-10)
    np.testing.assert_allclose(ours.scores_, exact.scores_)
    ours.fit_blocks(stream(X, y, 7))
    np.testing.assert_allclose(ours.coef_, exact.coef_, rtol=1e-7)


def test_without_refit_each_fold_has_its_own_best_penalty():
    X, y = rows(7, 240, 12, 4)
    folds = list(StratifiedKFold(3).split(X, y))
    head = RidgeHead(ALPHAS, cv=folds, refit=False).fit(X, y)
    alone = [RidgeHead(ALPHAS, cv=[fold], refit=False).fit(X, y) for fold in folds]

    assert head.alpha_ == np.mean([one.alpha_ for one in alone])
    np.testing.assert_allclose(head.coef_, np.mean([one.coef_ for one in alone], axis=0))


@pytest.mark.parametrize("alphas", [0, [], [-1.0], [0.0], [float("nan")], "many"])
def test_penalties_that_make_no_sense_are_refused(alphas):
    with pytest.raises(HeadError, match="alphas"):
        RidgeHead(alphas).fit(*rows(5))
