"""The mistake of dividing pixels by 255 before a backbone that scales them itself: cost and catch.

    python -m benchmarks.wrong_scale FILE.keras CLASS SIZE ARGUMENTS

writes a backbone with the mistake inside, as people save them. `measure` trains on the mistake in
the graph, which says nothing but a low accuracy at the end, and gives that file to `extract run`,
which has to refuse it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.processes import BenchmarkError
from benchmarks.ways import Setup, plain_words
from extract.backbones import entry


def measure(setup: Setup) -> dict[str, Any]:
    """Return what the mistake costs in the graph, and how it is caught by `extract run`."""
    done = processes.run([*plain_words(setup), "--wrong-scale", "--then-epochs", "0"])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "wrong.keras"
        words = (entry(setup.backbone).class_name, setup.image_size)
        given = None if setup.weights == "random" else setup.weights
        arguments = json.dumps({**setup.arguments, "weights": given})
        processes.run(["-m", "benchmarks.wrong_scale", file, *words, arguments])
        start = time.perf_counter()
        message = _refusal(setup, file)
        seconds = time.perf_counter() - start
    return {
        "seconds": done.seconds,
        "validation": done.facts["val_accuracy"],
        "caught": message is not None,
        "message": message or "",
        "caught_after_seconds": seconds,
    }


def _refusal(setup: Setup, file: Path) -> str | None:
    """Return the line with which `extract run` refuses the file; None where it takes it."""
    store = file.with_name("wrong.features")
    words = ("extract", "run", setup.data, "--store", store, "--backbone", file)
    try:
        processes.run_command(*words, "--image-size", setup.image_size)
    except BenchmarkError as error:
        line = str(error).partition(": ")[2]
        return line.replace(f"{file.parent}/", "")
    return None


def save(file: str, name: str, size: int, arguments: dict[str, Any]) -> None:
    """Write a backbone that divides pixels by 255, and then scales them as it was trained."""
    import keras

    build = getattr(keras.applications, name)
    base = build(input_shape=(size, size, 3), include_top=False, **arguments)
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = sys.modules[build.__module__].preprocess_input(x)
    keras.Model(inputs, base(x)).save(file)
    print("{}")


if __name__ == "__main__":
    save(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
