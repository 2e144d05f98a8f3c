"""Commands that make something of a store: another snapshot, another store, other files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from extract.cli_options import Json, Store
from extract.console import Screen
from extract.places import place

if TYPE_CHECKING:
    pass

app = typer.Typer()


@app.command()
def relabel(
    store: Store,
    table: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="CSV or Parquet: path, and label, split or group."),
    ],
    json: Json = False,
) -> None:
    """Give items other labels, splits or groups, in a new snapshot; nothing is extracted.

    Items that TABLE does not name, and empty cells, stay as they are; later runs keep all of it.

    Example: python -m extract relabel photos.features labels.csv
    """
    from extract.relabeling import relabel as relabel_store

    done = relabel_store(store, table)
    screen = Screen(json)
    screen.say(f"{store}: snapshot {done.snapshot}")
    screen.say(
        f"  {done.items:,} items in the table: {done.labels:,} other labels, {done.splits:,} other "
        f"splits, {done.groups:,} other groups"
    )
    if done.moved:
        screen.say(f"  {done.moved:,} items followed their group, or a copy, into its split")
    screen.next("extract", "info", store)
    screen.finish(asdict(done))


@app.command()
def split(
    store: Store,
    ratios: Annotated[
        str, typer.Option(metavar="TRAIN/VALIDATION/TEST", help="Shares that sum to 1.")
    ] = "0.7/0.15/0.15",
    seed: Annotated[int, typer.Option(help="Another seed gives another cut.")] = 0,
    json: Json = False,
) -> None:
    """Cut all items into train, validation and test anew, in a new snapshot.

    Nothing is extracted. Later runs keep this cut, and cut new images likewise.

    Example: python -m extract split photos.features --ratios 0.8/0.1/0.1 --seed 1
    """
    from extract.relabeling import split as split_store

    done = split_store(store, ratios, seed)
    screen = Screen(json)
    screen.say(f"{store}: snapshot {done['snapshot']}")
    screen.say("  " + ", ".join(f"{n:,} {name}" for name, n in done.items() if name != "snapshot"))
    screen.next("extract", "info", store)
    screen.finish(done)


@app.command()
def export(
    store: Store,
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Ends with .zarr, .h5, .npz, .parquet or .npy."),
    ],
    column: Annotated[
        str | None, typer.Option(help="Only this column, such as out_relu:avg.")
    ] = None,
    json: Json = False,
) -> None:
    """Write the newest snapshot in a format that other tools read, with paths, labels, splits.

    A .zarr has the store's own shards by hard link where the disk has them: do not write into it.

    Example: python -m extract export photos.features photos.zarr
    """
    from extract.exporting import export as export_store

    done = export_store(store, out, column)
    screen = Screen(json)
    screen.say(f"{out}: {', '.join(done.columns)} of snapshot {done.snapshot}")
    shards = f"; {done.linked} shards linked, {done.copied} copied" if out.suffix == ".zarr" else ""
    screen.say(f"  {done.items:,} items, {done.rows:,} rows{shards}")
    screen.finish(asdict(done))


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A store, or STORE@3 for its snapshot 3.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Likewise.")],
    tolerance: Annotated[
        float, typer.Option(help="Relative distance up to which features count as the same.")
    ] = 0.0,
    json: Json = False,
) -> None:
    """Compare two stores or snapshots: items, labels, features and how far these differ.

    Example: python -m extract diff photos.features@1 photos.features
    """
    from extract.comparing import diff as diff_stores

    found = diff_stores(a, b, tolerance)
    screen = Screen(json)
    for name in ("added", "removed", "changed", "relabeled"):
        paths = getattr(found, name)
        shown = ", ".join(paths[:3]) + (", …" if len(paths) > 3 else "")
        screen.say(f"{len(paths):,} items {name}{f': {shown}' if paths else ''}")
    if found.recipe:
        screen.say(f"Recipes differ in {', '.join(found.recipe)}")
    for name, columns in ((a, found.only_a), (b, found.only_b)):
        if columns:
            screen.say(f"Only {name} has {', '.join(columns)}")
    for column in found.columns:
        screen.say(
            f"{column.column}: {column.differ:,} of {column.images:,} images differ; "
            f"at most {column.farthest:.1e} of a feature's norm"
        )
    screen.say("They differ." if not found.is_none else "They are the same.")
    screen.finish(asdict(found) | {"same": found.is_none})


@app.command()
def merge(
    stores: Annotated[
        list[str],
        typer.Argument(metavar="A B…", parser=place, help="Stores of one recipe and columns."),
    ],
    store: Annotated[str, typer.Option(metavar="STORE", parser=place, help="The new store.")],
    mix: Annotated[
        bool,
        typer.Option(
            "--mix", help="Join also what several processors or engines made: 1e-5 apart at most."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Make one store of several: double images once, shards by link, nothing extracted.

    Example: python -m extract merge a.features b.features --store all.features
    """
    from extract.merging import merge as merge_all

    done = merge_all(stores, store, mix=mix)
    screen = Screen(json)
    screen.say(f"{store}: snapshot {done.snapshot}")
    screen.say(
        f"  {done.items:,} items, {done.rows:,} distinct images, of which several stores had "
        f"{done.doubles:,}; {done.linked:,} shards taken as they are"
    )
    screen.say(f"  root digest {done.root_digest[:16]}…")
    if len(done.signatures) > 1:
        screen.say(
            "  Features are of several processors or engines: they agree within 1e-5, and the root "
            "digest is that of no one machine"
        )
    screen.next("extract", "info", store)
    screen.finish(asdict(done))


@app.command()
def forget(
    store: Store,
    names: Annotated[
        list[str],
        typer.Argument(metavar="PATH|IMAGE_KEY…", help="Paths of items, or SHA-256 of images."),
    ],
    json: Json = False,
) -> None:
    """Erase images from a store: features, probes and item lines, in every snapshot.

    Also empties STORE/damaged and STORE/tmp: no run may be under way. The pictures themselves stay
    where they are.

    Example: python -m extract forget photos.features cats/1.jpg
    """
    from extract.forgetting import forget as forget_images

    done = forget_images(store, names)
    screen = Screen(json)
    for key in done.image_keys:
        screen.say(f"forgotten: image {key}")
    for path in done.items:
        screen.say(f"forgotten: item {path}")
    screen.say(
        f"{len(done.snapshots)} snapshots were sealed anew and {len(done.removed)} files removed. "
        f"Every record, table and probe was read again: none knows these images."
    )
    screen.say(
        "Exports, and stores that were merged from this one, keep what they took; and a run "
        "extracts the pictures again if it finds them: remove these, too."
    )
    screen.next("extract", "verify", store)
    screen.finish(asdict(done))
