"""A data set of TensorFlow Datasets: `tfds:mnist`, `tfds:mnist[train[:40%]+test]` → items.

The name is one that `tfds.builder` takes, or the folder of a prepared data set. Images are read
as the bytes that the data set holds, and decoded as those of any file.

Its files are made to be read in order, so a `Stream` reads them in order and goes back to the
beginning of a slice only when somebody asks for what is past.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from extract.backbones import nearest
from extract.errors import ImageError, InputError
from extract.image_limits import MAX_BYTES
from extract.items import Item, Listing
from extract.quiet import quiet_import
from extract.reading import FileBytes, found
from extract.sources import naming
from extract.splits import split_of_folder

KEPT = 64
"""Records that a stream keeps: more than the threads of a run are apart."""


class Stream:
    """Records that come in order, for readers who ask for them nearly in order."""

    def __init__(self, open_at: Callable[[int], Iterator[bytes]]) -> None:
        """`open_at` returns the records from a position on."""
        self._open_at = open_at
        self._records: Iterator[bytes] = iter(())
        self._next = -1
        self._kept: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> bytes:
        with self._lock:
            if index not in self._kept:
                if not self._next <= index < self._next + KEPT or self._next < 0:
                    self._records, self._next = self._open_at(index), index
                while self._next <= index:
                    self._kept[self._next] = next(self._records)
                    self._next += 1
                while len(self._kept) > KEPT:
                    del self._kept[next(iter(self._kept))]
            return self._kept[index]


class Streams:
    """Reads items from the streams of splits."""

    def __init__(self, streams: dict[str, Stream]) -> None:
        self._streams = streams

    def read(self, item: Item) -> FileBytes:
        """Return the bytes of an image."""
        split, _, index = item.path.rpartition("/")
        data = self._streams[split][int(index)]
        if len(data) > MAX_BYTES:
            raise ImageError("read", f"{len(data)} bytes, more than {MAX_BYTES} are not read")
        return found(item, data)


def list_tfds(text: str) -> Listing:
    """List the images of a data set, which is downloaded where tfds has not prepared it yet.

    Raises:
        InputError: If tensorflow-datasets is not installed, or there is no such data set or split.
    """
    tfds = naming.library("tensorflow_datasets", "tfds")
    quiet_import("tensorflow")  # which tfds imports later, in its own way
    name, splits = naming.parse(text)
    builder = _builder(tfds, name)
    features = dict(builder.info.features.items())
    images = (k for k, kind in features.items() if isinstance(kind, tfds.features.Image))
    image = naming.only_image(images, name)
    label = naming.label_column(
        k for k, kind in features.items() if isinstance(kind, tfds.features.ClassLabel)
    )
    mtime_ns = (Path(builder.data_dir) / "dataset_info.json").stat().st_mtime_ns
    items: list[Item] = []
    streams: dict[str, Stream] = {}
    for split in splits or list(builder.info.splits):
        for index, text_label in enumerate(_labels(tfds, builder, split, label)):
            path = f"{split}/{index:08d}"
            given = split_of_folder(naming.word(split))
            items.append(Item(path, text_label, given, 0, mtime_ns))
        streams[split] = Stream(partial(_images, tfds, builder, split, image))
    if not items:
        raise InputError(f"tfds:{text} has no rows")
    ordered = tuple(sorted(items, key=lambda item: item.path))
    return Listing(Path(), ordered, place=f"tfds:{text}", source=Streams(streams))


def _builder(tfds: Any, name: str) -> Any:
    try:
        if Path(name).expanduser().is_dir():
            return tfds.builder_from_directory(str(Path(name).expanduser()))
        builder = _by_name(tfds, name)
        with contextlib.redirect_stdout(sys.stderr):  # it tells people what it downloads
            builder.download_and_prepare()  # at once, where it is prepared already
    except InputError:
        raise
    except Exception as error:  # data sets raise whatever their authors and the network do
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"tfds:{name} cannot be had: {reason}") from error
    return builder


def _by_name(tfds: Any, name: str) -> Any:
    try:
        return tfds.builder(name)
    except tfds.core.DatasetNotFoundError as error:  # it names every data set that there is
        near = nearest(name.partition("/")[0], tfds.list_builders(), likeness=0.6)
        question = f" Did you mean {', '.join(f'tfds:{n}' for n in near)}?" if near else ""
        raise InputError(
            f"tensorflow-datasets has no data set {name!r}, and no folder is called that.{question}"
        ) from error


def _dataset(tfds: Any, builder: Any, split: str, decoders: Any) -> Any:
    """Return a tf.data.Dataset in the order of the files."""
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    try:
        return builder.as_dataset(
            split=split, shuffle_files=False, read_config=config, decoders=decoders
        )
    except (ValueError, AssertionError, KeyError) as error:
        have = ", ".join(builder.info.splits)
        raise InputError(f"{builder.name} has no split {split!r}. It has: {have}") from error


def _labels(tfds: Any, builder: Any, split: str, label: str | None) -> Iterator[str | None]:
    if label is None:
        yield from [None] * builder.info.splits[split].num_examples
        return
    partly = tfds.decode.PartialDecoding({label: True})
    names = builder.info.features[label]
    for record in _dataset(tfds, builder, split, partly).as_numpy_iterator():
        code = int(record[label])
        yield None if code < 0 else names.int2str(code)


def _images(tfds: Any, builder: Any, split: str, image: str, start: int) -> Iterator[bytes]:
    partly = tfds.decode.PartialDecoding({image: True}, {image: tfds.decode.SkipDecoding()})
    for record in _dataset(tfds, builder, split, partly).skip(start).as_numpy_iterator():
        yield bytes(record[image])
