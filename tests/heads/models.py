"""Models made by hand for tests: a linear head on features of a store, no training."""

import numpy as np

from heads.data import open_source
from heads.model import Model
from heads.novelty import Novelty
from heads.scoring import Dense


def linear_model(store, columns=("last",), scorer=None, **changes):
    """Return a model of nearest class means, written as a linear head."""
    source = open_source(store, columns)
    data = source.load("train")
    if scorer is None:
        means = np.stack([data.X[data.y == c].mean(axis=0) for c in range(len(source.classes))])
        scorer = Dense.linear(means, -0.5 * (means**2).sum(axis=1))
    snapshot = source.snapshot
    facts = {
        "scorer": scorer,
        "classes": source.classes,
        "temperature": 2.0,
        "novelty": Novelty.fit(
            lambda: source.blocks("train"),
            len(source.classes),
            lambda: source.blocks("validation"),
        ),
        "recipe": snapshot.recipe,
        "columns": source.columns,
        "row_shapes": tuple(snapshot.row_shape(c.name) for c in source.columns),
        "backbone": dict(snapshot.backbone),
        "estimator": {"name": "means", "class": "", "parameters": {}, "chosen": {}},
        "store": {
            "path": snapshot.path,
            "snapshot": snapshot.number,
            "root_digest": snapshot.root_digest,
            "items_digest": snapshot.items_digest,
        },
        "splits": {split: source.count(split) for split in source.splits},
        "metrics": {},
        "settings": {"seed": 0, "refit": "train", "seconds": 0.0},
    }
    return Model(**{**facts, **changes})
