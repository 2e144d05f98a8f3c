"""Commands that keep a store sound: verify, repair, gc; `extract.cli` has them beside its own."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from extract import console
from extract.cli_options import Json, Store
from extract.console import Screen
from extract.errors import InputError
from extract.places import join, place

if TYPE_CHECKING:
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
        bool, typer.Option("--full", help="Hash every byte, 0.5 to 1 GB/s per core. (default)")
    ] = False,
    recompute: Annotated[
        int | None,
        typer.Option(metavar="K", help="Run the backbone again on K images and compare."),
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Hash the images and compare with their keys.")
    ] = False,
    found_at: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            parser=place,
            help="Where the images are now. (default: as last time)",
        ),
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
    screen: Screen, store: str, mode: str, covers: str, verdict: Verdict, seconds: float
) -> None:
    for name, problem in verdict.problems.items():
        screen.say(f"{name}: {problem}")
    for note in verdict.notes:
        screen.say(f"Note: {note}")
    from extract.store.opening import UNSEALED

    speed = verdict.checks / seconds
    what = {"full": "shards", "images": "images", "recompute": "images"}.get(mode)
    rate = f"{console.size(verdict.bytes / seconds)}/s" if what else f"{speed:,.0f} checks/s"
    size = f"; {console.size(verdict.bytes)} of {what}" if what else ""
    screen.say(
        f"{len(verdict.problems)} problems in {verdict.checks:,} checks{size} "
        f"in {seconds:.1f} s, {rate}"
    )
    screen.say(f"Covered: {covers}.")
    if verdict.problems and mode in ("quick", "full"):
        screen.next("extract", "repair", store)
    elif verdict.unsealed:
        screen.say(f"{store} {UNSEALED}")
    elif not verdict.problems:
        whole = mode == "full"
        screen.say(f"{'Everything' if whole else 'What was looked at'} is as it was sealed.")
    screen.finish(
        {
            "mode": mode,
            "covers": covers,
            "problems": verdict.problems,
            "notes": verdict.notes,
            "checks": verdict.checks,
            "bytes": verdict.bytes,
            "unsealed": verdict.unsealed,
            "seconds": round(seconds, 3),
        }
    )


@app.command()
def repair(
    store: Store,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            parser=place,
            help="Where the images are now. (default: as last time)",
        ),
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
        screen.say(f"{name}: moved to {join(store, 'damaged')}")
    screen.say(f"{len(done.moved)} files were moved, {done.extracted} images extracted again.")
    if done.unreadable:
        listed = join(store, "bad_images.csv")
        screen.say(f"{done.unreadable} items cannot be read, and have no features: {listed}")
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
