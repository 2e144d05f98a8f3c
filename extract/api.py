"""The public way in: a folder of images → a store, and what the run came to."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from extract.backbone_pixels import pixel_policy
from extract.backbones import BackboneSpec
from extract.collector import paused
from extract.errors import InputError
from extract.items import Listing
from extract.known import read_known
from extract.needs import check_room
from extract.notebook import Shown
from extract.pipeline import Extraction
from extract.plan import Settings, allowed_bad, default_store, make_plan
from extract.progress import Reporter, Silent
from extract.recipe import LayerRequest
from extract.sealing import Sealed
from extract.sources import list_images
from extract.store import header
from extract.store.files import read_errors
from extract.store.reader import Store
from extract.store.snapshots import BAD_IMAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Shown):
    """What a run did; `--json` prints its fields."""

    store: str
    items: int
    """Entries of the data set: good + bad."""
    rows: int
    """Distinct images among them."""
    extracted: int
    """Images that this run put through the backbone."""
    copied: int
    """Rows that were copied from a shard that had to be rewritten."""
    reused: int
    """Rows in shards that were left as they are."""
    bad: int
    """Items without features: undecodable + unreadable."""
    undecodable: int
    unreadable: int
    seconds: float
    images_per_second: float
    """`extracted` over the time from the first image to the last commit, without the seconds in
    which the engine was loaded."""
    read_seconds: float
    decode_seconds: float
    """Time that decoding kept its threads busy, summed over them; likewise the others."""
    forward_seconds: float
    write_seconds: float
    snapshot: int
    root_digest: str
    max_bad: int
    """Bad items that `--max-bad` allows."""

    @property
    def too_many_bad(self) -> bool:
        """Whether more items are bad than was allowed."""
        return self.bad > self.max_bad


def run(
    images: str | Path | Iterable[Any],
    store: str | Path | None = None,
    *,
    root: str | Path | None = None,
    backbone: str | Path = "mobilenet_v2",
    arguments: dict[str, Any] | None = None,
    weights: str | Path = "imagenet",
    preprocessing: str | None = None,
    image_size: int | None = None,
    layers: str | Sequence[str] = (),
    dtype: str = "float32",
    views: int = 1,
    augment: str = "",
    precision: str = "float32",
    format: str = "zarr",
    engine: str = "auto",
    interpolation: str | None = None,
    antialias: bool | None = None,
    crop_to_aspect_ratio: bool | None = None,
    pad_to_aspect_ratio: bool | None = None,
    exif_orientation: bool = True,
    batch_size: int | None = None,
    workers: int = 0,
    max_bad: str | int = "10%",
    rehash: bool = False,
    reporter: Reporter | None = None,
) -> Summary:
    """Run a frozen backbone once over images and keep their features.

    Args:
        images: A folder of class folders, of train/validation/test folders over class folders,
            or a flat one; a table (.csv, .parquet); a .npz or .npy file; a .zip or .tar archive;
            "tfds:NAME" or "hf:NAME"; or uint8 arrays (h, w, 3 or 1), or (array, label) pairs.
        store: Where features go; `<images>.features` by default. Resumed if it exists.
        root: For a table, the folder of its paths; by default the table's own.
        backbone: A name that `python -m extract backbones` lists; a file: `.keras`, `.onnx`,
            OpenVINO's `.xml`, the folder of a SavedModel; or a preset of KerasHub, as "hub:NAME"
            or its folder.
        arguments: The backbone's own, such as {"alpha": 0.35}.
        weights: "imagenet", "random", or a path; a backbone that is a file has its own.
        preprocessing: For a backbone that is a file: "none" (pixels in 0..255), "tf", "torch",
            "caffe", or "mean=0.5,std=0.5" for pixels in 0..1.
        image_size: Side in pixels; by default what the backbone was made for.
        layers: "NAME" or "NAME:avg|max|flatten|none|cls|patches"; by default the last map,
            averaged.
        dtype: Type on disk, "float32" or "float16".
        views: Views of each image to keep: the plain one, and `views - 1` augmented ones.
        augment: How these differ, such as "flip,rotation=0.1,crop=0.8" (`extract.augment`).
        precision: Type of the forward pass, "float32" or "bfloat16".
        format: "zarr" or "hdf5" for new shards.
        engine: "auto", "openvino" or "keras".
        interpolation: "bilinear", "nearest" or "bicubic"; bilinear by default, and without the
            three below, but for a preset of KerasHub, which says what it was trained with.
        antialias: Widen the kernel when an image shrinks.
        crop_to_aspect_ratio: Crop the longer side to a centered square first.
        pad_to_aspect_ratio: Pad the shorter side with zeros to a square first.
        exif_orientation: Turn pictures as their EXIF tag says.
        batch_size: Images per call of the engine; it decides speed only.
        workers: Threads that read and decode; 0 for one per core.
        max_bad: Number or share ("10%") of bad items from which `Summary.too_many_bad` is set.
        rehash: Read every byte again, also where size and time are as they were.
        reporter: Hears progress.

    Raises:
        HeadstartError: With one line that says what to do; the store is then as it was, or
            holds what was committed so far.
    """
    settings = settings_of(
        backbone=backbone,
        arguments=arguments or {},
        weights=weights,
        preprocessing=preprocessing,
        image_size=image_size,
        layers=layers,
        dtype=dtype,
        views=views,
        augment=augment,
        precision=precision,
        format=format,
        engine=engine,
        interpolation=interpolation,
        antialias=antialias,
        crop_to_aspect_ratio=crop_to_aspect_ratio,
        pad_to_aspect_ratio=pad_to_aspect_ratio,
        exif_orientation=exif_orientation,
        batch_size=batch_size,
        workers=workers,
        max_bad=max_bad,
        rehash=rehash,
    )
    return run_settings(images, store, settings, reporter, root)


def settings_of(
    *,
    backbone: str | Path,
    arguments: dict[str, Any],
    weights: str | Path,
    preprocessing: str | None,
    image_size: int | None,
    layers: str | Sequence[str],
    dtype: str,
    views: int,
    augment: str,
    precision: str,
    format: str,
    engine: str,
    interpolation: str | None,
    antialias: bool | None,
    crop_to_aspect_ratio: bool | None,
    pad_to_aspect_ratio: bool | None,
    exif_orientation: bool,
    batch_size: int | None,
    workers: int,
    max_bad: str | int,
    rehash: bool,
) -> Settings:
    """Return the arguments of `run`, checked, as `Settings`."""
    spec = BackboneSpec(
        name=str(backbone),
        arguments=arguments,
        weights=str(weights),
        preprocessing=preprocessing,
    )
    return Settings(
        spec=spec,
        pixels=pixel_policy(
            spec,
            image_size=image_size,
            interpolation=interpolation,
            antialias=antialias,
            crop_to_aspect_ratio=crop_to_aspect_ratio,
            pad_to_aspect_ratio=pad_to_aspect_ratio,
            exif_orientation=exif_orientation,
        ),
        layers=tuple(map(LayerRequest.parse, [layers] if isinstance(layers, str) else layers)),
        dtype=dtype,  # type: ignore[arg-type]
        views=views,
        augment=augment,
        precision=precision,  # type: ignore[arg-type]
        format=format,  # type: ignore[arg-type]
        engine=engine,  # type: ignore[arg-type]
        batch_size=batch_size,
        workers=workers,
        max_bad=str(max_bad),
        rehash=rehash,
    )


def run_settings(
    images: str | Path | Iterable[Any],
    store: str | Path | None,
    settings: Settings,
    reporter: Reporter | None = None,
    root: str | Path | None = None,
) -> Summary:
    """Do what `run` says, for arguments that are `Settings` already."""
    target = Path(store) if store is not None else default_store(images)
    opened = Store.at(target, settings.format)
    return extract_features(images, opened, settings, reporter or Silent(), root)


def extract_features(
    images: str | Path | Iterable[Any],
    store: Store,
    settings: Settings,
    reporter: Reporter,
    root: str | Path | None = None,
) -> Summary:
    """Do what `run` says, on any store."""
    start = time.perf_counter()
    with paused():
        listing = list_images(images, root)
    summary = extract_listing(listing, store, settings, reporter)
    return replace(summary, seconds=round(time.perf_counter() - start, 3))


def extract_listing(
    listing: Listing, store: Store, settings: Settings, reporter: Reporter
) -> Summary:
    """Do what `run` says, for items that are listed already."""
    start = time.perf_counter()
    for note in listing.notes:
        reporter.note(note)
    check_place(listing, store)
    with paused(), read_errors(store.path):
        known = read_known(store).lean()
    plan = make_plan(settings, known, store.path, reporter)
    check_room(listing, store, known, plan)
    with paused():
        work = Extraction(store, listing, known, plan, reporter)
    del known
    try:
        sealed = work.run()
    finally:
        work.close()
    if sealed.needs_heic:
        reporter.note('Some images are AVIF or HEIC: pip install "headstart[heic]" reads them')
    return _summary(work, sealed, time.perf_counter() - start)


def check_place(listing: Listing, store: Store) -> None:
    """Raise `InputError` if the store would lie among the images, or on something else."""
    path = Path(store.path)
    if not listing.place and path.resolve().is_relative_to(listing.root):
        raise InputError(
            f"{path} lies inside the images. Give --store a folder outside {listing.root}"
        )
    ours = {header.NAME, BAD_IMAGES, *header.FOLDERS}
    if path.is_file() or (path.is_dir() and not {p.name for p in path.iterdir()} <= ours):
        raise InputError(f"{path} is something else than a store. Give another --store")


def _summary(work: Extraction, sealed: Sealed, seconds: float) -> Summary:
    keys = work.item_keys()
    rate = work.extracted / work.busy_seconds if work.extracted else 0.0
    return Summary(
        store=work.store.path,
        items=len(work.listing.items),
        rows=sealed.rows,
        extracted=work.extracted,
        copied=len(work.assemblers[0].copied & keys),
        reused=len(work.assemblers[0].reused & keys),
        bad=sealed.bad,
        undecodable=sealed.reasons["undecodable"],
        unreadable=sealed.reasons["unreadable"],
        seconds=round(seconds, 3),
        images_per_second=round(rate, 1),
        read_seconds=round(work.read.seconds, 3),
        decode_seconds=round(work.decode.seconds, 3),
        forward_seconds=round(work.forward.seconds, 3),
        write_seconds=round(work.writer.seconds, 3),
        snapshot=sealed.number,
        root_digest=sealed.root_digest,
        max_bad=allowed_bad(work.plan.settings.max_bad, len(work.listing.items)),
    )
