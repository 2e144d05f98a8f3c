"""Labels that do not exclude each other, and numbers: from columns of items to predictions."""

import csv
import json

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score, f1_score, hamming_loss, r2_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import extract
import heads
from extract.store.opening import open_store
from heads.errors import HeadError
from heads.inference import Answer
from heads.logistic import LogisticHead
from heads.multi_output import MultilabelLogistic, RidgeRegressor
from heads.predictions import judge_outputs, write_outputs_csv
from heads.task_metrics import best_thresholds, measure_labels, measure_numbers
from tests.heads.conftest import relabelled, tabulate

WARM = {"red": "red|warm", "green": "green", "blue": "blue|cold"}


def with_columns(snapshot, **columns):
    """Give a snapshot's items further columns, as a table of the user's would."""
    for name, function in columns.items():
        cells = [function(row) for row in snapshot.items.to_pylist()]
        snapshot.items = snapshot.items.append_column(name, pa.array(cells, pa.string()))
    return snapshot


@parametrize_with_checks([RidgeRegressor()])
def test_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ["logistic", "ridge"])
def test_labels_separated_by_bars_become_a_model(painted, estimator):
    relabelled(painted, lambda row: WARM[row["label"]])
    model = heads.fit(painted, task="multilabel", columns=["last"], estimator=estimator)
    again = heads.load(model.path)
    evaluation = heads.evaluate(again)

    assert again.classes == ("blue", "cold", "green", "red", "warm")
    assert again.task == "multilabel"
    assert evaluation.report.scalars["f1_micro"] > 0.8
    assert evaluation.report.rows == 18
    assert again.predict(np.zeros((2, 6), np.float32)).shape == (2, 5)
    assert len(again.thresholds) == 5


def test_several_columns_of_0_and_1_are_labels_too(painted, snapshot):
    store = with_columns(
        snapshot,
        warm=lambda row: str(int(row["label"] == "red")),
        grass=lambda row: "true" if row["label"] == "green" else "False",
    )
    model = heads.fit(
        store,
        painted.with_name("a.head"),
        task="multilabel",
        label=["warm", "grass"],
        columns=["last"],
    )

    assert model.classes == ("warm", "grass")
    assert model.metrics["validation"]["f1_macro"] > 0.8


def test_several_columns_get_one_head_each_in_one_pass(painted, snapshot, tmp_path, monkeypatch):
    store = with_columns(
        snapshot,
        color=lambda row: row["label"],
        warmth=lambda row: "warm" if row["label"] == "red" else "cold",
    )
    reads = []
    real = type(store).load

    def load(self, *rest, **options):
        reads.append(rest)
        return real(self, *rest, **options)

    monkeypatch.setattr("extract.store.reader.Snapshot.load", load)
    color, warmth = heads.fit_columns(store, ["color", "warmth", "color"], columns=["last"])

    assert (color.path.name, warmth.path.name) == ("photos.color.head", "photos.warmth.head")
    assert color.classes == ("blue", "green", "red")
    assert warmth.classes == ("cold", "warm")
    assert len(reads) == len(set(reads)) == 2
    assert heads.evaluate(warmth, store).report.accuracy > 0.8


def test_one_name_is_a_list_of_one(painted, snapshot):
    store = with_columns(snapshot, color=lambda row: row["label"])
    (model,) = heads.fit_columns(store, "color", columns="last", estimator="prototype")
    swept = heads.sweep(painted, columns="last", estimators="ridge").model

    assert model.path.name == "photos.color.head"
    assert [column.name for m in (model, swept) for column in m.columns] == ["last:avg"] * 2
    assert {row["estimator"] for row in swept.sweep} == {"ridge"}
    assert heads.few_shot(painted, columns="last", shots=[1], draws=2).judged == 18
    assert len(heads.audit(painted, columns="last").items) == 72


@pytest.mark.parametrize(
    "cells", [{"red": 1, "green": 2, "blue": 10}, {"red": " a", "green": "b\t", "blue": "c"}]
)
def test_names_of_classes_are_cells_without_spaces_and_numbers_as_text(painted, snapshot, cells):
    column = [cells[row["label"]] for row in snapshot.items.to_pylist()]
    snapshot.items = snapshot.items.append_column("kind", pa.array(column))
    model = heads.fit(snapshot, label="kind", columns=["last"], estimator="prototype")

    assert model.classes == tuple(sorted(str(cell).strip() for cell in cells.values()))
    assert heads.evaluate(model, snapshot).report.accuracy > 0.8


@pytest.mark.parametrize("name", ["size/weight", "../../size", "..\\size"])
def test_a_column_that_is_no_file_name_gets_no_file(painted, snapshot, tmp_path, name):
    store = with_columns(snapshot, color=lambda row: row["label"], **{name: lambda row: "a"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(HeadError, match="cannot be in the name of a folder. Train it alone: "):
        heads.fit_columns(store, ["color", name], columns=["last"], estimator="prototype")

    assert sorted(tmp_path.rglob("*")) == before


def test_numbers_are_learned_as_scikit_learn_learns_them(painted):
    numbers = {"red": 3.0, "green": 1.5, "blue": -2.0}
    relabelled(painted, lambda row: numbers[row["label"]])
    model = heads.fit(painted, task="regression", columns=["last"], settings={"alpha": 10.0})
    data = open_store(painted).load("train", "last")
    y = np.array([float(label) for label in data.items["label"].to_pylist()])
    # Targets are divided by their deviation, features are not: the penalty stays.
    theirs = Ridge(10.0).fit(data.X.astype(np.float64), y)
    report = heads.evaluate(model).report

    assert model.estimator["name"] == "ridge"
    np.testing.assert_allclose(model.scorer.kernels[0][:, 0], theirs.coef_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.predict(data.X)[:, 0], theirs.predict(data.X), atol=1e-3)
    assert report.scalars["r2"] > 0.5
    assert report.intervals["r2"][0] <= report.scalars["r2"] <= report.intervals["r2"][1]


def test_a_penalty_chosen_by_leave_one_out_is_that_of_a_loop():
    random = np.random.default_rng(0)
    X, y = random.normal(size=(25, 4)), random.normal(size=25)
    head = RidgeRegressor([0.5, 5.0, 50.0]).fit(X, y)
    for row in head.selection_:
        errors = [
            Ridge(row["alpha"]).fit(np.delete(X, i, 0), np.delete(y, i)).predict(X[[i]])[0] - y[i]
            for i in range(25)
        ]

        assert row["squared_error"] == pytest.approx(np.mean(np.square(errors)) / y.var(), rel=1e-6)


def test_one_against_the_rest_is_scikit_learns():
    random = np.random.default_rng(0)
    X = random.normal(size=(80, 5))
    y = (X[:, :3] + random.normal(size=(80, 3)) > 0).astype(int)
    ours = MultilabelLogistic([1.0]).fit(X, y)
    theirs = OneVsRestClassifier(LogisticHead([1.0])).fit(X, y)

    np.testing.assert_allclose(
        ours.coef_, np.concatenate([e.coef_ for e in theirs.estimators_]), atol=1e-8
    )


def test_measures_are_scikit_learns():
    random = np.random.default_rng(0)
    y = random.integers(0, 2, (60, 3)).astype(float)
    p = np.clip(0.5 * y + 0.6 * random.random((60, 3)), 0.01, 0.99)
    report = measure_labels(p, y, ["a", "b", "c"], (0.5, 0.4, 0.6))
    given = p >= (0.5, 0.4, 0.6)
    numbers = measure_numbers(p, y, ["a", "b", "c"])
    expected = {
        "f1_micro": f1_score(y, given, average="micro"),
        "f1_macro": f1_score(y, given, average="macro"),
        "hamming_loss": hamming_loss(y, given),
        "average_precision": average_precision_score(y, p, average="macro"),
        "subset_accuracy": (given == y).all(axis=1).mean(),
    }
    for name, value in expected.items():
        low, high = report.intervals[name]

        assert report.scalars[name] == pytest.approx(value, abs=1e-12)
        assert low <= value <= high
    assert numbers.scalars["r2"] == pytest.approx(r2_score(y, p))
    json.dumps([report.to_json(), numbers.to_json()])


def test_thresholds_are_the_best_of_all():
    random = np.random.default_rng(1)
    y = random.integers(0, 2, (40, 2))
    p = np.round(0.3 * y + 0.7 * random.random((40, 2)), 1)
    found = best_thresholds(p, y)
    for score, true, threshold in zip(p.T, y.T, found, strict=True):
        best = max(f1_score(true, score >= t) for t in np.linspace(0, 1, 101))

        assert f1_score(true, score >= threshold) == pytest.approx(best)
    assert best_thresholds(np.full((3, 1), 0.2), np.zeros((3, 1))) == (0.5,)


def test_the_table_of_predictions_has_every_label(tmp_path):
    answer = Answer(np.array([[0.9, 0.2], [0.1, 0.1]]), np.array([0.1, 1.0]))
    rows = [
        judge_outputs(f"{i}.jpg", "good", answer, i, ["a", "b"], thresholds=[0.5, 0.1], reject=0.9)
        for i in (0, 1)
    ]
    with open(tmp_path / "p.csv", "w", newline="") as file:
        write_outputs_csv(file, iter(rows), ["a", "b"], labels=True)

    assert list(csv.reader((tmp_path / "p.csv").read_text().splitlines())) == [
        ["path", "label", "novelty", "status", "a", "b"],
        ["0.jpg", "a|b", "0.1", "good", "0.9", "0.2"],
        ["1.jpg", "", "1", "rejected", "", ""],
    ]


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        ("much", {"task": "regression"}, r"--regression takes numbers, and column 'label' of 't"),
        (
            "nan",
            {"task": "regression"},
            r"is 'nan'\. Leave --regression out, or correct it: "
            r"python -m extract relabel \S+photos.features TABLE.csv, a table of path and label",
        ),
        ("a|b", {"task": "multilabel"}, "Label 'a' is on 36 of 36 training images"),
        ("1", {"task": "regression", "estimator": "svm"}, "is learned by ridge, linear or mlp"),
        (
            "1",
            {"task": "regression", "estimator": "logistic"},
            "--regression is learned by ridge, linear or mlp. Received: --estimator logistic",
        ),
        (
            *("1", {"task": "regression", "label": "age"}),
            r"no column 'age' of labels\. Its items have: label, split, group$",
        ),
        (
            *("1", {"task": "regression", "label": "group"}),
            r"nothing in column 'group' to learn\. Give its items some: python -m extract run "
            r"TABLE.csv --store \S+ --layer last:avg --layer 3:avg, the images' table with that "
            r"column",
        ),
        ("1", {"task": "ranking"}, "task is one of classification, multilabel, regression"),
        ("1", {"label": ["label", "split"]}, "One head learns one column of classes"),
        *(
            (
                *("1", {"task": task, "label": ["label", "label"]}),
                "--label names a column twice. Received: label, label",
            )
            for task in ("regression", "multilabel")
        ),
        (
            "1",
            {"task": "multilabel", "label": ["label", "split"]},
            "takes 0 and 1 .* column 'split' of .* is '",
        ),
        (
            "a|b",
            {"task": "multilabel", "estimator": "ridge", "class_weight": "balanced"},
            "ridge does not weigh classes under --multilabel. Leave --class-weight out, or give",
        ),
        ("1", {"task": "regression", "settings": {"C": 1}}, "ridge has no setting 'C'"),
    ],
)
def test_what_does_not_fit_is_one_line(painted, label, options, message):
    from extract.errors import HeadstartError

    relabelled(painted, lambda row: label)
    with pytest.raises(HeadstartError, match=message) as caught:
        heads.fit(painted, **{"columns": ["last"], **options})

    assert "\n" not in str(caught.value)
    assert not painted.with_name("photos.head").exists()


@pytest.mark.parametrize(
    ("task", "estimator", "name"),
    [
        ("multilabel", "logistic", "C"),
        ("multilabel", "ridge", "alpha"),
        ("regression", "ridge", "alpha"),
        ("classification", "logistic", "C"),
    ],
)
def test_penalties_are_one_or_several(painted, task, estimator, name):
    cells = {"classification": {"red": "1", "green": "2", "blue": "3"}, "multilabel": WARM}
    words = cells.get(task, cells["classification"])
    relabelled(painted, lambda row: words[row["label"]])
    options = {"task": task, "estimator": estimator, "columns": ["last"]}
    several = heads.fit(painted, settings={name: [0.1, 1]}, **options)
    heads.fit(painted, settings={name: [0.1, 1]}, refit="all", **options)
    one = heads.fit(painted, settings={name: np.int64(2)}, **options)

    assert {row[name] for row in several.selection} == {0.1, 1.0}
    assert one.estimator["parameters"][name + "s"] == [2]


def test_refit_uses_validation_rows_with_what_they_chose(painted):
    relabelled(painted, lambda row: WARM[row["label"]])
    a, b = (
        heads.fit(painted, task="multilabel", columns=["last"], refit=refit, estimator="ridge")
        for refit in ("train", "all")
    )

    assert a.thresholds == b.thresholds
    assert not np.array_equal(a.scorer.kernels[0], b.scorer.kernels[0])


def test_the_commands(cli, painted):
    relabelled(painted, lambda row: WARM[row["label"]])
    both = cli("fit", painted, "--multilabel", "--regression", "--column", "last")
    status, out, _ = cli("fit", painted, "--column", "last", "--multilabel")
    judged = cli("evaluate", painted.with_name("photos.head"))[1]

    assert status == 0
    assert "logistic, 5 labels, 6 features" in out
    assert "F1, over all labels together" in judged
    assert both[0] == 1
    assert "give --multilabel or --regression" in both[2]


def test_one_number_is_no_numbers(cli, painted):
    relabelled(painted, lambda row: {"red": "3", "green": "1.5", "blue": "-2"}[row["label"]])
    status, out, _ = cli("fit", painted, "--column", "last", "--regression")

    assert status == 0
    assert ", 1 number, 6 features" in out


@pytest.mark.parametrize("labels", [["size"], ["size", "weight"]])
def test_errors_over_several_numbers_say_what_their_unit_is(cli, painted, tmp_path, labels):
    sizes = {"red": 1, "green": 2, "blue": 30}
    images = tmp_path / "photos"
    table = tabulate(images, tmp_path / "photos.csv", size=sizes, weight=sizes)
    extract.run(table, tmp_path / "table.features", root=images, layers=["last"])
    words = [word for label in labels for word in ("--label", label)]
    fitted = cli("fit", tmp_path / "table.features", "--regression", *words)
    judged = cli("evaluate", tmp_path / "table.head")

    assert (fitted[0], judged[0]) == (0, 0)
    for _, out, _ in (fitted, judged):
        assert ("are in standard deviations of each number's rows" in out) == (len(labels) > 1)


@pytest.mark.parametrize(
    ("task", "of", "nothing", "measure"),
    [
        ("--regression", {"red": "3", "green": "1.5", "blue": "-2"}, "7", "r2"),
        ("--multilabel", WARM, "|", "average precision"),
    ],
)
def test_what_is_not_defined_on_validation_rows_is_a_blank(
    cli, painted, task, of, nothing, measure
):
    """All have the same number, or none has a label: there is no share of variance, no ranking."""
    relabelled(painted, lambda row: nothing if row["split"] == "validation" else of[row["label"]])
    status, out, _ = cli("fit", painted, "--column", "last", task)
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    at = lines["rows"].index(measure)

    assert status == 0
    assert lines["train"][at:].strip()[0].isdigit()
    assert not lines["validation"][at : at + len(measure)].strip()


def test_a_model_of_an_earlier_release_is_a_classifier(painted):
    model = heads.fit(painted, columns=["last"], estimator="prototype")

    assert model.task == heads.load(model.path).task == "classification"
    with pytest.raises(HeadError, match="has no column 'age'"):
        heads.fit(painted, columns=["last"], label="age")
