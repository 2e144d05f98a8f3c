"""Keras heads: scikit-learn's contract, each option, and the same numbers each time."""

import ast
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from heads import keras_stack
from heads.epochs import batch_order, batches
from heads.errors import HeadError
from heads.neural import LinearHead, MLPHead
from heads.optimizers import optimizer_name, optimizer_names
from heads.scoring import ACTIVATIONS, Dense

ROOT = Path(__file__).resolve().parents[2]
HEADS = [LinearHead, MLPHead]
OPTIMIZERS = [
    *["Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion"],
    *["Muon", "Nadam", "RMSprop", "SGD", "ScheduleFreeAdamW"],
]
COLUMNS = "stage,epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds"


def data(classes=2, rows=150, seed=0, flip_y=0.01):
    """Features (rows, 6) float32 that are not centered, and labels as words."""
    X, codes = make_classification(
        rows,
        6,
        n_informative=4,
        n_redundant=1,
        n_classes=classes,
        flip_y=flip_y,
        class_sep=1.5,
        random_state=seed,
    )
    scale = np.array([1, 10, 0.1, 1, 3, 1])
    return (X * scale + 5).astype(np.float32), np.array(["ant", "bee", "fly", "wasp"])[codes]


def arrays(head):
    """Return everything that was fitted, in one vector."""
    parts = [head.coef_, head.intercept_] if isinstance(head, LinearHead) else head.coefs_
    return np.concatenate([np.ravel(part) for part in parts])


def head(cls=LinearHead, **options):
    """Return a head that trains in a moment."""
    small = {"hidden": 8} if cls is MLPHead else {}
    return cls(**{**small, "epochs": 4, "batch_size": 32, "random_state": 0, **options})


# ---- scikit-learn's contract ------------------------------------------------------------------


@parametrize_with_checks(
    [LinearHead(epochs=5, learning_rate=0.01), MLPHead(8, epochs=5, learning_rate=0.01)]
)
def test_scikit_learn_s_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("classes", "columns"), [(2, 1), (3, 3)])
def test_the_fitted_state_is_arrays_with_scikit_learn_s_names_and_shapes(classes, columns):
    X, y = data(classes)
    linear, mlp = head().fit(X, y), head(MLPHead, hidden=(8, 5)).fit(X, y)

    assert (linear.coef_.shape, linear.intercept_.shape) == ((columns, 6), (columns,))
    assert [kernel.shape for kernel in mlp.coefs_] == [(6, 8), (8, 5), (5, columns)]
    assert [bias.shape for bias in mlp.intercepts_] == [(8,), (5,), (columns,)]
    assert {type(a) for a in (linear.coef_, *mlp.coefs_, *mlp.intercepts_)} == {np.ndarray}
    assert {a.dtype.name for a in (linear.coef_, *mlp.coefs_)} == {"float32"}


@pytest.mark.parametrize("classes", [2, 3])
def test_arrays_alone_predict_features_as_they_are(classes):
    X, y = data(classes)
    linear, mlp = head().fit(X, y), head(MLPHead, activation="gelu").fit(X, y)
    by_hand = X @ linear.coef_.T + linear.intercept_
    stack = Dense(tuple(mlp.coefs_), tuple(mlp.intercepts_), "gelu")

    np.testing.assert_allclose(
        linear.decision_function(X), by_hand if classes > 2 else by_hand[:, 0], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(mlp.predict(X), mlp.classes_[stack.logits(X).argmax(axis=1)])
    np.testing.assert_allclose(mlp.predict_proba(X).sum(axis=1), 1, atol=1e-12)


def test_a_linear_head_that_trains_for_long_is_logistic_regression():
    X, y = data(3, flip_y=0.3)
    trained = head(epochs=150, learning_rate=0.05, schedule="cosine", batch_size=150).fit(X, y)
    scaler = StandardScaler().fit(X)
    best = LogisticRegression(C=1e6, tol=1e-10, max_iter=10_000).fit(scaler.transform(X), y)
    lowest = log_loss(y, best.predict_proba(scaler.transform(X)))

    assert log_loss(y, trained.predict_proba(X)) == pytest.approx(lowest, rel=1e-4)


# ---- the same numbers as Keras, and the same each time ----------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [("Adam", {}), ("SGD", {"weight_decay": 0.1}), ("ScheduleFreeAdamW", {})],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_weights_are_those_of_a_plain_keras_model(optimizer, options, classes):
    """It sees the same batches, the last one shorter, and starts from the same weights."""
    import keras

    X, y = data(classes)
    codes = np.unique(y, return_inverse=True)[1]
    settings = {"learning_rate": 0.01, **options}
    trained = head(optimizer=optimizer, label_smoothing=0.1, **settings).fit(X, y)

    scaler = StandardScaler().fit(X)
    share = 0.9 * np.bincount(codes) / len(X) + 0.1 / classes
    start = np.log(share) if classes > 2 else np.log(share[1:] / share[:1])
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(len(start), kernel_initializer="zeros")]
    )
    model.layers[-1].bias.assign(start)
    made = getattr(keras.optimizers, optimizer)(**settings)
    made.exclude_from_weight_decay(var_names=["bias"])
    # ScheduleFreeAdamW copies the weights here; Keras loses the copy if a traced step builds it.
    made.build(model.trainable_variables)
    losses = keras.losses
    loss = losses.BinaryCrossentropy if classes == 2 else losses.CategoricalCrossentropy
    model.compile(optimizer=made, loss=loss(from_logits=True, label_smoothing=0.1))
    targets = (codes[:, None] if classes == 2 else np.eye(classes)[codes]).astype(np.float32)
    for epoch in range(1, 5):
        for chosen in np.split(batch_order(len(X), 0, epoch), range(32, len(X), 32)):
            model.train_on_batch(scaler.transform(X[chosen]), targets[chosen])
    kernel, bias = model.get_weights()

    np.testing.assert_allclose(trained.coef_.T, kernel / scaler.scale_[:, None], rtol=2e-4)
    np.testing.assert_allclose(
        trained.intercept_, bias - scaler.mean_ @ (kernel / scaler.scale_[:, None]), rtol=2e-4
    )


@pytest.mark.parametrize("cls", HEADS)
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam", "dropout": 0.3},
        {"optimizer": "adam", "dropout": 0.3, "random_state": 2**32 - 1},
        {"optimizer": "nadam", "schedule": "cosine"},
        {"optimizer": "adagrad"},
        {"optimizer": "schedulefreeadamw"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_trainer_that_is_used_again_is_as_if_new(cls, options):
    X, y = data()
    keras_stack._idle.clear()
    new = head(cls, **options).fit(X, y)
    other = head(cls, **{**options, "random_state": 1}).fit(X, y)
    again = head(cls, **options).fit(X, y)

    assert len(keras_stack._idle) == 1
    np.testing.assert_array_equal(arrays(again), arrays(new))
    assert np.any(arrays(other) != arrays(new))


def test_threads_do_not_share_a_trainer():
    X, y = data()
    alone = head(epochs=10).fit(X, y)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: head(epochs=10).fit(X, y), range(4)))

    for one in together:
        np.testing.assert_array_equal(one.coef_, alone.coef_)


def test_trainers_that_wait_are_few(monkeypatch):
    monkeypatch.setattr(keras_stack, "KEPT", 2)
    X, y = data()
    for width in range(1, 5):
        head(epochs=1).fit(X[:, :width], y)

    assert [stack.width for stack in keras_stack._idle] == [3, 4]


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_a_random_state_may_be_what_scikit_learn_takes(random_state):
    X, y = data()

    assert head(MLPHead, random_state=random_state).fit(X, y).score(X, y) > 0.4


def test_a_fit_neither_reads_nor_changes_global_states():
    import keras

    X, y = data()
    expected = head(MLPHead, dropout=0.2).fit(X, y)
    keras_stack._idle.clear()
    keras.config.set_dtype_policy("mixed_float16")
    name = keras.layers.Dense(1).name  # dense_7, say
    drawn, legacy = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    try:
        found = head(MLPHead, dropout=0.2).fit(X, y)
    finally:
        keras.config.set_dtype_policy("float32")

    np.testing.assert_array_equal(arrays(found), arrays(expected))
    assert random.getstate() == drawn
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
    number = int(name.partition("_")[2] or 0)
    assert keras.layers.Dense(1).name == f"dense_{number + 1}"


# ---- batches ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 31, 32, 33, 70])
def test_an_epoch_sees_every_row_once_in_batches_of_one_size(count):
    weights = np.ones(count)
    seen = list(batches(weights, 32, 5, 1))
    real = [chosen[given > 0] for chosen, given in seen]

    assert {len(chosen) for chosen, _ in seen} == {min(32, count)}
    assert sorted(np.concatenate(real)) == list(range(count))
    for _, given in seen:
        assert given.mean() == pytest.approx(1)


def test_order_depends_on_seed_and_epoch():
    orders = {tuple(batch_order(20, seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}

    assert len(orders) == 4


# ---- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_keras_trains(name):
    X, y = data()
    trained = head(optimizer=name.lower(), learning_rate=0.01, epochs=3).fit(X, y)
    losses = [row["loss"] for row in trained.history_]

    assert losses[-1] < losses[0] < np.log(2) + 1e-3
    assert optimizer_name(name.upper()) == name


def test_optimizers_that_wrap_others_are_not_offered():
    names = set(optimizer_names())

    assert set(OPTIMIZERS) <= names
    assert not {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"} & names


@pytest.mark.parametrize(
    ("cls", "option"),
    [
        (LinearHead, {"optimizer": "rmsprop"}),
        (LinearHead, {"learning_rate": 0.1}),
        (LinearHead, {"schedule": "linear"}),
        (LinearHead, {"epochs": 5}),
        (LinearHead, {"batch_size": 16}),
        (LinearHead, {"dropout": 0.2}),
        (MLPHead, {"dropout": 0.2}),
        (LinearHead, {"label_smoothing": 0.2}),
        (LinearHead, {"weight_decay": 0.5}),
        (LinearHead, {"class_weight": {"bee": 3.0}}),
        (LinearHead, {"random_state": 1}),
        (MLPHead, {"hidden": 9}),
        (MLPHead, {"hidden": (8, 8)}),
        (MLPHead, {"activation": "tanh"}),
    ],
    ids=str,
)
def test_every_option_changes_what_is_trained(cls, option):
    X, y = data()
    changed, plain = head(cls, **option).fit(X, y), head(cls).fit(X, y)

    assert np.any(changed.decision_function(X) != plain.decision_function(X))


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_numpy_and_keras_know_the_same_activations(activation):
    """Training goes downhill only if Keras' gradient is that of what NumPy computes."""
    import keras

    x = np.linspace(-6, 6, 41, dtype=np.float32)

    np.testing.assert_allclose(
        ACTIVATIONS[activation](x),
        keras.ops.convert_to_numpy(keras_stack._activation(activation)(keras.ops.array(x))),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.1, 0.1, 0.1, 0.1]),
        ("linear", [0.1, 0.075, 0.05, 0.025]),
        ("cosine", [0.05 * (1 + np.cos(np.pi * i / 4)) for i in range(4)]),
    ],
)
def test_the_learning_rate_follows_its_schedule(schedule, rates):
    X, y = data()
    trained = head(schedule=schedule, learning_rate=0.1).fit(X, y)

    np.testing.assert_allclose([row["learning_rate"] for row in trained.history_], rates, rtol=1e-5)


def test_label_smoothing_holds_probabilities_back():
    X, y = data(flip_y=0)
    sure = head(learning_rate=0.1, epochs=20).fit(X, y).predict_proba(X).max()
    held = head(learning_rate=0.1, epochs=20, label_smoothing=0.3).fit(X, y).predict_proba(X).max()

    assert sure > 0.99 > held


def test_weight_decay_shrinks_kernels():
    X, y = data()
    sizes = [
        np.linalg.norm(head(weight_decay=decay, learning_rate=0.05).fit(X, y).coef_ * X.std(axis=0))
        for decay in (None, 0.5, 2.0)
    ]

    assert sizes[0] > sizes[1] > sizes[2]


def test_no_weight_decay_means_what_the_optimizer_does():
    X, y = data()
    kernels = {
        (name, decay): head(optimizer=name, weight_decay=decay).fit(X, y).coef_
        for name, decay in [("adam", None), ("adamw", None), ("adamw", 0.0), ("adamw", 0.004)]
    }

    np.testing.assert_array_equal(kernels["adamw", None], kernels["adamw", 0.004])
    np.testing.assert_array_equal(kernels["adamw", 0.0], kernels["adam", None])
    assert np.any(kernels["adamw", None] != kernels["adam", None])


def test_balanced_classes_count_the_same():
    X, y = data(flip_y=0.2)
    few = np.flatnonzero((y == "ant") | (np.arange(len(y)) % 8 == 0))
    X, y = X[few], y[few]
    plain = head(epochs=30, learning_rate=0.02).fit(X, y)
    balanced = head(epochs=30, learning_rate=0.02, class_weight="balanced").fit(X, y)
    counts = dict(zip(*np.unique(y, return_counts=True), strict=True))
    by_hand = head(
        epochs=30, learning_rate=0.02, class_weight={k: 1 / n for k, n in counts.items()}
    ).fit(X, y)

    assert (balanced.predict(X) == "bee").sum() > (plain.predict(X) == "bee").sum()
    np.testing.assert_allclose(balanced.coef_, by_hand.coef_, rtol=1e-4)


@pytest.mark.parametrize("cls", HEADS)
def test_a_row_of_weight_zero_is_not_there(cls):
    X, y = data()
    weights = np.where(np.arange(len(y)) % 3, 1.0, 0.0)
    weighted = head(cls).fit(X, y, sample_weight=weights)
    without = head(cls).fit(X[weights > 0], y[weights > 0])

    np.testing.assert_array_equal(arrays(weighted), arrays(without))


def test_a_constant_feature_gets_no_weight():
    X, y = data()
    X[:, 2] = 7.5
    trained = head().fit(X, y)

    assert trained.coef_[0, 2] == 0
    assert np.isfinite(trained.coef_).all()


def test_a_rare_class_starts_rare():
    X, y = data(rows=300)
    y = np.where(np.arange(300) < 3, "bee", "ant")
    trained = head(epochs=1, learning_rate=1e-6).fit(X, y)

    np.testing.assert_allclose(trained.predict_proba(X)[:, 1], 0.01, rtol=0.01)


# ---- epochs, validation and views -------------------------------------------------------------


def overfitting():
    """Rows whose labels are half chance, and a head that learns them by heart."""
    X, y = data(rows=80, flip_y=0.5)
    held_out = data(rows=400, flip_y=0.5)
    return X, y, (held_out[0], held_out[1])


def test_history_has_one_row_per_epoch():
    X, y, validation = overfitting()
    told = []
    trained = head(early_stopping=None).fit(X, y, validation_data=validation, on_epoch=told.append)
    row = trained.history_[-1]

    assert ",".join(row) == COLUMNS
    assert (row["stage"], row["epoch"], len(trained.history_), trained.n_iter_) == ("head", 4, 4, 4)
    assert told == trained.history_
    assert row["loss"] == pytest.approx(log_loss(y, trained.predict_proba(X)), rel=1e-5)
    assert row["accuracy"] == trained.score(X, y)
    assert row["val_accuracy"] == trained.score(*validation)
    assert trained.best_epoch_ == 4


def test_history_without_validation_data_has_none():
    X, y = data()
    trained = head(early_stopping=1).fit(X, y)

    assert {(row["val_loss"], row["val_accuracy"]) for row in trained.history_} == {(None, None)}
    assert trained.n_iter_ == trained.best_epoch_ == 4


@pytest.mark.parametrize("cls", HEADS)
def test_early_stopping_restores_the_best_epoch(cls):
    X, y, validation = overfitting()
    options = {"learning_rate": 0.1, "epochs": 60}
    stopped = head(cls, early_stopping=3, **options).fit(X, y, validation_data=validation)
    losses = [row["val_loss"] for row in stopped.history_]
    until_best = {**options, "epochs": stopped.best_epoch_}
    short = head(cls, early_stopping=None, **until_best).fit(X, y)

    assert stopped.best_epoch_ == np.argmin(losses) + 1
    assert stopped.n_iter_ == stopped.best_epoch_ + 3 < 60
    assert log_loss(validation[1], stopped.predict_proba(validation[0])) == pytest.approx(
        min(losses), rel=1e-5
    )
    np.testing.assert_array_equal(arrays(stopped), arrays(short))


@pytest.mark.parametrize("patience", [None, 0])
def test_without_patience_the_last_epoch_is_kept(patience):
    X, y, validation = overfitting()
    options = {"learning_rate": 0.1, "epochs": 12, "early_stopping": patience}
    trained = head(**options).fit(X, y, validation_data=validation)

    assert trained.n_iter_ == trained.best_epoch_ == 12
    np.testing.assert_array_equal(trained.coef_, head(**options).fit(X, y).coef_)


@pytest.mark.parametrize("cls", HEADS)
def test_views_that_are_alike_change_nothing(cls):
    X, y = data()

    np.testing.assert_array_equal(
        arrays(head(cls).fit(X, y, views=np.stack([X, X, X]))), arrays(head(cls).fit(X, y))
    )


def test_every_view_is_seen():
    """A view that turns a feature around takes away what that feature says."""
    X, y = data()
    turned = X.copy()
    turned[:, 0] = 2 * X[:, 0].mean() - X[:, 0]
    plain = head(epochs=20, learning_rate=0.02).fit(X, y)
    mixed = head(epochs=20, learning_rate=0.02).fit(X, y, views=np.stack([X, turned]))

    assert abs(mixed.coef_[0, 0]) < abs(plain.coef_[0, 0]) / 3


def test_views_go_with_rows_of_weight_zero():
    X, y = data()
    views, there = np.stack([X, X + 1]), np.arange(len(y)) % 3 > 0
    weighted = head().fit(X, y, sample_weight=there.astype(float), views=views)
    without = head().fit(X[there], y[there], views=views[:, there])

    np.testing.assert_array_equal(weighted.coef_, without.coef_)


# ---- what is refused, and what is left when training stops ------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamm"}, r"no optimizer 'adamm'. Did you mean Adam\b"),
        ({"optimizer": "rms-prop"}, r"Did you mean RMSprop\?"),
        ({"optimizer": "zzz"}, "Give one of Adadelta, .*SGD"),
        ({"learning_rate": 0}, "learning_rate is a number above 0. Received: 0"),
        ({"schedule": "cosinus"}, "constant, cosine, linear. Received: 'cosinus'. .*cosine"),
        ({"epochs": 0}, "epochs is a whole number at least 1. Received: 0"),
        ({"epochs": 2.5}, "epochs is a whole number"),
        ({"batch_size": "32"}, "batch_size is a whole number at least 1. Received: '32'"),
        ({"dropout": 1}, "dropout is a number at least 0 and below 1. Received: 1"),
        ({"label_smoothing": -0.1}, "label_smoothing is a number at least 0"),
        ({"weight_decay": -1}, "weight_decay is a number at least 0"),
        ({"early_stopping": -1}, "early_stopping is a whole number at least 0"),
        ({"early_stopping": True}, "early_stopping is a whole number"),
        ({"class_weight": "even"}, "class_weight is balanced, None, or a dict"),
    ],
)
def test_a_parameter_out_of_range_is_one_line(options, message):
    X, y = data()
    with pytest.raises(HeadError, match=message) as caught:
        head(**options).fit(X, y)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "hidden is a whole number at least 1. Received: 0"),
        ({"hidden": (64, "8")}, "hidden is a whole number"),
        ({"hidden": ()}, "hidden is one number or more.*use linear"),
        ({"activation": "rellu"}, "activation is one of linear, relu.*Did you mean relu"),
    ],
)
def test_a_layer_that_cannot_be_is_one_line(options, message):
    X, y = data()
    with pytest.raises(HeadError, match=message):
        head(MLPHead, **options).fit(X, y)


def test_data_that_do_not_go_together_are_refused():
    X, y = data()
    with pytest.raises(HeadError, match="two classes. Received 1 class: 'ant'"):
        head().fit(X, np.full(len(X), "ant"))
    with pytest.raises(HeadError, match="validation_data has 'fly', .*Known: ant, bee"):
        head().fit(X, y, validation_data=(X[:1], ["fly"]))
    with pytest.raises(HeadError, match=r"views are \(K, 150, 6\). Received: \(150, 6\)"):
        head().fit(X, y, views=X)
    with pytest.raises(ValueError, match="Input views contains NaN"):
        head().fit(X, y, views=np.full((1, *X.shape), np.nan))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_steps_that_are_too_long_say_so(optimizer):
    X, y = data()
    with pytest.raises(HeadError, match=r"loss is not a number .* learning_rate below 1e\+30"):
        head(MLPHead, optimizer=optimizer, learning_rate=1e30, hidden=(8, 8)).fit(X, y)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_stop_in_the_middle_leaves_nothing_behind(error):
    X, y = data()
    expected = head().fit(X, y)
    stopped = head()

    def stop(row):
        if row["epoch"] == 2:
            raise error

    with pytest.raises(error):
        stopped.fit(X, y, on_epoch=stop)

    assert not [name for name in vars(stopped) if name in ("coef_", "classes_", "history_")]
    np.testing.assert_array_equal(head().fit(X, y).coef_, expected.coef_)


def test_parameters_stay_as_they_were_given():
    given = {"hidden": [8, 4], "optimizer": "ADAM", "early_stopping": 0, "weight_decay": 0}
    X, y = data()
    trained = head(MLPHead, **given).fit(X, y)

    assert {name: trained.get_params()[name] for name in given} == given


# ---- other backends ---------------------------------------------------------------------------

TRAIN_ALL = """
import sys
from tests.heads.test_neural import *

X, y = data(3)
for cls in HEADS:
    first = head(cls, schedule="cosine").fit(X, y)
    dropped = [head(cls, dropout=0.3, random_state=seed).fit(X, y) for seed in (0, 1, 0)]
    again = head(cls, schedule="cosine").fit(X, y)
    np.testing.assert_array_equal(arrays(first), arrays(again))
    np.testing.assert_array_equal(arrays(dropped[0]), arrays(dropped[2]))
    assert np.any(arrays(dropped[0]) != arrays(dropped[1]))
    np.save(f"{sys.argv[1]}/{cls.__name__}.npy", arrays(first))
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_trains_the_same_head(backend, tmp_path):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    subprocess.run(
        [sys.executable, "-c", TRAIN_ALL, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": backend},
        cwd=ROOT,
        check=True,
    )

    X, y = data(3)
    for cls in HEADS:
        np.testing.assert_allclose(
            np.load(tmp_path / f"{cls.__name__}.npy"),
            arrays(head(cls, schedule="cosine").fit(X, y)),
            rtol=1e-3,
            atol=1e-5,
        )


@pytest.mark.parametrize("name", ["neural", "epochs", "keras_stack", "optimizers"])
def test_no_backend_is_named_in_an_import(name):
    tree = ast.parse((ROOT / "heads" / f"{name}.py").read_text(encoding="utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [
        a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names
    ]

    assert not {str(module).split(".")[0] for module in modules} & {"tensorflow", "jax", "torch"}
