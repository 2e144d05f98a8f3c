"""A shard as one HDF5 file with one contiguous dataset, `features`.

The file is made in memory in the earliest file format, without times, so equal rows give equal
bytes and any HDF5 since 1.8 reads it. HDF5's own fletcher32 cannot tell 0x0000 from 0xFFFF, so
the SHA-256 in the commit is the check; it is compared before the HDF5 parser sees a file.
"""

from __future__ import annotations

import io
import threading

import h5py
import numpy as np

from extract.store.files import Buffer
from extract.store.shards import Grid, ShardFormat, damaged

DATASET = "features"


class HDF5Format(ShardFormat):
    """HDF5, one contiguous dataset."""

    name = "hdf5"
    suffix = ".h5"

    def encode(self, features: np.ndarray, grid: Grid) -> tuple[bytes, int, int]:
        rows = np.ascontiguousarray(features, grid.little_endian)
        # HDF5 knows open files by name, those in memory too: each thread needs its own.
        name = f"shard-{threading.get_ident()}"
        with h5py.File(
            name, "w", driver="core", backing_store=False, libver=("earliest", "v108")
        ) as file:
            dataset = file.create_dataset(DATASET, data=rows, track_times=False)
            file.flush()
            offset = dataset.id.get_offset()
            return file.id.get_file_image(), offset, grid.row_bytes * grid.chunk_rows

    def parse(self, data: bytes | Buffer, rows: int, grid: Grid) -> list[np.ndarray]:
        try:
            with h5py.File(io.BytesIO(data), "r") as file:
                dataset = file[DATASET]
                if dataset.shape != (rows, *grid.row_shape) or dataset.dtype != grid.little_endian:
                    raise damaged(
                        "an HDF5 shard",
                        f"holds {dataset.shape} {dataset.dtype}, expected "
                        f"{(rows, *grid.row_shape)} {grid.dtype}",
                    )
                return [dataset[...]]
        except (OSError, KeyError) as error:
            raise damaged("an HDF5 shard", f"cannot be parsed: {error}") from error
