"""Images that are arrays already: a `.npz` or `.npy` file, or arrays from Python → items.

    x   (n, height, width, 3 or 1) uint8, 0..255: RGB or grey
    y   (n,) labels: whole numbers or text; optional

They are not decoded, only resized. Items are called after their position, 00000000 upwards.
A `.npy` file is mapped, not loaded; an `.npz` file is loaded. No file with Python objects is read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from extract.archives import BROKEN
from extract.errors import ImageError, InputError
from extract.items import Item, Listing
from extract.reading import FileBytes, found

WANTED = "(height, width, 3) or (height, width, 1) uint8, 0..255"


class Arrays:
    """Reads items from a sequence of arrays, or of (array, label) pairs."""

    def __init__(self, images: Any, paired: bool = False) -> None:
        self._images = images
        self._paired = paired

    def read(self, item: Item) -> FileBytes:
        """Return a copy of an item's pixels, which nobody changes any more."""
        image = self._images[int(item.path)]
        pixels = np.array(image[0] if self._paired else image)
        if (problem := _problem(pixels)) is not None:  # it was good when it was listed
            raise ImageError("read", problem)
        return found(item, pixels)


def list_arrays(images: Iterable[Any]) -> Listing:
    """List arrays from Python: each (h, w, 3 or 1) uint8, or a pair of one and its label.

    What can be asked for an element by its position (a list, an array (n, h, w, c), a data set
    of h5py) is asked again when the image is read; what can only be walked through is kept in
    memory as a list.

    Raises:
        InputError: If an element is something else; it says which.
    """
    known = hasattr(images, "__len__") and hasattr(images, "__getitem__")
    sequence: Any = images if known and not isinstance(images, dict) else list(images)
    labels: list[str | None] = []
    sizes = []
    paired = False
    for index, element in enumerate(_elements(sequence)):
        paired = isinstance(element, tuple)
        if index and paired != (labels[0] is not None):
            raise InputError("Some elements are (array, label) pairs and some are not")
        array, label = element if paired and len(element) == 2 else (element, None)
        pixels = np.asarray(array)
        if (problem := _problem(pixels)) is not None:
            raise InputError(f"Element {index} is {problem}")
        labels.append(_label(label) if paired else None)
        sizes.append(pixels.nbytes)
    if not sizes:
        raise InputError("There are no arrays. Give at least one")
    items = _items(sizes, labels, 0)
    return Listing(Path(), items, place="arrays in memory", source=Arrays(sequence, paired))


def _elements(sequence: Any) -> Iterable[Any]:
    return (sequence[i] for i in range(len(sequence)))


def list_array_file(path: Path) -> Listing:
    """List the images of a `.npz` file with `x` and perhaps `y`, or of a `.npy` file.

    Raises:
        InputError: If it cannot be read, or is not of the kind above.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}. Give an .npz or .npy file, or a folder")
    mtime_ns = path.stat().st_mtime_ns
    try:
        x, y = _load(path)
    except InputError:
        raise
    except ValueError as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise InputError(
                f"{path} holds Python objects, which could run any code, and is not read. "
                f"Save plain arrays: np.savez(path, x=images, y=labels)"
            ) from error
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    except (*BROKEN, MemoryError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if x.ndim != 4 or not len(x) or _problem(x[0]) is not None:
        shown = f"{x.shape} {x.dtype}"
        cure = ". Multiply by 255 what was divided by it" if x.dtype.kind == "f" else ""
        raise InputError(f"x in {path} is {shown}. Expected (n, height, width, 3 or 1) uint8{cure}")
    labels = [None] * len(x) if y is None else _labels(path, y, len(x))
    items = _items([x[0].nbytes] * len(x), labels, mtime_ns)
    return Listing(path.resolve().parent, items, place=str(path.resolve()), source=Arrays(x))


def _load(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    if path.suffix.lower() == ".npy":
        return np.lib.format.open_memmap(path, mode="r"), None
    # numpy leaves a file that it opened itself open when the archive is torn
    with path.open("rb") as file, zipfile.ZipFile(file):
        file.seek(0)
        arrays = np.load(file, allow_pickle=False)
        if "x" not in arrays.files:
            names = ", ".join(arrays.files) or "none"
            raise InputError(f"{path} has no array 'x'. Arrays found: {names}")
        return arrays["x"], arrays["y"] if "y" in arrays.files else None


def _problem(pixels: np.ndarray) -> str | None:
    good = pixels.ndim == 3 and pixels.shape[2] in (1, 3) and min(pixels.shape) > 0
    if good and pixels.dtype == np.uint8:
        return None
    return f"{pixels.shape} {pixels.dtype}. Expected {WANTED}"


def _labels(path: Path, y: np.ndarray, count: int) -> list[str | None]:
    flat = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if flat.shape != (count,) or flat.dtype.kind not in "biuU":
        raise InputError(
            f"y in {path} is {y.shape} {y.dtype}. Expected ({count},) whole numbers or text, one "
            f"for each image in x"
        )
    return [_label(label) for label in flat.tolist()]


def _label(label: Any) -> str:
    plain = label.item() if isinstance(label, np.generic | np.ndarray) else label
    if not isinstance(plain, str | int):
        raise InputError(f"A label is text or a whole number. Received: {label!r}")
    return str(plain)


def _items(sizes: Sequence[int], labels: Sequence[str | None], mtime_ns: int) -> tuple[Item, ...]:
    return tuple(
        Item(f"{index:08d}", label, None, size, mtime_ns)
        for index, (size, label) in enumerate(zip(sizes, labels, strict=True))
    )
