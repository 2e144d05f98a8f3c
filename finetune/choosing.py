"""Which mode trains: all of the graph, or the suffix on kept activations; and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.boundary import Cut, find_cut
from finetune.errors import CutError
from finetune.freezing import FreezePlan
from finetune.options import Options

if TYPE_CHECKING:
    from finetune.feeds import Feeds
    from finetune.probing import Costs


@dataclass(frozen=True, slots=True)
class Choice:
    """A mode, and what it needs."""

    mode: str
    """"full" or "suffix"."""
    why: str
    cut: Cut | None = None
    """Where the suffix begins."""


def choose(feeds: Feeds, plan: FreezePlan, options: Options) -> Choice:
    """Return the mode that was asked for, or by estimate the faster one.

    Raises:
        CutError: If `--mode suffix` was asked for, and no set of tensors allows it.
    """
    if options.mode == "full":
        return Choice("full", "as asked for")
    if options.mode == "suffix":
        return Choice("suffix", "as asked for", find_cut(feeds.network, plan))
    if options.augment and not options.views:
        return Choice("full", f"random --augment {options.augment} changes images every time")
    if options.batchnorm == "train" and not options.views:
        return Choice("full", "--batchnorm train")
    try:
        cut = find_cut(feeds.network, plan)
    except CutError as error:
        return Choice("full", str(error).partition(":")[0])
    if options.views:
        return Choice("suffix", f"--views {options.views}", cut)
    from finetune.probing import probe

    costs = probe(feeds.network, [cut], options.batch_size)[cut.name]
    return decide(cut, costs, options.epochs, feeds.are_kept(cut))


def decide(cut: Cut, costs: Costs, epochs: int, kept: bool) -> Choice:
    """Return the mode that takes less time in all.

    Args:
        cut: Where the suffix would begin.
        costs: Of the cut.
        epochs: How many are trained.
        kept: Whether the activations are on disk already.
    """
    assert costs.suffix is not None
    full = epochs * (costs.prefix + costs.suffix)
    suffix = (0.0 if kept else costs.prefix) + epochs * (costs.suffix + costs.read)
    trained = "1 epoch takes" if epochs == 1 else f"{epochs} epochs take"
    facts = (
        f"an epoch is {costs.speedup:.1f} x faster on activations kept at {cut.name}, and "
        f"{trained} {1000 * suffix:.1f} ms per image with extraction, "
        f"{1000 * full:.1f} ms without"
    )
    return Choice("suffix", facts, cut) if suffix < full else Choice("full", facts)
