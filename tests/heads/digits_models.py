"""Stores and models on the small backbone "digits": real features, real digests, in a second."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

import extract
from heads.scoring import Dense
from tests.heads.conftest import paint
from tests.heads.models import linear_model

LAYERS = ("relu4:avg", "relu2:max", "relu4:none")
SPLITS = {"train": 4, "validation": 2}


def digits_store(folder):
    """Return the path of a store of 18 pictures in three classes, with three columns."""
    paint(folder / "photos", SPLITS)
    store = folder / "photos.features"
    extract.run(folder / "photos", store, backbone="digits", layers=LAYERS)
    return store


def random_dense(widths, seed=0, activation="linear"):
    """Return a stack of affine maps whose logits are about 1."""
    rng = np.random.default_rng(seed)
    shapes = list(pairwise(widths))
    return Dense(
        tuple(rng.normal(scale=1 / np.sqrt(s[0]), size=s).astype(np.float32) for s in shapes),
        tuple(rng.normal(size=s[1]).astype(np.float32) for s in shapes),
        activation,
    )


def digits_model(store, columns=("relu4:avg",), widths=(3,), activation="linear", **changes):
    """Return a model with a random head; `widths` are those of its layers' outputs."""
    model = linear_model(store, columns, **changes)
    if "scorer" in changes:
        return model
    return replace(model, scorer=random_dense((model.width, *widths), activation=activation))
