"""The commands that train: `fit`, `sweep` and `few-shot`; `heads.cli` has them first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extract import console
from extract.cli_options import Json, Store
from extract.collector import paused
from extract.console import Screen
from extract.places import beside
from heads.cli_options import ClassWeight, Columns, Label, ModelOut, Seed

if TYPE_CHECKING:
    from heads.evaluation import Evaluation
    from heads.learning_curve import Point
    from heads.model import Model


def fit(
    store: Store,
    out: ModelOut = None,
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
    column: Columns = None,
    class_weight: ClassWeight = None,
    multilabel: Annotated[
        bool,
        typer.Option(
            "--multilabel",
            help="Labels do not exclude each other: cat|indoor, or several columns; by logistic, "
            "ridge, linear or mlp.",
        ),
    ] = False,
    regression: Annotated[
        bool, typer.Option("--regression", help="Labels are numbers; by ridge, linear or mlp.")
    ] = False,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Column of labels; of several, each gets a head. (default: label)"),
    ] = None,
    refit: Annotated[
        str,
        typer.Option(help="train, or all: once more on train and validation rows, as chosen."),
    ] = "train",
    seed: Seed = 0,
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
        from heads.targets import check_once

    if multilabel and regression:
        raise HeadError("Labels are numbers or names: give --multilabel or --regression")
    task = "multilabel" if multilabel else "regression" if regression else "classification"
    labels = label or []
    check_once(labels)
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


def sweep(
    store: Store,
    out: ModelOut = None,
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
    class_weight: ClassWeight = None,
    label: Label = None,
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
            label=label,
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


def few_shot(
    store: Store,
    out: Annotated[
        Path | None,
        typer.Option(help="The plot, .png or .svg. (default: photos.few-shot.png)"),
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(metavar="K,K", help="Images per class. (default: 1,2,5,10,20, …)"),
    ] = None,
    draws: Annotated[int, typer.Option(help="How often the images are drawn.")] = 10,
    column: Columns = None,
    label: Label = None,
    seed: Annotated[int, typer.Option(help="Decides the draws.")] = 0,
    json: Json = False,
) -> None:
    """Say whether more labels would help: accuracy with few images per class; test is not read.

    Example: python -m heads few-shot photos.features
    """
    from heads.grid import numbers
    from heads.learning_curve import few_shot as curve_of

    given = None if shots is None else [int(k) for k in numbers("--shots", shots, (1, 2, 5))]
    near = beside(store)
    plot = out or near.with_name(near.name.removesuffix(".features") + ".few-shot.png")
    with console.ProgressReporter() as reporter:
        found = curve_of(
            store,
            plot,
            columns=column or [],
            label=label,
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
    screen.next("heads", "fit", store, *(["--label", label] if label else []))
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


THINGS = {
    "classification": ("class", "classes"),
    "multilabel": ("label", "labels"),
    "regression": ("number", "numbers"),
}
"""What a task learns, one and many."""


def show_model(screen: Screen, model: Model, test: Evaluation | None = None) -> None:
    """Print what a training came to, and the next command."""
    chosen = ", ".join(f"{k}={v:.4g}" for k, v in model.estimator["chosen"].items())
    name = model.estimator["name"] + (f" with {chosen}" if chosen else "")
    one, many = THINGS[model.task]
    learned = f"1 {one}" if len(model.classes) == 1 else f"{len(model.classes)} {many}"
    features = "1 feature" if model.width == 1 else f"{model.width:,} features"
    screen.say(f"{model.path}: {name}, {learned}, {features}")
    measures = list(dict.fromkeys(key for row in model.metrics.values() for key in row))
    measures.remove("rows")
    screen.table(
        ["rows", "images", *(key.replace("_", " ") for key in measures)],
        [
            [split, row["rows"], *(f"{row[key]:.4f}" if key in row else "" for key in measures)]
            for split, row in model.metrics.items()
        ],
    )
    if model.task == "regression" and len(model.classes) > 1:
        from heads.task_metrics import IN_DEVIATIONS

        screen.say(f"Note: {IN_DEVIATIONS}")
    test_rows = "test rows were not read"
    if test is not None:
        low, high = test.report.intervals["accuracy"]
        test_rows = (
            f"accuracy on {test.rows:,} test rows, read once: {test.report.accuracy:.4f} "
            f"({low:.4f} to {high:.4f})"
        )
    sure = "" if model.task == "regression" else f"temperature {model.temperature:.2f}; "
    screen.say(f"{model.settings['seconds']:.1f} s; {sure}{test_rows}")
    if {"validation", "test"} & model.splits.keys():
        screen.next("heads", "evaluate", model.path)
    else:
        screen.next("heads", "predict", model.path, "new_photos")
