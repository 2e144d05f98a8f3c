"""A store's files in a bucket: every write is one request that gives a name to whole bytes.

Nothing is renamed or locked. A name is given only if it is free (put-if-absent). The answer to a
put may be lost on its way: so each put carries a mark of its own, and who hears that the name is
taken, or hears nothing, reads back whose mark is there.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from extract.bucket import LANES, bucket_errors, etag_number, open_bucket
from extract.errors import BucketError
from extract.store.files import Buffer, Read, Stamp

MARK = "writer"
"""Key of an object's metadata; Azure takes letters only."""
TRIES = 3
"""Puts of one file, each of which obstore tries again as well."""
PIECE = 1 << 30  # a whole shard is one request


class ObjectFiles:
    """A store's folder in a bucket."""

    whole_writes = True
    piece = PIECE
    lanes = LANES

    def __init__(self, bucket: Any, url: str, *, marks: bool = True) -> None:
        """Take an obstore store whose names are relative to `url`.

        `marks` says whether it keeps metadata, which every provider does, and a disk does not.
        """
        self.url = url
        self._bucket = bucket
        self._marks = marks

    @classmethod
    def at(cls, url: str) -> ObjectFiles:
        """Return the files below a URL, with what the environment says of its bucket."""
        return cls(open_bucket(url), url)

    def __repr__(self) -> str:
        return f"ObjectFiles({self.url!r})"

    def read(self, name: str) -> bytes:
        with bucket_errors(self.url, name):
            return bytes(self._bucket.get(name).bytes())

    def view(self, name: str) -> Buffer:
        with bucket_errors(self.url, name):
            return memoryview(self._bucket.get(name).bytes())

    def read_into(self, name: str, reads: Iterable[Read]) -> int:
        wanted = [(start, buffers, sum(map(len, buffers))) for start, buffers in reads]
        wanted = [read for read in wanted if read[2]]
        try:
            found = self._ranges(name, [(start, size) for start, _, size in wanted])
        except BucketError:  # perhaps there are no such ranges: read what there is
            end = self.stamp(name).size
            if not any(start + size > end for start, _, size in wanted):
                raise
            found = self._ranges(
                name, [(start, min(size, end - start)) for start, _, size in wanted]
            )
        done = 0
        for (_, buffers, _), data in zip(wanted, found, strict=True):
            place = 0
            for buffer in buffers:
                piece = data[place : place + len(buffer)]
                buffer[: len(piece)] = piece
                place += len(piece)
            done += place
        return done

    def _ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        """Return the bytes of (start, size) each; those that lie near each other in one answer."""
        there = [(start, size) for start, size in ranges if size > 0]
        starts, sizes = [start for start, _ in there], [size for _, size in there]
        found: Iterator[Any] = iter(())
        if there:
            with bucket_errors(self.url, name):
                found = iter(self._bucket.get_ranges(name, starts=starts, lengths=sizes))
        return [memoryview(next(found)) if size > 0 else memoryview(b"") for _, size in ranges]

    def stamp(self, name: str) -> Stamp:
        with bucket_errors(self.url, name):
            meta = self._bucket.head(name)
        written = int(meta["last_modified"].timestamp() * 10**6) * 10**3
        return Stamp(meta["size"], written, etag_number(meta))

    def list(self, folder: str) -> list[str]:
        with bucket_errors(self.url, folder):
            found = self._bucket.list_with_delimiter(folder or None)["objects"]
        return sorted(meta["path"].rpartition("/")[2] for meta in found)

    def top(self) -> Sequence[str]:
        with bucket_errors(self.url):
            found = self._bucket.list_with_delimiter(None)
        files = [meta["path"] for meta in found["objects"]]
        return sorted([*files, *found["common_prefixes"]])

    def everything(self) -> Iterator[str]:
        """Yield the names of all objects, also of those that are no files of a store."""
        with bucket_errors(self.url):
            for chunk in self._bucket.list():
                yield from (meta["path"] for meta in chunk)

    def make_folder(self, folder: str) -> None:
        """Do nothing: a bucket has names only."""

    def fsync(self, name: str) -> None:
        """Do nothing: what was put is durable."""

    def write_new(self, name: str, data: bytes) -> None:
        mark = secrets.token_hex(16) if self._marks else None
        for left in reversed(range(TRIES)):
            try:
                self._create(name, data, mark)
                return
            except (FileExistsError, BucketError) as error:
                whose = self._mark_of(name)
                if whose == mark and mark is not None:
                    return  # this very put, whose answer was lost
                if whose is not None:
                    raise FileExistsError(f"{self.url}/{name}") from None
                if not left and isinstance(error, BucketError):
                    raise
        raise BucketError(
            f"{self.url}/{name} was refused {TRIES} times, and nobody has it: others write "
            f"there at once. What was finished is kept: the same command goes on from there"
        )

    def _create(self, name: str, data: bytes, mark: str | None) -> None:
        from obstore.exceptions import AlreadyExistsError

        marks = None if mark is None else {MARK: mark}
        try:
            with bucket_errors(self.url, name):
                self._bucket.put(name, data, mode="create", attributes=marks, use_multipart=False)
        except AlreadyExistsError as error:
            raise FileExistsError(f"{self.url}/{name}") from error
        except FileNotFoundError as error:
            raise BucketError(f"{self.url} cannot be written to: it is not there") from error

    def _mark_of(self, name: str) -> str | None:
        """Return the mark of who wrote an object, "" where it has none; None without one.

        One that is gone again was refused for another reason, such as two puts at once.
        """
        try:
            with bucket_errors(self.url, name):
                return str(self._bucket.get(name, options={"head": True}).attributes.get(MARK, ""))
        except FileNotFoundError:
            return None

    def link_new(self, source: str, name: str) -> None:
        self.write_new(name, self.read(source))

    def rename(self, source: str, name: str) -> None:
        """Copy over whatever has the name, then remove: never the other way round."""
        with bucket_errors(self.url, source):
            self._bucket.copy(source, name, overwrite=True)
        self.remove(source)

    def remove(self, name: str) -> None:
        try:
            with bucket_errors(self.url, name):
                self._bucket.delete(name)
        except FileNotFoundError:
            pass
