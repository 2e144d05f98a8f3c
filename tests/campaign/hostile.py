"""Files that somebody sends who means harm: each is refused, with a reason, and nothing happens.

A case makes a file and opens it as a user would. It must end with a deliberate error, or with the
member marked bad; meanwhile no code of the file runs (pickles here write a canary), no process
starts, no socket connects, no file appears outside the case's own folder, and memory stays small.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from extract.backbones import BackboneSpec
from extract.errors import HeadstartError, InputError
from extract.keras_files import check_hdf5, check_weights, look_through
from extract.relabeling import relabel
from extract.sources import list_images
from extract.store.files import sha256
from extract.store.opening import open_store
from extract.store.records import seal
from heads.model_folder import RECORD, WEIGHTS, load, save
from tests.campaign import hostile_words
from tests.campaign.figures import Effort, Figure, peak_memory, reset_peak_memory
from tests.campaign.world import (
    COLUMNS,
    EARLY,
    Tree,
    arithmetic_backbone,
    extract_folder,
    picture,
    scratch,
    tree,
    write_tree,
)

BOMB, INFLATES = 300, b" " * (1 << 20)
"""As many pieces of a MiB."""
MOST_MEMORY = 200 << 20  # bytes that the process may grow by over all cases
Case = Callable[[Path], object]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    """Add a case to the corpus."""

    def add(work: Case) -> Case:
        CASES[name] = work
        return work

    return add


class Canary:
    """Pickled, it writes a file where it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def _npz_of_objects() -> bytes:
    sink = io.BytesIO()
    np.savez(sink, x=np.array([Canary()], object))
    return sink.getvalue()


PICKLE, OBJECTS = pickle.dumps(Canary()), _npz_of_objects()


# Heads -----------------------------------------------------------------------------------------

HEAD: Tree = {}
"""A sound head; `measure` fills it."""


def _head(folder: Path, files: Tree | None = None, **facts: Any) -> object:
    """Write a head that somebody sealed who knows the format, and open it."""
    content = {**HEAD, **(files or {})}
    record = json.loads(content.pop(RECORD))
    record["files"] = {name: [len(data), sha256(data)] for name, data in content.items()}
    for name in ("kind", "self_check"):
        del record[name]
    content[RECORD] = seal("model", {**record, **facts})
    return load(write_tree(folder / "sent.head", content))


@case("a pickle in the place of a head's record")
def _(folder: Path) -> object:
    return load(write_tree(folder / "sent.head", {**HEAD, RECORD: PICKLE}))


@case("a pickle in the place of a head's arrays")
def _(folder: Path) -> object:
    return _head(folder, {WEIGHTS: PICKLE})


@case("a head's arrays that hold pickled objects")
def _(folder: Path) -> object:
    return _head(folder, {WEIGHTS: OBJECTS})


@case("a joblib file in the place of an estimator")
def _(folder: Path) -> object:
    return _head(folder, {"estimator.skops": PICKLE}, scorer={"kind": "sklearn"})


@case("a head of an unknown kind")
def _(folder: Path) -> object:
    return _head(folder, scorer={"kind": "pickle"})


@case("a head whose activation is a function of Python")
def _(folder: Path) -> object:
    return _head(folder, scorer={"kind": "dense", "layers": 1, "activation": "os.system"})


@case("a head that names a file above its folder")
def _(folder: Path) -> object:
    return _named(folder, "../../etc/passwd")


@case("a head that names an absolute file")
def _(folder: Path) -> object:
    return _named(folder, "/etc/passwd")


def _named(folder: Path, name: str) -> object:
    record = json.loads(HEAD[RECORD])
    for field in ("kind", "self_check"):
        del record[field]
    record["files"][name] = [1, "0" * 64]
    return load(write_tree(folder / "sent.head", {**HEAD, RECORD: seal("model", record)}))


@case("a head whose arrays claim a shape that no memory holds")
def _(folder: Path) -> object:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
    header = header.ljust(117) + b"\n"
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("kernel_0.npy", npy)
    return _head(folder, {WEIGHTS: sink.getvalue()})


# Backbones -------------------------------------------------------------------------------------


def _keras(folder: Path, layer: dict[str, Any], members: Tree | None = None) -> object:
    """Write a `.keras` file with one layer, and look it through as `--backbone` does."""
    shape = {"batch_shape": [None, 16, 16, 3], "dtype": "float32", "name": "in"}
    first = {"module": "keras.layers", "class_name": "InputLayer", "config": shape}
    layers = [first, {"module": "keras.layers", "registered_name": None, **layer}]
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sent", "layers": layers},
        "registered_name": "Sequential",
    }
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["w"] = np.zeros(3)
    content = {
        "config.json": json.dumps(config).encode(),
        "metadata.json": b"{}",
        "model.weights.h5": weights.getvalue(),
        **(members or {}),
    }
    path = folder / "sent.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            with archive.open(name, "w") as member:
                for _ in range(BOMB if data == INFLATES else 1):
                    member.write(data)
    look_through(path)
    return check_weights(path)


DENSE = {"class_name": "Dense", "config": {"name": "d", "units": 1}}
for _class in ("Lambda", "TorchModuleWrapper", "TFSMLayer", "FlaxLayer"):
    CASES[f"a .keras file with a {_class}"] = lambda f, c=_class: _keras(
        f, {"class_name": c, "config": {"name": "code"}}
    )
CASES["a .keras file with a class of the module os"] = lambda f: _keras(
    f, {"module": "os", "class_name": "system", "registered_name": "system", "config": {}}
)
for _member in ("../evil.txt", "/etc/evil.txt", "code.py"):
    CASES[f"a .keras file with the member {_member}"] = lambda f, m=_member: _keras(
        f, DENSE, {m: b"x"}
    )
CASES["a .keras file whose config inflates"] = lambda f: _keras(f, DENSE, {"config.json": INFLATES})


@case("a pickle that is called .keras")
def _(folder: Path) -> object:
    (folder / "sent.keras").write_bytes(PICKLE)
    return look_through(folder / "sent.keras")


@case("a legacy .h5 model as the backbone")
def _(folder: Path) -> object:
    with h5py.File(folder / "sent.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential"})
    return BackboneSpec(name=str(folder / "sent.h5"))


@case("a legacy .h5 model in the place of a .keras file")
def _(folder: Path) -> object:
    with h5py.File(folder / "sent.keras", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential"})
    return look_through(folder / "sent.keras")


def _hdf5(folder: Path, write: Callable[[Any], object]) -> object:
    path = folder / "sent.weights.h5"
    with h5py.File(path, "w") as file:
        write(file)
    return check_hdf5(path, path, path.stat().st_size)


CASES["weights with an external link"] = lambda f: _hdf5(
    f, lambda file: file.__setitem__("w", h5py.ExternalLink("/etc/passwd", "/w"))
)
CASES["weights with external storage"] = lambda f: _hdf5(
    f, lambda file: file.create_dataset("w", (10,), "u1", external=[("/etc/passwd", 0, 10)])
)
CASES["weights that claim terabytes"] = lambda f: _hdf5(
    f, lambda file: file.create_dataset("w", (1 << 40,), "f4", chunks=(1 << 20,))
)


# Data sets -------------------------------------------------------------------------------------


def _table(folder: Path, path: str) -> object:
    write_tree(folder / "photos", {"a.png": picture(0)})
    (folder / "secret.png").write_bytes(picture(1))
    (folder / "photos" / "link.png").symlink_to(folder / "secret.png")
    (folder / "photos" / "t.csv").write_text(f'path\n"{path}"\n')
    return _marked_bad(folder / "photos" / "t.csv", path)


for _path in ("../secret.png", "a/../../secret.png", "/etc/passwd", "link.png", "nul\0.png"):
    CASES[f"a table with the path {_path!r}"] = lambda f, p=_path: _table(f, p)


def _zip(folder: Path, name: str) -> object:
    with zipfile.ZipFile(folder / "sent.zip", "w") as archive:
        archive.writestr("a/1.png", picture(0))
        archive.writestr(name, picture(1))
    return list_images(folder / "sent.zip")


for _path in ("../evil.png", "/etc/evil.png", "..\\evil.png"):
    CASES[f"a zip with the member {_path!r}"] = lambda f, p=_path: _zip(f, p)


@case("a zip with a link in it")
def _(folder: Path) -> object:
    with zipfile.ZipFile(folder / "sent.zip", "w") as archive:
        archive.writestr("a/1.png", picture(0))
        link = zipfile.ZipInfo("a/2.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return _marked_bad(folder / "sent.zip", "a/2.png")


@case("a zip with a picture that inflates to more than is read")
def _(folder: Path) -> object:
    with zipfile.ZipFile(folder / "sent.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", picture(0))
        with archive.open("a/2.png", "w", force_zip64=True) as member:
            for _ in range(513):
                member.write(INFLATES)
    return _marked_bad(folder / "sent.zip", "a/2.png")


def _marked_bad(archive: Path, name: str) -> None:
    trouble = {item.path: item.trouble for item in list_images(archive).items}.get(name)
    if trouble:
        raise InputError(trouble)


def _tar(folder: Path, name: str, kind: bytes = tarfile.REGTYPE) -> object:
    with tarfile.open(folder / "sent.tar", "w") as archive:
        for member, data in (("1.png", picture(0)), (name, picture(1))):
            info = tarfile.TarInfo(member)
            if member == name and kind != tarfile.REGTYPE:
                info.type, info.linkname = kind, "/etc/passwd"
            else:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if info.size else None)
    listing = list_images(folder / "sent.tar")
    if len(listing.items) == 1:  # a link is no file of the archive, and no item
        raise InputError("left out: a link")
    return listing


CASES["a tar with the member '../2.png'"] = lambda f: _tar(f, "../2.png")
CASES["a tar with the member '/2.png'"] = lambda f: _tar(f, "/2.png")
CASES["a tar with a link in it"] = lambda f: _tar(f, "2.png", tarfile.SYMTYPE)


@case("an npz of images that are pickled objects")
def _(folder: Path) -> object:
    (folder / "sent.npz").write_bytes(OBJECTS)
    return list_images(folder / "sent.npz")


@case("a folder with a link to a file outside it")
def _(folder: Path) -> object:
    write_tree(folder / "photos", {"a/1.png": picture(0)})
    (folder / "photos" / "a" / "2.png").symlink_to("/etc/passwd")
    return _marked_bad(folder / "photos", "a/2.png")


@case("a folder with a pipe in it, which nobody writes to")
def _(folder: Path) -> object:
    write_tree(folder / "photos", {"a/1.png": picture(0)})
    os.mkfifo(folder / "photos" / "a" / "2.png")
    return _marked_bad(folder / "photos", "a/2.png")


# Stores ----------------------------------------------------------------------------------------

STORE: Tree = {}
"""A sound store; `measure` fills it."""


def _store(folder: Path, change: Callable[[dict[str, Any]], object]) -> object:
    """Write a store whose snapshot somebody sealed anew, and load everything."""
    record = json.loads(STORE["snapshots/000001.json"])
    for name in ("kind", "self_check"):
        del record[name]
    change(record)
    content = {**STORE, "snapshots/000001.json": seal("snapshot", record)}
    return open_store(write_tree(folder / "sent.features", content)).load(None)


def _first_shard(record: dict[str, Any]) -> dict[str, Any]:
    return record["columns"][0]["shards"][0]


CASES["a store whose shard lies elsewhere"] = lambda f: _store(
    f, lambda record: _first_shard(record).update(file="../../../etc/passwd")
)
CASES["a store whose shard claims more rows than it has"] = lambda f: _store(
    f, lambda record: _first_shard(record).update(rows=1 << 40)
)
CASES["a store whose rows are terabytes wide"] = lambda f: _store(
    f, lambda record: record["columns"][0].update(row_shape=[1 << 40])
)


@case("a table of labels that names another store's items")
def _(folder: Path) -> object:
    store = write_tree(folder / "sent.features", STORE)
    (folder / "labels.csv").write_text("path,label\n../../etc/passwd,x\n")
    return relabel(store, folder / "labels.csv")


# ---------------------------------------------------------------------------------------------


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield one figure: how many files were sent, and which was let in."""
    figure = Figure(point=6, what="hostile files, each refused with a reason")
    with arithmetic_backbone(), scratch() as folder:
        photos = write_tree(folder / "made", EARLY)
        extract_folder(photos, folder / "made.features")
        from tests.heads.models import linear_model

        STORE.update(tree(folder / "made.features"))
        HEAD.update(tree(save(linear_model(folder / "made.features", COLUMNS), folder / "h").path))
        load(write_tree(folder / "sound.head", HEAD))
        before = reset_peak_memory()
        for number, (name, work) in enumerate(CASES.items()):
            figure.tried += 1
            figure.failures += _sent(name, work, folder / "cases" / str(number))
        grown = peak_memory() - before
        figure.check(grown < MOST_MEMORY, f"memory grew by {grown >> 20} MiB")
        figure.note = f"memory grew by {grown >> 20} MiB at most"
    yield figure
    yield _words()


def _words() -> Figure:
    """Let in names that are markup and formulas; each page and table of them is tried."""
    figure = Figure(point=6, what="pages and tables of names that are markup or formulas")
    failures: list[str] = []
    with arithmetic_backbone(), scratch() as folder, _watched(folder, failures):
        found = hostile_words.problems(folder)
    figure.tried = len(found)
    figure.failures += failures + [line for lines in found.values() for line in lines]
    figure.note = ", ".join(found)
    return figure


def _sent(name: str, work: Case, folder: Path) -> list[str]:
    """Open one hostile file in a folder of its own; return what went wrong."""
    inside = folder / "in" / "deep"
    inside.mkdir(parents=True)
    found: list[str] = []
    with _watched(inside, found), contextlib.chdir(inside):
        try:
            work(inside)
            found.append(f"{name} was let in")
        except HeadstartError as error:
            if not str(error) or "\n" in str(error):
                found.append(f"{name}: the reason is no line: {str(error)!r}")
        except Exception as error:
            found.append(f"{name}: {type(error).__name__}: {error}")
    outside = [p for p in folder.rglob("*") if not p.is_relative_to(inside) and p.is_file()]
    if outside or (inside / "canary").exists():
        found.append(f"{name} left {outside or 'the canary'}")
    return found


@contextlib.contextmanager
def _watched(folder: Path, found: list[str]) -> Iterator[None]:
    """Note what may not happen: a process, a connection."""

    def never(what: str) -> Callable[..., Any]:
        def call(*words: Any, **options: Any) -> Any:
            found.append(f"{what} was called: {words[:2]}")
            raise OSError(f"{what} is not for hostile files")

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("os.system", "os.popen", "subprocess.Popen", "socket.socket.connect"):
            patch.setattr(name, never(name))
        patch.setattr("socket.getaddrinfo", never("socket.getaddrinfo"))
        yield
