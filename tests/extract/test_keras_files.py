"""A `.keras` file is looked through before anything in it is built."""

import contextlib
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from extract import keras_files
from extract.errors import BackboneError
from extract.keras_files import check_hdf5, check_weights, look_through
from tests.extract.keras_models import saved, small_model


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return saved(small_model(), tmp_path_factory.mktemp("plain") / "mine.keras")


def rewritten(source, target, change=lambda config: None, drop=(), add=()):
    """Copy a `.keras` file with another config.json, without some members, with others."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name in drop:
                continue
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            new.writestr(name, data)
        for name, data in add:
            new.writestr(name, data)
    return target


def check(path):
    look_through(path)
    check_weights(path)


def first_layer(config):
    return config["config"]["layers"][1]


def set_layer(**facts):
    return lambda config: first_layer(config).update(facts)


def test_a_plain_model_passes(plain):
    found = look_through(plain)
    check_weights(plain)
    assert (found.input_shape, found.custom, found.needs_hub) == ((16, 16, 3), (), False)


def test_losses_and_metrics_of_the_user_are_no_matter(tmp_path):
    """The file is loaded without them, so they need not be registered."""

    def strange(y, z):
        return y - z

    model = small_model()
    model.compile(loss=strange)
    assert look_through(saved(model, tmp_path / "compiled.keras")).custom == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_layer(class_name="Lambda"), "layer 'conv' is a Lambda, which holds Python code"),
        (set_layer(class_name="TFSMLayer"), "'conv' is a TFSMLayer, which runs a program of anot"),
        (set_layer(class_name="TorchModuleWrapper"), "TorchModuleWrapper, which holds a pickled"),
        (set_layer(class_name="FlaxLayer", module="keras.layers"), "FlaxLayer, which holds code"),
        (set_layer(class_name="layers.Lambda", module="keras"), "is a Lambda, which holds Python"),
        (set_layer(class_name="layers.TFSMLayer", module="keras"), "is a TFSMLayer, which runs"),
        (
            lambda c: first_layer(c)["config"].update(
                activation={"class_name": "__lambda__", "config": {"value": "…"}}
            ),
            "layer 'conv' is a __lambda__",
        ),
        (
            set_layer(module="os", class_name="system", registered_name="system"),
            "layer 'conv' is of the class system, which is not registered here.*from Python",
        ),
        (
            set_layer(module=None, class_name="Mine", registered_name="pack>Mine"),
            "layer 'conv' is of the class pack>Mine, which is not registered here",
        ),
        (lambda c: c.update(config=[]), "config.json holds no model"),
    ],
)
def test_what_is_refused_is_named_by_its_layer(plain, tmp_path, change, words):
    path = rewritten(plain, tmp_path / "mine.keras", change)
    with pytest.raises(BackboneError, match=words) as caught:
        look_through(path)
    assert "\n" not in str(caught.value)


def test_a_lambda_in_a_nested_model_is_found(tmp_path):
    inner = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Lambda(lambda x: x / 255, name="code")]
    )
    path = saved(small_model(inner), tmp_path / "nested.keras")
    with pytest.raises(BackboneError, match="layer 'code' is a Lambda"):
        look_through(path)


def test_a_class_that_this_process_registered_passes(plain, tmp_path):
    @keras.saving.register_keras_serializable("tests_of_files")
    class Doubling(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    path = saved(small_model(Doubling()), tmp_path / "mine.keras")
    assert look_through(path).custom == ("tests_of_files>Doubling",)


@pytest.mark.parametrize(
    ("drop", "add", "words"),
    [
        ((), [("../evil.txt", b"")], r"has a member '../evil.txt', expected config.json"),
        ((), [("/etc/passwd", b"")], "has a member '/etc/passwd'"),
        ((), [("assets/../../x", b"")], r"has a member 'assets/../../x'"),
        ((), [("code.py", b"")], "has a member 'code.py'"),
        (("model.weights.h5",), [("model.weights.npz", b"")], "has a member 'model.weights.npz'"),
        (("model.weights.h5",), [], "has members metadata.json, config.json, expected each"),
        (("config.json",), [("config.json", b"{")], "config.json cannot be read"),
        (("config.json",), [("config.json", b"[" * 100_000)], "config.json cannot be read"),
    ],
)
def test_members_are_those_that_keras_writes(plain, tmp_path, drop, add, words):
    path = rewritten(plain, tmp_path / "mine.keras", drop=drop, add=add)
    with pytest.raises(BackboneError, match=words):
        look_through(path)


def test_a_member_that_inflates_is_refused(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(keras_files, "SMALL", 1000)
    path = rewritten(plain, tmp_path / "mine.keras", drop=["model.weights.h5"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(1_000_000))
    with pytest.raises(BackboneError, match=r"model.weights.h5 inflates to 0.0 GB from 0.0 MB"):
        look_through(path)


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all"])
def test_what_is_no_zip_is_one_line(tmp_path, data):
    path = tmp_path / "mine.keras"
    path.write_bytes(data)
    with pytest.raises(BackboneError, match=r"is no .keras file .*model.save"):
        look_through(path)


def external_link(file):
    file["w"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file):
    file["w"] = h5py.SoftLink("/elsewhere")


def external_storage(file):
    file.create_dataset("w", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def huge(file):
    file.create_dataset("w", (1 << 40,), "f4", chunks=(1 << 20,))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (external_link, "its weights /w lie elsewhere"),
        (soft_link, "its weights /w lie elsewhere"),
        (external_storage, "its weights /w lie elsewhere"),
        (huge, r"claim 4,398.0 GB in 0.0 MB"),
    ],
)
def test_weights_are_arrays_of_the_file_itself(tmp_path, write, words):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["good"] = np.zeros(3)
        write(file)
    with pytest.raises(BackboneError, match=words):
        check_hdf5(path, path, path.stat().st_size)


def test_groups_that_lead_in_circles_end(tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("a")
        group["again"] = group
        group["w"] = np.zeros(3)
    check_hdf5(path, path, path.stat().st_size)


def damaged(path, *changes, member="config.json"):
    """Change bytes of an entry of a zip's directory, and of its data: (offset, value) each."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    while data[entry + 46 : entry + 46 + len(member)] != member.encode():
        entry = data.index(b"PK\1\2", entry + 4)
    start = int.from_bytes(data[entry + 42 : entry + 46], "little")
    for where, offset, value in changes:
        data[{"entry": entry, "data": start}[where] + offset] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
@pytest.mark.parametrize(
    "changes",
    [
        [("entry", 9, 8), ("entry", 46, 0xFF)],  # its name says UTF-8, and is not
        [("entry", 10, 99)],  # packed in a way that nobody knows
        [("entry", 10, 8), ("data", 8, 8)],  # deflated, it says
        [("entry", 10, 12), ("data", 8, 12)],  # packed by bzip2
        [("entry", 10, 14), ("data", 8, 14)],  # by LZMA
        [("data", 0, 0)],
        [("data", 26, 255), ("data", 27, 255)],  # a name that goes beyond the file's end
    ],
)
def test_a_damaged_archive_is_one_line(plain, tmp_path, member, changes):
    path = damaged(rewritten(plain, tmp_path / "mine.keras"), *changes, member=member)
    with pytest.raises(BackboneError, match=r"mine.keras is (no .keras file|refused)") as caught:
        check(path)
    assert "\n" not in str(caught.value)


def test_a_type_with_a_name_is_no_array_and_is_passed_over(tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["type"] = np.dtype("f4")
        file["empty"] = h5py.Empty("f4")
        file["w"] = np.zeros(3)
    check_hdf5(path, path, path.stat().st_size)


def test_a_damaged_hdf5_file_is_refused_or_good(tmp_path):
    """Whatever byte is another one: an error of ours, or none where it does not matter."""
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["a/b/w"] = np.zeros((4, 4), np.float32)
        file.create_dataset("c", (64,), "f4", chunks=(16,), compression="gzip")
    whole = path.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(whole), 400):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with contextlib.suppress(BackboneError):
            check_hdf5(path, path, len(whole))
