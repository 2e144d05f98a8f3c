"""Every cut that `finetune plan` shows, measured beside what the planner predicted.

The modes take turns, a few steps each. The first step of a turn is left out: it waits for its rows.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.finetune_epochs import MODES, opened, take_turns

STEPS, TURNS = 6, 5


def measure_cuts(
    store: Path, steps: int = STEPS, turns: int = TURNS, batch_size: int = 32
) -> list[dict[str, Any]]:
    """Return, for each cut of the boundary table, what was predicted and what is.

    Args:
        store: Its head lies beside it.
        steps: Of a turn.
        turns: Of each mode.
        batch_size: Images of a step.
    """
    import finetune

    planned = finetune.plan(store, batch_size=batch_size)
    rows = []
    with opened(store, batch_size) as (feeds, layers):
        for facts in planned.cuts:
            cut, plan = _cut_and_plan(feeds.network, layers, facts.name, facts.trains)
            spent = take_turns(feeds, plan, cut, turns, steps)
            full, suffix = ([statistics.median(turn[1:]) for turn in spent[mode]] for mode in MODES)
            ratios = [a / b for a, b in zip(full, suffix, strict=True)]
            rows.append(
                {
                    "cut": facts.name,
                    "full_step": statistics.median(full),
                    "suffix_step": statistics.median(suffix),
                    "speedup": statistics.median(full) / statistics.median(suffix),
                    "range": [min(ratios), max(ratios)],
                    "predicted": facts.speedup,
                    "predicted_full_step": _step(batch_size, facts.prefix_ms, facts.suffix_ms),
                    "predicted_suffix_step": _step(batch_size, facts.suffix_ms, facts.read_ms),
                }
            )
    return rows


def _step(images: int, *parts: float | None) -> float | None:
    """Return the seconds of a step whose parts take so many milliseconds per image."""
    known = [part for part in parts if part is not None]
    return images * sum(known) / 1000 if len(known) == len(parts) else None


def _cut_and_plan(network: Any, layers: Any, name: str, trains: str) -> tuple[Any, Any]:
    """Return a cut of the table by its name, and the plan by which all above it trains."""
    from finetune import freezing
    from finetune.boundary import block_cuts, find_cut
    from finetune.options import Options

    plan = freezing.make_plan(layers, f"from:{trains}")
    known = {cut.name: cut for cut in block_cuts(network)}
    if name in known:
        return known[name], plan
    plan = freezing.make_plan(layers, Options().unfreeze)  # inside of a block
    return find_cut(network, plan), plan
