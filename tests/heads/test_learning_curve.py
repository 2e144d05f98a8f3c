"""Few-shot: means over draws of k images per class, judged on validation rows alone."""

import json
import re

import numpy as np
import pytest

import heads
from heads.data import Source
from heads.errors import HeadError, ModelError
from heads.learning_curve import Point, in_their_span, verdict
from heads.ridge import RidgeHead


def test_each_k_has_a_mean_and_an_interval_for_each_estimator(painted, tmp_path):
    found = heads.few_shot(painted, tmp_path / "c.svg", columns=["last"], draws=3)

    assert [p.shots for p in found.curve("ridge")] == [1, 2, 5, 10, None]
    assert {p.estimator for p in found.points} == {"ridge", "prototype", "logistic"}
    assert all(0 <= p.accuracy <= 1 and p.interval >= 0 for p in found.points if p.shots)
    assert [p.images for p in found.curve("logistic")] == [3, 6, 15, 30, 36]
    assert found.notes == ("Class 'blue' has 12 training images, so the curve ends there",)
    assert "images per class" in found.verdict
    assert (tmp_path / "c.svg").read_bytes().startswith(b"<?xml")


def test_test_rows_are_not_read(painted, monkeypatch):
    seen = []
    real = Source.load
    monkeypatch.setattr(Source, "load", lambda self, s: seen.append(s) or real(self, s))
    heads.few_shot(painted, columns=["last"], shots=[1], draws=2)

    assert seen == ["train", "validation"]


def test_the_same_seed_is_the_same_curve(painted):
    a, b = (heads.few_shot(painted, columns=["last"], shots=[2], draws=2) for _ in range(2))

    assert a.points == b.points


def test_ridge_in_the_span_of_its_rows_is_ridge():
    random = np.random.default_rng(0)
    X, others = random.normal(5, size=(12, 40)), random.normal(5, size=(30, 40))
    y = np.arange(12) % 3
    small, few = in_their_span(X, others)
    full, short = RidgeHead().fit(X, y), RidgeHead().fit(small, y)

    assert small.shape == (12, 12)
    assert short.alpha_ == full.alpha_
    np.testing.assert_allclose(
        short.decision_function(few), full.decision_function(others), atol=1e-8
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": [13]}, "--shots 13 is more than class 'blue' has: 12 images.*up to 12"),
        ({"shots": [0]}, "--shots are whole numbers of at least 1"),
        ({"shots": []}, "--shots are whole numbers of at least 1"),
        ({"draws": 1}, "--draws is at least 2"),
        ({"seed": -1}, "seed is a whole number at least 0. Received: -1"),
        ({"seed": "x"}, "seed is a whole number at least 0. Received: 'x'"),
        ({"out": "c.pdf"}, "--out is a .png or .svg file"),
    ],
)
def test_bad_options_are_one_line(painted, options, message):
    with pytest.raises(HeadError, match=message):
        heads.few_shot(painted, **{"columns": ["last"], **options})


@pytest.mark.parametrize(
    ("gain", "half", "words"),
    [
        (0.05, 0.01, "more labels would help"),
        (0.001, 0.001, "would hardly help"),
        (0.0, 0.0, "would hardly help"),
        (0.02, 0.04, r"can be a gain of 0\.0[67]\d\d or none, so whether .* cannot be told"),
        (-0.01, 0.03, r"can be a gain of 0\.03\d\d or none"),
        (-0.05, 0.01, "would hardly help"),
    ],
)
def test_the_verdict_says_what_its_interval_allows(gain, half, words):
    facts = {"estimator": "ridge", "interval": half, "draws": 5, "images": 9}
    points = [Point(shots=k, accuracy=a, **facts) for k, a in ((5, 0.7), (10, 0.7 + gain))]

    assert re.search(f"{words}[^:]*$", verdict(points, [5, 10]))


@pytest.mark.parametrize("name", ["no/c.png", f"{'c' * 250}.png"])
def test_a_plot_that_cannot_be_written(painted, tmp_path, name):
    with pytest.raises(ModelError, match="cannot be written"):
        heads.few_shot(painted, tmp_path / name, columns=["last"], shots=[1, 2], draws=2)


def test_the_command_prints_the_table_and_writes_the_plot(cli, painted):
    words = ("few-shot", painted, "--column", "last", "--shots", "1,2", "--draws", "2")
    status, out, _ = cli(*words)
    facts = json.loads(cli(*words, "--json")[1])

    assert status == 0
    assert out.splitlines()[0].split() == [
        "images",
        "per",
        "class",
        "ridge",
        "prototype",
        "logistic",
    ]
    assert painted.with_name("photos.few-shot.png").read_bytes().startswith(b"\x89PNG")
    assert len(facts["points"]) == 9
