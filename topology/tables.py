"""The one reader, validator and writer of tables.

A table is a CSV or Parquet file that a schema describes (``schema/*.csv`` of each package): columns, types, units, ranges, defaults,
keys and references. :func:`read_table` never stops at the first fault: it appends every :class:`~topology.errors.Problem` to the list
it is given and returns the rows only if the table is sound.
"""

import contextlib
import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from topology.columns import Schema, convert_column, load_schema, report_rows
from topology.errors import InputError, Problem

__all__ = [
    "ENDINGS",
    "ROWS",
    "Schema",
    "find_table",
    "index_of",
    "load_schema",
    "read_table",
    "write_parquet",
    "write_table",
]

ENDINGS = (".parquet", ".csv", ".csv.gz")

ROWS = 1 << 20
"""Rows of a row group of the Parquet files written here at most."""

_FOREIGN = {
    b"PAR1": ("a Parquet file", ".parquet"),
    b"\x1f\x8b": ("gzip", ".csv.gz"),
    b"PK\x03\x04": ("a workbook", ""),
}


def find_table(folder: Path, table: str) -> Path | None:
    """The file that holds a table of a folder, or None.

    Raises
    ------
    InputError
        If the folder holds the table in more than one form.
    """
    found = [path for ending in ENDINGS if (path := folder / (table + ending)).exists()]
    if len(found) > 1:
        names = " and ".join(p.name for p in found)
        raise InputError(Problem(table=table, message=f"the table is there twice: {names}", mend="keep one of them"))
    return found[0] if found else None


def read_table(
    path: Path,
    schema: Schema,
    problems: list[Problem],
    *,
    known: Mapping[str, pd.Index] | None = None,
    categorical: bool = False,
    may_be_empty: bool = False,
) -> pd.DataFrame | None:
    """Read and validate one table.

    Parameters
    ----------
    path
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file; where others publish their tables so, also ``.tsv`` and ``.tsv.gz``.
    schema
        What the table must look like.
    problems
        Everything that is wrong is appended here.
    known
        For each referred table, the identifiers it holds; references to tables not named here are not checked.
    categorical
        Give identifier columns as pandas categoricals: worth it for long tables.
    may_be_empty
        Whether a table without rows is sound.

    Returns
    -------
    The rows, with defaults filled in and extra columns kept, or None if anything was wrong.
    """
    before = len(problems)
    table = _read_arrow(path, schema, problems)
    if table is None:
        return None
    missing = [a for a in schema.attributes if a.status != "optional" and a.name not in table.column_names]
    for a in missing:
        hint = f"add the column ({a.description}{', in ' + a.unit if a.unit else ''})"
        there = ", ".join(table.column_names)
        problems.append(
            Problem(table=schema.table, column=a.name, message=f"missing column; the table has: {there}", mend=hint)
        )
    if table.num_rows == 0 and not may_be_empty:
        problems.append(Problem(table=schema.table, message="the table is empty", mend="add at least one row"))
    columns: dict[str, object] = {}
    for a in schema.attributes:
        if a.name in table.column_names:
            values = convert_column(table[a.name], a, schema.table, problems, categorical=categorical)
            if values is not None:
                columns[a.name] = values
        elif a.default:
            columns[a.name] = np.full(table.num_rows, float(a.default) if a.type == "number" else a.default)
    frame = pd.DataFrame(columns)  # the sound columns: whatever is wrong with others, all faults are to be said at once
    _check_keys(frame, schema, problems)
    _check_references(frame, schema, known or {}, problems)
    if len(problems) > before:
        return None
    extra = {name: table[name].to_pandas().to_numpy() for name in table.column_names if name not in columns}
    return pd.DataFrame({**columns, **extra})


def in_order(frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """A table in the order of its key, so that nothing depends on the order in which its rows were written; itself if it is so already."""
    names = frame[key[0]] if len(key) == 1 else pd.MultiIndex.from_frame(frame[key])
    if pd.Index(names).is_monotonic_increasing:
        return frame
    return frame.sort_values(key, kind="stable", ignore_index=True)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all, as CSV or Parquet by its ending."""
    refuse_no_table(path)
    if path.name.endswith(".parquet"):
        write_parquet((frame.iloc[first : first + ROWS] for first in range(0, max(len(frame), 1), ROWS)), path)
        return
    with _draft(path) as draft:
        if path.name.endswith(".csv.gz"):
            with (
                draft.open("wb") as file,
                gzip.GzipFile(
                    "", "wb", fileobj=file, mtime=0
                ) as packed,  # no name, no time: the same rows, the same bytes
                io.TextIOWrapper(packed, "utf-8", newline="") as out,
            ):
                frame.to_csv(out, index=False, quoting=_quoting(frame))
        else:
            frame.to_csv(draft, index=False, quoting=_quoting(frame))


def refuse_no_table(path: Path) -> None:
    """Raise InputError unless a table could be written under this name; asked before long work whose result goes there."""
    if not path.name.endswith(ENDINGS):
        mend = "end the name in .csv, .csv.gz or .parquet"
        raise InputError(Problem(table=path.name, message="unknown kind of table", mend=mend))
    if path.is_dir():
        mend = "remove it, or write under another name"
        raise InputError(Problem(table=path.name, value=str(path), message="a folder has this name", mend=mend))


def write_parquet(parts: Iterable[pd.DataFrame], path: Path) -> None:
    """Write a Parquet file whole or not at all, from one or more parts of a table: each is a row group, and none need be there at once."""
    with _draft(path) as draft:
        writer: pq.ParquetWriter | None = None
        try:
            for frame in parts:
                part = pa.Table.from_pandas(frame, schema=writer and writer.schema, preserve_index=False)
                writer = writer or pq.ParquetWriter(draft, part.schema)
                writer.write_table(part)
        finally:
            if writer is not None:
                writer.close()


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A file beside ``path`` that takes its place if all goes well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _quoting(frame: pd.DataFrame) -> Literal[0, 1]:
    """Quote only what must be, unless a text holds a carriage return: pandas would leave it bare, and it would end the line."""
    for name in frame:
        column = frame[name]
        texts = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
        if texts.dtype == object and any("\r" in text for text in texts if isinstance(text, str)):
            return csv.QUOTE_ALL
    return csv.QUOTE_MINIMAL


def _read_arrow(path: Path, schema: Schema, problems: list[Problem]) -> pa.Table | None:
    """The columns of a file as Arrow has them, those of a CSV file all as text; None and a problem where it cannot be read."""
    name = path.name
    named = "" if name == schema.table else f"{name}: "
    try:
        if name.endswith(".parquet"):
            table = _read_parquet(path)
        elif name.endswith((".csv", ".csv.gz")):
            table = _read_csv(path, ",")
        elif name.endswith((".tsv", ".tsv.gz")):
            table = _read_csv(path, "\t")
        else:
            raise _UnreadableError("unknown kind of table", "end the name in .csv, .csv.gz or .parquet")
        twice = [column for column in table.column_names if table.column_names.count(column) > 1]
        if twice:
            raise _UnreadableError("the column is there twice", "remove one of them", column=twice[0])
        return table
    except _UnreadableError as error:
        where = named if error.column is None else f"{name}, {error.column!r}: "
        problems.append(
            Problem(
                table=schema.table,
                row=error.row,
                column=error.column,
                value=str(path) if error.row is None else None,
                message=f"{where}{error.message}",
                mend=error.mend,
            )
        )
    except FileNotFoundError:
        problems.append(
            Problem(table=schema.table, value=str(path), message=f"{named}no such file", mend="check the path")
        )
    except OSError as error:
        why = error.strerror or _first_line(error)
        problems.append(
            Problem(
                table=schema.table, value=str(path), message=f"{named}cannot be read ({why})", mend="check the file"
            )
        )
    return None


class _UnreadableError(Exception):
    """Why a file is not a table at all; never leaves this module."""

    def __init__(self, message: str, mend: str, *, row: int | None = None, column: str | None = None) -> None:
        super().__init__(message)
        self.message, self.mend, self.row, self.column = message, mend, row, column


def _read_parquet(path: Path) -> pa.Table:
    with path.open("rb") as file:
        try:
            return pq.ParquetFile(file).read()
        except (pa.ArrowException, OSError) as error:
            raise _UnreadableError(
                f"not a whole Parquet file ({_first_line(error)})",
                "write the file again; it may be truncated or of another kind",
            ) from error


def _read_csv(path: Path, separator: str) -> pa.Table:
    packed = path.name.endswith(".gz")
    try:
        names = _csv_header(path, separator)
        options = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        parse = pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True)
        read = pa_csv.ReadOptions(block_size=16 << 20)
        try:
            return pa_csv.read_csv(path, read_options=read, parse_options=parse, convert_options=options)
        except pa.ArrowInvalid:
            slow = pa_csv.ReadOptions(use_threads=False)  # once more in one thread: then Arrow knows the row
            return pa_csv.read_csv(path, read_options=slow, parse_options=parse, convert_options=options)
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except csv.Error as error:
        raise _UnreadableError(
            f"no header line ({_first_line(error)})", "begin the file with the header line"
        ) from error
    except pa.ArrowInvalid as error:
        reason = _first_line(error)
        if "utf8" in reason.lower():
            raise _not_utf8(path) from error
        found = re.search(r"Row #(\d+): (.*)", reason)
        row, what = (int(found[1]) - 1, found[2]) if found else (None, reason)
        raise _UnreadableError(
            f"cannot be read as CSV ({what})", "check the separators and quotes of that line", row=row
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        if not packed or isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise _UnreadableError(
            f"not a whole gzip file ({_first_line(error)})", "compress it again, or name it .csv if it is plain text"
        ) from error


def _csv_header(path: Path, separator: str) -> list[str]:
    """The column names; refuses what can be seen from the first bytes not to be a CSV file."""
    with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as file:
        start = file.read(4096)
        for magic, (kind, ending) in _FOREIGN.items():
            if start.startswith(magic):
                mend = f"name it {ending}" if ending else "save the sheet as CSV"
                raise _UnreadableError(f"not CSV but {kind}", mend)
        if not start.strip():
            raise _UnreadableError("the file has no header", "add the header line and at least one row")
        if b"\0" in start:
            raise _UnreadableError("not UTF-8 text (it holds zero bytes, as UTF-16 does)", "save the file as UTF-8")
        file.seek(0)
        with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            names = next(csv.reader(text, delimiter=separator))
    if not names:
        raise _UnreadableError("the first line is empty", "begin the file with the header line")
    words = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
    for other, word in words.items():
        if other != separator and len(names) == 1 and other in names[0]:
            raise _UnreadableError(f"the columns are separated by {word}", f"separate them by {words[separator]}")
    return names


def _not_utf8(path: Path) -> _UnreadableError:
    """Says which line is not UTF-8."""
    with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as file:
        for number, line in enumerate(file):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                what = f"not UTF-8 text (byte {line[error.start]:#04x} in line {number + 1})"
                return _UnreadableError(what, "save the file as UTF-8", row=number or None)
    return _UnreadableError("not UTF-8 text", "save the file as UTF-8")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]


def _check_keys(frame: pd.DataFrame, schema: Schema, problems: list[Problem]) -> None:
    if not schema.key or frame.empty or not set(schema.key) <= set(frame):
        return
    rows = np.flatnonzero(frame.duplicated(schema.key).to_numpy())
    what = "duplicate id" if len(schema.key) == 1 else f"duplicate row for the same {' and '.join(schema.key)}"
    mend = "keep one of the rows, or name the other differently"

    def show(row: int) -> str:
        return ", ".join(str(value) for value in frame[schema.key].iloc[row])

    report_rows(rows, show, schema.key[0], schema.table, problems, what, mend)


def _check_references(
    frame: pd.DataFrame, schema: Schema, known: Mapping[str, pd.Index], problems: list[Problem]
) -> None:
    for a in schema.attributes:
        if a.refers_to not in known or a.name not in frame:
            continue
        column = frame[a.name]
        rows = np.flatnonzero(index_of(known[a.refers_to], column) < 0)
        message, mend = f"unknown id, not in table {a.refers_to}", f"add it to {a.refers_to}, or correct the name"
        report_rows(rows, column.iloc.__getitem__, a.name, schema.table, problems, message, mend)


def index_of(index: pd.Index, column: pd.Series) -> np.ndarray:
    """Positions in ``index`` of a column's identifiers, -1 where unknown; fast for categoricals. Shape (rows,), int64."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        at = np.append(index.get_indexer(column.cat.categories), -1)
        return at[column.cat.codes.to_numpy()]
    return index.get_indexer(pd.Index(column.to_numpy()))
