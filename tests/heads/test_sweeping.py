"""A sweep: validation rows choose among many heads, test rows are read once, at the end."""

import numpy as np
import pytest

import heads
from extract import relabeling
from heads.data import Source
from heads.errors import HeadError
from heads.grid import Grid
from tests.helpers import tree

SMALL = Grid(learning_rates=(0.01, 0.1), weight_decays=(0,), label_smoothings=(0,))


@pytest.fixture
def swept(painted):
    return heads.sweep(painted, grid=SMALL, epochs=5)


def test_the_best_of_all_tried_heads_is_kept_with_their_table(painted, swept):
    again = heads.load(painted.with_name("photos.head"))
    best = max(row["accuracy"] for row in again.sweep)

    assert {row["column"] for row in again.sweep} == {"last:avg", "3:avg"}
    assert [row["estimator"] for row in again.sweep].count("linear") == 4
    assert again.sweep == swept.model.sweep
    assert again.sweep[0]["chosen"] is True
    assert [row["chosen"] for row in again.sweep].count(True) == 1
    assert again.metrics["validation"]["accuracy"] == again.sweep[0]["accuracy"] == best
    assert swept.test.split == "test"


def test_test_rows_are_read_once_at_the_end(painted, monkeypatch):
    seen = []
    for name in ("load", "blocks"):
        real = getattr(Source, name)

        def note(self, split, *rest, _real=real, **options):
            seen.append(split)
            return _real(self, split, *rest, **options)

        monkeypatch.setattr(Source, name, note)
    heads.sweep(painted, grid=SMALL, epochs=2)

    assert seen.count("test") == 1
    assert seen[-1] == "test"


def test_an_altered_table_is_noticed(painted, swept):
    table = painted.with_name("photos.head") / "sweep.csv"
    table.write_bytes(table.read_bytes().replace(b"linear", b"Linear"))

    with pytest.raises(heads.errors.DamagedModelError, match=r"sweep.csv was altered"):
        heads.load(painted.with_name("photos.head"))


def test_a_chosen_linear_head_says_how_to_train_it_again(painted):
    """`fit --estimator linear` with what was chosen gives the same head."""
    model = heads.sweep(painted, estimators=["linear"], columns=["last"], grid=SMALL).model
    again = heads.fit(
        painted,
        painted.with_name("b.head"),
        estimator="linear",
        columns=["last"],
        settings=model.estimator["chosen"] | {"early_stopping": None},
    )

    np.testing.assert_allclose(
        again.scorer.kernels[0],
        model.scorer.kernels[0],
        atol=1e-5 * abs(again.scorer.kernels[0]).max(),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimators": ["svm"]}, "A sweep tries linear, logistic, ridge. Received: 'svm'"),
        ({"estimators": []}, "There is nothing to try. Give --estimator one of linear"),
        ({"epochs": 0}, "--epochs is at least 1. Received: 0"),
        ({"class_weight": "heavy"}, "--class-weight is balanced, or left out"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(painted, tmp_path, options, message):
    before = tree(tmp_path)
    with pytest.raises(HeadError, match=message):
        heads.sweep(painted, **options)

    assert tree(tmp_path) == before


def test_a_store_without_validation_rows_says_what_to_type(painted):
    relabeling.split(painted, "0.7/0/0.3")

    with pytest.raises(HeadError, match=r"no validation rows.*python -m extract split"):
        heads.sweep(painted)


def test_steps_that_are_too_long_are_one_line(painted, recwarn):
    grid = Grid(learning_rates=(1e38,), weight_decays=(1.0,), label_smoothings=(0,))
    with pytest.raises(HeadError, match="No head of the grid has a finite loss"):
        heads.sweep(painted, estimators=["linear"], grid=grid)

    assert not recwarn.list
