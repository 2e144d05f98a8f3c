"""Bugs that are planted on purpose: each function puts one in, for as long as a patch lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from extract.store.files import Files, LocalFiles
from tests.campaign.disk import WatchedFiles


def published_with(steps: str) -> Callable[[Files, str, bytes], bool]:
    """Return `publish` with these steps: Write, sync the File, Link, sync the folDer, Remove."""

    def publish(files: Files, name: str, data: bytes) -> bool:
        import secrets

        scratch_name, created = f"tmp/{secrets.token_hex(8)}", True
        for step in steps:
            if step == "W":
                files.write_new(scratch_name, data)
            elif step == "F":
                files.fsync(scratch_name)
            elif step == "L":
                try:
                    files.link_new(scratch_name, name)
                except FileExistsError:
                    created = False
            elif step == "D":
                files.fsync(name.rpartition("/")[0])
            else:
                files.remove(scratch_name)
        return created

    return publish


def publish_in(patch: pytest.MonkeyPatch, publish: Callable[..., bool]) -> None:
    """Put another `publish` in every place that has it."""
    for module in ("commits", "file_shards", "succession", "header", "gc"):
        patch.setattr(f"extract.store.{module}.publish", publish)
    patch.setattr("extract.probe_files.publish", publish)


def without_fsync(patch: pytest.MonkeyPatch) -> None:
    publish_in(patch, published_with("WLDR"))


def fsync_after_link(patch: pytest.MonkeyPatch) -> None:
    publish_in(patch, published_with("WLFDR"))


def without_folder_fsync(patch: pytest.MonkeyPatch) -> None:
    publish_in(patch, published_with("WFLR"))


def adopts_a_scratch_file(patch: pytest.MonkeyPatch) -> None:
    """One scratch name, and what is there already is taken for ours."""
    write_new = LocalFiles.write_new

    def adopt(self: LocalFiles, name: str, data: bytes) -> None:
        with contextlib.suppress(FileExistsError):
            write_new(self, name, data)

    patch.setattr("secrets.token_hex", lambda n=8: "scratch")
    patch.setattr(LocalFiles, "write_new", adopt)


def new_folders_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WatchedFiles, "_sync_name", lambda self, path: None)


def folders_found_are_trusted(patch: pytest.MonkeyPatch) -> None:
    """Syncs the names of the folders that it made itself, and of no other."""

    def make(self: WatchedFiles, folder: str) -> None:
        path = self.root / folder
        for missing in reversed([p for p in [path, *path.parents] if not p.exists()]):
            self._new_folder(missing)
            self._sync_name(missing)

    patch.setattr(WatchedFiles, "make_folder", make)


def trusts_an_existing_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("extract.store.file_shards.FileShards._holds", lambda self, name, data: True)


def record_before_shard(patch: pytest.MonkeyPatch) -> None:
    """Writes the commit first: the shard's own publishing is put off until its record is there."""
    from extract.store import file_shards
    from extract.store.commits import Commits

    put_off: list[Callable[[], object]] = []
    publish, commit = file_shards.publish, Commits.publish

    def later(files: Files, name: str, data: bytes) -> bool:
        put_off.append(partial(publish, files, name, data))
        return True

    def first(self: Commits, record: Any) -> None:
        commit(self, record)
        while put_off:
            put_off.pop()()

    patch.setattr(file_shards, "publish", later)
    patch.setattr(Commits, "publish", first)


def gc_removes_shards_first(patch: pytest.MonkeyPatch) -> None:
    from extract.store import gc

    find = gc.find_garbage

    def backwards(*words: Any, **named: Any) -> gc.Garbage:
        found = find(*words, **named)
        found.records, found.rest = found.rest, found.records
        return found

    patch.setattr("extract.compacting.find_garbage", backwards)


def missing_reads_as_zero(patch: pytest.MonkeyPatch) -> None:
    """What zarr does with its fill value."""
    from extract.store.file_shards import FileShards

    take = FileShards.take

    def lenient(self: FileShards, ref: Any, rows: Any, out: Any, at: Any) -> None:
        try:
            take(self, ref, rows, out, at)
        except Exception:
            out[at] = 0

    patch.setattr(FileShards, "take", lenient)
    patch.setattr("extract.store.snapshots.Snapshots.check_present", lambda self, record: None)


def digest_not_checked(patch: pytest.MonkeyPatch) -> None:
    from extract.store.file_shards import FileShards

    def unchecked(self: FileShards, ref: Any, out: np.ndarray) -> None:
        self._checked[ref.file] = (ref.sha256, self._stamp(ref))
        self._read_rows(ref, np.arange(ref.rows), out, np.arange(ref.rows))

    patch.setattr(FileShards, "_read_checked", unchecked)


def self_check_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("extract.store.records._fits", lambda data, body, check: True)


def bad_rows_used(patch: pytest.MonkeyPatch) -> None:
    from extract.store.reader import Snapshot

    chosen = Snapshot._chosen
    patch.setattr(Snapshot, "_chosen", lambda self, split, bad: chosen(self, split, "keep"))


def off_by_one(patch: pytest.MonkeyPatch) -> None:
    from extract.store import reader

    gather = reader.gather

    def shifted(shards: Any, kept: Any, numbers: np.ndarray) -> np.ndarray:
        total = sum(ref.rows for ref in kept.refs)
        return gather(shards, kept, np.where(numbers >= 0, (numbers + 1) % total, numbers))

    patch.setattr(reader, "gather", shifted)


def wrong_scaling(patch: pytest.MonkeyPatch) -> None:
    from extract import pixels

    load = pixels.load

    def scaled(*words: Any) -> Any:
        array, warning = load(*words)
        return array / np.float32(255), warning

    patch.setattr("extract.pixels.load", scaled)


def resize_on_corners(patch: pytest.MonkeyPatch) -> None:
    """Aligns corners instead of pixel centers: half a pixel off at the borders."""

    def aligned(pixels: np.ndarray, size: int) -> np.ndarray:
        height, width = pixels.shape[:2]
        columns = np.linspace(0, width - 1, size, dtype=np.float32)
        rows_ = np.linspace(0, height - 1, size, dtype=np.float32)
        grid = np.meshgrid(columns, rows_)
        return cv2.remap(pixels.astype(np.float32), *grid, cv2.INTER_LINEAR)

    patch.setattr("extract.resize._resize_bilinear", aligned)


def labels_not_in_the_digest(patch: pytest.MonkeyPatch) -> None:
    from extract.store import item_tables

    digest = item_tables.items_digest

    def blind(items: Any) -> str:
        nobody = pa.nulls(len(items), pa.string())
        names = ["path", "label"]  # the test moves a picture, which is another path as well
        for name in names:
            at = items.schema.get_field_index(name)
            items = items.set_column(at, name, items["image_key"] if name == "path" else nobody)
        return digest(items.filter(pc.is_valid(items["path"])))

    patch.setattr("extract.sealing.items_digest", blind)
    patch.setattr("extract.store.snapshot_records.items_digest", blind)


def test_rows_in_selection(patch: pytest.MonkeyPatch) -> None:
    """Validation rows are joined by the test rows where a head is chosen."""
    from heads.data import Source

    def joined(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, split: Any, *words: Any, **options: Any) -> Any:
            return real(self, "test" if split == "validation" else split, *words, **options)

        return call

    patch.setattr(Source, "load", joined(Source.load))
    patch.setattr(Source, "blocks", joined(Source.blocks))


test_rows_in_selection.__test__ = False  # type: ignore[attr-defined]


def statistics_move(patch: pytest.MonkeyPatch) -> None:
    from finetune.tuner import Tuner

    def call(self: Tuner, inputs: Any, training: bool | None = None) -> Any:
        row = self.body(inputs, training=training)
        return self.head(self.dropout(row, training=training)) / self._temperature

    patch.setattr(Tuner, "call", call)
