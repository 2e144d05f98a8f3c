"""`python -m extract explain`, and what an estimate of a run looks like."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extract import console
from extract.cli_options import Json, Store, takes_run_options
from extract.console import Screen
from extract.errors import InputError
from extract.places import place

if TYPE_CHECKING:
    from extract.estimating import Estimate

app = typer.Typer()


@app.command()
@takes_run_options
def explain(
    store: Store,
    settings: Any = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            parser=place,
            help="Where the images are now. (default: as last time)",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Say how a store differs from what these arguments of `run` ask for, and what it costs.

    Example: python -m extract explain photos.features --image-size 160
    """
    from extract.explaining import explain as explain_store

    with console.ProgressReporter() as reporter:
        found = explain_store(store, settings, images, reporter=reporter)
    screen = Screen(json)
    if found.fits:
        lacks = ", ".join(found.missing_columns)
        screen.say(f"{store} fits{f', and lacks {lacks}' if lacks else ''}.")
    else:
        screen.say(f"{store} does not fit such a run, which needs another --store.")
        screen.table(["field", "store", "run"], found.differences)
    if found.cost is None:
        screen.say(f"  What it would cost is not known: {found.missing}")
    else:
        show_estimate(screen, found.cost)
    options = _without_images([word for word in sys.argv[2:] if not _is_place(word, store)])
    options += [] if found.folder is None else ["--images", found.folder]
    before, slash, name = store.rpartition("/")
    where = store if found.fits else f"{before}{slash}other-{name}"
    screen.next("extract", "run", found.images or "IMAGES", "--store", where, *options)
    screen.finish(asdict(found) | {"fits": found.fits})


def _is_place(word: str, store: str) -> bool:
    """Return whether a word of the command line is STORE, before or behind its options."""
    try:
        return place(word) == store
    except InputError:
        return False


def _without_images(words: list[str]) -> list[str]:
    """Drop the option --images, which says where the images are: `run` takes them as they are."""
    before = ["", *words]
    return [
        word
        for word, last in zip(words, before, strict=False)
        if last != "--images" and word.partition("=")[0] != "--images"
    ]


def _free(found: Estimate) -> str:
    return "" if found.disk_free is None else f" of {console.size(found.disk_free)} free"


def show_estimate(screen: Screen, found: Estimate) -> None:
    """Print what a run would do and cost."""
    screen.say(
        f"  {found.items:,} items: {found.known:,} known, {found.new:,} to read; "
        f"up to {found.extract:,} images to extract"
    )
    screen.say(
        f"  disk: up to {console.size(found.disk)} more{_free(found)}; "
        f"memory: about {console.size(found.memory)}"
    )
    if found.images_per_second is not None and found.seconds is not None:
        screen.say(
            f"  time: about {console.clock(found.seconds)} at {found.images_per_second:.0f} "
            f"images/s, measured on {found.probed} of them"
        )
    elif found.extract:
        screen.say("  time: unknown, none of the images could be read")
