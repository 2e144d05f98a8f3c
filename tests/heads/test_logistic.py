"""Logistic regression reaches scikit-learn's optimum, at every penalty and in raw features."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import extract
from heads.errors import HeadError
from heads.logistic import LogisticHead

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


@pytest.mark.parametrize("name", ["beans_256px", "hymenoptera"])
def test_features_of_photographs(shared, tmp_path, monkeypatch, name):
    """Real features, in float32, as they come from a store."""
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    extract.run(shared / "data" / name, tmp_path / "store", arguments={"alpha": 0.35})
    data = extract.open_store(tmp_path / "store").load("train")
    weights = np.ones(len(data))
    for C in (1e-3, 1e-1):
        head = LogisticHead([C]).fit(data.X, data.y)
        found = objective(head.coef_, head.intercept_, data.X, data.y, C, weights)

        assert found <= reference(data.X, data.y, C, weights) * (1 + 1e-4)


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
    head = LogisticHead(CS, cv=PredefinedSplit(fold), refit=False, tol=1e-9).fit(X, codes)
    solo = LogisticHead([head.C_], tol=1e-9).fit(X[:200], codes[:200])

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


def test_balanced_classes_weigh_the_same():
    X, codes = rows(6, classes=2)
    keep = (codes == 0) | (np.arange(len(codes)) % 5 == 0)
    X, codes = X[keep], codes[keep]
    head = LogisticHead([0.1], class_weight="balanced", tol=1e-8).fit(X, codes)
    weights = (len(codes) / (2 * np.bincount(codes)))[codes]
    found = objective(head.coef_, head.intercept_, X, codes, 0.1, weights)

    assert found <= reference(X, codes, 0.1, weights) * (1 + 1e-4)


@pytest.mark.parametrize("Cs", [0, [], [-1.0], [0.0], [float("inf")], "many"])
def test_penalties_that_make_no_sense_are_refused(Cs):
    with pytest.raises(HeadError, match="Cs"):
        LogisticHead(Cs).fit(*rows(7))
