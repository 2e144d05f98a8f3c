"""Tables that people write: CSV or Parquet, read whole, every cell of a CSV as text."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

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
    try:
        return pq.read_table(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        if "utf" in reason.lower():
            raise InputError(f"{path} is not in UTF-8. Save it as CSV in UTF-8") from error
        raise InputError(f"{path} cannot be read as a table: {reason}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_csv(path: Path) -> pa.Table:
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    path.read_bytes().decode("utf-8")  # arrow would take a column that is not text for bytes
    names = pa.csv.open_csv(path, parse_options=parse).schema.names
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return pa.csv.read_csv(path, parse_options=parse, convert_options=convert)


def check_columns(path: str | Path, table: pa.Table, wanted: str) -> None:
    """Raise `InputError` unless a table has a column, once; it names the columns found."""
    found = table.column_names.count(wanted)
    if found != 1:
        names = ", ".join(table.column_names) or "none"
        what = "no column" if found == 0 else "several columns"
        raise InputError(f"{path} has {what} {wanted!r}. Columns found: {names}")


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
