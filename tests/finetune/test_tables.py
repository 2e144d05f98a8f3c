"""A store that was made from a table: its images lie elsewhere, and it has further columns."""

from dataclasses import replace

import pytest

import extract
import finetune
import heads
from finetune.errors import FinetuneError
from tests.finetune.conftest import SPLITS
from tests.finetune.tuning import tune
from tests.heads.conftest import paint, tabulate

OTHER = {"blue": "green", "green": "red", "red": "blue"}
"""Color → what the column "other" calls it: the same names, and never the same one."""


@pytest.fixture(scope="module")
def table_store(tmp_path_factory):
    """Path of a store of a table, with a column "other"; its images lie in pictures/."""
    folder = tmp_path_factory.mktemp("table")
    images = paint(folder / "pictures", SPLITS)
    (folder / "lists").mkdir()
    colors = {color: color for color in OTHER}
    table = tabulate(images, folder / "lists" / "photos.csv", label=colors, other=OTHER)
    store = folder / "photos.features"
    extract.run(table, store, root=images, backbone="digits")
    return store


@pytest.fixture(scope="module")
def other_head(table_store):
    """A head of the column "other"."""
    return heads.fit(table_store, table_store.with_name("other.head"), label="other")


@pytest.fixture(scope="module")
def tuned(table_store, other_head):
    return tune(table_store, other_head, "other.tuned", mode="full", epochs=1)


def test_a_head_of_another_column_is_tuned_on_that_column(table_store, other_head, tuned):
    head = heads.evaluate(other_head, table_store, "validation").report
    found = heads.evaluate(tuned.model, table_store, "validation").report

    assert tuned.head_validation_accuracy == pytest.approx(head.accuracy)
    assert head.accuracy > 0.5
    assert tuned.validation_accuracy == found.accuracy
    assert heads.load(tuned.model).label_columns == ("other",)


def test_what_to_type_names_the_column_too(table_store, other_head):
    model = replace(other_head, settings={**other_head.settings, "refit": "all"})
    with pytest.raises(FinetuneError, match=r"features --label 'other' --out .*train.head"):
        finetune.plan(table_store, model)


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_heads_that_are_no_classifiers_are_refused(table_store, other_head, task):
    model = replace(other_head, task=task)
    for work in (finetune.run, finetune.plan):
        with pytest.raises(FinetuneError, match=f"is for classifiers, and .* learned {task}"):
            work(table_store, model)
