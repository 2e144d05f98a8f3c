"""Arguments and options that several commands of `heads` have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from extract.places import place

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="Such as photos.head.")]
ModelStore = Annotated[
    str | None,
    typer.Argument(
        metavar="[STORE]", parser=place, help="Default: the store that it was trained on."
    ),
]
ModelOut = Annotated[
    Path | None,
    typer.Option(help="The model's folder. (default: photos.head for photos.features)"),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(help="Column to train on; several stand side by side. (default: the only)"),
]
Label = Annotated[str | None, typer.Option(help="Column of labels of the items. (default: label)")]
ClassWeight = Annotated[str | None, typer.Option(help="balanced: every class weighs the same.")]
Split = Annotated[
    str | None,
    typer.Option(help="train, validation or test. (default: test, where there is one)"),
]
Seed = Annotated[int, typer.Option(help="Decides all that is drawn by chance.")]
Weights = Annotated[
    str | None,
    typer.Option(help="Where the backbone's weights file is now, if it was moved."),
]
