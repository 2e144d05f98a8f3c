"""Bugs that are planted on purpose, one at a time: the campaign must catch every one.

A check that cannot fail is worth nothing. Each bug names the check that must fail with it; without
a bug, that check must find nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from extract.store.files import Files, LocalFiles
from tests.campaign import crashes, damage, rows
from tests.campaign.figures import Effort, Figure
from tests.campaign.scenarios import Scenario, scenarios
from tests.campaign.world import numbered_scratch_names, scratch

QUICK = Effort(states=12, cut_again_every=1 << 30, first_failure=True)
MUTATIONS = 14  # of each kind of file: every mutation twice


# The bugs --------------------------------------------------------------------------------------


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
    for module in ("commits", "file_shards", "snapshots", "header", "gc"):
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


def trusts_an_existing_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("extract.store.file_shards.FileShards._settle", lambda self, ref, data: None)


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

    def backwards(*words: Any) -> gc.Garbage:
        found = find(*words)
        found.records, found.rest = found.rest, found.records
        return found

    patch.setattr("extract.compacting.find_garbage", backwards)


def missing_reads_as_zero(patch: pytest.MonkeyPatch) -> None:
    """What zarr does with its fill value."""
    from extract.store.file_shards import FileShards

    read = FileShards.read

    def lenient(self: FileShards, ref: Any, start: int, stop: int, out: Any = None) -> Any:
        try:
            return read(self, ref, start, stop, out)
        except Exception:
            if out is None:
                out = np.empty((stop - start, *ref.row_shape), ref.grid.little_endian)
            out[...] = 0
            return out

    patch.setattr(FileShards, "read", lenient)
    patch.setattr("extract.store.snapshots.Snapshots.check_present", lambda self, record: None)


def digest_not_checked(patch: pytest.MonkeyPatch) -> None:
    from extract.store.file_shards import FileShards

    def unchecked(self: FileShards, ref: Any, out: np.ndarray) -> None:
        self._checked[ref.file] = (ref.sha256, self._stamp(ref))
        self._read_rows(ref, 0, ref.rows, out)

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
    from extract import pixels

    load = pixels.load
    shift = 1
    patch.setattr(
        "extract.pixels.load",
        lambda *words: (lambda found: (np.roll(found[0], shift, 0) * 0.99, found[1]))(load(*words)),
    )


def labels_not_in_the_digest(patch: pytest.MonkeyPatch) -> None:
    from extract.store import snapshots

    digest = snapshots.items_digest

    def blind(items: Any) -> str:
        nobody = pa.nulls(len(items), pa.string())
        names = ["path", "label"]  # the test moves a picture, which is another path as well
        for name in names:
            at = items.schema.get_field_index(name)
            items = items.set_column(at, name, items["image_key"] if name == "path" else nobody)
        return digest(items.filter(pc.is_valid(items["path"])))

    patch.setattr("extract.sealing.items_digest", blind)
    patch.setattr("extract.store.snapshots.items_digest", blind)


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


# The checks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checks:
    """The checks of the campaign, each on little."""

    commands: dict[str, Scenario]
    folder: Path

    def power_cuts(self, command: str = "extract") -> list[str]:
        store = self.folder / "store"
        try:
            return crashes.cut_everywhere(self.commands[command], store, QUICK).failures
        except Exception as error:  # a bug may end the check itself: it is seen all the same
            return [f"{type(error).__name__}: {error}"]

    def damage(self) -> list[str]:
        place = self.folder / "damage"
        place.mkdir(exist_ok=True)
        victim = damage.stores(place)[0]
        for kind in ("shard", "commit", "snapshot"):
            part = replace(victim, kinds={kind: damage.KINDS[kind]})
            if found := damage.damage_store(part, place, MUTATIONS, 0).failures:
                return found
        return []

    def strangers(self) -> list[str]:
        return rows.strangers_are_not_adopted(self.folder, self.commands["extract"].truth)

    def rows(self) -> list[str]:
        return rows.rows_are_their_images(self.folder)

    def labels(self) -> list[str]:
        return rows.other_labels_are_other_items(self.folder)

    def selection(self) -> list[str]:
        return rows.heads_never_see_test_rows(self.folder)

    def statistics(self) -> list[str]:
        return rows.statistics_stay(self.folder)


@dataclass(frozen=True)
class Bug:
    """A bug, and the check that must fail with it."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    check: str
    words: tuple[str, ...] = ()

    def found_by(self, checks: Checks) -> list[str]:
        """Return what the check says."""
        return getattr(checks, self.check)(*self.words)


BUGS = [
    Bug("no fsync of a file's bytes", without_fsync, "power_cuts"),
    Bug("fsync after the link", fsync_after_link, "power_cuts"),
    Bug("no fsync of the folder", without_folder_fsync, "power_cuts"),
    Bug("the record before its shard", record_before_shard, "power_cuts"),
    Bug(
        "gc removes shards before records", gc_removes_shards_first, "power_cuts", ("gc --compact",)
    ),
    Bug("a scratch file is adopted", adopts_a_scratch_file, "strangers"),
    Bug("an existing name is trusted", trusts_an_existing_name, "strangers"),
    Bug("what is missing reads as zero", missing_reads_as_zero, "damage"),
    Bug("a shard's digest is not checked", digest_not_checked, "damage"),
    Bug("a record's self-check is not checked", self_check_not_checked, "damage"),
    Bug("rows of bad images are used", bad_rows_used, "rows"),
    Bug("rows are off by one", off_by_one, "rows"),
    Bug("pixels are divided by 255", wrong_scaling, "rows"),
    Bug("pixels are moved by the resize", resize_on_corners, "rows"),
    Bug("labels are not in the items digest", labels_not_in_the_digest, "labels"),
    Bug("test rows choose the head", test_rows_in_selection, "selection"),
    Bug("BatchNormalization's statistics move", statistics_move, "statistics"),
]


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield one figure: how many bugs were planted, and which was not caught."""
    with scenarios() as commands, numbered_scratch_names(), scratch() as folder:
        checks = Checks({s.name: s for s in commands}, folder)
        figure = Figure(point=8, what="planted bugs, each caught by the check named for it")
        for bug in {(b.check, b.words): b for b in BUGS}.values():
            said = bug.found_by(checks)
            figure.check(not said, f"{bug.check} fails without any bug: {said[:2]}")
        for bug in BUGS:
            figure.tried += 1
            figure.check(caught(bug, checks), f"{bug.check} does not see that {bug.name}")
        figure.note = f"by {len({(b.check, b.words) for b in BUGS})} checks, sound without a bug"
        yield figure


def caught(bug: Bug, checks: Checks) -> bool:
    """Plant a bug, and return whether its check fails."""
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        try:
            return bool(bug.found_by(checks))
        except Exception:  # refused with an error, such as images of the wrong scale
            return True
