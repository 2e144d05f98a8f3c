"""Where things are: a path of this machine, or the URL of a bucket.

    photos.features                      a folder
    file:///data/photos.features         the same, as a URL
    s3://bucket/photos.features          S3, and what speaks like it
    gs://bucket/photos.features          Google Cloud Storage
    az://container/photos.features       Azure Blob Storage

A URL is never made a `Path`, which would fold its slashes; one that was made a path by others is
taken for the URL that it was.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from urllib.request import url2pathname

from extract.errors import InputError

BUCKETS = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
"""Schemes of buckets, and whose they are."""


def bucket_url(place: str | PurePath) -> str | None:
    """Return the URL of a place in a bucket, without a "/" at its end; None for another place.

    Raises:
        InputError: If it names no bucket, its path has parts that no bucket can have, or its
            scheme is unknown.
    """
    text = place.as_posix() if isinstance(place, PurePath) else str(place)
    match = re.fullmatch(r"(s3|gs|az):/+(.*?)/*", text, re.DOTALL)
    if match is None:
        scheme = re.match(r"([A-Za-z][\w+.-]*)://", text)
        if scheme is not None and scheme[1] != "file":
            raise InputError(f"{text} is of no known kind. Give a path, or s3://, gs:// or az://")
        return None
    scheme_name, rest = match[1], match[2]
    if not rest or any(part in ("", ".", "..") for part in rest.split("/")):
        what = "names no bucket" if not rest else "has a part that is empty, . or .."
        raise InputError(f"{text} {what}. Expected {scheme_name}://BUCKET/photos.features")
    return f"{scheme_name}://{rest}"


def split_url(url: str) -> tuple[str, str, str]:
    """Return (scheme, bucket, key) of a bucket's URL; the key has no "/" at its ends."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    return scheme, bucket, key


def local_path(place: str | PurePath) -> Path:
    """Return a place of this machine as a path; `file://` may stand before it.

    Raises:
        InputError: If a `file:` URL names another machine.
    """
    text = place.as_posix() if isinstance(place, PurePath) else str(place)
    match = re.fullmatch(r"file:(//(localhost)?)?(/[^/].*)", text, re.DOTALL)
    if match is not None:
        return Path(url2pathname(match[3]))
    if text.startswith("file://"):
        raise InputError(f"{text} is no path of this machine. Expected file:///data/photos")
    return Path(place)


def place_of(place: str | PurePath) -> Path | str:
    """Return a place as a path, or as the text of a bucket's URL."""
    return bucket_url(place) or local_path(place)


def place(text: str) -> str:
    """Return the same as text, as the command line takes it."""
    return str(place_of(text))


def resolved(place: str | PurePath) -> str:
    """Return the one name that a place has: the URL, or the absolute path without links."""
    return bucket_url(place) or str(local_path(place).resolve())


def join(place: str | PurePath, name: str) -> str:
    """Return the name of something in a place, for people."""
    return f"{url}/{name}" if (url := bucket_url(place)) else str(local_path(place) / name)


def beside(place: str | PurePath) -> Path:
    """Return a path whose neighbors may be written: of what is in a bucket, in this folder.

    What is made from a store lies beside it; what is made from one in a bucket lies here.
    """
    url = bucket_url(place)
    return Path(url.rpartition("/")[2]) if url else local_path(place)
