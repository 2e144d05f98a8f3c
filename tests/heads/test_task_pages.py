"""Reports on labels that do not exclude each other, and on numbers: complete, and escaped."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

import extract
import heads
from extract.store.opening import open_store
from heads.errors import HeadError
from heads.reporting import report
from tests.heads.conftest import opened, paint, relabelled

NASTY = "<script>document.title='in'</script>&lt;$x$\"'"
WARM = {"red": f"{NASTY}|warm", "green": "|", "blue": "blue|cold"}
HEAT = {"red": 30.0, "green": 15.5, "blue": -20.0}


@pytest.fixture
def labels(painted):
    """A head of labels, of which one is a script where it is not escaped."""
    relabelled(painted, lambda row: WARM[row["label"]])
    return heads.fit(painted, task="multilabel", columns=["last"], estimator="ridge")


@pytest.fixture
def numbers(painted):
    """A regressor, of numbers that differ a little from picture to picture."""

    def heat(row):
        _, color, name = row["path"].split("/")
        return HEAT[color] + int(name.partition(".")[0])

    relabelled(painted, heat)
    return heads.fit(painted, task="regression", columns=["last"])


def test_a_report_of_labels_shows_what_evaluate_gives(labels, browser):
    made = report(labels)
    page, said = opened(browser, Path(made.out))
    text = page.locator("body").inner_text()
    row = page.get_by_role("row").filter(has_text=re.compile("^F1, over all labels"))

    assert f"{heads.evaluate(labels).report.scalars['f1_micro']:.4f}" in row.first.inner_text()
    for part in ("Labels", "Precision and recall", "How the penalty was chosen", "Least certain"):
        assert part in text
    assert NASTY in text
    assert page.title() == "photos.report"
    assert (made.rows, made.missing, said) == (18, 0, [])


def test_a_point_of_labels_shows_all_of_them_on_hover(labels, browser):
    page, said = opened(browser, Path(report(labels).out))
    points, tip = page.locator("#map circle"), page.locator("#tip")
    tips = set()
    for place in range(0, points.count(), 9):
        points.nth(place).hover(force=True)
        tips.add(tip.inner_text().splitlines()[0])

    assert points.count() == 3 * (12 + 6 + 6)
    assert tips <= {f"label: {name}" for name in (f"{NASTY}|warm", "no label", "blue|cold")}
    assert len(tips) > 1
    assert tip.locator("img").evaluate("picture => picture.naturalWidth") == 20
    assert said == []


def test_a_report_of_numbers_shows_what_evaluate_gives(numbers, browser):
    made = report(numbers)
    page, said = opened(browser, Path(made.out))
    text = page.locator("body").inner_text()
    row = page.get_by_role("row").filter(has_text=re.compile("^mean absolute error")).first
    page.locator("#map circle").first.hover(force=True)

    error = heads.evaluate(numbers).report.scalars["mean_absolute_error"]
    assert f"{error:.4f}" in row.inner_text()
    for part in ("label: predicted against true", "How far off", "Least like the training images"):
        assert part in text
    assert re.search(r"given: [-0-9.]+ \(off by [-0-9.e]+\)", page.locator("#tip").inner_text())
    assert said == []


def test_several_numbers_have_a_chart_and_a_line_each(painted, tmp_path, fake_backbone):
    with open(tmp_path / "list.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "split", *"abcdefgh"])
        for path in sorted((tmp_path / "photos").rglob("*.png")):
            split, color, _ = path.relative_to(tmp_path / "photos").parts
            name = str(path.relative_to(tmp_path / "photos"))
            writer.writerow([name, split, *(HEAT[color] * k for k in range(1, 9))])
    store = tmp_path / "many.features"
    extract.run(tmp_path / "list.csv", store, root=tmp_path / "photos", layers=["last"])
    made = report(heads.fit(store, task="regression", label=list("abcdefgh")))
    page = Path(made.out).read_text(encoding="utf-8")

    assert page.count("predicted against true</h3>") == 6
    assert "Of 8 numbers, the first 6 have a chart" in made.notes
    assert "a 30, b 60, c 90" in page


def test_models_of_one_task_are_set_side_by_side(labels, numbers, painted, tmp_path):
    options = {"task": "regression", "columns": ["last"], "settings": {"alpha": 1e6}}
    other = heads.fit(painted, tmp_path / "other.head", **options)
    page = Path(report(numbers, compare=[other]).out).read_text(encoding="utf-8")

    assert re.search(r"photos.head is nearer to the truth on \d+ rows, other.head on \d+\.", page)
    with pytest.raises(HeadError, match="learned 'label' as multilabel.*Leave it out of --compare"):
        report(numbers, compare=[labels])


def test_a_head_trained_in_epochs_shows_its_epochs(painted):
    relabelled(painted, lambda row: HEAT[row["label"]])
    model = heads.fit(
        painted, task="regression", columns=["last"], estimator="linear", settings={"epochs": 3}
    )
    page = Path(report(model).out).read_text(encoding="utf-8")

    assert "Learning curve: loss" in page
    assert "Learning curve: accuracy" not in page


def test_numbers_that_are_all_one_are_shown(painted):
    relabelled(painted, lambda row: 7 if row["split"] != "train" else HEAT[row["label"]])
    model = heads.fit(painted, task="regression", columns=["last"])

    assert np.isfinite(heads.evaluate(model).report.scalars["mean_absolute_error"])
    assert report(model).rows == 18


@pytest.mark.parametrize(
    ("task", "estimator"),
    [("multilabel", "mlp"), ("multilabel", "logistic"), ("regression", "linear")],
)
def test_a_store_without_validation_rows_has_a_head_and_a_report(
    tmp_path, fake_backbone, task, estimator
):
    paint(tmp_path / "photos", {"train": 12, "test": 6})
    table = tmp_path / "list.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "split", "label"])
        for path in sorted((tmp_path / "photos").rglob("*.png")):
            split, color, _ = path.relative_to(tmp_path / "photos").parts
            name = path.relative_to(tmp_path / "photos").as_posix()
            writer.writerow([name, split, (WARM if task == "multilabel" else HEAT)[color]])
    store = tmp_path / "photos.features"
    extract.run(table, store, root=tmp_path / "photos", layers=["last"])
    extract.relabel(store, all_of(store, "validation", "train"))
    settings = {"epochs": 2} if estimator in ("mlp", "linear") else {}
    model = heads.fit(store, task=task, estimator=estimator, settings=settings)

    assert model.splits.keys() == {"train", "test"}
    assert set(model.thresholds) <= {0.5}
    assert report(model).rows == 18


def all_of(store, split, new):
    """Return a table that moves the items of a split to another one."""
    table = store.with_name("splits.csv")
    rows = open_store(store).items.to_pylist()
    lines = [f"{row['path']},{new}" for row in rows if row["split"] == split]
    table.write_text("\n".join(["path,split", *lines]), encoding="utf-8")
    return table


def test_the_command_says_what_it_does_not_show(cli, labels):
    status, out, _ = cli("report", labels.path)

    assert status == 0
    assert "Note: Whether more labels would help is not shown: few-shot curves are of" in out
    assert "18 test rows" in out


@pytest.mark.parametrize(
    ("label_of", "words"),
    [
        (lambda row: WARM[row["label"]], "do not exclude each other, and are not judged"),
        (lambda row: len(row["path"]) + int(row["image_key"][:8], 16), "are numbers, not classes"),
    ],
    ids=["labels", "numbers"],
)
def test_an_audit_takes_no_combination_and_no_number_for_a_class(cli, painted, label_of, words):
    relabelled(painted, label_of)
    fail = ("--fail-on", "small-class", "--fail-on", "label", "--fail-on", "conflict")
    status, out, _ = cli("audit", painted, "--column", "last", *fail)

    assert status == 0
    assert words in out


def test_classes_that_are_numbers_stay_classes():
    from heads.targets import no_classes

    assert no_classes(("0", "1", "2"), 12) == ""
    assert no_classes(("3", "5"), 2) == ""
