"""What a run is asked for, and what follows from it before any image is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from extract.augment import Augmentation
from extract.backbone_files import OWN, file_of
from extract.backbones import BackboneSpec
from extract.errors import BackboneError, InputError, StaleStoreError
from extract.items import FILES, SCHEMES
from extract.known import Known
from extract.parts import Part
from extract.places import bucket_url, local_path
from extract.plain_values import whole_number
from extract.prepare import prepare, probes_for
from extract.prepared import WEIGHTS_WORDS, EngineKind, Prepared, Request, cached, with_dtype
from extract.progress import Reporter
from extract.recipe import (
    Column,
    DType,
    LayerRequest,
    PixelPolicy,
    Precision,
    Recipe,
    first_difference,
    one_of,
)
from extract.store.shards import Format

EngineChoice = Literal["auto", "openvino", "keras"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run is asked for; `extract.run` and the command line both make one."""

    spec: BackboneSpec = field(default_factory=BackboneSpec)
    pixels: PixelPolicy = field(default_factory=PixelPolicy)
    layers: tuple[LayerRequest, ...] = ()
    """Layer outputs to keep; the last map averaged where none is named."""
    dtype: DType = "float32"
    """Type on disk."""
    views: int = 1
    """Views of each image, the plain one among them."""
    augment: str = ""
    """What makes the other views, in its canonical form; empty where there are none."""
    kept: tuple[Column, ...] = ()
    """Columns that the store is to have besides, as an earlier run named them."""
    precision: Precision = "float32"
    format: Format | None = None
    """Of new shards; None for that of the store's others, zarr where there are none."""
    engine: EngineChoice = "auto"
    batch_size: int | None = None
    """Images per call of the engine; None for what suits it."""
    workers: int = 0
    """Threads that read and decode; 0 for one per core."""
    max_bad: str = "10%"
    rehash: bool = False
    """Whether every byte is read again, also where size and time are as they were."""
    devices: tuple[int, ...] = ()
    """Accelerators to use side by side; none to let Keras choose one."""

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, get_args(DType))
        one_of("precision", self.precision, get_args(Precision))
        if self.format is not None:
            one_of("format", self.format, get_args(Format))
        one_of("engine", self.engine, get_args(EngineChoice))
        for name in ("views", "batch_size", "workers"):
            value = getattr(self, name)
            if name != "batch_size" or value is not None:
                object.__setattr__(self, name, whole_number(name, value))
        object.__setattr__(self, "augment", _checked_augment(self.views, self.augment))
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"--batch-size is at least 1. Received: {self.batch_size}")
        if self.workers < 0:
            raise InputError(f"--workers is at least 0. Received: {self.workers}")
        allowed_bad(self.max_bad, 0)
        if self.devices and self.engine == "openvino":
            raise InputError("--devices are accelerators of Keras. Leave --engine openvino out")


def _checked_augment(views: int, augment: str) -> str:
    """Return the augmentation in its canonical form; it goes with two views or more."""
    if views < 1:
        raise InputError(f"--views is at least 1, which is the plain one. Received: {views}")
    canonical = Augmentation.parse(augment).canonical if augment else ""
    if views > 1 and not augment:
        raise InputError(
            f"--views {views} takes --augment, which says how views differ. Add "
            f"--augment flip,rotation=0.1,crop=0.8"
        )
    if views == 1 and augment:
        raise InputError(
            "--augment is for the views besides the plain one. Add --views 2 or more, such as "
            "--views 8"
        )
    return canonical


def parse_devices(text: str | None) -> tuple[int, ...]:
    """Read "0,1", the numbers of accelerators.

    Raises:
        InputError: If these are not numbers, each once.
    """
    names = [] if text is None else text.split(",")
    if not all(name.strip().isdecimal() for name in names) or len(set(names)) < len(names):
        raise InputError(f"--devices are numbers of accelerators, such as 0,1. Received: {text!r}")
    return tuple(int(name) for name in names)


def allowed_bad(max_bad: str, items: int) -> int:
    """Return how many of `items` may be bad: "12" is a number of them, "10%" a share."""
    number, percent = max_bad.removesuffix("%"), max_bad.endswith("%")
    try:
        value = float(number) if percent else int(number)
    except ValueError:
        value = -1
    if not value >= 0 or (percent and value > 100):
        raise InputError(f"--max-bad is a number or a share such as 10%. Received: {max_bad!r}")
    return int(items * value / 100) if percent else int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run will do."""

    settings: Settings
    request: Request
    prepared: Prepared
    kind: EngineKind
    recipe: Recipe
    columns: tuple[Column, ...]
    row_shapes: tuple[tuple[int, ...], ...]
    format: Format
    """Of new shards."""
    stored_signature: Mapping[str, str] | None = None
    """Signature that the store was begun with; `auto` uses no other."""

    @property
    def views(self) -> tuple[int, ...]:
        """The views that columns are of, rising; 0 is the plain one."""
        return tuple(sorted({column.view for column in self.columns}))

    @property
    def augmentation(self) -> Augmentation | None:
        """What makes the views other than 0; None where there are none."""
        texts = {column.augment for column in self.columns if column.view}
        return Augmentation.parse(texts.pop()) if texts else None

    @property
    def outputs(self) -> tuple[Column, ...]:
        """What the engine gives for one picture: each column's plain one, once."""
        return tuple({c.plain.canonical: c.plain for c in self.columns}.values())

    def backbone(self) -> dict[str, Any]:
        """Return the locators that are written beside the recipe's key."""
        return self.settings.spec.locators


def make_plan(
    settings: Settings, known: Known, store: str, reporter: Reporter, keep: bool = True
) -> Plan:
    """Decide engine, recipe and columns.

    Args:
        settings: What is asked for.
        known: What the store holds.
        store: Its name, for messages.
        reporter: Hears what takes long.
        keep: Whether a converted backbone goes to the user's cache.

    Raises:
        StaleStoreError: If the store was made with another recipe.
        BackboneError: If the backbone or its weights cannot be had.
    """
    _check_backbone(settings, known, store)
    kind = _engine_kind(settings, known)
    old = _old_columns(settings, known)
    asked = settings.layers or (LayerRequest(),)
    request = _request(settings, asked)
    if cached(request, kind) is None:  # what is converted now serves the columns that go on too
        request = _request(settings, _with_old(asked, old))
    try:
        prepared = _prepare(request, kind, reporter, keep)
    except BackboneError:  # perhaps the file is another one now, without the store's layers
        if request.layers != asked:
            plain = _prepare(_request(settings, asked), kind, reporter, keep)
            _check_known(known, _recipe(settings, plain, kind), store)
        raise
    recipe = _recipe(settings, prepared, kind)
    _check_known(known, recipe, store)  # only then the store's columns are of this graph
    wanted = _all_views(with_dtype(prepared.columns[: len(asked)], settings.dtype), settings)
    columns = list({c.canonical: c for c in [*old, *wanted]}.values())
    _check_augment(columns, store)
    given = {(c.operation, c.pooling) for c, _ in prepared.columns}
    if any((c.operation, c.pooling) not in given for c in columns):
        # Columns that were not named again go on: their layers are asked for as well.
        named = dict.fromkeys(LayerRequest(c.layer, c.pooling) for c in columns)
        request = _request(settings, tuple(named))
        prepared = _prepare(request, kind, reporter, keep)
    shapes = {(c.operation, c.pooling): shape for c, shape in prepared.columns}
    return Plan(
        settings=settings,
        request=request,
        prepared=prepared,
        kind=kind,
        recipe=recipe,
        columns=tuple(columns),
        row_shapes=tuple(shapes[c.operation, c.pooling] for c in columns),
        format=settings.format or known.format,
        stored_signature=known.head.signature if known.head else None,
    )


def _check_backbone(settings: Settings, known: Known, store: str) -> None:
    """Look at what needs no Keras: the weights' file, and the name that a store was made with."""
    weights = settings.spec.weights
    if weights not in WEIGHTS_WORDS and not Path(weights).expanduser().is_file():
        raise BackboneError(
            f"There is no weights file {weights}. Give --weights a file, imagenet or random"
        )
    stored = known.head.backbone if known.head else {}
    named = OWN not in (settings.spec.weights, stored.get("weights"))  # files may move
    if named and stored.get("name") not in (None, settings.spec.name):
        raise StaleStoreError(store, "backbone", stored["name"], settings.spec.name)


def _check_known(known: Known, recipe: Recipe, store: str) -> None:
    """Raise `StaleStoreError` if what the store holds was made with another recipe."""
    if known.head is not None:
        check_recipe(known.head.recipe, recipe, store)
    for commit in known.commits.values():
        if commit.recipe_key != recipe.key:
            raise StaleStoreError(store, "recipe_key", commit.recipe_key, recipe.key)


def check_recipe(stored: Recipe, wanted: Recipe, store: str) -> None:
    """Raise `StaleStoreError` that names the first field in which two recipes differ."""
    if (difference := first_difference(stored, wanted)) is not None:
        raise StaleStoreError(store, *difference)


def _engine_kind(settings: Settings, known: Known) -> EngineKind:
    if settings.spec.kind == "graph":
        if settings.engine == "keras" or settings.devices:
            option = "--devices" if settings.devices else "--engine"
            raise BackboneError(
                f"{settings.spec.title} is a frozen graph, which OpenVINO runs. Leave {option} out"
            )
        return "openvino"
    if settings.engine != "auto":
        return settings.engine
    if settings.devices:
        return "keras"
    if known.head is not None:
        return "openvino" if known.head.signature["engine"] == "openvino" else "keras"
    return "keras" if _has_accelerator() else "openvino"


def _has_accelerator() -> bool:
    """Ask Keras only where a driver's files say that asking may be worth its seconds."""
    if not (os.path.exists("/dev/nvidiactl") or shutil.which("nvidia-smi")):
        return False
    from extract.engines.keras_backend import accelerator

    return accelerator()


def _request(settings: Settings, layers: tuple[LayerRequest, ...]) -> Request:
    return Request(spec=settings.spec, image_size=settings.pixels.image_size, layers=layers)


def _with_old(asked: tuple[LayerRequest, ...], old: Sequence[Column]) -> tuple[LayerRequest, ...]:
    """Return the layers that are asked for, then those of other layers that the store has.

    A layer that is asked for by its name alone is not named again as the store has it: so a run
    that is repeated asks for the same.
    """
    named = {request.layer for request in asked}
    if len(named) < len(asked):  # one may stand for another, and columns be fewer than requests
        return asked
    alone = {request.layer for request in asked if request.pooling is None}
    others = (LayerRequest(c.layer, c.pooling) for c in old if c.layer not in alone)
    return tuple(dict.fromkeys((*asked, *others)))


def _prepare(request: Request, kind: EngineKind, reporter: Reporter, keep: bool) -> Prepared:
    found = cached(request, kind)
    if found is not None:
        return found
    if kind == "openvino":
        often = "once" if keep else "for this plan only"
        reporter.note(
            f"Converting {request.spec.title} for OpenVINO, {often} (seconds for a small one) …"
        )
    prepared = prepare(request, kind, keep)
    if request.spec.kind == "graph":
        from extract.frozen_scale import doubt

        path = file_of(request.spec.name)
        if told := doubt(path, prepared.preprocessing, probes_for(request)):
            reporter.note(told)
    return prepared


def _all_views(columns: list[Column], settings: Settings) -> list[Column]:
    """Return all views of some plain columns, view by view."""
    return columns + [
        replace(column, view=view, augment=settings.augment)
        for view in range(1, settings.views)
        for column in columns
    ]


def _old_columns(settings: Settings, known: Known) -> list[Column]:
    """Return the columns that go on, named again or not, in their order.

    A snapshot never loses a column, and asking for the same ones in another order changes nothing.
    """
    before = [c.column for c in known.previous.columns] if known.previous else []
    return [*before, *settings.kept]


def _check_augment(columns: Sequence[Column], store: str) -> None:
    """Raise `StaleStoreError` unless all views are of one augmentation."""
    stored, *others = dict.fromkeys(column.augment for column in columns if column.view) or [""]
    if others:
        raise StaleStoreError(store, "augment", stored, others[0])


def _recipe(settings: Settings, prepared: Prepared, kind: EngineKind) -> Recipe:
    return Recipe(
        graph_digest=prepared.graph_digest,
        weights_digest=prepared.weights_digest,
        arguments=prepared.arguments,
        pixels=settings.pixels,
        preprocessing=prepared.preprocessing,
        precision=settings.precision,
        signature=None if settings.precision == "float32" else _signature(kind),
    )


def _signature(kind: EngineKind) -> dict[str, str]:
    from extract.engines.openvino import openvino_signature

    if kind != "openvino":
        raise BackboneError(
            "--precision bfloat16 runs on the processor through OpenVINO. Add --engine openvino"
        )
    return openvino_signature()


def default_store(images: Any, part: Part | None = None) -> Path | str:
    """Return `photos.features` for `photos`, for `photos.csv`, and for `tfds:photos[train]`.

    What is made from images in a bucket lies beside them, at the URL that is returned. A part of
    them has its place beside that of all: `photos.part-2-of-4.features`.

    Raises:
        InputError: For arrays, which have no name.
    """
    if not isinstance(images, str | Path):
        raise InputError("Arrays have no name to call a store after. Give store=")
    if url := bucket_url(images):
        base, slash, name = url.rpartition("/")
        if base.endswith("/"):
            raise InputError(f"{url} is a whole bucket. Give --store a place outside of it")
        stem, dot, kind = name.rpartition(".")
        is_file = f"{dot}{kind}".lower() in FILES and bool(stem)
        at_url = f"{base}{slash}{stem if is_file else name}.features"
        return at_url if part is None else part.store_of(at_url)
    scheme, _, name = str(images).partition(":")
    if scheme in SCHEMES and name:
        path = Path(Path(name.partition("[")[0].partition(":")[0]).name)
    else:
        path = local_path(images)
        path = path if path.name not in ("", "..") else path.resolve()
        path = path.with_suffix("") if path.suffix.lower() in FILES and not path.is_dir() else path
    whole = path.with_name(path.name + ".features")
    return whole if part is None else Path(part.store_of(str(whole)))


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of what decides bits, for the record of each shard."""
    import importlib.metadata

    packages = ("numpy", "openvino", "opencv-python-headless", "pillow", "simplejpeg")
    return {name: importlib.metadata.version(name) for name in packages}
