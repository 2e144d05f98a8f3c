"""The commands that write pages; `heads.cli` has them beside its own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from extract import console
from extract.cli_options import Json, Store
from extract.console import Screen
from extract.places import place
from heads.cli_options import Label, ModelPath, ModelStore, Seed, Split
from heads.errors import HeadError

app = typer.Typer()

FOUND = 3
"""Exit status of an audit that found what `--fail-on` names."""
KINDS = ("leakage", "conflict", "duplicate", "label", "outlier", "small-class", "shift")

Images = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="FOLDER",
        parser=place,
        help="Where the images are now, if they moved.",
    ),
]


@app.command()
def report(
    model: ModelPath,
    store: ModelStore = None,
    out: Annotated[
        Path | None, typer.Option(help="The page. (default: photos.report.html for photos.head)")
    ] = None,
    split: Split = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(metavar="MODEL", help="A model to set beside it; repeatable."),
    ] = None,
    images: Images = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Write a page: numbers, charts, a map of the features, worst mistakes with their pictures.

    Example: python -m heads report photos.head
    """
    from heads.reporting import report as write_report

    found = write_report(
        model, store, out, split=split, compare=compare or (), images=images, seed=seed
    )
    screen = Screen(json)
    for note in found.notes:
        screen.say(f"Note: {note}")
    screen.say(
        f"{found.out}: {found.rows:,} {found.split} rows, {console.size(found.bytes)}, in "
        f"{found.seconds:.1f} s. Open it in a browser"
    )
    screen.finish(asdict(found))


@app.command()
def audit(
    store: Store,
    out: Annotated[
        Path | None,
        typer.Option(help="The page. (default: photos.audit.html for photos.features)"),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Column to look at. (default: the only)")
    ] = None,
    label: Label = None,
    similarity: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="How alike a pair is at least. (default: 0.82)"),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help=f"End with 3 if there is any: {', '.join(KINDS)}."),
    ] = None,
    images: Images = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Look for duplicates, leakage, wrong labels and outliers; write a page and a table.

    Example: python -m heads audit photos.features --fail-on leakage
    """
    from heads.audit_page import write_audit
    from heads.auditing import KINDS as MEANINGS
    from heads.duplicates import SIMILARITY

    if unknown := [kind for kind in fail_on or () if kind not in MEANINGS]:
        raise HeadError(f"--fail-on is one of {', '.join(MEANINGS)}. Received: {unknown[0]}")
    found = write_audit(
        store,
        out,
        columns=column or (),
        label=label,
        similarity=SIMILARITY if similarity is None else similarity,
        images=images,
        seed=seed,
    )
    screen = Screen(json)
    for note in found.notes:
        screen.say(f"Note: {note}")
    screen.table(
        ["finding", "how many", "what it means"],
        [[kind, count, MEANINGS[kind]] for kind, count in found.counts.items()],
    )
    screen.say(f"{found.images:,} images, {found.seconds:.1f} s; the page is {found.out}")
    if label in (None, "label"):
        screen.say(f"Correct the table {found.table}, and take it back:")
    else:
        screen.say(f"{found.table} brings leaking images into one split; {label!r} stays as it is:")
    screen.next("extract", "relabel", store, found.table)
    screen.finish(asdict(found))
    failed = [kind for kind in fail_on or () if found.counts[kind]]
    if failed:
        raise typer.Exit(FOUND)
