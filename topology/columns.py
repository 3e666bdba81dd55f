"""What the columns of a table must look like (``schema/*.csv``), and their conversion from text or Arrow to arrays.

Columns that are parsed as text are parsed once per distinct value, so that long tables cost no Python per row.
"""

import datetime as dt
import functools
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from topology.errors import Problem

MOST_PER_COLUMN = 20
"""Faults of one column that are listed one by one; the rest is counted in the last of them."""

FIRST_YEAR, LAST_YEAR = 1678, 2261
"""Years whose every nanosecond a 64-bit timestamp can hold."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CLOCK = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One column of a table, as its schema describes it."""

    name: str
    type: str
    """id, text, number, integer, date, datetime, clock, timezone, or the allowed values split by ``|``."""
    unit: str
    range: str
    """``>0``, ``>=0``, ``a..b``, ``>a..b`` (without a itself) or empty."""
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


def convert_column(
    column: pa.ChunkedArray, a: Attribute, table: str, problems: list[Problem], *, categorical: bool = False
) -> np.ndarray | pd.Categorical | None:
    """One column as an array of its type; its faults are appended to ``problems``.

    Parameters
    ----------
    column
        As Arrow read it; from a CSV file always text.
    categorical
        Give identifiers as a pandas categorical.

    Returns
    -------
    Identifiers, texts, clocks and time zones as object arrays of str, numbers as float64 or int64, times as datetime64[ns] in UTC; None
    where the column holds something else altogether.
    """
    if pa.types.is_dictionary(column.type) and a.type != "id":
        column = column.cast(column.type.value_type)
    if a.type in ("number", "integer"):
        return _convert_numbers(column, a, table, problems)
    if a.type in ("date", "datetime") and (pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)):
        times = _convert_times(column, a)
        if times is not None and (a.type == "date" or not np.isnat(times).any()):
            return times
    if a.type == "id" and len(column) and not _holds_names(column.type):
        problems.append(
            Problem(
                table=table,
                column=a.name,
                message=f"identifiers are text, not {column.type}",
                mend="write the column as text (UTF-8 strings)",
            )
        )
        return None
    codes, texts = _distinct_texts(column)
    parsed, sound = _parse(texts, a)
    rows = np.flatnonzero(~sound[codes])
    message, mend = _fault(a)
    report_rows(rows, lambda row: texts[codes[row]], a.name, table, problems, message, mend)
    if len(rows):
        return None
    if a.type == "id" and categorical:
        return pd.Categorical.from_codes(*_without_unused(codes, texts))
    values: np.ndarray = parsed[codes]
    return values


def is_identifier(text: str) -> bool:
    """Whether a text may name something: it has characters, and none that controls."""
    return bool(text) and not _CONTROL.search(text)


def report_rows(
    rows: np.ndarray,
    show: Callable[[int], object],
    column: str,
    table: str,
    problems: list[Problem],
    message: str,
    mend: str,
) -> None:
    """Append a problem for each of the first rows (counted from 0); the last one listed counts the rest."""
    rest = len(rows) - MOST_PER_COLUMN
    for count, row in enumerate(rows[:MOST_PER_COLUMN].tolist(), 1):
        more = f" (and {rest} more such rows)" if rest > 0 and count == MOST_PER_COLUMN else ""
        value = show(row)
        shown = "" if value is None else str(value)
        problems.append(
            Problem(table=table, row=row + 1, column=column, value=shown, message=message + more, mend=mend)
        )


def _distinct_texts(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Codes (rows,) into the distinct texts, object array of str; null is the empty text."""
    if pa.types.is_dictionary(column.type):
        encoded = column.unify_dictionaries().combine_chunks()
    elif pa.types.is_string(column.type):
        encoded = column.dictionary_encode().combine_chunks()
    elif pa.types.is_integer(column.type) or _is_text(column.type):
        encoded = column.cast(pa.string()).dictionary_encode().combine_chunks()
    else:
        encoded = pa.array(["" if v is None else str(v) for v in column.to_pylist()], pa.string()).dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # a column without rows has no chunk to combine
        return np.zeros(0, np.int64), np.zeros(0, object)
    names = ["" if v is None else str(v) for v in encoded.dictionary.to_pylist()] + [""]
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), len(names) - 1).to_numpy(zero_copy_only=False)
    at = {name: i for i, name in enumerate(dict.fromkeys(names))}
    if len(at) < len(names):  # a dictionary may repeat a value or hold null
        codes = np.array([at[name] for name in names])[codes]
    return codes, np.array(list(at), dtype=object)


def _parse(texts: np.ndarray, a: Attribute) -> tuple[np.ndarray, np.ndarray]:
    """Distinct texts as values of the attribute's type, and which of them are sound."""
    if a.type == "text":
        return texts, np.ones(len(texts), bool)
    if a.type == "id":
        return texts, np.array([is_identifier(t) for t in texts], bool)
    if a.type not in _PARSERS:
        allowed = set(a.type.split("|"))
        return texts, np.array([t in allowed for t in texts], bool)
    parse, may_be_blank = _PARSERS[a.type], a.status == "optional" or a.type == "date"
    is_time = a.type in ("date", "datetime")
    values = np.full(len(texts), np.datetime64("NaT"), "datetime64[ns]") if is_time else texts
    sound = np.ones(len(texts), bool)
    for i, text in enumerate(texts):
        if text or not may_be_blank:
            try:
                values[i] = parse(text)
            except ValueError:
                sound[i] = False
    return values, sound


def _fault(a: Attribute) -> tuple[str, str]:
    """What to say of an unsound text of this attribute, and how to mend it."""
    if a.type == "id":
        return "not an identifier", "give a name of one or more characters, no control characters"
    if a.type in _MENDS:
        return f"not a {a.type}", _MENDS[a.type]
    return "not one of the allowed values", "use one of: " + ", ".join(a.type.split("|"))


def _without_unused(codes: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, pd.Index]:
    used = np.bincount(codes, minlength=len(texts)) > 0
    return (np.cumsum(used) - 1)[codes], pd.Index(texts[used], dtype=object)


def _convert_times(column: pa.ChunkedArray, a: Attribute) -> np.ndarray | None:
    """Arrow dates or timestamps as datetime64[ns], in UTC for a datetime; None where one lies beyond the years we hold."""
    zone = getattr(column.type, "tz", None)
    try:
        if zone and a.type == "date":
            column = pc.local_timestamp(column)
        elif zone:
            column = column.cast(pa.timestamp(column.type.unit, tz="UTC")).cast(pa.timestamp(column.type.unit))
        return np.asarray(column.cast(pa.timestamp("ns")).to_numpy(), "datetime64[ns]")
    except pa.ArrowInvalid:
        return None


def _convert_numbers(column: pa.ChunkedArray, a: Attribute, table: str, problems: list[Problem]) -> np.ndarray:
    if _is_text(column.type):
        column = column.cast(pa.string())
        column = pc.if_else(pc.equal(column, ""), None, column)
    blank = np.asarray(pc.is_null(column).to_numpy(), bool)
    try:
        if pa.types.is_boolean(column.type):
            raise pa.ArrowInvalid("true and false are no numbers")
        values = np.array(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(), float)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values = np.array([_float_or_nan(str(v)) for v in column.to_pylist()])
    may_be_blank = a.status == "optional"
    finite = np.isfinite(values)
    inside = _within(values, a.range)
    whole = (
        np.ones(len(values), bool) if a.type == "number" else (values == np.floor(values)) & (np.abs(values) < 2**53)
    )
    unit = f" of {a.unit}" if a.unit else ""
    for wrong, message, mend in (
        (~finite & ~(blank & may_be_blank), "not a finite number", f"give a number{unit}"),
        (finite & ~inside, f"out of range, must be {a.range}", f"give a number {a.range}{unit}"),
        (finite & inside & ~whole, "not a whole number", "give a whole number"),
    ):
        rows = np.flatnonzero(wrong)
        report_rows(rows, lambda row: column[row].as_py(), a.name, table, problems, message, mend)
    if may_be_blank and a.default:
        values = np.where(blank, float(a.default), values)
    return values.astype(np.int64) if a.type == "integer" and (finite & whole).all() else values


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _holds_names(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(_is_text(inner) or pa.types.is_integer(inner) or pa.types.is_null(inner))


def _float_or_nan(text: str) -> float:
    try:
        return float("nan" if "_" in text else text)
    except ValueError:
        return float("nan")


def _within(values: np.ndarray, limits: str) -> np.ndarray:
    least, _, most = limits.partition("..")
    inside = values <= float(most) if most else np.ones(len(values), bool)
    if least.startswith(">="):
        return inside & (values >= float(least[2:]))
    if least.startswith(">"):
        return inside & (values > float(least[1:]))
    return inside & (values >= float(least)) if least else inside


def _in_range(year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(year)


def _parse_date(text: str) -> np.datetime64:
    if len(text) > 10 and text[10] in "T " and dt.datetime.fromisoformat(text).time() == dt.time():
        text = text[:10]  # a timestamp at midnight, as a data frame writes its dates
    date = dt.date.fromisoformat(text)
    _in_range(date.year)
    return np.datetime64(date, "ns")


def _parse_datetime(text: str) -> np.datetime64:
    moment = dt.datetime.fromisoformat(text)
    _in_range(moment.year)
    if moment.tzinfo:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return np.datetime64(moment, "ns")


def _parse_clock(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise ValueError(text)
    dt.time.fromisoformat(text)
    return text


def _parse_timezone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:  # a folder of zones, a name too long for a file
        raise ValueError(text) from error
    return text


_PARSERS: dict[str, Callable[[str], np.datetime64 | str]] = {
    "date": _parse_date,
    "datetime": _parse_datetime,
    "clock": _parse_clock,
    "timezone": _parse_timezone,
}
_MENDS = {
    "date": f"write it as 2026-01-31 (years {FIRST_YEAR} to {LAST_YEAR})",
    "datetime": "write it as 2026-01-31T20:15:00 (UTC)",
    "clock": "write it as 02:00",
    "timezone": "use an IANA name such as Europe/Berlin or UTC",
}
