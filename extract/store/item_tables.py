"""The items of a snapshot as a table: its columns, its file, its digest, and the list of the bad.

What a person calls the same items has the same digest: paths, images, labels, splits and groups,
and neither their order nor when they were read.
"""

from __future__ import annotations

import hashlib
import io
from json.encoder import encode_basestring_ascii

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extract.csv_cells import TextWriter

ITEMS_AT_ONCE = 1 << 16
"""Rows of a table that become objects at once: a million together would take half a GB."""

ITEM_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("image_key", pa.string()),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("group", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("stage", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("decided", pa.string()),
    ]
)
"""Columns of an items table; `row` is -1 where there are no bytes to have a row, and `decided`
names what a person decided of an item, such as "label split": a run keeps that."""


def parquet_bytes(items: pa.Table) -> bytes:
    """Return the items as the bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(items, sink, compression="zstd")
    return sink.getvalue()


def read_parquet(data: bytes) -> pa.Table:
    """Return the items that `parquet_bytes` wrote, as they were sealed by whatever release."""
    with pq.ParquetFile(io.BytesIO(data)) as file:  # read_table imports pyarrow.dataset for it
        return file.read(use_threads=False)


def bad_images_csv(items: pa.Table) -> bytes:
    """Return the CSV (path, stage, reason) of the items that are bad."""
    text = io.StringIO(newline="")
    writer = TextWriter(text)
    writer.writerow(["path", "stage", "reason"])
    bad = items.filter(pc.is_in(items["status"], pa.array(["undecodable", "unreadable"])))
    for item in bad.select(["path", "stage", "reason"]).to_pylist():
        writer.writerow([item["path"], item["stage"], item["reason"]])
    return text.getvalue().encode()


def items_digest(items: pa.Table) -> str:
    """Return the SHA-256 over the sorted (path, image_key, label, split, group).

    Each line begins with its path, and no two items have the same one, so lines are sorted by the
    paths as they are written, and made a piece at a time: a million together would take 600 MB.
    """
    paths = [_quoted(path) for path in items["path"].to_pylist()]
    order = sorted(range(len(paths)), key=paths.__getitem__)
    del paths
    chosen = items.select(["path", "image_key", "label", "split", "group"])
    digest = hashlib.sha256()
    for start in range(0, len(order), ITEMS_AT_ONCE):
        piece = chosen.take(order[start : start + ITEMS_AT_ONCE])
        columns = [map(_quoted, column.to_pylist()) for column in piece.columns]
        lines = [f"[{','.join(values)}]\n" for values in zip(*columns, strict=True)]
        digest.update("".join(lines).encode())
    return digest.hexdigest()


def _quoted(text: str | None) -> str:
    """Return what `canonical_json` does, three times as quickly: a million items have five."""
    return "null" if text is None else encode_basestring_ascii(text)
