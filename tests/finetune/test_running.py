"""From a store and a head to a model that every command takes, never worse than the head."""

import errno
from dataclasses import replace

import numpy as np
import pytest

import finetune
import heads
from extract import identity, keras_graph
from extract.backbone_files import OWN
from extract.errors import StoreWriteError
from finetune import feeds, training
from finetune.errors import FinetuneError, TrainingError
from finetune.network import open_network
from finetune.suffix import Boundary
from heads.data import Source
from heads.errors import HeadError, StaleModelError
from heads.model_folder import load
from tests.finetune.tuning import tune


def with_losses(store, head, mode):
    """Return a run that beats the head, and the loss of each of its steps."""
    losses = []
    words = {"mode": mode, "epochs": 4, "on_step": losses.append}
    return tune(store, head.path, f"{mode}.tuned", **words), losses


@pytest.fixture(scope="module")
def tuned(store, head):
    return with_losses(store, head, "suffix")


@pytest.fixture(scope="module")
def full(store, head):
    return with_losses(store, head, "full")


def test_tuning_beats_the_head(tuned, store, head):
    found, _ = tuned

    assert found.kept == "tuned"
    assert found.validation_accuracy > found.head_validation_accuracy
    assert found.trainable_weights == 3 + 2  # kernel, gamma and beta; the head's kernel and bias
    assert found.head_validation_accuracy == pytest.approx(
        heads.evaluate(head, store, "validation").report.accuracy
    )
    assert not list(store.parent.glob(".*.training"))
    assert found.decoding_seconds > 0  # its result is judged from pixels on
    assert found.seconds > found.extraction_seconds + found.decoding_seconds > 0


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


def test_numbers_of_numpy_train_and_are_written(store, head):
    found = tune(store, head.path, "numpy.tuned", mode="suffix", epochs=np.int64(1))

    assert load(found.model).settings["finetune"]["options"]["epochs"] == 1


@pytest.mark.parametrize("size", [0, 1.5])
def test_a_plan_takes_batches_as_a_run_does(store, head, size):
    with pytest.raises(FinetuneError, match=f"--batch-size is .*Received: {size}"):
        finetune.plan(store, head, batch_size=size)


def test_nothing_that_beats_the_head_keeps_it(store, head):
    """A rate that ruins everything: the head's model is written, and it says so."""
    found = tune(store, head.path, "kept.tuned", mode="suffix", learning_rate=30.0, epochs=1)
    model = load(found.model)

    assert found.kept == "head"
    assert found.validation_accuracy == found.head_validation_accuracy
    assert model.recipe == head.recipe
    np.testing.assert_array_equal(model.scorer.kernels[0], head.scorer.kernels[0])
    assert heads.evaluate(model, store).report.accuracy == pytest.approx(
        heads.evaluate(head, store).report.accuracy
    )


def test_the_full_graph_judges_whatever_activations_say(store, head, monkeypatch):
    """Activations that are off, as float16 may be: no figure that is told is theirs."""
    monkeypatch.setattr(Boundary, "take", _spoiled(Boundary.take))
    monkeypatch.setattr(feeds, "measured_error", lambda *_: 0.0)
    found = tune(store, head.path, "spoiled.tuned", mode="suffix")
    model = load(found.model)
    own = heads.evaluate(head, store, "validation").report.accuracy

    assert found.head_validation_accuracy == pytest.approx(own)
    assert model.settings["finetune"]["head_validation_accuracy"] == pytest.approx(own)
    assert found.validation_accuracy >= own
    assert model.metrics["validation"]["accuracy"] == found.validation_accuracy


def _spoiled(take):
    """Return a `Boundary.take` that gives nothing but zeros."""
    return lambda self, rows, epoch=0: 0 * take(self, rows, epoch)


def test_several_plans_start_from_the_same_head(store, head):
    found = tune(
        store,
        head.path,
        "several.tuned",
        unfreeze=["from:conv4", "last:3", "from:conv3"],
        layer_decay=0.5,
        warmup=1.0,
        ema=0.5,
        wise_ft=True,
        mode="suffix",
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


@pytest.mark.parametrize("torn", ["nothing", "last", "first"])
def test_a_run_that_was_killed_goes_on_where_it_was(store, head, full, torn):
    """The steps after a crash are those that an undisturbed run takes.

    A backup that was being written gives way to the one before, and the first one to none.
    """
    out, losses = store.with_name(f"resumed-{torn}.tuned"), []

    def crash(loss):
        losses.append(loss)
        if len(losses) == 2 * 3 + 1:
            raise _Crash

    options = {"epochs": 4, "mode": "full"}
    with pytest.raises(_Crash):
        tune(store, head.path, out.name, on_step=crash, **options)
    assert not out.exists()
    (backup,) = store.parent.glob(f".{out.name}.training/*/backup")
    if torn == "first":
        for path in [*backup.glob("*.bkp"), *backup.glob("*.json")]:
            path.unlink()
    if torn != "nothing":
        weights = backup / "latest.weights.h5"
        weights.write_bytes(weights.read_bytes()[:1000])
    again = []
    found = tune(store, head.path, out.name, on_step=again.append, **options)
    first = {"nothing": 6, "last": 3, "first": 0}[torn]

    assert len(again) == 4 * 3 - first
    np.testing.assert_allclose(again, full[1][first:], rtol=1e-5)
    assert found.validation_accuracy == full[0].validation_accuracy
    assert [row["epoch"] for row in load(out).history] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("finetune.guard.os.fsync", "what training keeps"),
        ("finetune.backup.os.posix_fallocate", "what training keeps"),
        ("finetune.training.keras.Model.save_weights", "what training keeps"),
        ("finetune.writing.curves.draw", "the model"),
    ],
)
def test_a_full_disk_is_one_line_and_the_same_command_resumes(
    store, head, monkeypatch, written, what
):
    """The best weights, the state for a resume, or the model's files find no room."""
    name = f"full-disk-{written.rpartition('.')[2]}.tuned"

    def refuse(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device", "there")

    with monkeypatch.context() as patch:
        patch.setattr(written, refuse, raising=False)  # not every system has posix_fallocate
        with pytest.raises(StoreWriteError) as caught:
            tune(store, head.path, name, mode="full")
    losses = []
    tune(store, head.path, name, mode="full", on_step=losses.append)

    assert str(caught.value) == (
        f"Cannot write {what}: No space left on device (there). Free some space, then run the same "
        f"command again: it resumes."
    )
    assert len(losses) == (0 if what == "the model" else 2 * 3)


@pytest.fixture(params=["loss", "validation loss"])
def spoiled(request, monkeypatch):
    """What is no number in the second epoch: weights of rows, or weights after its last step."""
    end = training.Watcher.on_train_batch_end
    begin = training.TrainBatches.begin

    def spoil_rows(self, epoch):
        begin(self, epoch)
        if epoch == 2:
            self._weights = np.full_like(self._weights, np.nan)

    def spoil_weights(self, batch, logs=None):
        end(self, batch, logs)
        if (self._epoch, batch) == (2, 2):
            kernel = self._network.head.trainable_weights[0]
            kernel.assign(np.nan * kernel.numpy())

    if request.param == "loss":
        monkeypatch.setattr(training.TrainBatches, "begin", spoil_rows)
    else:
        monkeypatch.setattr(training.Watcher, "on_train_batch_end", spoil_weights)
    return request.param


def test_a_loss_that_is_no_number_stops_and_a_resume_begins_before_it(
    store, head, full, spoiled, monkeypatch
):
    """The best is kept, and what a resume begins with is the state after the epoch before."""
    name = f"{spoiled.split()[0]}.nan.tuned"
    options = {"epochs": 4, "mode": "full"}
    with pytest.raises(
        TrainingError, match=rf"The {spoiled} is not a number in epoch 2.*--learning-rate below"
    ):
        tune(store, head.path, name, **options)
    kept = load(store.with_name(name))

    assert kept.settings["finetune"]["best_epoch"] in (0, 1)
    assert all(np.isfinite(array).all() for array in kept.scorer.arrays().values())

    monkeypatch.undo()
    losses = []
    tune(store, head.path, name, on_step=losses.append, **options)

    np.testing.assert_allclose(losses, full[1][3:], rtol=1e-5)


def test_options_work_together_and_statistics_move_where_they_may(store, head):
    """Random changes, mixed precision, AdamW, and BatchNormalization that trains, in full mode."""
    found = tune(
        store,
        head.path,
        "options.tuned",
        augment="flip,rotation=0.1,crop=0.8",
        precision="mixed_bfloat16",
        batchnorm="train",
        class_weight="balanced",
        label_smoothing=0.1,
        dropout=0.2,
        optimizer="adamw",
        weight_decay=1e-3,
        patience=3,
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


def test_a_frozen_graph_cannot_be_tuned(head, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"nobody needs to open it")
    named = {"name": str(tmp_path / "m.onnx"), "weights": OWN, "preprocessing": "none"}
    backbone = {**head.backbone, **named, "arguments": {}}
    with pytest.raises(FinetuneError, match=r"m.onnx is a frozen graph: its weights are constants"):
        open_network(replace(head, backbone=backbone))


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
