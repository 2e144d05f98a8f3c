"""Whether pixels reach a frozen graph in about the scale that it was trained on: a doubt, no proof.

The statistics that would tell are folded into the first convolution and the offset behind it. After
training, what a channel's convolution gives and its offset are of about one size, since both come
from a normalization to variance 1. With pixels in 0..255 where -1..1 was meant, the first grows
128 times and the other stays. Other graphs may break this rule rightly, so it is told, not refused;
and it tells a scale, not a mode: tf, torch and a division by 255 all pass where one of them does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from extract import frozen_graphs
from extract.preprocessing import applied, parse_preprocessing
from extract.recipe import Preprocessing
from extract.scaling import CANDIDATES

USUAL = (1e-4, 30.0)
"""Variance of a channel by the square of its offset, the median of all channels. Measured on four
MobileNets with real weights: 0.004 to 0.4 with the scales that fit, 180 to 1300 without any, and
16,000 times less than the right one where pixels are scaled twice."""


def doubt(path: Path, steps: Preprocessing, probes: np.ndarray) -> str:
    """Return one sentence on pixels that look wrongly scaled; empty where nothing says so.

    Args:
        path: A frozen graph.
        steps: What will be done to pixels before it.
        probes: The synthetic probes, (n, size, size, 3) float32 in 0..255.
    """
    graph = frozen_graphs.read(path, probes.shape[1])
    if (found := _first_offset(graph.model)) is None:
        return ""
    strength = _Strength(graph, *found, probes[probes.std(axis=(1, 2, 3)) > 1])
    now = strength(steps)
    if now is None or _is_usual(now):
        return ""
    fits = [text for text in CANDIDATES if _is_usual(strength(parse_preprocessing(text)))]
    usual = f". With --preprocessing {' or '.join(fits)} it would not" if fits else ""
    return (
        f"Pixels may have another scale than {path.name} was trained with: what its first "
        f"convolution gives varies {f'{now:,.0f}' if now >= 1 else f'{now:.1g}'} times as much as "
        f"the offsets behind it let expect{usual}"
    )


def _is_usual(strength: float | None) -> bool:
    return strength is not None and USUAL[0] <= strength <= USUAL[1]


def _first_offset(model: Any) -> tuple[Any, Any] | None:
    """Return what the first convolution gives before and after something is added to it.

    None where the graph begins otherwise, or nothing is added.
    """
    convolutions = (n for n in model.get_ordered_ops() if n.get_type_name() == "Convolution")
    node = next(convolutions, None)
    while node is not None:
        after = [target.get_node() for target in node.output(0).get_target_inputs()]
        after = [n for n in after if n.get_type_name() != "ShapeOf"]
        kind = after[0].get_type_name() if len(after) == 1 else ""
        if kind == "Add":
            return node.output(0), after[0].output(0)
        node = after[0] if kind == "Multiply" else None  # a scale that was not folded in
    return None


class _Strength:
    """Measures what a convolution gives, in units of the offsets behind it."""

    def __init__(self, graph: frozen_graphs.Frozen, before: Any, after: Any, probes: np.ndarray):
        import openvino as ov

        part = ov.Model([before, after], graph.model.get_parameters(), "start")
        self._run = ov.Core().compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        self._channels_first = graph.channels_first
        self._probes = probes

    def __call__(self, steps: Preprocessing) -> float | None:
        """Return the median over channels; None where what is added is no offset of channels."""
        images = applied(self._probes, steps)
        if self._channels_first:
            images = images.transpose(0, 3, 1, 2)
        kind = self._run.inputs[0].get_element_type().to_dtype()
        before, after = (x.astype(np.float64) for x in self._run(images.astype(kind)).values())
        if before.shape != after.shape:
            return None
        offsets = (after - before).swapaxes(0, 1).reshape(before.shape[1], -1)  # (channels, n)
        values = before.swapaxes(0, 1).reshape(before.shape[1], -1)
        size = np.abs(values).max()
        if np.ptp(offsets, axis=1).max() > 1e-3 * size or not np.abs(offsets).max() > 1e-6 * size:
            return None
        center = np.maximum(offsets.mean(axis=1) ** 2, 1e-12)
        return float(np.median(values.var(axis=1) / center))
