"""Reading and checking stores, beside `np.save`/`np.load` and plain zarr-python.

    python -m benchmarks.bench_store --rows 10000 40000 --repeats 5 --out results

Data: rows of noise, (1280,) float32, in a store of zarr shards, in one of HDF5, and in one .npy
file; (7, 7, 1280) for maps. A round goes every way once; ratios are medians over the rounds.

- write        `np.save`, durably; and writing a store, which also hashes, decodes back and seals
- sequential   `np.load`; `Snapshot.take` of all rows in order, as a process that has checked the
               files before; "first" is the first time, when every byte is hashed
- shuffled     an epoch in batches of 256 in a drawn order: `np.load` and indexing; `batches`
               (which gives items and labels too); `take`, rows alone
- random       single batches of 256 rows drawn at random: `take`, and zarr-python's `oindex` on the
               array that `extract export` makes of the same shards by hard links
- verify       `extract.verify` on one thread, in bytes over seconds of processor time, so that a
               busy machine matters little; SHA-256 alone beside it, which every byte goes through

The page cache is warm: this compares formats, not disks.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import extract
from benchmarks import results, synthetic
from benchmarks.command_line import in_one_line, positive
from benchmarks.goals import at_least
from benchmarks.tables import Grid
from benchmarks.timing import scratch, seconds_of
from extract.store.reader import Snapshot

WIDTH, BATCH = 1280, 256
HASHED = 64 << 20
"""Bytes of which SHA-256 alone is timed; a shard has up to as many."""
MAP = (7, 7, 1280)
FORMATS = ("zarr", "hdf5")
GOALS = {"verify": 1.0, "random": 5.0, "shuffled": 0.5}
Times = dict[str, list[float]]


def measure(
    rows: Sequence[int] = (10_000, 40_000), *, maps: int = 1000, repeats: int = 5, batches: int = 20
) -> dict[str, Any]:
    """Measure each size; return JSON values."""
    sizes = {str(count): measure_size(count, repeats, batches) for count in rows}
    return {
        "width": WIDTH,
        "batch": BATCH,
        "repeats": repeats,
        "sizes": sizes,
        "verify": {
            "pooled rows": verify_rate(max(rows), (WIDTH,), repeats),
            "maps": verify_rate(maps, MAP, repeats),
        },
    }


def measure_size(rows: int, repeats: int, batches: int) -> dict[str, Any]:
    """Go every way with a number of rows; return medians in seconds, and ratios."""
    with scratch() as folder:
        times: Times = {}
        for form in FORMATS:
            store = folder / f"{form}.features"
            times[f"write {form}"] = [
                seconds_of(lambda s=store, f=form: synthetic.fill(s, rows, (WIDTH,), f))  # type: ignore[misc]
            ]
        plain = extract.open_store(folder / "zarr.features").take(np.arange(rows))
        times["write np.save"] = [seconds_of(lambda: _save(folder / "plain.npy", plain))]
        extract.export(folder / "zarr.features", folder / "plain.zarr")
        rng = np.random.default_rng(0)
        for _ in range(repeats):
            _round(folder, rows, batches, rng, times)
    return {
        "bytes": rows * WIDTH * 4,
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "ratios": _ratios(times),
    }


def _save(path: Path, features: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, features)
        file.flush()
        os.fsync(file.fileno())


def _round(folder: Path, rows: int, batches: int, rng: np.random.Generator, times: Times) -> None:
    npy, every = folder / "plain.npy", np.arange(rows)
    order = rng.permutation(rows)
    drawn = [rng.choice(rows, min(BATCH, rows), replace=False) for _ in range(batches)]

    def note(name: str, work: Callable[[], object]) -> None:
        times.setdefault(name, []).append(seconds_of(work))

    np.load(npy)  # the first memory of this size costs more than what is read into it
    note("sequential np.load", lambda: np.load(npy))
    note("shuffled np.load", lambda: _index(np.load(npy), order))
    note("random zarr-python", lambda: _by_zarr(folder / "plain.zarr", drawn))
    for form in FORMATS:
        snapshot = extract.open_store(folder / f"{form}.features")
        np.load(npy)
        note(f"first {form}", lambda s=snapshot: s.take(every))  # type: ignore[misc]
        note(f"sequential {form}", lambda s=snapshot: s.take(every))  # type: ignore[misc]
        note(f"shuffled {form}", lambda s=snapshot: _batches(s))  # type: ignore[misc]
        note(f"shuffled {form}, rows alone", lambda s=snapshot: _take(s, order))  # type: ignore[misc]
        note(f"random {form}", lambda s=snapshot: [s.take(some) for some in drawn])  # type: ignore[misc]


def _steps(order: np.ndarray) -> list[np.ndarray]:
    return np.split(order, range(BATCH, len(order), BATCH))


def _index(features: np.ndarray, order: np.ndarray) -> None:
    for some in _steps(order):
        features[some]


def _take(snapshot: Snapshot, order: np.ndarray) -> None:
    for some in _steps(order):
        snapshot.take(some)


def _batches(snapshot: Snapshot) -> None:
    for _ in snapshot.batches(None, BATCH):
        pass


def _by_zarr(place: Path, drawn: Sequence[np.ndarray]) -> None:
    """Read batches as zarr-python's documentation does it."""
    import zarr

    group = zarr.open_group(place, mode="r")
    array = next(array for _, array in group.arrays() if array.shape[1:] == (WIDTH,))
    for some in drawn:
        array.oindex[np.sort(some)]  # sorted, which is the faster way there


def _ratios(times: Times) -> dict[str, float]:
    """Return how often as fast as the plain way each of ours is, round by round."""
    plain = {"sequential": "np.load", "shuffled": "np.load", "random": "zarr-python"}
    return {
        name: statistics.median(
            a / b for a, b in zip(times[f"{kind} {plain[kind]}"], values, strict=True)
        )
        for name, values in times.items()
        if (kind := name.split()[0]) in plain and not name.endswith(plain[kind])
    }


def verify_rate(rows: int, row_shape: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Return GB per second of processor time of a full verification, median, least and most."""
    with scratch() as folder:
        store = folder / "store.features"
        synthetic.fill(store, rows, row_shape)
        rates, wall, alone = [], [], []
        block = np.random.default_rng(0).bytes(HASHED)
        with mock.patch("extract.store.verify.num_cores", return_value=1):
            extract.verify(store)  # pages are warm afterwards
            for _ in range(repeats):
                begun, start = time.process_time(), time.perf_counter()
                found = extract.verify(store)
                rates.append(found.bytes / (time.process_time() - begun) / 1e9)
                wall.append(found.bytes / (time.perf_counter() - start) / 1e9)
                begun = time.process_time()
                hashlib.sha256(block).digest()
                alone.append(HASHED / (time.process_time() - begun) / 1e9)
    return {
        "rows": rows,
        "row_shape": list(row_shape),
        "bytes": found.bytes,
        "gb_per_second": statistics.median(rates),
        "range": [min(rates), max(rates)],
        "gb_per_second_of_wall_time": statistics.median(wall),
        "sha256_gb_per_second": statistics.median(alone),
    }


def tables(facts: Mapping[str, Any]) -> list[Grid]:
    """Return seconds by size, ratios by size, and rates of verification."""
    sizes = facts["sizes"]
    named = [
        f"{int(count):,} rows, {found['bytes'] / 1e6:,.0f} MB" for count, found in sizes.items()
    ]
    seconds = Grid(f"Stores of ({facts['width']},) float32: seconds", ("", *named))
    ratios = Grid("Times as fast as the plain way (np.load; random: zarr-python)", ("", *named))
    first = next(iter(sizes.values()))
    for grid, kind in ((seconds, "seconds"), (ratios, "ratios")):
        for name in first[kind]:
            grid.add(name, *(f"{found[kind][name]:.3f}" for found in sizes.values()))
    rates = Grid(
        "verify --full, one thread, GB per second of processor time",
        ("", "MB", "median", "least", "most", "of wall time", "SHA-256 alone"),
    )
    for name, found in facts["verify"].items():
        numbers = [found["gb_per_second"], *found["range"], found["gb_per_second_of_wall_time"]]
        numbers.append(found["sha256_gb_per_second"])
        cells = [f"{number:.2f}" for number in numbers]
        rates.add(f"{found['rows']:,} {name}", f"{found['bytes'] / 1e6:,.0f}", *cells)
    return [seconds, ratios, rates]


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each figure, beside what it must reach."""
    lines = [
        f"verify --full of {name}: {found['gb_per_second']:.2f} GB/s of one core "
        f"{at_least(found['gb_per_second'], GOALS['verify'])}; SHA-256 alone "
        f"{found['sha256_gb_per_second']:.2f}"
        for name, found in facts["verify"].items()
    ]
    for count, found in facts["sizes"].items():
        for form in FORMATS:
            ratios = found["ratios"]
            random, shuffled = ratios[f"random {form}"], ratios[f"shuffled {form}"]
            lines.append(
                f"{int(count):,} rows, {form}: random batches of {facts['batch']} "
                f"{random:.1f} x plain zarr-python {at_least(random, GOALS['random'])}; shuffled "
                f"epochs {shuffled:.2f} x np.load with items and labels "
                f"{at_least(shuffled, GOALS['shuffled'])}, "
                f"{ratios[f'shuffled {form}, rows alone']:.2f} x rows alone"
            )
    return lines


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=positive, nargs="+", default=[10_000, 40_000])
    parser.add_argument("--maps", type=positive, default=1000, help="maps to verify")
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--out", type=Path, help="folder of the JSON")
    parser.add_argument("--tiny", action="store_true", help="a few rows, once")
    options, before = parser.parse_args(words), results.load_average()
    if options.tiny:
        options.rows, options.maps, options.repeats = [600], 3, 1
    facts = measure(options.rows, maps=options.maps, repeats=options.repeats)
    for grid in tables(facts):
        grid.show()
    for line in verdict(facts):
        print(line, file=sys.stderr)
    name = "bench_store-tiny" if options.tiny else "bench_store"
    results.deliver(options.out, name, facts, before)


if __name__ == "__main__":
    in_one_line(main)
