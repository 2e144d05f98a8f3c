"""`python -m heads`: arguments in, one public function, words out.

Nothing heavy is imported here: each command imports what it runs.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extract import console
from extract.console import Screen

if TYPE_CHECKING:
    from heads.evaluation import Evaluation
    from heads.model import Model


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

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="Such as photos.head.")]
Weights = Annotated[
    str | None,
    typer.Option(help="Where the backbone's weights file is now, if it was moved."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def main() -> None:
    """Run the command line."""
    console.run_app(app, "python -m heads", stopped="Stopped. Nothing was written.")


@app.command()
def fit(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Such as photos.features.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The model's folder. (default: photos.head for photos.features)"),
    ] = None,
    estimator: Annotated[
        str,
        typer.Option(
            help="A name that `python -m heads estimators` lists, or a classifier of "
            "scikit-learn such as sklearn.svm.SVC."
        ),
    ] = "logistic",
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Parameter of the estimator; repeatable."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column to train on; several stand side by side. (default: the only)"),
    ] = None,
    class_weight: Annotated[
        str | None, typer.Option(help="balanced: every class weighs the same.")
    ] = None,
    refit: Annotated[
        str,
        typer.Option(help="train, or all: once more on train and validation rows, as chosen."),
    ] = "train",
    seed: Annotated[int, typer.Option(help="Decides all that is drawn by chance.")] = 0,
    json: Json = False,
) -> None:
    """Train a head on cached features; validation rows choose, test rows are not read.

    Example: python -m heads fit photos.features
    """
    from heads.estimators import parse_settings
    from heads.fitting import fit as fit_head

    with console.ProgressReporter() as reporter:
        model = fit_head(
            store,
            out,
            estimator=estimator,
            settings=parse_settings(set or []),
            columns=column or [],
            class_weight=class_weight,
            seed=seed,
            refit=refit,
            reporter=reporter,
            on_epoch=EpochLines(reporter),
        )
    screen = Screen(json)
    show_model(screen, model)
    screen.finish(model_facts(model))


class EpochLines:
    """Says how training goes, a line every few seconds."""

    def __init__(self, reporter: console.ProgressReporter) -> None:
        self._reporter = reporter

    def __call__(self, row: Any) -> None:
        """Hear one row of the history."""
        self._reporter.line(
            f"epoch {row['epoch']}: loss {row['loss']:.4f}"
            + (f", val_accuracy {row['val_accuracy']:.4f}" if row["val_accuracy"] else "")
        )


def model_facts(model: Model) -> dict[str, Any]:
    """Return what `fit --json` prints."""
    return {
        "model": str(model.path),
        "estimator": dict(model.estimator),
        "classes": list(model.classes),
        "columns": [column.name for column in model.columns],
        "splits": dict(model.splits),
        "metrics": dict(model.metrics),
        "temperature": model.temperature,
        "selection": [dict(row) for row in model.selection],
        "recipe_key": model.recipe.key,
        "root_digest": model.store["root_digest"],
        "seconds": model.settings["seconds"],
    }


def show_model(screen: Screen, model: Model) -> None:
    """Print what a training came to, and the next command."""
    chosen = ", ".join(f"{k}={v:.4g}" for k, v in model.estimator["chosen"].items())
    name = model.estimator["name"] + (f" with {chosen}" if chosen else "")
    screen.say(f"{model.path}: {name}, {len(model.classes)} classes, {model.width:,} features")
    screen.table(
        ["rows", "images", "accuracy", "log loss"],
        [
            [split, found["rows"], f"{found['accuracy']:.4f}", f"{found['log_loss']:.4f}"]
            for split, found in model.metrics.items()
        ],
    )
    screen.say(
        f"{model.settings['seconds']:.1f} s; temperature {model.temperature:.2f}; test rows were "
        f"not read"
    )
    screen.next("heads", "evaluate", model.path)


@app.command()
def evaluate(
    model: ModelPath,
    store: Annotated[
        Path | None,
        typer.Argument(metavar="[STORE]", help="Default: the store that it was trained on."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, validation or test. (default: test, where there is one)"),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Where the store's images are now, for a fine-tuned model."),
    ] = None,
    json: Json = False,
) -> None:
    """Judge a model on rows that it was not trained on.

    Example: python -m heads evaluate photos.head
    """
    from heads.evaluation import evaluate as evaluate_model

    evaluation = evaluate_model(model, store, split, images=images)
    screen = Screen(json)
    show_evaluation(screen, evaluation)
    screen.next("heads", "predict", model, "new_photos")
    screen.finish(evaluation.to_json())


def show_evaluation(screen: Screen, evaluation: Evaluation) -> None:
    """Print the numbers with their intervals, the classes, and what is confused."""
    from heads.evaluation import tables

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
        Path, typer.Argument(metavar="IMAGES", help="A folder of images, or one image.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The table. (default: predictions.csv beside IMAGES)")
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
            top_k=top_k,
            reject=reject,
            weights=weights,
            workers=workers,
            reporter=reporter,
        )
    screen = Screen(json)
    screen.say(f"{found.out}: {found.images:,} images, {found.bad:,} of them bad")
    screen.table(["label", "images"], [[name, count] for name, count in found.labels.items()])
    if found.rejected:
        screen.say(f"{found.rejected:,} images are more novel than {reject} and have no label")
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
        f"{found.features:.1e} relative, probabilities by {found.probabilities:.1e}"
    )
    screen.say(f"The report is {found.parity}")
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
