"""Erase images from a store: their features, probes and item lines, in every snapshot.

For people who must erase a picture of somebody. What is sealed is never edited, so every snapshot
that has one of the images is sealed anew without it, and then the old ones go:

    new shards and records   rows of other images, copied
    new snapshots            in the order of the old ones, the newest first of all written
    old snapshots            go; from here on nothing leads to the images
    probes, damaged/, tmp/   go
    old records, then shards go

A power cut at any moment leaves a store that is sound, and the same command finishes the work.
Bytes that were removed may stay on a disk until it uses the room again: no file system promises
more.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from extract.errors import InputError, StoreError
from extract.notebook import Shown
from extract.recipe import Column
from extract.rewriting import places_of, rewrite_column, with_rows
from extract.store import succession
from extract.store.commits import Commit, Commits, encode, name_of, root_of
from extract.store.files import disk_errors, publish_copy, read_errors
from extract.store.opening import Store
from extract.store.snapshot_records import SnapshotColumn, SnapshotRecord, follow, record_name

KEY = r"[0-9a-f]{64}"


@dataclass(slots=True, kw_only=True)
class Forgotten(Shown):
    """What was erased."""

    image_keys: list[str]
    items: list[str] = field(default_factory=list)
    """Paths that the images had, in any snapshot."""
    snapshots: list[int] = field(default_factory=list)
    """New numbers of the snapshots that were sealed anew."""
    removed: list[str] = field(default_factory=list)
    """Files that went."""


def forget(path: str | Path, names: Sequence[str]) -> Forgotten:
    """Erase images from a store.

    Args:
        path: The store's folder.
        names: Paths of items, in any snapshot, or image keys. A path means every image that it
            ever was.

    Returns:
        What was erased, after looking through everything for it once more.

    Raises:
        InputError: If there is no such item or image, or nothing would be left.
        StoreError: If there is no store, or one of its records cannot be read.
    """
    store = Store.at(path)
    store.open()  # says it where there is no store
    return forget_images(store, names)


def forget_images(store: Store, names: Sequence[str]) -> Forgotten:
    """Do what `forget` says, on any store."""
    with read_errors(store.path):
        eraser = _Eraser(store, names)
        eraser.check()
        eraser.seal_anew()
        with disk_errors("what forget removes"):
            eraser.remove()
        if left := find_traces(store, eraser.done.image_keys):
            raise StoreError(f"{left[0]} still has an image that was to be forgotten")
    return eraser.done


class _Eraser:
    """One call of `forget`: what it found, and what it has done."""

    def __init__(self, store: Store, names: Sequence[str]) -> None:
        self.store = store
        records = Commits(store.files)
        self.commits = {digest: records.read(digest) for digest in records.digests()}
        self.snapshots = [store.snapshots.read(number) for number in store.snapshots.numbers()]
        self.items = {record.number: store.snapshots.items(record) for record in self.snapshots}
        self.names = set(names)
        self.keys = self._resolve()
        self.done = Forgotten(image_keys=sorted(self.keys))
        self.concerned = {
            digest
            for digest, commit in self.commits.items()
            if any(row.image_key in self.keys for row in commit.rows)
        }

    def _resolve(self) -> set[str]:
        """Return the image keys that the names stand for."""
        seen: dict[str, set[str]] = {}
        for items in self.items.values():
            for path, key in zip(
                items["path"].to_pylist(), items["image_key"].to_pylist(), strict=True
            ):
                seen.setdefault(path, set()).update({key} - {None})
        for commit in self.commits.values():
            for read in commit.reads:
                seen.setdefault(read.path, set()).add(read.image_key)
        known = {row.image_key for commit in self.commits.values() for row in commit.rows}
        known = known.union(*seen.values(), _probe_keys(self.store))
        keys: set[str] = set()
        for name in self.names:
            if name in seen:
                keys |= seen[name]
            elif re.fullmatch(KEY, name) and name in known:
                keys.add(name)
            else:
                raise InputError(
                    f"{self.store.path} has no item and no image {name!r}. If an earlier forget "
                    f"was cut short, this finishes it: python -m extract gc {self.store.path} "
                    f"--older-than 0 --yes"
                )
        return keys

    def check(self) -> None:
        """Raise `InputError` if the newest snapshot would be empty."""
        newest = self._without(self.items[self.snapshots[-1].number])
        if not any(row >= 0 for row in newest["row"].to_pylist()):
            raise InputError(
                f"{self.store.path} has no other images: remove the folder to forget these"
            )

    def _without(self, items: pa.Table) -> pa.Table:
        keep = [
            path not in self.names and key not in self.keys
            for path, key in zip(
                items["path"].to_pylist(), items["image_key"].to_pylist(), strict=True
            )
        ]
        return items.filter(pa.array(keep, pa.bool_()))

    def _is_concerned(self, record: SnapshotRecord) -> bool:
        items = self.items[record.number]
        digests = {digest for column in record.columns for digest in column.digests}
        probes = {f"probes/user-{key}" for key in self.keys}
        return bool(
            len(self._without(items)) < len(items)
            or digests & self.concerned
            or record.files.keys() & probes
        )

    def seal_anew(self) -> None:
        """Seal every snapshot from the first concerned one on without the images.

        Where an earlier call was cut short after it had sealed all of them, that was done; where
        it had sealed some, these go with the old ones.
        """
        numbers = {record.number for record in self.snapshots}
        copies = [r for r in self.snapshots if r.replaces in numbers and not self._is_concerned(r)]
        sources = [r for r in self.snapshots if r not in copies]
        first = next((i for i, r in enumerate(sources) if self._is_concerned(r)), len(sources))
        self.old = sources[first:]
        for record in self.old:
            before = set(self.items[record.number]["path"].to_pylist())
            after = set(self._without(self.items[record.number])["path"].to_pylist())
            self.done.items = sorted({*self.done.items, *(before - after)})
        if {record.number for record in self.old} <= {copy.replaces for copy in copies}:
            self.done.snapshots = [c.number for c in copies]
            return
        sealed = [made for record in self.old if (made := self._without_images(record))]
        newest = self.snapshots[-1].number
        self.done.snapshots = succession.seal_all(self.store, sealed, after=newest)
        self.old += copies

    def _without_images(self, record: SnapshotRecord) -> tuple[SnapshotRecord, pa.Table] | None:
        """Return what to seal in the place of a snapshot; None where it has no other images."""
        items = self._without(self.items[record.number])
        old = [[self.commits[digest] for digest in c.digests] for c in record.columns]
        keys = [r.image_key for c in old[0] for r in c.rows if r.image_key not in self.keys]
        if not keys:
            return None
        columns: list[SnapshotColumn] = []
        parts: list[tuple[Column, Commit]] = []
        used = set(items["image_key"].to_pylist())
        clean = {d: c for d, c in self.commits.items() if d not in self.concerned}
        for kept, commits in zip(record.columns, old, strict=True):
            column, new = rewrite_column(
                self.store,
                self.store.shards,
                kept.column,
                kept.refs[0].grid,
                keys,
                places_of(commits),
                clean,
            )
            columns.append(column)
            self.commits |= {commit.digest: commit for commit in new}
            parts += [(kept.column, commit) for commit in new]
        table = with_rows(items, keys)
        sealed = replace(
            follow(record, table, columns), root_digest=root_of(parts, used), replaces=record.number
        )
        return self._without_probes(sealed), table

    def _without_probes(self, record: SnapshotRecord) -> SnapshotRecord:
        """Leave out the probes that go, and the features that are of them too."""
        if not self._has_probes():
            return record
        gone = {f"probes/user-{key}" for key in self.keys}
        files = {
            name: facts
            for name, facts in record.files.items()
            if name not in gone and not name.startswith("probes/features-")
        }
        return replace(record, files=files)

    def _has_probes(self) -> bool:
        return bool(_probe_keys(self.store) & self.keys)

    def remove(self) -> None:
        """Remove what has the images: each step durably, before the next."""
        succession.renew_bad_images(
            self.store
        )  # it may name them yet, where an earlier call was cut short
        self._remove([record_name(record.number) for record in self.old])
        self._remove([record.items_file for record in self.old])
        self._remove(_loose_tables(self.store))
        for digest, commit in self.commits.items():
            if digest not in self.concerned:
                self._strip_reads(commit)
        if self._has_probes():
            self._strip_probe_features()
            self._remove(
                [f"probes/user-{key}" for key in sorted(self.keys & _probe_keys(self.store))]
            )
        for folder in ("damaged", "tmp"):
            self._remove([f"{folder}/{name}" for name in self.store.files.list(folder)])
        self._remove([name_of(digest) for digest in sorted(self.concerned)])
        named = {self.commits[d].ref.file for d in self.commits if d not in self.concerned}
        shards = [f"shards/{name}" for name in self.store.files.list("shards")]
        self._remove([name for name in shards if name not in named])

    def _remove(self, names: Iterable[str]) -> None:
        files = self.store.files
        there = [n for n in names if n.rpartition("/")[2] in files.list(n.rpartition("/")[0])]
        for name in there:
            files.remove(name)
        for folder in sorted({name.rpartition("/")[0] for name in there}):
            files.fsync(folder)
        self.done.removed += there

    def _strip_reads(self, commit: Commit) -> None:
        """Write a record anew that tells of reading an image; what it holds stays the same."""
        reads = tuple(
            r for r in commit.reads if r.image_key not in self.keys and r.path not in self.names
        )
        if reads != commit.reads:
            stripped = replace(commit, reads=reads)
            publish_copy(self.store.files, name_of(commit.digest), encode(stripped))

    def _strip_probe_features(self) -> None:
        """Drop the images' lines from the features of the probes, for every column."""
        files = self.store.files
        for name in files.list("probes"):
            if not name.startswith("features-"):
                continue
            with np.load(io.BytesIO(files.read(f"probes/{name}")), allow_pickle=False) as arrays:
                names, features = arrays["names"], arrays["features"]
            keep = [n.removeprefix("user-") not in self.keys for n in names.tolist()]
            sink = io.BytesIO()
            np.savez(sink, names=names[keep], features=features[keep])
            publish_copy(files, f"probes/{name}", sink.getvalue())


def _probe_keys(store: Store) -> set[str]:
    names = store.files.list("probes")
    return {name.removeprefix("user-") for name in names if name.startswith("user-")}


def _loose_tables(store: Store) -> list[str]:
    """Return the tables of items that no snapshot names: nobody can say whose items they have."""
    snapshots = store.snapshots
    named = {snapshots.read(number).items_file for number in snapshots.numbers()}
    return [name for name in (f"snapshots/{n}" for n in snapshots.tables()) if name not in named]


def find_traces(store: Store, image_keys: Iterable[str]) -> list[str]:
    """Return the files of a store that know one of these images; none after `forget`.

    Every record, table and probe is read; a shard is found by its record, and a shard without a
    record, like everything in `damaged/` and `tmp/`, may have any image.
    """
    keys = set(image_keys)
    traces = [f"probes/user-{key}" for key in sorted(_probe_keys(store) & keys)]
    records = Commits(store.files)
    named = set()
    for digest in records.digests():
        commit = records.read(digest)
        named.add(commit.ref.file)
        known = {row.image_key for row in commit.rows} | {r.image_key for r in commit.reads}
        if keys & known:
            traces += [name_of(digest), commit.ref.file]
    for number in store.snapshots.numbers():
        record = store.snapshots.read(number)
        if keys & set(store.snapshots.items(record)["image_key"].to_pylist()):
            traces.append(record.items_file)
    for name in store.files.list("probes"):
        if name.startswith("features-"):
            data = store.files.read(f"probes/{name}")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                if keys & {n.removeprefix("user-") for n in arrays["names"].tolist()}:
                    traces.append(f"probes/{name}")
    shards = [f"shards/{name}" for name in store.files.list("shards")]
    traces += [name for name in shards if name not in named]
    traces += _loose_tables(store)
    return traces + [f"{d}/{n}" for d in ("damaged", "tmp") for n in store.files.list(d)]
