"""The last stage of a run: drafts of shards become commits, in a thread of their own.

A store begins with its first good image that is known to be of the right scale. Until then drafts
are held back (but for a few, their rows are bad and take no room), so that a folder without a
single picture, or of pictures that were divided by 255, leaves nothing behind.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from extract import pixels
from extract.assemble import Draft
from extract.known import Known
from extract.lazy_engine import LazyEngine
from extract.mixing import joined, of_places
from extract.plan import Plan, check_recipe, versions
from extract.store import header
from extract.store.acknowledging import acknowledge, read_acknowledged
from extract.store.commits import Commit, Commits, FileRead, row_digests
from extract.store.files import read_errors
from extract.store.opening import Store

AHEAD = 2  # shards that wait to be written, 64 MB each at most


class Writer:
    """Writes what assemblers draft, in order; errors surface at the next call."""

    def __init__(self, store: Store, plan: Plan, known: Known, engine: LazyEngine) -> None:
        self.begun = False
        """Whether there is a row worth keeping."""
        self.written = 0
        """Shards that are in the store by this run."""
        self.seconds = 0.0
        """Time that writing took."""
        self.waited = 0.0
        """Time that the caller stood waiting for it."""
        self._store = store
        self._plan = plan
        self._known = known
        self._engine = engine
        kept = known.previous.columns if known.previous else ()
        self._formats = {d: r.format for c in kept for d, r in zip(c.digests, c.refs, strict=True)}
        """By digest, of shards that a snapshot names: one that was lost comes back as it was."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._jobs: deque[Future[None]] = deque()
        self._held: list[tuple[str, Draft, tuple[FileRead, ...]]] = []
        self._reads: list[FileRead] = []

    def begin(self) -> None:
        """Make the store, now that an image is good."""
        if self.begun:
            return
        self.begun = True
        self._jobs.append(self._thread.submit(self._on_disk, self._create))
        for held in self._held:
            self._submit(*held)
        self._held.clear()

    def note(self, read: FileRead) -> None:
        """Remember a file that was read; the next commit says so."""
        self._reads.append(read)

    def write(self, digest: str, draft: Draft) -> None:
        """Take a draft from an assembler."""
        reads = tuple(self._reads)
        self._reads.clear()
        if self.begun:
            self._submit(digest, draft, reads)
        else:
            self._held.append((digest, draft, reads))

    def check(self) -> None:
        """Raise what went wrong so far, so that a run on a full disk ends early."""
        while self._jobs and self._jobs[0].done():
            self._jobs.popleft().result()

    def finish(self) -> None:
        """Wait until everything is on the disk."""
        while self._jobs:
            self._wait()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _submit(self, digest: str, draft: Draft, reads: tuple[FileRead, ...]) -> None:
        while len(self._jobs) >= AHEAD:
            self._wait()
        publish = partial(self._publish, digest, draft, reads)
        self._jobs.append(self._thread.submit(self._on_disk, publish))

    def _wait(self) -> None:
        start = time.perf_counter()
        self._jobs.popleft().result()
        self.waited += time.perf_counter() - start

    def _on_disk(self, work: Callable[[], None]) -> None:
        """Do what reads and writes; the disk's refusals become one line."""
        with read_errors(self._store.path):
            work()

    def _create(self) -> None:
        if self._known.head is not None:
            header.make_folders(self._store.files)
            return
        head = header.Header(
            recipe=self._plan.recipe,
            signature=self._engine.engine.signature,
            backbone=self._plan.backbone(),
        )
        header.create(self._store.files, head)
        found = header.read(self._store.files)  # ours, or that of a run beside us
        if found is not None:
            check_recipe(found.recipe, self._plan.recipe, self._store.path)

    def _publish(self, digest: str, draft: Draft, reads: tuple[FileRead, ...]) -> None:
        start = time.perf_counter()
        if Commits(self._store.files).exists(digest):  # a run beside us was first
            found = read_acknowledged(self._store, digest)  # perhaps with other bits
            self._known.commits[digest] = replace(found, reads=())
        if digest not in self._known.commits:
            features = draft.features(self._store.shards)
            format = self._formats.get(digest, self._plan.format)
            commit = Commit(
                recipe_key=self._plan.recipe.key,
                column=draft.column,
                ref=self._store.shards.write(digest, features, draft.grid, format),
                rows=draft.rows,
                row_digests=tuple(row_digests(features)),
                reads=reads,
                decoder=pixels.decoder_signature(),
                signature=self._signature(draft),
                versions=versions(),
            )
            self._known.commits[digest] = replace(acknowledge(self._store, commit), reads=())
            self.written += 1
        self.seconds += time.perf_counter() - start

    def _signature(self, draft: Draft) -> dict[str, str]:
        own = [self._engine.engine.signature] if draft.fresh else []
        return joined([*of_places(draft.known.values()), *own])
