"""Labels by themselves and numbers, trained by Keras: the losses are those of what is known."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import parametrize_with_checks

import extract
import heads
from heads import conversion, exporting
from heads.errors import HeadError
from heads.exporting import export
from heads.neural import LinearHead, MLPHead
from heads.neural_outputs import KerasLabels, KerasRegressor
from tests.heads.conftest import paint, relabelled

WARM = {"red": "red|warm", "green": "green", "blue": "blue|cold"}
QUICK = {"epochs": 40, "learning_rate": 0.05}


def indicators(labels=3, rows=90, seed=0):
    """Rows X (n, 6) with labels (n, labels) of which each is a side of a plane, with noise."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, 6))
    y = X @ random.normal(size=(6, labels)) + random.normal(size=(rows, labels)) > 0.5
    return X, y.astype(float)


@pytest.mark.parametrize("cls", [LinearHead, MLPHead])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"focal": 2.0},
        {"class_weight": "balanced", "label_smoothing": 0.1},
        {"augment": "mixup:0.2", "batch_size": 32},
    ],
    ids=["plain", "focal", "balanced and smoothed", "mixup"],
)
def test_one_label_is_learned_as_two_classes_are(cls, options):
    X, y = indicators(labels=1)
    two = cls(random_state=0, epochs=4, **options).fit(X, y[:, 0].astype(int))
    one = KerasLabels(cls(random_state=0, epochs=4, **options)).fit(X, y)

    for ours, theirs in zip(one.dense_.kernels, two._head().kernels, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)  # sums in another order
    assert one.history_[-1]["loss"] == pytest.approx(two.history_[-1]["loss"], rel=1e-6)
    assert one.history_[-1]["accuracy"] == two.history_[-1]["accuracy"]


def test_labels_do_not_touch_each_other():
    """With plain steps, a label beside two others moves as alone at a third of the rate."""
    X, y = indicators()
    options = {"optimizer": "sgd", "epochs": 3, "random_state": 0}
    together = KerasLabels(LinearHead(learning_rate=0.3, **options)).fit(X, y)
    alone = [
        KerasLabels(LinearHead(learning_rate=0.1, **options)).fit(X, y[:, [i]]) for i in range(3)
    ]

    for place, one in enumerate(alone):
        np.testing.assert_allclose(
            together.dense_.kernels[0][:, place], one.dense_.kernels[0][:, 0], atol=1e-6
        )


def test_the_loss_that_is_told_is_scikit_learns():
    X, y = indicators()
    head = KerasLabels(LinearHead(epochs=3, random_state=0)).fit(X, y, validation_data=(X, y))
    p = 1 / (1 + np.exp(-head.dense_.logits(X)))
    row = head.history_[-1]
    losses = [log_loss(*pair) for pair in zip(y.T, p.T, strict=True)]

    assert row["val_loss"] == pytest.approx(np.mean(losses))
    assert row["val_accuracy"] == ((p > 0.5) == y).mean()
    assert row["loss"] == pytest.approx(row["val_loss"])


def test_balanced_labels_find_what_is_rare():
    X, y = indicators(rows=400)
    y[:, 0] *= np.random.default_rng(1).random(400) < 0.2
    found = [
        (KerasLabels(LinearHead(class_weight=w, random_state=0, **QUICK)).fit(X, y))
        for w in (None, "balanced")
    ]
    plain, balanced = ((head.dense_.logits(X)[:, 0] > 0)[y[:, 0] > 0].mean() for head in found)

    assert balanced > plain + 0.2


@parametrize_with_checks(
    [KerasRegressor(LinearHead(epochs=20, learning_rate=0.05, random_state=0))]
)
def test_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("cls", [LinearHead, MLPHead])
def test_numbers_are_in_their_own_units(cls):
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 4))
    Y = 1000 + X @ random.normal(size=(4, 2)) * [1.0, 500.0]
    head = KerasRegressor(cls(epochs=60, learning_rate=0.02, random_state=0)).fit(
        X, Y, validation_data=(X, Y)
    )

    assert head.score(X, Y) > 0.97
    assert head.history_[-1]["accuracy"] is None
    assert head.history_[-1]["val_loss"] == pytest.approx(
        np.mean(((head.predict(X) - Y) / Y.std(axis=0)) ** 2), rel=1e-5
    )


def test_a_long_training_ends_at_least_squares():
    random = np.random.default_rng(0)
    X = random.normal(size=(80, 3))
    y = X @ [1.0, -2.0, 0.5] + 3 + random.normal(size=80)
    options = {"epochs": 300, "schedule": "cosine", "batch_size": 80, "learning_rate": 0.05}
    head = KerasRegressor(LinearHead(random_state=0, **options)).fit(X, y)
    theirs = LinearRegression().fit(X, y)

    np.testing.assert_allclose(head.predict(X), theirs.predict(X), atol=1e-3)


@pytest.mark.parametrize(
    ("estimator", "settings"), [("linear", {}), ("mlp", {"hidden": 8, "focal": 2})]
)
def test_labels_become_a_model_with_thresholds(painted, estimator, settings):
    relabelled(painted, lambda row: WARM[row["label"]])
    heard = []
    model = heads.fit(
        painted,
        task="multilabel",
        columns=["last"],
        estimator=estimator,
        settings={**QUICK, **settings},
        class_weight="balanced",
        on_epoch=heard.append,
    )
    again = heads.load(model.path)

    assert heads.evaluate(again).report.scalars["f1_micro"] > 0.8
    assert len(again.thresholds) == 5
    assert again.estimator["parameters"]["class_weight"] == "balanced"
    assert [row["epoch"] for row in again.history] == [row["epoch"] for row in heard]
    assert again.estimator["chosen"]["epochs"] <= len(heard)


def test_numbers_become_a_model_and_refit_repeats_what_was_chosen(painted):
    numbers = {"red": 3.0, "green": 1.5, "blue": -2.0}
    relabelled(painted, lambda row: numbers[row["label"]])
    options = {"task": "regression", "columns": ["last"], "estimator": "mlp", "settings": QUICK}
    model = heads.fit(painted, **options)
    refitted = heads.fit(painted, refit="all", **options)

    assert heads.evaluate(model).report.scalars["r2"] > 0.5
    assert refitted.estimator == model.estimator
    assert not np.array_equal(model.scorer.kernels[0], refitted.scorer.kernels[0])


def test_a_multilabel_head_of_layers_is_exported_and_predicts(tmp_path, monkeypatch):
    """The joined model is loaded again and compared with the head: labels by themselves."""
    monkeypatch.setattr(exporting, "_in_child", conversion.convert)
    paint(tmp_path / "photos")
    store = tmp_path / "photos.features"
    extract.run(tmp_path / "photos", store, backbone="digits")
    relabelled(store, lambda row: WARM[row["label"]])
    model = heads.fit(
        store, task="multilabel", estimator="mlp", settings={"hidden": 8, "epochs": 3, "focal": 2}
    )
    summary = export(model, tmp_path / "photos.keras")
    found = heads.predict(model, tmp_path / "photos" / "test")

    assert summary.probabilities < 1e-4
    assert found.images == 18
    assert set(found.labels) <= {"blue", "cold", "green", "red", "warm"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"task": "regression", "settings": {"focal": 2}},
            "focal is about classes, and --regression has none. Leave it out",
        ),
        ({"task": "regression", "class_weight": "balanced"}, "class_weight is about classes"),
        ({"task": "multilabel", "settings": {"class_weight": {"a": 2}}}, "balanced or None"),
        ({"task": "multilabel", "settings": {"focal": -1}}, "focal is a number at least 0"),
        ({"task": "multilabel", "settings": {"hiden": 3}}, "linear has no setting 'hiden'"),
    ],
)
def test_what_does_not_fit_is_one_line(painted, options, message):
    relabelled(painted, lambda row: len(row["label"]))
    with pytest.raises(HeadError, match=message):
        heads.fit(painted, columns=["last"], estimator="linear", **options)
