"""One worker of a cluster: holds the compiled backbone, makes shards, commits them itself.

It runs the same pipeline as one machine does, on the items of one shard at a time, and everything
but the seal. What it returns is a receipt; features go to the store and nowhere else. A chore may
be done twice: a shard has the name of its images, and of two records one stays.

Nothing here knows which engine hands chores out.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from extract import cores
from extract.chores import FileFacts
from extract.cluster_reach import check_images, check_store, listing_at
from extract.errors import BackboneError, InputError
from extract.items import Item
from extract.known import Known
from extract.lazy_engine import LazyEngine
from extract.pipeline import Extraction
from extract.plan import Plan
from extract.progress import Silent
from extract.store import header
from extract.store.opening import Store
from extract.store.shards import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is the same for all chores of a run."""

    store: str
    """The store's address: an absolute path on a file system that all machines share, or a URL."""
    root: str
    """Where the images are, likewise: a folder that all machines see, or a URL."""
    plan: Plan
    grids: Mapping[str, Grid]
    """How columns are cut, by their canonical text."""
    backend: str
    """The Keras backend that the driver uses; "" where none was chosen."""
    version: str
    """Of headstart, on the driver."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker that can begin."""

    node: str
    signature: Mapping[str, str]
    """The engine's; within one, features agree bit for bit."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a chore: some hundred bytes."""

    chore: int
    last: str
    """Digest of its last shard; "" where no image of it was good."""
    shards: int
    extracted: int
    unreadable: int
    seconds: Mapping[str, float]
    """Time of each stage, summed over its threads."""


class Worker:
    """Makes shards; `make` may be called from two threads, so that one reads while one waits."""

    def __init__(self, job: Job, files: Mapping[str, bytes], node: str, num_cores: int) -> None:
        """Take a job; `files` are those of the converted graph."""
        self._job = job
        self._files = files
        self._node = node
        self._cores = num_cores
        self._engine: LazyEngine | None = None
        self._works: dict[int, Extraction] = {}
        self._done = 0
        self._lock = threading.Lock()

    def ready(self) -> Ready:
        """Look for all that a chore needs, and load the engine.

        Raises:
            InputError: If this machine has another headstart, or does not see images or store.
            BucketError: If they are in a bucket that does not answer it.
        """
        job = self._job
        own = importlib.metadata.version("headstart")
        if own != job.version:
            raise InputError(
                f"{self._node} has headstart {own}, and {job.version} asks. Install that one there"
            )
        check_images(self._node, job.root)
        check_store(self._node, job.store)
        self._load()
        assert self._engine is not None
        return Ready(self._node, dict(self._engine.engine.signature))

    def _load(self) -> None:
        cores.use_at_most(self._cores)
        cv2.setNumThreads(1)  # as every run does, and puts back what it found
        if self._job.backend:
            os.environ["KERAS_BACKEND"] = self._job.backend
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # others may share the GPU
        with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
            for name, data in self._files.items():
                (Path(folder) / name).write_bytes(data)
            plan = self._job.plan
            prepared = replace(plan.prepared, folder=Path(folder))
            engine = LazyEngine(replace(plan, prepared=prepared))
            try:
                _ = engine.engine
            except BackboneError as error:
                raise BackboneError(f"{self._node}: {error}") from error
        self._engine = engine
        self._files = {}

    def make(self, number: int, files: Sequence[FileFacts], columns: Sequence[int]) -> Receipt:
        """Read, decode, extract and commit what one chore names."""
        assert self._engine is not None
        job = self._job
        plan = replace(
            job.plan,
            columns=tuple(job.plan.columns[at] for at in columns),
            row_shapes=tuple(job.plan.row_shapes[at] for at in columns),
        )
        store = Store.at(job.store)
        items = tuple(Item(path, size=size, mtime_ns=mtime) for path, size, mtime in files)
        work = Extraction(
            store,
            listing_at(job.root, items),
            Known(head=header.read(store.files), grids=job.grids),
            plan,
            Silent(),
            LazyEngine(plan, self._engine.engine),
            scale_is_right=True,  # the driver has looked
        )
        with self._lock:
            self._works[number] = work
        try:
            work.commit()
        finally:
            work.close()
            with self._lock:
                self._done += self._works.pop(number).items_done
        return _receipt(number, work)

    def items_done(self) -> int:
        """Return how many items this worker is done with: proof that it is alive."""
        with self._lock:
            return self._done + sum(work.items_done for work in self._works.values())


def _receipt(number: int, work: Extraction) -> Receipt:
    digests = [digest for assembler in work.assemblers for digest in assembler.digests]
    return Receipt(
        chore=number,
        last=digests[-1] if digests and work.writer.begun else "",
        shards=len(digests) if work.writer.begun else 0,
        extracted=work.extracted,
        unreadable=len(work.listing.items) - work.items_read,
        seconds={
            "read": work.read.seconds,
            "decode": work.decode.seconds,
            "forward": work.forward.seconds,
            "write": work.writer.seconds,
        },
    )
