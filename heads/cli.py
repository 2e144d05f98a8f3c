"""`python -m heads`: arguments in, one public function, words out.

Nothing heavy is imported here: each command imports what it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extract import console
from extract.collector import paused
from extract.console import Screen
from heads import cli_pages

if TYPE_CHECKING:
    from heads.evaluation import Evaluation
    from heads.learning_curve import Point
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
app.add_typer(cli_pages.app)

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
        str | None,
        typer.Option(
            help="A name that `python -m heads estimators` lists, or a classifier of "
            "scikit-learn such as sklearn.svm.SVC. (default: logistic, and ridge for numbers)"
        ),
    ] = None,
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
    multilabel: Annotated[
        bool,
        typer.Option(
            "--multilabel", help="Labels do not exclude each other: cat|indoor, or several columns."
        ),
    ] = False,
    regression: Annotated[bool, typer.Option("--regression", help="Labels are numbers.")] = False,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Column of labels; of several, each gets a head. (default: label)"),
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
    from heads.errors import HeadError

    with paused():  # importing scikit-learn makes many objects, and all stay
        from heads.estimators import parse_settings
        from heads.fitting import fit as fit_head
        from heads.fitting import fit_columns

    if multilabel and regression:
        raise HeadError("Labels are numbers or names: give --multilabel or --regression")
    task = "multilabel" if multilabel else "regression" if regression else "classification"
    labels = label or []
    with console.ProgressReporter() as reporter:
        options: dict[str, Any] = {
            "estimator": estimator,
            "settings": parse_settings(set or []),
            "columns": column or [],
            "class_weight": class_weight,
            "seed": seed,
            "refit": refit,
            "reporter": reporter,
            "on_epoch": EpochLines(reporter),
        }
        if task == "classification" and len(labels) > 1:
            models = fit_columns(store, labels, out, **options)
        else:
            models = [fit_head(store, out, task=task, label=labels, **options)]
    screen = Screen(json)
    for model in models:
        show_model(screen, model)
    facts = [model_facts(model) for model in models]
    screen.finish(facts[0] if len(facts) == 1 else {"models": facts})


@app.command()
def sweep(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Such as photos.features.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The model's folder. (default: photos.head for photos.features)"),
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(help="linear, logistic or ridge; repeatable. (default: all three)"),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column to try, each alone; repeatable. (default: all)"),
    ] = None,
    learning_rate: Annotated[
        str | None,
        typer.Option(metavar="R,R", help="Of linear heads. (default: 13 from 0.0001 to 0.1)"),
    ] = None,
    weight_decay: Annotated[
        str | None, typer.Option(metavar="W,W", help="Of linear heads. (default: 0,0.1)")
    ] = None,
    label_smoothing: Annotated[
        str | None, typer.Option(metavar="S,S", help="Of linear heads. (default: 0,0.1)")
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="N,N", help="Order of the rows. (default: 0)")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Most epochs of a linear head.")] = 30,
    class_weight: Annotated[
        str | None, typer.Option(help="balanced: every class weighs the same.")
    ] = None,
    json: Json = False,
) -> None:
    """Train many heads at once; validation rows choose one, test rows are read once, at the end.

    Example: python -m heads sweep photos.features
    """
    from heads.grid import LABEL_SMOOTHINGS, LEARNING_RATES, WEIGHT_DECAYS, Grid, numbers
    from heads.sweeping import ESTIMATORS
    from heads.sweeping import sweep as sweep_heads

    grid = Grid(
        learning_rates=numbers("--learning-rate", learning_rate, LEARNING_RATES),
        weight_decays=numbers("--weight-decay", weight_decay, WEIGHT_DECAYS),
        label_smoothings=numbers("--label-smoothing", label_smoothing, LABEL_SMOOTHINGS),
        seeds=numbers("--seed", seed, (0,)),
    )
    with console.ProgressReporter() as reporter:
        found = sweep_heads(
            store,
            out,
            columns=column or [],
            estimators=estimator or ESTIMATORS,
            grid=grid,
            epochs=epochs,
            class_weight=class_weight,
            reporter=reporter,
            on_epoch=reporter.line,
        )
    screen = Screen(json)
    show_tried(screen, found.model)
    show_model(screen, found.model, test=found.test)
    screen.finish(
        {
            **model_facts(found.model),
            "seconds": found.seconds,
            "sweep": [dict(row) for row in found.model.sweep],
            "test": None if found.test is None else found.test.to_json(),
        }
    )


@app.command("few-shot")
def few_shot(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Such as photos.features.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The plot, .png or .svg. (default: photos.few-shot.png)"),
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(metavar="K,K", help="Images per class. (default: 1,2,5,10,20, …)"),
    ] = None,
    draws: Annotated[int, typer.Option(help="How often the images are drawn.")] = 10,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column to train on; several stand side by side. (default: the only)"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the draws.")] = 0,
    json: Json = False,
) -> None:
    """Say whether more labels would help: accuracy with few images per class; test is not read.

    Example: python -m heads few-shot photos.features
    """
    from heads.grid import numbers
    from heads.learning_curve import few_shot as curve_of

    given = None if shots is None else [int(k) for k in numbers("--shots", shots, (1, 2, 5))]
    plot = out or store.with_name(store.name.removesuffix(".features") + ".few-shot.png")
    with console.ProgressReporter() as reporter:
        found = curve_of(
            store,
            plot,
            columns=column or [],
            shots=given,
            draws=draws,
            seed=seed,
            reporter=reporter,
            on_point=reporter.line,
        )
    screen = Screen(json)
    names = list(dict.fromkeys(point.estimator for point in found.points))
    screen.table(
        ["images per class", *names],
        [
            ["all" if row[0].shots is None else str(row[0].shots), *map(_plus_minus, row)]
            for row in zip(*map(found.curve, names), strict=True)
        ],
    )
    screen.say(
        f"Mean accuracy on {found.judged:,} validation rows, with its 95 % interval over the draws"
    )
    screen.say(found.verdict)
    screen.say(f"{found.plot}: the plot")
    screen.next("heads", "fit", store)
    screen.finish({**asdict(found), "plot": str(found.plot)})


def _plus_minus(point: Point) -> str:
    half = "" if point.interval is None else f" ± {point.interval:.4f}"
    return f"{point.accuracy:.4f}{half}"


SHOWN = 10
"""Tried heads that are printed; all are in the model's table."""


def show_tried(screen: Screen, model: Model) -> None:
    """Print the best of the heads that were tried."""
    screen.table(
        ["tried", "column", "settings", "validation accuracy", "log loss", "epochs"],
        [
            [row["estimator"], row["column"], _settings(row), *_cells(row)]
            for row in model.sweep[:SHOWN]
        ],
    )
    if len(model.sweep) > SHOWN:
        screen.say(f"All {len(model.sweep)} are in {model.path}/sweep.csv")
    screen.say()


def _settings(row: Mapping[str, Any]) -> str:
    names = ("C", "alpha", "learning_rate", "weight_decay", "label_smoothing", "seed")
    return " ".join(f"{name}={row[name]:.4g}" for name in names if row[name] is not None)


def _cells(row: Mapping[str, Any]) -> list[str]:
    loss = "" if row["log_loss"] is None else f"{row['log_loss']:.4f}"
    return [f"{row['accuracy']:.4f}", loss, str(row["epochs"] or "")]


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
        "task": model.task,
        "classes": list(model.classes),
        "thresholds": list(model.thresholds),
        "columns": [column.name for column in model.columns],
        "splits": dict(model.splits),
        "metrics": dict(model.metrics),
        "temperature": model.temperature,
        "selection": [dict(row) for row in model.selection],
        "recipe_key": model.recipe.key,
        "root_digest": model.store["root_digest"],
        "seconds": model.settings["seconds"],
    }


def show_model(screen: Screen, model: Model, test: Evaluation | None = None) -> None:
    """Print what a training came to, and the next command."""
    chosen = ", ".join(f"{k}={v:.4g}" for k, v in model.estimator["chosen"].items())
    name = model.estimator["name"] + (f" with {chosen}" if chosen else "")
    things = {"multilabel": "labels", "regression": "numbers"}.get(model.task, "classes")
    screen.say(f"{model.path}: {name}, {len(model.classes)} {things}, {model.width:,} features")
    measures = list(dict.fromkeys(key for row in model.metrics.values() for key in row))
    measures.remove("rows")
    screen.table(
        ["rows", "images", *(key.replace("_", " ") for key in measures)],
        [
            [split, row["rows"], *(f"{row[key]:.4f}" if key in row else "" for key in measures)]
            for split, row in model.metrics.items()
        ],
    )
    test_rows = "test rows were not read"
    if test is not None:
        low, high = test.report.intervals["accuracy"]
        test_rows = (
            f"accuracy on {test.rows:,} test rows, read once: {test.report.accuracy:.4f} "
            f"({low:.4f} to {high:.4f})"
        )
    screen.say(
        f"{model.settings['seconds']:.1f} s; temperature {model.temperature:.2f}; {test_rows}"
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
    tta: Annotated[
        bool, typer.Option("--tta", help="Mean over the cached views of each image.")
    ] = False,
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

    evaluation = evaluate_model(model, store, split, tta=tta, images=images)
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
        Path,
        typer.Argument(
            metavar="IMAGES",
            help="A folder of images, or one image; or a .csv, .parquet, .npz, .npy, .zip or .tar "
            "file, tfds:NAME or hf:NAME.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The table. (default: predictions.csv beside IMAGES)")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="DIR", help="Folder of a table's paths. (default: the table's own)"
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
