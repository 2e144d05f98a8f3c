"""A data set as it is now, where it can be had at once and may have changed since a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from extract.errors import InputError
from extract.items import SCHEMES, Listing
from extract.sources import list_images, naming


def list_again(found_at: Mapping[str, str], newest_ns: int) -> Listing | None:
    """List the images of a snapshot again.

    Folders and tables are always listed. What is one file, or was prepared by another library, is
    listed only where its time differs: the libraries take seconds to import.

    Args:
        found_at: What the snapshot says of where its images were.
        newest_ns: The latest time of its items, in nanoseconds.

    Returns:
        The listing; None where nothing is there, where its names and labels are as they were, or
        where it does not lie on this disk.
    """
    place, folder = found_at.get("images", ""), found_at.get("folder")
    try:
        if folder is not None:
            there = Path(place).is_file() and Path(folder).is_dir()
            return list_images(place, folder) if there else None
        if Path(place).is_dir() and place:
            return list_images(place)
        return None if written_ns(place) in (0, newest_ns) else list_images(place)
    except InputError:  # it cannot be used any more as it is
        return None


def written_ns(place: str) -> int:
    """Return when a data set was last written, in nanoseconds; 0 where nothing here says so."""
    scheme, _, rest = place.partition(":")
    if scheme in SCHEMES and rest:
        folder = Path(naming.parse(rest)[0]).expanduser()
        pattern = "*.arrow" if scheme == "hf" else "dataset_info.json"
        files = [*folder.rglob(pattern)] if folder.is_dir() else []
    elif place.endswith(".tar"):
        from extract.sources.tars import expand  # with it come the decoders, which take a while

        files = [Path(name) for name in expand(place)]
    else:
        files = [Path(place)]
    return max((file.stat().st_mtime_ns for file in files if file.is_file()), default=0)
