"""`python -m extract`: arguments in, one public function, words out.

Nothing heavy is imported here: each command imports what it runs.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extract import cli_preview, cli_store, console
from extract.cli_options import Json, Store, takes_run_options
from extract.console import Commands, Screen, command

if TYPE_CHECKING:
    from extract.api import Summary
    from extract.store.reader import Snapshot

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run a frozen backbone once over your images, and keep its features.",
    epilog="Start here: python -m extract demo",
)


app.add_typer(cli_preview.app)
app.add_typer(cli_store.app)


def main() -> None:
    """Run the command line."""
    console.run_app(app, "python -m extract")


@app.command()
@takes_run_options
def run(
    images: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGES",
            help="Folder of class folders, of train/validation/test folders over these, or flat; "
            "or a .csv, .parquet, .npz, .npy, .zip or .tar file, tfds:NAME or hf:NAME.",
        ),
    ],
    store: Annotated[
        Path | None,
        typer.Option(help="Where features go; resumed if it exists. (default: IMAGES.features)"),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="DIR", help="Folder of a table's paths. (default: the table's own)"
        ),
    ] = None,
    settings: Any = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Say what a run would do and cost, and touch nothing."),
    ] = False,
    json: Json = False,
) -> None:
    """Run a frozen backbone once over IMAGES and keep its features.

    Example: python -m extract run photos
    """
    from extract.api import run_settings

    if plan:
        show_plan(images, store, root, settings, Screen(json))
        return
    with console.ProgressReporter() as reporter:
        summary = run_settings(images, store, settings, reporter, root)
    screen = Screen(json)
    show_summary(screen, summary)
    screen.finish(asdict(summary))
    if summary.too_many_bad:
        raise typer.Exit(console.TOO_MANY_BAD)


def show_plan(
    images: Path, store: Path | None, root: Path | None, settings: Any, screen: Screen
) -> None:
    """Print what a run would do and cost, and its command."""
    from extract.estimating import estimate

    with console.ProgressReporter() as reporter:
        found = estimate(images, store, settings, reporter, root)
    screen.say(f"{found.store}: nothing was written")
    cli_store.show_estimate(screen, found)
    screen.next("extract", *(word for word in sys.argv[1:] if word != "--plan"))
    screen.finish(asdict(found))


def show_summary(
    screen: Screen, summary: Summary, following: tuple[str, str] = ("extract", "info")
) -> None:
    """Print what a run came to, and the next command, which takes the store."""
    screen.say(f"{summary.store}: snapshot {summary.snapshot}")
    good = summary.items - summary.bad
    bad = f"{summary.undecodable} undecodable + {summary.unreadable} unreadable"
    screen.say(f"  {summary.items:,} items = {good:,} good + {bad}")
    screen.say(
        f"  {summary.rows:,} distinct images: {summary.extracted:,} extracted, "
        f"{summary.copied:,} copied, {summary.reused:,} reused"
    )
    rate = f", {summary.images_per_second:.0f} images/s" if summary.extracted else ""
    screen.say(f"  {summary.seconds:.1f} s{rate}; root digest {summary.root_digest[:16]}…")
    if summary.bad:
        screen.say(f"  Bad images are listed in {Path(summary.store) / 'bad_images.csv'}")
    if summary.too_many_bad:
        screen.say(f"  That is more than --max-bad allows ({summary.max_bad}).")
    screen.next(*following, summary.store)


@app.command()
def info(store: Store, json: Json = False) -> None:
    """Show a store's recipe, columns, items per split and class, size and digests.

    Example: python -m extract info photos.features
    """
    from extract.information import information
    from extract.store.reader import open_store

    snapshot = open_store(store)
    facts = information(snapshot)
    screen = Screen(json)
    _show_information(screen, snapshot, facts)
    screen.next("extract", "verify", store)
    screen.finish(facts)


def _show_information(screen: Screen, snapshot: Snapshot, facts: dict) -> None:  # type: ignore[type-arg]
    recipe, backbone = snapshot.recipe, facts["backbone"]
    arguments = "".join(f", {k}={v}" for k, v in backbone.get("arguments", {}).items())
    screen.say(f"{facts['store']}: snapshot {facts['snapshot']}, {console.size(facts['bytes'])}")
    screen.say(
        f"  {backbone.get('name')}{arguments}, weights {backbone.get('weights')}, "
        f"{recipe.pixels.image_size} pixels, {recipe.precision}"
    )
    if snapshot.distance is not None:
        screen.say(f"  {snapshot.distance:.2%} from float32 on the probes")
    if augment := next((c["augment"] for c in facts["columns"] if c["augment"]), None):
        screen.say(f"  views besides the plain one: {augment}")
    screen.say(f"  recipe {recipe.key[:16]}…  root {snapshot.root_digest[:16]}…")
    screen.say()
    screen.table(
        ["column", "row", "type", "KiB per image"],
        [[c["name"], c["row_shape"], c["dtype"], f"{c['kib']:.1f}"] for c in facts["columns"]],
    )
    screen.say()
    splits = list(facts["items_per_split"])
    screen.table(
        ["items", *splits, "all"],
        [
            *[
                [name, *counts.values(), sum(counts.values())]
                for name, counts in facts["items_per_class"].items()
            ],
            ["all", *facts["items_per_split"].values(), facts["items"]],
        ],
    )
    if facts["bad"]:
        screen.say(f"{facts['bad']} of these are bad: {Path(facts['store']) / 'bad_images.csv'}")


@app.command()
def backbones(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One of them, or a file.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="WORD", help="Only names that have this in them.")
    ] = None,
    layers: Annotated[
        bool,
        typer.Option("--layers", help="List the layer outputs of NAME, and what each costs."),
    ] = False,
    backbone_arg: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Argument of the backbone; repeatable."),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(help="Side in pixels. (default: what the backbone was made for)"),
    ] = None,
    json: Json = False,
) -> None:
    """List the backbones: input, feature width, parameters, and whether weights are here.

    With --layers: the layer outputs of one, with shape, size, and the share of the forward time
    that has passed when each is there.

    Example: python -m extract backbones mobilenet_v2 --layers
    """
    from extract import cli_backbones

    screen = Screen(json)
    if layers:
        cli_backbones.show_layers(screen, name, backbone_arg or [], image_size)
    else:
        cli_backbones.show_catalogue(screen, name, search)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where pictures and features go.")
    ] = Path("headstart-demo"),
    json: Json = False,
) -> None:
    """Extract features of handwritten digits with a small backbone: no network, no photographs.

    The backbone has seen the digits 0 to 4 only; the pictures are of 5 to 9.

    Example: python -m extract demo
    """
    from extract import digits
    from extract.api import run as run_extraction

    screen = Screen(json)
    pictures = folder / "digits"
    count = digits.write_pngs(pictures)
    screen.say(f"{count} pictures of handwritten digits are in {pictures}")
    screen.say(command("extract", "run", pictures, "--backbone", "digits"))
    with console.ProgressReporter() as reporter:
        summary = run_extraction(pictures, backbone="digits", reporter=reporter)
    show_summary(screen, summary, following=("heads", "fit"))
    screen.finish(asdict(summary))
