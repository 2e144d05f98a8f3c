"""Heads that compare: scikit-learn's contract, and plain loops as oracles."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_blobs
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from heads.calibration import fit_temperature
from heads.neighbors import KNNHead, PrototypeHead
from heads.scoring import Neighbors, Prototype, nearest, softmax, unit


@parametrize_with_checks([PrototypeHead(), KNNHead()])
def test_scikit_learns_contract_holds(estimator, check):
    check(estimator)


def blobs(classes, n=90, d=7, seed=0):
    """Overlapping classes away from the origin, of unequal size."""
    sizes = np.linspace(1, 2, classes)
    sizes = np.round(n * sizes / sizes.sum()).astype(int)
    X, y = make_blobs(sizes, d, centers=None, cluster_std=4.0, random_state=seed)
    return (X + 5).astype(np.float32), y


@pytest.mark.parametrize("head", [PrototypeHead(), KNNHead(5)], ids=repr)
@pytest.mark.parametrize("classes", [2, 5])
def test_the_scorer_says_what_the_head_says(head, classes):
    X, y = blobs(classes)
    head.fit(X, y)
    logits = head.scorer().logits(X)

    assert isinstance(head.scorer(), Prototype | Neighbors)
    np.testing.assert_array_equal(logits.argmax(axis=1), head.predict(X))
    np.testing.assert_array_equal(softmax(logits), head.predict_proba(X))


@pytest.mark.parametrize("classes", [2, 5])
def test_the_scale_is_fitted_to_class_means_without_the_row_itself(classes):
    """The closed form against leaving each row out in turn; the center stays where it is."""
    X, y = blobs(classes)
    X, y = np.concatenate([X, X[:1] + 3]), np.append(y, classes)  # a class of one row
    head = PrototypeHead().fit(X, y)
    centered = X.astype(np.float64) - head.center_
    cosines = np.zeros((len(X), classes + 1))
    for row in range(len(X)):
        for code in range(classes + 1):
            others = (y == code) & (np.arange(len(X)) != row)
            if others.any():
                mean = centered[others].mean(axis=0)
                cosines[row, code] = unit(centered[row : row + 1])[0] @ unit(mean[None])[0]

    np.testing.assert_allclose(head.scale_, 1 / fit_temperature(cosines, y), rtol=1e-4)


def test_a_rare_class_moves_the_center_as_a_common_one_does():
    X, y = blobs(3)
    head = PrototypeHead().fit(X, y)
    again = PrototypeHead().fit(
        np.concatenate([X, *[X[y == 0]] * 9]), np.concatenate([y, np.zeros(9 * sum(y == 0), int)])
    )

    np.testing.assert_allclose(again.center_, head.center_, rtol=1e-5)
    np.testing.assert_allclose(again.prototypes_, head.prototypes_, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n_neighbors", [1, 4, 10, 1000])
def test_neighbors_vote_as_those_of_scikit_learn(n_neighbors):
    """`KNeighborsClassifier(metric="cosine")` on centered rows is the reference."""
    X, y = blobs(3)
    fresh = blobs(3, seed=1)[0]
    head = KNNHead(n_neighbors).fit(X, y)
    voters = min(n_neighbors, len(X))
    reference = KNeighborsClassifier(voters, metric="cosine").fit(X - head.center_, y)
    shares = reference.predict_proba(fresh - head.center_)

    np.testing.assert_allclose(
        head.predict_proba(fresh), (shares * voters + 1 / 3) / (voters + 1), atol=1e-6
    )


def test_many_rows_are_compared_in_blocks_that_change_nothing(monkeypatch):
    X, y = blobs(3)
    head = KNNHead(5).fit(X, y)
    whole = head.predict_proba(X)
    monkeypatch.setattr("heads.scoring.CELLS", 4 * len(X))

    np.testing.assert_array_equal(head.predict_proba(X), whole)


@given(
    values=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.integers(0, 3)
    ),
    count=st.integers(1, 10),
)
def test_ties_at_the_edge_go_to_the_rows_that_came_first(values, count):
    """A stable sort of everything is the reference."""
    expected = np.sort(np.argsort(-values, axis=1, kind="stable")[:, :count], axis=1)
    row, column = nearest(values, count)

    np.testing.assert_array_equal(row, np.repeat(np.arange(len(values)), expected.shape[1]))
    np.testing.assert_array_equal(column.reshape(expected.shape), expected)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "many"])
def test_a_number_of_neighbors_is_a_count(wrong):
    with pytest.raises(ValueError, match=r"n_neighbors is an integer >= 1. Received: "):
        KNNHead(wrong).fit(*blobs(2))
