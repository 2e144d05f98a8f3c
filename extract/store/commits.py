"""Commit records: the only point at which rows become part of a store.

A shard without its record does not exist for anybody. The record says which images the rows
are, what each row's bytes must hash to, and which files were read, so that a run that was
killed resumes without reading them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from extract.errors import DamagedStoreError
from extract.recipe import Column
from extract.store.files import Files, disk_errors, publish
from extract.store.records import seal, unseal
from extract.store.shards import ShardRef

RowStatus = Literal["good", "warned", "undecodable", "absent"]
T = TypeVar("T", bound=tuple[Any, ...])
LINES_AT_ONCE = 16384
HAS_FEATURES = frozenset({"good", "warned"})


class FileRead(NamedTuple):
    """One file that was read and hashed: a hint for the next run, never part of a digest.

    A tuple, because a run makes one for every item.
    """

    path: str
    size: int
    mtime_ns: int
    image_key: str


class RowFacts(NamedTuple):
    """One row: which image it is and how it went.

    A tuple, because a store of a million images makes a million of them whenever it is opened.
    """

    image_key: str
    status: RowStatus
    stage: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What a shard holds."""

    recipe_key: str
    column: Column
    ref: ShardRef
    rows: tuple[RowFacts, ...]
    row_digests: tuple[str, ...]
    reads: tuple[FileRead, ...] = ()
    decoder: str = ""
    """Signature of the decoder that judged the rows; another one may judge bad rows anew."""
    signature: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The shard's name."""
        return shard_digest(self.recipe_key, self.column, self.rows)


def shard_digest(recipe_key: str, column: Column, rows: Iterable[RowFacts]) -> str:
    """Name a shard by what it is made from: the recipe, the column and the images in order.

    A row without features counts as another image, so that a picture which a newer decoder
    can read leads to another shard instead of to another content under the same name.
    """
    digest = hashlib.sha256(f"{recipe_key}\n{column.canonical}\n".encode())
    names = [key if status in HAS_FEATURES else f"!{key}" for key, status, _, _ in rows]
    digest.update("".join(f"{name}\n" for name in names).encode())
    return digest.hexdigest()


def row_digests(features: np.ndarray) -> list[str]:
    """Return the SHA-256 of each row: type, shape and little-endian bytes, one quiet NaN."""
    array = np.ascontiguousarray(features, features.dtype.newbyteorder("<"))
    nan = np.isnan(array)
    if nan.any():
        array = np.where(nan, np.array(np.nan, array.dtype), array)
    intro = hashlib.sha256(f"{array.dtype.name}{list(array.shape[1:])}\n".encode())
    digests = []
    for row in array:
        digest = intro.copy()
        digest.update(row.tobytes())
        digests.append(digest.hexdigest())
    return digests


class Commits:
    """The commit records of one store."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def digests(self) -> list[str]:
        """Return the digests of all records, sorted."""
        names = self._files.list("commits")
        return [name.removesuffix(".json") for name in names if name.endswith(".json")]

    def exists(self, digest: str) -> bool:
        """Return whether there is a record of this name."""
        try:
            self._files.stamp(name_of(digest))
        except FileNotFoundError:
            return False
        return True

    def read(self, digest: str) -> Commit:
        """Return one record.

        Raises:
            DamagedStoreError: If it is missing, torn, altered, or has another's name.
        """
        return parse(digest, self.read_bytes(digest))

    def read_bytes(self, digest: str) -> bytes:
        """Return the bytes of one record."""
        try:
            return self._files.read(name_of(digest))
        except FileNotFoundError as error:
            raise DamagedStoreError(f"{name_of(digest)} is missing") from error

    def publish(self, commit: Commit) -> None:
        """Make a shard part of the store; a record that is already there stays."""
        with disk_errors(name_of(commit.digest)):
            publish(self._files, name_of(commit.digest), encode(commit))


def name_of(digest: str) -> str:
    """Return the file name of a commit record."""
    return f"commits/{digest}.json"


def encode(commit: Commit) -> bytes:
    """Return the bytes of a record."""
    facts = {
        "recipe_key": commit.recipe_key,
        "column": commit.column.to_json(),
        "shard": commit.ref.to_json(),
        "image_keys": [row.image_key for row in commit.rows],
        "statuses": [row.status for row in commit.rows],
        "reasons": {
            str(i): [row.stage, row.reason] for i, row in enumerate(commit.rows) if row.reason
        },
        "row_digests": list(commit.row_digests),
        "reads": [[r.path, r.size, r.mtime_ns, r.image_key] for r in commit.reads],
        "decoder": commit.decoder,
        "signature": dict(commit.signature),
        "versions": dict(commit.versions),
    }
    return seal("commit", facts)


def parse(digest: str, data: bytes) -> Commit:
    """Read what `encode` wrote."""
    facts = unseal("commit", name_of(digest), data)
    reasons, reads = facts["reasons"], facts["reads"]
    plain = zip(facts["image_keys"], facts["statuses"], repeat(""), repeat(""))
    rows = _tuples(RowFacts, plain)
    for index, (stage, reason) in reasons.items():
        rows[int(index)] = rows[int(index)]._replace(stage=stage, reason=reason)
    own = {key: key for key in facts["image_keys"]}  # the same text is held once
    commit = Commit(
        recipe_key=facts["recipe_key"],
        column=Column(**facts["column"]),
        ref=ShardRef.from_json(facts["shard"]),
        rows=tuple(rows),
        row_digests=tuple(facts["row_digests"]),
        reads=tuple(
            _tuples(FileRead, ((p, size, mtime, own.get(k, k)) for p, size, mtime, k in reads))
        ),
        decoder=facts["decoder"],
        signature=facts["signature"],
        versions=facts["versions"],
    )
    if commit.digest != digest or not len(rows) == len(facts["statuses"]) == commit.ref.rows == len(
        commit.row_digests
    ):
        raise DamagedStoreError(f"{name_of(digest)} belongs to another shard")
    return commit


def _tuples(kind: type[T], values: Iterable[tuple[Any, ...]]) -> list[T]:
    """Make named tuples, three times as quickly as calls do."""
    return [*map(partial(tuple.__new__, kind), values)]


def root_digest(lines: Iterable[str]) -> str:
    """Return the SHA-256 over the sorted lines that `root_line` makes."""
    digest = hashlib.sha256()
    for line in sorted(lines):
        digest.update(line.encode())
    return digest.hexdigest()


def root_of(parts: Sequence[tuple[Column, Commit]], used: Container[str]) -> str:
    """Return the root digest of the rows whose images are in `used`.

    The same as `root_digest` of all their lines, which begin with the image keys. They are made
    in the order of the keys, a piece at a time: a million together would take 300 MB.
    """
    if not parts:  # a part of a listing without one image
        return root_digest([])
    chosen = [
        np.array([i for i, row in enumerate(commit.rows) if row.image_key in used], np.int32)
        for _, commit in parts
    ]
    keys = np.concatenate(
        [
            np.array([commit.rows[i].image_key for i in indices], "S64")
            for (_, commit), indices in zip(parts, chosen, strict=True)
        ]
    )
    sizes = [len(indices) for indices in chosen]
    numbers = np.repeat(np.arange(len(parts), dtype=np.int32), sizes)
    rows = np.concatenate(chosen)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    names = [column.canonical for column, _ in parts]
    digest, start = hashlib.sha256(), 0
    while start < len(order):
        last = min(start + LINES_AT_ONCE, len(order)) - 1
        stop = int(np.searchsorted(keys, keys[last], side="right"))  # all lines of an image
        piece = order[start:stop]
        lines = [
            root_line(parts[part][1].rows[row], names[part], parts[part][1].row_digests[row])
            for part, row in zip(numbers[piece].tolist(), rows[piece].tolist(), strict=True)
        ]
        digest.update("".join(sorted(lines)).encode())
        start = stop
    return digest.hexdigest()


def root_line(row: RowFacts, column: str, row_digest: str) -> str:
    """Return the line of one image and column, its canonical text, in the root digest.

    It knows nothing of order, shards, formats, paths, times or labels, so every history that
    ends with the same images ends with the same root.
    """
    return f"{row[0]} {row[1]} {column} {row_digest}\n"
