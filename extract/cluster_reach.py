"""Whether a worker reaches what its chores read and write: looked at once, before the first one."""

from __future__ import annotations

from pathlib import Path

from extract.bucket import LANES, bucket_errors, open_bucket
from extract.errors import BucketError, InputError
from extract.items import Item, Listing
from extract.places import bucket_url
from extract.sources.buckets import Objects


def root_of(listing: Listing) -> str:
    """Return where a worker finds the items of a listing: a folder, or a bucket's URL.

    Raises:
        InputError: If they are neither files nor objects.
    """
    if listing.source is None:
        return str(listing.root)
    if isinstance(listing.source, Objects):
        return listing.source.url
    raise InputError(
        f"Workers read files, and {listing.name} is no folder and no table of files. Unpack it, or "
        f"leave --cluster out"
    )


def listing_at(root: str, items: tuple[Item, ...]) -> Listing:
    """Return the listing of some items, as `root_of` told where they are."""
    if (url := bucket_url(root)) is None:
        return Listing(Path(root), items)
    return Listing(Path(), items, place=url, source=Objects.at(url), lanes=LANES)


def check_images(node: str, root: str) -> None:
    """Raise `InputError` or `BucketError`, that names the node if it does not see the images."""
    if (url := bucket_url(root)) is not None:
        _ask(node, "images", url)
    elif not Path(root).is_dir():
        raise InputError(
            f"{node} does not see the images: there is no {root}. Mount it there, at the same path"
        )


def check_store(node: str, store: str) -> None:
    """Raise `InputError` or `BucketError`, that names the node if it cannot see the store."""
    if (url := bucket_url(store)) is not None:
        _ask(node, "store", url)
    elif not Path(store).parent.is_dir():
        raise InputError(
            f"{node} does not see the place of the store, {Path(store).parent}. Give --store on a "
            f"file system that all machines share, or in a bucket"
        )


def _ask(node: str, what: str, url: str) -> None:
    """Ask a bucket for the first names below a URL: one request, of which there may be none."""
    try:
        with bucket_errors(url):
            next(iter(open_bucket(url).list(chunk_size=1)), None)
    except (BucketError, InputError) as error:
        raise type(error)(
            f"{node} does not reach the {what}: {error}. Workers have the environment in which Ray "
            f"was started on {node}: set it there, and start Ray anew"
        ) from error
