"""`python -m heads`: arguments in, one public function, words out.

Nothing heavy is imported here: each command imports what it runs.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from extract import console
from extract.cli_options import Json
from extract.console import Screen
from extract.places import place
from heads import cli_pages, cli_training
from heads.cli_options import ModelPath, ModelStore, Split, Weights

if TYPE_CHECKING:
    from heads.evaluation import Evaluation


class Commands(console.Commands):
    """A command line whose main command is `fit`."""

    main_command = "fit"


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Train small classifiers on cached features, judge them, and ship them.",
    epilog="Start here: python -m heads fit photos.features",
)
app.add_typer(cli_pages.app)

app.command()(cli_training.fit)
app.command()(cli_training.sweep)
app.command("few-shot")(cli_training.few_shot)


def main() -> None:
    """Run the command line."""
    console.run_app(app, "python -m heads", stopped="Stopped. Nothing was written.")


@app.command()
def evaluate(
    model: ModelPath,
    store: ModelStore = None,
    split: Split = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Mean over the cached views of each image.")
    ] = False,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            parser=place,
            help="Where the store's images are now, for a fine-tuned model.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Judge a model on rows that it was not trained on.

    Example: python -m heads evaluate photos.head
    """
    from heads.evaluation import evaluate as evaluate_model

    evaluation = evaluate_model(model, store, split, tta=tta, images=images)
    screen = Screen(json)
    show_evaluation(screen, evaluation)
    screen.next("heads", "predict", model, "new_photos")
    screen.finish(evaluation.to_json())


def show_evaluation(screen: Screen, evaluation: Evaluation) -> None:
    """Print the numbers with their intervals, the classes, and what is confused."""
    from heads.evaluation_tables import tables

    screen.say(f"{evaluation.model}: {evaluation.split} rows of {_near(evaluation.store)}")
    for note in evaluation.notes:
        screen.say(f"Note: {note}")
    for table in tables(evaluation):
        screen.say()
        if table.title:
            screen.say(table.title)
        screen.table(table.columns, table.rows)
    screen.say()


def _near(path: str) -> str:
    """Return a path below the working folder as people type it there."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


@app.command()
def predict(
    model: ModelPath,
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES",
            parser=place,
            help="A folder of images, or one image; or a .csv, .parquet, .npz, .npy, .zip or .tar "
            "file, tfds:NAME or hf:NAME. Folders and tables may be s3://, gs:// or az://.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The table. (default: predictions.csv beside IMAGES)")
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
    top_k: Annotated[int, typer.Option(help="Likeliest classes per image.")] = 3,
    reject: Annotated[
        float | None,
        typer.Option(metavar="Q", help="Novelty, 0 to 1, above which an image gets no label."),
    ] = None,
    weights: Weights = None,
    workers: Annotated[
        int, typer.Option(help="Threads that read and decode; 0 for one per core.")
    ] = 0,
    json: Json = False,
) -> None:
    """Label new images; no store is needed.

    Example: python -m heads predict photos.head new_photos
    """
    from heads.predicting import predict as predict_images

    with console.ProgressReporter() as reporter:
        found = predict_images(
            model,
            images,
            out,
            root=root,
            top_k=top_k,
            reject=reject,
            weights=weights,
            workers=workers,
            reporter=reporter,
        )
    screen = Screen(json)
    screen.say(f"{found.out}: {found.images:,} images, {found.bad:,} of them bad")
    if found.labels:  # numbers have none
        screen.table(["label", "images"], [[name, count] for name, count in found.labels.items()])
    if found.rejected:
        screen.say(f"{found.rejected:,} images are more novel than {reject} and have no label")
    screen.next("heads", "report", model)
    screen.finish(asdict(found))


@app.command()
def export(
    model: ModelPath,
    out: Annotated[
        Path | None, typer.Option(help="File or folder. (default: photos.keras for photos.head)")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help="keras, saved_model, onnx, openvino or litert. (default: by --out)"),
    ] = None,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Write the joined model, raw image in and probabilities out, and prove it equal.

    Example: python -m heads export photos.head --out photos.onnx
    """
    from heads.exporting import export as export_model

    with console.ProgressReporter() as reporter:
        found = export_model(model, out, format, weights=weights, reporter=reporter)
    screen = Screen(json)
    screen.say(f"{found.out}: {found.format}, {console.size(found.bytes)}")
    screen.say(
        f"Opened again and compared on {found.probes} pictures: features differ by "
        f"{found.features:.1e} relative, predictions by {found.probabilities:.1e}"
    )
    screen.say(f"The report is {found.parity}")
    screen.next("heads", "pack", model)
    screen.finish(asdict(found))


@app.command()
def pack(
    model: ModelPath,
    out: Annotated[
        Path | None, typer.Option(help="The folder. (default: photos.packed for photos.head)")
    ] = None,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Write one folder that predicts elsewhere, offline, with five packages.

    Example: python -m heads pack photos.head --out photos.packed
    """
    from heads.packing import PACKAGES
    from heads.packing import pack as pack_model

    with console.ProgressReporter() as reporter:
        folder = pack_model(model, out, weights=weights, reporter=reporter)
    screen = Screen(json)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    screen.say(f"{folder}: {console.size(size)}; it needs {', '.join(PACKAGES)}")
    screen.say(f"Next: python {folder / 'predict.py'} photos")
    screen.finish({"folder": str(folder), "bytes": size, "packages": list(PACKAGES)})


@app.command()
def estimators(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of them.")] = None,
    json: Json = False,
) -> None:
    """List the estimators, or the parameters of one with their defaults.

    Example: python -m heads estimators logistic
    """
    from heads.estimators import ESTIMATORS, defaults

    screen = Screen(json)
    if name is not None:
        found = defaults(name)
        screen.table(["setting", "default"], [[key, str(value)] for key, value in found.items()])
        screen.say(f"Next: python -m heads fit photos.features --estimator {name} --set KEY=VALUE")
        screen.finish({"estimator": name, "defaults": found})
        return
    screen.table(
        ["name", "trains", "what it is"],
        [[key, entry.trains, entry.description] for key, entry in ESTIMATORS.items()],
    )
    screen.say("Also every classifier of scikit-learn, such as sklearn.svm.SVC.")
    screen.next("heads", "estimators", "logistic")
    screen.finish(
        {
            "estimators": [
                {"name": key, "trains": entry.trains, "description": entry.description}
                for key, entry in ESTIMATORS.items()
            ]
        }
    )
