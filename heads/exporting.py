"""A model → a file that works elsewhere, proved equal before it takes its name.

    probes, cached features ──┐
    child: join ▶ write ▶ open again ▶ run ──▶ compare ──▶ publish, parity.json beside it

Nothing appears at the target before everything agrees. What is in the formats, and how to read
the names of the classes from each, is told in `heads.formats`.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from extract import errors as extract_errors
from extract.prepare import QUIET
from extract.prepared import exporter
from extract.progress import Reporter, Silent
from extract.store.files import LocalFiles, sha256
from heads import conversion, errors, formats, joining, parity
from heads.errors import HeadError, ModelError
from heads.folder import publish_folder
from heads.formats import Format
from heads.model import Model
from heads.model_folder import PARITY, beside, load, save
from heads.parity import Probes, Scores
from heads.predicting import load_predictor

PACKAGES = ("headstart", "numpy", "keras", "tensorflow", "torch", "openvino")
FORMAT_PACKAGES = ("tf2onnx", "onnx", "onnxruntime", "ai-edge-litert")
"""Distributions whose versions a report names, where they are installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export came to; `--json` prints its fields."""

    model: str
    out: str
    format: str
    bytes: int
    """Of all its files together."""
    parity: str
    """Path of the report."""
    probes: int
    """Pictures that were compared."""
    features: float
    """How far the joined model's features are from those of `predict`, relative."""
    probabilities: float
    """How far the exported file's probabilities are from those of `predict`, at most; a
    regressor's numbers relative to the largest of the same target."""


def export(
    model: Model | str | Path,
    out: str | Path | None = None,
    format: str | None = None,
    *,
    weights: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Exported:
    """Write a model for use elsewhere: raw images in, probabilities out.

    The file takes images (batch, h, w, 3) uint8 of any size, and does all that `predict` does but
    decoding and novelty: resize, preprocessing, backbone, head, temperature. It is opened again
    and compared with cached features and with the joined model on the probes. `heads.formats` has
    the formats, and where each keeps the names of the classes.

    Args:
        model: A model, or its folder.
        out: Ends in `.keras`, `.onnx`, `.xml` (with a `.bin` beside it), `.tflite`, or
            `.saved_model` for a folder. `photos.keras` beside `photos.head` by default. An
            export of the same format is replaced, whole.
        format: "keras", "saved_model", "onnx", "openvino" or "litert"; by `out` if it is None.
        weights: Where the backbone's weights file is now, if it is not where it was.
        reporter: Hears what is going on.

    Returns:
        What was written and how far apart the ways of computing are; `parity.json` beside `out`
        and in the model's folder has it in full.

    Raises:
        HeadError: If the head cannot become layers, or an extra is missing.
        ModelError: If something else has that path, the disk refuses, or the converter does.
        StaleModelError: If the backbone that is found is not the one it was trained on.
        ParityError: If the file does not give what the model gives; `out` is then as it was.
    """
    opened = model if isinstance(model, Model) else load(model)
    target = Path(out) if out is not None else None
    chosen = formats.find(target, format)
    target = target or _default_out(opened, chosen)
    joining.check(opened)
    chosen.check_installed(exporter())
    _check_place(target, chosen)
    reporter = Silent() if reporter is None else reporter
    predictor = load_predictor(opened, weights, reporter)
    probes = parity.gather(opened)
    expected = parity.reference(predictor, probes, opened)
    reporter.note(f"Writing {target}, and comparing it on {len(probes.names)} pictures …")
    with _disk_errors(target), _scratch(target) as scratch:
        _prepare(scratch, opened, probes)
        _in_child(scratch, target.name, chosen, weights)
        differences = _differences(scratch, probes, expected, opened.task)
        parity.check(target, differences, opened.task)
        entry = _entry(scratch, chosen, opened, probes, differences)
        _publish(scratch / conversion.WRITTEN, target, chosen)
        for folder in {target.parent, opened.path or target.parent}:
            parity.write_report(folder / PARITY, target.name, entry)
    return Exported(
        model=str(opened.path or ""),
        out=str(target),
        format=chosen.name,
        bytes=sum(size for size, _ in entry["files"].values()),
        parity=str(target.parent / PARITY),
        probes=len(probes.names),
        features=differences["joined model"]["features"],
        probabilities=differences["exported file"]["probabilities"],
    )


def _default_out(model: Model, format: Format) -> Path:
    if model.path is None:
        raise HeadError(f"The model was not saved yet: give out, such as photos{format.suffix}")
    return beside(model.path, format.suffix)


def _check_place(target: Path, format: Format) -> None:
    """Raise `ModelError` if something else lies where the export or its report will."""
    parity.check_report(target.parent / PARITY)
    for path in format.names(target):
        empty = path.is_dir() and not any(path.iterdir())
        if path.exists() and not empty and not format.is_one(target):
            raise ModelError(
                f"{path} is something else than an export of `heads export` to {format.suffix}. "
                f"Give another --out"
            )


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{target} cannot be written: {error.strerror or error}. Give another --out"
        ) from error


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`, so that its content can be renamed to there."""
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _prepare(scratch: Path, model: Model, probes: Probes) -> None:
    """Write what the child reads."""
    save(model, scratch / conversion.MODEL)
    images = {str(i): probe.pixels for i, probe in enumerate(probes.pictures)}
    files = {f"raw_{i}": np.frombuffer(p.data, np.uint8) for i, p in enumerate(probes.pictures)}
    np.savez(scratch / conversion.PROBES, **images, **files)  # type: ignore[arg-type]


def _in_child(scratch: Path, name: str, format: Format, weights: str | Path | None) -> None:
    environment = {**os.environ, **QUIET, "KERAS_BACKEND": exporter(), "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    asked = {"name": name, "format": format.name, "weights": weights and str(weights)}
    done = subprocess.run(
        [sys.executable, "-m", "heads.conversion", str(scratch)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode == 1 and done.stdout.strip():
        refusal = json.loads(done.stdout.splitlines()[-1])
        kinds = {**vars(extract_errors), **vars(errors)}
        raise kinds[refusal["error"]](refusal["text"])
    if done.returncode != 0:
        raise RuntimeError(f"heads.conversion ended with {done.returncode}:\n{done.stderr[-4000:]}")


def _differences(
    scratch: Path, probes: Probes, expected: Scores, task: str
) -> dict[str, dict[str, Any]]:
    """Return how far each way of computing is from what `predict` gives."""
    with np.load(scratch / conversion.FOUND) as stored:
        found = {name: stored[name] for name in stored.files}
    names = probes.names
    ways = {
        "joined model": Scores(found["joined"], found["features"]),
        "exported file": Scores(found["exported"]),
    }
    if probes.cached is not None:
        ways["cached features"] = Scores(expected.probabilities, probes.cached)
    differences = {way: parity.difference(names, s, expected, task) for way, s in ways.items()}
    if "bytes" in found:
        differences["signature for bytes"] = _of_bytes(found["bytes"], names, expected, task)
    return differences


def _of_bytes(found: np.ndarray, names: list[str], expected: Scores, task: str) -> dict[str, Any]:
    """Compare what the signature for bytes took, and name what it refused."""
    taken = np.flatnonzero(~np.isnan(found).all(axis=1))
    facts = parity.difference(
        [names[i] for i in taken],
        Scores(found[taken]),
        Scores(expected.probabilities[taken]),
        task,
    )
    return facts | {"refused": [name for i, name in enumerate(names) if i not in taken]}


def _entry(
    scratch: Path,
    format: Format,
    model: Model,
    probes: Probes,
    differences: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what the report says of one exported file, as JSON values."""
    written = scratch / conversion.WRITTEN
    return {
        "format": format.name,
        "files": {
            path.relative_to(written).as_posix(): [path.stat().st_size, sha256(path.read_bytes())]
            for path in sorted(written.rglob("*"))
            if path.is_file()
        },
        "recipe_key": model.recipe.key,
        "root_digest": model.store["root_digest"],
        "classes": list(model.classes),
        "tolerances": {"features": parity.FEATURES, "probabilities": parity.PROBABILITIES},
        "differences": {way: dict(facts) for way, facts in differences.items()},
        "probes": probes.names,
        "store": probes.store,
        "versions": dict(_versions()),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in (*PACKAGES, *FORMAT_PACKAGES):
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _publish(written: Path, target: Path, format: Format) -> None:
    """Give what was written its name; what had it before is replaced, whole."""
    if (written / target.name).is_dir():
        folder = written / target.name
        files = [path for path in folder.rglob("*") if path.is_file()]
        publish_folder(target, {p.relative_to(folder).as_posix(): p.read_bytes() for p in files})
        return
    disk = LocalFiles(target.parent)
    names = [path.name for path in format.names(target)]
    for name in names:
        LocalFiles(written).fsync(name)
    if len(names) > 1:  # the older graph would take the new weights for its own
        disk.remove(target.name)
    for name in names:
        os.replace(written / name, target.with_name(name))
    disk.fsync("")
