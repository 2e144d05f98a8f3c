"""The seam between the store and a disk, and the one way to publish a file durably.

Names are relative to the store's folder and use "/". A file has its final name only once its
bytes are on the disk, and no file is ever changed after that. `LocalFiles` is the disk of this
machine; the tests put a simulated one in its place, which loses what was not synced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from extract.errors import DamagedStoreError, HeadstartError, StoreWriteError

READ_ONCE = 1 << 19  # bytes per read while hashing: stays in the processor's cache
MOST_BUFFERS = 512  # per preadv; POSIX promises 16, Linux and macOS take 1024

Buffer = memoryview


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a cheap look says about a file; two equal stamps mean that it did not change."""

    size: int
    mtime_ns: int
    identity: int


class Files(Protocol):
    """What the store asks of a disk, and all that it asks."""

    def read(self, name: str) -> bytes:
        """Return the whole file; `FileNotFoundError` where there is none."""

    def view(self, name: str) -> Buffer:
        """Return what `read` does, without copying it where the disk can."""

    def read_into(self, name: str, offset: int, buffers: Sequence[Buffer]) -> int:
        """Fill the buffers one after the other from `offset`; return the bytes read."""

    def stamp(self, name: str) -> Stamp:
        """Return size and times; `FileNotFoundError` where there is none."""

    def list(self, folder: str) -> list[str]:
        """Return the sorted names of the files in a folder; none where there is no folder."""

    def make_folder(self, folder: str) -> None:
        """Create a folder and its parents, durably; "" is the store's own."""

    def write_new(self, name: str, data: bytes) -> None:
        """Create a file that must not exist; its bytes are not yet durable."""

    def fsync(self, name: str) -> None:
        """Make a file's bytes, or a folder's entries, durable."""

    def link_new(self, source: str, name: str) -> None:
        """Give a file a second name that must not exist: `FileExistsError` where it does."""

    def rename(self, source: str, name: str) -> None:
        """Move a file over whatever has that name."""

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""


class LocalFiles:
    """A folder on a local disk of Linux, macOS or Windows."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"LocalFiles({str(self.root)!r})"

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def view(self, name: str) -> Buffer:
        if sys.platform != "linux":
            return memoryview(self.read(name))
        with open(self.root / name, "rb") as file, open(os.devnull, "wb") as nowhere:
            size = os.fstat(file.fileno()).st_size
            # Every page is fetched here, where a broken disk is an OSError: when mapped memory
            # is touched it would be a signal that ends the process.
            done = 0
            while done < size:
                count = os.sendfile(nowhere.fileno(), file.fileno(), done, size - done)
                if count == 0:
                    raise OSError(errno.EIO, "the file became shorter while it was read", name)
                done += count
            if size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))

    def read_into(self, name: str, offset: int, buffers: Sequence[Buffer]) -> int:
        with open(self.root / name, "rb", buffering=0) as file:
            if not hasattr(os, "preadv"):  # Windows
                file.seek(offset)
                return sum(file.readinto(buffer) or 0 for buffer in buffers)
            done = 0
            for start in range(0, len(buffers), MOST_BUFFERS):
                group = buffers[start : start + MOST_BUFFERS]
                done += self._fill(file.fileno(), offset + done, group)
            return done

    @staticmethod
    def _fill(descriptor: int, offset: int, buffers: Sequence[Buffer]) -> int:
        """Read until the buffers are full or the file ends: one call may stop at 2 GiB."""
        left = list(buffers)
        done = 0
        while left:
            count = os.preadv(descriptor, left, offset + done)
            if count == 0:
                break
            done += count
            while left and count >= len(left[0]):
                count -= len(left.pop(0))
            if left and count:
                left[0] = left[0][count:]
        return done

    def stamp(self, name: str) -> Stamp:
        facts = os.stat(self.root / name)
        return Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ino)

    def list(self, folder: str) -> list[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                return sorted(e.name for e in entries if not e.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []

    def make_folder(self, folder: str) -> None:
        path = self.root / folder
        missing = [p for p in [path, *path.parents] if not p.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for made in missing:
            _sync_folder(made.parent)

    def write_new(self, name: str, data: bytes) -> None:
        path = self.root / name
        with _named(path), open(path, "xb") as file:
            file.write(data)
        if path.stat().st_size != len(data):  # some network disks report a full disk only here
            raise OSError(errno.ENOSPC, "the file is shorter than what was written", str(path))

    def fsync(self, name: str) -> None:
        path = self.root / name
        if path.is_dir():
            _sync_folder(path)
        else:
            with (
                _named(path),
                open(path, "rb+") as file,
            ):  # Windows syncs only what is open for writing
                os.fsync(file.fileno())

    def link_new(self, source: str, name: str) -> None:
        target = self.root / name
        try:
            os.link(self.root / source, target)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
                raise
            self._exclusive_copy(self.root / source, target)

    @staticmethod
    def _exclusive_copy(source: Path, target: Path) -> None:
        """Stand in for a hard link where the disk has none (exFAT, some network shares)."""
        data = source.read_bytes()
        with open(target, "xb") as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                target.unlink(missing_ok=True)
                raise

    def rename(self, source: str, name: str) -> None:
        os.replace(self.root / source, self.root / name)

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    if os.name == "nt":  # Windows has no handle for a folder; NTFS journals its entries
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with _named(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Give an error of a call that knows a file by its descriptor the file's path."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn an `OSError` of the disk into one line that says what could not be written."""
    try:
        yield
    except StoreWriteError:
        raise
    except OSError as error:
        cure = {
            errno.ENOSPC: "Free some space, then run the same command again: it resumes.",
            errno.EDQUOT: "Free some of your quota, then run the same command again: it resumes.",
        }.get(error.errno or 0, "Give a folder that can be written with --store.")
        reason = error.strerror or str(error)
        name = f" ({error.filename})" if error.filename else ""
        raise StoreWriteError(f"Cannot write {what}: {reason}{name}. {cure}") from error


@contextlib.contextmanager
def read_errors(what: str) -> Iterator[None]:
    """Turn an `OSError` while reading into one line that says what could not be read."""
    try:
        yield
    except HeadstartError:
        raise
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        raise DamagedStoreError(
            f"Cannot read {what}: {error.strerror or error}{name}. Check the disk and the rights"
        ) from error


def sha256(data: bytes | Buffer) -> str:
    """Return the SHA-256 of bytes as 64 hex characters."""
    return hashlib.sha256(data).hexdigest()


def publish(files: Files, name: str, data: bytes) -> bool:
    """Give `name` to `data`, whole and durable, unless the name is taken.

    Returns:
        True if this call created the file, False if it was already there (perhaps with other
        bytes: the caller decides what that means).

    Raises:
        OSError: If the disk refuses; `name` is then as it was before, or whole. After a failed
            fsync the scratch file is abandoned and never tried again, because the system may
            have dropped its pages.
    """
    scratch = f"tmp/{secrets.token_hex(8)}"
    try:
        _write_scratch(files, scratch, data)
        files.fsync(scratch)
        try:
            files.link_new(scratch, name)
            created = True
        except FileExistsError:
            created = False
        files.fsync(name.rpartition("/")[0])
        return created
    finally:
        with contextlib.suppress(OSError):
            files.remove(scratch)


def _write_scratch(files: Files, scratch: str, data: bytes) -> None:
    try:
        files.write_new(scratch, data)
    except FileNotFoundError:  # a copy of a store that lost its empty folders
        files.make_folder("tmp")
        files.write_new(scratch, data)


def publish_copy(files: Files, name: str, data: bytes) -> None:
    """Give `name` to `data` even where another file has it: for copies that people read."""
    scratch = f"tmp/{secrets.token_hex(8)}"
    try:
        _write_scratch(files, scratch, data)
        files.fsync(scratch)
        files.rename(scratch, name)
        files.fsync(name.rpartition("/")[0])
    finally:
        with contextlib.suppress(OSError):
            files.remove(scratch)
