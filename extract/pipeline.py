"""Images → features: read + hash ∥ decode ∥ forward ∥ encode + commit, resumable at any moment.

    listing ─▶ read ─▶ (known? done) ─▶ decode ─▶ forward ─▶ assemblers ─▶ write ─▶ seal
              threads                   threads   streams                  thread

Stages are joined here and know nothing of each other. Every stage gives its results in item
order and holds a bounded number of them, so memory does not grow with the data set.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from extract import pixels
from extract.assemble import Row
from extract.collector import paused
from extract.cores import num_cores
from extract.errors import FeatureError, ImageError, InputError
from extract.interrupt import Interrupt
from extract.items import Listing
from extract.kept_shards import assemblers_of, take_shards
from extract.known import Known
from extract.lazy_engine import LazyEngine
from extract.plan import Plan
from extract.progress import Reporter, Ticker
from extract.row_order import Candidate, RowOrder
from extract.scaling import Brightness
from extract.sealing import End, Sealed, seal
from extract.stages import Stage
from extract.store.commits import HAS_FEATURES, RowFacts
from extract.store.files import read_errors
from extract.store.opening import Store
from extract.views import make_view
from extract.writing import Writer

PIXELS_AHEAD = 64 << 20  # bytes of decoded images: 100 of them at 224 pixels
KNOWN_PER_BATCH = 1024  # rows that pass through without work


@dataclass(frozen=True, slots=True)
class Decoded:
    """Views of a decoded image: number → (size, size, 3) float32; or None with the reason."""

    views: Mapping[int, np.ndarray] | None
    facts: RowFacts


@dataclass(slots=True)
class Batch:
    """Rows in order, and the pixels of those that need the engine."""

    rows: list[tuple[Row, str]] = field(default_factory=list)
    """Rows, with the path of an item for messages."""
    pixels: list[np.ndarray] = field(default_factory=list)
    at: list[tuple[int, int]] = field(default_factory=list)
    """The position in `rows`, and the view, that each of `pixels` is of."""


class Extraction:
    """One run: the stages, and what passes between them."""

    def __init__(
        self,
        store: Store,
        listing: Listing,
        known: Known,
        plan: Plan,
        reporter: Reporter,
        engine: LazyEngine | None = None,
        scale_is_right: bool = False,
    ) -> None:
        """Begin; an engine that is loaded already, and a scale that was looked at, are taken."""
        self.store = store
        self.listing = listing
        self.known = known
        self.plan = plan
        self.reporter = reporter
        self.engine = engine or LazyEngine(plan)
        self.extracted = 0
        self.busy_seconds = 0.0
        workers = plan.settings.workers or num_cores()
        self.augmentation = plan.augmentation
        output = {column.canonical: i for i, column in enumerate(plan.outputs)}
        self._sources = [(output[c.plain.canonical], c.view) for c in plan.columns]
        """For each column: which of the engine's outputs, for which view."""
        ahead = PIXELS_AHEAD // (12 * plan.settings.pixels.image_size**2 * len(plan.views))
        self.decode: Stage[Candidate, Decoded] = Stage(
            self._decode, workers, min(64, max(workers + 1, ahead))
        )
        streams = self.engine.streams
        self.forward: Stage[Batch, list[np.ndarray]] = Stage(self._forward, streams, streams + 2)
        self.known = replace(known, reads={})  # a seventh of a run's memory, and of no more use
        self.writer = Writer(store, plan, self.known, self.engine)
        self._brightness = Brightness(scale_is_right)
        self._ticker = Ticker(len(listing.items))
        self.assemblers = assemblers_of(plan, self.known, self.writer.write)
        self.rows = RowOrder(
            listing,
            known,
            self.assemblers,
            taken=take_shards(self.assemblers, self.known),
            workers=workers,
            rehash=plan.settings.rehash,
            note=self.writer.note,
        )
        self.read = self.rows.stage
        # Each decode thread resizes by itself: OpenCV's own threads would only get in the way
        # (1.4 times slower on large photographs, two cores).
        self._opencv_threads = cv2.getNumThreads()
        cv2.setNumThreads(1)

    def close(self) -> None:
        """End every thread."""
        for stage in (self.rows, self.decode, self.forward):
            stage.close()
        self.writer.close()
        cv2.setNumThreads(self._opencv_threads)

    def commit(self) -> None:
        """Extract what is missing and commit it: everything but the seal."""
        start = time.perf_counter()
        try:
            with Interrupt() as stop:
                self._extract(stop)
        except KeyboardInterrupt:
            self._keep_partial_shards()
            raise
        except FeatureError as error:
            self._keep_partial_shards()
            raise FeatureError(f"{error}{self._what_is_kept()}") from error
        self.busy_seconds = time.perf_counter() - start - self.engine.load_seconds

    def run(self) -> Sealed:
        """Extract what is missing, then seal."""
        self.commit()
        if not self.writer.begun:
            raise self._no_good_image()
        with paused(), read_errors(self.store.path):
            end = End(
                store=self.store,
                plan=self.plan,
                listing=self.listing,
                outcomes=self.rows.outcomes,
                assemblers=self.assemblers,
                engine=self.engine,
            )
            return seal(end, self.known)

    @property
    def items_done(self) -> int:
        """Items that are done with so far."""
        return self.rows.items_done

    @property
    def items_read(self) -> int:
        """Items whose bytes could be read, now or by an earlier run."""
        return sum(outcome.read is not None for outcome in self.rows.outcomes)

    # The work of the stages' threads -----------------------------------------------------------

    def _decode(self, candidate: Candidate) -> Decoded:
        assert candidate.data is not None
        try:
            array, warning = pixels.load(candidate.data, self.plan.settings.pixels)
        except ImageError as error:
            facts = RowFacts(candidate.image_key, "undecodable", error.stage, error.reason)
            return Decoded(None, facts)
        views = self._missing_views(array, candidate.image_key)
        if warning is None:
            return Decoded(views, RowFacts(candidate.image_key, "good"))
        return Decoded(views, RowFacts(candidate.image_key, "warned", "decode", warning))

    def _missing_views(self, plain: np.ndarray, key: str) -> dict[int, np.ndarray]:
        """Make those views of an image that a column lacks."""
        missing = {a.column.view for a in self.assemblers if not a.knows(key)}
        if self.augmentation is None:
            return {0: plain}
        return {view: make_view(plain, self.augmentation, key, view) for view in sorted(missing)}

    def _forward(self, batch: Batch) -> list[np.ndarray]:
        """Return the plan's outputs for all of a batch's pixels, a call at a time."""
        size = self.engine.batch_size
        calls = [
            self.engine(np.stack(batch.pixels[start : start + size]))
            for start in range(0, len(batch.pixels), size)
        ]
        outputs = [
            parts[0] if len(calls) == 1 else np.concatenate(parts)
            for parts in zip(*calls, strict=True)
        ]
        for column, features in zip(self.plan.outputs, outputs, strict=True):
            finite = np.isfinite(features.reshape(len(features), -1)).all(axis=1)
            if not finite.all():
                row, view = batch.at[int(np.argmin(finite))]
                of = f"view {view} of " if view else ""
                cure = ". Use --dtype float32" if column.dtype == "float16" else ""
                raise FeatureError(
                    f"Layer {column.layer} gave NaN or infinity for {of}{batch.rows[row][1]}, "
                    f"a good image{cure}"
                )
        return outputs

    # From candidates to shards -----------------------------------------------------------------

    def _batches(self) -> Iterator[Batch]:
        batch = Batch()
        decoded = self.decode(self.rows.candidates(), needs_work=lambda c: c.data is not None)
        for candidate, result in decoded:
            facts = candidate.facts or RowFacts(candidate.image_key, "good")
            if result is not None:
                facts = result.facts
            views = (result and result.views) or {}
            if 0 in views:
                self._brightness.check(views[0])
            if batch.pixels and len(batch.pixels) + len(views) > self.engine.batch_size:
                yield batch
                batch = Batch()
            batch.at.extend((len(batch.rows), view) for view in views)
            batch.pixels.extend(views.values())
            row = Row(facts, fresh=result is not None)
            batch.rows.append((row, candidate.path))
            full = batch.pixels and len(batch.pixels) >= self.engine.batch_size
            if full or len(batch.rows) >= KNOWN_PER_BATCH:
                yield batch
                batch = Batch()
        if batch.rows:
            yield batch

    def _extract(self, stop: Interrupt) -> None:
        for batch, outputs in self.forward(self._batches(), needs_work=lambda b: bool(b.pixels)):
            self.extracted += len({row for row, _ in batch.at})
            self._add(batch, outputs)
            self.writer.check()
            self._tick()
            stop.check()
        known = (a.has_features(key) for key in self.rows.item_keys() for a in self.assemblers)
        if self.extracted or any(known) or self.listing.part is not None:
            self.writer.begin()  # a part of bad images is a part all the same: merging needs it
        for assembler in self.assemblers:
            assembler.finish()
        self.rows.forget()
        self.writer.finish()

    def _add(self, batch: Batch, outputs: list[np.ndarray] | None) -> None:
        position = {row_and_view: i for i, row_and_view in enumerate(batch.at)}
        for index, (row, _) in enumerate(batch.rows):
            if row.fresh and row.facts.status in HAS_FEATURES and self._brightness.decided:
                self.writer.begin()
            for assembler, (output, view) in zip(self.assemblers, self._sources, strict=True):
                at = position.get((index, view))
                features = None if at is None or outputs is None else outputs[output][at]
                assembler.add(row, features)

    def _keep_partial_shards(self) -> None:
        """Commit what is finished when a person, or one image, stops the run."""
        if self.writer.begun:
            for assembler in self.assemblers:
                assembler.flush()
            self.writer.finish()

    # What people hear --------------------------------------------------------------------------

    def _what_is_kept(self) -> str:
        """Return a sentence on shards of this run that no snapshot names, and how they go."""
        if not self.writer.written:
            return ""
        place = self.store.path
        gc = f"type: python -m extract gc {shlex.quote(place)} --older-than 0 --yes"
        cure = gc if self.known.previous else f"remove {place}"
        return (
            f". What was finished before it is kept, and the same command goes on from there "
            f"without that image. To undo it, {cure}"
        )

    def _no_good_image(self) -> InputError:
        first = next((o for o in self.rows.outcomes if o.trouble), None)
        reason = f", such as {first.item.path} ({first.trouble})" if first else ""
        return InputError(
            f"None of the {len(self.listing.items)} files in {self.listing.name} is an image that "
            f"can be read{reason}. Nothing was written"
        )

    def _tick(self) -> None:
        waited = {
            "read": self.read.waited,
            "decode": self.decode.waited,
            "forward": self.forward.waited,
            "write": self.writer.waited,
        }
        self._ticker.items_done = self.rows.items_done
        if (tick := self._ticker.tick(self.extracted, waited)) is not None:
            self.reporter.tick(tick)
