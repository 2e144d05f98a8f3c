"""What a fine-tuning would train, and what each cut of the graph would save, before any of it.

head ─▶ network ─▶ freeze plan (block, layers, parameters, trains?, BatchNorm)
                ─▶ cuts, probed ─▶ KiB per image, disk, speed-up, share of FLOPs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.progress import Reporter, Silent
from extract.store.commits import HAS_FEATURES
from finetune import freezing
from finetune.boundary import Cut, block_cuts, find_cut, flops
from finetune.errors import CutError
from finetune.memory import naming_memory
from finetune.network import Network, open_network
from finetune.options import Options
from finetune.quiet import quiet_keras
from finetune.rows import beside, open_features
from heads.model import Model
from heads.model_folder import load
from heads.opening import check_no_model


@dataclass(frozen=True, slots=True, kw_only=True)
class CutFacts:
    """One place to cut, and what it would save."""

    name: str
    """The tensors that are kept."""
    trains: str
    """The block that trains first above it, for `--unfreeze from:`."""
    kib_per_image: float
    disk_bytes: int
    """For all images of this store."""
    prefix_ms: float
    """Forward pass below it, per image."""
    suffix_ms: float | None
    """Training step above it, per image; None where the probe had no time left."""
    read_ms: float
    speedup: float | None
    """(prefix + suffix) / (suffix + read)."""
    flops_share: float
    """Share of the multiply-adds above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What `plan` found; `--json` prints its fields."""

    store: str
    head: str
    plans: tuple[freezing.FreezePlan, ...]
    cuts: tuple[CutFacts, ...]
    wanted: tuple[str | None, ...]
    """For each plan, the name of the cut that suffix mode would take; None where none can be."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "store": self.store,
            "head": self.head,
            "plans": [
                {
                    "unfreeze": plan.unfreeze,
                    "first_layer": plan.first,
                    "layers": len(plan.trainable),
                    "parameters": plan.parameters,
                    "trainable_weights": plan.weights,
                    "cut": cut,
                    "blocks": [list(line) for line in plan.table()],
                }
                for plan, cut in zip(self.plans, self.wanted, strict=True)
            ],
            "cuts": [
                {name: getattr(cut, name) for name in CutFacts.__slots__} for cut in self.cuts
            ],
        }


def plan(
    store: str | Path,
    head: str | Path | Model | None = None,
    *,
    unfreeze: str | Sequence[str] = (),
    batch_size: int = 32,
    weights: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Planned:
    """Say what each `--unfreeze` would train, and what cutting the graph would save.

    Args:
        store: The store that the head was trained on.
        head: A model, or its folder; `photos.head` for `photos.features` by default.
        unfreeze: What would train; "20%" by default.
        batch_size: Images of a training step.
        weights: Where the backbone's weights file is now, if it is not where it was.
        reporter: Hears sentences for people.

    Raises:
        HeadstartError: With one line that says what to do.
    """
    batch_size = Options(batch_size=batch_size).batch_size
    reporter = Silent() if reporter is None else reporter
    wanted = [unfreeze] if isinstance(unfreeze, str) else list(unfreeze)
    check_no_model(store)  # whose head would be looked for as photos.head.head
    model = head if isinstance(head, Model) else load(head or beside(store, ".head"))
    with naming_memory(batch_size):
        return _planned(store, model, wanted, batch_size, weights, reporter)


def _planned(
    store: str | Path,
    model: Model,
    wanted: Sequence[str],
    batch_size: int,
    weights: str | Path | None,
    reporter: Reporter,
) -> Planned:
    source = open_features(model, store)
    quiet_keras()
    network = open_network(model, weights)
    layers = freezing.layers_of(network.built)
    plans = [freezing.make_plan(layers, text) for text in wanted or [Options().unfreeze]]
    chosen = [_cut_of(network, p) for p in plans]
    reporter.note("Timing the network on this machine, for ten seconds at most …")
    images = sum(status in HAS_FEATURES for status in source.snapshot.items["status"].to_pylist())
    facts = cut_facts(network, layers, [cut for cut in chosen if cut], images, batch_size)
    for p in plans:
        freezing.apply(network, p)
    return Planned(
        store=source.snapshot.path,
        head=str(model.path or ""),
        plans=tuple(plans),
        cuts=tuple(facts),
        wanted=tuple(cut.name if cut else None for cut in chosen),
    )


def _cut_of(network: Network, plan: freezing.FreezePlan) -> Cut | None:
    try:
        return find_cut(network, plan)
    except CutError:
        return None


def cut_facts(
    network: Network,
    layers: tuple[freezing.LayerFacts, ...],
    also: Sequence[Cut],
    images: int,
    batch_size: int,
) -> list[CutFacts]:
    """Probe the cuts below blocks, and others, topmost first; everything trains meanwhile."""
    from finetune.probing import probe

    freezing.apply(network, freezing.make_plan(layers, "all"))
    by_position = {cut.position: cut for cut in [*also, *block_cuts(network)]}
    cuts = [by_position[position] for position in sorted(by_position, reverse=True)]
    unique = list({cut.name: cut for cut in reversed(cuts)}.values())[::-1]
    costs = probe(network, unique, batch_size)
    for cut in also:  # what was asked for is timed in any case
        if costs[cut.name].suffix is None:
            costs |= probe(network, [cut], batch_size, seconds=0.0)
    work = flops(network)
    return [
        CutFacts(
            name=cut.name,
            trains=freezing.block_of(network.operations[cut.position].name),
            kib_per_image=cut.row_bytes / 1024,
            disk_bytes=cut.row_bytes * images,
            prefix_ms=1000 * costs[cut.name].prefix,
            suffix_ms=None if (s := costs[cut.name].suffix) is None else 1000 * s,
            read_ms=1000 * costs[cut.name].read,
            speedup=costs[cut.name].speedup,
            flops_share=float(work[cut.position :].sum() / work.sum()),
        )
        for cut in unique
    ]
