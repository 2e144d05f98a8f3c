"""Extraction against the plain Keras script and against its own ideal, in one run.

    python -m benchmarks.bench_extract --shared ../shared --repeats 5 --out benchmarks/results
    KERAS_BACKEND=jax python -m benchmarks.bench_extract --shared ../shared --engine keras

For each folder of photographs, in turn and repeated (a round measures everything once):

- keras      `model.predict(image_dataset_from_directory(...).prefetch(2))`, float32, in a process
             that is kept alive; its building and tracing are not counted
- float32    `extract.run` into a new store: read, hash, decode, forward, encode, commit; the
             engine's loading is not counted
- bfloat16   the same where the engine is OpenVINO and the processor has it
- decode     reading, hashing and decoding alone, all cores loaded
- forward    the engine alone on pixels in memory, all cores loaded
- ideal      1 / (1 / decode + 1 / forward), of the same round: both want the same cores. On an
             accelerator they do not, and the slower of both is the ideal

and of the float32 runs, which share of the time each stage kept its threads busy, and so which one
waits for which. `--engine` is OpenVINO on a processor and Keras, on any backend, on an accelerator;
Keras on a processor is for comparison.

Then, on the folder with the most images: a second run as a whole process, the share of store
writing, reading features back against `np.load` of the same bytes, and `--help`. Disks are
warm: this measures processors, not disks. Speed-ups are medians of the ratios of each round.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import cv2

import extract
from benchmarks import device, forward, results
from benchmarks.command_line import in_one_line, photographs_of, positive
from benchmarks.forward import Kind
from benchmarks.goals import at_least, at_most
from benchmarks.keras_server import KerasServer
from benchmarks.store_reading import measure_reading
from benchmarks.tables import Grid, told
from benchmarks.timing import Table, scratch, seconds_of
from benchmarks.tiny import paint
from extract import pixels
from extract.backbones import BackboneSpec, entry
from extract.cores import num_cores
from extract.items import list_folder
from extract.reading import read_item
from extract.recipe import PixelPolicy

FOLDERS_OF_PHOTOS = ("hymenoptera", "cats_dogs_200px")
WAYS = ("keras", "float32", "bfloat16", "decode", "forward", "ideal")
WEIGHTS = "weights/mobilenet_v2_1.0_224_no_top_dequantised.h5"


def extraction(images: Path, spec: BackboneSpec, kind: Kind, **options: Any) -> extract.Summary:
    """Extract into a new store that is thrown away."""
    with scratch() as folder:
        return extract.run(
            images,
            folder / "store",
            backbone=spec.name,
            arguments=dict(spec.arguments),
            weights=spec.weights,
            engine=kind,
            **options,
        )


def decode_rate(images: Path, policy: PixelPolicy) -> float:
    """Return images per second of reading, hashing and decoding alone."""
    listing = list_folder(images)

    def decode(item: Any) -> None:
        pixels.load(read_item(listing.root, item).data, policy)

    cv2.setNumThreads(1)  # as the pipeline does
    with ThreadPoolExecutor(num_cores()) as pool:
        seconds = seconds_of(lambda: list(pool.map(decode, listing.items)))
    return len(listing.items) / seconds


def has_bfloat16() -> bool:
    """Return whether OpenVINO computes in bfloat16 on this processor."""
    import openvino as ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@dataclass(frozen=True)
class Rates:
    """What was measured of one folder, one number a round."""

    rounds: dict[str, list[float]]
    """Way → images per second."""
    busy: dict[str, list[float]] = field(default_factory=dict)
    """Stage → the share of the time in which its threads were busy."""

    def ratio(self, name: str, to: str) -> float:
        """Return the median over the rounds of one rate by another."""
        pairs = zip(self.rounds[name], self.rounds[to], strict=True)
        return statistics.median(a / b for a, b in pairs)


def measure_rates(
    images: Path, spec: BackboneSpec, kind: Kind, keras: KerasServer, repeats: int
) -> Rates:
    """Measure every way once a round."""
    image_size = entry(spec.name).image_size
    engine = forward.engine_of(spec, image_size, kind)
    policy = PixelPolicy(image_size=image_size)
    precisions = ["float32", *(["bfloat16"] if kind == "openvino" and has_bfloat16() else [])]
    count = min(512, 2 * len(list_folder(images).items))
    found = Rates({}, {})
    keras.rate(images)
    forward.rate(engine, image_size, engine.batch_size)
    for _ in range(repeats):
        one = {"keras": keras.rate(images)}
        for precision in precisions:
            summary = extraction(images, spec, kind, precision=precision)
            one[precision] = summary.images_per_second
            if precision == "float32":
                _note(found.busy, forward.busy(asdict(summary), kind))
        one["decode"] = decode_rate(images, policy)
        one["forward"] = forward.rate(engine, image_size, count)
        one["ideal"] = ideal(one["decode"], one["forward"])
        _note(found.rounds, one)
    return found


def ideal(decode: float, alone: float) -> float:
    """Return the most images per second that both allow, on the same cores or side by side."""
    if device.facts()["device"] != device.CPU:
        return min(decode, alone)
    return 1 / (1 / decode + 1 / alone)


def _note(lists: dict[str, list[float]], numbers: Mapping[str, float]) -> None:
    for name, number in numbers.items():
        lists.setdefault(name, []).append(number)


def process_seconds(*words: object) -> float:
    """Return the wall time of one command as a whole process."""
    command = [sys.executable, "-m", *map(str, words)]
    return seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))


def measure_store(images: Path, spec: BackboneSpec, kind: Kind, repeats: int) -> dict[str, float]:
    """Measure a second run, the share of writing, and `--help`."""
    with scratch() as folder:
        arguments = [f"--backbone-arg={k}={v}" for k, v in spec.arguments.items()]
        words = ["extract", "run", images, "--store", folder / "store", "--backbone", spec.name]
        words += ["--weights", spec.weights, "--engine", kind, *arguments]
        process_seconds(*words)
        again = [process_seconds(*words) for _ in range(repeats)]
    summary = extraction(images, spec, kind)
    help_seconds = [process_seconds("extract", "--help") for _ in range(repeats)]
    return {
        "second_run_seconds": statistics.median(again),
        "write_share": summary.write_seconds / summary.seconds,
        "help_seconds": statistics.median(help_seconds),
    }


def measure(
    folders: Sequence[Path],
    spec: BackboneSpec,
    *,
    kind: Kind = "openvino",
    repeats: int = 5,
    read_rows: int = 40_000,
) -> dict[str, Any]:
    """Measure everything; return JSON values."""
    keras = KerasServer(spec, entry(spec.name).image_size)
    found: dict[str, Any] = {"engine": kind, "folders": {}}
    try:
        for folder in folders:
            rates = measure_rates(folder, spec, kind, keras, repeats)
            found["folders"][folder.name] = _folder_facts(folder, rates)
    finally:
        keras.close()
    for precision in ("float32", "bfloat16"):
        ratios = [f.get(f"{precision}_by_keras") for f in found["folders"].values()]
        if all(ratios):
            found[f"{precision}_by_keras"] = math.prod(ratios) ** (1 / len(ratios))
    largest = max(folders, key=lambda folder: len(list_folder(folder).items))
    found["store"] = measure_store(largest, spec, kind, repeats)
    found["reading"] = measure_reading(read_rows, 1280, repeats)
    return found


def _folder_facts(folder: Path, rates: Rates) -> dict[str, Any]:
    table = Table(folder.name, "images/s")
    for name, values in rates.rounds.items():
        table.add(name, values)
    table.show()
    facts: dict[str, Any] = {name: statistics.median(v) for name, v in rates.rounds.items()}
    facts |= {
        f"{precision}_by_keras": rates.ratio(precision, "keras")
        for precision in ("float32", "bfloat16")
        if precision in rates.rounds
    }
    shares = {stage: statistics.median(values) for stage, values in rates.busy.items()}
    return facts | {
        "rounds": dict(rates.rounds),
        "share_of_ideal": rates.ratio("float32", "ideal"),
        "share_of_forward": rates.ratio("float32", "forward"),
        "busy": shares,
        "waits": forward.waits(shares),
    }


def tables(facts: Mapping[str, Any]) -> list[Grid]:
    """Return images per second: the median of the rounds, and what they range over."""
    folders = facts["folders"]
    grid = Grid("Images per second", ("", *folders))
    for name in WAYS:
        if all(name in found for found in folders.values()):
            rounds = [
                found.get("rounds", {}).get(name, [found[name]]) for found in folders.values()
            ]
            grid.add(name, *(told(values, 0, "") for values in rounds))
    return [grid]


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each ratio, beside what it must reach."""
    lines = [
        f"{name}: float32 {f['float32_by_keras']:.2f} x keras, "
        f"{f['share_of_ideal']:.2f} of the ideal {at_least(f['share_of_ideal'], 0.95)}"
        for name, f in facts["folders"].items()
    ]
    lines += [
        f"{name}: {f['share_of_forward']:.2f} of the forward pass alone; {f['waits']} (busy: "
        + ", ".join(f"{stage} {share:.0%}" for stage, share in f["busy"].items())
        + ")"
        for name, f in facts["folders"].items()
        if "busy" in f
    ]
    goals = {"float32": 2.5, "bfloat16": 4.0}
    lines += [
        f"{precision}: {ratio:.2f} x keras, geometric mean {at_least(ratio, goal)}"
        for precision, goal in goals.items()
        if (ratio := facts.get(f"{precision}_by_keras"))
    ]
    store = facts["store"]
    lines += [
        f"second run {store['second_run_seconds']:.2f} s {at_most(store['second_run_seconds'], 5)}",
        f"store writing {store['write_share']:.1%} of the wall time "
        f"{at_most(store['write_share'], 0.05, '.0%')}",
        f"--help {store['help_seconds']:.2f} s {at_most(store['help_seconds'], 0.5)}",
    ]
    lines += [
        f"reading {suffix}: {f['times_np_load']:.2f} x np.load "
        f"{at_least(f['times_np_load'], 0.5)}, with the check "
        f"{f['with_check_gb_per_second']:.2f} GB/s {at_least(f['with_check_gb_per_second'], 1.2)}"
        for suffix, f in facts["reading"].items()
    ]
    return lines


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--engine", choices=get_args(Kind), default=forward.kind_here())
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--out", type=Path, help="folder of the JSON; else it is printed")
    parser.add_argument("--tiny", action="store_true", help="on pictures made on the spot")
    options, before = parser.parse_args(words), results.load_average()
    if options.tiny:
        with scratch() as folder:
            photos, digits = paint(folder / "tiny"), BackboneSpec(name="digits")
            found = measure([photos], digits, kind=options.engine, repeats=1, read_rows=3000)
    else:
        mobilenet = BackboneSpec(weights=str((options.shared / WEIGHTS).resolve()))
        photographs = [photographs_of(options.shared, name) for name in FOLDERS_OF_PHOTOS]
        found = measure(photographs, mobilenet, kind=options.engine, repeats=options.repeats)
    for line in verdict(found):
        print(line, file=sys.stderr)
    name = "bench_extract-tiny" if options.tiny else "bench_extract"
    results.deliver(options.out, name, found, before)


if __name__ == "__main__":
    in_one_line(main)
