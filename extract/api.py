"""The public way in: a folder of images → a store, and what the run came to."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extract.backbone_pixels import pixel_policy
from extract.backbones import BackboneSpec
from extract.collector import paused
from extract.errors import InputError
from extract.items import Listing
from extract.known import read_known
from extract.needs import check_room
from extract.parts import Part, check_part, part_of
from extract.pipeline import Extraction
from extract.places import resolved
from extract.plan import Settings, default_store, make_plan, parse_devices
from extract.progress import Reporter, Silent
from extract.recipe import LayerRequest
from extract.sources import list_images
from extract.store import header
from extract.store.files import read_errors
from extract.store.opening import Store
from extract.summary import Summary, summary_of

if TYPE_CHECKING:
    from extract.cluster import Cluster


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
    format: str | None = None,
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
    devices: str | None = None,
    part: str | None = None,
    cluster: str | Cluster | None = None,
    reporter: Reporter | None = None,
) -> Summary:
    """Run a frozen backbone once over images and keep their features.

    Args:
        images: A folder of class folders, of train/validation/test folders over class folders,
            or a flat one; a table (.csv, .parquet); a .npz or .npy file; a .zip or .tar archive;
            "tfds:NAME" or "hf:NAME"; or uint8 arrays (h, w, 3 or 1), or (array, label) pairs.
            Folders and tables may lie in a bucket: "s3://bucket/photos", likewise gs:// and az://.
        store: Where features go; `<images>.features` by default. Resumed if it exists. A folder,
            or a bucket's URL.
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
        format: "zarr" or "hdf5" for new shards; by default that of the store's others, or zarr.
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
        devices: "0,1" for these accelerators of Keras side by side, a replica on each.
        part: "2/4" for the second of four runs over the sorted listing, into a store of its own
            (`photos.part-2-of-4.features` by default); `extract merge` joins them.
        cluster: "ray", "ray:auto" or "ray:HOST:PORT" for the workers of a Ray cluster, or a
            `Cluster` that says more of them; images and store lie where all machines see them, or
            in a bucket.
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
        devices=devices,
    )
    if isinstance(cluster, str):
        from extract.cluster import Cluster

        cluster = Cluster.parse(cluster)
    share = None if part is None else Part.parse(part)
    return run_settings(images, store, settings, reporter, root, share, cluster)


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
    format: str | None,
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
    devices: str | None,
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
        devices=parse_devices(devices),
    )


def run_settings(
    images: str | Path | Iterable[Any],
    store: str | Path | None,
    settings: Settings,
    reporter: Reporter | None = None,
    root: str | Path | None = None,
    part: Part | None = None,
    cluster: Cluster | None = None,
) -> Summary:
    """Do what `run` says, for arguments that are `Settings` already."""
    target = store if store is not None else default_store(images, part)
    opened = Store.at(target)
    return extract_features(images, opened, settings, reporter or Silent(), root, part, cluster)


def extract_features(
    images: str | Path | Iterable[Any],
    store: Store,
    settings: Settings,
    reporter: Reporter,
    root: str | Path | None = None,
    part: Part | None = None,
    cluster: Cluster | None = None,
) -> Summary:
    """Do what `run` says, on any store."""
    start = time.perf_counter()
    with paused():
        listing = part_of(list_images(images, root), part)
    if cluster is None:
        summary = extract_listing(listing, store, settings, reporter)
    else:
        from extract.cluster import extract_on_cluster

        summary = extract_on_cluster(listing, store, settings, reporter, cluster)
    return replace(summary, seconds=round(time.perf_counter() - start, 3))


def extract_listing(
    listing: Listing,
    store: Store,
    settings: Settings,
    reporter: Reporter,
    complete: frozenset[str] | None = None,
) -> Summary:
    """Do what `run` says, for items that are listed already.

    Args:
        listing: The items.
        store: Where features go.
        settings: What is asked for.
        reporter: Hears progress.
        complete: Keys of the images that needed nothing when the work began, where it began
            elsewhere: others count as extracted.
    """
    start = time.perf_counter()
    for note in listing.notes:
        reporter.note(note)
    check_place(listing, store)
    with paused(), read_errors(store.path):
        known = read_known(store).lean()
    if known.previous is not None:
        check_part(known.previous.part, listing.part, store.path)
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
    return summary_of(work, sealed, time.perf_counter() - start, complete)


def check_place(listing: Listing, store: Store) -> None:
    """Raise `InputError` if the store would lie among the images, or on something else."""
    name, inside = store.path, listing.inside
    if inside and f"{resolved(name)}/".startswith(f"{inside}/"):
        raise InputError(f"{name} lies inside the images. Give --store a folder outside {inside}")
    with read_errors(name):
        foreign = header.is_foreign(store.files)
    if foreign:
        raise InputError(f"{name} is something else than a store. Give another --store")
