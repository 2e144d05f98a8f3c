"""The command that runs a store's own recipe again, for messages that tell people to type it.

A command without the words of the backbone would ask for the default one, and be refused.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict

from extract.backbone_files import OWN
from extract.backbone_pixels import pixel_policy
from extract.backbones import DEFAULT_BACKBONE, BackboneSpec
from extract.errors import HeadstartError
from extract.plan import Settings
from extract.recipe import PixelPolicy
from extract.store.opening import Store
from extract.stored import remember


def run_command(store: str, *images: str) -> str:
    """Return `python -m extract run` with the words that give a store's recipe and columns.

    Args:
        store: Its folder or URL. Where it does not say how it was made, it is named alone.
        images: Words that say where images are, a folder or a table first.
    """
    try:
        words = list(_words(remember(Store.at(store)).settings()))
    except HeadstartError:
        words = []
    return shlex.join(["python", "-m", "extract", "run", *images, "--store", store, *words])


def _words(settings: Settings) -> Iterator[str]:
    spec = settings.spec
    if spec.name != DEFAULT_BACKBONE:
        yield from ("--backbone", spec.name)
    for name, value in spec.arguments.items():
        yield from ("--backbone-arg", f"{name}={value}")
    if spec.weights not in ("imagenet", OWN):
        yield from ("--weights", spec.weights)
    if spec.preprocessing is not None:
        yield from ("--preprocessing", spec.preprocessing)
    yield from _pixel_words(spec, settings.pixels)
    for request in settings.layers:
        yield from ("--layer", f"{request.layer}:{request.pooling}")
    if settings.dtype != "float32":
        yield from ("--dtype", settings.dtype)
    if settings.precision != "float32":
        yield from ("--precision", settings.precision)
    views = [column for column in settings.kept if column.view]
    if views:
        yield from ("--views", str(1 + max(column.view for column in views)))
        yield from ("--augment", views[0].augment)


def _pixel_words(spec: BackboneSpec, pixels: PixelPolicy) -> Iterator[str]:
    try:
        suited = asdict(pixel_policy(spec))
    except HeadstartError:  # it takes images of any size, or its file is not here
        suited = asdict(PixelPolicy()) | {"image_size": None}
    for name, value in asdict(pixels).items():
        option = name.replace("_", "-")
        if value == suited[name]:
            continue
        if isinstance(value, bool):
            yield f"--{option}" if value else f"--no-{option}"
        else:
            yield from (f"--{option}", str(value))
