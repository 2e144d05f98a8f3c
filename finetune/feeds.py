"""What training and judging see of the images: pixels decoded once, activations extracted once.

Nothing is made before it is needed, and every attempt of a run shares what is there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from extract.engines.engine import relative_distance
from extract.errors import StoreError
from extract.progress import Reporter
from extract.store.opening import open_store
from finetune.augmentation import augmentation_layers
from finetune.boundary import Cut
from finetune.choosing import Choice
from finetune.errors import FinetuneError
from finetune.guard import assign, values_of
from finetune.judging import Judgment, rows_of
from finetune.network import Network
from finetune.options import Options
from finetune.pixel_cache import PixelCache
from finetune.rows import Rows
from finetune.suffix import (
    Boundary,
    boundary_store,
    extract_boundary,
    measured_error,
    open_boundary,
    pick_views,
    take_views,
)
from finetune.writing import Scored

if TYPE_CHECKING:
    import keras

    from finetune.batches import Take
    from finetune.training import Feed

MEASURED = 16
"""Images on which kept activations, and the joined graph, are compared."""
SAME = 1e-4
"""How far feature rows of the full graph may be from those of suffix after prefix, relative."""


class Feeds:
    """The rows of a run, as pixels and as activations; close it, or use it in `with`."""

    def __init__(
        self,
        network: Network,
        options: Options,
        train: Rows,
        validation: Rows,
        store: Path,
        weights: str | Path | None,
        reporter: Reporter,
    ) -> None:
        self.network, self.options = network, options
        self.train, self.validation = train, validation
        self._store, self._weights, self._reporter = store, weights, reporter
        self._caches: dict[str, PixelCache] = {}
        self._boundaries: dict[str, Boundary] = {}
        self._head: Judgment | None = None
        self.extraction_seconds = self.decoding_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for cache in self._caches.values():
            cache.close()

    # Pixels

    def pixels(self, split: str) -> PixelCache:
        """Return the decoded images of "train" or "validation", in row order."""
        if split not in self._caches:
            rows = self.train if split == "train" else self.validation
            policy, limit = self.network.model.recipe.pixels, self._memory_left()
            cache = PixelCache(policy, limit, self._store.parent)
            self._caches[split] = cache
            self._reporter.note(f"Decoding {len(rows):,} {split} images, once …")
            begun = time.perf_counter()
            cache.fill(rows.readers)
            self.decoding_seconds += time.perf_counter() - begun
        return self._caches[split]

    def _memory_left(self) -> int:
        """Return how many bytes may still stay in memory, of pixels and activations together."""
        held: list[PixelCache | Boundary] = [*self._caches.values(), *self._boundaries.values()]
        return max(self.options.cache_bytes - sum(one.memory_bytes for one in held), 0)

    # Graphs

    @cached_property
    def full_body(self) -> keras.Model:
        """Pixels to the feature row."""
        from finetune.tuner import full_body

        return full_body(self.network)

    def feed(self, choice: Choice) -> Feed:
        """Return what a mode trains on."""
        return self._full_feed() if choice.mode == "full" else self._suffix_feed(choice)

    def _full_feed(self) -> Feed:
        from finetune.training import Feed

        train, validation = self.pixels("train"), self.pixels("validation")
        size = self.network.built.image_size
        return Feed(
            body=self.full_body,
            train=lambda rows, epoch: train.take(rows),
            codes=self.train.codes,
            validation=lambda rows, epoch: validation.take(rows),
            validation_codes=self.validation.codes,
            augmentation=augmentation_layers(self.options.augment, size, self.options.seed),
        )

    def _suffix_feed(self, choice: Choice) -> Feed:
        from finetune.training import Feed
        from finetune.tuner import suffix_body

        assert choice.cut is not None
        kept = self.boundary(choice)
        return Feed(
            body=suffix_body(self.network, choice.cut),
            train=self._take_train(choice.cut, kept),
            codes=self.train.codes,
            validation=kept.take,
            validation_codes=self.validation.codes,
        )

    def _take_train(self, cut: Cut, kept: Boundary) -> Take:
        """Return what gives activations of training rows: plain ones, or a view for each epoch."""
        views, seed, count = self.options.views, self.options.seed, len(self.train)
        if not views:
            first = len(self.validation)  # training rows come after them
            return lambda rows, epoch: kept.take(rows + first)
        limit = self._memory_left() // views
        opened = [
            open_boundary(kept.snapshot, cut, [self.train], limit, view)
            for view in range(1, views + 1)
        ]
        return lambda rows, epoch: take_views(opened, pick_views(count, views, seed, epoch), rows)

    def boundary(self, choice: Choice) -> Boundary:
        """Return the activations at a cut: of validation, then (without views) of training rows."""
        cut = choice.cut
        assert cut is not None
        if cut.name not in self._boundaries:
            views, augment = self.options.views, self.options.augment
            place = boundary_store(self._store, augment if views else "")
            self._reporter.note(f"Extracting activations at {cut.name} to {place} …")
            begun = time.perf_counter()
            snapshot = extract_boundary(
                self.network.model,
                cut,
                place,
                self.train.root,
                self._weights,
                self._reporter,
                views=views,
                augment=augment,
            )
            self.extraction_seconds += time.perf_counter() - begun
            # Views of training rows are opened one by one; plain ones serve nobody then.
            rows = [self.validation] if views else [self.validation, self.train]
            self._boundaries[cut.name] = open_boundary(snapshot, cut, rows, self._memory_left())
        return self._boundaries[cut.name]

    def are_kept(self, cut: Cut) -> bool:
        """Whether the activations at a cut are on disk already."""
        try:
            snapshot = open_store(boundary_store(self._store))
        except StoreError:
            return False
        return {(c.operation, c.pooling) for c in snapshot.columns} >= {
            (source, "none") for source in cut.sources
        }

    # Judging

    def judge_full(self) -> Judgment:
        """Judge the network as it is now on validation rows, from pixels on."""
        return self.network.judge(self._rows("validation"), self.validation.codes)

    def head_judgment(self, start: Sequence[np.ndarray], variables: Sequence[Any]) -> Judgment:
        """Return the judgment of the network with the weights `start`, which it computes once."""
        if self._head is None:
            now = values_of(variables)
            assign(variables, start)
            self._head = self.judge_full()
            assign(variables, now)
        return self._head

    def check_joined(self, choice: Choice) -> float | None:
        """Prove that prefix and suffix together are the full graph, with the weights of now.

        Returns:
            How far kept activations are from the prefix's, relative; None in full mode.

        Raises:
            FinetuneError: If they are not, or activations are further off than float16 is.
        """
        if choice.cut is None:
            return None
        from finetune.tuner import suffix_body

        count = min(MEASURED, len(self.validation))
        pixels = self.pixels("validation").take(np.arange(count))
        network = self.network
        inner = choice.cut.prefix(network)(network.preprocessing(pixels), training=False)
        suffix = suffix_body(network, choice.cut)
        rows = suffix(inner if len(inner) > 1 else inner[0], training=False)
        if not (apart := _distance(rows, self.full_body(pixels, training=False))) <= SAME:
            raise FinetuneError(
                f"Prefix and suffix joined at {choice.cut.name} differ from the full graph by "
                f"{apart:.1e}, at most {SAME:.0e} was expected. Give --mode full"
            )
        return measured_error(network, choice.cut, self.boundary(choice), pixels)

    def scored(self) -> tuple[Scored, Scored]:
        """Return training and validation rows as the network sees them now, from pixels on."""
        return self._scored("train"), self._scored("validation")

    def _scored(self, split: str) -> Scored:
        rows = self.train if split == "train" else self.validation
        X = self._rows(split)
        return Scored(X, rows.codes, self.network.logits(X))

    def _rows(self, split: str) -> np.ndarray:
        """Return the feature rows (n, d) of a split, from pixels on."""
        from finetune.batches import PlainBatches

        cache = self.pixels(split)
        batches = PlainBatches(
            lambda rows, epoch: cache.take(rows), len(cache), 2 * self.options.batch_size
        )
        return rows_of(self.full_body, batches)


def _distance(found: Any, reference: Any) -> float:
    import keras

    return relative_distance(
        keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(reference)
    )
