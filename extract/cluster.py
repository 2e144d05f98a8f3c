"""A run on many machines: this one lists, plans and seals; the others read, extract and commit.

    listing ─▶ chores ─▶ workers: read ∥ decode ∥ forward ∥ commit ─▶ receipts ─▶ seal

Nothing but the store's own commits is believed. The end of a run on a cluster is the run of one
machine on the same store: it finds every shard committed and every file read, reads anew what no
worker could, puts rows into the order of the items, and seals. So the same command without
`--cluster` continues, or verifies, what a cluster began, and the root digest is the same.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

from extract import pixels
from extract.api import check_place, extract_listing
from extract.chores import Chore, chores_of
from extract.cluster_crew import Crew
from extract.cluster_ray import connected
from extract.cluster_reach import root_of
from extract.cluster_share import Share
from extract.cluster_worker import Job, Ready, Receipt
from extract.collector import paused
from extract.engines.engine import check_bits, other_bits
from extract.errors import ClusterError, ImageError, InputError
from extract.items import Listing
from extract.known import Known, read_known
from extract.needs import check_room, grids
from extract.parts import check_part
from extract.plan import Plan, Settings, make_plan
from extract.progress import Reporter, Ticker
from extract.reading import read
from extract.scaling import Brightness
from extract.store.commits import Commits
from extract.store.files import read_errors
from extract.store.opening import Store
from extract.summary import Summary

MOST_LOOKS = 64
"""Images that the driver decodes, to find eight good ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Which cluster, and what of it."""

    address: str | None = None
    """Such as "10.0.0.1:6379", or "auto" for the cluster that this machine is part of; None to
    start one on this machine alone, unless RAY_ADDRESS names one."""
    share: Share = field(default_factory=Share)

    @classmethod
    def parse(
        cls,
        text: str,
        actors: int | None = None,
        cpus: float | None = None,
        gpus: float | None = None,
    ) -> Self:
        """Read "ray" or "ray:ADDRESS".

        Raises:
            InputError: If it is another word, or a number of resources is not positive.
        """
        engine, _, address = text.partition(":")
        if engine != "ray":
            raise InputError(f"--cluster is ray, ray:auto or ray:HOST:PORT. Received: {text!r}")
        for name, value in (("actors", actors), ("actor-cpus", cpus), ("actor-gpus", gpus)):
            if value is not None and not value > 0:
                raise InputError(f"--{name} is above 0. Received: {value}")
        share = Share(actors=actors, cpus=cpus, gpus=gpus)
        return cls(address=address or None, share=share)


@dataclass(slots=True)
class Made:
    """What workers did."""

    extracted: int = 0
    shards: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    started: float | None = None
    """When the first worker was ready, and when the last receipt came."""
    ended: float = 0.0

    def add(self, receipt: Receipt) -> None:
        """Take one receipt."""
        self.extracted += receipt.extracted
        self.shards += receipt.shards
        for name, seconds in receipt.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.ended = time.perf_counter()


def extract_on_cluster(
    listing: Listing, store: Store, settings: Settings, reporter: Reporter, cluster: Cluster
) -> Summary:
    """Do what `extract_listing` does, with the workers of a cluster.

    Raises:
        ClusterError: If the cluster cannot be had, or does not go on.
        InputError: If a worker could not read what is listed, or `--rehash` is asked for.
    """
    for note in listing.notes:
        reporter.note(note)
    listing = replace(listing, notes=())
    _check(listing, settings)
    check_place(listing, store)
    with paused(), read_errors(store.path):
        known = read_known(store).lean()
        plan = make_plan(settings, known, store.path, reporter)
        if known.previous is not None:
            check_part(known.previous.part, listing.part, store.path)
        check_room(listing, store, known, plan)
        chores = chores_of(listing, known, plan)
        complete = _complete(known, plan)
        cuts = {c.canonical: g for c, g in zip(plan.columns, grids(known, plan), strict=True)}
    del known
    made = Made()
    if chores:
        _look(listing, chores, plan)
        with connected(cluster.address) as ray:
            _make(ray, listing, store, plan, cuts, chores, cluster.share, reporter, made)
    summary = extract_listing(listing, store, settings, reporter, complete)
    return _counted(summary, made)


def _complete(known: Known, plan: Plan) -> frozenset[str]:
    """Return the keys of the images that have every column of a plan."""
    places = [known.places(column, pixels.decoder_signature()) for column in plan.columns]
    return frozenset(places[0]).intersection(*places[1:])


def _check(listing: Listing, settings: Settings) -> None:
    root_of(listing)
    if settings.devices:
        raise InputError("A worker has the GPUs of --actor-gpus. Leave --devices or --cluster out")
    if settings.rehash:
        raise InputError("--rehash reads every byte here, which takes no cluster. Leave one out")


def _look(listing: Listing, chores: Sequence[Chore], plan: Plan) -> None:
    """Decode the first images: such as were divided by 255 are refused before work begins."""
    brightness = Brightness()
    indices = chain.from_iterable(chore.indices for chore in chores)
    for index in islice(indices, MOST_LOOKS):
        if brightness.decided:
            return
        with contextlib.suppress(ImageError):
            file = read(listing, listing.items[index])
            brightness.check(pixels.load(file.data, plan.settings.pixels)[0])


def _make(
    ray: Any,
    listing: Listing,
    store: Store,
    plan: Plan,
    cuts: Mapping[str, Any],
    chores: Sequence[Chore],
    share: Share,
    reporter: Reporter,
    made: Made,
) -> None:
    """Have every chore done."""
    job = Job(
        store=_address(store.path),
        root=root_of(listing),
        plan=plan,
        grids=dict(cuts),
        backend=os.environ.get("KERAS_BACKEND", ""),
        version=importlib.metadata.version("headstart"),
    )
    ticker = Ticker(len(listing.items))
    first = len(listing.items) - sum(len(chore.indices) for chore in chores)
    commits = Commits(store.files)
    signatures = [*filter(None, [plan.stored_signature, _own_signature(plan)])]

    def ready(worker: Ready) -> None:
        made.started = made.started or time.perf_counter()
        is_new = worker.signature not in signatures
        signatures.append(worker.signature)
        if plan.settings.engine == "auto":
            check_bits(worker.node, worker.signature, signatures[0], plan.kind)
        elif is_new and (told := other_bits(worker.signature, signatures[0])):
            reporter.note(
                f"{worker.node} computes with {' and '.join(told)}: bits may differ within 1e-5, "
                f"which --engine auto would refuse"
            )

    def receipt(node: str, found: Receipt) -> None:
        made.add(found)
        if found.last and not commits.exists(found.last):
            raise ClusterError(
                f"{node} committed a shard that is not in {store.path} here. Give --store on a "
                f"file system that all machines share, or in a bucket that all reach by one address"
            )

    def moved(items: int) -> None:
        ticker.items_done = first + items
        if (tick := ticker.tick(items, {"workers": 1.0})) is not None:
            reporter.tick(tick)

    if plan.kind == "keras" and share.gpus is None and ray.cluster_resources().get("GPU"):
        share = replace(share, gpus=1.0)
    crew = Crew(ray, job, _graph(plan), share, listing.items, ready, receipt, moved, reporter.note)
    crew.work(chores)


def _graph(plan: Plan) -> dict[str, bytes]:
    """Return the converted graph, so that workers need neither Keras nor a cache."""
    folder = plan.prepared.folder
    return {name: (folder / name).read_bytes() for name in plan.prepared.files}


def _address(path: str) -> str:
    """Return a store's address as other machines can use it."""
    return path if "://" in path else str(Path(path).absolute())


def _own_signature(plan: Plan) -> Mapping[str, str] | None:
    """Return the signature of this machine's engine, where that needs no engine."""
    if plan.kind != "openvino" or not plan.prepared.files:
        return None
    from extract.engines.openvino import openvino_signature

    return openvino_signature()


def _counted(summary: Summary, made: Made) -> Summary:
    """Return the summary of the run that sealed, with the speed and the seconds of the workers."""
    if made.started is None or not made.extracted:
        return summary
    seconds = {name: round(spent, 3) for name, spent in made.seconds.items()}
    return replace(
        summary,
        images_per_second=round(made.extracted / (made.ended - made.started), 1),
        **{f"{name}_seconds": spent for name, spent in seconds.items()},  # type: ignore[arg-type]
    )
