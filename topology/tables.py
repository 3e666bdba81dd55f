"""The one reader, validator and writer of tables.

A table is a CSV or Parquet file that a schema describes (``schema/*.csv`` of each package): columns, types, units, ranges, defaults,
keys and references. :func:`read_table` never stops at the first fault: it appends every :class:`~topology.errors.Problem` to the list
it is given and returns the rows only if the table is sound.
"""

import datetime as dt
import functools
import gzip
import os
import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from topology.errors import InputError, Problem

ENDINGS = (".parquet", ".csv", ".csv.gz")
MOST_PER_COLUMN = 20
"""Faults of one column that are listed one by one; the rest is counted in the last of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One column of a table, as its schema describes it."""

    name: str
    type: str
    """id, text, number, integer, date, datetime, clock, timezone, or the allowed values split by ``|``."""
    unit: str
    range: str
    """``>0``, ``>=0``, ``a..b`` or empty."""
    default: str
    status: str
    """key (part of the unique key), required or optional."""
    refers_to: str
    """The table whose first column the values must be found in, or empty."""
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The columns of one table."""

    table: str
    attributes: tuple[Attribute, ...]

    @property
    def key(self) -> list[str]:
        """The columns that together identify a row."""
        return [a.name for a in self.attributes if a.status == "key"]


@functools.cache
def load_schema(package: str, table: str) -> Schema:
    """Read ``schema/TABLE.csv`` of a package of ours."""
    text = (resources.files(package) / "schema" / f"{table}.csv").read_text("utf-8")
    _, *lines = text.strip().splitlines()
    names = ("name", "type", "unit", "range", "default", "status", "refers_to", "description")
    rows = [dict(zip(names, line.split(",", 7), strict=True)) for line in lines]
    return Schema(table=table, attributes=tuple(Attribute(**row) for row in rows))


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
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file.
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
            columns[a.name] = _convert(table[a.name], a, schema.table, problems, categorical=categorical)
        elif a.default:
            columns[a.name] = np.full(table.num_rows, float(a.default) if a.type == "number" else a.default)
    if len(problems) > before:
        return None
    frame = pd.DataFrame(columns)
    for name in table.column_names:
        if name not in columns:
            frame[name] = table[name].to_pandas().to_numpy()
    _check_keys(frame, schema, problems)
    _check_references(frame, schema, known or {}, problems)
    return frame if len(problems) == before else None


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all, as CSV or Parquet by its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), draft)
        elif path.name.endswith(".csv.gz"):
            with gzip.open(draft, "wt", encoding="utf-8", newline="") as out:
                frame.to_csv(out, index=False)
        elif path.name.endswith(".csv"):
            frame.to_csv(draft, index=False)
        else:
            raise InputError(
                Problem(
                    table=path.name, message="unknown kind of table", mend="end the name in .csv, .csv.gz or .parquet"
                )
            )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _read_arrow(path: Path, schema: Schema, problems: list[Problem]) -> pa.Table | None:
    def wrong(message: str, mend: str) -> None:
        problems.append(Problem(table=schema.table, message=f"{path.name}: {message}", mend=mend))

    if not path.exists():
        wrong("no such file", "check the path")
        return None
    try:
        if path.name.endswith(".parquet"):
            with path.open("rb") as file:
                return pq.read_table(file)
        options = pa_csv.ReadOptions(block_size=16 << 20)
        names = _csv_header(path)
        if len(set(names)) < len(names):
            twice = next(n for n in names if names.count(n) > 1)
            problems.append(
                Problem(
                    table=schema.table, column=twice, message="the column is there twice", mend="remove one of them"
                )
            )
            return None
        as_text = {name: pa.string() for name in names}
        parse = pa_csv.ParseOptions(newlines_in_values=False)
        convert = pa_csv.ConvertOptions(column_types=as_text, strings_can_be_null=False)
        if path.stat().st_size and not names:
            return None
        return pa_csv.read_csv(path, read_options=options, parse_options=parse, convert_options=convert)
    except UnicodeDecodeError as error:
        wrong(f"not UTF-8 text ({error.reason} at byte {error.start})", "save the file as UTF-8")
    except (pa.ArrowInvalid, pa.ArrowException, OSError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        if path.name.endswith(".parquet"):
            wrong(
                f"not a whole Parquet file ({reason})", "write the file again; it may be truncated or of another kind"
            )
        elif "UTF8" in reason or "utf8" in reason:
            wrong(f"not UTF-8 text ({reason})", "save the file as UTF-8")
        elif "Empty CSV" in reason:
            wrong("the file has no header", "add the header line and at least one row")
        else:
            wrong(f"cannot be read as CSV ({reason})", "check the separators and quotes of that line")
    return None


def _csv_header(path: Path) -> list[str]:
    with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as file:
        line = file.readline().decode("utf-8-sig").strip("\r\n")
    return [name.strip('"') for name in line.split(",")] if line else []


def _convert(
    column: pa.ChunkedArray, a: Attribute, table: str, problems: list[Problem], *, categorical: bool
) -> object:
    """One column as a NumPy array or categorical of its type; faults are appended to ``problems``."""
    if pa.types.is_dictionary(column.type) and a.type != "id":
        column = column.cast(column.type.value_type)
    if a.type == "id":
        return _convert_ids(column, a, table, problems, categorical=categorical)
    if a.type in ("number", "integer"):
        return _convert_numbers(column, a, table, problems)
    if a.type == "datetime" and pa.types.is_timestamp(column.type):
        utc = column.cast(pa.timestamp("ns", tz="UTC" if column.type.tz else None))
        return utc.to_pandas().dt.tz_localize(None).to_numpy("datetime64[ns]")
    if a.type == "date" and (pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)):
        return column.cast(pa.timestamp("ns")).to_pandas().to_numpy("datetime64[ns]")
    values = np.array(["" if v is None else str(v) for v in column.to_pylist()], dtype=object)
    parse = _PARSERS.get(a.type)
    if a.type == "text":
        return values
    if parse is None:
        allowed = set(a.type.split("|"))
        _report(
            [i for i, v in enumerate(values) if v not in allowed],
            values,
            a,
            table,
            problems,
            "not one of the allowed values",
            "use one of: " + ", ".join(a.type.split("|")),
        )
        return values
    memo: dict[str, object] = {}
    wrong: list[int] = []
    for i, v in enumerate(values):
        if v not in memo:
            try:
                memo[v] = parse(v)
            except ValueError:
                memo[v] = None
        if memo[v] is None and (v or a.status != "optional") and not (v == "" and a.type == "date"):
            wrong.append(i)
    _report(wrong, values, a, table, problems, f"not a {a.type}", _MENDS[a.type])
    if wrong:
        return None
    if a.type in ("date", "datetime"):
        return np.array([memo[v] if v else np.datetime64("NaT") for v in values], dtype="datetime64[ns]")
    return values


def _convert_ids(
    column: pa.ChunkedArray, a: Attribute, table: str, problems: list[Problem], *, categorical: bool
) -> object:
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    names = column.dictionary.cast(pa.string()) if len(column) else pa.array([], pa.string())
    texts = np.array(names.to_pylist(), dtype=object)
    codes = (
        pc.fill_null(column.indices.cast(pa.int32()), -1).to_numpy(zero_copy_only=False)
        if len(column)
        else np.zeros(0, np.int32)
    )
    bad = np.array([not t or bool(_CONTROL.search(t)) for t in texts] + [True])
    rows = np.flatnonzero(bad[codes])
    shown = np.append(texts, "")
    _report(
        rows,
        shown[codes],
        a,
        table,
        problems,
        "not an identifier",
        "give a name of one or more characters, no control characters",
    )
    if categorical:
        return pd.Categorical.from_codes(codes, categories=pd.Index(texts, dtype=object))
    return shown[codes]


def _convert_numbers(column: pa.ChunkedArray, a: Attribute, table: str, problems: list[Problem]) -> np.ndarray:
    texts: np.ndarray | None = None
    try:
        if pa.types.is_string(column.type):
            column = pc.if_else(pc.equal(column, ""), None, column)
        values = np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(), dtype=float)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = np.array(["" if v is None else str(v) for v in column.to_pylist()], dtype=object)
        values = np.array([_float_or_nan(t) for t in texts])
    may_be_absent = a.status == "optional"
    unsound = ~np.isfinite(values)
    if may_be_absent and texts is None:
        unsound &= ~np.asarray(pc.is_null(column).to_numpy(), dtype=bool)
    out_of_range = ~unsound & ~_within(values, a.range) & np.isfinite(values)
    fractional = ~unsound & (values != np.floor(values)) if a.type == "integer" else np.zeros(len(values), bool)
    shown = values if texts is None else texts
    _report(np.flatnonzero(unsound), shown, a, table, problems, "not a finite number", f"give a number{_of(a)}")
    _report(
        np.flatnonzero(out_of_range),
        shown,
        a,
        table,
        problems,
        f"out of range, must be {a.range}",
        f"give a number {a.range}{_of(a)}",
    )
    _report(np.flatnonzero(fractional), shown, a, table, problems, "not a whole number", "give a whole number")
    if may_be_absent and a.default:
        values = np.where(np.isnan(values), float(a.default), values)
    return values.astype(np.int64) if a.type == "integer" and not (unsound | fractional).any() else values


def _of(a: Attribute) -> str:
    return f" of {a.unit}" if a.unit else ""


def _float_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _within(values: np.ndarray, limits: str) -> np.ndarray:
    if limits.startswith(">="):
        return values >= float(limits[2:])
    if limits.startswith(">"):
        return values > float(limits[1:])
    if ".." in limits:
        low, high = map(float, limits.split(".."))
        return (values >= low) & (values <= high)
    return np.ones(len(values), bool)


def _report(
    rows: np.ndarray | list[int],
    values: np.ndarray,
    a: Attribute,
    table: str,
    problems: list[Problem],
    message: str,
    mend: str,
) -> None:
    """Append a problem for each of the first rows; the last one listed counts the rest."""
    for count, i in enumerate(rows[:MOST_PER_COLUMN], 1):
        rest = len(rows) - MOST_PER_COLUMN
        more = f" (and {rest} more such rows)" if rest > 0 and count == MOST_PER_COLUMN else ""
        problems.append(
            Problem(table=table, row=int(i) + 1, column=a.name, value=str(values[i]), message=message + more, mend=mend)
        )


def _check_keys(frame: pd.DataFrame, schema: Schema, problems: list[Problem]) -> None:
    if not schema.key or frame.empty:
        return
    rows = np.flatnonzero(frame.duplicated(schema.key).to_numpy())
    if len(rows) == 0:
        return
    shown = np.full(len(frame), "", dtype=object)
    listed = rows[:MOST_PER_COLUMN]
    shown[listed] = frame.iloc[listed][schema.key].astype(str).agg(", ".join, axis=1).to_numpy()
    column = next(a for a in schema.attributes if a.name == schema.key[0])
    what = "duplicate id" if len(schema.key) == 1 else f"duplicate row for the same {' and '.join(schema.key)}"
    _report(rows, shown, column, schema.table, problems, what, "keep one of the rows, or name the other differently")


def _check_references(
    frame: pd.DataFrame, schema: Schema, known: Mapping[str, pd.Index], problems: list[Problem]
) -> None:
    for a in schema.attributes:
        if a.refers_to not in known or a.name not in frame:
            continue
        at = index_of(known[a.refers_to], frame[a.name])
        rows = np.flatnonzero(at < 0)
        values = frame[a.name].to_numpy() if len(rows) else np.array([])
        _report(
            rows,
            values,
            a,
            schema.table,
            problems,
            f"unknown id, not in table {a.refers_to}",
            f"add it to {a.refers_to}, or correct the name",
        )


def index_of(index: pd.Index, column: pd.Series) -> np.ndarray:
    """Positions in ``index`` of a column's identifiers, -1 where unknown; fast for categoricals. Shape (rows,), int64."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        at = np.append(index.get_indexer(column.cat.categories), -1)
        return at[column.cat.codes.to_numpy()]
    return index.get_indexer(pd.Index(column.to_numpy()))


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _parse_date(text: str) -> np.datetime64 | None:
    return np.datetime64(dt.date.fromisoformat(text), "ns") if text else None


def _parse_datetime(text: str) -> np.datetime64:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return np.datetime64(moment, "ns")


def _parse_clock(text: str) -> str:
    dt.time.fromisoformat(text)
    return text


@functools.cache
def _parse_timezone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, IsADirectoryError) as error:
        raise ValueError(text) from error
    return text


_PARSERS: dict[str, Callable[[str], object]] = {
    "date": _parse_date,
    "datetime": _parse_datetime,
    "clock": _parse_clock,
    "timezone": _parse_timezone,
}
_MENDS = {
    "date": "write it as 2026-01-31",
    "datetime": "write it as 2026-01-31T20:15:00 (UTC)",
    "clock": "write it as 02:00",
    "timezone": "use an IANA name such as Europe/Berlin or UTC",
}
