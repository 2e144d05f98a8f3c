"""What a cluster costs: the engine's overhead on one machine, and the plan of a large run.

    python -m benchmarks.bench_cluster ../shared/data/cats_dogs_200px --repeats 7 --out results
    python -m benchmarks.bench_cluster --tiny

- overhead   a folder with MobileNetV2 0.35, without and with `--cluster ray`, in turn, each run in
             a process of its own; the roots must be equal
- plan       chores of a listing of so many items that exist as names alone, in a process of its
             own: seconds, the most memory, and the bytes that Ray carries for the largest chore

Of each run three figures, of which the first is the verdict:

- to the seal    images by the seconds of all of `extract.run`, with a Ray that is up, as on a
                 cluster: workers begin, load the backbone, extract; the driver seals
- to the commit  `images_per_second` of the summary: first image, or first worker, to the last
                 commit. It leaves out what a cluster does more: its workers' start, and that the
                 driver looks at everything again before it seals
- process        wall time with imports, and with Ray's own start and end

A cell is median [min, max] over the repeats. One machine measures no network: what several do
together is not told here.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import extract
from benchmarks import results, synthetic
from benchmarks.command_line import in_one_line, photographs, positive
from benchmarks.goals import at_most, below
from benchmarks.processes import run
from benchmarks.tables import Grid, spread, told
from benchmarks.timing import scratch
from benchmarks.tiny import paint
from extract.backbones import BackboneSpec
from extract.chores import chores_of
from extract.cluster_ray import connected
from extract.estimating import peak_bytes
from extract.items import Item, Listing
from extract.known import Known
from extract.plan import Settings, make_plan
from extract.progress import Silent

BACKBONE: dict[str, Any] = {"backbone": "mobilenet_v2", "arguments": {"alpha": 0.35}}
WAYS = ("alone", "ray")
FIGURES = {
    "to_seal": "images/s, to the seal",
    "to_commit": "images/s, to the commit",
    "process": "s, whole process",
}
OVERHEAD, PLAN_SECONDS, PLAN_MB = 0.10, 60.0, 2000.0
"""Goals."""


def overhead(photos: Path, options: Mapping[str, Any], repeats: int) -> dict[str, Any]:
    """Run both ways in turn, after one run that converts the backbone and warms the disk."""
    found: dict[str, Any] = {way: {figure: [] for figure in FIGURES} for way in WAYS}
    roots = {_in_a_process(photos, "alone", options)["root_digest"]}
    for _ in range(repeats):
        for way in WAYS:
            facts = _in_a_process(photos, way, options)
            roots.add(facts["root_digest"])
            for figure in FIGURES:
                found[way][figure].append(facts[figure])
            found["extracted"] = facts["extracted"]
    pairs = zip(found["ray"]["to_seal"], found["alone"]["to_seal"], strict=True)
    found["overheads"] = [1 - ray / alone for ray, alone in pairs]
    found["one_root"] = len(roots) == 1
    return found


def _in_a_process(photos: Path, way: str, options: Mapping[str, Any]) -> dict[str, Any]:
    words = ("-m", "benchmarks.bench_cluster", photos, "--one", way, json.dumps(options))
    done = run(words)
    return {**done.facts, "process": done.seconds}


def one(photos: Path, way: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Run once in this process; Ray is up before the clock starts."""
    cluster = "ray" if way == "ray" else None
    with connected(None) if cluster else nullcontext(), tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = extract.run(photos, Path(folder) / "features", cluster=cluster, **options)
        seconds = time.perf_counter() - start
    return {
        "root_digest": done.root_digest,
        "extracted": done.extracted,
        "to_seal": done.extracted / seconds,
        "to_commit": done.images_per_second,
    }


def plan_in_a_process(items: int) -> dict[str, float]:
    """Plan in a process of its own, whose memory is the plan's."""
    words = [sys.executable, "-m", "benchmarks.bench_cluster", "--plan-only", str(items)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def plan(items: int) -> dict[str, float]:
    """Cut a synthetic listing into chores, and make every message of them once."""
    names = (f"class{number // 1000:04d}/{number:08d}.jpg" for number in range(items))
    listing = Listing(Path("/data"), tuple(Item(name, size=1, mtime_ns=1) for name in names))
    with synthetic.replaced():
        settings = Settings(spec=BackboneSpec(name="digits"))
        wanted = make_plan(settings, Known(), "store", Silent())
    start = time.perf_counter()
    chores = chores_of(listing, Known(), wanted)
    largest = max(len(repr(chore.files(listing.items))) for chore in chores)
    return {
        "items": items,
        "chores": len(chores),
        "seconds": time.perf_counter() - start,
        "peak_mb": peak_bytes() / 1e6,
        "largest_message_bytes": largest,
    }


def measure(
    photos: Path, options: Mapping[str, Any] = BACKBONE, *, items: int, repeats: int
) -> dict[str, Any]:
    """Measure both, and return JSON values."""
    return {
        "data": photos.name,
        "overhead": overhead(photos, options, repeats),
        "plan": plan_in_a_process(items),
    }


def tables(facts: Mapping[str, Any]) -> list[Grid]:
    """Return the three figures of a run, both ways."""
    found = facts["overhead"]
    grid = Grid(
        f"{found['extracted']:,} images of {facts['data']}",
        ("", *(f"{way}{text}" for way in WAYS for text in ("", ", least", ", most"))),
    )
    for figure, unit in FIGURES.items():
        grid.add(unit, *(cell for way in WAYS for cell in spread(found[way][figure])))
    return [grid]


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each figure, beside what it must reach."""
    found, planned = facts["overhead"], facts["plan"]
    percents = [100 * each for each in found["overheads"]]
    overhead = at_most(statistics.median(found["overheads"]), OVERHEAD, ".0%")
    roots = "one root" if found["one_root"] else "ROOTS DIFFER"
    return [
        f"overhead to the seal: {told(percents, 1, '%')} {overhead}; {roots}",
        f"plan of {planned['items']:,} items: {planned['chores']:,} chores in "
        f"{planned['seconds']:.1f} s {at_most(planned['seconds'], PLAN_SECONDS)}, "
        f"{planned['peak_mb']:,.0f} MB {below(planned['peak_mb'], PLAN_MB, ',.0f')}, "
        f"at most {planned['largest_message_bytes']:,} bytes each",
    ]


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--items", type=positive, default=1_000_000)
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--out", type=Path, help="folder of the JSON; else it is printed")
    parser.add_argument("--tiny", action="store_true", help="on pictures made on the spot")
    parser.add_argument("--plan-only", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given, before = parser.parse_args(words), results.load_average()
    if given.one:
        print(json.dumps(one(given.photos, given.one[0], json.loads(given.one[1]))))
        return
    if given.plan_only:
        print(json.dumps(plan(given.plan_only)))
        return
    if given.tiny:
        with scratch() as folder:
            photos = paint(folder / "tiny")
            facts = measure(photos, {"backbone": "digits"}, items=2000, repeats=1)
    elif given.photos is None:
        parser.error("PHOTOS is a folder of photographs")
    else:
        photos = photographs(given.photos, "a folder of photographs")
        facts = measure(photos, items=given.items, repeats=given.repeats)
    for grid in tables(facts):
        grid.show()
    for line in verdict(facts):
        print(line, file=sys.stderr)
    results.deliver(
        given.out, "bench_cluster-tiny" if given.tiny else "bench_cluster", facts, before
    )


if __name__ == "__main__":
    in_one_line(main)
