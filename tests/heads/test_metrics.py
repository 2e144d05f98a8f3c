"""Every number is scikit-learn's, and so is how far one row moves it."""

import json
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from heads.bootstrap import RESAMPLES, intervals, mean_of, resamples
from heads.errors import HeadError
from heads.metrics import BINS, _areas, _balanced_accuracy, _f1_macro, measure
from heads.ranking import Ranking
from heads.scoring import softmax

EXACT = 1e-12  # float64 sums in another order


def case(rng, rows, classes, coarse, skill=2.0):
    """Return probabilities and codes; coarse logits make ties within and between rows."""
    codes = rng.integers(0, classes, rows)
    logits = rng.normal(size=(rows, classes))
    logits[np.arange(rows), codes] += skill
    return softmax(np.round(logits) if coarse else logits), codes


@st.composite
def cases(draw, least_rows=1, most_rows=40):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, classes = draw(st.integers(least_rows, most_rows)), draw(st.integers(2, 8))
    return case(rng, rows, classes, draw(st.booleans()), draw(st.sampled_from([0.0, 2.0, 9.0])))


def named(probabilities):
    return [f"class {i}" for i in range(probabilities.shape[1])]


def quietly(function, *args, **options):
    """Call scikit-learn where it warns of classes that are absent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **options)


def roc_auc(codes, probabilities, sample_weight=None):
    if probabilities.shape[1] == 2:
        return sk.roc_auc_score(codes, probabilities[:, 1], sample_weight=sample_weight)
    per_class = [
        sk.roc_auc_score(codes == code, probabilities[:, code], sample_weight=sample_weight)
        for code in range(probabilities.shape[1])
    ]
    return np.mean(per_class)


def average_precision(codes, probabilities, sample_weight=None):
    columns = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    per_class = [
        sk.average_precision_score(
            codes == code, probabilities[:, code], sample_weight=sample_weight
        )
        for code in columns
    ]
    return np.mean(per_class)


def calibration_error(probabilities, codes):
    """The definition, bin by bin."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == codes
    total = 0.0
    for number in range(BINS):
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return total


def risk_coverage(confidence, wrong, weight=None):
    """The definition, row by row."""
    weight = np.ones(len(wrong)) if weight is None else weight
    risks = [
        np.average(wrong[kept], weights=weight[kept]) for kept in confidence >= confidence[:, None]
    ]
    return np.average(risks, weights=weight)


@given(cases())
def test_numbers_are_those_of_scikit_learn(found):
    """Also with ties, classes without rows, and one row."""
    probabilities, codes = found
    labels = range(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    report = measure(probabilities, codes, named(probabilities))

    expected = {
        "accuracy": sk.accuracy_score(codes, predicted),
        "balanced_accuracy": quietly(sk.balanced_accuracy_score, codes, predicted),
        "f1_macro": quietly(sk.f1_score, codes, predicted, average="macro"),
        "log_loss": sk.log_loss(codes, probabilities, labels=labels),
        "ece": calibration_error(probabilities, codes),
        "aurc": risk_coverage(probabilities.max(axis=1), predicted != codes),
    }
    for name, value in expected.items():
        assert report.scalars[name] == pytest.approx(value, abs=EXACT), name
    np.testing.assert_array_equal(
        report.confusion, sk.confusion_matrix(codes, predicted, labels=labels)
    )


@given(cases())
def test_top_k_is_that_of_scikit_learn(found):
    """scikit-learn prefers the later of two classes that tie, we the earlier, as argmax does."""
    probabilities, codes = found
    classes = probabilities.shape[1]
    report = measure(probabilities, codes, named(probabilities))

    assert list(report.top_k) == [k for k in (2, 3, 4, 5) if k < classes]
    for k, value in report.top_k.items():
        assert value == sk.top_k_accuracy_score(
            classes - 1 - codes, probabilities[:, ::-1], k=k, labels=range(classes)
        )


@given(cases())
def test_classes_are_those_of_scikit_learn(found):
    probabilities, codes = found
    predicted = probabilities.argmax(axis=1)
    report = measure(probabilities, codes, named(probabilities))
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        codes, predicted, labels=range(probabilities.shape[1]), zero_division=np.nan
    )

    as_nan = lambda values: np.array([np.nan if v is None else v for v in values])  # noqa: E731
    np.testing.assert_allclose(as_nan([c.precision for c in report.classes]), precision)
    np.testing.assert_allclose(as_nan([c.recall for c in report.classes]), recall)
    np.testing.assert_allclose(as_nan([c.f1 for c in report.classes]), f1)
    np.testing.assert_array_equal([c.support for c in report.classes], support)


@given(cases())
def test_areas_are_those_of_scikit_learn_or_say_which_class_is_absent(found):
    probabilities, codes = found
    report = measure(probabilities, codes, named(probabilities))

    absent = sorted(set(range(probabilities.shape[1])) - set(codes.tolist()))
    if absent:
        assert report.roc_auc is None
        assert report.average_precision is None
        assert f"'class {absent[0]}'" in report.undefined["roc_auc"]
        assert "roc_auc" not in report.intervals
    else:
        assert report.roc_auc == pytest.approx(roc_auc(codes, probabilities), abs=EXACT)
        assert report.average_precision == pytest.approx(
            average_precision(codes, probabilities), abs=EXACT
        )
        assert report.undefined == {}


def test_the_area_of_many_classes_is_that_of_one_against_the_rest():
    probabilities, codes = case(np.random.default_rng(0), 500, 5, coarse=False)
    report = measure(probabilities, codes, named(probabilities))

    assert report.roc_auc == pytest.approx(
        sk.roc_auc_score(codes, probabilities, multi_class="ovr"), abs=EXACT
    )


def test_influence_is_the_slope_by_a_rows_weight():
    """scikit-learn takes weights: moving one of them a little shows what its row adds."""
    probabilities, codes = case(np.random.default_rng(1), 30, 3, coarse=True, skill=1.0)
    predicted = probabilities.argmax(axis=1)
    right = predicted == codes
    confusion = sk.confusion_matrix(codes, predicted)
    confidence = probabilities.max(axis=1)
    areas = _areas(probabilities, codes)
    pairs = {
        "roc_auc": (areas["roc_auc"], lambda w: roc_auc(codes, probabilities, w)),
        "average_precision": (
            areas["average_precision"],
            lambda w: average_precision(codes, probabilities, w),
        ),
        "f1_macro": (
            _f1_macro(codes, predicted, confusion),
            lambda w: sk.f1_score(codes, predicted, average="macro", sample_weight=w),
        ),
        "balanced_accuracy": (
            _balanced_accuracy(codes, right, confusion),
            lambda w: sk.balanced_accuracy_score(codes, predicted, sample_weight=w),
        ),
        "aurc": (
            Ranking(confidence).mean_of_means(~right, np.ones(30, bool)),
            lambda w: risk_coverage(confidence, ~right, w),
        ),
    }
    step = 1e-5
    for name, (statistic, weighted) in pairs.items():
        slopes = [
            30 * (weighted(1 + step * unit) - weighted(1 - step * unit)) / (2 * step)
            for unit in np.eye(30)
        ]

        assert statistic.value == pytest.approx(weighted(np.ones(30)), abs=EXACT), name
        np.testing.assert_allclose(statistic.influence, slopes, atol=1e-6, err_msg=name)


def test_intervals_are_close_to_those_of_a_bootstrap_that_recomputes_everything(monkeypatch):
    """Within a seventh of their width: quantiles of 500 resamples are no closer to each other.

    The calibration error is left out: resampling adds to it, which our intervals do not.
    """
    rng = np.random.default_rng(2)
    probabilities, codes = case(rng, 300, 3, coarse=False, skill=1.5)
    report = measure(probabilities, codes, named(probabilities))
    monkeypatch.setattr("heads.bootstrap.RESAMPLES", 1)
    again = [
        measure(probabilities[drawn], codes[drawn], named(probabilities)).scalars
        for drawn in rng.integers(0, 300, (500, 300))
    ]
    for name in report.scalars.keys() - {"ece"}:
        low, high = np.quantile([scalars[name] for scalars in again], [0.025, 0.975])

        np.testing.assert_allclose(
            report.intervals[name], (low, high), atol=(high - low) / 7, err_msg=name
        )


@given(cases())
def test_a_number_lies_within_its_interval_and_its_range(found):
    probabilities, codes = found
    report = measure(probabilities, codes, named(probabilities))

    for name, (low, high) in report.intervals.items():
        assert 0 <= low <= report.scalars[name] <= high, name
        assert high <= (np.inf if name == "log_loss" else 1), name


def test_half_of_many_rows_right_has_the_interval_of_a_coin():
    statistic = mean_of(np.arange(10_000) % 2)
    low, high = intervals({"heads": statistic})["heads"]

    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.005, 0.5 + 1.96 * 0.005), abs=0.0012)


def test_the_seed_decides_the_intervals():
    probabilities, codes = case(np.random.default_rng(0), 50, 3, coarse=False)
    first, same, other = (
        measure(probabilities, codes, named(probabilities), seed=seed).intervals["log_loss"]
        for seed in (0, 0, 1)
    )

    assert first == same != other


def test_resamples_are_the_same_in_blocks_of_any_size(monkeypatch):
    statistic = mean_of(np.random.default_rng(0).random(31))
    whole = intervals({"mean": statistic})["mean"]
    monkeypatch.setattr("heads.bootstrap.BLOCK", 100)

    assert intervals({"mean": statistic})["mean"] == pytest.approx(whole, abs=EXACT)


@pytest.mark.parametrize(
    ("rows", "expected"), [(1, RESAMPLES), (200_000, RESAMPLES), (500_000, 400), (10**8, 200)]
)
def test_many_rows_are_resampled_less_often(rows, expected):
    assert resamples(rows) == expected


def test_coverage_rises_from_the_surest_rows_to_all():
    confidence = np.linspace(0.99, 0.6, 100)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    codes = np.array([0] * 70 + [1] * 30)
    report = measure(probabilities, codes, ["a", "b"])

    points = {point.coverage: point for point in report.coverage}
    assert list(points) == [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0]
    assert points[0.7].accuracy == 1.0
    assert points[0.8].accuracy == pytest.approx(70 / 80)
    assert points[1.0].accuracy == report.accuracy == 0.7
    assert points[0.5].threshold == pytest.approx(confidence[49])


def test_rows_of_equal_confidence_are_covered_together():
    probabilities = np.tile([0.75, 0.25], (10, 1))
    report = measure(probabilities, np.array([0] * 6 + [1] * 4), ["a", "b"])

    assert [(p.coverage, p.rows, p.accuracy) for p in report.coverage] == [(1.0, 10, 0.6)]
    assert report.aurc == pytest.approx(0.4)


def test_a_bin_of_the_calibration_error_holds_its_upper_edge():
    """0.6 is such an edge: rows just above it are in another bin."""
    probabilities = np.array([[0.6, 0.4], [0.65, 0.35]])
    report = measure(probabilities, np.array([0, 1]), ["a", "b"])

    assert report.ece == pytest.approx((0.4 + 0.65) / 2)


def test_no_number_depends_on_the_order_of_rows():
    rng = np.random.default_rng(3)
    probabilities, codes = case(rng, 80, 3, coarse=True)
    shuffled = rng.permutation(80)
    one = measure(probabilities, codes, named(probabilities))
    other = measure(probabilities[shuffled], codes[shuffled], named(probabilities))

    assert one.scalars == pytest.approx(other.scalars, abs=EXACT)
    assert one.coverage == other.coverage


@given(cases())
def test_the_report_is_json_without_nan(found):
    probabilities, codes = found
    report = measure(probabilities, codes, named(probabilities))
    facts = json.loads(json.dumps(report.to_json(), allow_nan=False))

    assert facts["accuracy"] == report.accuracy
    assert facts["accuracy_interval"] == list(report.intervals["accuracy"])
    assert facts["rows"] == len(codes)
    assert list(facts["classes"]) == named(probabilities)
    assert np.sum(facts["confusion"]) == len(codes)
    for name, value in facts.items():
        if name.endswith("_interval"):
            assert (value is None) == (name.removesuffix("_interval") in facts["undefined"])


def test_a_probability_of_nothing_costs_36_nats_as_in_scikit_learn():
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0]])
    report = measure(probabilities, np.array([1, 1]), ["a", "b"])

    assert report.log_loss == pytest.approx(sk.log_loss([1, 1], probabilities, labels=[0, 1]))


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [(np.empty((0, 2)), "no rows"), (np.array([[np.nan, 0.5]]), "Received: NaN")],
)
def test_what_cannot_be_judged_is_refused(probabilities, words):
    with pytest.raises(HeadError, match=words):
        measure(probabilities, np.zeros(len(probabilities), int), ["a", "b"])
