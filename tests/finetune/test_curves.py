"""Curves of the head's training and of fine-tuning stand side by side, in files and in history."""

import csv

import pytest
from matplotlib.axes import Axes

import finetune
import heads
from finetune import curves
from heads.model_folder import load

ROW = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.1, "val_accuracy": 0.4}
BEFORE = {"val_loss": 1.1, "val_accuracy": 0.4}


@pytest.fixture
def drawn(monkeypatch):
    """What lines across the picture were drawn: (kind, place, label)."""
    lines = []
    for kind in ("axvline", "axhline"):
        draw = getattr(Axes, kind)

        def record(self, place, *args, kind=kind, draw=draw, **options):
            lines.append((kind, place, options["label"]))
            return draw(self, place, *args, **options)

        monkeypatch.setattr(Axes, kind, record)
    return lines


@pytest.mark.parametrize("epochs", [0, 3], ids=["a head without epochs", "three epochs"])
def test_a_line_says_where_fine_tuning_starts(drawn, epochs):
    files = curves.draw([ROW] * epochs, [ROW] * 2, BEFORE)

    assert sorted(files) == ["curves.png", "curves.svg"]
    assert drawn.count(("axvline", epochs, "fine-tuning starts")) == 2  # one in each panel
    assert {("axhline", 0.4, "the head"), ("axhline", 1.1, "the head")} <= set(drawn)


def test_history_goes_on_where_the_heads_ends(store):
    head = heads.fit(store, store.with_name("epochs.head"), estimator="mlp")
    found = finetune.run(
        store,
        head,
        store.with_name("epochs.tuned"),
        unfreeze="from:conv4",
        mode="suffix",
        epochs=2,
        batch_size=8,
    )
    with open(load(found.model).path / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert len(head.history) > 0
    assert len(rows) == len(head.history) + 2
    assert [row["stage"] for row in rows[-2:]] == ["finetune"] * 2
    assert all(row["stage"] != "finetune" for row in rows[:-2])
