"""What exporting does in a child process: join, write, open again, run on the probes.

It takes Keras, an exporting backend and many seconds. A child has the layer names of a fresh
process, does not care which backend its parent uses, and nothing stays behind from it.

    SCRATCH/model.head/     the model
            probes.npz      0, 1, ...: (h, w, 3) uint8; raw_0, raw_1, ...: the files' bytes
            written/        what is exported appears here
            found.npz       features (n, d), joined (n, classes), exported (n, classes); bytes
                            (n, classes), NaN where refused, for SavedModel
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from extract.errors import HeadstartError
from heads import joining, saved_model
from heads.errors import ModelError
from heads.formats import FORMATS, Format
from heads.model import Model
from heads.model_folder import load

MODEL, PROBES, WRITTEN, FOUND = "model.head", "probes.npz", "written", "found.npz"


def convert(scratch: Path, name: str, format: Format, weights: str | None) -> None:
    """Fill `scratch/written` and `scratch/found.npz`.

    Raises:
        HeadError, StaleModelError, BackboneError: As `joining.join`.
        ModelError: If the model cannot be converted, or what was written cannot be opened.
    """
    model = load(scratch / MODEL)
    with np.load(scratch / PROBES) as stored:
        count = len(stored.files) // 2
        images = [stored[str(i)] for i in range(count)]
        files = [stored[f"raw_{i}"].tobytes() for i in range(count)]
    joined = joining.join(model, weights=weights)
    features, probabilities = _run_joined(joined, images)
    path = scratch / WRITTEN / name
    found = {
        "features": features,
        "joined": probabilities,
        "exported": _write_and_run(joined, path, model, format, images),
    }
    if format.name == "saved_model":
        found["bytes"] = _run_bytes(path, files, len(model.classes))
    np.savez(scratch / FOUND, **found)  # type: ignore[arg-type]


def _run_joined(joined: Any, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    import keras

    row = joined.get_layer(joining.FEATURES).output
    both = keras.Model(joined.input, [row, joined.output])
    pairs = [both.predict_on_batch(image[None]) for image in images]
    features, probabilities = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return features, probabilities


def _write_and_run(
    joined: Any, path: Path, model: Model, format: Format, images: Sequence[np.ndarray]
) -> np.ndarray:
    path.parent.mkdir()
    try:
        format.write(joined, path, model)
        run = format.open(path)
        return np.concatenate([run(image[None]) for image in images])
    except Exception as error:  # converters and runtimes raise whatever they like
        text = " ".join(f"{type(error).__name__} {error}".split())[:300]
        raise ModelError(
            f"This model cannot be had as {format.suffix}: {text}. Give another --format"
        ) from error


def _run_bytes(path: Path, files: Sequence[bytes], classes: int) -> np.ndarray:
    run = saved_model.open_bytes(path)
    refused = np.full((1, classes), np.nan, np.float32)
    rows = [run(data) for data in files]
    return np.concatenate([refused if row is None else row for row in rows])


def main() -> int:
    """Serve `exporting`: the scratch folder in argv, the rest as JSON on stdin."""
    try:
        asked = json.load(sys.stdin)
        convert(Path(sys.argv[1]), asked["name"], FORMATS[asked["format"]], asked["weights"])
    except HeadstartError as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
