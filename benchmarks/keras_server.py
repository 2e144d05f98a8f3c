"""The plain Keras script, kept alive in a process of its own so that it can be interleaved.

Reads requests on stdin, one JSON object a line, and answers with one a line:

    {"images": folder, "warm": true}  →  {"seconds": wall time of `predict`, "images": count}

What is timed is exactly `model.predict(image_dataset_from_directory(...).prefetch(2))`; building
the model and the first, tracing call are not. `KerasServer` is the other end, in the process of the
benchmark.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from extract.backbones import BackboneSpec


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


def main() -> None:
    """Build the model that argv describes, then serve."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    spec = json.loads(sys.argv[1])
    import keras

    from extract import keras_graph

    built = keras_graph.build(BackboneSpec(**spec["backbone"]), spec["image_size"])
    model = keras_graph.feature_model(built, keras_graph.resolve(built, []))
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        dataset = keras.utils.image_dataset_from_directory(
            request["images"],
            labels=None,
            shuffle=False,
            image_size=(spec["image_size"], spec["image_size"]),
            verbose=False,
        )
        start = time.perf_counter()
        features = model.predict(dataset.prefetch(2), verbose=0)
        seconds = time.perf_counter() - start
        count = len(features[0] if isinstance(features, list) else features)
        print(json.dumps({"seconds": seconds, "images": count}), flush=True)


if __name__ == "__main__":
    main()
