"""Images in a bucket: listed with their size, time and ETag, and read when they are needed.

    s3://bucket/photos              folders mean what they mean on a disk
    s3://bucket/photos.csv          a table; its paths are relative to its own folder, or --images

A listing tells what an image of a million is without reading it: nothing is read again whose size,
time and ETag are those of the run before. What is read is one version of an object, whole.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from extract.bucket import LANES, bucket_errors, open_bucket, written_ns
from extract.errors import BucketError, ImageError, InputError
from extract.image_limits import MAX_BYTES
from extract.items import Item, Listing, is_hidden
from extract.places import bucket_url, local_path, split_url
from extract.reading import FileBytes, image_key
from extract.sources.table import list_rows
from extract.splits import split_of_folder
from extract.store.commits import FileRead
from extract.tables import read_table, table_of

Facts = tuple[int, int]
"""(size, mtime_ns) of an object; the time has the ETag in its nanoseconds."""
TABLES = (".csv", ".parquet")
TRIES = 3
"""Requests for an object whose bytes are not all there, each of which obstore tries again too."""
UNREAD = (".npz", ".npy", ".zip", ".tar")
COPIES = {"s3": "`aws s3 cp`", "gs": "`gcloud storage cp`", "az": "`azcopy copy`"}
"""How files are copied from a bucket, for messages."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Reads items below a URL."""

    url: str
    bucket: Any

    @classmethod
    def at(cls, url: str) -> Objects:
        """Return what reads below a URL."""
        return cls(url, open_bucket(url))

    def read(self, item: Item) -> FileBytes:
        """Return an object's bytes, with the size, time and ETag of what was read.

        Raises:
            ImageError: With stage "read", if it is gone or too large.
            BucketError: If the bucket does not answer, or not with the whole: that is no fault of
                the image.
        """
        try:
            meta, data = _get(self.bucket, self.url, item.path)
        except FileNotFoundError as error:
            raise ImageError("read", "There is no such object") from error
        size, written = _facts(meta)
        return FileBytes(data, FileRead(item.path, size, written, image_key(data)))

    def facts(self) -> dict[str, Facts]:
        """List every object: its name below the URL → its size and time.

        Each folder at the top is listed by itself, several at once: a bucket names a thousand
        objects in an answer.
        """
        with bucket_errors(self.url):
            top = self.bucket.list_with_delimiter(None)
        found = {meta["path"]: _facts(meta) for meta in top["objects"]}
        with ThreadPoolExecutor(LANES) as pool:
            for part in pool.map(self._below, top["common_prefixes"]):
                found |= part
        return found

    def _below(self, folder: str) -> dict[str, Facts]:
        found: dict[str, Facts] = {}
        with bucket_errors(self.url, folder):
            for chunk in self.bucket.list(f"{folder}/"):
                found |= {meta["path"]: _facts(meta) for meta in chunk}
        return found


def _get(bucket: Any, url: str, name: str, most: int = MAX_BYTES) -> tuple[Any, bytes]:
    """Return what a bucket says of an object, and all of its bytes.

    Raises:
        FileNotFoundError: If there is no such object.
        ImageError: If it has more than `most` bytes.
        BucketError: If the bucket does not answer, or never with the whole.
    """
    for _ in range(TRIES):
        with bucket_errors(url, name):
            found = bucket.get(name)
            if found.meta["size"] > most:
                raise ImageError(
                    "read", f"{found.meta['size']} bytes, more than {most} are not read"
                )
            data = bytes(found.bytes())
        if len(data) == found.meta["size"]:
            return found.meta, data
    raise BucketError(
        f"{url}/{name} came with {len(data)} of {found.meta['size']} bytes, {TRIES} times. What "
        f"was finished is kept: the same command goes on from there"
    )


def _facts(meta: Mapping[str, Any]) -> Facts:
    return meta["size"], written_ns(meta)


def list_bucket(images: str | PurePath, root: str | PurePath | None = None) -> Listing:
    """List a folder or a table of which one part at least is in a bucket.

    Args:
        images: A folder's URL; or a table, a file or a URL.
        root: For a table, the place of its paths; by default the table's own.

    Raises:
        InputError: If there is nothing there, or it cannot be used as it is.
        BucketError: If the bucket does not answer.
    """
    url = bucket_url(images)
    suffix = PurePath(url or images).suffix.lower()
    if suffix in TABLES:
        return _list_table(images, root)
    if root is not None:
        raise InputError(f"--images is the folder of a table's paths, and {images} is no table")
    assert url is not None
    if suffix in UNREAD:
        raise InputError(_copy_first(url))
    objects = Objects.at(url)
    items, notes = items_of(objects.facts(), url)
    return Listing(Path(), items, notes, place=url, source=objects, lanes=LANES)


def _copy_first(url: str) -> str:
    """Say how to come from an archive or an array file in a bucket to its features there."""
    place, _, name = url.rpartition("/")
    store = f"{place}/{PurePath(name).stem}.features"
    return (
        f"{url} is read from a disk only. Copy it here, such as by {COPIES[split_url(url)[0]]}, "
        f"then type: python -m extract run '{name}' --store '{store}'"
    )


def list_objects(url: str) -> Listing:
    """List every object below a URL, in folders of any depth: items without labels."""
    objects = Objects.at(url)
    found = _shown(objects.facts())
    if not found:
        raise _nothing(url)
    items = tuple(_item(path, facts, None, None) for path, facts in sorted(found.items()))
    return Listing(Path(), items, place=url, source=objects, lanes=LANES)


def items_of(found: Mapping[str, Facts], url: str) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Return (items, notes) of objects, as `extract.items.list_folder` gives them for files."""
    shown = _shown(found)
    files = sorted(path for path in shown if "/" not in path)
    folders: dict[str, list[str]] = {}
    for path in shown:
        if "/" in path:
            folders.setdefault(path.partition("/")[0], []).append(path)
    stores = [n for n in folders if n.endswith(".features") and f"{n}/store.json" in shown]
    for name in stores:
        del folders[name]
    notes: list[str] = []
    splits = {name: split_of_folder(name) for name in sorted(folders)}
    deep = all(any(p.count("/") > 1 for p in paths) for paths in folders.values())
    items: list[Item] = []
    if folders and all(splits.values()) and deep:
        for name, split in splits.items():
            loose = [path for path in folders[name] if path.count("/") == 1]
            if loose:
                notes.append(f"{len(loose)} files in {name} beside its class folders are not items")
            for path in folders[name]:
                if path.count("/") > 1:
                    items.append(_item(path, shown[path], path.split("/")[1], split))
    else:
        for name, paths in folders.items():
            items.extend(_item(path, shown[path], name, None) for path in paths)
    if not items:
        items = [_item(path, shown[path], None, None) for path in files]
    elif files:
        named = ", ".join(files[:3])
        notes.append(f"{len(files)} files beside the folders are not items: {named}")
    if not items:
        raise _nothing(url)
    return tuple(sorted(items, key=lambda item: item.path)), tuple(notes)


def _shown(found: Mapping[str, Facts]) -> dict[str, Facts]:
    """Leave out what is hidden, and the empty objects by which consoles show empty folders."""
    folders = {path.rpartition("/")[0] for path in found}
    return {
        path: facts
        for path, facts in found.items()
        if not any(map(is_hidden, path.split("/"))) and not (facts[0] == 0 and path in folders)
    }


def _item(path: str, facts: Facts, label: str | None, split: str | None) -> Item:
    return Item(path, label, split, *facts)


def _nothing(url: str) -> InputError:
    return InputError(f"There is nothing at {url}. IMAGES is a folder such as s3://bucket/photos")


# Tables ----------------------------------------------------------------------------------------


def _list_table(path: str | PurePath, root: str | PurePath | None) -> Listing:
    """List a table's items where the table, its images, or both are in a bucket."""
    url = bucket_url(path)
    if url is None:
        table, name = read_table(local_path(path)), str(local_path(path).resolve())
    else:
        table, name = _read_table(url), url
    place = root if root is not None else name.rpartition("/")[0]
    where = bucket_url(place)
    if where is None:  # a table from a bucket, of images on this disk
        folder = local_path(place).resolve()
        if not folder.is_dir():
            raise InputError(
                f"--images {folder} is no folder. Give the folder of the table's paths"
            )
        return replace(list_rows(name, table, folder, None), place=name)
    objects = Objects.at(where)
    listing = list_rows(name, table, Path(), objects.facts())
    return replace(listing, place=name, source=objects, folder=where, lanes=LANES)


def _read_table(url: str) -> Any:
    folder, _, name = url.rpartition("/")
    if folder.endswith("/"):
        raise InputError(f"{url} is a whole bucket. Expected a table in it, {url}/photos.csv")
    try:
        _, data = _get(open_bucket(folder), folder, name, sys.maxsize)
    except FileNotFoundError as error:
        raise InputError(f"There is no table {url}. Give a .csv or .parquet file") from error
    return table_of(url, data)
