"""WebDataset shards → items: `.tar` files whose members with one name make one sample.

    shard-000000.tar          0001.jpg  0001.cls  0002.png  0002.cls …

A sample's name ends at the first dot of its file's name, as webdataset has it. `.cls` is its
label. The headers say where each image lies, so images are read at random and in any number of
threads, which the `webdataset` package, a reader of streams, does not do.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from extract.errors import ImageError, InputError
from extract.image_limits import MAX_BYTES
from extract.items import Item, Listing
from extract.reading import FileBytes, found

IMAGES = frozenset(
    {"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "img", "image"}
)
LABEL = "cls"
LONGEST_LABEL = 4096  # bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of an image lie."""

    shard: Path
    offset: int
    size: int


class Shards:
    """Reads items from the places that headers told."""

    def __init__(self, places: dict[str, Place]) -> None:
        self._places = places

    def read(self, item: Item) -> FileBytes:
        """Return the bytes of an image."""
        place = self._places[item.path]
        try:
            with open(place.shard, "rb") as file:
                unchanged = os.fstat(file.fileno()).st_mtime_ns == item.mtime_ns
                file.seek(place.offset)
                data = file.read(place.size)
        except OSError as error:
            raise ImageError("read", error.strerror or str(error)) from error
        if not unchanged or len(data) != place.size:
            raise ImageError("read", "its shard changed since it was listed")
        return found(item, data)


def list_tars(name: str) -> Listing:
    """List the samples of one shard, or of a range such as "shard-{000000..000009}.tar".

    Raises:
        InputError: If a shard is missing or broken, or two samples have one name.
    """
    items: list[Item] = []
    places: dict[str, Place] = {}
    without = 0
    shards = [Path(shard) for shard in expand(name)]
    for shard in shards:
        mtime_ns = _stat(shard).st_mtime_ns
        for key, members in _samples(shard):
            extension = _image(members)
            if extension is None:
                without += 1
                continue
            image = members[extension]
            path = f"{shard.stem}/{key}.{extension}"
            if path in places:
                raise InputError(f"Two samples are called {path!r}. Give each shard a name")
            places[path] = Place(shard, image.offset_data, image.size)
            label = _label(shard, members[LABEL]) if LABEL in members else None
            trouble = f"{image.size} bytes, more than {MAX_BYTES} are not read"
            trouble = trouble if image.size > MAX_BYTES else ""
            items.append(Item(path, label, None, image.size, mtime_ns, trouble))
    if not items:
        raise InputError(f"{name} holds no images. Give shards with members such as 0001.jpg")
    notes = (f"{without} samples hold no image and are not items",) if without else ()
    return Listing(
        shards[0].resolve().parent,
        tuple(sorted(items, key=lambda item: item.path)),
        notes,
        place=os.path.abspath(name),
        source=Shards(places),
    )


def _image(members: Iterable[str]) -> str | None:
    """Return the extension of a sample's image: "jpg" before "mask.png"."""
    found = [e for e in members if e.rpartition(".")[2] in IMAGES]
    return min(found, key=lambda extension: extension.count("."), default=None)


def expand(name: str) -> list[str]:
    """Return the names that one range in braces stands for; leading zeros are kept."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}", name)
    if match is None:
        return [name]
    first, last = match[1], match[2]
    if int(last) < int(first):
        raise InputError(f"{match[0]} is no range. Give the smaller number first")
    numbers = range(int(first), int(last) + 1)
    return [f"{name[: match.start()]}{n:0{len(first)}d}{name[match.end() :]}" for n in numbers]


def _stat(shard: Path) -> os.stat_result:
    try:
        return shard.stat()
    except OSError as error:
        raise InputError(f"Shard {shard} cannot be read: {error.strerror}") from error


def _samples(shard: Path) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Yield (name, extension → member) of the samples of a shard, which lie one after another."""
    key, members = "", dict[str, tarfile.TarInfo]()
    for info in _files(shard):
        folder, _, base = info.name.rpartition("/")
        stem, _, extension = base.partition(".")
        name = f"{folder}/{stem}" if folder else stem
        if name != key:
            if members:
                yield key, members
            key, members = name, {}
        members[extension.lower()] = info
    if members:
        yield key, members


def _files(shard: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(shard, "r:") as archive:
            for info in archive:
                info.name = _text(info.name.removeprefix("./"))
                if info.name.startswith("/") or ".." in info.name.split("/"):
                    raise InputError(f"{shard} has a member {info.name!r}, which leaves its folder")
                base = info.name.rpartition("/")[2]
                if info.isreg() and not info.issparse() and base.find(".") > 0:
                    yield info
    except InputError:
        raise
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:  # ValueError: odd numbers
        reason = " ".join(str(error).split())
        raise InputError(
            f"{shard} cannot be read as a tar archive that is not compressed: {reason}"
        ) from error


def _text(name: str) -> str:
    r"""Return a member's name with the bytes that are no UTF-8 written out, as \xe9."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _label(shard: Path, info: tarfile.TarInfo) -> str:
    with open(shard, "rb") as file:
        file.seek(info.offset_data)
        data = file.read(min(info.size, LONGEST_LABEL))
    try:
        return data.decode().strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{shard}: {info.name} is not text. Expected a label in UTF-8") from error
