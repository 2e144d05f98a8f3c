"""Images → features: read + hash ∥ decode ∥ forward ∥ encode + commit, resumable at any moment.

    listing ─▶ read ─▶ (known? done) ─▶ decode ─▶ forward ─▶ assemblers ─▶ write ─▶ seal
              threads                   threads   streams                  thread

Stages are joined here and know nothing of each other. Every stage gives its results in item
order and holds a bounded number of them, so memory does not grow with the data set.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from extract import pixels
from extract.assemble import Assembler, Row
from extract.collector import paused
from extract.cores import num_cores
from extract.errors import FeatureError, ImageError, InputError
from extract.interrupt import Interrupt
from extract.items import Item, Listing
from extract.known import Known
from extract.lazy_engine import LazyEngine
from extract.plan import Plan
from extract.progress import Reporter, Ticker
from extract.reading import FileBytes, read
from extract.scaling import Brightness
from extract.sealing import Outcome, Sealed, seal
from extract.stages import Stage
from extract.store.commits import HAS_FEATURES, FileRead, RowFacts
from extract.store.files import read_errors
from extract.store.reader import Store
from extract.store.snapshots import SnapshotColumn
from extract.views import make_view
from extract.writing import Writer

READ_AHEAD = 16  # files
PIXELS_AHEAD = 64 << 20  # bytes of decoded images: 100 of them at 224 pixels
KNOWN_PER_BATCH = 1024  # rows that pass through without work


@dataclass(frozen=True, slots=True)
class Wanted:
    """An item, or a row of old, on its way to becoming a row."""

    index: int
    """Position among the items; -1 for a row whose image is no item any more."""
    image_key: str | None
    """Known from an earlier run; None where only reading can tell."""
    fetch: bool
    """Whether its bytes are needed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that is going to be added, with bytes where it must be decoded."""

    image_key: str
    path: str
    data: bytes | np.ndarray | None = None
    facts: RowFacts | None = None
    """Set where the outcome is known without decoding."""


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
        self, store: Store, listing: Listing, known: Known, plan: Plan, reporter: Reporter
    ) -> None:
        self.store = store
        self.listing = listing
        self.known = known
        self.plan = plan
        self.reporter = reporter
        self.engine = LazyEngine(plan)
        self.extracted = 0
        self.busy_seconds = 0.0
        workers = plan.settings.workers or num_cores()
        self.read: Stage[Wanted, FileBytes | ImageError] = Stage(self._read, workers, READ_AHEAD)
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
        self._outcomes: list[Outcome] = [self._hinted(item) for item in listing.items]
        self.known = replace(known, reads={})  # a seventh of a run's memory, and of no more use
        self.writer = Writer(store, plan, self.known, self.engine)
        self._placed: set[str] = set()
        self._copies: dict[str, list[int]] = {}
        """Image key → the items that earlier runs, or this one's first look, know to have it; only
        of images whose bytes may be needed."""
        self._brightness = Brightness()
        self._ticker = Ticker(len(listing.items))
        self.assemblers = self._assemblers()
        self._taken = self._take_shards()
        """Rows, from the first on, whose shards go on as they are."""
        self._ticker.items_done = sum(
            o.read is not None and self._is_known(o.read.image_key) for o in self._outcomes
        )
        # Each decode thread resizes by itself: OpenCV's own threads would only get in the way
        # (1.4 times slower on large photographs, two cores).
        self._opencv_threads = cv2.getNumThreads()
        cv2.setNumThreads(1)

    def close(self) -> None:
        """End every thread."""
        for stage in (self.read, self.decode, self.forward):
            stage.close()
        self.writer.close()
        cv2.setNumThreads(self._opencv_threads)

    def run(self) -> Sealed:
        """Extract what is missing, then seal."""
        start = time.perf_counter()
        try:
            with Interrupt() as stop:
                self._extract(stop)
        except (KeyboardInterrupt, FeatureError):
            self._keep_partial_shards()
            raise
        self.busy_seconds = time.perf_counter() - start - self.engine.load_seconds
        if not self.writer.begun:
            raise self._no_good_image()
        with paused(), read_errors(self.store.path):
            return seal(
                self.store,
                self.plan,
                self.known,
                self.listing,
                self._outcomes,
                self.assemblers,
                self.engine,
            )

    # Items and rows --------------------------------------------------------------------------

    def _hinted(self, item: Item) -> Outcome:
        """Recognize a file that was read before by its path, size and time, if that may be."""
        key = None if self.plan.settings.rehash else self.known.key_of(item)
        if key is None:
            return Outcome(item=item)
        return Outcome(item=item, read=FileRead(item.path, item.size, item.mtime_ns, key))

    def item_keys(self) -> set[str]:
        """Return the image keys that items are known to have by now."""
        return {outcome.read.image_key for outcome in self._outcomes if outcome.read}

    def _assemblers(self) -> list[Assembler]:
        decoder = pixels.decoder_signature()
        return [
            Assembler(
                self.plan.recipe.key,
                column,
                self.known.grid(column, shape),
                self.known.places(column, decoder),
                self.known.commits,
                self.writer.write,
            )
            for column, shape in zip(self.plan.columns, self.plan.row_shapes, strict=True)
        ]

    def _is_known(self, image_key: str) -> bool:
        return all(assembler.knows(image_key) for assembler in self.assemblers)

    def _take_shards(self) -> int:
        """Take the full shards that begin the newest snapshot, whole; return how many rows."""
        kept = self.known.previous.columns if self.known.previous else ()
        if [c.column.canonical for c in kept] != [a.column.canonical for a in self.assemblers]:
            return 0
        pairs = list(zip(self.assemblers, kept, strict=True))
        step = max(assembler.grid.shard_rows for assembler in self.assemblers)  # powers of two
        rows = min(self._full_rows(*pair) for pair in pairs) // step * step
        for assembler, column in pairs:
            for digest in column.digests[: rows // assembler.grid.shard_rows]:
                assembler.take(self.known.commits[digest])
        return rows

    def _full_rows(self, assembler: Assembler, column: SnapshotColumn) -> int:
        """Return how many rows lie in leading shards that are full and still right."""
        rows = 0
        for digest, ref in zip(column.digests, column.refs, strict=True):
            commit = self.known.commits.get(digest)
            full = ref.rows == assembler.grid.shard_rows
            if not full or commit is None or not assembler.agrees(commit):
                break
            rows += ref.rows
        return rows

    def _wanted(self) -> Iterator[Wanted]:
        """Yield rows of old in their order, then items in theirs."""
        rest = self.known.order[self._taken :]
        self._placed.update(self.known.order[: self._taken])
        if not all(self._is_known(key) for key in rest):
            # A column is new, or a shard was set aside: rows of old need their images, so every
            # item must have its key before the first row is placed.
            self._resolve_all()
        wanted = set(rest)
        for index, outcome in enumerate(self._outcomes):
            if outcome.read is not None:
                key = outcome.read.image_key
                if key in wanted or not self._is_known(key):
                    self._copies.setdefault(key, []).append(index)
        for key in rest:
            self._placed.add(key)
            index = self._copies.get(key, [-1])[0]
            yield Wanted(index, key, fetch=index >= 0 and not self._is_known(key))
        for index, outcome in enumerate(self._outcomes):
            if outcome.read is None:
                yield Wanted(index, None, fetch=True)
            elif outcome.read.image_key not in self._placed:
                self._placed.add(outcome.read.image_key)
                yield Wanted(
                    index, outcome.read.image_key, not self._is_known(outcome.read.image_key)
                )

    def _resolve_all(self) -> None:
        unknown = (Wanted(i, None, True) for i, o in enumerate(self._outcomes) if o.read is None)
        for wanted, file in self.read(unknown):
            self._settle(wanted, file)

    def _settle(self, wanted: Wanted, file: FileBytes | ImageError | None) -> None:
        """Note what reading an item came to."""
        item = self.listing.items[wanted.index]
        if isinstance(file, FileBytes):
            self._outcomes[wanted.index] = Outcome(item=item, read=file.read)
            self.writer.note(file.read)
        elif file is not None:
            self._outcomes[wanted.index] = Outcome(item=item, trouble=file)

    def _candidates(self) -> Iterator[Candidate]:
        """Yield rows that are going to be added, each distinct image once."""
        for wanted, file in self.read(self._wanted(), needs_work=lambda w: w.fetch):
            self._ticker.items_done += wanted.fetch
            candidate = self._accept(wanted, file)
            if candidate is not None:
                yield candidate

    def _accept(self, wanted: Wanted, file: FileBytes | ImageError | None) -> Candidate | None:
        path = self.listing.items[wanted.index].path if wanted.index >= 0 else ""
        if wanted.image_key is not None and not wanted.fetch:
            absent = wanted.index < 0 and not self._is_known(wanted.image_key)
            facts = RowFacts(wanted.image_key, "absent") if absent else None
            return Candidate(wanted.image_key, path, facts=facts)
        self._settle(wanted, file)
        if wanted.image_key is not None:
            return self._accept_known(wanted, path, file)
        if not isinstance(file, FileBytes) or file.read.image_key in self._placed:
            return None
        key = file.read.image_key
        self._placed.add(key)
        return Candidate(key, path, None if self._is_known(key) else file.data)

    def _accept_known(
        self, wanted: Wanted, path: str, file: FileBytes | ImageError | None
    ) -> Candidate:
        """Take the bytes of an image whose key an earlier run knew, if they still are its."""
        key = str(wanted.image_key)
        if isinstance(file, FileBytes) and file.read.image_key == key:
            return Candidate(key, path, file.data)
        if isinstance(file, FileBytes):  # other bytes of the same size and time
            item = self.listing.items[wanted.index]
            trouble = ImageError("read", "changed since an earlier run, which the next run reads")
            self._outcomes[wanted.index] = Outcome(item=item, trouble=trouble)
        copies = self._copies.get(key, [])
        if wanted.index in copies[:-1]:  # another copy may still be readable
            after = replace(wanted, index=copies[copies.index(wanted.index) + 1])
            again = self._read(after)
            self._settle(after, again)
            return self._accept_known(after, self.listing.items[after.index].path, again)
        return Candidate(key, path, facts=RowFacts(key, "absent"))

    # The work of the stages' threads -----------------------------------------------------------

    def _read(self, wanted: Wanted) -> FileBytes | ImageError:
        try:
            return read(self.listing, self.listing.items[wanted.index])
        except ImageError as error:
            return error

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
                cure = " Use --dtype float32" if column.dtype == "float16" else ""
                raise FeatureError(
                    f"Layer {column.layer} gave NaN or infinity for {of}{batch.rows[row][1]}, "
                    f"a good image.{cure}"
                )
        return outputs

    # From candidates to shards -----------------------------------------------------------------

    def _batches(self) -> Iterator[Batch]:
        batch = Batch()
        decoded = self.decode(self._candidates(), needs_work=lambda c: c.data is not None)
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
        known = (a.has_features(key) for key in self.item_keys() for a in self.assemblers)
        if self.extracted or any(known):
            self.writer.begin()
        for assembler in self.assemblers:
            assembler.finish()
        self._placed.clear()
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

    def _no_good_image(self) -> InputError:
        first = next((o for o in self._outcomes if o.trouble), None)
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
        if (tick := self._ticker.tick(self.extracted, waited)) is not None:
            self.reporter.tick(tick)
