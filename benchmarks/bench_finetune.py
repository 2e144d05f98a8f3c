"""Fine-tuning: suffix against full, against a plain Keras script, and what it is worth.

    python -m benchmarks.bench_finetune --shared ../shared [--only parity cuts] --out results
    python -m benchmarks.bench_finetune --tiny

Data: photographs of ../shared (beans_256px; worth: cats_dogs_200px too; plain: hymenoptera too,
four times as wide and high), MobileNetV2 0.35 at 224 pixels with ImageNet's weights, batches of 32,
stores and heads made on the spot.

- parity  loss of each of 20 steps, suffix against full mode, same seed and order, at the default
          rate: Adam's first steps go by the signs of gradients, so at higher rates two runs drift
          apart by more than float16 does, also where activations are float32
- cuts    a step in both modes at every cut of the boundary table, beside the planner's prediction
- speed   seconds per epoch in both modes, by turns, cut at block_15_add and block_11_add, beside
          the prediction; and the total of two epochs: suffix mode extracts, then decodes as well,
          since its result is judged from pixels on; full mode decodes
- plain   full mode with augmentation, beside the script of the guides (`plain_finetune.py`), on
          small photographs, and on large ones, where decoding counts
- worth   validation accuracy of the head and of the written model, over seeds

Epochs of "speed" are medians of seven of each mode, by turns, after one that traces; the range is
that of the turns. Those of "plain" are medians of two in each of two runs, by turns. The script of
the guides moves the statistics of BatchNormalization on Keras 3, which ours holds still: so it runs
with these layers frozen as well. Validation is in no epoch. Disks are warm. GPUs are not measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.command_line import in_one_line, photographs_of
from benchmarks.finetune_cuts import measure_cuts
from benchmarks.finetune_epochs import measure_speed
from benchmarks.finetune_plain import enlarge, measure_plain
from benchmarks.goals import at_least, at_most
from benchmarks.tables import told
from benchmarks.timing import scratch
from benchmarks.tiny import paint

CUTS = {"from:block_16": "block_15_add", "from:block_12": "block_11_add"}
STEPS = 20
PARITY = 1e-3
WITHIN = 0.25
TIMES = 4
"""Width of the large photographs over that of hymenoptera, which are 500 pixels wide."""
PARTS = ("parity", "cuts", "speed", "plain", "worth")


def prepare(photos: Path, folder: Path, **arguments: Any) -> Path:
    """Extract features and train a head; returns the store."""
    import extract
    import heads

    store = folder / f"{photos.name}.features"
    if not store.is_dir():
        extract.run(photos, store, **arguments)
        heads.fit(store)
    return store


def measure_parity(store: Path, unfreeze: str, steps: int = STEPS) -> dict[str, Any]:
    """Return how far the loss per step of suffix mode is from that of full mode."""
    import finetune

    class Enough(Exception):
        pass

    losses: dict[str, list[float]] = {}
    for mode in ("full", "suffix"):
        seen: list[float] = losses.setdefault(mode, [])

        def hear(loss: float, seen: list[float] = seen) -> None:
            seen.append(loss)
            if len(seen) == steps:
                raise Enough

        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
            finetune.run(
                store,
                out=Path(folder, "x.tuned"),
                unfreeze=unfreeze,
                mode=mode,
                on_step=hear,
                epochs=steps,
            )
    apart = max(abs(a - b) / abs(a) for a, b in zip(losses["full"], losses["suffix"], strict=True))
    return {"steps": len(losses["full"]), "relative": apart, "goal": PARITY}


def measure_worth(
    store: Path, unfreeze: str, seeds: Sequence[int], epochs: int, rate: float
) -> list[dict[str, Any]]:
    """Return accuracies of the head and of what was written, seed by seed."""
    import finetune
    import heads

    rows = []
    for seed in seeds:
        found = finetune.run(
            store,
            out=store.with_name(f"worth{seed}.tuned"),
            unfreeze=unfreeze,
            mode="suffix",
            epochs=epochs,
            learning_rate=rate,
            seed=seed,
            wise_ft=True,
        )
        rows.append(
            {
                "store": store.name,
                "seed": seed,
                "kept": found.kept,
                "head_validation": found.head_validation_accuracy,
                "validation": found.validation_accuracy,
                "head_test": _test(heads, found.head),
                "test": _test(heads, found.model),
            }
        )
    return rows


def _test(heads: Any, model: str) -> float | None:
    evaluation = heads.evaluate(model)
    return evaluation.report.accuracy if evaluation.split == "test" else None


def verdict(facts: dict[str, Any]) -> list[str]:
    """Return a line for each figure, beside what it must reach."""
    lines = []
    if parity := facts.get("parity"):
        lines.append(
            f"parity over {parity['steps']} steps: {parity['relative']:.1e} relative "
            f"{at_most(parity['relative'], parity['goal'], '.0e')}"
        )
    for row in facts.get("cuts", []):
        lines.append(
            f"{row['cut']}: {1000 * row['full_step']:.0f} ms and {1000 * row['suffix_step']:.0f} "
            f"ms per step, {row['speedup']:.1f} x{_range(row)}; {_predicted(row)}"
        )
    for row in facts.get("speed", []):
        full, suffix = two_epochs(row)
        lines.append(
            f"{row['cut']}: {row['full_epoch']:.2f} s and {row['suffix_epoch']:.2f} s per epoch, "
            f"{row['speedup']:.1f} x{_range(row)} {at_least(row['speedup'], row['goal'] or 0)}; "
            f"{_predicted(row)}; two epochs with extraction and decoding {suffix:.1f} s, in full "
            f"mode {full:.1f} s{'' if suffix < full else ' (longer: MISSED)'}"
        )
    lines += [_beside_the_script(row) for row in facts.get("plain", [])]
    for row in facts.get("worth", []):
        tests = "" if row["test"] is None else f"; test {row['head_test']:.4f} to {row['test']:.4f}"
        lines.append(
            f"{row['store']} seed {row['seed']}: validation {row['head_validation']:.4f} to "
            f"{row['validation']:.4f}{tests} ({row['kept']})"
            + ("" if row["validation"] >= row["head_validation"] else " (never worse: MISSED)")
        )
    return lines


def _beside_the_script(row: dict[str, Any]) -> str:
    """Return the epochs of both; a record of before there were rounds has one number each."""
    full, plain, frozen = (
        told(row.get(f"{way}_epochs") or [row[f"{way}_epoch"]]) if f"{way}_epoch" in row else ""
        for way in ("full", "plain", "frozen")
    )
    late = "" if row["full_epoch"] <= row["plain_epoch"] else " (at most the script's: MISSED)"
    return (
        f"{row['photos']}, augmenting: {full} per epoch in full mode (after "
        f"{row['full_decoding']:.1f} s of decoding, once), {plain} in the plain script"
        + (f", {frozen} with its BatchNormalization frozen" if frozen else "")
        + late
    )


def _range(row: dict[str, Any]) -> str:
    """Return the range of the turns, where a record has one."""
    low, high = row.get("range") or (None, None)
    return "" if low is None else f" ({low:.1f} to {high:.1f} by turns)"


def _predicted(row: dict[str, Any]) -> str:
    if row["predicted"] is None:
        return "not predicted: the probe had no time left"
    error = row["predicted"] / row["speedup"] - 1
    late = "" if abs(error) <= WITHIN else ": MISSED"
    return f"predicted {row['predicted']:.1f} x ({error:+.0%}, within {WITHIN:.0%}{late})"


def two_epochs(row: dict[str, Any]) -> tuple[float, float]:
    """Return the seconds of two epochs with all that comes before and after: full, suffix."""
    full = row["full_decoding"] + 2 * row["full_epoch"]
    suffix = row["extraction"] + row["suffix_decoding"] + 2 * row["suffix_epoch"]
    return full, suffix


def missed(facts: dict[str, Any]) -> list[str]:
    """Return what did not reach its goal, in a word or two each."""
    goals = {
        "parity": [facts.get("parity", {}).get("relative", 0.0) <= PARITY],
        "prediction": [
            row["predicted"] is not None and abs(row["predicted"] / row["speedup"] - 1) <= WITHIN
            for row in [*facts.get("cuts", []), *facts.get("speed", [])]
        ],
        "speed": [row["speedup"] >= (row["goal"] or 0.0) for row in facts.get("speed", [])],
        "second epoch": [suffix < full for full, suffix in map(two_epochs, facts.get("speed", []))],
        "plain": [row["full_epoch"] <= row["plain_epoch"] for row in facts.get("plain", [])],
        "never worse": [
            row["validation"] >= row["head_validation"] for row in facts.get("worth", [])
        ],
    }
    return [name for name, reached in goals.items() if not all(reached)]


def main(words: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--folder", type=Path, help="keeps stores and heads for the next time")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, help="folder of the JSON; else it is printed")
    parser.add_argument("--tiny", action="store_true", help="on pictures made on the spot")
    options, before = parser.parse_args(words), results.load_average()
    shared = options.shared.resolve()
    with scratch() as folder:
        if options.tiny:
            facts = tiny(folder)
        else:
            os.environ.setdefault("KERAS_HOME", str(shared / "keras_home"))
            facts = _measure(shared, options.folder or folder, options.only)
    for line in verdict(facts):
        print(line, file=sys.stderr)
    print(f"Missed: {', '.join(missed(facts)) or 'nothing'}", file=sys.stderr)
    name = "-".join(["bench_finetune", *facts]) if len(facts) < len(PARTS) else "bench_finetune"
    name = "bench_finetune-tiny" if options.tiny else name
    results.deliver(options.out, name, facts, before)


def tiny(folder: Path) -> dict[str, Any]:
    """Measure every part on a few pictures made on the spot, with the backbone of the demo."""
    photos, top = paint(folder / "photos", {"train": 4, "validation": 4, "test": 2}), "from:conv4"
    store = prepare(photos, folder, backbone="digits")
    small = ("--random-weights", "--size", "32", "--from", "150")
    return {
        "parity": measure_parity(store, top, steps=2),
        "cuts": measure_cuts(store, steps=2, turns=1, batch_size=4),
        "speed": measure_speed(store, {top: "relu3"}, turns=1),
        "plain": [measure_plain(store, photos, 1, 1, unfreeze=top, words=small)],
        "worth": measure_worth(store, top, (0,), 1, 1e-4),
    }


def _measure(shared: Path, folder: Path, parts: Sequence[str]) -> dict[str, Any]:
    photos = photographs_of(shared, "beans_256px")
    store = prepare(photos, folder, arguments={"alpha": 0.35})
    facts: dict[str, Any] = {}
    if "parity" in parts:
        facts["parity"] = measure_parity(store, "from:block_16")
    if "cuts" in parts:
        facts["cuts"] = measure_cuts(store)
    if "speed" in parts:
        facts["speed"] = measure_speed(store, CUTS)
    if "plain" in parts:
        large = enlarge(photographs_of(shared, "hymenoptera"), folder, TIMES)
        pairs = ((photos, store), (large, prepare(large, folder, arguments={"alpha": 0.35})))
        facts["plain"] = [measure_plain(s, p) for p, s in pairs]
    if "worth" in parts:
        cats = prepare(photographs_of(shared, "cats_dogs_200px"), folder, arguments={"alpha": 0.35})
        facts["worth"] = measure_worth(store, "from:block_12", (0, 1, 2), 6, 1e-4)
        facts["worth"] += measure_worth(cats, "from:block_16", (0,), 4, 1e-4)
    return facts


if __name__ == "__main__":
    in_one_line(main)
