"""New images → a table of labels: listing, reading, decoding, backbone and head, in one pass.

No store is needed and none is written. Images go through the project's one decode and resize and
through the converted backbone of the user's cache; neither Keras nor scikit-learn is imported
once that is there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from extract import pixels
from extract.cores import num_cores
from extract.engines.openvino import OpenVINOEngine
from extract.errors import ImageError
from extract.items import FILES, SCHEMES, Item, Listing, list_files
from extract.places import bucket_url, local_path
from extract.prepare import prepare
from extract.prepared import Prepared, Request, cached
from extract.progress import Reporter, Silent, Ticker
from extract.published import published
from extract.reading import read
from extract.recipe import LayerRequest
from extract.sources import list_images
from extract.stages import Stage
from heads.errors import HeadError, ModelError
from heads.inference import Predictor
from heads.model import Model
from heads.model_folder import load
from heads.predictions import (
    Prediction,
    is_replaceable,
    judged,
    write_table,
)

AHEAD = 64  # decoded images that wait for the backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a run of `predict` came to; `--json` prints its fields."""

    model: str
    out: str
    images: int
    bad: int
    """Images that could not be read or decoded; the table says why not by status."""
    rejected: int
    """Images whose novelty was above `reject`."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """How many images got each label."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An item with its pixels (size, size, 3) float32, or the reason why there are none."""

    item: Item
    status: str
    pixels: np.ndarray | None = None
    reason: str = ""


def predict(
    model: Model | str | Path,
    images: str | Path | Iterable[Any],
    out: str | Path | None = None,
    *,
    root: str | Path | None = None,
    top_k: int = 3,
    reject: float | None = None,
    weights: str | Path | None = None,
    workers: int = 0,
    reporter: Reporter | None = None,
) -> Predictions:
    """Label images, and write the table.

    Args:
        model: A model, or its folder.
        images: A folder, searched through all its folders, or one image; or what else
            `extract.run` takes: a table, an archive, an array file, a data set's name, or arrays.
        out: A CSV file; `predictions.csv` beside the images by default, and in the current folder
            where they are no file. It is written whole, and replaces an older one.
        root: For a table, the folder of its paths; by default the table's own.
        top_k: Likeliest classes per image, at least 1; no more than there are.
        reject: Novelty, 0 to 1, above which an image gets no label.
        weights: Where the backbone's weights file is now, if it is not where it was.
        workers: Threads that read and decode; 0 for one per core.
        reporter: Hears progress.

    Raises:
        HeadstartError: With one line that says what to do; `out` is then as it was.
    """
    opened = model if isinstance(model, Model) else load(model)
    _check_options(top_k, reject)
    listing = _list(images, root)
    target = Path(out) if out is not None else _default_table(images)
    if isinstance(images, str | Path) and target.resolve() == Path(images).resolve():
        raise HeadError(f"{images} would be replaced by its own predictions. Give another --out")
    reporter = Silent() if reporter is None else reporter
    predictor = load_predictor(opened, weights, reporter)
    top_k = min(top_k, len(opened.classes))
    counts: Counter[str] = Counter()
    labels: Counter[str] = Counter()

    def counted() -> Iterator[Prediction]:
        for p in _predictions(opened, predictor, listing, top_k, reject, workers, reporter):
            counts[p.status] += 1
            labels.update(p.label.split("|") if opened.task == "multilabel" else [p.label])
            yield p

    with _published(target) as file:
        write_table(file, counted(), opened.task, opened.classes, top_k=top_k)
    del labels[""]
    return Predictions(
        model=str(opened.path or ""),
        out=str(target),
        images=len(listing.items),
        bad=counts["undecodable"] + counts["unreadable"],
        rejected=counts["rejected"],
        labels=dict(sorted(labels.items())),
    )


def _list(images: str | Path | Iterable[Any], root: str | Path | None) -> Listing:
    """List a folder or an image by its files alone, and anything else as `extract.run` does."""
    if root is None and isinstance(images, str | Path) and not _is_source(images):
        if url := bucket_url(images):
            from extract.sources.buckets import list_objects

            return list_objects(url)
        return list_files(local_path(images))
    return list_images(images, root)


def _is_source(images: str | Path) -> bool:
    scheme, _, name = str(images).partition(":")
    path = Path(images)
    return (scheme in SCHEMES and name != "") or (
        path.suffix.lower() in FILES and not path.is_dir()
    )


def _default_table(images: str | Path | Iterable[Any]) -> Path:
    if not isinstance(images, str | Path) or bucket_url(images):
        return Path("predictions.csv")
    named = str(images).partition(":")[0] in SCHEMES
    return Path("predictions.csv") if named else local_path(images).with_name("predictions.csv")


def _check_options(top_k: int, reject: float | None) -> None:
    if top_k < 1:
        raise HeadError(f"--top-k is at least 1. Received: {top_k}")
    if reject is not None and not 0 <= reject <= 1:
        raise HeadError(f"--reject is a quantile, 0 to 1, such as 0.99. Received: {reject}")


def load_predictor(
    model: Model, weights: str | Path | None = None, reporter: Reporter | None = None
) -> Predictor:
    """Return the model as a function of pixels, with its backbone compiled for this processor.

    Raises:
        StaleModelError: If the backbone that is found is not the one it was trained on.
        BackboneError: If the backbone or its weights cannot be had.
    """
    prepared = prepare_backbone(model, weights, reporter)
    place = {(c.operation, c.pooling): i for i, (c, _) in enumerate(prepared.columns)}
    return Predictor(
        engine=OpenVINOEngine(prepared.graph, model.recipe.precision),
        order=tuple(place[c.operation, c.pooling] for c in model.columns),
        dtypes=tuple(c.dtype for c in model.columns),
        scorer=model.scorer,
        temperature=model.temperature,
        novelty=model.novelty,
        names=len(model.classes),
        task=model.task,
    )


def prepare_backbone(
    model: Model, weights: str | Path | None = None, reporter: Reporter | None = None
) -> Prepared:
    """Return the converted backbone of a model, checked against the model's recipe."""
    request = model.request(weights)
    prepared = _converted(model, request)
    if prepared is None:
        if reporter is not None:
            reporter.note(f"Converting {request.spec.title} for OpenVINO, once …")
        prepared = prepare(request, "openvino")
    model.check_backbone(prepared.preprocessing, prepared.graph_digest, prepared.weights_digest)
    return prepared


def _converted(model: Model, request: Request) -> Prepared | None:
    """Return the backbone as a run has converted it, by the layers named or by the default one."""
    wanted = {(c.operation, c.pooling) for c in model.columns}
    unpooled = tuple(LayerRequest(c.layer) for c in model.columns)
    for layers in ((LayerRequest(),), unpooled, request.layers):
        found = cached(replace(request, layers=layers), "openvino")
        if found is not None and wanted <= {(c.operation, c.pooling) for c, _ in found.columns}:
            return found
    return None


def _predictions(
    model: Model,
    predictor: Predictor,
    listing: Listing,
    top_k: int,
    reject: float | None,
    workers: int,
    reporter: Reporter,
) -> Iterator[Prediction]:
    """Yield one prediction per item, in item order."""

    def look(item: Item) -> Seen:
        return see(listing, item, model)

    def forward(batch: list[Seen]) -> Any:
        return predictor(np.stack([seen.pixels for seen in batch if seen.pixels is not None]))

    threads = max(workers or num_cores(), listing.lanes)
    decode: Stage[Item, Seen] = Stage(look, threads, max(threads + 1, AHEAD))
    streams = num_cores() + 1
    engine: Stage[list[Seen], Any] = Stage(forward, streams, streams + 2)
    ticker = Ticker(len(listing.items))
    try:
        seen = (result for _, result in decode(listing.items) if result is not None)
        batches = _batches(seen, predictor.engine.batch_size)
        for batch, answer in engine(batches, needs_work=lambda b: b[0].pixels is not None):
            ticker.items_done += len(batch)
            for row, one in enumerate(batch):
                if answer is None:
                    yield Prediction(one.item.path, "", None, None, one.status, reason=one.reason)
                else:
                    yield judged(
                        model.task,
                        one.item.path,
                        one.status,
                        answer,
                        row,
                        model.classes,
                        thresholds=model.thresholds,
                        top_k=top_k,
                        reject=reject,
                    )
            waited = {"decode": decode.waited, "forward": engine.waited}
            if tick := ticker.tick(ticker.items_done, waited):
                reporter.tick(tick)
    finally:
        decode.close()
        engine.close()


def see(listing: Listing, item: Item, model: Model) -> Seen:
    """Read and decode one item; what is bad has a status and a reason instead of pixels."""
    try:
        file = read(listing, item)
    except ImageError as error:
        return Seen(item, "unreadable", reason=str(error))
    try:
        array, warning = pixels.load(file.data, model.recipe.pixels)
    except ImageError as error:
        return Seen(item, "undecodable", reason=str(error))
    return Seen(item, "good" if warning is None else "warned", array)


def _batches(seen: Iterator[Seen], size: int) -> Iterator[list[Seen]]:
    """Group good images by `size`, and let a bad one stand alone; order is kept."""
    batch: list[Seen] = []
    for one in seen:
        if one.pixels is None:
            if batch:
                yield batch
            yield [one]
            batch = []
            continue
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def _published(path: Path) -> Iterator[IO[str]]:
    """Yield a text file that takes the name `path` once the block has succeeded."""
    if path.is_dir():
        raise ModelError(f"{path} is a folder. Give --out a file such as predictions.csv")
    if not is_replaceable(path):
        raise ModelError(f"{path} is something else than predictions. Give another --out")
    with published(path) as scratch:
        try:
            scratch.touch(exist_ok=False)
        except OSError as error:
            raise ModelError(
                f"{path} cannot be written: {error.strerror}. Give --out a file such as "
                f"predictions.csv"
            ) from error
        with open(scratch, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
