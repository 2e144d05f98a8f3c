"""A model on disk is what was saved, or an error that says what is wrong with it."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from extract.errors import StoreFormatError
from extract.recipe import PixelPolicy
from extract.store.records import seal
from heads.errors import DamagedModelError, ModelError, StaleModelError
from heads.model_folder import RECORD, WEIGHTS, check_place, load, save
from tests.heads.models import linear_model
from tests.helpers import tree

HISTORY = (
    {"stage": "head", "epoch": 1, "loss": 0.5, "val_loss": None, "seconds": 0.25},
    {"stage": "head", "epoch": 2, "loss": 0.25, "val_loss": 1e-05, "seconds": 0.25},
)


@pytest.fixture
def model(painted):
    return linear_model(painted, history=HISTORY)


@pytest.fixture
def saved(model, tmp_path):
    return save(model, tmp_path / "photos.head").path


def test_what_was_saved_is_what_is_loaded(model, saved, snapshot):
    again = load(saved)
    X = snapshot.load("test", "last").X

    assert again.record == model.record
    assert again.history == HISTORY
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.novelty(X), model.novelty(X))
    assert again.request() == model.request()


def test_the_same_model_is_the_same_bytes(model, saved, tmp_path):
    save(model, tmp_path / "again")

    assert tree(saved) == tree(tmp_path / "again")


def test_predictions_are_names(saved, snapshot):
    data = snapshot.load("test", "last")

    assert np.mean(load(saved).predict(data.X) == data.items["label"].to_numpy()) > 0.9


@pytest.mark.parametrize("name", [RECORD, WEIGHTS, "history.csv"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda data: b"",
        lambda data: data[:-2],
        lambda data: data[: len(data) // 2] + b"?" + data[len(data) // 2 + 1 :],
        lambda data: bytes(len(data)),
        None,
    ],
    ids=["emptied", "cut", "altered", "zeroed", "deleted"],
)
def test_damage_is_an_error_that_names_the_file(saved, name, harm):
    path = saved / name
    if harm is None:
        path.unlink()
    else:
        path.write_bytes(harm(path.read_bytes()))

    with pytest.raises(ModelError, match=f"{name}|has no model.json"):
        load(saved)


def test_every_flipped_bit_of_the_record_is_noticed(saved):
    data = bytearray((saved / RECORD).read_bytes())
    for position in range(0, len(data) - 1, 97):
        harmed = bytes(data[:position]) + bytes([data[position] ^ 1]) + bytes(data[position + 1 :])
        (saved / RECORD).write_bytes(harmed)
        with pytest.raises((DamagedModelError, StoreFormatError)):
            load(saved)


def rewritten(saved, **changes):
    """Seal a record with other facts: what somebody could write who knows the format."""
    facts = json.loads((saved / RECORD).read_text())
    for name in ("kind", "self_check"):
        del facts[name]
    (saved / RECORD).write_bytes(seal("model", {**facts, **changes}))


def test_a_newer_format_says_what_to_upgrade(saved):
    rewritten(saved, format="2.0")

    with pytest.raises(StoreFormatError, match=r"format 2.0 .* pip install --upgrade headstart"):
        load(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"scorer": {"kind": "pickle"}},
        {"scorer": {"kind": "dense", "layers": 7, "activation": "linear"}},
        {"scorer": {"kind": "dense", "layers": 1, "activation": "os.system"}},
        {"files": {"../../etc/passwd": [1, "0" * 64]}},
        {"files": {}},
        {"columns": [{"column": {}, "row_shape": []}]},
        {"recipe_key": "0" * 64},
        {"temperature": "hot"},
    ],
    ids=lambda changes: next(iter(changes.items()))[0],
)
def test_a_record_that_makes_no_sense_is_refused(saved, changes):
    rewritten(saved, **changes)

    with pytest.raises(ModelError):
        load(saved)


def test_arrays_with_pickled_objects_are_refused(saved, tmp_path):
    np.savez(tmp_path / "evil.npz", kernel_0=np.array([print], dtype=object))
    data = (tmp_path / "evil.npz").read_bytes()
    (saved / WEIGHTS).write_bytes(data)
    from extract.store.files import sha256

    rewritten(saved, files={WEIGHTS: [len(data), sha256(data)]})
    with pytest.raises(DamagedModelError, match="Object arrays cannot be loaded"):
        load(saved)


def npy(shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape},), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [(npy(1 << 40), "MemoryError|cannot be read"), (npy(1 << 20) + bytes(8 << 20), "inflates")],
    ids=["claims", "inflates"],
)
def test_arrays_that_claim_or_take_more_than_their_file_are_refused(saved, data, words):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("kernel_0.npy", data)
    (saved / WEIGHTS).write_bytes(sink.getvalue())
    from extract.store.files import sha256

    rewritten(saved, files={WEIGHTS: [len(sink.getvalue()), sha256(sink.getvalue())]})
    with pytest.raises(DamagedModelError, match=words):
        load(saved)


def test_something_else_is_never_replaced(model, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")

    with pytest.raises(ModelError, match=r"thesis is something else than a model. Give another"):
        save(model, tmp_path / "thesis")
    assert tree(tmp_path / "thesis") == {"chapter.tex": b"years of work"}


def test_a_place_that_cannot_be_written_is_told_before_work_and_a_trial_leaves_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "older.head").mkdir()
    for path in (tmp_path / "file" / "x" / "a.head", tmp_path / f"{'x' * 300}" / "a.head"):
        with pytest.raises(ModelError, match=r"a\.head: .*\. Give --out a folder that can be"):
            check_place(path)
    check_place(tmp_path / "deep" / "er" / "a.head")
    check_place(tmp_path / "older.head")

    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "older.head"]


def test_a_folder_that_is_no_model_says_how_to_make_one(tmp_path):
    with pytest.raises(ModelError, match=r"is not a model.* python -m heads fit STORE --out"):
        load(tmp_path)


def test_features_of_another_recipe_are_refused_naming_the_field(model, snapshot):
    model.check_features(snapshot)
    other = replace(model, recipe=replace(model.recipe, pixels=PixelPolicy(antialias=True)))

    with pytest.raises(StaleModelError, match=r"pixels.antialias is False.* trained with True"):
        other.check_features(snapshot)


def test_a_column_that_the_store_lacks_is_named(model, snapshot):
    other = replace(model, columns=(replace(model.columns[0], pooling="max"),))

    with pytest.raises(StaleModelError, match=r"no column 'last:max'.* --layer last:max"):
        other.check_features(snapshot)
