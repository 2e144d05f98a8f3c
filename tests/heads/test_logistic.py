"""Logistic regression reaches scikit-learn's optimum, at every penalty and in raw features."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import extract
from heads import curvature, logistic
from heads.curvature import Spectrum
from heads.errors import HeadError
from heads.logistic import LogisticHead
from heads.logistic_path import Rows, moments, path

CS = np.logspace(-4, 4, 5)


def rows(seed, n=300, d=40, classes=3, dtype=np.float64):
    """Correlated features with a steep spectrum, far from the origin, of different sizes."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, n)
    codes[:classes] = range(classes)
    mix = rng.normal(size=(d, d)) * np.geomspace(1, 0.02, d)[:, None]
    X = (rng.normal(size=(n, d)) + rng.normal(size=(classes, d))[codes]) @ mix
    return (X * np.geomspace(0.1, 10, d) + 20).astype(dtype), codes


def objective(coef, intercept, X, codes, C, weights):
    """Scikit-learn's objective in float64, on standardized features; coef is of raw ones."""
    X = X.astype(np.float64)
    mean = np.average(X, axis=0, weights=weights)
    deviation = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weights))
    W = coef.T * np.where(deviation > 0, deviation, 1)[:, None]
    logits = X @ coef.T + intercept
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    peak = logits.max(axis=1)
    log_sum = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
    losses = log_sum - logits[np.arange(len(codes)), codes]
    return weights @ losses + (W**2).sum() / (2 * C)


def reference(X, codes, C, weights):
    """The optimum by scikit-learn, float64, tol 1e-10."""
    scaler = StandardScaler().fit(X.astype(np.float64), sample_weight=weights)
    head = LogisticRegression(C=C, tol=1e-10, max_iter=20_000, solver="newton-cholesky")
    head.fit(scaler.transform(X.astype(np.float64)), codes, sample_weight=weights)
    coef = head.coef_ / scaler.scale_
    return objective(coef, head.intercept_ - coef @ scaler.mean_, X, codes, C, weights)


@parametrize_with_checks([LogisticHead()])
def test_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("C", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("shape", [(300, 40), (30, 60)], ids=["tall", "wide"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_one_penalty_is_scikit_learns_optimum(C, classes, shape, dtype):
    X, codes = rows(0, *shape, classes, dtype)
    weights = np.random.default_rng(1).integers(1, 4, len(X)).astype(float)
    head = LogisticHead([C]).fit(X, codes, sample_weight=weights)
    found = objective(head.coef_, head.intercept_, X, codes, C, weights)

    assert found <= reference(X, codes, C, weights) * (1 + 1e-4)


def test_every_penalty_of_a_path_is_its_optimum():
    """Warm starts lead to the same place as cold ones."""
    X, codes = rows(2)
    fold = np.where(np.arange(len(codes)) < 200, -1, 0)
    ones = np.ones(200)
    for C in CS[1:]:
        head = LogisticHead([*CS[CS < C], C], cv=PredefinedSplit(fold), refit=False).fit(X, codes)
        solo = LogisticHead([head.C_]).fit(X[:200], codes[:200])
        found, alone = (
            objective(h.coef_, h.intercept_, X[:200], codes[:200], head.C_, ones)
            for h in (head, solo)
        )
        assert found == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize(
    ("folder", "shape"),
    [("beans_256px/validation", (133, 64)), ("hymenoptera/train", (245, 1280))],
    ids=["three classes, tall", "two classes, wide"],
)
def test_features_of_photographs(shared, tmp_path, monkeypatch, folder, shape):
    """Real features, in float32, as they come from a store: all, or some of their columns."""
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    extract.run(shared / "data" / folder, tmp_path / "store", arguments={"alpha": 0.35})
    data = extract.open_store(tmp_path / "store").load(None)
    X, weights = data.X[:, : shape[1]], np.ones(len(data))
    for C in (1e-3, 1e-1):
        head = LogisticHead([C]).fit(X, data.y)
        found = objective(head.coef_, head.intercept_, X, data.y, C, weights)

        assert (X.dtype, X.shape) == (np.float32, shape)
        assert found <= reference(X, data.y, C, weights) * (1 + 1e-4)


@pytest.mark.parametrize("classes", [2, 4])
def test_folds_score_as_scikit_learn_scores_them(classes):
    """Each fold is standardized by its own training rows."""
    X, codes = rows(3, 240, 10, classes)
    ours = LogisticHead(CS, cv=3).fit(X, codes)
    folds = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000, tol=1e-8))
    from sklearn.model_selection import GridSearchCV

    theirs = GridSearchCV(folds, {"logisticregression__C": CS}, cv=3).fit(X, codes)
    scores = np.stack([theirs.cv_results_[f"split{fold}_test_score"] for fold in range(3)])

    np.testing.assert_allclose(ours.scores_, scores, atol=1.5 / 80)  # a row on the edge
    assert ours.C_ in CS[scores.mean(axis=0) >= scores.mean(axis=0).max() - 1.5 / 240]
    again = LogisticHead([ours.C_]).fit(X, codes)
    np.testing.assert_allclose(ours.predict_proba(X), again.predict_proba(X), atol=5e-3)


def test_one_fold_without_refit_is_the_fit_on_its_rows():
    X, codes = rows(4)
    fold = np.where(np.arange(len(codes)) < 200, -1, 0)
    head = LogisticHead(CS, cv=PredefinedSplit(fold), refit=False, tol=1e-13).fit(X, codes)
    solo = LogisticHead([head.C_], tol=1e-13).fit(X[:200], codes[:200])

    np.testing.assert_allclose(head.coef_, solo.coef_, rtol=1e-3, atol=1e-5)
    assert head.scores_.shape == (1, 5)
    assert [row["C"] for row in head.selection_] == CS.tolist()


def test_names_and_shapes_are_those_of_scikit_learn():
    X, codes = rows(5)
    ours = LogisticHead(3).fit(X, codes)
    theirs = LogisticRegressionCV(
        Cs=3, max_iter=2000, use_legacy_attributes=False, l1_ratios=(0,), scoring="accuracy"
    ).fit(StandardScaler().fit_transform(X), codes)

    for name in ("coef_", "intercept_", "classes_", "Cs_"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape
    np.testing.assert_allclose(ours.Cs_, theirs.Cs_)


def unbalanced(seed, classes=2):
    X, codes = rows(seed, classes=classes)
    keep = (codes == 0) | (np.arange(len(codes)) % 5 == 0)
    return X[keep], codes[keep]


@pytest.mark.parametrize("class_weight", ["balanced", {0: 0.5}])
def test_class_weights_weigh_rows_and_leave_their_standardization_alone(class_weight):
    X, codes = unbalanced(6)
    head = LogisticHead([0.1], class_weight=class_weight, tol=1e-9).fit(X, codes)
    pipeline = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight=class_weight, tol=1e-9)
    ).fit(X, codes)

    np.testing.assert_allclose(head.predict_proba(X), pipeline.predict_proba(X), atol=1e-4)


def test_a_fold_is_balanced_by_its_own_training_rows():
    """Labels of validation rows choose the penalty; they have no other part in the fit."""
    X, codes = unbalanced(6, 3)
    fold = np.where(np.arange(len(codes)) % 3 > 0, -1, 0)
    train = fold == -1
    head = LogisticHead(CS, cv=PredefinedSplit(fold), refit=False, class_weight="balanced")
    head.set_params(tol=1e-9).fit(X, codes)
    alone = LogisticHead([head.C_], class_weight="balanced", tol=1e-9).fit(X[train], codes[train])

    np.testing.assert_allclose(head.predict_proba(X), alone.predict_proba(X), atol=1e-4)


def solve(X, codes, Cs, **options):
    """Return the objective at each of some penalties on one path, less the optimum, relative."""
    mean, deviation = (part[0] for part in moments(X, np.ones((len(X), 1))))
    d, classes = X.shape[1], codes.max() + 1
    rows = Rows(
        (X - mean) / deviation,
        codes,
        np.ones((len(X), 1)),
        np.zeros((1, d, 1)),
        np.ones((1, d, 1)),
        classes,
    )
    gaps = []
    for solution in path(rows, Spectrum.of(rows.X, np.ones(len(X))), Cs, 5e-6, 1000):
        W, b = solution.T[0, :-1], solution.T[0, -1]
        coef = W.T / deviation
        found = objective(coef, b - coef @ mean, X, codes, solution.C, np.ones(len(X)))
        gaps.append(found / reference(X, codes, solution.C, np.ones(len(X))) - 1)
    return np.array(gaps)


@pytest.mark.parametrize(
    "limits", [{}, {"MIN_PAIRS": 3, "MAX_PAIRS": 3}, {"MAX_RANK": 5}], ids=["", "pairs", "rank"]
)
@pytest.mark.parametrize("shape", [(300, 40, 3), (300, 40, 2), (40, 60, 3)])
def test_every_penalty_of_a_path_is_scikit_learns_optimum(shape, limits, monkeypatch):
    """Also with gaps in the path, few pairs, and few eigenvectors."""
    for name, value in limits.items():
        monkeypatch.setattr(curvature, name, value)
    n, d, classes = shape
    X, codes = rows(8, n, d, classes)

    assert (solve(X, codes, np.logspace(-4, 4, 10).tolist()) <= 1e-4).all()
    assert (solve(X, codes, [1e-3, 1e3]) <= 1e-4).all()


def test_folds_that_do_not_fit_into_memory_together_take_turns(monkeypatch):
    X, codes = rows(9)
    together = LogisticHead(CS, cv=4, tol=1e-9).fit(X, codes)
    monkeypatch.setattr(logistic, "MAX_LOGITS", 1)
    in_turn = LogisticHead(CS, cv=4, tol=1e-9).fit(X, codes)

    np.testing.assert_array_equal(in_turn.scores_, together.scores_)
    np.testing.assert_allclose(in_turn.predict_proba(X), together.predict_proba(X), atol=1e-6)
    assert in_turn.n_iter_.shape == together.n_iter_.shape == (4, 5)


def test_features_that_do_not_vary_in_a_fold_decide_nothing():
    """As behind a StandardScaler: what is constant where one trains has no weight."""
    X, codes = rows(10, dtype=np.float32)
    X[:, 0] = 7.1
    X[:200, 1] = 0.3
    fold = np.where(np.arange(len(codes)) < 200, -1, 0)
    head = LogisticHead(CS, cv=PredefinedSplit(fold), refit=False).fit(X, codes)

    assert np.abs(head.coef_[:, :2]).max() < 1e-6 * np.abs(head.coef_).max()


def test_too_few_steps_are_told():
    X, codes = rows(11)
    with pytest.warns(ConvergenceWarning, match="max_iter=2 gradients. Give a larger max_iter"):
        LogisticHead([1.0], max_iter=2).fit(X, codes)


@pytest.mark.parametrize("Cs", [0, [], [-1.0], [0.0], [float("inf")], "many"])
def test_penalties_that_make_no_sense_are_refused(Cs):
    with pytest.raises(HeadError, match="Cs"):
        LogisticHead(Cs).fit(*rows(7))
