"""A folder on a real disk, watched: after any operation, what may be there once the power is cut.

`WatchedFiles` does what `LocalFiles` does and tells a `Disk`, which

    cuts the power     before a chosen change; nothing works from then on
    refuses            a chosen operation, once or from then on, with ENOSPC or EIO
    remembers          what is durable: a file's bytes after its fsync, a name after its folder's

`Disk.after_crash` then draws one of the states that POSIX allows: every name is, by itself, in one
of the states that it had since its folder was last synced, and a file that was not synced holds
all, some or none of its bytes, or zeros in their place. Folders have names too, which are durable
after the sync of the folder above: a folder that is lost takes all that is in it along.

In a tree, a name that ends with "/" is a folder, and "/" the one that is watched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import pytest

from extract.store.files import Buffer, LocalFiles, Read, Stamp
from tests.campaign.world import Tree, tree, write_tree
from tests.simulated import PowerCut

SOURCE = "source"
"""How folders of stores begin that a command only reads: they lie on another disk."""
ROOT, OUTSIDE = "/", ".."
"""The folder that is watched, as a name, and the folder that has this name in it."""


@cache
def above(name: str) -> str:
    """Return the folder in which a name is: "" for the one that is watched."""
    return OUTSIDE if name == ROOT else name.removesuffix("/").rpartition("/")[0]


def found_in(store: Path) -> Tree:
    """Return every file and folder of a store; nothing where there is none."""
    if not store.is_dir():
        return {}
    folders = [path for path in store.rglob("*") if path.is_dir()]
    return {
        ROOT: b"",
        **{f"{p.relative_to(store).as_posix()}/": b"" for p in folders},
        **tree(store),
    }


def put_back(store: Path, state: Tree) -> None:
    """Make a store hold exactly what a tree says; an empty one is no folder at all."""
    if state:
        write_tree(store, state)
    else:
        shutil.rmtree(store, ignore_errors=True)


@dataclass(eq=False)
class Inode:
    data: bytes
    synced: bool = False

    def after_crash(self, draw: random.Random) -> bytes:
        """Return its bytes after a crash: delayed allocation leaves any of these."""
        if self.synced:
            return self.data
        half = len(self.data) // 2
        return draw.choice(
            [
                b"",
                self.data[:half],
                self.data,
                bytes(len(self.data)),
                self.data[:half] + bytes(len(self.data) - half),
                bytes(half) + self.data[half:],
            ]
        )


@dataclass
class Fault:
    """An operation that the disk refuses."""

    at: int
    """Its number, from 0."""
    code: int
    """`errno.ENOSPC`: changes only; `errno.EIO`: reading as well."""
    for_good: bool
    """Whether everything after it is refused too."""


@dataclass
class Disk:
    """What is and what is durable below one folder."""

    content: Tree = field(default_factory=dict)
    """What is there, durably, at the start."""
    cut_at: int | None = None
    """The change before which the power is cut."""
    fault: Fault | None = None
    changes: int = 0
    operations: int = 0
    refused: int = 0
    dead: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        folders = {f"{above(n)}/" for n in self.content if n != ROOT}
        whole = dict.fromkeys(folders, b"") | self.content
        self.now = {name: Inode(data, True) for name, data in whole.items()}
        self.states: dict[str, list[Inode | None]] = {n: [i] for n, i in self.now.items()}

    # What happens ------------------------------------------------------------------------------

    def step(self, name: str, *, change: bool) -> None:
        """Count an operation on a file; refuse it, or cut the power, where that is due."""
        with self.lock:
            if self.dead or (change and self.changes == self.cut_at):
                self.dead = True
                raise PowerCut
            self.changes += change
            number = self._number(change)
            due = self.fault is not None and (
                number == self.fault.at or (self.fault.for_good and number > self.fault.at)
            )
            if due and self._concerns(change):
                self.refused += 1
                raise OSError(self.fault.code, os.strerror(self.fault.code), name)

    def here(self) -> Tree:
        """Return what programs see, durable or not."""
        return {name: inode.data for name, inode in self.now.items()}

    def after_kill(self) -> Disk:
        """Return the disk as a process leaves it that is killed here: nothing is lost so far."""
        disk = Disk()
        copies = {id(i): replace(i) for states in self.states.values() for i in states if i}
        disk.now = {name: copies[id(inode)] for name, inode in self.now.items()}
        disk.states = {
            name: [None if i is None else copies[id(i)] for i in states]
            for name, states in self.states.items()
        }
        return disk

    def _number(self, change: bool) -> int:
        """Return the number of this operation among those that the fault can meet."""
        if not self._concerns(change):
            return -1
        self.operations += 1
        return self.operations - 1

    def _concerns(self, change: bool) -> bool:
        return self.fault is None or change or self.fault.code == errno.EIO

    def _become(self, name: str, inode: Inode | None) -> None:
        with self.lock:
            if inode is None:
                self.now.pop(name, None)
            else:
                self.now[name] = inode
            self.states.setdefault(name, [None]).append(inode)

    def wrote(self, name: str, data: bytes) -> None:
        self._become(name, Inode(bytes(data)))

    def came(self, name: str, data: bytes) -> None:
        self._become(name, Inode(data, synced=True))

    def made(self, name: str) -> None:
        if name not in self.now:
            self._become(name, Inode(b"", synced=True))

    def synced(self, name: str, is_folder: bool) -> None:
        with self.lock:
            if not is_folder:
                self.now[name].synced = True
                return
            for other in list(self.states):
                if above(other) == name:
                    self.states[other] = [self.now.get(other)]

    def linked(self, source: str, name: str) -> None:
        self._become(name, self.now[source])

    def renamed(self, source: str, name: str) -> None:
        inode = self.now[source]
        self._become(source, None)
        self._become(name, inode)

    def removed(self, name: str) -> None:
        self._become(name, None)

    # What is left of it ------------------------------------------------------------------------

    def after_crash(self, seed: int) -> Tree:
        """Return one state that may be found; seed 0 keeps nothing and 1 everything undurable."""
        draw = random.Random(seed)
        chosen = {n: self._one(states, draw, seed) for n, states in self.states.items()}
        left = {n: inode for n, inode in chosen.items() if inode is not None}
        left = {n: inode for n, inode in left.items() if _is_reachable(n, left)}
        bytes_of = {id(i): self._bytes(i, draw, seed) for i in left.values()}
        return {name: bytes_of[id(inode)] for name, inode in left.items()}

    @staticmethod
    def _one(states: Sequence[Inode | None], draw: random.Random, seed: int) -> Inode | None:
        if seed < 2:
            return states[-seed]
        return draw.choice(states)

    @staticmethod
    def _bytes(inode: Inode, draw: random.Random, seed: int) -> bytes:
        if seed == 1:
            return inode.data
        return inode.after_crash(draw)


def _is_reachable(name: str, left: Mapping[str, object]) -> bool:
    """Return whether the folders that lead to a name are there."""
    return name == ROOT or (f"{above(name)}/" in left and _is_reachable(f"{above(name)}/", left))


class WatchedFiles(LocalFiles):
    """`LocalFiles`, with a `Disk` that is asked before and told after each operation."""

    def __init__(self, root: Path, disk: Disk) -> None:
        super().__init__(root)
        self._disk = disk

    def _ask(self, name: str, *, change: bool) -> None:
        self._disk.step(str(self.root / name.strip("/")), change=change)

    def read(self, name: str) -> bytes:
        self._ask(name, change=False)
        return super().read(name)

    def view(self, name: str) -> Buffer:
        self._ask(name, change=False)
        return super().view(name)

    def read_into(self, name: str, reads: Iterable[Read]) -> int:
        self._ask(name, change=False)
        return super().read_into(name, reads)

    def stamp(self, name: str) -> Stamp:
        self._ask(name, change=False)
        return super().stamp(name)

    def list(self, folder: str) -> list[str]:
        self._ask(folder, change=False)
        return super().list(folder)

    def _new_folder(self, path: Path) -> None:
        if name := self._folder(path):
            self._ask(name, change=True)
            super()._new_folder(path)
            self._disk.made(name)
        else:
            super()._new_folder(path)

    def _sync_name(self, path: Path) -> None:
        if name := self._folder(path):
            self._ask(name, change=True)
            super()._sync_name(path)
            self._disk.synced(above(name), is_folder=True)
        else:
            super()._sync_name(path)

    def _folder(self, path: Path) -> str:
        """Return the name of a folder of the store; nothing for one above it."""
        if not path.is_relative_to(self.root):
            return ""
        return f"{path.relative_to(self.root).as_posix()}/".removeprefix("./") or ROOT

    def write_new(self, name: str, data: bytes) -> None:
        try:
            self._ask(name, change=True)
        except OSError:  # a disk that is full takes some of the bytes
            super().write_new(name, data[: len(data) // 2])
            self._disk.wrote(name, data[: len(data) // 2])
            raise
        super().write_new(name, data)
        self._disk.wrote(name, data)

    def fsync(self, name: str) -> None:
        self._ask(name, change=True)
        super().fsync(name)
        self._disk.synced(name, (self.root / name).is_dir())

    def link_new(self, source: str, name: str) -> None:
        self._ask(name, change=True)
        super().link_new(source, name)
        self._disk.linked(source, name)

    def rename(self, source: str, name: str) -> None:
        self._ask(name, change=True)
        super().rename(source, name)
        self._disk.renamed(source, name)

    def remove(self, name: str) -> None:
        self._ask(name, change=True)
        super().remove(name)
        if name in self._disk.now:
            self._disk.removed(name)


@contextlib.contextmanager
def watching(disk: Disk) -> Iterator[None]:
    """Let every store that is opened meanwhile lie on this disk, but for those that are sources."""
    link = os.link

    def opened(root: Path) -> LocalFiles:
        return LocalFiles(root) if _is_source(root) else WatchedFiles(root, disk)

    def linked(source: Path, target: Path) -> None:
        """A file of a source gets a name here; its bytes are durable already."""
        if _is_source(Path(source).parents[1]):
            disk.step(str(target), change=True)
            link(source, target)
            disk.came(f"{target.parent.name}/{target.name}", target.read_bytes())
        else:
            link(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("extract.store.opening.LocalFiles", opened)
        patch.setattr(os, "link", linked)
        yield


def _is_source(root: Path) -> bool:
    return root.name.startswith(SOURCE)
