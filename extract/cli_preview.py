"""`python -m extract preview`; `extract.cli` has it beside its own commands."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from extract.cli_options import (
    Antialias,
    BackboneArg,
    CropToAspectRatio,
    ExifOrientation,
    ImageSize,
    Interpolation,
    Json,
    PadToAspectRatio,
    Preprocessing,
)
from extract.console import Screen
from extract.places import place

app = typer.Typer()


@app.command()
def preview(
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES", parser=place, help="What `run` takes: a folder, a table, ..."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="A .png file. (default: IMAGES.preview.png)")
    ] = None,
    augment: Annotated[
        str, typer.Option(metavar="SPEC", help="Show nine views, such as flip,rotation=0.1.")
    ] = "",
    root: Annotated[
        str | None,
        typer.Option("--images", metavar="DIR", parser=place, help="Folder of a table's paths."),
    ] = None,
    backbone: Annotated[str, typer.Option(help="Its size is that of the images.")] = "mobilenet_v2",
    backbone_arg: BackboneArg = None,
    preprocessing: Preprocessing = None,
    image_size: ImageSize = None,
    interpolation: Interpolation = None,
    antialias: Antialias = None,
    crop_to_aspect_ratio: CropToAspectRatio = None,
    pad_to_aspect_ratio: PadToAspectRatio = None,
    exif_orientation: ExifOrientation = True,
    json: Json = False,
) -> None:
    """Draw nine images with labels as the backbone will see them, and nine views of the first.

    Example: python -m extract preview photos --augment flip,rotation=0.1,crop=0.8
    """
    from extract.backbone_pixels import pixel_policy
    from extract.cli_backbones import looked_at, still_to_give
    from extract.preview import preview as draw

    policy = pixel_policy(
        looked_at(backbone, backbone_arg or [], preprocessing),
        image_size=image_size,
        interpolation=interpolation,
        antialias=antialias,
        crop_to_aspect_ratio=crop_to_aspect_ratio,
        pad_to_aspect_ratio=pad_to_aspect_ratio,
        exif_orientation=exif_orientation,
    )
    found = draw(images, out, augment=augment, policy=policy, root=root)
    screen = Screen(json)
    views = f", and {found.views} views of the first: {found.augment}" if found.views else ""
    screen.say(f"{found.out}: {len(found.shown)} of {found.items:,} images{views}")
    if found.bad:
        screen.say(f"  {found.bad} of these cannot be read")
    words = [*_without_out(sys.argv[2:]), *(["--views", 8] * bool(views))]
    screen.next("extract", "run", *words, *still_to_give(backbone, preprocessing))
    screen.finish(asdict(found))


def _without_out(words: list[str]) -> list[str]:
    """Return the words of a command without --out FILE: `run` takes all the others."""
    kept = [word for word in words if not word.startswith("--out=")]
    if "--out" in kept:
        at = kept.index("--out")
        del kept[at : at + 2]
    return kept
