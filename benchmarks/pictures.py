"""Pictures of results, each as PNG and as SVG, drawn without a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which people with any color vision tell apart."""
MARKERS = "osD^v<>"
Points = Sequence[tuple[float, float]]


def draw(
    path: Path,
    series: Mapping[str, Points],
    *,
    title: str,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    dashed: Sequence[str] = (),
    vertical: Mapping[str, float] | None = None,
) -> list[Path]:
    """Draw lines, and write them beside each other as `path` with .png and with .svg.

    Args:
        path: Without a suffix.
        series: Name → points (x, y).
        title: Likewise what the axes say, `x` and `y`.
        x: With its unit.
        y: With its unit.
        log_x: Whether the axis is logarithmic; `log_y` likewise.
        log_y: See `log_x`.
        dashed: Names of series that were reckoned, not measured.
        vertical: Text → place of a vertical line.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(series.items()):
        places, values = zip(*points, strict=True)
        plain = name in dashed
        axes.plot(
            places,
            values,
            label=name,
            color=COLORS[number % len(COLORS)],
            linestyle="--" if plain else "-",
            marker=None if plain else MARKERS[number % len(MARKERS)],
            markersize=5,
        )
    for text, place in (vertical or {}).items():
        axes.axvline(place, color="#57606a", linestyle=":", label=text)
    _label(axes, title, x, y, log_x, log_y)
    written = [path.with_name(f"{path.name}.{kind}") for kind in ("png", "svg")]
    with mpl.rc_context({"svg.hashsalt": "headstart"}):  # equal numbers give equal files
        figure.savefig(written[0], dpi=120, metadata={"Software": None})
        figure.savefig(written[1], metadata={"Date": None})
    return written


def _label(axes: Any, title: str, x: str, y: str, log_x: bool, log_y: bool) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter

    plain = StrMethodFormatter("{x:,g}")
    for axis, log, scale in (
        (axes.xaxis, log_x, axes.set_xscale),
        (axes.yaxis, log_y, axes.set_yscale),
    ):
        if log:
            scale("log")
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(plain)
            axis.set_minor_formatter("")
    if not log_x:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#d0d7de", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
