"""Predict offline: this folder needs openvino, numpy, pillow, simplejpeg and OpenCV, no more.

    python predict.py photos [--out predictions.csv] [--top-k 3] [--reject 0.99]

The folder beside this file holds the model (`model.json`, `weights.npz`), its backbone
(`graph.xml`, `graph.bin`) and the few modules of headstart that decode pictures and score
features. `python -m heads pack` made it; every file is checked by its SHA-256 before it is used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "code"))

MANIFEST = "pack.json"


def checked(name: str, files: dict[str, list[Any]]) -> Path:
    """Return the path of a file of this folder, or end with one line if it was altered."""
    path = HERE / name
    data = path.read_bytes() if path.is_file() else b""
    if [len(data), hashlib.sha256(data).hexdigest()] != files[name]:
        raise SystemExit(f"Error: {path} is missing or was altered. Pack the model anew")
    return path


def load() -> tuple[Any, Any, dict[str, Any]]:
    """Return (predictor, pixel policy, what `model.json` says) of this folder."""
    manifest = json.loads((HERE / MANIFEST).read_text(encoding="utf-8"))
    paths = {name: checked(name, manifest["files"]) for name in manifest["files"]}

    from extract.engines.openvino import OpenVINOEngine
    from extract.recipe import PixelPolicy
    from heads.inference import Predictor
    from heads.novelty import Novelty
    from heads.scoring import SCORERS

    facts = json.loads(paths["model.json"].read_text(encoding="utf-8"))
    with np.load(paths["weights.npz"], allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    scorer = SCORERS[facts["scorer"]["kind"]].from_arrays(arrays, facts["scorer"])
    predictor = Predictor(
        engine=OpenVINOEngine(paths["graph.xml"], facts["recipe"]["precision"]),
        order=tuple(manifest["order"]),
        dtypes=tuple(c["column"]["dtype"] for c in facts["columns"]),
        scorer=scorer,
        temperature=facts["temperature"],
        novelty=Novelty.from_arrays(arrays),
        names=len(facts["classes"]),
        task=facts.get("task", "classification"),
    )
    return predictor, PixelPolicy(**facts["recipe"]["pixels"]), facts


def find(images: Path) -> list[Path]:
    """Return the files to label, sorted; what systems leave behind is passed over."""
    if images.is_file():
        return [images]
    if not images.is_dir():
        raise SystemExit(f"Error: {images} does not exist. Give a folder of images, or one image")
    return sorted(p for p in images.rglob("*") if p.is_file() and not p.name.startswith("."))


def predictions(images: Path, top_k: int, reject: float | None) -> Iterator[Any]:
    """Yield one `heads.predictions.Prediction` per file."""
    predictor, policy, facts = load()

    from extract import pixels
    from extract.errors import ImageError
    from heads.predictions import Prediction, judged

    root = images if images.is_dir() else images.parent
    for path in find(images):
        name = path.relative_to(root).as_posix()
        try:
            array, warning = pixels.load(path.read_bytes(), policy)
        except ImageError as error:
            yield Prediction(name, "", None, None, "undecodable", reason=str(error))
        except OSError as error:
            yield Prediction(name, "", None, None, "unreadable", reason=str(error))
        else:
            status = "good" if warning is None else "warned"
            yield judged(
                predictor.task,
                name,
                status,
                predictor(array[None]),
                0,
                facts["classes"],
                thresholds=facts.get("thresholds", ()),
                top_k=top_k,
                reject=reject,
            )


def main() -> None:
    """Run the command that the top of this file shows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, help="a folder of images, or one image")
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"))
    parser.add_argument("--top-k", type=int, default=3, help="likeliest classes per image")
    parser.add_argument(
        "--reject", type=float, help="novelty, 0 to 1, above which an image gets no label"
    )
    options = parser.parse_args()
    facts = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    names, task = facts["classes"], facts.get("task", "classification")
    top_k = max(1, min(options.top_k, len(names)))

    rows = list(predictions(options.images, top_k, options.reject))

    from heads.predictions import is_replaceable, write_table  # looked at by now

    if not is_replaceable(options.out):
        parser.error(f"{options.out} is something else than predictions. Give another --out")
    scratch = options.out.with_name(options.out.name + ".partial")
    with open(scratch, "w", encoding="utf-8", newline="") as file:
        write_table(file, iter(rows), task, names, top_k=top_k)
    os.replace(scratch, options.out)
    bad = sum(row.status in ("undecodable", "unreadable") for row in rows)
    print(f"{options.out}: {len(rows)} images, {bad} of them bad")


if __name__ == "__main__":
    main()
