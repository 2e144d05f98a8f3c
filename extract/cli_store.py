"""The commands that look after a store; `extract.cli` has them beside its own."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extract import console
from extract.cli_options import Json, Store, takes_run_options
from extract.console import Screen
from extract.errors import InputError

if TYPE_CHECKING:
    from extract.estimating import Estimate
    from extract.store.verify import Verdict

app = typer.Typer()

COVERS = {
    "quick": "every record, and that every file is there with its size; no shard was hashed",
    "full": "every byte of every file, every record, and one row digest in sixteen",
    "images": "the bytes of every image against its key; nothing of the store",
}


@app.command()
def verify(
    store: Store,
    quick: Annotated[
        bool, typer.Option("--quick", help="Files, sizes and records only: seconds per million.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Hash every byte, about 1 GB/s per core. (default)")
    ] = False,
    recompute: Annotated[
        int | None,
        typer.Option(metavar="K", help="Run the backbone again on K images and compare."),
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Hash the images and compare with their keys.")
    ] = False,
    found_at: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the images are now. (default: as last time)"),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="The weights file, where it is not as last time.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the images of --recompute.")] = 0,
    json: Json = False,
) -> None:
    """Check a store, and say what was covered; ends with 1 if anything does not fit.

    Example: python -m extract verify photos.features
    """
    if quick + full + images + (recompute is not None) > 1:
        raise InputError("Give one of --quick, --full, --recompute K and --images")
    start = time.perf_counter()
    verdict: Verdict
    if recompute is not None:
        from extract.checks import recompute as recompute_rows

        mode = "recompute"
        verdict = recompute_rows(store, recompute, found_at, weights=weights, seed=seed)
        covers = f"{verdict.checks} rows computed again; nothing else of the store"
    elif images:
        from extract.checks import check_images

        mode = "images"
        verdict = check_images(store, found_at, console.plain_progress("images"))
        covers = COVERS[mode]
    else:
        from extract.store.verify import verify as verify_store

        mode = "quick" if quick else "full"
        verdict = verify_store(store, console.plain_progress("shards"), quick=quick)
        covers = COVERS[mode]
    _show_verdict(Screen(json), store, mode, covers, verdict, time.perf_counter() - start)
    if verdict.problems:
        raise typer.Exit(console.DELIBERATE)


def _show_verdict(
    screen: Screen, store: Path, mode: str, covers: str, verdict: Verdict, seconds: float
) -> None:
    for name, problem in verdict.problems.items():
        screen.say(f"{name}: {problem}")
    for note in verdict.notes:
        screen.say(f"Note: {note}")
    what = {"full": "shards", "images": "images", "recompute": "images"}.get(mode)
    rate = f", {console.size(verdict.bytes / seconds)}/s" if what else ""
    size = f"; {console.size(verdict.bytes)} of {what}" if what else ""
    screen.say(
        f"{len(verdict.problems)} problems in {verdict.checks:,} checks{size} "
        f"in {seconds:.1f} s{rate}"
    )
    screen.say(f"Covered: {covers}.")
    if verdict.problems and mode in ("quick", "full"):
        screen.next("extract", "repair", store)
    elif not verdict.problems:
        screen.say("Everything is as it was sealed.")
    screen.finish(
        {
            "mode": mode,
            "covers": covers,
            "problems": verdict.problems,
            "notes": verdict.notes,
            "checks": verdict.checks,
            "bytes": verdict.bytes,
            "seconds": round(seconds, 3),
        }
    )


@app.command()
def repair(
    store: Store,
    images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the images are now. (default: as last time)"),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="The weights file, where it is not as last time.")
    ] = None,
    json: Json = False,
) -> None:
    """Set damaged files aside in STORE/damaged, and compute again what they held.

    Where the images are not found, it says so: the run that made the store then computes them.

    Example: python -m extract repair photos.features
    """
    from extract.repairing import repair as repair_store

    with console.ProgressReporter() as reporter:
        done = repair_store(store, images, weights=weights, reporter=reporter)
    screen = Screen(json)
    for name in done.moved:
        screen.say(f"{name}: moved to {store / 'damaged'}")
    screen.say(f"{len(done.moved)} files were moved, {done.extracted} images extracted again.")
    for name, problem in done.problems.items():
        screen.say(f"{name}: {problem}")
    if done.todo:
        screen.say(f"Not finished: {done.todo}")
    if done.problems:
        screen.say(f"Next: {console.command('extract', 'repair', store, '--images')} FOLDER")
    else:
        screen.say("The store is whole.")
    screen.finish(asdict(done))
    if done.problems:
        raise typer.Exit(console.DELIBERATE)


@app.command()
def gc(
    store: Store,
    compact: Annotated[
        bool, typer.Option("--compact", help="Drop rows of images that are no items any more.")
    ] = False,
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="Only what nobody has needed for so long.")
    ] = "7d",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what.")] = False,
    json: Json = False,
) -> None:
    """Remove older snapshots, and what no snapshot needs; only says what, unless --yes.

    Example: python -m extract gc photos.features --older-than 30d
    """
    from extract.compacting import gc as collect_garbage

    found = collect_garbage(store, compact=compact, older_than=older_than, yes=yes)
    screen = Screen(json)
    for name in found.files:
        screen.say(f"{'removed' if yes else 'would remove'} {name}")
    if found.snapshots:
        screen.say(f"Older snapshots: {', '.join(map(str, found.snapshots))}")
    if found.rows and found.snapshot is not None:
        screen.say(f"Snapshot {found.snapshot} is without {found.rows:,} rows that no item has.")
    elif found.rows:
        screen.say(f"{found.rows:,} rows belong to no item; --compact drops them.")
    screen.say(
        f"{len(found.files)} files, {console.size(found.bytes)}{'' if yes else ' could go'}; "
        f"{found.kept} that nobody needs are younger than {older_than}"
    )
    if not yes and (found.files or (compact and found.rows)):
        words = ["--compact"] * compact + ["--older-than", older_than, "--yes"]
        screen.next("extract", "gc", store, *words)
    screen.finish(asdict(found))


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
    for name in ("added", "removed", "changed", "relabelled"):
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
        list[Path], typer.Argument(metavar="A B…", help="Stores of one recipe and columns.")
    ],
    store: Annotated[Path, typer.Option(help="The new store.")],
    json: Json = False,
) -> None:
    """Make one store of several: double images once, shards by link, nothing extracted.

    Example: python -m extract merge a.features b.features --store all.features
    """
    from extract.merging import merge as merge_all

    done = merge_all(stores, store)
    screen = Screen(json)
    screen.say(f"{store}: snapshot {done.snapshot}")
    screen.say(
        f"  {done.items:,} items, {done.rows:,} distinct images, of which several stores had "
        f"{done.doubles:,}; {done.linked:,} shards taken as they are"
    )
    screen.say(f"  root digest {done.root_digest[:16]}…")
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


@app.command()
@takes_run_options
def explain(
    store: Store,
    settings: Any = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the images are now. (default: as last time)"),
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
    show_estimate(screen, found.cost)
    options = _without_images([word for word in sys.argv[3:] if word != "--json"])
    options += [] if found.folder is None else ["--images", found.folder]
    place = store if found.fits else store.with_name(f"other-{store.name}")
    screen.next("extract", "run", found.images or "IMAGES", "--store", place, *options)
    screen.finish(asdict(found) | {"fits": found.fits})


def _without_images(words: list[str]) -> list[str]:
    """Drop the option --images, which says where the images are: `run` takes them as they are."""
    before = ["", *words]
    return [
        word
        for word, last in zip(words, before, strict=False)
        if last != "--images" and word.partition("=")[0] != "--images"
    ]


def show_estimate(screen: Screen, found: Estimate) -> None:
    """Print what a run would do and cost."""
    screen.say(
        f"  {found.items:,} items: {found.known:,} known, {found.new:,} to read; "
        f"up to {found.extract:,} images to extract"
    )
    screen.say(
        f"  disk: up to {console.size(found.disk)} more of {console.size(found.disk_free)} free; "
        f"memory: about {console.size(found.memory)}"
    )
    if found.images_per_second is not None and found.seconds is not None:
        screen.say(
            f"  time: about {console.clock(found.seconds)} at {found.images_per_second:.0f} "
            f"images/s, measured on {found.probed} of them"
        )
    elif found.extract:
        screen.say("  time: unknown, none of the images could be read")
