"""Plots as files: PNG or SVG by the file's name, drawn without a screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from extract.published import published
from heads.errors import ModelError

if TYPE_CHECKING:
    from heads.learning_curve import FewShot

COLORS = {"ridge": "#0072b2", "prototype": "#d55e00", "logistic": "#009e73"}
"""Okabe and Ito's, which people with any color vision tell apart."""
MARKERS = {"ridge": "o", "prototype": "s", "logistic": "^"}


def plot_few_shot(curve: FewShot, path: Path) -> None:
    """Draw accuracy over images per class, with intervals; what all images give is dashed.

    Raises:
        ModelError: If the file cannot be written; it is then as it was.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = list(dict.fromkeys(point.estimator for point in curve.points))
    for name in names:
        drawn = [p for p in curve.curve(name) if p.shots is not None]
        shots = [p.shots or 0 for p in drawn]
        axes.errorbar(
            shots,
            [p.accuracy for p in drawn],
            yerr=[p.interval or 0 for p in drawn],
            color=COLORS[name],
            marker=MARKERS[name],
            markersize=4,
            capsize=3,
            label=name,
        )
        for point in curve.curve(name):
            if point.shots is None:
                axes.axhline(point.accuracy, color=COLORS[name], linestyle=":", linewidth=1)
    ticks = sorted({p.shots for p in curve.points if p.shots is not None})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{k}" for k in ticks])
    axes.minorticks_off()
    axes.set_xlabel("training images per class")
    axes.set_ylabel(f"accuracy on {curve.judged:,} validation images")
    axes.set_title(f"{Path(curve.store).name}: mean and 95 % interval; dotted: all images")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    _save(figure, path)


def _save(figure: object, path: Path) -> None:
    try:
        with published(path) as scratch:
            figure.savefig(scratch, format=path.suffix[1:].lower(), dpi=150)  # type: ignore[attr-defined]
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written: {error.strerror or error}. Give another --out"
        ) from error
