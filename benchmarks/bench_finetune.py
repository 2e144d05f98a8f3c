"""Fine-tuning: suffix against full, against a plain Keras script, and what it is worth.

    python -m benchmarks.bench_finetune --shared ../shared [--only parity speed plain worth]

Data: photographs of ../shared (beans_256px; worth: cats_dogs_200px too), MobileNetV2 0.35 at 224
pixels with ImageNet's weights, batches of 32, stores and heads made on the spot.

- parity  loss of each of 20 steps, suffix against full mode, same seed and order, at the default
          rate: Adam's first steps go by the signs of gradients, so at higher rates two runs drift
          apart by more than float16 does, also where activations are float32
- speed   seconds per epoch in both modes, cut at block_15_add and block_11_add; what the planner
          had predicted; and the total with extraction, epoch by epoch
- plain   full mode with augmentation, beside the script of the guides (`plain_finetune.py`)
- worth   validation accuracy of the head and of the written model, over seeds

Epoch times are medians of three, of which the first includes tracing. Validation is not in them.
Disks are warm. GPUs are not measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing import machine

CUTS = {"from:block_16": "block_15_add", "from:block_12": "block_11_add"}
GOALS = {"block_15_add": 5.0, "block_11_add": 1.8}
STEPS = 20
PARITY = 1e-3
WITHIN = 0.25
FIRST_OF_BLOCK_12 = 108


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


def measure_speed(store: Path, cuts: dict[str, str], epochs: int = 3) -> list[dict[str, Any]]:
    """Return, for each cut, predicted and measured speed-up, and totals with extraction."""
    import finetune
    from finetune.suffix import boundary_store

    rows = []
    for unfreeze, cut in cuts.items():
        planned = finetune.plan(store, unfreeze=unfreeze)
        predicted = next(facts.speedup for facts in planned.cuts if facts.name == cut)
        found = {}
        for mode in ("full", "suffix"):
            shutil.rmtree(boundary_store(store), ignore_errors=True)
            out = store.with_name(f"{mode}.tuned")
            found[mode] = finetune.run(store, out=out, unfreeze=unfreeze, mode=mode, epochs=epochs)
        full, suffix = found["full"].epoch_seconds, found["suffix"].epoch_seconds
        rows.append(
            {
                "cut": cut,
                "full_epoch": full,
                "suffix_epoch": suffix,
                "extraction": found["suffix"].extraction_seconds,
                "speedup": full / suffix,
                "predicted": predicted,
                "goal": GOALS.get(cut),
            }
        )
    return rows


def measure_plain(store: Path, photos: Path, home: Path, epochs: int = 3) -> dict[str, Any]:
    """Return seconds per epoch of the guides' script and of full mode, both augmenting."""
    import finetune

    script = Path(__file__).with_name("plain_finetune.py")
    words = [photos, "--from", FIRST_OF_BLOCK_12, "--epochs", epochs, "--augment"]
    done = subprocess.run(
        [sys.executable, str(script), *map(str, words)],
        env={**os.environ, "KERAS_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    plain = statistics.median(json.loads(done.stdout.splitlines()[-1])["epoch_seconds"])
    ours = finetune.run(
        store,
        out=store.with_name("plain.tuned"),
        unfreeze=f"from:{FIRST_OF_BLOCK_12}",
        mode="full",
        augment="flip,rotation=0.1",
        epochs=epochs,
    )
    return {"plain_epoch": plain, "full_epoch": ours.epoch_seconds}


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
            f"parity over {parity['steps']} steps: {parity['relative']:.1e} relative (at most "
            f"{parity['goal']:.0e})"
        )
    for row in facts.get("speed", []):
        error = row["predicted"] / row["speedup"] - 1 if row["predicted"] else float("nan")
        two = row["extraction"] + 2 * row["suffix_epoch"]
        lines.append(
            f"{row['cut']}: {row['full_epoch']:.2f} s and {row['suffix_epoch']:.2f} s per epoch, "
            f"{row['speedup']:.1f} x (at least {row['goal']}); predicted {row['predicted']:.1f} x "
            f"({error:+.0%}, within {WITHIN:.0%}); two epochs with extraction {two:.1f} s, in full "
            f"mode {2 * row['full_epoch']:.1f} s"
        )
    if plain := facts.get("plain"):
        lines.append(
            f"augmenting: {plain['full_epoch']:.2f} s per epoch in full mode, "
            f"{plain['plain_epoch']:.2f} s in the plain script"
        )
    for row in facts.get("worth", []):
        tests = "" if row["test"] is None else f"; test {row['head_test']:.4f} to {row['test']:.4f}"
        lines.append(
            f"{row['store']} seed {row['seed']}: validation {row['head_validation']:.4f} to "
            f"{row['validation']:.4f}{tests} ({row['kept']})"
        )
    return lines


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--folder", type=Path, help="keeps stores and heads for the next time")
    parts = ["parity", "speed", "plain", "worth"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    shared = options.shared.resolve()
    os.environ.setdefault("KERAS_HOME", str(shared / "keras_home"))
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        facts = _measure(shared, options.folder or Path(scratch), options.only)
    print(json.dumps({"machine": machine(), **facts}))
    for line in verdict(facts):
        print(line, file=sys.stderr)


def _measure(shared: Path, folder: Path, parts: Sequence[str]) -> dict[str, Any]:
    photos = shared / "data" / "beans_256px"
    store = prepare(photos, folder, arguments={"alpha": 0.35})
    facts: dict[str, Any] = {}
    if "parity" in parts:
        facts["parity"] = measure_parity(store, "from:block_16")
    if "speed" in parts:
        facts["speed"] = measure_speed(store, CUTS)
    if "plain" in parts:
        facts["plain"] = measure_plain(store, photos, shared / "keras_home")
    if "worth" in parts:
        cats = prepare(shared / "data" / "cats_dogs_200px", folder, arguments={"alpha": 0.35})
        facts["worth"] = measure_worth(store, "from:block_12", (0, 1, 2), 6, 1e-4)
        facts["worth"] += measure_worth(cats, "from:block_16", (0,), 4, 1e-4)
    return facts


if __name__ == "__main__":
    main()
