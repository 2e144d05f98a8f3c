"""A run that was killed takes the steps that it would have taken, whatever it was asked for."""

import json
import shutil

import h5py
import keras
import numpy as np
import pytest

import finetune
from finetune import probing
from finetune.backup import BACKUP, METADATA, WEIGHTS, Backup
from finetune.errors import FinetuneError
from finetune.guard import Guard
from finetune.probing import Costs

FAST = {"batch_size": 8, "learning_rate": 1e-3, "mode": "suffix"}
STEPS = 3  # of an epoch: 24 rows


class _Crash(Exception):
    pass


def killed(count, *given, **options):
    """Run until so many steps are taken."""
    losses = []

    def hear(loss):
        losses.append(loss)
        if len(losses) == count:
            raise _Crash

    with pytest.raises(_Crash):
        finetune.run(*given, on_step=hear, **options)


@pytest.mark.parametrize(("prefix", "mode"), [(1.0, "suffix"), (1e-6, "full")])
def test_what_was_begun_in_a_mode_goes_on_in_it(store, head, monkeypatch, prefix, mode):
    """A second probe may come out otherwise, and the run would begin from the head again."""

    def say(prefix):
        costs = Costs(prefix, 0.1, 0.001)
        monkeypatch.setattr(probing, "probe", lambda network, cuts, size: {cuts[0].name: costs})

    options = FAST | {"mode": "auto", "unfreeze": "from:conv4", "epochs": 2}
    out, again = store.with_name(f"begun-{mode}.tuned"), []
    say(prefix)
    killed(STEPS + 1, store, head.path, out, **options)
    say(1.0 if mode == "full" else 1e-6)
    found = finetune.run(store, head.path, out, on_step=again.append, **options)

    assert (found.mode, found.why) == (mode, "as the run before, which goes on")
    assert len(again) == STEPS


def test_the_second_plan_goes_on_with_its_averages_rates_and_scale(store, head):
    """Killed in the second epoch of the second plan, with all that an optimizer may remember."""
    options = FAST | {
        "unfreeze": ["from:conv4", "from:conv3"],
        "epochs": 3,
        "layer_decay": 0.5,
        "warmup": 1.0,
        "ema": 0.5,
        "optimizer": "adamw",
        "precision": "mixed_float16",
        "wise_ft": True,
    }
    straight, again = [], []
    out = [store.with_name(f"second-{name}.tuned") for name in ("straight", "killed")]
    expected = finetune.run(store, head.path, out[0], on_step=straight.append, **options)
    killed(4 * STEPS + 1, store, head.path, out[1], **options)
    found = finetune.run(store, head.path, out[1], on_step=again.append, **options)

    np.testing.assert_allclose(again, straight[4 * STEPS :], rtol=1e-4)
    for one, other in zip(found.attempts, expected.attempts, strict=True):
        assert one["validation_loss"] == pytest.approx(other["validation_loss"], rel=1e-4)
        assert one["epochs"] == other["epochs"] == 3


def test_a_plan_that_had_run_out_of_patience_stays_where_it_was(store, head, monkeypatch):
    offer = Guard.offer
    monkeypatch.setattr(
        Guard, "offer", lambda self, epoch, *rest: epoch == 1 and offer(self, epoch, *rest)
    )
    options = FAST | {"unfreeze": ["from:conv4", "from:conv3"], "epochs": 5, "patience": 1}
    out, again = store.with_name("patience.tuned"), []
    killed(2 * STEPS + 1, store, head.path, out, **options)
    found = finetune.run(store, head.path, out, on_step=again.append, **options)

    assert [attempt["epochs"] for attempt in found.attempts] == [2, 2]
    assert len(again) == 2 * STEPS


@pytest.mark.parametrize("torn", ["", '{"epoch": '])
@pytest.mark.parametrize("before", [True, False])
def test_metadata_that_a_kill_cut_short_gives_way(tmp_path, torn, before):
    """Keras would end in a traceback, every time."""
    place = tmp_path / BACKUP
    place.mkdir()
    (place / WEIGHTS).write_bytes(b"of epoch 2")
    (place / METADATA).write_text(torn)
    if before:
        (place / f"{WEIGHTS}.bkp").write_bytes(b"of epoch 1")
        (place / f"{METADATA}.bkp").write_text(json.dumps({"epoch": 1}))
    Backup(tmp_path)

    assert place.exists() == before
    if before:
        assert (place / WEIGHTS).read_bytes() == b"of epoch 1"
        assert json.loads((place / METADATA).read_text()) == {"epoch": 1}


@pytest.fixture
def saved(tmp_path):
    """The folder of a backup after two epochs of a small model."""
    model = small_model()
    model.fit(np.ones((4, 3)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[Backup(tmp_path)])
    return tmp_path


def small_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(64), keras.layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    return model


def test_weights_that_a_kill_cut_short_anywhere_give_way(saved, tmp_path):
    """HDF5 says OSError of some torn files, and RuntimeError of others: seen after a kill -9."""
    whole = (saved / BACKUP / WEIGHTS).read_bytes()
    for number, share in enumerate(np.linspace(0, 0.999, 25)):
        folder = tmp_path / str(number)
        shutil.copytree(saved / BACKUP, folder / BACKUP)
        (folder / BACKUP / WEIGHTS).write_bytes(whole[: int(share * len(whole))])
        history = small_model().fit(
            np.ones((4, 3)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[Backup(folder)]
        )

        assert history.epoch == [1]  # the second epoch anew


def test_weights_that_open_and_are_not_all_there_give_way(saved):
    """HDF5 opens what a kill left in the middle of a write, and fails later, with the file open."""
    with h5py.File(saved / BACKUP / WEIGHTS, "w") as file:
        file.create_group("layers")
    history = small_model().fit(
        np.ones((4, 3)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[Backup(saved)]
    )

    assert history.epoch == [1]


def test_a_backup_without_one_before_is_named(saved):
    for name in (WEIGHTS, METADATA):
        (saved / BACKUP / f"{name}.bkp").unlink()
    (saved / BACKUP / WEIGHTS).write_bytes(b"torn")
    with pytest.raises(FinetuneError, match="cannot be read: .* Remove .* begins anew"):
        small_model().fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0, callbacks=[Backup(saved)])
