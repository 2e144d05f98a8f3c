"""Images decoded once, by the project's own decoder, and kept within bounds.

    bytes ─▶ decode ─▶ uint8 (h, w, 3), or, where that is less, resized float32 (S, S, 3)
          ─▶ memory up to a limit, then one file on disk ─▶ float32 (n, S, S, 3), whenever asked

Both forms give the very pixels that `extract.pixels.load` gives: rounding after the resize is
never done. Augmentation comes later, in the graph, and is never kept.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from extract import pixels
from extract.cores import num_cores
from extract.errors import ImageError
from extract.recipe import PixelPolicy
from extract.resize import resize
from extract.stages import Stage
from finetune.errors import FinetuneError


@dataclass(frozen=True, slots=True)
class _OnDisk:
    offset: int
    shape: tuple[int, ...]
    dtype: str


class PixelCache:
    """Decoded images by number, from 0; close it, or use it in `with`."""

    def __init__(self, policy: PixelPolicy, limit: int, folder: Path | None = None) -> None:
        """Keep up to `limit` bytes in memory, and the rest in a file without a name in `folder`."""
        self._policy = policy
        self._limit = limit
        self._folder = folder
        self._rows: list[np.ndarray | _OnDisk] = []
        self._file: IO[bytes] | None = None
        self._pool = ThreadPoolExecutor(num_cores())
        self.memory_bytes = 0
        self.disk_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._rows)

    def fill(
        self, read: Sequence[Callable[[], bytes]], on_image: Callable[[int], None] | None = None
    ) -> None:
        """Decode images and add them, in order.

        Args:
            read: Gives the bytes of each image.
            on_image: Hears how many are there.

        Raises:
            FinetuneError: If an image is bad, or the disk refuses.
        """
        stage: Stage[Callable[[], bytes], np.ndarray] = Stage(self._decode, num_cores(), 64)
        try:
            for _, row in stage(read):
                assert row is not None
                self._keep(row)
                if on_image is not None:
                    on_image(len(self._rows))
        finally:
            stage.close()

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Return images (n, S, S, 3), float32 in 0..255."""
        size = self._policy.image_size
        out = np.empty((len(numbers), size, size, 3), np.float32)

        def put(place: int) -> None:
            row = self._row(int(numbers[place]))
            out[place] = row if row.dtype == np.float32 else resize(row, self._policy)

        list(self._pool.map(put, range(len(numbers))))
        return out

    def close(self) -> None:
        """Forget everything."""
        self._pool.shutdown()
        self._rows.clear()
        if self._file is not None:
            self._file.close()

    def _decode(self, read: Callable[[], bytes]) -> np.ndarray:
        try:
            decoded = pixels.decode(read(), self._policy).pixels
        except ImageError as error:
            raise FinetuneError(f"An image cannot be decoded any more: {error}") from error
        resized_bytes = 4 * 3 * self._policy.image_size**2
        return decoded if decoded.nbytes <= resized_bytes else resize(decoded, self._policy)

    def _keep(self, row: np.ndarray) -> None:
        if self.memory_bytes + row.nbytes <= self._limit:
            self._rows.append(row)
            self.memory_bytes += row.nbytes
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            self._rows.append(_OnDisk(self.disk_bytes, row.shape, str(row.dtype)))
            self.disk_bytes += self._file.write(np.ascontiguousarray(row).data)
            self._file.flush()
        except OSError as error:
            place = self._folder or tempfile.gettempdir()
            raise FinetuneError(
                f"Decoded images do not fit on the disk of {place}: {error.strerror}. Give a "
                f"larger --cache-memory than {self._limit / 1e9:g}GB"
            ) from error

    def _row(self, number: int) -> np.ndarray:
        row: Any = self._rows[number]
        if isinstance(row, np.ndarray):
            return row
        assert self._file is not None
        count = int(np.prod(row.shape)) * np.dtype(row.dtype).itemsize
        data = os.pread(self._file.fileno(), count, row.offset)
        return np.frombuffer(data, row.dtype).reshape(row.shape)
