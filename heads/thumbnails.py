"""Small pictures of a store's items, for pages that open without the images themselves."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from extract.cores import num_cores
from extract.errors import HeadstartError
from extract.items import Listing
from extract.pixels import decode
from extract.reading import read
from extract.recipe import PixelPolicy
from extract.store.opening import Store
from extract.store.reader import Snapshot
from extract.stored import remember

QUALITY = 70
"""Of the JPEG."""


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Where the pictures of a snapshot's items are read; nothing is kept."""

    listing: Listing | None
    """None where the images are not at hand."""
    keys: Sequence[str | None]
    """Image key of each item; another picture at the same path is none of ours."""
    policy: PixelPolicy
    why: str = ""
    """Why there is no listing: a sentence that says what to type."""

    @classmethod
    def of(cls, snapshot: Snapshot, images: str | None = None) -> Thumbnails:
        """Look for the images where they are given, where they were last, or beside the store."""
        keys, policy = snapshot.items["image_key"].to_pylist(), snapshot.recipe.pixels
        try:
            memory = remember(Store.at(snapshot.path))
            return cls(memory.listing(images, "--images", snapshot.items), keys, policy)
        except HeadstartError as error:
            return cls(None, keys, policy, str(error))

    def uris(self, items: Sequence[int], side: int) -> list[str | None]:
        """Return pictures that fit a square, as data URIs; None where one is not at hand.

        Args:
            items: Positions among the snapshot's items.
            side: Of the square, in pixels.
        """
        if self.listing is None:
            return [None] * len(items)
        with ThreadPoolExecutor(num_cores()) as pool:
            return list(pool.map(lambda item: self._uri(item, side), items))

    def _uri(self, index: int, side: int) -> str | None:
        assert self.listing is not None
        try:
            file = read(self.listing, self.listing.items[index])
            if file.read.image_key != self.keys[index]:
                return None
            data = file.data
            pixels = decode(data, self.policy).pixels if isinstance(data, bytes) else data
        except HeadstartError:
            return None
        return data_uri(pixels, side)


def data_uri(pixels: np.ndarray, side: int) -> str:
    """Return pixels (h, w, 3 or 1) uint8 as a JPEG that fits a square, in a data URI."""
    from PIL import Image

    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((side, side), Image.Resampling.BILINEAR)
    sink = io.BytesIO()
    picture.convert("RGB").save(sink, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(sink.getvalue()).decode()
