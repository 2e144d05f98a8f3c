"""One temperature: the optimum of the log loss, and what bounds it where there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from heads.calibration import BOUNDS, fit_temperature
from heads.errors import HeadError
from heads.scoring import softmax


def log_loss(logits, codes, temperature):
    return -np.log(softmax(logits, temperature)[np.arange(len(codes)), codes]).mean()


@st.composite
def judged_logits(draw, least_wrong=1):
    """Logits of any scale that are right more often than by chance, and wrong somewhere."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, classes = draw(st.integers(20, 200)), draw(st.integers(2, 12))
    codes = rng.integers(0, classes, rows)
    logits = rng.normal(size=(rows, classes))
    logits[np.arange(rows), codes] += draw(st.floats(0.5, 3))
    for row in range(least_wrong):
        logits[row, (codes[row] + 1) % classes] = logits[row].max() + 0.5
    return logits * draw(st.sampled_from([0.01, 1.0, 30.0])), codes


@given(judged_logits())
def test_the_temperature_minimizes_the_log_loss(case):
    """SciPy, which knows the loss alone and not its slope, finds nothing better."""
    logits, codes = case
    found = fit_temperature(logits, codes)
    least, greatest = np.log(np.array(BOUNDS) * np.sqrt(logits.var(axis=1).mean()))
    best = minimize_scalar(
        lambda t: log_loss(logits, codes, np.exp(t)), bounds=(least, greatest), method="bounded"
    )

    assert log_loss(logits, codes, found) <= best.fun + 1e-9


@given(judged_logits(), st.floats(0.1, 50))
def test_logits_times_a_number_have_that_number_times_the_temperature(case, factor):
    logits, codes = case

    assert fit_temperature(logits * factor, codes) == pytest.approx(
        factor * fit_temperature(logits, codes), rel=1e-6
    )


def test_labels_drawn_at_a_temperature_give_it_back():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 5)).astype(np.float32) * 6
    drawn = softmax(logits, 2.5).cumsum(axis=1) > rng.random((20_000, 1))

    assert fit_temperature(logits, drawn.argmax(axis=1)) == pytest.approx(2.5, rel=0.03)


@pytest.mark.parametrize("rows", [1, 2, 10, 98])
def test_rows_that_are_all_right_leave_as_much_open_as_their_number_does(rows):
    """The rule of succession: after n right answers the next is right with (n + 1) / (n + 2)."""
    logits = np.tile([0.0, 5.0], (rows, 1))
    temperature = fit_temperature(logits, np.ones(rows, int))

    np.testing.assert_allclose(
        softmax(logits, temperature)[:, 1], (rows + 1) / (rows + 2), rtol=1e-9
    )


def test_more_rows_that_are_all_right_make_surer():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 4))
    codes = logits.argmax(axis=1)
    found = [fit_temperature(logits[:rows], codes[:rows]) for rows in (4, 20, 100, 400)]

    assert found == sorted(found, reverse=True)
    assert found[-1] > BOUNDS[0] * logits.std()


@pytest.mark.parametrize(
    ("logits", "codes"),
    [
        (np.zeros((0, 3)), np.zeros(0, int)),
        (np.full((4, 3), 7.0), np.array([0, 1, 2, 0])),
        (np.array([[1.0, 1.0], [-2.0, -2.0]]), np.array([0, 1])),
    ],
    ids=["no rows", "constant", "constant within each row"],
)
def test_where_logits_say_nothing_the_temperature_is_one(logits, codes):
    assert fit_temperature(logits, codes) == 1.0


@pytest.mark.parametrize(
    ("logits", "codes", "bound"),
    [
        ([[0.0, 1.0], [1.0, 0.0]], [0, 1], BOUNDS[1]),
        ([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]], [0, 2], BOUNDS[0]),
    ],
    ids=["all wrong: no class is likelier", "tied at the top: all else is ruled out"],
)
def test_an_optimum_at_infinity_is_bounded(logits, codes, bound):
    logits = np.array(logits)
    expected = bound * np.sqrt(logits.var(axis=1).mean())

    assert fit_temperature(logits, np.array(codes)) == pytest.approx(expected, rel=1e-6)


def test_logits_that_are_far_apart_do_not_overflow():
    logits = np.array([[0.0, 1e6], [1e6, 0.0], [0.0, 1e6]], np.float32)
    temperature = fit_temperature(logits, np.array([1, 0, 0]))

    assert 1e5 < temperature < 1e8


def test_rows_are_read_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    logits, codes = rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
    logits[np.arange(50), codes] += 1
    whole = fit_temperature(logits, codes)
    monkeypatch.setattr("heads.calibration.BLOCK", 21)

    assert fit_temperature(logits, codes) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_refused(value):
    with pytest.raises(HeadError, match="finite numbers"):
        fit_temperature(np.array([[0.0, value]]), np.array([0]))
