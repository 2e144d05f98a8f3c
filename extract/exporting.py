"""A snapshot in a format that other tools read.

    OUT.zarr      one plain zarr v3 array per column, in row order, with the store's own shards by
                  hard link where the disk has them; item_* arrays lead from items to rows, and
                  OUT.items.parquet beside it has paths
    OUT.h5        one dataset per column in item order; path, label, split, y
    OUT.npz       likewise
    OUT.parquet   one line per item, one list of numbers per column
    OUT.npy       one column in item order; OUT.items.csv beside it

An export is made under a scratch name and renamed when it is whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from extract.errors import InputError, StoreWriteError
from extract.export_marks import BESIDE, ITEM_FIELDS, MARK, is_export
from extract.notebook import Shown
from extract.published import published
from extract.recipe import Column
from extract.splits import SPLITS
from extract.store.files import Files, LocalFiles
from extract.store.opening import Store
from extract.store.reader import Data, Snapshot
from extract.store.shards import Grid
from extract.store.snapshot_records import SnapshotColumn
from extract.store.zarr_shards import ZarrFormat
from extract.tables import write_csv

ITEMS_AT_ONCE = 1024


@dataclass(slots=True)
class Exported(Shown):
    """What an export wrote."""

    out: str
    snapshot: int
    columns: list[str]
    """Names of the arrays."""
    items: int
    rows: int
    linked: int = 0
    """Shards that are hard links to those of the store."""
    copied: int = 0
    """Shards that were copied or written anew."""


def export(path: str | Path, out: str | Path, column: str | None = None) -> Exported:
    """Write the newest snapshot of a store in the format that `out` ends with.

    Args:
        path: The store's folder.
        out: Ends with .zarr, .h5, .npz, .parquet or .npy. An earlier export there is replaced.
        column: Only this column; needed for .npy where the snapshot has several.

    Raises:
        InputError: If the ending is unknown, something else is at `out`, or no column is meant.
        StoreWriteError: If the disk refuses; what was at `out` is then as it was.
        DamagedStoreError: If a shard is not what was sealed.
    """
    store, out = Store.at(path), Path(out)
    snapshot = store.open()
    if out.suffix not in WRITERS:
        raise InputError(f"{out} ends with none of {', '.join(WRITERS)}")
    if column is not None or out.suffix == ".npy":
        wanted = [snapshot.find(column)]
    else:
        wanted = list(snapshot.columns)
    _check_place(out)
    done = Exported(
        out=str(out),
        snapshot=snapshot.number,
        columns=list(_names(wanted).values()),
        items=snapshot.items.num_rows,
        rows=sum(ref.rows for ref in snapshot.record.columns[0].refs),
    )
    try:
        with published(out) as scratch:
            WRITERS[out.suffix](store, snapshot, wanted, scratch, done)
            _write_beside(snapshot, out)
            if out.is_dir():
                shutil.rmtree(out)
    except OSError as error:
        raise StoreWriteError(f"Cannot write {out}: {error.strerror or error}") from error
    return done


def _check_place(out: Path) -> None:
    """Raise `InputError` if something other than an earlier export is there."""
    if not out.parent.is_dir():
        raise InputError(f"There is no folder {out.parent}. Make it, or give another OUT")
    beside = out.with_suffix(BESIDE.get(out.suffix, out.suffix))
    if not os.path.lexists(out):
        if os.path.lexists(beside):
            raise InputError(f"{beside} would be overwritten. Move it, or give another OUT")
        return
    if not is_export(out):
        raise InputError(f"{out} is something else than an export. Give another name")


def _names(columns: list[Column]) -> dict[str, str]:
    """Map columns to names that every format and file system takes."""
    names: dict[str, str] = {}
    for column in columns:
        name = re.sub(r"\W+", ".", column.name)
        names[column.canonical] = name if name not in names.values() else column.canonical
    return names


def _facts(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "root_digest": snapshot.root_digest,
        "recipe_key": snapshot.recipe.key,
        "snapshot": snapshot.number,
        "classes": list(snapshot.classes),
    }


def _pieces(snapshot: Snapshot, column: Column) -> Iterator[Data]:
    """Yield all items in order, with NaN where an image is bad."""
    return snapshot.batches(None, ITEMS_AT_ONCE, shuffle=False, column=column.name, bad="keep")


def _codes(snapshot: Snapshot) -> np.ndarray:
    """Return positions of labels in the classes, -1 where there is none."""
    code = {name: index for index, name in enumerate(snapshot.classes)}
    return np.array([code.get(label, -1) for label in snapshot.items["label"].to_pylist()], "<i8")


def _texts(snapshot: Snapshot) -> dict[str, list[str]]:
    names = ("path", "label", "split")
    return {name: [x or "" for x in snapshot.items[name].to_pylist()] for name in names}


# zarr ----------------------------------------------------------------------------------------


def _write_zarr(
    store: Store, snapshot: Snapshot, columns: list[Column], out: Path, done: Exported
) -> None:
    out.mkdir()
    group = {"zarr_format": 3, "node_type": "group", "attributes": {MARK: _facts(snapshot)}}
    (out / "zarr.json").write_text(json.dumps(group))
    names = _names(columns)
    for kept in snapshot.record.columns:
        if kept.column.canonical in names:
            _write_column(store, kept, out / names[kept.column.canonical], done)
    splits = {name: code for code, name in enumerate(SPLITS)}
    codes = [splits.get(name, -1) for name in snapshot.items["split"].to_pylist()]
    _write_plain(out / "item_row", snapshot.items["row"].to_numpy().astype("<i8"), {})
    _write_plain(out / "item_label", _codes(snapshot), {"names": list(snapshot.classes)})
    _write_plain(out / "item_split", np.array(codes, "<i8"), {"names": list(SPLITS)})


def _write_column(store: Store, kept: SnapshotColumn, folder: Path, done: Exported) -> None:
    grid, rows = kept.refs[0].grid, sum(ref.rows for ref in kept.refs)
    crc = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    sharding = {
        "chunk_shape": [grid.chunk_rows, *grid.row_shape],
        "codecs": crc,
        "index_codecs": crc,
        "index_location": "end",
    }
    _write_metadata(
        folder,
        shape=[rows, *grid.row_shape],
        data_type=grid.dtype,
        chunk_shape=[grid.shard_rows, *grid.row_shape],
        fill_value="NaN",
        codecs=[{"name": "sharding_indexed", "configuration": sharding}],
        dimension_names=["row", *(f"{folder.name}.{i}" for i in range(len(grid.row_shape)))],
        attributes={"column": kept.column.to_json()},
    )
    regular = all(ref.grid == grid and ref.file.endswith(".zshard") for ref in kept.refs)
    regular = regular and all(ref.rows == grid.shard_rows for ref in kept.refs[:-1])
    for number, ref in enumerate(kept.refs):
        target = folder.joinpath("c", str(number), *["0"] * len(grid.row_shape))
        target.parent.mkdir(parents=True, exist_ok=True)
        if regular:
            store.shards.parse(ref)  # what is linked is what was sealed
            _link(store.files, ref.file, target, done)
    if not regular:
        _write_shards(store, kept, grid, folder, done)


def _link(files: Files, name: str, target: Path, done: Exported) -> None:
    if isinstance(files, LocalFiles):
        try:
            os.link(files.root / name, target)
            done.linked += 1
            return
        except OSError:  # another disk, or one without hard links
            pass
    target.write_bytes(files.view(name))
    done.copied += 1


def _write_shards(
    store: Store, kept: SnapshotColumn, grid: Grid, folder: Path, done: Exported
) -> None:
    """Write the shards of a column that is kept in another format."""
    for number, ref in enumerate(kept.refs):
        data, _, _ = ZarrFormat().encode(store.shards.read(ref, 0, ref.rows), grid)
        folder.joinpath("c", str(number), *["0"] * len(grid.row_shape)).write_bytes(data)
        done.copied += 1


def _write_plain(folder: Path, values: np.ndarray, attributes: dict[str, Any]) -> None:
    """Write a small array as one chunk."""
    _write_metadata(
        folder,
        shape=[len(values)],
        data_type="int64",
        chunk_shape=[max(1, len(values))],
        fill_value=-1,
        codecs=[{"name": "bytes", "configuration": {"endian": "little"}}],
        dimension_names=["item"],
        attributes=attributes,
    )
    (folder / "c").mkdir()
    (folder / "c" / "0").write_bytes(values.tobytes())


def _write_metadata(folder: Path, *, chunk_shape: list[int], **facts: Any) -> None:
    folder.mkdir()
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        **facts,
    }
    (folder / "zarr.json").write_text(json.dumps(metadata))


# Files in item order -------------------------------------------------------------------------


def _write_hdf5(
    store: Store, snapshot: Snapshot, columns: list[Column], out: Path, done: Exported
) -> None:
    import h5py

    names, count = _names(columns), snapshot.items.num_rows
    with h5py.File(out, "w", libver=("earliest", "v108")) as file:
        for key, value in (_facts(snapshot) | {MARK: snapshot.root_digest}).items():
            file.attrs[key] = value
        for name, values in _texts(snapshot).items():
            file.create_dataset(name, data=values, dtype=h5py.string_dtype())
        file["y"] = _codes(snapshot)
        for column in columns:
            shape = (count, *snapshot.row_shape(column.name))
            dataset = file.create_dataset(names[column.canonical], shape, column.dtype)
            start = 0
            for data in _pieces(snapshot, column):
                dataset[start : start + len(data)] = data.X
                start += len(data)


def _write_npz(
    store: Store, snapshot: Snapshot, columns: list[Column], out: Path, done: Exported
) -> None:
    names = _names(columns)
    small = {name: np.array(values, dtype=np.str_) for name, values in _texts(snapshot).items()}
    small |= {"y": _codes(snapshot), "classes": np.array(snapshot.classes, dtype=np.str_)}
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = MARK.encode()
        for name, values in small.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)
        for column in columns:
            with archive.open(f"{names[column.canonical]}.npy", "w", force_zip64=True) as file:
                _stream_npy(snapshot, column, file)


def _write_npy(
    store: Store, snapshot: Snapshot, columns: list[Column], out: Path, done: Exported
) -> None:
    with open(out, "wb") as file:
        _stream_npy(snapshot, columns[0], file)


def _stream_npy(snapshot: Snapshot, column: Column, file: IO[bytes]) -> None:
    """Write an array in pieces, so that memory does not grow with the data set."""
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(column.dtype).newbyteorder("<")),
        "fortran_order": False,
        "shape": (snapshot.items.num_rows, *snapshot.row_shape(column.name)),
    }
    np.lib.format.write_array_header_2_0(file, header)
    for data in _pieces(snapshot, column):
        file.write(np.ascontiguousarray(data.X, data.X.dtype.newbyteorder("<")).tobytes())


def _write_beside(snapshot: Snapshot, out: Path) -> None:
    """Write the items of the formats that cannot hold them."""
    items = snapshot.items.select(ITEM_FIELDS)
    if out.suffix == ".zarr":  # a file among its arrays would be a warning in every reader
        pq.write_table(items, out.with_suffix(BESIDE[".zarr"]))
    elif out.suffix == ".npy":
        write_csv(items, out.with_suffix(BESIDE[".npy"]))


def _write_parquet(
    store: Store, snapshot: Snapshot, columns: list[Column], out: Path, done: Exported
) -> None:
    names = _names(columns)
    facts = {MARK: json.dumps(_facts(snapshot) | {"columns": [asdict(c) for c in columns]})}
    fields = [snapshot.items.schema.field(name) for name in ITEM_FIELDS]
    for column in columns:
        width = int(np.prod(snapshot.row_shape(column.name)))
        kind = pa.list_(pa.from_numpy_dtype(np.dtype(column.dtype)), width)
        fields.append(pa.field(names[column.canonical], kind))
    schema = pa.schema(fields, metadata=facts)
    with pq.ParquetWriter(out, schema) as writer:
        for pieces in zip(*[_pieces(snapshot, column) for column in columns], strict=True):
            arrays = [pieces[0].items[name].combine_chunks() for name in ITEM_FIELDS]
            arrays += [
                pa.FixedSizeListArray.from_arrays(pa.array(data.X.reshape(-1)), data.X[0].size)
                for data in pieces
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


WRITERS: dict[str, Callable[[Store, Snapshot, list[Column], Path, Exported], None]] = {
    ".zarr": _write_zarr,
    ".h5": _write_hdf5,
    ".npz": _write_npz,
    ".parquet": _write_parquet,
    ".npy": _write_npy,
}
