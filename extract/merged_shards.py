"""The shards of several stores, read where they are; those that fit come over as they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extract.known import Known
from extract.store.acknowledging import acknowledge_copy
from extract.store.commits import Commit
from extract.store.files import Files, LocalFiles, disk_errors, publish
from extract.store.opening import Store
from extract.store.reader import Snapshot
from extract.store.shards import FeatureShards, Format, Grid, ShardRef


@dataclass(frozen=True, slots=True)
class Source:
    """One of the stores that are merged."""

    store: Store
    snapshot: Snapshot
    known: Known


class ManyShards(FeatureShards):
    """The shards of several stores, each read where it is."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._homes = {
            (commit.ref.file, commit.ref.sha256): source.store
            for source in reversed(sources)
            for commit in source.known.commits.values()
        }

    def home(self, ref: ShardRef) -> Store:
        """Return the first store that has a shard."""
        return self._homes[ref.file, ref.sha256]

    def write(
        self, digest: str, features: np.ndarray, grid: Grid, format: Format | None = None
    ) -> ShardRef:
        raise NotImplementedError("merged stores are only read")

    def take(self, ref: ShardRef, rows: np.ndarray, out: np.ndarray, at: np.ndarray) -> None:
        self.home(ref).shards.take(ref, rows, out, at)


class Taker:
    """Brings shards of other stores into a new one as they are: shard first, then its record."""

    def __init__(self, shards: ManyShards, out: Store) -> None:
        self.shards = shards
        self.count = 0
        self._out = out

    def __call__(self, commit: Commit) -> None:
        home = self.shards.home(commit.ref)
        home.shards.parse(commit.ref)  # what is taken is what was sealed
        with disk_errors(commit.ref.file):
            _link(home.files, self._out.files, commit.ref.file)
        self._out.shards.parse(commit.ref)  # exists does not mean correct
        acknowledge_copy(self._out, commit)
        self.count += 1


def _link(source: Files, target: Files, name: str) -> None:
    """Give a file of one store to another: a hard link where the disk has them, else a copy."""
    if isinstance(source, LocalFiles) and isinstance(target, LocalFiles):
        try:
            os.link(source.root / name, target.root / name)
        except FileExistsError:
            pass
        except OSError:
            publish(target, name, source.read(name))
        target.fsync(name.rpartition("/")[0])
    else:
        publish(target, name, source.read(name))
