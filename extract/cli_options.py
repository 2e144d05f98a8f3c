"""Arguments and options that several commands take, written once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from extract.places import place

Store = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        parser=place,
        help="Such as photos.features, or s3://bucket/photos.features.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

BackboneArg = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Argument of the backbone; repeatable."),
]
Preprocessing = Annotated[
    str | None,
    typer.Option(
        metavar="MODE",
        help="Of pixels, for a backbone that is a file: none (0..255), tf, torch, caffe, or "
        "mean=…,std=… in 0..1.",
    ),
]
ImageSize = Annotated[
    int | None, typer.Option(help="Side in pixels. (default: what the backbone was made for)")
]
Interpolation = Annotated[
    str | None,
    typer.Option(
        help="Of the resize: bilinear, nearest or bicubic. (default: bilinear, or as the "
        "preset says)"
    ),
]
Antialias = Annotated[
    bool | None,
    typer.Option("--antialias/--no-antialias", help="Widen the kernel when an image shrinks."),
]
CropToAspectRatio = Annotated[
    bool | None,
    typer.Option(
        "--crop-to-aspect-ratio/--no-crop-to-aspect-ratio", help="Crop to a square first."
    ),
]
PadToAspectRatio = Annotated[
    bool | None,
    typer.Option("--pad-to-aspect-ratio/--no-pad-to-aspect-ratio", help="Pad to a square first."),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ray[:ADDRESS]",
        help="Let the workers of a Ray cluster extract: ray starts one on this machine, ray:auto "
        "is the one that it is part of. Images and store lie where all machines see them.",
    ),
]
Actors = Annotated[int | None, typer.Option(help="Most workers. (default: one per node, or GPU)")]
ActorCpus = Annotated[
    float | None, typer.Option(help="CPUs of a worker. (default: its share of the node)")
]
ActorGpus = Annotated[
    float | None,
    typer.Option(help="GPUs of a worker, such as 1 or 0.5; with --engine keras. (default: none)"),
]
ExifOrientation = Annotated[bool, typer.Option(help="Turn pictures as their EXIF tag says.")]


def run_options(
    backbone: Annotated[
        str,
        typer.Option(
            help="A name that `python -m extract backbones` lists; a .keras, .onnx or .xml file, "
            "or a SavedModel's folder; hub:NAME, or a preset's folder."
        ),
    ] = "mobilenet_v2",
    backbone_arg: BackboneArg = None,
    weights: Annotated[str, typer.Option(help="imagenet, random, or a file.")] = "imagenet",
    preprocessing: Preprocessing = None,
    image_size: ImageSize = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:POOLING]",
            help="Layer output to keep, pooled by avg, max, flatten, none, cls or patches; "
            "repeatable. (default: the last map, averaged)",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Type on disk: float32 or float16.")] = "float32",
    views: Annotated[
        int, typer.Option(help="Views of each image: the plain one and augmented ones.")
    ] = 1,
    augment: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="How views differ, such as flip,rotation=0.1,crop=0.8; also zoom, translation, "
            "contrast, brightness.",
        ),
    ] = "",
    precision: Annotated[
        str, typer.Option(help="Type of the forward pass: float32 or bfloat16.")
    ] = "float32",
    format: Annotated[
        str | None,
        typer.Option(help="New shards are zarr or hdf5. (default: as the store's, or zarr)"),
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, openvino or keras.")] = "auto",
    interpolation: Interpolation = None,
    antialias: Antialias = None,
    crop_to_aspect_ratio: CropToAspectRatio = None,
    pad_to_aspect_ratio: PadToAspectRatio = None,
    exif_orientation: ExifOrientation = True,
    batch_size: Annotated[
        int | None, typer.Option(help="Images per call of OpenVINO; with Keras its shape is fixed.")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Threads that read and decode; 0 for one per core.")
    ] = 0,
    max_bad: Annotated[
        str,
        typer.Option(metavar="N|P%", help="With more bad images than this, end with status 3."),
    ] = "10%",
    rehash: Annotated[
        bool,
        typer.Option("--rehash", help="Read every byte again, whatever sizes and times say."),
    ] = False,
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="0,1", help="Accelerators of Keras to use side by side. (default: one)"
        ),
    ] = None,
) -> Any:
    """Return the options as `extract.plan.Settings`."""
    from extract.api import settings_of
    from extract.backbones import parse_arguments

    return settings_of(
        backbone=backbone,
        arguments=parse_arguments(backbone_arg or []),
        weights=weights,
        preprocessing=preprocessing,
        image_size=image_size,
        layers=layer or [],
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


def takes_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `run` in the place of its argument `settings`."""
    shared = inspect.signature(run_options, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def with_options(**words: Any) -> None:
        options = {name: words.pop(name) for name in shared}
        command(**words, settings=run_options(**options))

    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters.extend(shared.values() if parameter.name == "settings" else [parameter])
    with_options.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options
