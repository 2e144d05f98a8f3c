"""What a store is, in numbers: for `info` and for programs."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from extract.splits import SPLITS
from extract.store.commits import HAS_FEATURES
from extract.store.reader import Snapshot


def information(snapshot: Snapshot) -> dict[str, Any]:
    """Return recipe, columns, items per split and class, size and digests as JSON values."""
    items = snapshot.items
    splits, labels = items["split"].to_pylist(), items["label"].to_pylist()
    pairs = Counter(zip(labels, splits, strict=True))
    present = [split for split in SPLITS if split in set(splits)]
    bad = sum(status not in HAS_FEATURES for status in items["status"].to_pylist())
    return {
        "store": snapshot.path,
        "snapshot": snapshot.number,
        "part": None if snapshot.record.part is None else str(snapshot.record.part),
        "backbone": dict(snapshot.backbone),
        "recipe": snapshot.recipe.to_json(),
        "recipe_key": snapshot.recipe.key,
        "signature": dict(snapshot.signature),
        "distance_to_float32": snapshot.distance,
        "columns": [
            {
                "name": column.name,
                "dtype": column.dtype,
                "augment": column.augment,
                "row_shape": list(snapshot.row_shape(column.name)),
                "kib": _row_bytes(snapshot, column.name, column.dtype) / 1024,
            }
            for column in snapshot.columns
        ],
        "items": items.num_rows,
        "bad": bad,
        "items_per_split": {split: splits.count(split) for split in present},
        "items_per_class": {
            name: {split: pairs[name, split] for split in present} for name in snapshot.classes
        },
        "bytes": sum(size for size, _ in snapshot.record.files.values()),
        "items_digest": snapshot.items_digest,
        "root_digest": snapshot.root_digest,
    }


def _row_bytes(snapshot: Snapshot, column: str, dtype: str) -> int:
    return math.prod(snapshot.row_shape(column)) * np.dtype(dtype).itemsize
