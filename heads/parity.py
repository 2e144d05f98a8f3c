"""Cached features, joined model and exported file, held against each other on probes.

    probe ─▶ pixels ─▶ engine ─▶ features ─▶ scorer ─▶ probabilities      as `predict` does it
         └──────────── joined model ─▶ features ────▶ probabilities
         └──────────── exported file ───────────────▶ probabilities

Where the training store is at hand, the probes are its own, with features that were cached when
it was made; else the eight synthetic ones. The report, `parity.json`, has one entry per exported
file, and knows it by the SHA-256 of what was compared.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from extract import pixels, probes
from extract.engines.engine import relative_distance
from extract.errors import BucketError, ImageError, StoreError
from extract.places import beside
from extract.probe_files import PICTURES, features_name, read_features
from extract.store.files import Files, LocalFiles, sha256
from extract.store.opening import Store, open_store
from extract.store.reader import Snapshot
from heads.errors import ModelError, ParityError
from heads.inference import Predictor, side_by_side
from heads.model import Model

FEATURES = 1e-4
"""How far features may be apart: relative, norms over all probes together."""
PROBABILITIES = 1e-4
"""How far probabilities may be apart, absolute; a lead smaller than this may change hands. Numbers
of a regressor may be as far apart relative to the largest of the same target."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A picture that is compared."""

    name: str
    data: bytes
    """The file."""
    pixels: np.ndarray
    """(h, w, 3) uint8, decoded and turned."""


@dataclass(frozen=True, eq=False)
class Probes:
    """Pictures, and what was cached of them."""

    pictures: tuple[Probe, ...]
    store: str | None
    """The training store, if it is at hand and is what it was."""
    cached: np.ndarray | None
    """(n, d) float32: the store's features of `pictures`."""

    @property
    def names(self) -> list[str]:
        """Names of the pictures."""
        return [probe.name for probe in self.pictures]


@dataclass(frozen=True, eq=False)
class Scores:
    """What one way of computing gives for n probes."""

    probabilities: np.ndarray
    """(n, classes)."""
    features: np.ndarray | None = None
    """(n, d), where they can be seen."""


def gather(model: Model) -> Probes:
    """Return the probes of a model."""
    synthetic = Probes(_decoded(probes.synthetic(), model), None, None)
    if (snapshot := _store_at_hand(model)) is None:
        return synthetic
    files = Store.at(snapshot.path).files
    columns = [dict(zip(*read_features(files, c), strict=True)) for c in model.columns]
    pictures = _decoded(_pictures(files, snapshot, columns), model)
    if not pictures:
        return synthetic
    rows = [np.stack([column[probe.name] for probe in pictures]) for column in columns]
    cached = side_by_side(rows, [column.dtype for column in model.columns])
    return Probes(pictures, snapshot.path, cached)


def _store_at_hand(model: Model) -> Snapshot | None:
    """Return the snapshot that the model was trained on, if it is still there and the same."""
    was = model.store["path"]
    moved = [] if model.path is None else [model.path.parent / beside(was).name]
    for place in [was, *moved]:
        try:
            snapshot = open_store(place, model.store["snapshot"])
        except (StoreError, BucketError):  # a bucket may be out of reach, as a folder may be gone
            continue
        same = snapshot.root_digest == model.store["root_digest"]
        if same and snapshot.recipe.key == model.recipe.key and _has_probes(snapshot, model):
            return snapshot
    return None


def _has_probes(snapshot: Snapshot, model: Model) -> bool:
    """Whether the probes' features of the model's columns are those that were sealed."""
    files = Store.at(snapshot.path).files
    names = [f"probes/{features_name(column)}" for column in model.columns]
    return all(_is_sealed(files, snapshot, name) for name in names)


def _is_sealed(files: Files, snapshot: Snapshot, name: str) -> bool:
    sealed = snapshot.record.files.get(name)
    try:
        data = files.read(name)
    except OSError:
        return False
    return sealed is not None and (len(data), sha256(data)) == tuple(sealed)


def _pictures(
    files: Files, snapshot: Snapshot, columns: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, bytes]:
    """Return the store's pictures that are as they were sealed and have features in each column."""
    return {
        name: files.read(f"probes/{name}")
        for name in files.list("probes")
        if name.startswith(PICTURES)
        and all(name in column for column in columns)
        and _is_sealed(files, snapshot, f"probes/{name}")
    }


def _decoded(pictures: Mapping[str, bytes], model: Model) -> tuple[Probe, ...]:
    """Decode pictures; one that needs a decoder which is not installed here is left out."""
    found = []
    for name, data in pictures.items():
        try:
            decoded = pixels.decode(data, model.recipe.pixels)
        except ImageError:
            continue
        found.append(Probe(name, data, decoded.pixels))
    return tuple(found)


def reference(predictor: Predictor, found: Probes, model: Model) -> Scores:
    """Return what `predict` makes of the probes, with features as the backbone gives them.

    Those of float16 columns are not rounded here: a difference of 1e-5, which engines may have,
    takes one feature in a hundred to the next float16, and that alone is near the tolerance.
    """
    batch = np.stack([pixels.load(p.data, model.recipe.pixels)[0] for p in found.pictures])
    exact = replace(predictor, dtypes=("float32",) * len(predictor.dtypes))
    return Scores(predictor(batch).probabilities, exact.features(batch))


def difference(
    names: Sequence[str], found: Scores, expected: Scores, task: str = "classification"
) -> dict[str, Any]:
    """Return how far two ways of computing are apart, as JSON values.

    Returns:
        "probabilities", the largest absolute difference, and the probe that has it, "worst"; of a
        regressor's numbers, relative to the largest of the same target. "top_1", of a classifier,
        how many have another first class beyond the margin; "features" where both have them. A
        number that is not finite counts as infinitely far.
    """
    a, b = np.asarray(found.probabilities, np.float64), np.asarray(expected.probabilities)
    far = np.abs(a - b)
    if task == "regression":
        scale = np.abs(b).max(axis=0)
        far = far / np.where(scale > 0, scale, 1)
    apart = np.nan_to_num(far, nan=np.inf, posinf=np.inf).max(axis=1)
    facts: dict[str, Any] = {
        "probabilities": float(apart.max()),
        "worst": names[int(apart.argmax())],
    }
    if task == "classification":
        first_two = np.sort(b, axis=1)[:, -2:]
        clear = first_two[:, -1] - first_two[:, 0] > PROBABILITIES
        facts["top_1"] = int((clear & (a.argmax(axis=1) != b.argmax(axis=1))).sum())
    if found.features is not None and expected.features is not None:
        distance = relative_distance(found.features, expected.features)
        facts["features"] = distance if np.isfinite(distance) else float("inf")
    return facts


def check(
    out: Path, differences: Mapping[str, Mapping[str, Any]], task: str = "classification"
) -> None:
    """Raise `ParityError` if a way of computing is further from `predict` than is allowed."""
    for way, facts in differences.items():
        if facts.get("features", 0.0) > FEATURES:
            what = f"features differ by {facts['features']:.1e} relative, at most {FEATURES:.0e}"
        elif facts.get("probabilities", 0.0) > PROBABILITIES:
            apart = f"{facts['probabilities']:.1e}"
            numbers = f"numbers differ by {apart} relative"
            said = numbers if task == "regression" else f"probabilities differ by {apart}"
            what = f"{said} on {facts['worst']}, at most {PROBABILITIES:.0e}"
        elif facts.get("top_1", 0):
            what = f"{facts['top_1']} probes have another first class, none"
        else:
            continue
        raise ParityError(
            f"{out} was not written: of what the {way} gives, {what} was expected. Give another "
            f"--format, or take predict"
        )


def check_report(path: Path) -> None:
    """Raise `ModelError` if something else than a report has this path."""
    if path.exists() and _entries(path) is None:
        raise ModelError(
            f"{path} is something else than a parity report, and the report of an export lies "
            f"beside it under that name. Give --out in another folder"
        )


def write_report(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Put the entry of one exported file into a report; the other entries stay."""
    entries = (_entries(path) or {}) | {name: entry}
    text = json.dumps({"exports": dict(sorted(entries.items()))}, indent=1) + "\n"
    disk, scratch = LocalFiles(path.parent), f".{path.name}.{secrets.token_hex(4)}"
    try:
        disk.write_new(scratch, text.encode())
        disk.fsync(scratch)
        disk.rename(scratch, path.name)
    finally:
        disk.remove(scratch)


def _entries(path: Path) -> dict[str, Any] | None:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["exports"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return entries if isinstance(entries, dict) else None
