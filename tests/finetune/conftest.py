"""A store of painted pictures on the small backbone "digits", and a head on it that errs."""

from dataclasses import replace

import numpy as np
import pytest

import extract
from heads.model_folder import save
from heads.scoring import Dense
from tests.heads.conftest import paint
from tests.heads.models import linear_model

SPLITS = {"train": 8, "validation": 6, "test": 4}


@pytest.fixture(scope="package")
def store(tmp_path_factory):
    """Path of a store of 54 pictures in three classes and three splits; images beside it."""
    folder = tmp_path_factory.mktemp("finetune")
    paint(folder / "photos", SPLITS)
    extract.run(folder / "photos", folder / "photos.features", backbone="digits")
    return folder / "photos.features"


@pytest.fixture(scope="package")
def head(store):
    """A saved head that takes a third of the pictures for another class."""
    means = linear_model(store, columns=())
    rng = np.random.default_rng(0)
    (kernel,) = means.scorer.kernels
    noise = rng.normal(size=kernel.shape) * kernel.std()
    scorer = Dense((0.1 * (kernel + 2 * noise).astype(np.float32),), means.scorer.biases)
    model = replace(means, scorer=scorer, history=())
    return save(model, store.with_name("photos.head"))


@pytest.fixture(scope="package")
def network(head):
    """The head on its backbone; tests leave its weights as they were."""
    from finetune.network import open_network
    from finetune.quiet import quiet_keras

    quiet_keras()
    return open_network(head)
