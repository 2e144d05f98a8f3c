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
    if options.augment and not options.views:
        return Choice("full", f"random --augment {options.augment} changes every image each time")
    if options.mode == "suffix":
        return Choice("suffix", "as asked for", find_cut(feeds.network, plan))
    try:
        cut = find_cut(feeds.network, plan)
    except CutError as error:
        return Choice("full", str(error).partition(".")[0])
    return Choice("suffix", "can", cut)
