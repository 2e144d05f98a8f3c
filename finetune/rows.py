"""What is trained and judged on: the labeled rows of a store, and where their images are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from extract import places
from finetune.errors import FinetuneError
from finetune.origins import check_origin, fit_command
from heads.data import Source, check_classes
from heads.evaluation import open_for
from heads.imaging import images_root, read_known
from heads.labels import check_labels
from heads.model import Model
from heads.opening import opened_snapshot


@dataclass(frozen=True, eq=False)
class Rows:
    """The labeled rows of a split, in item order."""

    root: Path
    """Folder that `paths` are in."""
    paths: list[str]
    keys: list[str]
    """Image keys."""
    codes: np.ndarray
    """(n,) int64, the class of each row as the model counts."""

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def readers(self) -> list[Callable[[], bytes]]:
        """What reads each image, and checks that it still is the one that the store knows."""
        return [
            partial(read_known, self.root, path, key)
            for path, key in zip(self.paths, self.keys, strict=True)
        ]


def open_rows(
    model: Model, store: str | Path, images: str | Path | None = None
) -> tuple[Source, Rows, Rows]:
    """Return a store's features, and its training and validation rows.

    Raises:
        FinetuneError: If the model is of other classes, or there are no validation rows that it
            was not trained on.
        StaleModelError: If the model is of another recipe.
        HeadError: If labels changed, a class has no training row, or the images are gone.
    """
    source = open_features(model, store)
    if source.classes != model.classes:
        odd = sorted(set(source.classes) ^ set(model.classes)) or list(source.classes)
        raise FinetuneError(
            f"{source.snapshot.path} has other classes than the model was trained on, such as "
            f"{odd[0]!r}. Train a head on this store: python -m heads fit {source.snapshot.path}"
        )
    check_classes(source)
    check_labels(source.snapshot)
    if "validation" not in source.splits:
        raise FinetuneError(
            f"{source.snapshot.path} has no validation rows, and only they can tell whether "
            f"tuning is better than the head. Type: python -m extract split {source.snapshot.path}"
        )
    root = images_root(source.snapshot, images)
    return source, _rows(source, "train", root), _rows(source, "validation", root)


def open_features(model: Model, store: str | Path) -> Source:
    """Return the features and the labels of a head that can be tuned on their images.

    Raises:
        FinetuneError: If it is no classifier, or is of another data set, or the rows that would
            judge it are rows that it was trained on.
        StaleModelError: If the model is of another recipe.
        HeadError: If the store has no labels.
    """
    snapshot = opened_snapshot(store)
    model.check_features(snapshot)
    if model.task != "classification":
        raise FinetuneError(
            f"Fine-tuning is for classifiers, and {model.path} learned {model.task}. Train one: "
            f"python -m heads fit {snapshot.path}"
        )
    source, path = open_for(model, snapshot), snapshot.path
    if model.settings.get("refit") == "all" and "validation" in model.splits:
        raise FinetuneError(
            f"{model.path} was trained on validation rows as well (--refit all), and only rows "
            f"that it did not see can tell whether tuning is better. Give --head one that was not: "
            f"{fit_command(model, path, '.train.head')}"
        )
    check_origin(model, snapshot)
    return source


def beside(store: str | Path, suffix: str) -> Path:
    """Return `photos.head` or `photos.tuned` for `photos.features`; here for one in a bucket."""
    path = places.beside(store)
    return path.with_name(path.name.removesuffix(".features") + suffix)


def _rows(source: Source, split: str, root: Path) -> Rows:
    items = source.items(split)
    return Rows(
        root=root,
        paths=items["path"].to_pylist(),
        keys=items["image_key"].to_pylist(),
        codes=source.codes(items),
    )
