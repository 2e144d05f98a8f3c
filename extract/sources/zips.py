"""A `.zip` of folders → items: members are read where they are, and nothing is unpacked.

The folders in it mean what folders on the disk mean. An archive whose one folder holds only
folders, and is not called after a split, is that folder, packed: `photos/cats/1.jpg` in
photos.zip is `cats/1.jpg`.
"""

from __future__ import annotations

import stat
import weakref
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from extract.archives import BROKEN
from extract.errors import ImageError, InputError
from extract.image_limits import MAX_BYTES
from extract.items import Item, Listing, is_hidden
from extract.reading import FileBytes, found
from extract.splits import split_of_folder

ENCRYPTED = 0x1  # flag bit 0, APPNOTE.TXT 4.4.4


class Members:
    """Reads items from an open archive, checked by their CRC-32."""

    def __init__(self, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> None:
        self._archive = archive
        self._members = members
        weakref.finalize(self, archive.close)  # listings are nobody's to close

    def read(self, item: Item) -> FileBytes:
        """Return the bytes of a member."""
        try:
            with self._archive.open(self._members[item.path]) as file:
                data = file.read(item.size + 1)
        except BROKEN as error:
            reason = " ".join(str(error).split())
            raise ImageError("read", f"broken member of the archive: {reason}") from error
        if len(data) != item.size:
            raise ImageError("read", f"{len(data)} bytes, the archive says {item.size}")
        return found(item, data)


def list_zip(path: Path) -> Listing:
    """List the items of a `.zip` file.

    Raises:
        InputError: If it is none, is empty, or has a member whose name leads elsewhere or comes
            twice.
    """
    try:
        mtime_ns = path.stat().st_mtime_ns
        archive = zipfile.ZipFile(path)
    except BROKEN as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read as a zip archive: {reason}") from error
    members = _members(path, archive.infolist())
    names, top = _without_top(list(members))
    members = dict(zip(names, members.values(), strict=True))
    placed, notes = place(names)
    if not placed:
        raise InputError(f"{path} holds no files. Give a zip of folders such as cats/1.jpg")
    items = (
        Item(name, label, split, members[name].file_size, mtime_ns, _trouble(members[name]))
        for name, (label, split) in placed.items()
    )
    if top:
        notes.append(f"Everything in {path.name} is in {top}/: paths are those below it")
    return Listing(
        path.resolve().parent,
        tuple(sorted(items, key=lambda item: item.path)),
        tuple(notes),
        place=str(path.resolve()),
        source=Members(archive, members),
    )


def _members(path: Path, infos: Iterable[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Map the names of files to members, without what systems leave behind."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename.replace("\\", "/")
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or name[1:2] == ":":
            raise InputError(f"{path} has a member {info.filename!r}, which leaves its folder")
        name = "/".join(part for part in parts if part not in ("", "."))
        if info.is_dir() or any(map(is_hidden, name.split("/"))):
            continue
        if name in members:
            raise InputError(f"{path} has the member {name!r} twice. Pack every file once")
        members[name] = info
    return members


def _without_top(names: list[str]) -> tuple[list[str], str]:
    """Take away the one folder that holds all, if it holds only folders and names no split."""
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1 or any(name.count("/") < 2 for name in names):
        return names, ""
    (top,) = tops
    if split_of_folder(top):
        return names, ""
    return [name[len(top) + 1 :] for name in names], top


def place(names: Iterable[str]) -> tuple[dict[str, tuple[str | None, str | None]], list[str]]:
    """Return (path → (label, split), notes): folders mean what they mean to `list_folder`."""
    split = [(name.split("/"), name) for name in names]
    deep = [(parts, name) for parts, name in split if len(parts) > 1]
    if not deep:
        return {name: (None, None) for _, name in split}, []
    notes = []
    if beside := sorted(name for parts, name in split if len(parts) == 1):
        shown = ", ".join(beside[:3])
        notes.append(f"{len(beside)} files beside the folders are not items: {shown}")
    with_folders = {parts[0] for parts, _ in deep if len(parts) > 2}
    tops = {parts[0] for parts, _ in deep}
    if not (tops == with_folders and all(map(split_of_folder, tops))):
        return {name: (parts[0], None) for parts, name in deep}, notes
    deeper = [(parts, name) for parts, name in deep if len(parts) > 2]
    if len(deeper) < len(deep):
        notes.append(f"{len(deep) - len(deeper)} files beside class folders are not items")
    return {name: (parts[1], split_of_folder(parts[0])) for parts, name in deeper}, notes


def _trouble(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & ENCRYPTED:
        return "encrypted: pack it without a password"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link, which has no bytes of its own"
    if info.file_size > MAX_BYTES:
        return f"{info.file_size} bytes, more than {MAX_BYTES} are not read"
    return ""
