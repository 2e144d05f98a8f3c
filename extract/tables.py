"""Tables that people write: CSV or Parquet, read whole, every cell of a CSV as text."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from extract.csv_cells import FORMULA, guarded
from extract.errors import InputError


def read_table(path: str | Path) -> pa.Table:
    """Return a table as it is in a `.csv` or `.parquet` file.

    Cells of a CSV are text, so that a label "007" stays what it is.

    Raises:
        InputError: If there is no such file, it is of another kind, or not in UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no table {path}. Give a .csv or .parquet file")
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(f"{path} is no table: expected a .csv or .parquet file")
    return _parsed(path, path)


def table_of(name: str, data: bytes) -> pa.Table:
    """Return the table that the bytes of a `.csv` or `.parquet` file hold, as `read_table` does."""
    return _parsed(name, data)


def _parsed(path: str | Path, source: Path | bytes) -> pa.Table:
    is_parquet = str(path).lower().endswith(".parquet")
    try:
        return pq.read_table(_opened(source)) if is_parquet else _read_csv(source)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        if "utf" in reason.lower():
            raise InputError(f"{path} is not in UTF-8. Save it as CSV in UTF-8") from error
        raise InputError(f"{path} cannot be read as a table: {reason}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _opened(source: Path | bytes) -> Any:
    return pa.BufferReader(source) if isinstance(source, bytes) else source


def _read_csv(source: Path | bytes) -> pa.Table:
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    data = source if isinstance(source, bytes) else source.read_bytes()
    data.decode("utf-8")  # arrow would take a column that is not text for bytes
    del data
    names = pa.csv.open_csv(_opened(source), parse_options=parse).schema.names
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    table = pa.csv.read_csv(_opened(source), parse_options=parse, convert_options=convert)
    return _unguarded(table)


def _unguarded(table: pa.Table) -> pa.Table:
    """Return a table of texts as they were before they were written."""
    for index, field in enumerate(table.schema):
        plain = pc.replace_substring_regex(table[index], rf"\A'('*[{FORMULA}])", r"\1")
        table = table.set_column(index, field, plain)
    return table


def write_csv(table: pa.Table, path: str | Path) -> None:
    """Write a table as CSV in UTF-8; no text in it is a formula to a spreadsheet."""
    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            texts = [None if t is None else guarded(t) for t in table[index].to_pylist()]
            table = table.set_column(index, field, pa.array(texts, field.type))
    pa.csv.write_csv(table, path)


def check_columns(path: str | Path, table: pa.Table, wanted: str) -> None:
    """Raise `InputError` unless a table has a column, once; it names the columns found."""
    found = table.column_names.count(wanted)
    if found != 1:
        names = ", ".join(table.column_names) or "none"
        what = "no column" if found == 0 else "several columns"
        raise InputError(f"{path} has {what} {wanted!r}. Columns found: {names}")


def tidy(path: str) -> str:
    """Drop "." and doubled slashes, so that one file has one name."""
    return path if not path or ".." in path else posixpath.normpath(path)


def texts(table: pa.Table, name: str) -> list[str | None]:
    """Return a column as text, None where a cell is empty or there is no such column.

    Raises:
        InputError: If its cells are neither text nor numbers.
    """
    if name not in table.column_names:
        return [None] * table.num_rows
    try:
        cells = table[name].cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"Column {name!r} is {table[name].type}. Expected text, or numbers"
        ) from error
    return [cell or None for cell in cells]


def check_paths(path: str | Path, paths: list[str | None]) -> None:
    """Raise `InputError` for a path that is missing, repeated, or leaves the images' folder."""
    seen: set[str] = set()
    for line, name in enumerate(paths, start=1):
        if not name:
            raise InputError(f"{path} has no path in row {line}")
        if Path(name).is_absolute() or ".." in name.replace("\\", "/").split("/"):
            raise InputError(
                f"{path} names {name!r}, which leaves the folder of images. Give paths in it"
            )
        if name in seen:
            raise InputError(f"{path} names {name!r} twice. Give every path once")
        seen.add(name)
