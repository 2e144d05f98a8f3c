"""Extraction against the plain Keras script and against its own ideal, in one run.

    python -m benchmarks.bench_extract --shared ../shared --repeats 5

For each folder of photographs, in turn and repeated (a round measures everything once):

- keras      `model.predict(image_dataset_from_directory(...).prefetch(2))`, float32, in a process
             that is kept alive; its building and tracing are not counted
- float32    `extract.run` into a new store: read, hash, decode, forward, encode, commit; the
             engine's loading is not counted
- bfloat16   the same where the processor has it
- decode     reading, hashing and decoding alone, all cores loaded
- forward    the engine alone on pixels in memory, all cores loaded
- ideal      1 / (1 / decode + 1 / forward), of the same round

Then, on the folder with the most images: a second run as a whole process, the share of store
writing, reading features back against `np.load` of the same bytes, and `--help`. Disks are
warm: this measures processors, not disks. Speed-ups are medians of the ratios of each round.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import extract
from benchmarks.timing import Table, machine, seconds_of
from extract import pixels
from extract.backbones import BackboneSpec, entry
from extract.cores import num_cores
from extract.engines.openvino import OpenVINOEngine
from extract.items import list_folder
from extract.prepare import prepare
from extract.prepared import Request
from extract.reading import read_item
from extract.recipe import LayerRequest, PixelPolicy
from extract.store.file_shards import FileShards
from extract.store.files import LocalFiles
from extract.store.hdf5_shards import HDF5Format
from extract.store.header import FOLDERS
from extract.store.shards import Grid, ShardFormat
from extract.store.zarr_shards import ZarrFormat

FOLDERS_OF_PHOTOS = ("hymenoptera", "cats_dogs_200px")
WEIGHTS = "weights/mobilenet_v2_1.0_224_no_top_dequantised.h5"


class KerasServer:
    """The plain script in a process of its own."""

    def __init__(self, spec: BackboneSpec, image_size: int) -> None:
        facts = {"backbone": asdict(spec), "image_size": image_size}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.keras_server", json.dumps(facts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError("benchmarks.keras_server ended")
        return line

    def rate(self, images: Path) -> float:
        """Return images per second of one `predict` over a folder."""
        assert self._process.stdin is not None
        print(json.dumps({"images": str(images)}), file=self._process.stdin, flush=True)
        answer = json.loads(self._answer())
        return float(answer["images"] / answer["seconds"])

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate()


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder for a store, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def extraction(images: Path, spec: BackboneSpec, **options: Any) -> extract.Summary:
    """Extract into a new store that is thrown away."""
    with scratch() as folder:
        return extract.run(
            images,
            folder / "store",
            backbone=spec.name,
            arguments=dict(spec.arguments),
            weights=spec.weights,
            engine="openvino",
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


def forward_rate(engine: OpenVINOEngine, image_size: int, count: int) -> float:
    """Return images per second of the engine alone, on pixels in memory."""
    size = engine.batch_size
    shape = (size, image_size, image_size, 3)
    batch = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    calls = max(1, count // size)
    with ThreadPoolExecutor(engine.streams) as pool:
        seconds = seconds_of(lambda: list(pool.map(engine, [batch] * calls)))
    return calls * size / seconds


def has_bfloat16() -> bool:
    """Return whether OpenVINO computes in bfloat16 on this processor."""
    import openvino as ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@dataclass(frozen=True)
class Rates:
    """Images per second of one folder, one number a round."""

    rounds: dict[str, list[float]]

    def ratio(self, name: str, to: str) -> float:
        """Return the median over the rounds of one rate by another."""
        pairs = zip(self.rounds[name], self.rounds[to], strict=True)
        return statistics.median(a / b for a, b in pairs)


def measure_rates(
    images: Path, spec: BackboneSpec, image_size: int, keras: KerasServer, repeats: int
) -> Rates:
    """Measure every way once a round."""
    request = Request(spec=spec, image_size=image_size, layers=(LayerRequest(),))
    engine = OpenVINOEngine(prepare(request, "openvino").graph)
    policy = PixelPolicy(image_size=image_size)
    precisions = ["float32", *(["bfloat16"] if has_bfloat16() else [])]
    count = min(512, 2 * len(list_folder(images).items))
    rounds: dict[str, list[float]] = {}
    keras.rate(images)
    for _ in range(repeats):
        one = {"keras": keras.rate(images)}
        for precision in precisions:
            one[precision] = extraction(images, spec, precision=precision).images_per_second
        one["decode"] = decode_rate(images, policy)
        one["forward"] = forward_rate(engine, image_size, count)
        one["ideal"] = 1 / (1 / one["decode"] + 1 / one["forward"])
        for name, rate in one.items():
            rounds.setdefault(name, []).append(rate)
    return Rates(rounds)


def process_seconds(*words: object) -> float:
    """Return the wall time of one command as a whole process."""
    command = [sys.executable, "-m", *map(str, words)]
    return seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))


def measure_store(images: Path, spec: BackboneSpec, repeats: int) -> dict[str, float]:
    """Measure a second run, the share of writing, and `--help`."""
    with scratch() as folder:
        arguments = [f"--backbone-arg={k}={v}" for k, v in spec.arguments.items()]
        words = ["extract", "run", images, "--store", folder / "store", "--backbone", spec.name]
        words += ["--weights", spec.weights, "--engine", "openvino", *arguments]
        process_seconds(*words)
        again = [process_seconds(*words) for _ in range(repeats)]
    summary = extraction(images, spec)
    help_seconds = [process_seconds("extract", "--help") for _ in range(repeats)]
    return {
        "second_run_seconds": statistics.median(again),
        "write_share": summary.write_seconds / summary.seconds,
        "help_seconds": statistics.median(help_seconds),
    }


def measure_reading(rows: int, width: int, repeats: int) -> dict[str, dict[str, float]]:
    """Measure reading features back, in bytes per second, beside `np.load` of the same bytes."""
    features = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    found: dict[str, dict[str, float]] = {}
    forms: Sequence[ShardFormat] = (ZarrFormat(), HDF5Format())
    with scratch() as folder:
        np.save(folder / "plain.npy", features)
        for form in forms:
            found[form.suffix] = _reading(folder, form, features, repeats)
    return found


def _reading(
    folder: Path, form: ShardFormat, features: np.ndarray, repeats: int
) -> dict[str, float]:
    files = LocalFiles(folder / form.suffix.strip("."))
    for name in ("", *FOLDERS):
        files.make_folder(name)
    grid = Grid.of(features.shape[1:], "float32")
    shards = FileShards(files, [form])
    steps = range(0, len(features), grid.shard_rows)
    refs = [
        shards.write(f"{start:064x}", features[start : start + grid.shard_rows], grid)
        for start in steps
    ]

    def read(place: FileShards) -> None:
        out = np.empty_like(features)
        for start, ref in zip(steps, refs, strict=True):
            place.read(ref, 0, ref.rows, out[start : start + ref.rows])

    load, checked, first = [], [], []
    for _ in range(repeats):
        load.append(seconds_of(lambda: np.load(folder / "plain.npy")))
        place = FileShards(files, [form])
        first.append(seconds_of(lambda place=place: read(place)))  # type: ignore[misc]
        checked.append(seconds_of(lambda place=place: read(place)))  # type: ignore[misc]
    ratios = [a / b for a, b in zip(load, checked, strict=True)]
    return {
        "times_np_load": statistics.median(ratios),
        "with_check_gb_per_second": features.nbytes / statistics.median(first) / 1e9,
    }


def main(
    folders: Sequence[Path],
    spec: BackboneSpec,
    *,
    repeats: int = 5,
    read_rows: int = 40_000,
) -> dict[str, Any]:
    """Measure everything; return what `--json` prints."""
    image_size = entry(spec.name).image_size
    keras = KerasServer(spec, image_size)
    results: dict[str, Any] = {"machine": machine(), "folders": {}}
    try:
        for folder in folders:
            rates = measure_rates(folder, spec, image_size, keras, repeats)
            results["folders"][folder.name] = _folder_facts(folder, rates)
    finally:
        keras.close()
    for precision in ("float32", "bfloat16"):
        ratios = [f.get(f"{precision}_by_keras") for f in results["folders"].values()]
        if all(ratios):
            results[f"{precision}_by_keras"] = math.prod(ratios) ** (1 / len(ratios))
    largest = max(folders, key=lambda folder: len(list_folder(folder).items))
    results["store"] = measure_store(largest, spec, repeats)
    results["reading"] = measure_reading(read_rows, 1280, repeats)
    return results


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
    return facts | {"share_of_ideal": rates.ratio("float32", "ideal")}


def verdict(results: dict[str, Any]) -> list[str]:
    """Return a line for each ratio, beside what it must reach."""
    lines = [
        f"{name}: float32 {f['float32_by_keras']:.2f} x keras, "
        f"{f['share_of_ideal']:.2f} of the ideal (at least 0.95)"
        for name, f in results["folders"].items()
    ]
    goals = {"float32": 2.5, "bfloat16": 4.0}
    lines += [
        f"{precision}: {results[f'{precision}_by_keras']:.2f} x keras, geometric mean (at least "
        f"{goal})"
        for precision, goal in goals.items()
        if f"{precision}_by_keras" in results
    ]
    store = results["store"]
    lines += [
        f"second run {store['second_run_seconds']:.2f} s (at most 5)",
        f"store writing {store['write_share']:.1%} of the wall time (at most 5 %)",
        f"--help {store['help_seconds']:.2f} s (at most 0.5)",
    ]
    lines += [
        f"reading {suffix}: {f['times_np_load']:.2f} x np.load (at least 0.5), with the check "
        f"{f['with_check_gb_per_second']:.2f} GB/s (at least 1.2)"
        for suffix, f in results["reading"].items()
    ]
    return lines


def show(results: dict[str, Any]) -> None:
    """Print the verdict."""
    for line in verdict(results):
        print(line, file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    mobilenet = BackboneSpec(weights=str((options.shared / WEIGHTS).resolve()))
    photographs = [options.shared / "data" / name for name in FOLDERS_OF_PHOTOS]
    measured = main(photographs, mobilenet, repeats=options.repeats)
    show(measured)
    if options.json:
        print(json.dumps(measured))
