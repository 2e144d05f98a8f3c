"""The seam between the store and where it lies, and the one way to publish a file durably.

Names are relative to the store's folder and use "/". A file has its final name only once its
bytes are on the disk, and no file is ever changed after that. `LocalFiles` is the disk of this
machine, `object_files.py` a bucket; the tests put a simulated disk in their place, which loses
what was not synced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import mmap
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from extract.errors import DamagedStoreError, HeadstartError, StoreWriteError

READ_ONCE = 1 << 19  # bytes per read while hashing: stays in the processor's cache
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL)
"""How a folder above the store's refuses to be synced whose entries are not for us to change."""
MOST_BUFFERS = 512  # per preadv; POSIX promises 16, Linux and macOS take 1024

Buffer = memoryview
Read = tuple[int, Sequence[Buffer]]
"""Where a read begins, in bytes, and the buffers that it fills one after the other."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a cheap look says about a file; two equal stamps mean that it did not change."""

    size: int
    mtime_ns: int
    identity: int


class Files(Protocol):
    """What the store asks of a disk or a bucket, and all that it asks."""

    whole_writes: bool
    """Whether `write_new` gives the name to whole and durable bytes in one step, as a bucket does;
    a disk needs a scratch file, a sync and a link for that."""
    piece: int
    """Bytes that one read is best of, where a whole file is read."""
    lanes: int
    """How many requests at once suit it: 1 for a disk."""

    def read(self, name: str) -> bytes:
        """Return the whole file; `FileNotFoundError` where there is none."""

    def view(self, name: str) -> Buffer:
        """Return what `read` does, without copying it where the disk can."""

    def read_into(self, name: str, reads: Iterable[Read]) -> int:
        """Fill the buffers of each read one after the other; return all bytes read."""

    def stamp(self, name: str) -> Stamp:
        """Return size and times; `FileNotFoundError` where there is none."""

    def list(self, folder: str) -> list[str]:
        """Return the sorted names of the files in a folder; none where there is no folder."""

    def top(self) -> Sequence[str]:
        """Return the sorted names of what is at the top, files and folders.

        No name where there is nothing yet; "." alone where a file is in the folder's place.
        """

    def make_folder(self, folder: str) -> None:
        """Create a folder and its parents, durably; "" is the store's own.

        One that is there already becomes durable too: it may be of a process that was killed.
        """

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

    whole_writes = False
    piece = READ_ONCE
    lanes = 1

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

    def read_into(self, name: str, reads: Iterable[Read]) -> int:
        with open(self.root / name, "rb", buffering=0) as file:
            if not hasattr(os, "preadv"):  # Windows
                return sum(self._seek_and_fill(file, *read) for read in reads)
            descriptor = file.fileno()
            return sum(self._fill(descriptor, *read) for read in reads)

    @staticmethod
    def _seek_and_fill(file: io.FileIO, offset: int, buffers: Sequence[Buffer]) -> int:
        file.seek(offset)
        return sum(file.readinto(buffer) or 0 for buffer in buffers)

    @staticmethod
    def _fill(descriptor: int, offset: int, buffers: Sequence[Buffer]) -> int:
        """Read until the buffers are full or the file ends: one call may stop at 2 GiB."""
        wanted, done = sum(map(len, buffers)), 0
        left = buffers
        while done < wanted:
            count = os.preadv(descriptor, left[:MOST_BUFFERS], offset + done)
            if count == 0:
                break
            done += count
            left = _after(left, count) if done < wanted else []
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

    def top(self) -> Sequence[str]:
        try:
            return sorted(os.listdir(self.root))
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            return ["."]

    def make_folder(self, folder: str) -> None:
        path = self.root / folder
        missing = [p for p in [path, *path.parents] if not p.exists()]
        # Who made the one that is there may have been killed, or refused, before its name was
        # synced. Those above it are durable: each is synced before the next is made.
        found = missing[-1].parent if missing else path
        try:
            self._sync_name(found)
        except OSError as error:
            if error.errno not in NOT_OURS:
                raise
        for made in reversed(missing):
            self._new_folder(made)
            self._sync_name(made)
        path.mkdir(exist_ok=True)  # a file in its place is an error

    def _new_folder(self, path: Path) -> None:
        path.mkdir(exist_ok=True)  # a run beside us may be faster

    def _sync_name(self, path: Path) -> None:
        _sync_folder(path.absolute().parent)

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


def _after(buffers: Sequence[Buffer], done: int) -> Sequence[Buffer]:
    """Return what is left of buffers when so many bytes of them are filled."""
    filled = 0
    while done >= len(buffers[filled]):
        done -= len(buffers[filled])
        filled += 1
    return [buffers[filled][done:], *buffers[filled + 1 :]]


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
def disk_errors(what: str, option: str = "--store") -> Iterator[None]:
    """Turn an `OSError` of the disk into one line that says what could not be written.

    Args:
        what: The words for it.
        option: What names another folder.
    """
    try:
        yield
    except StoreWriteError:
        raise
    except OSError as error:
        cure = {
            errno.ENOSPC: "Free some space, then run the same command again: it resumes.",
            errno.EDQUOT: "Free some of your quota, then run the same command again: it resumes.",
        }.get(error.errno or 0, f"Give a folder that can be written with {option}.")
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


def each(lanes: int, work: Callable[[T], R], values: Iterable[T]) -> list[R]:
    """Return what `work` gives for each value, in order; `lanes` of them at once."""
    if lanes == 1:
        return [work(value) for value in values]
    with ThreadPoolExecutor(lanes) as pool:
        return list(pool.map(work, values))


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
    if files.whole_writes:
        try:
            files.write_new(name, data)
        except FileExistsError:
            return False
        return True
    scratch = f"tmp/{secrets.token_hex(8)}"
    try:
        write_scratch(files, scratch, data)
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


def write_scratch(files: Files, scratch: str, data: bytes) -> None:
    """Create a file in `tmp/`, also where that folder is lost; its bytes are not yet durable."""
    try:
        files.write_new(scratch, data)
    except FileNotFoundError:  # a copy of a store that lost its empty folders
        files.make_folder("tmp")
        files.write_new(scratch, data)


def publish_copy(files: Files, name: str, data: bytes) -> None:
    """Give `name` to `data` even where another file has it: for copies that people read."""
    scratch = f"tmp/{secrets.token_hex(8)}"
    try:
        write_scratch(files, scratch, data)
        files.fsync(scratch)
        files.rename(scratch, name)
        files.fsync(name.rpartition("/")[0])
    finally:
        with contextlib.suppress(OSError):
            files.remove(scratch)
