"""A model as one folder that predicts elsewhere, offline, without this package.

    DIR/
        predict.py       `heads/packed.py`: python DIR/predict.py photos
        pack.json        size and SHA-256 of what is below; which output is which column
        model.json, weights.npz, graph.xml, graph.bin
        code/            the modules of extract and heads that pictures and features pass through
        requirements.txt openvino, numpy, pillow, simplejpeg, opencv-python-headless: versions

The modules are those of this package, to the byte: a packed folder cannot decode or score
differently from what made it.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

from extract.progress import Reporter
from extract.store.files import sha256
from heads.errors import HeadError, ModelError
from heads.folder import publish_folder
from heads.model import Model
from heads.model_folder import RECORD, WEIGHTS, beside, load
from heads.packed import MANIFEST
from heads.predicting import prepare_backbone
from heads.scoring import SCORERS

PACKAGES = ("openvino", "numpy", "pillow", "simplejpeg", "opencv-python-headless")
"""All that a packed folder needs."""
MODULES = (
    "extract/__init__.py",
    "extract/csv_cells.py",
    "extract/errors.py",
    "extract/recipe.py",
    "extract/exif.py",
    "extract/image_limits.py",
    "extract/jpeg.py",
    "extract/pillow_formats.py",
    "extract/pixels.py",
    "extract/resize.py",
    "extract/engines/__init__.py",
    "extract/engines/engine.py",
    "extract/engines/openvino.py",
    "heads/__init__.py",
    "heads/inference.py",
    "heads/novelty.py",
    "heads/predictions.py",
    "heads/scoring.py",
)
"""Files of this package that a packed folder carries."""


def pack(
    model: Model | str | Path,
    out: str | Path | None = None,
    *,
    weights: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Write a folder that predicts with nothing but `PACKAGES`.

    Args:
        model: A model, or its folder.
        out: The folder; `photos.packed` beside `photos.head` by default. One that was packed
            before is replaced, whole.
        weights: Where the backbone's weights file is now, if it is not where it was.
        reporter: Hears progress.

    Returns:
        The folder.

    Raises:
        HeadError: If the head is an estimator that only scikit-learn can run.
        ModelError: If `out` is something else, or the disk refuses.
    """
    opened = model if isinstance(model, Model) else load(model)
    if opened.path is None:
        raise ModelError("The model has not been saved: heads.save(model, path) first")
    if opened.scorer.kind not in SCORERS:
        raise HeadError(
            f"{opened.estimator['name']} runs in scikit-learn only, and a packed folder has none. "
            f"Train another head: python -m heads fit {opened.store['path']}"
        )
    target = Path(out) if out is not None else beside(opened.path, ".packed")
    if target.exists() and not (target / MANIFEST).is_file():
        raise ModelError(f"{target} is something else than a packed model. Give another --out")
    prepared = prepare_backbone(opened, weights, reporter)
    place = {(c.operation, c.pooling): i for i, (c, _) in enumerate(prepared.columns)}
    files = _files(opened.path, prepared.folder)
    facts = {
        "files": {name: [len(data), sha256(data)] for name, data in files.items()},
        "order": [place[c.operation, c.pooling] for c in opened.columns],
    }
    files[MANIFEST] = (json.dumps(facts, indent=1) + "\n").encode()
    try:
        publish_folder(target, files)
    except OSError as error:
        raise ModelError(
            f"{target} cannot be written: {error.strerror or error}. Give another --out"
        ) from error
    return target


def _files(model: Path, graph: Path) -> dict[str, bytes]:
    """Return every file of the folder but its manifest, by name."""
    source = Path(__file__).resolve().parent.parent
    files = {name: (model / name).read_bytes() for name in (RECORD, WEIGHTS)}
    files |= {name: (graph / name).read_bytes() for name in ("graph.xml", "graph.bin")}
    files |= {f"code/{name}": (source / name).read_bytes() for name in MODULES}
    files["predict.py"] = (source / "heads" / "packed.py").read_bytes()
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    files["requirements.txt"] = "".join(f"{n}=={v}\n" for n, v in versions.items()).encode()
    return files
