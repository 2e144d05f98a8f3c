"""Many heads in one product: each is what it would be alone, and what Keras trains."""

import numpy as np
import pytest

from heads.batched import Heads
from heads.epochs import Scaling
from heads.errors import HeadError
from heads.grid import Grid, Setting, numbers
from heads.halving import Table, train
from heads.neural import LinearHead
from heads.neural_rows import scaling_of


def table(classes, rows=150, width=7, seed=0, weights=None):
    """Rows around class means, and a third as many that judge."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, rows + rows // 3)
    codes[:classes] = range(classes)
    means = rng.normal(size=(classes, width))
    X = (3 + means[codes] + 1.5 * rng.normal(size=(len(codes), width))).astype(np.float32)
    weights = np.ones(rows, np.float32) if weights is None else weights
    scaling = scaling_of(X[:rows], np.ones(rows))
    made = Table(
        scaling=scaling,
        X=scaling(X[:rows]),
        codes=codes[:rows],
        weights=weights,
        shares=np.bincount(codes[:rows], weights) / weights.sum(),
        X_judge=scaling(X[rows:]),
        codes_judge=codes[rows:],
    )
    return made, X, codes


@pytest.mark.parametrize("classes", [2, 4])
def test_each_head_is_what_keras_trains(classes):
    made, X, codes = table(classes)
    settings = Grid(
        learning_rates=(1e-3, 3e-2), weight_decays=(0.0, 0.5), label_smoothings=(0.0, 0.2)
    ).settings(["a"])
    tried, best = train({"a": made}, settings, epochs=6, halve=False)
    chosen = min(range(len(tried)), key=lambda i: tried[i].rank)
    for index, (setting, ours) in enumerate(zip(settings, tried, strict=True)):
        keras = LinearHead(
            learning_rate=setting.learning_rate,
            weight_decay=setting.weight_decay,
            label_smoothing=setting.label_smoothing,
            epochs=6,
            random_state=0,
        ).fit(X[:150], codes[:150], validation_data=(X[150:], codes[150:]))

        assert ours.accuracy == pytest.approx(keras.history_[ours.best_epoch - 1]["val_accuracy"])
        if index == chosen:
            assert ours.best_epoch == keras.best_epoch_
            np.testing.assert_allclose(best.kernels[0].T, keras.coef_, atol=1e-5)
            np.testing.assert_allclose(best.biases[0], keras.intercept_, atol=1e-4)


@pytest.mark.parametrize("halve", [False, True])
def test_a_head_among_many_is_the_head_alone(halve):
    made, _, _ = table(3)
    settings = Grid().settings(["a"])
    tried, best = train({"a": made}, settings, epochs=9, halve=halve)
    winner = min(tried, key=lambda t: t.rank)
    alone, head = train({"a": made}, [winner.setting], epochs=winner.epochs)

    assert (alone[0].best_epoch, alone[0].accuracy) == (winner.best_epoch, winner.accuracy)
    np.testing.assert_allclose(head.kernels[0], best.kernels[0], atol=1e-5)


def test_the_worse_half_is_dropped_at_every_rung():
    made, _, _ = table(3)
    running = []
    tried, _ = train(
        {"a": made},
        Grid().settings(["a"]),
        epochs=8,
        on_epoch=lambda epoch, leader, heads: running.append(heads),
    )

    assert [running[i] <= most for i, most in ((0, 13), (1, 7), (3, 4), (7, 2))] == [True] * 4
    assert {t.epochs for t in tried if t.dropped} <= {0, 1, 2, 4, 8}
    assert sum(t.epochs == 0 for t in tried) == 26
    assert min(tried, key=lambda t: t.rank).epochs > 0


def test_seeds_are_orders_of_rows_and_columns_are_tables():
    first, _, _ = table(3)
    second, _, _ = table(3, width=4, seed=1)
    settings = Grid(learning_rates=(0.01,), weight_decays=(0,), seeds=(0, 1)).settings(["a", "b"])
    tried, _ = train({"a": first, "b": second}, settings, epochs=3, halve=False)

    assert [t.setting for t in tried] == settings
    assert len({t.log_loss for t in tried}) == len(tried) == 8


def test_weights_count_rows_more_often():
    """A row of weight 2 is two rows: one full batch has the same mean slope."""
    plain, _, _ = table(2, rows=60)
    twice = Table(
        scaling=Scaling(np.zeros(7), np.ones(7)),
        X=np.concatenate([plain.X, plain.X[:20]]),
        codes=np.concatenate([plain.codes, plain.codes[:20]]),
        weights=np.ones(80, np.float32),
        shares=np.full(2, 0.5),
        X_judge=plain.X_judge,
        codes_judge=plain.codes_judge,
    )
    weights = np.where(np.arange(60) < 20, 2, 1) * 60 / 80
    once = Table(
        scaling=twice.scaling,
        X=plain.X,
        codes=plain.codes,
        weights=weights.astype(np.float32),
        shares=twice.shares,
        X_judge=plain.X_judge,
        codes_judge=plain.codes_judge,
    )
    setting = Setting(column="a", learning_rate=0.1, weight_decay=0, label_smoothing=0, seed=0)
    (_, a), (_, b) = (train({"a": t}, [setting], epochs=1) for t in (once, twice))

    np.testing.assert_allclose(a.kernels[0], b.kernels[0], atol=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rates": ()}, "The grid is empty: give --learning-rate at least one number"),
        ({"learning_rates": (0.0,)}, "--learning-rate takes numbers above 0. Received: 0.0"),
        ({"weight_decays": (float("nan"),)}, "--weight-decay takes numbers at least 0"),
        ({"label_smoothings": (1.0,)}, "--label-smoothing takes numbers 0 to below 1"),
        ({"seeds": (0.5,)}, "--seed takes numbers whole and at least 0. Received: 0.5"),
    ],
)
def test_a_grid_with_nothing_in_it_is_one_line(values, message):
    with pytest.raises(HeadError, match=message):
        Grid(**values)


@pytest.mark.parametrize("text", ["", " , "])
def test_text_without_numbers_says_what_to_type(text):
    with pytest.raises(HeadError, match=r"no number in .* Give some, such as --seed 0,1"):
        numbers("--seed", text, (0, 1))


def test_text_that_is_no_number():
    assert numbers("--seed", "1, 2", (0,)) == (1, 2)
    assert numbers("--seed", None, (0,)) == (0,)
    with pytest.raises(HeadError, match=r"such as 0.001,0.01. Received: '1,x'"):
        numbers("--seed", "1,x", (0,))


def test_heads_that_are_sure_of_their_rows_leave_no_subnormal_numbers():
    """A processor takes a hundred times as long for each of them."""
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(16, 500)).astype(np.float32), rng.integers(0, 10, 16)
    heads = Heads.start(500, np.full(10, 0.1), Grid().settings(["a"]))
    for _ in range(60):
        heads.step(X, codes, np.ones(16, np.float32))

    smallest = np.finfo(np.float32).tiny
    for numbers_of in (heads._slopes(X, codes), heads.kernels, *heads.moments):
        assert not np.any((numbers_of != 0) & (np.abs(numbers_of) < smallest))
