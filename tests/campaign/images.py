"""Hundreds of images that were damaged in every way, and bombs: a run lives, and counts them all.

Each mutated image is an item of one extraction. The process must survive with bounded memory,
every image must have a row or a reason, features must be finite, and items must be good +
undecodable + unreadable.
"""

from __future__ import annotations

import csv
import io
import os
import random
import shutil
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from extract.store.opening import open_store
from tests.campaign.figures import Effort, Figure, peak_memory, reset_peak_memory
from tests.campaign.world import COLUMNS, arithmetic_backbone, extract_folder, scratch

MOST_MEMORY = 600 << 20
"""Bytes that a run may take more than before: two decoders with an image of the limit's size."""
FORMS = {
    "jpg": ("JPEG", {"quality": 85}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {}),
    "tiff": ("TIFF", {}),
    "lzw.tiff": ("TIFF", {"compression": "tiff_lzw"}),
}


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield a figure for mutated images with the awkward ones, and one for bombs."""
    awkward = awkward_folder()
    with arithmetic_backbone(), scratch() as folder:
        yield mutated(folder, effort, awkward)
        yield bombs(folder)


def awkward_folder() -> Path | None:
    """Return the folder of real files that break readers, beside the checkout, if it is there."""
    beside = Path(__file__).resolve().parents[3] / "shared"
    folder = Path(os.environ.get("HEADSTART_SHARED", beside)) / "data" / "awkward"
    return folder if folder.is_dir() else None


def seeds() -> dict[str, bytes]:
    """Return a picture in each form, by the end of its name."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    picture = coarse.resize((53, 41), Image.Resampling.BICUBIC)
    found = {}
    for name, (form, options) in FORMS.items():
        sink = io.BytesIO()
        picture.save(sink, form, **options)
        found[name] = sink.getvalue()
    return found


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Return bytes with one to three wounds; most of them in the head, where sizes are."""
    content = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        limit = draw.choice([64, 256, len(content)])
        at = draw.randrange(max(1, min(limit, len(content))))
        kind = draw.randrange(6)
        if kind == 0 and content:
            content[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            content[at : at + 4] = draw.choice([b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4)])
        elif kind == 2:
            del content[draw.randrange(len(content) + 1) :]
        elif kind == 3:
            content[at:at] = draw.randbytes(draw.choice([1, 16, 300]))
        elif kind == 4:
            del content[at : at + draw.choice([1, 8, 64])]
        else:
            content[at : at + 16] = content[-16:]
    return bytes(content)


def mutated(folder: Path, effort: Effort, awkward: Path | None) -> Figure:
    """Extract a folder of mutated images, the awkward ones and a few good ones."""
    figure = Figure(point=5, what="mutated and awkward images, each with a row or a reason")
    photos, draw = folder / "photos", random.Random(effort.seed)
    photos.mkdir()
    good = seeds()
    for number in range(effort.images):
        name = draw.choice(sorted(good))
        (photos / f"{number:05d}.{name}").write_bytes(mutate(good[name], draw))
    for name, data in good.items():
        (photos / f"good.{name}").write_bytes(data)
    if awkward is not None:
        for path in sorted(p for p in awkward.rglob("*") if p.is_file()):
            shutil.copyfile(path, photos / f"awkward-{path.name}")
    before = reset_peak_memory()
    summary = extract_folder(photos, folder / "photos.features", workers=2, max_bad="100%")
    grown = peak_memory() - before
    figure.tried = summary.items
    figure.check(grown < MOST_MEMORY, f"memory grew by {grown >> 20} MiB")
    figure.failures += _counts(folder / "photos.features", summary.bad)
    for name in good:
        figure.check(_is_good(folder, f"good.{name}"), f"good.{name} is not good")
    figure.note = f"{summary.bad} bad, memory grew by {grown >> 20} MiB"
    return figure


def _counts(store: Path, bad: int) -> list[str]:
    """Return what of items, rows and reasons does not add up."""
    snapshot, found = open_store(store), []
    items = snapshot.items.to_pylist()
    statuses = Counter(item["status"] for item in items)
    if statuses["good"] + statuses["warned"] + bad != len(items):
        found.append(f"{dict(statuses)} do not add up with {bad} bad")
    with open(store / "bad_images.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    if len(lines) != bad or not all(line["reason"] and line["stage"] for line in lines):
        found.append(f"{len(lines)} lines of reasons for {bad} bad images")
    for column in COLUMNS:
        data = snapshot.load(None, column)
        if len(data) != len(items) - bad or not np.isfinite(data.X).all():
            found.append(f"{len(data)} rows, or some that are not numbers")
    return found


def _is_good(folder: Path, name: str) -> bool:
    items = open_store(folder / "photos.features").items.to_pylist()
    return next(i["status"] for i in items if i["path"].endswith(name)) == "good"


# Bombs -----------------------------------------------------------------------------------------


def png_bomb(side: int) -> bytes:
    """Return a PNG of one color, of which a byte is a thousand pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    pack = zlib.compressobj(9)
    row = bytes(1 + side // 8)  # one bit a pixel
    data = b"".join(pack.compress(row) for _ in range(side)) + pack.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def with_size(data: bytes, at: int, code: str, side: int) -> bytes:
    """Return an image whose header says that it is `side` pixels wide and high."""
    size = struct.pack(code, side, side)
    return data[:at] + size + data[at + len(size) :]


def bombs(folder: Path) -> Figure:
    """Extract bombs beside one good picture: each is refused on its header."""
    figure = Figure(point=5, what="decompression bombs, refused on their headers")
    good, photos = seeds(), folder / "bombs"
    photos.mkdir()
    sent = {
        "big.png": png_bomb(15_000),
        "claims.png": with_size(good["png"], 16, ">II", 100_000),
        "claims.gif": with_size(good["gif"], 6, "<HH", 65_535),
        "claims.bmp": with_size(good["bmp"], 18, "<ii", 100_000),
    }
    for name, data in {**sent, "good.png": good["png"]}.items():
        (photos / name).write_bytes(data)
    before = reset_peak_memory()
    extract_folder(photos, folder / "bombs.features", max_bad="100%")
    grown = peak_memory() - before
    for item in open_store(folder / "bombs.features").items.to_pylist():
        if item["path"] in sent:
            figure.tried += 1
            refused = item["status"] == "undecodable" and item["stage"] == "header"
            figure.check(refused, f"{item['path']}: {item['status']}, {item['stage']}")
    figure.check(grown < 100 << 20, f"memory grew by {grown >> 20} MiB")
    figure.note = (
        f"a PNG of {len(sent['big.png']) >> 10} KiB is 225 million pixels; {grown >> 20} MiB"
    )
    return figure
