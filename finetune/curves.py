"""Learning curves of head training and of fine-tuning, side by side, as pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
PANELS = (("val_accuracy", "accuracy", "accuracy"), ("val_loss", "loss", "loss"))
"""Validation's name, training's name, what the axis is called."""


def draw(
    head: Sequence[Row], tuned: Sequence[Row], before: Mapping[str, float]
) -> dict[str, bytes]:
    """Return the curves as files.

    A line marks where fine-tuning starts. A head that was not trained in epochs is a horizontal
    line at what it came to.

    Args:
        head: Rows of the head's history; none where it has no epochs.
        tuned: Rows of fine-tuning's history.
        before: val_accuracy and val_loss of the head.

    Returns:
        "curves.png" and "curves.svg" with their bytes.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (validation, training, label) in zip(figure.subplots(1, 2), PANELS, strict=True):
        _panel(axes, head, tuned, before[validation], validation, training)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    files = {}
    for kind in ("png", "svg"):
        sink = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {}
        figure.savefig(sink, format=kind, dpi=120, metadata=metadata)
        files[f"curves.{kind}"] = sink.getvalue()
    return files


def _panel(
    axes: Any,
    head: Sequence[Row],
    tuned: Sequence[Row],
    before: float,
    validation: str,
    training: str,
) -> None:
    start = len(head)
    _line(
        axes, range(1, len(head) + 1), [row[validation] for row in head], "C0", "head, validation"
    )
    _line(
        axes, range(1, len(head) + 1), [row[training] for row in head], "C0", "head, training", "--"
    )
    after = range(start, start + len(tuned) + 1)
    _line(axes, after, [before, *(row[validation] for row in tuned)], "C1", "tuned, validation")
    _line(axes, after[1:], [row[training] for row in tuned], "C1", "tuned, training", "--")
    axes.axhline(before, color="C0", linewidth=1, linestyle=":", label="the head")
    axes.axvline(start, color="0.4", linewidth=1, label="fine-tuning starts")
    axes.xaxis.get_major_locator().set_params(integer=True)


def _line(
    axes: Any, epochs: range, values: Sequence[Any], color: str, label: str, style: str = "-"
) -> None:
    pairs = [(x, y) for x, y in zip(epochs, values, strict=True) if y is not None]
    if pairs:
        x, y = zip(*pairs, strict=True)
        axes.plot(x, y, style, color=color, label=label, marker=".", markersize=4)
