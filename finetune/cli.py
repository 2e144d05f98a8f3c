"""`python -m finetune`: arguments in, one public function, words out.

Nothing heavy is imported here: each command imports what it runs.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from extract import console
from extract.cli_options import Json, Store
from extract.console import Screen
from finetune.options import Options

if TYPE_CHECKING:
    from finetune.freezing import FreezePlan
    from finetune.planning import Planned
    from finetune.running import Summary

DEFAULTS = Options()

app = typer.Typer(
    cls=console.Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fine-tune a head with its backbone; the result is never worse on validation rows.",
    epilog="Start here: python -m finetune plan photos.features",
)

Head = Annotated[
    Path | None, typer.Option(help="The head. (default: photos.head for photos.features)")
]
Unfreeze = Annotated[
    list[str] | None,
    typer.Option(
        help="What trains of the backbone: all, last:10 (layers), from:100 (a layer's number), "
        "from:block_16 (a layer or block, and all above), or 20% (of its parameters, from the "
        "top). Repeat it to try several. (default: 20%)"
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help="Where the backbone's weights file is now, if it was moved."),
]
BatchSize = Annotated[int, typer.Option(help="Images of a training step.")]


def main() -> None:
    """Run the command line."""
    console.run_app(app, "python -m finetune")


@app.command()
def plan(
    store: Store,
    unfreeze: Unfreeze = None,
    head: Head = None,
    batch_size: BatchSize = DEFAULTS.batch_size,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Show what would train, and what cutting the graph would save on this machine.

    Example: python -m finetune plan photos.features --unfreeze from:block_16
    """
    from finetune.planning import plan as make_plan

    with console.ProgressReporter() as reporter:
        found = make_plan(
            store,
            head,
            unfreeze=unfreeze or [],
            batch_size=batch_size,
            weights=weights,
            reporter=reporter,
        )
    screen = Screen(json)
    for one, cut in zip(found.plans, found.wanted, strict=True):
        show_plan(screen, one, cut)
    show_cuts(screen, found)
    tried = [word for one in found.plans for word in ("--unfreeze", one.unfreeze)]
    moved = [*(["--head", head] if head else []), *(["--weights", weights] if weights else [])]
    size = [] if batch_size == DEFAULTS.batch_size else ["--batch-size", batch_size]
    screen.next("finetune", "run", store, *moved, *size, *tried)
    screen.finish(found.to_json())


def show_plan(screen: Screen, plan: FreezePlan, cut: str | None) -> None:
    """Print which layers train."""
    screen.say(plan.describe())
    screen.table(["block", "layers", "parameters", "trains", "BatchNorm"], plan.table())
    screen.say(
        f"Suffix mode would keep {cut} of each image."
        if cut
        else "Suffix mode cannot be: nothing but the input is frozen."
    )
    screen.say()


def show_cuts(screen: Screen, found: Planned) -> None:
    """Print what each cut would cost and save."""
    screen.say("Where the graph can be cut, topmost first; times are per image")
    screen.table(
        [
            "keep",
            "train from",
            "KiB per image",
            "disk",
            "prefix ms",
            "suffix ms",
            "read ms",
            "speed-up",
            "FLOPs above",
        ],
        [
            [
                cut.name,
                cut.trains,
                f"{cut.kib_per_image:.1f}",
                console.size(cut.disk_bytes),
                f"{cut.prefix_ms:.2f}",
                "" if cut.suffix_ms is None else f"{cut.suffix_ms:.2f}",
                f"{cut.read_ms:.3f}",
                "" if cut.speedup is None else f"{cut.speedup:.1f}",
                f"{100 * cut.flops_share:.0f}%",
            ]
            for cut in found.cuts
        ],
    )


@app.command()
def run(
    store: Store,
    head: Head = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The model's folder. (default: photos.tuned for photos.features)"),
    ] = None,
    unfreeze: Unfreeze = None,
    epochs: Annotated[int, typer.Option(help="How often every image is seen.")] = DEFAULTS.epochs,
    batch_size: BatchSize = DEFAULTS.batch_size,
    learning_rate: Annotated[
        float, typer.Option(help="Of the head, and of all else without --layer-decay.")
    ] = DEFAULTS.learning_rate,
    layer_decay: Annotated[
        float, typer.Option(help="Share of the rate that each block has of the one above it.")
    ] = DEFAULTS.layer_decay,
    warmup: Annotated[
        float, typer.Option(help="Epochs in which the rate rises from 0.")
    ] = DEFAULTS.warmup,
    schedule: Annotated[
        str, typer.Option(help="cosine falls to 0 at the end; constant stays.")
    ] = DEFAULTS.schedule,
    optimizer: Annotated[
        str, typer.Option(help="A class of keras.optimizers, such as adamw or sgd.")
    ] = DEFAULTS.optimizer,
    weight_decay: Annotated[
        float | None, typer.Option(help="(default: what the optimizer does)")
    ] = None,
    dropout: Annotated[
        float, typer.Option(help="Share of the features dropped before the head.")
    ] = DEFAULTS.dropout,
    label_smoothing: Annotated[
        float, typer.Option(help="Share of each label that is spread over all classes.")
    ] = DEFAULTS.label_smoothing,
    class_weight: Annotated[
        str | None, typer.Option(help="balanced: every class weighs the same.")
    ] = None,
    augment: Annotated[
        str,
        typer.Option(
            help="Random changes while training: flip, rotation=0.1, zoom=0.2, translation=0.1, "
            "crop=0.8, contrast=0.2, brightness=0.2, separated by commas."
        ),
    ] = DEFAULTS.augment,
    views: Annotated[
        int, typer.Option(help="Augmented views that suffix mode extracts and trains on.")
    ] = DEFAULTS.views,
    precision: Annotated[
        str, typer.Option(help="float32, mixed_bfloat16 or mixed_float16, of training.")
    ] = DEFAULTS.precision,
    patience: Annotated[
        int, typer.Option(help="Epochs without a better one, after which it stops; 0: never.")
    ] = DEFAULTS.patience,
    ema: Annotated[
        float, typer.Option(help="Momentum of averaged weights, such as 0.99; 0: none.")
    ] = DEFAULTS.ema,
    batchnorm: Annotated[
        str, typer.Option(help="inference, or train: statistics of batches, in what trains.")
    ] = DEFAULTS.batchnorm,
    wise_ft: Annotated[
        bool, typer.Option("--wise-ft", help="Also try weights between the head's and the tuned.")
    ] = DEFAULTS.wise_ft,
    mode: Annotated[
        str,
        typer.Option(help="full, suffix (on kept activations), or auto: the faster by estimate."),
    ] = DEFAULTS.mode,
    seed: Annotated[int, typer.Option(help="Decides all that is drawn by chance.")] = DEFAULTS.seed,
    cache_memory: Annotated[
        str, typer.Option(help="Decoded images and activations in memory; the rest is on disk.")
    ] = DEFAULTS.cache_memory,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard's files.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Where the images are now, if they were moved.")
    ] = None,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Fine-tune, judged on validation rows; where nothing beats the head, the head is kept.

    Example: python -m finetune run photos.features --unfreeze from:block_16
    """
    from finetune.running import run as run_finetuning

    with console.ProgressReporter() as reporter:
        found = run_finetuning(
            store,
            head,
            out,
            unfreeze=unfreeze or [],
            images=images,
            weights=weights,
            reporter=reporter,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            layer_decay=layer_decay,
            warmup=warmup,
            schedule=schedule,
            optimizer=optimizer,
            weight_decay=weight_decay,
            dropout=dropout,
            label_smoothing=label_smoothing,
            class_weight=class_weight,
            augment=augment,
            views=views,
            precision=precision,
            patience=patience,
            ema=ema,
            batchnorm=batchnorm,
            wise_ft=wise_ft,
            mode=mode,
            seed=seed,
            cache_memory=cache_memory,
            tensorboard=tensorboard,
        )
    screen = Screen(json)
    show_summary(screen, found)
    screen.finish(asdict(found))


def show_summary(screen: Screen, found: Summary) -> None:
    """Print what came of it, and the command for the test figure."""
    if len(found.attempts) > 1:
        screen.table(
            ["unfreeze", "mode", "weights", "validation", "loss", "kept", "s per epoch"],
            [
                [
                    attempt["unfreeze"],
                    attempt["mode"],
                    attempt["trainable_weights"],
                    f"{attempt['validation_accuracy']:.4f}",
                    f"{attempt['validation_loss']:.4f}",
                    attempt["kept"],
                    f"{attempt['epoch_seconds']:.1f}",
                ]
                for attempt in found.attempts
            ],
        )
    screen.say(f"{found.model}: {KEPT[found.kept].format(found)}")
    screen.say(
        f"  validation accuracy {found.validation_accuracy:.4f}, of the head "
        f"{found.head_validation_accuracy:.4f}; {found.trainable_weights} weights trained in "
        f"{found.mode} mode, {found.epoch_seconds:.1f} s per epoch, {found.seconds:.0f} s in all "
        f"({found.decoding_seconds:.1f} s decoding, {found.extraction_seconds:.1f} s extracting)"
    )
    if found.activation_error is not None:
        screen.say(f"  kept activations are {found.activation_error:.1e} from float32, relative")
    screen.next("heads", "evaluate", found.model)


KEPT = {
    "head": "no epoch beat the head on validation rows, so the head is kept",
    "tuned": "tuned with --unfreeze {0.unfreeze}, as after epoch {0.best_epoch}",
    "interpolated": "tuned with --unfreeze {0.unfreeze}, {0.share:.0%} of the way from the head",
}
