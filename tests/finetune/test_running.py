"""From a store and a head to a model that every command takes, never worse than the head."""

from dataclasses import replace

import numpy as np
import pytest

import finetune
import heads
from extract import identity, keras_graph
from extract.progress import Silent
from finetune import training
from finetune.errors import FinetuneError, TrainingError
from finetune.network import open_network
from heads.data import Source
from heads.errors import HeadError, StaleModelError
from heads.model import load

FAST = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3}


def folder_of(store, name):
    return store.with_name(name)


@pytest.fixture(scope="module")
def tuned(store, head):
    """A run in suffix mode that beats the head."""
    losses = []
    found = finetune.run(
        store,
        head.path,
        folder_of(store, "suffix.tuned"),
        unfreeze="from:conv4",
        mode="suffix",
        on_step=losses.append,
        **FAST | {"epochs": 4},
    )
    return found, losses


@pytest.fixture(scope="module")
def full(store, head):
    """The same in full mode."""
    losses = []
    found = finetune.run(
        store,
        head.path,
        folder_of(store, "full.tuned"),
        unfreeze="from:conv4",
        mode="full",
        on_step=losses.append,
        **FAST | {"epochs": 4},
    )
    return found, losses


def test_tuning_beats_the_head(tuned, store, head):
    found, _ = tuned

    assert found.kept == "tuned"
    assert found.validation_accuracy > found.head_validation_accuracy
    assert found.trainable_weights == 3 + 2  # kernel, gamma and beta; the head's kernel and bias
    assert found.head_validation_accuracy == pytest.approx(
        heads.evaluate(head, store, "validation").report.accuracy
    )
    assert not list(store.parent.glob(".*.training"))


def test_suffix_and_full_training_take_the_same_steps(tuned, full):
    """Same seed, same order, no augmentation: losses agree within 1e-3, though one is float16."""
    assert len(tuned[1]) == len(full[1]) == 4 * 3
    np.testing.assert_allclose(tuned[1], full[1], rtol=1e-3)


def test_what_is_frozen_stays_bit_for_bit(tuned, head):
    before = open_network(head).built.model
    after = open_network(load(tuned[0].model)).built.model
    moved = [
        a.path
        for a, b in zip(identity.variables(before), identity.variables(after), strict=True)
        if not np.array_equal(a.numpy(), b.numpy())
    ]

    assert moved == ["conv4/kernel", "norm4/gamma", "norm4/beta"]


@pytest.mark.parametrize("which", ["tuned", "full"])
def test_evaluate_gives_what_the_run_measured(which, request, store):
    found = request.getfixturevalue(which)[0]
    model = load(found.model)

    assert model.kind == "finetuned"
    assert not model.could_be_in(heads.data.open_source(store).snapshot)
    evaluation = heads.evaluate(found.model, split="validation")
    assert evaluation.report.accuracy == found.validation_accuracy
    assert evaluation.report.scalars["log_loss"] == pytest.approx(
        model.metrics["validation"]["log_loss"], rel=1e-3
    )


def test_the_model_predicts_and_packs(tuned, store, tmp_path):
    found = heads.predict(tuned[0].model, store.with_suffix("") / "test", tmp_path / "p.csv")

    assert (found.images, found.bad) == (12, 0)
    assert (heads.pack(tuned[0].model, tmp_path / "packed") / "predict.py").is_file()


def test_the_folder_holds_a_plain_keras_model(tuned, store):
    import keras

    model = load(tuned[0].model)
    folder = model.path
    joined = keras.saving.load_model(folder / "model.keras", safe_mode=True)
    evaluation = heads.evaluate(model, split="test")
    right = 0
    for index, name in enumerate(model.classes):
        for path in sorted((store.with_suffix("") / "test" / name).iterdir()):
            picture = keras.utils.img_to_array(keras.utils.load_img(path))
            right += int(joined.predict_on_batch(picture[None]).argmax() == index)

    assert right == round(evaluation.report.accuracy * evaluation.rows)
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (folder / "curves.svg").read_bytes()
    assert [row["stage"] for row in model.history] == ["finetune"] * 4
    assert model.settings["finetune"]["head_validation_accuracy"] < 1


def test_nothing_that_beats_the_head_keeps_it(store, head):
    """A rate that ruins everything: the head's model is written, and it says so."""
    found = finetune.run(
        store,
        head.path,
        folder_of(store, "kept.tuned"),
        unfreeze="from:conv4",
        mode="suffix",
        **FAST | {"learning_rate": 30.0, "epochs": 1},
    )
    model = load(found.model)

    assert found.kept == "head"
    assert found.validation_accuracy == found.head_validation_accuracy
    assert model.recipe == head.recipe
    np.testing.assert_array_equal(model.scorer.kernels[0], head.scorer.kernels[0])
    assert heads.evaluate(model, store).report.accuracy == pytest.approx(
        heads.evaluate(head, store).report.accuracy
    )


def test_several_plans_start_from_the_same_head(store, head):
    found = finetune.run(
        store,
        head.path,
        folder_of(store, "several.tuned"),
        unfreeze=["from:conv4", "last:3", "from:conv3"],
        layer_decay=0.5,
        warmup=1.0,
        ema=0.5,
        wise_ft=True,
        mode="suffix",
        **FAST,
    )
    first, second, _ = found.attempts

    assert [attempt["unfreeze"] for attempt in found.attempts] == [
        "from:conv4",
        "last:3",
        "from:conv3",
    ]
    # The last three layers are conv4's: with the same head and order, the same comes out.
    assert first["validation_loss"] == pytest.approx(second["validation_loss"], rel=1e-6)
    assert found.validation_accuracy == max(a["validation_accuracy"] for a in found.attempts)


class _Crash(Exception):
    pass


def test_a_run_that_was_killed_goes_on_where_it_was(store, head, full):
    """The steps after a crash are those that an undisturbed run takes."""
    out, losses = folder_of(store, "resumed.tuned"), []

    def crash(loss):
        losses.append(loss)
        if len(losses) == 2 * 3 + 1:
            raise _Crash

    options = FAST | {"epochs": 4, "unfreeze": "from:conv4", "mode": "full"}
    with pytest.raises(_Crash):
        finetune.run(store, head.path, out, on_step=crash, **options)
    assert not out.exists()
    again = []
    found = finetune.run(store, head.path, out, on_step=again.append, **options)

    assert len(again) == 2 * 3
    np.testing.assert_allclose(again, full[1][6:], rtol=1e-5)
    assert found.validation_accuracy == full[0].validation_accuracy
    assert [row["epoch"] for row in load(out).history] == [1, 2, 3, 4]


def test_a_loss_that_is_no_number_stops_and_keeps_the_best(store, head, monkeypatch):
    out = folder_of(store, "nan.tuned")
    begin = training.TrainBatches.begin

    def spoil(self, epoch):
        begin(self, epoch)
        if epoch == 2:
            self._weights = np.full_like(self._weights, np.nan)

    monkeypatch.setattr(training.TrainBatches, "begin", spoil)
    with pytest.raises(TrainingError, match=r"not a number in epoch 2.*--learning-rate below"):
        finetune.run(store, head.path, out, unfreeze="from:conv4", mode="suffix", **FAST)

    assert load(out).settings["finetune"]["best_epoch"] in (0, 1)


def test_no_memory_names_what_to_lower(store, head, monkeypatch):
    def out_of_memory(self, *_, **__):
        raise MemoryError

    monkeypatch.setattr(training.Tuner, "fit", out_of_memory)
    with pytest.raises(TrainingError, match=r"--batch-size 4, or a lower --cache-memory"):
        finetune.run(store, head.path, folder_of(store, "oom.tuned"), mode="suffix", **FAST)


def test_options_work_together_and_statistics_move_where_they_may(store, head):
    """Random changes, mixed precision, AdamW, and BatchNormalization that trains, in full mode."""
    found = finetune.run(
        store,
        head.path,
        folder_of(store, "options.tuned"),
        unfreeze="from:conv4",
        augment="flip,rotation=0.1,crop=0.8",
        precision="mixed_bfloat16",
        batchnorm="train",
        class_weight="balanced",
        label_smoothing=0.1,
        dropout=0.2,
        optimizer="adamw",
        weight_decay=1e-3,
        patience=3,
        epochs=2,
        batch_size=8,
        learning_rate=3e-3,
    )
    after = open_network(load(found.model)).built.model
    before = open_network(head).built.model
    moved = {
        a.path
        for a, b in zip(identity.variables(before), identity.variables(after), strict=True)
        if not np.array_equal(a.numpy(), b.numpy())
    }

    assert (found.mode, found.kept) == ("full", "tuned")
    assert "changes images every time" in found.why
    assert moved == {
        *("conv4/kernel", "norm4/gamma", "norm4/beta"),
        *("norm4/moving_mean", "norm4/moving_variance"),
    }


def test_heads_that_do_not_fit_are_refused(store, head, tuned, monkeypatch):
    with pytest.raises(FinetuneError, match=r"is fine-tuned already.*photos\.head"):
        finetune.run(store, tuned[0].model)
    other = replace(head, recipe=replace(head.recipe, weights_digest="0" * 64))
    with pytest.raises(StaleModelError, match="features of another recipe: weights_digest"):
        finetune.run(store, other)
    with pytest.raises(FinetuneError, match="has other classes .* 'red'"):
        finetune.run(store, replace(head, classes=("blue", "green", "rot")))
    refitted = replace(head, settings={**head.settings, "refit": "all"})
    with pytest.raises(
        FinetuneError, match=r"trained on validation rows .* --head .*photos.train.head"
    ):
        finetune.run(store, refitted)
    with pytest.raises(
        FinetuneError, match=r"trained on validation rows .* --head .*photos.train.head"
    ):
        finetune.plan(store, refitted)
    monkeypatch.setattr(Source, "splits", ("train",))
    with pytest.raises(FinetuneError, match=r"no validation rows.*python -m extract split"):
        finetune.run(store, head)


class _Notes(Silent):
    """Keeps what it hears."""

    def __init__(self):
        self.heard = []

    def note(self, text):
        self.heard.append(text)


def test_a_model_names_the_store_that_it_was_tuned_on(store, head):
    """Its head may come from another place, with other splits: neither is where it was judged."""
    elsewhere = {**head.store, "path": "/gone/old.features", "items_digest": "0" * 64}
    notes = _Notes()
    found = finetune.run(
        store,
        replace(head, store=elsewhere, splits={"train": 3}),
        folder_of(store, "origin.tuned"),
        unfreeze="from:conv4",
        mode="suffix",
        reporter=notes,
        **FAST | {"epochs": 1},
    )
    model = load(found.model)
    said = "not those that the head was trained with, so validation rows may be among"

    assert {**model.store, "distance_to_float32": 0} == {**head.store, "distance_to_float32": 0}
    assert model.splits == head.splits
    assert any(said in note for note in notes.heard)
    assert "may be among those it saw" in " ".join(heads.evaluate(model, split="test").notes)


def test_a_backbone_that_is_no_application_is_refused(head, monkeypatch):
    build = keras_graph.build
    monkeypatch.setattr(keras_graph, "build", lambda *a: replace(build(*a), original=None))
    with pytest.raises(
        FinetuneError, match="is not of keras.applications, and fine-tuning takes no other"
    ):
        open_network(head)


def test_images_that_moved_can_be_named(tuned, store, tmp_path):
    """`evaluate` and `report` need the images of a tuned model, and take no others for them."""
    images = store.with_suffix("")
    elsewhere = tmp_path / "elsewhere"
    images.rename(elsewhere)
    try:
        with pytest.raises(HeadError, match="Say where they are: --images FOLDER"):
            heads.evaluate(tuned[0].model, store)
        assert heads.evaluate(tuned[0].model, store, images=elsewhere).rows == 12
        page = heads.report(tuned[0].model, store, tmp_path / "page.html", images=elsewhere)
        assert page.missing == 0
    finally:
        elsewhere.rename(images)
