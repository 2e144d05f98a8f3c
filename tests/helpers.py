"""What several test files need: a backbone made of arithmetic, and stores read back."""

from pathlib import Path

import numpy as np

from extract.engines.engine import Engine
from extract.prepared import Prepared
from extract.recipe import Column, Preprocessing
from extract.store.opening import open_store

WIDTH = 6


class SyntheticEngine(Engine):
    """Features that are means of pixels: fast, exact, and different for every picture."""

    signature = {"engine": "synthetic", "version": "1", "instructions": "none"}
    batch_size = 4
    streams = 1

    def __init__(self) -> None:
        self.images = 0
        self.columns: tuple[Column, ...] = ()

    def for_plan(self, plan):
        """Give the columns that a plan's graph would give."""
        self.columns = tuple(column for column, _ in plan.prepared.columns)
        return self

    def __call__(self, pixels):
        self.images += len(pixels)
        base = pixels.reshape(len(pixels), -1, 3)
        features = np.concatenate([base.mean(axis=1), base.max(axis=1)], axis=1)
        return [(features + column.operation).astype(np.float32) for column in self.columns]


def synthetic_prepared(request) -> Prepared:
    """Prepare nothing: layers are called after their number, "last" is number 9."""
    names = [(layer.layer or "last", layer.pooling or "avg") for layer in request.layers]
    columns = tuple(
        (
            Column(operation=9 if name == "last" else int(name), layer=name, pooling=pooling),
            (WIDTH,),
        )
        for name, pooling in dict.fromkeys(names)
    )
    return Prepared(
        graph_digest="0" * 64,
        weights_digest="1" * 64,
        arguments=dict(request.spec.arguments),
        preprocessing=Preprocessing(),
        columns=columns,
        weights={},
        folder=Path("nowhere"),
        files={},
    )


def formats(store, column: str | None = None) -> set[str]:
    """Return the formats of the shards that the newest snapshot names, of one column or of all."""
    names = {".zshard": "zarr", ".h5": "hdf5"}
    return {
        names[Path(ref.file).suffix]
        for kept in open_store(store).record.columns
        if column in (None, kept.column.name)
        for ref in kept.refs
    }


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
