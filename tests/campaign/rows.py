"""What every row must be, told by arithmetic of our own, and what a head may look at.

These checks are small; the planted bugs are what they are for.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from extract.reading import image_key
from extract.store.opening import open_store
from tests.campaign.world import (
    COLUMNS,
    IMAGE_SIZE,
    LATE,
    Truth,
    extract_folder,
    picture,
    write_tree,
)

PER_SPLIT = {"train": 8, "validation": 6, "test": 6}


def features_by_pillow(path: Path) -> np.ndarray:
    """Return what the backbone of arithmetic gives, (6,) float32, without a line of `extract`.

    Pillow decodes; bilinear interpolation on half-pixel centers is written out.
    """
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), np.float64)  # (h, w, 3)
    for axis in (0, 1):
        size = pixels.shape[axis]
        at = np.clip((np.arange(IMAGE_SIZE) + 0.5) * size / IMAGE_SIZE - 0.5, 0, size - 1)
        low = np.floor(at).astype(int)
        share = np.expand_dims(at - low, (1, 2) if axis == 0 else (0, 2))
        high = np.minimum(low + 1, size - 1)
        pixels = pixels.take(low, axis) * (1 - share) + pixels.take(high, axis) * share
    flat = pixels.reshape(-1, 3)
    return np.concatenate([flat.mean(axis=0), flat.max(axis=0)]) + 9  # the layer's number


def rows_are_their_images(folder: Path) -> list[str]:
    """Extract, and compare every row with its file; bad images must not be among the rows."""
    photos = write_tree(folder / "rows", LATE)
    shutil.rmtree(folder / "rows.features", ignore_errors=True)
    extract_folder(photos, folder / "rows.features")
    snapshot = open_store(folder / "rows.features")
    found = []
    for column in COLUMNS:
        data = snapshot.load(None, column)
        if len(data) != len(LATE) - 1 or not np.isfinite(data.X).all():
            found.append(f"{len(data)} rows of {len(LATE) - 1} good items, or NaN among them")
        for row, path in zip(data.X, data.items["path"].to_pylist(), strict=True):
            if not path.endswith(".png"):
                continue
            expected = features_by_pillow(photos / path)
            if not np.allclose(row, expected, rtol=1e-5):  # float32 against float64
                found.append(f"{path} has {row[:3]}, expected {expected[:3]}")
    return found


def strangers_are_not_adopted(folder: Path, truth: Truth) -> list[str]:
    """Put files of other bytes where a run is about to write, and torn scratch files."""
    photos = write_tree(folder / "strangers", LATE)
    extract_folder(photos, folder / "sound")
    names = [p.name for p in (folder / "sound" / "shards").iterdir()]
    harmed = {f"shards/{name}": b"torn" + bytes(60) for name in names}
    harmed |= {f"tmp/{number:016x}": b"torn" for number in range(40)}
    harmed |= {"tmp/scratch": b"torn"}
    store = write_tree(folder / "strangers.features", harmed)
    extract_folder(photos, store)
    return truth.problems(open_store(store))


def other_labels_are_other_items(folder: Path) -> list[str]:
    """Move a picture to another class folder: the items digest must tell, the root must not."""
    photos = write_tree(folder / "moved", LATE)
    shutil.rmtree(folder / "moved.features", ignore_errors=True)
    extract_folder(photos, folder / "moved.features")
    before = open_store(folder / "moved.features")
    (photos / "train" / "cats" / "0.png").rename(photos / "train" / "dogs" / "0.png")
    extract_folder(photos, folder / "moved.features")
    after = open_store(folder / "moved.features")
    found = []
    if before.items_digest == after.items_digest:
        found.append("another label has the same items digest")
    if before.root_digest != after.root_digest:
        found.append("another label has another root digest")
    return found


def heads_never_see_test_rows(folder: Path) -> list[str]:
    """Train with two sets of test pictures: not one byte of the arrays may differ."""
    from heads.fitting import fit

    weights = []
    for number in range(2):
        content = {
            f"{split}/{label}/{i}.png": picture(
                hash_of(f"{split} {label} {i} {number if split == 'test' else ''}")
            )
            for split, count in PER_SPLIT.items()
            for label in ("cats", "dogs")
            for i in range(count)
        }
        photos = write_tree(folder / f"fit-{number}", content)
        extract_folder(photos, folder / f"fit-{number}.features")
        model = fit(folder / f"fit-{number}.features", settings={"Cs": [1e-4, 1e-2, 1.0, 100.0]})
        weights.append((Path(str(model.path)) / "weights.npz").read_bytes())
    return [] if weights[0] == weights[1] else ["other test pictures gave another head"]


def hash_of(text: str) -> int:
    """Return a seed that a text decides."""
    return int(image_key(text.encode())[:8], 16)


def statistics_stay(folder: Path) -> list[str]:
    """Fine-tune one step on a network with BatchNormalization: what is frozen must stay."""
    from types import SimpleNamespace

    import keras

    from finetune.errors import FrozenWeightError
    from finetune.guard import Frozen
    from finetune.tuner import Tuner

    keras.utils.set_random_seed(0)
    pixels = keras.Input((4,))
    body = keras.Model(pixels, keras.layers.BatchNormalization()(keras.layers.Dense(3)(pixels)))
    row = keras.Input((3,))
    head = keras.Model(row, keras.layers.Dense(2)(row))
    network = SimpleNamespace(head=head, model=SimpleNamespace(temperature=1.0))
    tuner = Tuner(network, body, None, 0.0, 0, train_statistics=False)
    tuner.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(True))
    frozen = Frozen(body.operations, body.trainable_variables)
    rng = np.random.default_rng(0)
    tuner.fit(rng.normal(size=(8, 4)), rng.integers(0, 2, 8), verbose=0)
    try:
        frozen.check()
    except FrozenWeightError as error:
        return [str(error)]
    return []
