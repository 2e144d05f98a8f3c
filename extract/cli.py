"""`python -m extract`: arguments in, one public function, words out.

Nothing heavy is imported here: each command imports what it runs.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extract import cli_explain, cli_options, cli_preview, cli_store, cli_upkeep, console
from extract.cli_options import BackboneArg, ImageSize, Json, Store, takes_run_options
from extract.console import Commands, Screen, command
from extract.errors import InputError
from extract.places import join, place

if TYPE_CHECKING:
    from extract.cluster import Cluster
    from extract.parts import Part
    from extract.store.reader import Snapshot
    from extract.summary import Summary

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run a frozen backbone once over your images, and keep its features.",
    epilog="Start here: python -m extract demo",
)


app.add_typer(cli_preview.app)
app.add_typer(cli_upkeep.app)
app.add_typer(cli_store.app)
app.add_typer(cli_explain.app)


def main() -> None:
    """Run the command line."""
    console.run_app(app, "python -m extract")


@app.command()
@takes_run_options
def run(
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES",
            parser=place,
            help="Folder of class folders, of train/validation/test folders over these, or flat; "
            "or a .csv, .parquet, .npz, .npy, .zip or .tar file, tfds:NAME or hf:NAME. Folders "
            "and tables may be s3://, gs:// or az://.",
        ),
    ],
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            parser=place,
            help="Where features go, a folder or s3://, gs://, az://; resumed if it exists. "
            "(default: IMAGES.features)",
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="DIR",
            parser=place,
            help="Folder of a table's paths. (default: the table's own)",
        ),
    ] = None,
    settings: Any = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Only the I-th of N runs of the listing, into IMAGES.part-I-of-N.features; "
            "`merge` joins them.",
        ),
    ] = None,
    cluster: cli_options.Cluster = None,
    actors: cli_options.Actors = None,
    actor_cpus: cli_options.ActorCpus = None,
    actor_gpus: cli_options.ActorGpus = None,
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
    from extract.parts import Part

    share = None if part is None else Part.parse(part)
    if plan:
        show_plan(images, store, root, settings, Screen(json), share)
        return
    with console.ProgressReporter() as reporter:
        chosen = _cluster(cluster, actors, actor_cpus, actor_gpus)
        summary = run_settings(images, store, settings, reporter, root, share, chosen)
    screen = Screen(json)
    show_summary(screen, summary)
    screen.finish(asdict(summary))
    if summary.too_many_bad:
        raise typer.Exit(console.TOO_MANY_BAD)


def _cluster(
    text: str | None, actors: int | None, cpus: float | None, gpus: float | None
) -> Cluster | None:
    """Return the cluster that the options name, which takes Ray only once it is used."""
    if text is None:
        if (actors, cpus, gpus) != (None, None, None):
            raise InputError("--actors, --actor-cpus and --actor-gpus go with --cluster ray")
        return None
    from extract.cluster import Cluster

    return Cluster.parse(text, actors, cpus, gpus)


def show_plan(
    images: str,
    store: str | None,
    root: str | None,
    settings: Any,
    screen: Screen,
    part: Part | None = None,
) -> None:
    """Print what a run would do and cost, and its command."""
    from extract.estimating import estimate

    with console.ProgressReporter() as reporter:
        found = estimate(images, store, settings, reporter, root, part)
    screen.say(f"{found.store}: nothing was written")
    cli_explain.show_estimate(screen, found)
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
        screen.say(f"  Bad images are listed in {join(summary.store, 'bad_images.csv')}")
    if summary.too_many_bad:
        screen.say(f"  That is more than --max-bad allows ({summary.max_bad}).")
    screen.next(*following, summary.store)


@app.command()
def info(store: Store, json: Json = False) -> None:
    """Show a store's recipe, columns, items per split and class, size and digests.

    Example: python -m extract info photos.features
    """
    from extract.information import information
    from extract.store.opening import open_store

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
    if facts["part"]:
        screen.say(f"  part {facts['part']} of its images: splits are open until all are merged")
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
        screen.say(f"{facts['bad']} of these are bad: {join(facts['store'], 'bad_images.csv')}")


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
    backbone_arg: BackboneArg = None,
    image_size: ImageSize = None,
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
