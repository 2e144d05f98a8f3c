"""Probes in a store: raw pictures and their features, for every later parity report.

probes/ours-turned.jpg         eight synthetic pictures
probes/user-<image key>        up to 24 small pictures of the user's
probes/features-<column>.npz   names (n,) and features (n, *row_shape) float32 or float16
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Container, Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from extract import pixels, probes
from extract.errors import ImageError
from extract.items import Listing
from extract.lazy_engine import LazyEngine
from extract.plan import Plan
from extract.reading import read
from extract.recipe import Column
from extract.store.commits import HAS_FEATURES
from extract.store.files import Files, disk_errors, publish, sha256
from extract.store.item_tables import ITEMS_AT_ONCE
from extract.store.shards import damaged

PICTURES = ("ours-", "user-")
MOST_TRIES = 4 * probes.MOST_OF_USER  # pictures whose size is unknown may all be large


def keep(
    files: Files,
    listing: Listing,
    plan: Plan,
    items: pa.Table,
    engine: LazyEngine,
    before: Mapping[str, tuple[int, str]],
) -> dict[str, tuple[int, str]]:
    """Make the probes that a store lacks; return (size, SHA-256) of every probe file.

    `before` are the files of the newest snapshot: what was lost of them comes back.

    Raises:
        DamagedStoreError: If a probe is not what that snapshot was sealed with.
    """
    for name in files.list("probes"):
        expected = before.get(f"probes/{name}")
        if expected is not None and _facts(files, name) != tuple(expected):
            raise damaged(f"probes/{name}", "was altered")
    with disk_errors("the probes"):
        _keep_pictures(files, listing, items, before)
        if any(features_name(c) not in files.list("probes") for c in plan.outputs):
            _keep_features(files, plan, engine)
    return {f"probes/{name}": _facts(files, name) for name in files.list("probes")}


def _facts(files: Files, name: str) -> tuple[int, str]:
    data = files.read(f"probes/{name}")
    return len(data), sha256(data)


def features_name(column: Column) -> str:
    """Return the file name of a column's probe features."""
    return f"features-{hashlib.sha256(column.canonical.encode()).hexdigest()[:16]}.npz"


def read_features(files: Files, column: Column) -> tuple[list[str], np.ndarray]:
    """Return the names of the probes and their features (n, *row_shape) in a column."""
    data = files.read(f"probes/{features_name(column)}")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return arrays["names"].tolist(), arrays["features"]


def _keep_pictures(files: Files, listing: Listing, items: pa.Table, before: Iterable[str]) -> None:
    there = files.list("probes")
    if not {f"ours-{name}" for name in probes.NAMES} <= set(there):
        for name, data in probes.synthetic().items():
            publish(files, f"probes/ours-{name}", data)
    lost = {n.removeprefix("probes/user-") for n in before if n.startswith("probes/user-")}
    lost -= {name.removeprefix("user-") for name in there}
    if lost or not any(name.startswith("user-") for name in there):
        for key, data in _users_pictures(listing, items, lost).items():
            publish(files, f"probes/user-{key}", data)


def _users_pictures(listing: Listing, items: pa.Table, keys: Container[str]) -> dict[str, bytes]:
    """Return pictures by key: these, or the first small good ones where none are named.

    A picture that changed or went away meanwhile is left out. One that is an array becomes a PNG,
    which decodes to the same pixels.
    """
    found: dict[str, bytes] = {}
    tries = 0
    for item, (size, status, key) in zip(listing.items, _facts_of(items), strict=True):
        if len(found) == probes.MOST_OF_USER or tries == MOST_TRIES:
            break
        small = size <= probes.SMALL and status in HAS_FEATURES
        if small and key not in found and (not keys or key in keys):
            tries += 1
            with contextlib.suppress(ImageError):
                file = read(listing, item)
                data = file.data if isinstance(file.data, bytes) else pixels.png(file.data)
                if file.read.image_key == key and len(data) <= probes.SMALL:
                    found[key] = data
    return found


def _facts_of(items: pa.Table) -> Iterator[tuple[int, str, str | None]]:
    """Yield (size, status, image key) of items; most often only the first few are asked for."""
    for batch in items.select(["size", "status", "image_key"]).to_batches(ITEMS_AT_ONCE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _keep_features(files: Files, plan: Plan, engine: LazyEngine) -> None:
    names = [name for name in files.list("probes") if name.startswith(PICTURES)]
    policy = plan.settings.pixels
    batch = np.stack([pixels.load(files.read(f"probes/{name}"), policy)[0] for name in names])
    for column, features in zip(plan.outputs, engine(batch), strict=True):
        sink = io.BytesIO()
        np.savez(sink, names=np.array(names), features=features)
        publish(files, f"probes/{features_name(column)}", sink.getvalue())
