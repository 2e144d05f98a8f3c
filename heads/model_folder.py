"""A model on disk: a head and all that it needs to be trusted, in one folder, without pickle.

    photos.head/
        model.json        what it is: classes, recipe, columns, backbone, digests, splits, metrics;
                          a sealed record that names the other files by size and SHA-256
        weights.npz       the head's arrays, temperature's and novelty's beside them
        estimator.skops   only for estimators of scikit-learn that are no stack of affine maps
        history.csv       only for heads that train in epochs
        sweep.csv         only for heads that a sweep chose: every head that it tried
        parity.json       written by `export`: what was compared, and how far apart it was

    photos.tuned/         a fine-tuned network, of kind "finetuned": also
        backbone.npz      the backbone's weights, by position; the recipe has their digest
        model.keras       the joined model: raw images in, probabilities out
        curves.png, .svg  how training went

Every command takes either: a fine-tuned network is a head on a backbone of its own.

The folder is published whole: it is written under another name, synced, and renamed. A model is
data: arrays are read without pickle, skops files with our own list of types.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from extract.errors import DamagedStoreError, StoreFormatError
from extract.recipe import Column, Recipe
from extract.store import header
from extract.store.files import sha256
from extract.store.records import seal, unseal
from heads.errors import DamagedModelError, HeadError, ModelError
from heads.folder import publish_folder, try_place
from heads.model import RECORD_KINDS, Kind, Model
from heads.novelty import Novelty
from heads.scoring import SCORERS, Scorer

RECORD = "model.json"
WEIGHTS = "weights.npz"
ESTIMATOR = "estimator.skops"
HISTORY = "history.csv"
SWEEP = "sweep.csv"
PARITY = "parity.json"
BACKBONE = "backbone.npz"
JOINED = "model.keras"


def save(model: Model, path: str | Path) -> Model:
    """Publish a model as a folder, whole; a model that was there before is replaced.

    Returns:
        The model, with its path.

    Raises:
        ModelError: If something else than a model has that path, or the disk refuses.
    """
    path = Path(path)
    check_place(path)
    files = _files(model)
    listed = {name: [len(data), sha256(data)] for name, data in files.items()}
    files[RECORD] = seal(RECORD_KINDS[model.kind], {**model.record, "files": listed})
    try:
        publish_folder(path, files)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return replace(model, path=path, attachments={n: path / n for n in model.attachments})


def is_model(path: str | Path) -> bool:
    """Return whether a folder says that it is a model."""
    return (Path(path) / RECORD).is_file()


def load(path: str | Path) -> Model:
    """Open a model.

    Raises:
        ModelError: If there is none.
        DamagedModelError: If a file of it is missing, short or altered.
        StoreFormatError: If it was made by a newer headstart.
    """
    path = Path(path)
    if not is_model(path):
        if inside := sorted(str(place.parent) for place in path.glob(f"*/{RECORD}")):
            raise ModelError(
                f"{path} holds models, one for each column of labels. Give one of "
                f"{', '.join(inside)}"
            )
        if (path / header.NAME).is_file():
            raise ModelError(
                f"{path} is a store, where a model would stand. To train one on it: "
                f"python -m heads fit {path}"
            )
        raise ModelError(
            f"{path} is not a model: it has no {RECORD}. To make one: python -m heads fit STORE "
            f"--out {path}"
        )
    try:
        data = (path / RECORD).read_bytes()
        kind = _kind(data)
        facts = unseal(RECORD_KINDS[kind], str(path / RECORD), data)
        files = {name: _read(path, name, *listed) for name, listed in facts["files"].items()}
        return _from_record(kind, facts, files, path)
    except (StoreFormatError, ModelError):
        raise
    except DamagedStoreError as error:
        raise DamagedModelError(f"{error}. Train it anew: python -m heads fit STORE") from error
    except (KeyError, ValueError, TypeError, AttributeError, OSError, MemoryError) as error:
        raise DamagedModelError(
            f"{path} cannot be read: {type(error).__name__} {error}. Train it anew: "
            f"python -m heads fit STORE"
        ) from error


def check_place(path: Path) -> None:
    """Raise `ModelError` if something else than a model has this path, or the disk refuses it."""
    try:
        if path.exists() and not (path / RECORD).is_file() and not _is_empty_folder(path):
            raise ModelError(f"{path} is something else than a model. Give another --out")
        try_place(path)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f"The model cannot be written to {path}: {error.strerror or error}. Give --out a folder "
        f"that can be written"
    )


def beside(path: Path, suffix: str) -> Path:
    """Return `photos.packed` for `photos.head`; `photos.tuned.packed` for `photos.tuned`."""
    return path.with_name(path.name.removesuffix(".head") + suffix)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _files(model: Model) -> dict[str, bytes]:
    files = {WEIGHTS: npz_bytes({**model.scorer.arrays(), **model.novelty.arrays()})}
    content = getattr(model.scorer, "content", None)
    if content is not None:
        files[ESTIMATOR] = content
    for name, rows in ((HISTORY, model.history), (SWEEP, model.sweep)):
        if rows:
            files[name] = table_csv(rows)
    return files | {name: place.read_bytes() for name, place in model.attachments.items()}


def table_csv(rows: tuple[Mapping[str, Any], ...]) -> bytes:
    """Return one line per row under a line of names; an empty cell where there is no value."""
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode()


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays as an npz file, the same bytes for the same numbers."""
    sink = io.BytesIO()
    np.savez(sink, **{name: arrays[name] for name in sorted(arrays)})  # type: ignore[arg-type]
    return sink.getvalue()


def _kind(record: bytes) -> Kind:
    """Return what a record says it is; what it says is checked when it is unsealed."""
    try:
        said = json.loads(record)
    except ValueError:
        return "head"
    tuned = isinstance(said, dict) and said.get("kind") == RECORD_KINDS["finetuned"]
    return "finetuned" if tuned else "head"


def _read(folder: Path, name: str, size: int, digest: str) -> bytes:
    if Path(name).name != name:
        raise DamagedModelError(f"{folder / RECORD} names a file outside its folder: {name!r}")
    path = folder / name
    if not path.is_file():
        raise DamagedModelError(f"{path} is missing. Train it anew: python -m heads fit STORE")
    data = path.read_bytes()
    if (len(data), sha256(data)) != (size, digest):
        raise DamagedModelError(f"{path} was altered. Train it anew: python -m heads fit STORE")
    return data


def _from_record(
    kind: Kind, facts: Mapping[str, Any], files: Mapping[str, bytes], path: Path
) -> Model:
    with np.load(io.BytesIO(files[WEIGHTS]), allow_pickle=False) as stored:
        if any(member.file_size > len(files[WEIGHTS]) for member in stored.zip.infolist()):
            raise DamagedModelError(f"{path / WEIGHTS} inflates, and no model does")
        arrays = {name: stored[name] for name in stored.files}
    model = Model(
        scorer=_scorer(facts["scorer"], arrays, files),
        classes=tuple(facts["classes"]),
        task=facts.get("task", "classification"),
        label_columns=tuple(facts.get("label_columns", ["label"])),
        thresholds=tuple(facts.get("thresholds", [])),
        temperature=float(facts["temperature"]),
        novelty=Novelty.from_arrays(arrays),
        recipe=Recipe.from_json(facts["recipe"]),
        columns=tuple(Column(**c["column"]) for c in facts["columns"]),
        row_shapes=tuple(tuple(c["row_shape"]) for c in facts["columns"]),
        backbone=facts["backbone"],
        estimator=facts["estimator"],
        store=facts["store"],
        splits=facts["splits"],
        metrics=facts["metrics"],
        selection=tuple(facts["selection"]),
        settings=facts["settings"],
        history=_rows(files.get(HISTORY)),
        sweep=_rows(files.get(SWEEP)),
        kind=kind,
        attachments={name: path / name for name in facts.get("attachments", []) if name in files},
        path=path,
    )
    if model.recipe.key != facts["recipe_key"]:
        raise DamagedModelError(f"{path / RECORD} has a recipe that does not fit its key")
    return model


def _scorer(
    facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray], files: Mapping[str, bytes]
) -> Scorer:
    kind = facts["kind"]
    if kind in SCORERS:
        return SCORERS[kind].from_arrays(arrays, facts)
    if kind == "sklearn":
        from heads.sklearn_heads import SklearnScorer

        return SklearnScorer.from_skops(files[ESTIMATOR])
    raise HeadError(f"scorer is one of {', '.join([*SCORERS, 'sklearn'])}. Received: {kind!r}")


def _rows(data: bytes | None) -> tuple[Mapping[str, Any], ...]:
    """Return what `table_csv` was given."""
    if data is None:
        return ()
    lines = csv.DictReader(io.StringIO(data.decode()))
    return tuple({name: _value(cell) for name, cell in line.items()} for line in lines)


def _value(cell: str) -> Any:
    if cell in _WORDS:
        return _WORDS[cell]
    with contextlib.suppress(ValueError):
        return int(cell)
    with contextlib.suppress(ValueError):
        return float(cell)
    return cell


_WORDS: Mapping[str, Any] = {"": None, "True": True, "False": False}
