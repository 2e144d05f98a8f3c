"""Ways of computing are held against each other on probes, and the report says how far."""

import json
from dataclasses import replace

import numpy as np
import pytest

from extract import probes
from heads import parity
from heads.errors import ModelError, ParityError
from heads.model_folder import save
from heads.parity import Scores
from tests.heads.digits_models import digits_model, digits_store

NAMES = ["a.png", "b.png"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return digits_store(tmp_path_factory.mktemp("digits"))


def scores(*rows, features=None):
    return Scores(np.array(rows, np.float64), features)


def test_the_probes_are_those_of_the_training_store_with_what_it_cached(store):
    model = digits_model(store, ("relu4:avg", "relu2:max"))

    found = parity.gather(model)

    assert len(found.names) == len(probes.NAMES) + 18
    assert found.store == str(store)
    assert found.cached.shape == (len(found.names), model.width)


def test_a_store_that_moved_along_with_the_model_is_found(store, tmp_path):
    model = save(digits_model(store), tmp_path / "photos.head")
    moved = replace(model, store={**model.store, "path": "/gone/photos.features"})
    (tmp_path / "photos.features").symlink_to(store)

    assert parity.gather(moved).store == str(tmp_path / "photos.features")


@pytest.mark.parametrize(
    "change",
    [{"path": "/gone/photos.features"}, {"root_digest": "0" * 64}],
    ids=["gone", "other images"],
)
def test_without_the_training_store_the_probes_are_synthetic(store, change):
    model = digits_model(store)
    found = parity.gather(replace(model, store={**model.store, **change}))

    assert found.names == list(probes.NAMES)
    assert (found.store, found.cached) == (None, None)


def test_an_altered_probe_is_left_out(tmp_path):
    model = digits_model(digits_store(tmp_path))
    (tmp_path / "photos.features" / "probes" / "ours-plain.png").write_bytes(b"another")

    assert "ours-plain.png" not in parity.gather(model).names


def test_probabilities_count_by_the_worst_probe_and_features_over_all_together():
    features = np.ones((2, 8), np.float32)
    found = scores([0.5, 0.5], [0.2, 0.8], features=features)
    expected = scores([0.5, 0.5], [0.25, 0.75], features=features * np.float32(1.1))

    facts = parity.difference(NAMES, found, expected)

    assert facts["worst"] == "b.png"
    assert facts["probabilities"] == pytest.approx(0.05)
    assert facts["features"] == pytest.approx(0.1 / 1.1, rel=1e-5)


@pytest.mark.parametrize(
    ("found", "expected", "count"),
    [
        ([0.3, 0.7], [0.7, 0.3], 1),
        ([0.50001, 0.49999], [0.49999, 0.50001], 0),
        ([0.5001, 0.4999], [0.4999, 0.5001], 1),
    ],
    ids=["clear", "within the margin", "beyond the margin"],
)
def test_another_first_class_counts_beyond_the_margin(found, expected, count):
    assert parity.difference(["a.png"], scores(found), scores(expected))["top_1"] == count


@pytest.mark.parametrize(("apart", "fits"), [(1e-6, True), (1e-3, False)])
def test_numbers_are_compared_in_the_scale_of_each(tmp_path, apart, fits):
    """Prices in thousands beside shares: float32 has seven digits of each, not four decimals."""
    expected = np.array([[250_000.0, 0.002], [90_000.0, 0.0], [-4.0, 0.001]])
    found = expected + apart * expected.max(axis=0)
    facts = parity.difference("abc", Scores(found), Scores(expected), "regression")

    assert facts["probabilities"] == pytest.approx(apart)
    assert "top_1" not in facts
    if fits:
        parity.check(tmp_path, {"exported file": facts}, "regression")
    else:
        with pytest.raises(
            ParityError, match="numbers differ by 1.0e-03 relative on [abc], at most"
        ):
            parity.check(tmp_path, {"exported file": facts}, "regression")


def test_a_number_that_is_0_on_all_probes_is_compared_as_it_is():
    zeros = np.zeros((2, 1))

    assert parity.difference("ab", Scores(zeros + 1e-3), Scores(zeros), "regression")[
        "probabilities"
    ] == pytest.approx(1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_infinitely_far(value):
    features = np.full((1, 4), value)
    facts = parity.difference(
        ["a.png"],
        scores([value, 0.5], features=features),
        scores([0.5, 0.5], features=np.ones((1, 4))),
    )

    assert facts["probabilities"] == facts["features"] == np.inf


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"features": 2e-4}, r"features differ by 2\.0e-04 relative, at most 1e-04"),
        ({"probabilities": 0.01, "worst": "a.png"}, r"probabilities differ by 1\.0e-02 on a\.png"),
        ({"top_1": 2}, "2 probes have another first class"),
    ],
)
def test_what_is_too_far_is_an_error_that_says_which_way_and_how_far(tmp_path, facts, message):
    differences = {"joined model": {"features": 1e-5}, "exported file": facts}
    with pytest.raises(ParityError, match=f"photos.onnx was not written.*exported file.*{message}"):
        parity.check(tmp_path / "photos.onnx", differences)


def test_what_is_near_enough_passes(tmp_path):
    facts = {"features": 1e-4, "probabilities": 1e-4, "worst": "a.png", "top_1": 0}
    parity.check(tmp_path, {"joined model": facts})


def test_a_report_gains_an_entry_and_keeps_the_others(tmp_path):
    report = tmp_path / "parity.json"
    for name, entry in (("a.onnx", {"n": 1}), ("b.keras", {"n": 2}), ("a.onnx", {"n": 3})):
        parity.write_report(report, name, entry)

    assert json.loads(report.read_text())["exports"] == {"a.onnx": {"n": 3}, "b.keras": {"n": 2}}
    assert [path.name for path in tmp_path.iterdir()] == ["parity.json"]


@pytest.mark.parametrize("content", ["", "[1]", '{"exports": 1}', "no JSON"])
def test_something_else_under_the_name_of_the_report_is_left_alone(tmp_path, content):
    (tmp_path / "parity.json").write_text(content)

    with pytest.raises(ModelError, match="something else than a parity report"):
        parity.check_report(tmp_path / "parity.json")
    assert (tmp_path / "parity.json").read_text() == content
