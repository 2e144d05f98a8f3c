"""Scorers say the same after a trip through arrays, and what a plain formula says."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heads.scoring import ACTIVATIONS, SCORERS, Dense, Neighbors, Prototype, largest, softmax, unit

RNG = np.random.default_rng(0)


def rows(*shape):
    return RNG.normal(size=shape).astype(np.float32)


EXAMPLES = {
    "linear, two classes": Dense.linear(rows(1, 5), rows(1)),
    "linear, three classes": Dense.linear(rows(3, 5), rows(3)),
    "two layers": Dense((rows(5, 4), rows(4, 3)), (rows(4), rows(3)), "relu"),
    "prototype": Prototype(rows(5), unit(rows(3, 5)), 7.5),
    "neighbors": Neighbors(unit(rows(9, 5)), np.arange(9) % 3, rows(5), 4, 3),
}


@pytest.mark.parametrize("scorer", EXAMPLES.values(), ids=EXAMPLES)
def test_arrays_and_facts_are_all_there_is(scorer):
    again = SCORERS[scorer.kind].from_arrays(scorer.arrays(), scorer.facts())
    X = rows(6, 5)

    np.testing.assert_array_equal(again.logits(X), scorer.logits(X))
    assert scorer.logits(X).dtype == np.float32


def test_two_classes_have_two_columns_and_one_logit():
    logits = EXAMPLES["linear, two classes"].logits(rows(6, 5))

    assert logits.shape == (6, 2)
    np.testing.assert_array_equal(logits[:, 0], 0)
    sigmoid = 1 / (1 + np.exp(-logits[:, 1].astype(np.float64) / 1.7))
    np.testing.assert_allclose(softmax(logits, 1.7)[:, 1], sigmoid, rtol=1e-12)


def test_a_stack_is_what_it_says():
    stack = EXAMPLES["two layers"]
    X = rows(6, 5)
    hidden = np.maximum(X @ stack.kernels[0] + stack.biases[0], 0)

    np.testing.assert_allclose(
        stack.logits(X), hidden @ stack.kernels[1] + stack.biases[1], rtol=1e-5, atol=1e-6
    )


def test_kernels_and_biases_must_fit():
    with pytest.raises(ValueError, match=r"kernel \(5, 4\) does not go with bias \(3,\)"):
        Dense((rows(5, 4),), (rows(3),))


def test_neighbors_vote_by_cosine():
    scorer = EXAMPLES["neighbors"]
    X = rows(8, 5)
    centered = X - scorer.center
    cosines = (centered / np.linalg.norm(centered, axis=1, keepdims=True)) @ scorer.rows.T
    votes = np.stack([np.bincount(scorer.codes[np.argsort(-c)[:4]], minlength=3) for c in cosines])

    np.testing.assert_allclose(softmax(scorer.logits(X)), (votes + 1 / 3) / 5, rtol=1e-5)


@given(
    values=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 4), st.integers(1, 7)), elements=st.integers(0, 3)
    ),
    count=st.integers(1, 9),
)
def test_the_largest_come_first_and_ties_go_by_index(values, count):
    expected = np.argsort(-values, axis=1, kind="stable")[:, :count]

    np.testing.assert_array_equal(largest(values, count), expected)


@given(
    logits=hnp.arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32)),
    temperature=st.floats(0.05, 20),
)
def test_probabilities_sum_to_one(logits, temperature):
    found = softmax(logits, temperature)

    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_finite_far_out(name):
    """No warning, which the suite would turn into an error, and no NaN."""
    x = np.array([-1e30, -1e4, -1.0, 0.0, 1.0, 1e4, 1e30], np.float32)

    assert np.isfinite(ACTIVATIONS[name](x)).all()
