"""A store with several columns of labels: sweep, few-shot and audit take one, as fit does."""

import csv
import json

import pytest

import extract
import heads
from tests.heads.conftest import paint, tabulate


@pytest.fixture
def listed(tmp_path, fake_backbone):
    """A store whose column "label" has two kinds, and "color" three; blue is odd in color."""
    images = paint(tmp_path / "pictures")
    kinds = {"blue": "cold", "green": "cold", "red": "warm"}
    colors = {"blue": "azur, light", "green": "green", "red": "red"}
    table = tabulate(images, images / "list.csv", label=kinds, color=colors)
    store = tmp_path / "listed.features"
    extract.run(table, store, layers=["last"])
    return store


def test_a_sweep_learns_the_column_that_it_is_told(cli, listed, tmp_path):
    words = ("--estimator", "ridge", "--label", "color", "--out", tmp_path / "color.head")
    status, out, _ = cli("sweep", listed, *words)
    model = heads.load(tmp_path / "color.head")

    assert status == 0
    assert model.classes == ("azur, light", "green", "red")
    assert model.label_columns == ("color",)
    assert "accuracy on 18 test rows, read once" in out
    assert heads.evaluate(model).report.accuracy > 0.8


def test_a_linear_sweep_does_too(listed, tmp_path):
    found = heads.sweep(listed, tmp_path / "a.head", estimators=["linear"], epochs=2, label="color")

    assert found.model.classes == ("azur, light", "green", "red")


def test_few_shot_learns_the_column_that_it_is_told(cli, listed, tmp_path):
    plot = ("--out", tmp_path / "plot.png", "--shots", "1,2", "--draws", "2")
    facts = [
        json.loads(cli("few-shot", listed, *plot, *words, "--json")[1].splitlines()[-1])
        for words in ((), ("--label", "color"))
    ]

    assert [found["points"][0]["images"] for found in facts] == [2, 3]


def test_an_audit_judges_the_column_that_it_is_told(cli, listed, tmp_path):
    status = cli("audit", listed, "--similarity", "0.999", "--label", "color", "--json")[0]
    found = heads.audit(listed, label="color", similarity=0.999)
    page = (tmp_path / "listed.audit.html").read_text(encoding="utf-8")

    assert status == 0
    assert list(found.sizes) == ["azur, light", "green", "red"]
    assert found.label_column == "color"
    assert "column &#39;color&#39;" in page
    assert cli("audit", listed, "--label", "color")[0] == 0, "its own table is replaced"


def test_the_table_of_another_column_changes_no_label(cli, listed, tmp_path):
    out = cli("audit", listed, "--similarity", "0.9", "--label", "color")[1]
    with open(tmp_path / "listed.audit.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    changed = extract.relabel(listed, tmp_path / "listed.audit.csv")

    assert {line["label of color"] for line in lines} <= {"azur, light", "green", "red"}
    assert lines
    assert "'color' stays as it is" in out
    assert changed.labels == 0


@pytest.mark.parametrize("command", ["sweep", "few-shot", "audit"])
def test_a_column_that_is_not_there_is_one_line(cli, listed, command):
    status, _, err = cli(command, listed, "--label", "breed")

    assert status == 1
    assert "has no column 'breed' of labels. Its items have: label, split, group, color" in err


def test_several_heads_in_one_folder_are_named(cli, listed, tmp_path):
    out = tmp_path / "two.head"
    words = ("--label", "label", "--label", "color", "--estimator", "ridge", "--out", out)
    assert cli("fit", listed, *words)[0] == 0
    status, _, said = cli("evaluate", out)

    assert status == 1
    assert " ".join(said.split()) == (
        f"Error: {out} holds models, one for each column of labels. Give one of "
        f"{out / 'color.head'}, {out / 'label.head'}"
    )


@pytest.mark.parametrize("task", [(), ("--multilabel",), ("--regression",)])
def test_a_column_that_is_named_twice_is_told(cli, listed, task):
    status, _, said = cli("fit", listed, "--label", "color", "--label", "color", *task)

    assert status == 1
    assert "--label names a column twice. Received: color, color" in said
    assert not listed.with_name("listed.head").exists()


def test_a_model_where_a_store_would_stand_is_one_to_compare_with(cli, listed, tmp_path):
    for name in ("a.head", "b.head"):
        assert cli("fit", listed, "--estimator", "ridge", "--out", tmp_path / name)[0] == 0
    one, other = tmp_path / "a.head", tmp_path / "b.head"
    status, _, said = cli("report", one, "--compare", other, other)

    assert status == 1
    assert " ".join(said.split()).endswith(
        f"To compare models: python -m heads report {one} --compare {other} --compare {other}"
    )
