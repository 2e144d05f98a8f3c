"""Arguments and options that several commands of `heads` have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Store = Annotated[Path, typer.Argument(metavar="STORE", help="Such as photos.features.")]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="Such as photos.head.")]
ModelStore = Annotated[
    Path | None,
    typer.Argument(metavar="[STORE]", help="Default: the store that it was trained on."),
]
ModelOut = Annotated[
    Path | None,
    typer.Option(help="The model's folder. (default: photos.head for photos.features)"),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(help="Column to train on; several stand side by side. (default: the only)"),
]
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
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
