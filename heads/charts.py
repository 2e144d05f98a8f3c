"""Charts as SVG pictures in data URIs: a page that holds them needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a")
Points = Sequence[tuple[float, float]]


def lines(
    series: Mapping[str, Points],
    x: str,
    y: str,
    *,
    bands: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    log: bool = False,
) -> str:
    """Return a chart of lines, one for each name.

    Args:
        series: Name → points (x, y).
        x: What the axis says.
        y: Likewise.
        bands: Name → (low, high) around each of its points.
        log: Whether x is on a logarithmic axis.
    """
    figure, axes = _figure(x, y)
    for color, (name, points) in zip(_colors(len(series)), series.items(), strict=True):
        places, values = np.array(points, float).reshape(-1, 2).T
        axes.plot(places, values, color=color, label=_plain(name), marker="o", markersize=3)
        if bands and name in bands:
            low, high = np.array(bands[name], float).T
            axes.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
    if log:
        axes.set_xscale("log")
    elif all(float(place).is_integer() for points in series.values() for place, _ in points):
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # no half an epoch
    return _finish(figure, axes, legend=len(series) > 1)


def reliability(
    bins: Mapping[str, Sequence[tuple[float, float, int]]],
    x: str = "probability of the label that is given",
    y: str = "share that is right",
) -> str:
    """Return a reliability diagram: for each name, (mean confidence, accuracy, rows) of bins.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    figure, axes = _figure(x, y)
    axes.plot([0, 1], [0, 1], color="#8c959f", linestyle="--", linewidth=1)
    most = max((rows for found in bins.values() for *_, rows in found), default=1)
    for color, (name, found) in zip(_colors(len(bins)), bins.items(), strict=True):
        confidence, accuracy, rows = np.array(found, float).reshape(-1, 3).T
        axes.plot(confidence, accuracy, color=color, linewidth=1, label=_plain(name))
        axes.scatter(confidence, accuracy, s=8 + 80 * rows / most, color=color)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    return _finish(figure, axes, legend=len(bins) > 1)


def scatter(true: np.ndarray, found: np.ndarray, name: str) -> str:
    """Return what was predicted against what is true, both (n,), beside the line of no error."""
    figure, axes = _figure(f"{name}, true", f"{name}, predicted")
    ends = [float(min(true.min(), found.min())), float(max(true.max(), found.max()))]
    axes.plot(ends, ends, color="#8c959f", linestyle="--", linewidth=1)
    # Thousands of points as paths would be most of the page.
    axes.scatter(true, found, s=10, color=COLORS[0], alpha=0.5, linewidths=0, rasterized=True)
    return _finish(figure, axes, legend=False)


def _figure(x: str, y: str) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(_plain(x))
    axes.set_ylabel(_plain(y))
    axes.grid(color="#d0d7de", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _finish(figure: Figure, axes: Any, legend: bool) -> str:
    if legend:
        axes.legend(frameon=False, fontsize="small")
    sink = io.BytesIO()
    figure.savefig(sink, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(sink.getvalue()).decode()


def _colors(count: int) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(count)]


def _plain(text: str) -> str:
    """Return a text that matplotlib prints as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")
