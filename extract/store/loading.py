"""A snapshot's rows as other libraries load them: tf.data and torch.utils.data.

Both read from the store as they go, so that memory holds a batch and not the features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from extract.store.reader import Data, Snapshot

Load = Callable[[Sequence[int] | np.ndarray], "Data"]
"""Positions among the rows of a split → these rows."""


def tf_dataset(
    snapshot: Snapshot,
    split: str | None,
    batch_size: int,
    shuffle: bool,
    seed: int,
    column: str | None,
) -> Any:
    """Return a `tf.data.Dataset` of batches; each pass over it has an order of its own."""
    import tensorflow as tf

    rows = len(snapshot.rows(split))
    shape, dtype = snapshot.row_shape(column), snapshot.find(column).dtype
    signature: Any = tf.TensorSpec((None, *shape), dtype)
    if snapshot.classes:
        signature = (signature, tf.TensorSpec((None,), "int64"))
    passes = 0

    def batches() -> Iterator[Any]:
        nonlocal passes
        passes += 1
        for data in snapshot.batches(split, batch_size, shuffle, seed + passes - 1, column=column):
            yield data.X if data.y is None else (data.X, data.y)

    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    count = -(-rows // batch_size)
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2)


class TorchRows:
    """Rows of a split, as `torch.utils.data.DataLoader` asks for them.

    A row is (features, class) or, without labels, features alone. A loader's batch is one read.
    """

    def __init__(self, load: Load, count: int) -> None:
        self._load = load
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        if not -self._count <= index < self._count:
            raise IndexError(f"row {index} of {self._count}")
        return self.__getitems__([index % self._count])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        import torch

        data = self._load(indices)
        rows = torch.from_numpy(data.X)
        return (
            list(rows) if data.y is None else list(zip(rows, torch.from_numpy(data.y), strict=True))
        )
