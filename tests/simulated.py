"""A disk that loses what was not synced: the seam of `extract.store.files`, in memory.

`crash()` is a power cut: a file whose bytes were not synced may be gone, empty, or half there,
and a name that was made after the last sync of its folder may be gone.
"""

import errno
import random
from dataclasses import dataclass

from extract.store.files import READ_ONCE, Stamp


class PowerCut(Exception):
    """The machine stops here."""


@dataclass
class Inode:
    data: bytes
    durable: bytes | None = None
    """Its bytes at the last sync; None before the first."""
    number: int = 0


class SimulatedFiles:
    """Files of `extract.store.files`, with a power cut after `operations_left` changes."""

    whole_writes = False
    piece = READ_ONCE
    lanes = 1

    def __init__(self, seed: int = 0, operations_left: int | None = None) -> None:
        self.now: dict[str, Inode] = {}
        self.durable: dict[str, Inode] = {}
        self.operations_left = operations_left
        self.operations = 0
        self.full = False
        self.random = random.Random(seed)

    def _change(self) -> None:
        self.operations += 1
        if self.operations_left is not None:
            if self.operations_left == 0:
                raise PowerCut
            self.operations_left -= 1
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def crash(self) -> None:
        """Cut the power and start again, with a disk that has forgotten what it may forget."""
        names = dict(self.durable)
        for name, inode in self.now.items():
            if name not in names and self.random.random() < 0.5:
                names[name] = inode
        for inode in names.values():
            inode.data = self._survives(inode)
        self.now, self.durable = dict(names), dict(names)
        self.operations_left = None

    def _survives(self, inode: Inode) -> bytes:
        if inode.durable is not None:
            return inode.durable
        return inode.data[: self.random.choice([0, len(inode.data) // 2, len(inode.data)])]

    def _get(self, name: str) -> Inode:
        if name not in self.now:
            raise FileNotFoundError(errno.ENOENT, "No such file", name)
        return self.now[name]

    def read(self, name):
        return self._get(name).data

    def view(self, name):
        return memoryview(self.read(name))

    def read_into(self, name, reads):
        data, done = self._get(name).data, 0
        for offset, buffers in reads:
            for buffer in buffers:
                piece = data[offset : offset + len(buffer)]
                buffer[: len(piece)] = piece
                offset += len(piece)
                done += len(piece)
        return done

    def stamp(self, name):
        inode = self._get(name)
        return Stamp(len(inode.data), 0, id(inode))

    def list(self, folder):
        names = [name.rpartition("/") for name in self.now]
        return sorted(name for parent, _, name in names if parent == folder)

    def top(self):
        return sorted({name.partition("/")[0] for name in self.now})

    def make_folder(self, folder):
        self._change()

    def write_new(self, name, data):
        self._change()
        if name in self.now:
            raise FileExistsError(name)
        self.now[name] = Inode(bytes(data))

    def fsync(self, name):
        self._change()
        if name in self.now:
            inode = self.now[name]
            inode.durable = inode.data
            return
        here = {n: i for n, i in self.now.items() if n.rpartition("/")[0] == name}
        gone = [n for n in self.durable if n.rpartition("/")[0] == name and n not in here]
        self.durable |= here
        for old in gone:
            del self.durable[old]

    def link_new(self, source, name):
        self._change()
        if name in self.now:
            raise FileExistsError(name)
        self.now[name] = self._get(source)

    def rename(self, source, name):
        self._change()
        self.now[name] = self.now.pop(source)

    def remove(self, name):
        self._change()
        self.now.pop(name, None)
