"""The road of a head: a store in, a model out, chosen on validation rows and on nothing else."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import extract
import heads
from extract.errors import InputError
from heads import train as training
from heads.data import Source, open_source
from heads.errors import HeadError, ModelError
from heads.estimators import ESTIMATORS
from heads.fitting import default_model, fit
from tests.heads.conftest import paint, relabelled
from tests.helpers import tree

QUICK = {"linear": {"epochs": 5}, "mlp": {"epochs": 5, "hidden": 8}}
OTHERS = ["sklearn.naive_bayes.GaussianNB", "sklearn.ensemble.RandomForestClassifier"]


@pytest.fixture
def read(monkeypatch):
    """Names of the splits whose rows were read, as they are read."""
    seen = []
    for name in ("load", "blocks"):
        real = getattr(Source, name)

        def note(self, split, *rest, _real=real, **options):
            seen.append(split)
            return _real(self, split, *rest, **options)

        monkeypatch.setattr(Source, name, note)
    return seen


@pytest.mark.parametrize("name", [*ESTIMATORS, *OTHERS])
def test_every_estimator_becomes_a_model_without_reading_test_rows(painted, snapshot, read, name):
    model = fit(painted, estimator=name, columns=["last"], settings=QUICK.get(name, {}))
    again = heads.load(painted.with_name("photos.head"))
    X = snapshot.load("test", "last").X

    assert set(read) == {"train", "validation"}
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert model.metrics["validation"]["rows"] == 18
    assert model.metrics["train"]["accuracy"] > 0.8
    assert again.estimator["name"] == name
    assert again.splits == {"train": 36, "validation": 18, "test": 18}


ONE = {"logistic": {"C": 0.1}, "ridge": {"alpha": 10.0}, "svm": {"C": 0.1}}
"""Settings that leave validation rows nothing to choose."""


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *((name, "classification") for name in ESTIMATORS if name not in ("linear", "mlp")),
        ("logistic", "multilabel"),
        ("ridge", "multilabel"),
    ],
)
def test_validation_rows_never_train(painted, tmp_path, snapshot, name, task):
    """Where there was one penalty, the rows that should only judge were trained on."""
    X, found = snapshot.load("test", "last").X, []
    other = {"red": "blue", "blue": "green", "green": "red"}
    options = {"columns": ["last"], "settings": ONE.get(name, {}), "task": task}

    def swapped(row):
        return other[row["label"]] if row["split"] == "validation" else row["label"]

    for turn in (0, 1):
        if turn:
            relabelled(painted, swapped)
        model = fit(painted, tmp_path / f"{turn}.head", estimator=name, **options)
        found.append(model.scorer.logits(X))

    np.testing.assert_array_equal(found[1], found[0])
    if name in ONE and task == "classification":
        assert model.metrics["validation"]["accuracy"] < 0.5  # the labels that it never saw


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if n not in ("prototype", "knn")])
def test_the_same_seed_is_the_same_model(painted, tmp_path, name):
    for out in ("a", "b"):
        fit(
            painted,
            tmp_path / out,
            estimator=name,
            columns=["last"],
            settings=QUICK.get(name, {}),
            seed=3,
        )

    assert (tmp_path / "a" / "weights.npz").read_bytes() == (
        tmp_path / "b" / "weights.npz"
    ).read_bytes()


def test_validation_rows_choose_the_penalty(painted):
    """The chosen penalty is the one that scikit-learn finds best on the same rows."""
    model = fit(painted, columns=["last"], settings={"Cs": [1e-6, 1.0]})
    source = open_source(painted, ["last"])
    train, validation = source.load("train"), source.load("validation")
    scores = {
        C: make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
        .fit(train.X, train.y)
        .score(validation.X, validation.y)
        for C in (1e-6, 1.0)
    }

    assert model.estimator["chosen"]["C"] == max(scores, key=scores.get)
    assert len(model.selection) == 2


def test_refit_trains_on_validation_rows_too_with_what_they_chose(painted, monkeypatch):
    first = fit(painted, columns=["last"])
    calls = []
    real = training.train
    monkeypatch.setattr(
        "heads.fitting.train", lambda *a, **k: calls.append((a[2], k)) or real(*a, **k)
    )
    model = fit(painted, columns=["last"], refit="all")

    assert calls[1][1]["on"] == ("train", "validation")
    assert calls[1][0]["Cs"] == [first.estimator["chosen"]["C"]]
    assert model.estimator["chosen"] == first.estimator["chosen"]
    assert model.temperature == first.temperature
    assert model.metrics == first.metrics
    assert not np.array_equal(model.scorer.kernels[0], first.scorer.kernels[0])


def test_pipelines_of_a_scaler_and_a_linear_head_become_arrays(painted, snapshot):
    model = fit(
        painted,
        estimator=make_pipeline(StandardScaler(), LogisticRegression()),
        columns=["last"],
    )

    assert model.scorer.kind == "dense"
    assert model.estimator["name"] == "Pipeline"
    assert not (painted.with_name("photos.head") / "estimator.skops").exists()


def test_class_weight_reaches_the_estimator(tmp_path, fake_backbone):
    images = paint(tmp_path / "photos")
    for path in sorted((images / "train" / "red").iterdir())[3:]:
        path.unlink()
    extract.run(images, tmp_path / "photos.features")
    plain, balanced = (
        fit(
            tmp_path / "photos.features",
            tmp_path / f"{weight}.head",
            settings={"C": 0.01},
            class_weight=weight,
        )
        for weight in (None, "balanced")
    )
    red = plain.classes.index("red")
    X = open_source(tmp_path / "photos.features").load("validation").X

    assert balanced.predict_proba(X)[:, red].mean() > plain.predict_proba(X)[:, red].mean() + 0.01


def test_what_is_left_out_is_told(tmp_path, fake_backbone, painted):
    class Listener(list):
        def note(self, text):
            self.append(text)

        def tick(self, tick):
            raise AssertionError

    images = paint(tmp_path / "some")
    (images / "train" / "red" / "0.png").write_bytes(b"no picture")
    extract.run(images)
    heard = Listener()
    fit(tmp_path / "some.features", reporter=heard)

    assert heard == ["1 bad items are not trained on"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "logistik"}, "no estimator 'logistik'. Is it logistic?"),
        ({"estimator": "os.system"}, "There is no estimator 'os.system'"),
        ({"settings": {"penalty": 1}}, "logistic has no setting 'penalty'"),
        ({"settings": {"C": -1.0}}, "logistic cannot be trained so|C"),
        ({"class_weight": "heavy"}, "--class-weight is balanced, or left out. Received: 'heavy'"),
        (
            {"estimator": "prototype", "class_weight": "balanced"},
            "prototype has no class_weight. Leave --class-weight out",
        ),
        ({"refit": "test"}, "--refit is one of train, all. Received: 'test'"),
        ({"columns": ["nothing"]}, "column 'nothing' is no column"),
        (
            {"estimator": LogisticRegression},
            r"LogisticRegression is a class. Give one that is made: LogisticRegression\(\)",
        ),
        *(
            (
                {"estimator": estimator},
                f"{type(estimator).__name__} is no classifier. Give a name such as 'logistic', or "
                f"a classifier of scikit-learn such as LogisticRegression",
            )
            for estimator in (LinearRegression(), SGDRegressor(), StandardScaler(), object())
        ),
        ({"seed": "x"}, "seed is a whole number at least 0. Received: 'x'"),
        ({"seed": 1.5}, "seed is a whole number at least 0. Received: 1.5"),
        ({"seed": -1}, "seed is a whole number at least 0. Received: -1"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_options_are_one_line_and_write_nothing(painted, tmp_path, options, message):
    before = tree(tmp_path)
    with pytest.raises((HeadError, InputError), match=message) as caught:
        fit(painted, **{"columns": ["last"], **options})

    assert "\n" not in str(caught.value)
    assert tree(tmp_path) == before


def test_numbers_of_numpy_are_numbers(painted):
    plain = fit(painted, estimator="mlp", columns=["last"], seed=3, settings=QUICK["mlp"])
    settings = {name: np.int64(value) for name, value in QUICK["mlp"].items()}
    model = fit(painted, estimator="mlp", columns=["last"], seed=np.int64(3), settings=settings)

    assert model.settings["seed"] == 3
    np.testing.assert_array_equal(model.scorer.kernels[0], plain.scorer.kernels[0])


def test_a_stop_in_the_middle_leaves_the_older_model(painted, tmp_path):
    fit(painted, columns=["last"])
    before = tree(tmp_path)

    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(painted, estimator="linear", columns=["last"], on_epoch=stop)

    assert tree(tmp_path) == before


def test_a_place_that_is_taken_is_refused_before_training(painted, tmp_path, read):
    (tmp_path / "photos.head").write_text("a file")
    with pytest.raises(ModelError, match=r"photos.head is something else than a model"):
        fit(painted, columns=["last"])

    assert read == []


@pytest.mark.parametrize(
    ("store", "model"),
    [("photos.features", "photos.head"), ("a/b.c.features", "a/b.c.head"), ("x", "x.head")],
)
def test_a_model_lies_beside_its_store(store, model):
    assert default_model(store).as_posix() == model
