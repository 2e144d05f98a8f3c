"""A frozen backbone as a transformer of scikit-learn: images in, cached features out.

    pipeline = make_pipeline(FrozenBackbone(store="photos.features"), LogisticRegression())
    pipeline.fit(paths, labels)

It learns nothing: `transform` looks its images up in a store and extracts what is not there yet,
so that a grid search or a cross-validation runs the backbone once per image and no more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from extract.api import extract_listing
from extract.assemble import Draft, Place
from extract.backbone_files import HUB
from extract.backbone_pixels import pixel_policy
from extract.backbones import BackboneSpec
from extract.cores import num_cores
from extract.errors import ImageError, InputError
from extract.items import Item, Listing
from extract.known import Known, read_known
from extract.pixels import decoder_signature
from extract.plan import Plan, Settings, check_recipe, make_plan
from extract.prepared import WEIGHTS_WORDS, cache_folder
from extract.progress import Silent
from extract.reading import FileBytes, read, read_item
from extract.recipe import LayerRequest, digest_json
from extract.sources.arrays import list_arrays
from extract.store.commits import HAS_FEATURES
from extract.store.files import read_errors
from extract.store.opening import Store

PATHS, PICTURES = "paths in memory", "pictures in memory"
"""Where images were found, in snapshots made here alone: `extract.run` never says so."""


class FrozenBackbone(TransformerMixin, BaseEstimator):
    """Turn images into features of a frozen backbone, each image once.

    Args:
        backbone: A name that `python -m extract backbones` lists, or a file: see `extract.run`.
        arguments: The backbone's own, such as {"alpha": 0.35}.
        weights: "imagenet", "random", or a path; a backbone that is a file has its own.
        preprocessing: For a backbone that is a file: "none" (pixels in 0..255), "tf", "torch",
            "caffe", or "mean=0.5,std=0.5" for pixels in 0..1.
        image_size: Side in pixels; by default what the backbone was made for.
        layers: "NAME" or "NAME:avg|max|flatten|none|cls|patches", or several; by default the last
            map, averaged. Several stand side by side.
        interpolation: "bilinear", "nearest" or "bicubic".
        antialias: Widen the kernel when an image shrinks.
        crop_to_aspect_ratio: Crop the longer side to a centered square first.
        pad_to_aspect_ratio: Pad the shorter side with zeros to a square first.
        engine: "auto", "openvino" or "keras".
        store: Folder of the features; by default one in the user's cache folder, for each backbone
            and resize. A store that `extract.run` made with the same recipe does as well, for the
            images that it has: its snapshot is never replaced.
    """

    def __init__(
        self,
        backbone: str | Path = "mobilenet_v2",
        *,
        arguments: Mapping[str, Any] | None = None,
        weights: str | Path = "imagenet",
        preprocessing: str | None = None,
        image_size: int | None = None,
        layers: str | Sequence[str] = (),
        interpolation: str | None = None,
        antialias: bool | None = None,
        crop_to_aspect_ratio: bool | None = None,
        pad_to_aspect_ratio: bool | None = None,
        engine: str = "auto",
        store: str | Path | None = None,
    ) -> None:
        self.backbone = backbone
        self.arguments = arguments
        self.weights = weights
        self.preprocessing = preprocessing
        self.image_size = image_size
        self.layers = layers
        self.interpolation = interpolation
        self.antialias = antialias
        self.crop_to_aspect_ratio = crop_to_aspect_ratio
        self.pad_to_aspect_ratio = pad_to_aspect_ratio
        self.engine = engine
        self.store = store

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the arguments and X; nothing is learnt, and nothing extracted yet.

        Raises:
            HeadstartError: With one line that says what to do.
        """
        _list(X)
        self._plan()
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of images, from the store where they are known.

        Args:
            X: n paths, as a list, an array, or one column of a frame; or n arrays of uint8
                (h, w, 3) or (h, w, 1), such as an array (n, h, w, 3).

        Returns:
            (n, features) float32, in the order of X.

        Raises:
            InputError: If an element of X is no image that can be read; it says which.
                Also if an image is not in a store that `extract.run` made.
            StoreError: If the store is damaged, or was made with another recipe.
        """
        listing, plan = _list(X), self._plan()
        store = self._store(plan.settings)
        known = _known(store)
        if known.head is not None:
            check_recipe(known.head.recipe, plan.recipe, store.path)
        keys = _keys(listing, known)
        missing = _missing(keys, _places(known, plan))
        if missing:
            if self.store is not None:  # the user's cache has no data sets
                _check_own(store, known, len(missing))
            items = tuple(listing.items[index] for index in missing)
            extract_listing(replace(listing, items=items), store, plan.settings, Silent())
            known = _known(store)
        return _gather(listing, keys, store, known, plan)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features, such as "out_relu:avg[17]", as (features,) objects."""
        plan = self._plan()
        columns = zip(plan.columns, plan.row_shapes, strict=True)
        widths = [(column.name, int(np.prod(shape))) for column, shape in columns]
        names = [f"{name}[{i}]" for name, width in widths for i in range(width)]
        return np.array(names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True  # X is paths or pictures, not a matrix of numbers
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _plan(self) -> Plan:
        """Return the plan of a new store: the columns that are asked for, and no others."""
        settings = self._settings()
        return make_plan(settings, Known(), self._store(settings).path, Silent())

    def _settings(self) -> Settings:
        spec = BackboneSpec(
            name=str(self.backbone),
            arguments=dict(self.arguments or {}),
            weights=str(self.weights),
            preprocessing=self.preprocessing,
        )
        layers = [self.layers] if isinstance(self.layers, str) else self.layers
        return Settings(
            spec=spec,
            pixels=pixel_policy(
                spec,
                image_size=self.image_size,
                interpolation=self.interpolation,
                antialias=self.antialias,
                crop_to_aspect_ratio=self.crop_to_aspect_ratio,
                pad_to_aspect_ratio=self.pad_to_aspect_ratio,
            ),
            layers=tuple(map(LayerRequest.parse, layers)),
            engine=self.engine,  # type: ignore[arg-type]
        )

    def _store(self, settings: Settings) -> Store:
        if self.store is not None:
            return Store.at(self.store)
        spec = settings.spec
        weights = spec.weights if spec.weights in WEIGHTS_WORDS else os.path.abspath(spec.weights)
        backbone: list[Any] = [spec.name, dict(spec.changed_arguments), weights]
        if spec.preprocessing is not None:
            backbone.append(spec.preprocessing)
        facts = {"backbone": backbone, "pixels": asdict(settings.pixels)}
        title = spec.title.removeprefix(HUB)  # a file's name is its whole path
        name = f"{title}-{digest_json(facts)[:16]}.features"
        return Store.at(cache_folder() / "features" / name)


class _Files:
    """Reads items that are called by their whole paths."""

    def read(self, item: Item) -> FileBytes:
        return read_item(Path(), item)


def _list(X: Any) -> Listing:
    """Return X as items, one for each element, in order."""
    if isinstance(X, str | os.PathLike):
        raise InputError(f"X is a list of paths, or arrays of pixels. Received: {str(X)!r}")
    if hasattr(X, "iloc"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray) and X.dtype.kind in "OUT" and X.ndim == 2 and X.shape[1] == 1:
        X = X[:, 0]
    if len(X) and all(isinstance(element, str | os.PathLike) for element in X):
        items = tuple(_item(index, str(path)) for index, path in enumerate(X))
        return Listing(Path(), items, place=PATHS, source=_Files())
    return replace(list_arrays(X), place=PICTURES)


def _item(index: int, path: str) -> Item:
    whole = os.path.abspath(path)
    try:
        facts = os.stat(whole)
    except OSError as error:
        raise InputError(f"X[{index}] {path} cannot be read: {error.strerror}") from error
    return Item(Path(whole).as_posix(), size=facts.st_size, mtime_ns=facts.st_mtime_ns)


def _known(store: Store) -> Known:
    with read_errors(store.path):
        return read_known(store)


def _check_own(store: Store, known: Known, missing: int) -> None:
    """Raise `InputError` where a new snapshot would replace that of a data set, and its labels."""
    if (previous := known.previous) is None:
        return
    place = previous.found_at.get("images", "")
    if previous.classes or place not in (PATHS, PICTURES):
        raise InputError(
            f"{store.path} holds the features of {place or 'a data set'} and lacks {missing:,} of "
            f"these images. Extract them with python -m extract run, or leave store= out"
        )


def _keys(listing: Listing, known: Known) -> list[str]:
    """Return the image key of every item: by path, size and time, else by its bytes."""

    def key(item: Item) -> str:
        return known.key_of(item) or read(listing, item).read.image_key

    with ThreadPoolExecutor(num_cores()) as pool:
        found = pool.map(key, listing.items)
        try:
            return list(found)
        except ImageError as error:
            raise InputError(f"An image of X cannot be read: {error.reason}") from error


def _places(known: Known, plan: Plan) -> list[dict[str, Place]]:
    return [known.places(column, decoder_signature()) for column in plan.columns]


def _missing(keys: Sequence[str], places: Sequence[Mapping[str, Place]]) -> list[int]:
    """Return one position for each image that a column lacks."""
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    return sorted(i for key, i in first.items() if not all(key in place for place in places))


def _gather(
    listing: Listing, keys: Sequence[str], store: Store, known: Known, plan: Plan
) -> np.ndarray:
    """Return (n, features) float32 for images whose rows the store has."""
    distinct = list(dict.fromkeys(keys))
    position = {key: row for row, key in enumerate(distinct)}
    rows = np.array([position[key] for key in keys])
    parts = []
    for column, shape, places in zip(
        plan.columns, plan.row_shapes, _places(known, plan), strict=True
    ):
        for key in distinct:
            place = places.get(key)
            if place is None or place.facts.status not in HAS_FEATURES:
                index = keys.index(key)
                trouble = "changed while it was read" if place is None else place.facts.reason
                raise InputError(f"X[{index}] {listing.items[index].path}: {trouble}")
        found = {row: places[key] for row, key in enumerate(distinct)}
        facts = tuple(place.facts for place in found.values())
        draft = Draft(column, known.grid(column, shape), facts, {}, found)
        with read_errors(store.path):
            parts.append(draft.features(store.shards).reshape(len(distinct), -1)[rows])
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
