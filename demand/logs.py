"""Import any playback log, CSV or Parquet, with a column map: read, checked and split into days by DuckDB.

A time is a timestamp, a text in ISO-8601 (UTC where it names no zone) or a number since 1970-01-01 UTC, whose size tells seconds, milliseconds,
microseconds and nanoseconds apart. Nothing is written unless every row is sound.
"""

import codecs
import csv
import datetime as dt
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from demand.catalogue import Catalogue, read_catalogue
from demand.duck import Fault, connect, parquet_scan, quote, quote_name, report_faults
from demand.playback import COLUMNS, MOST_SECONDS, SESSION_FAULTS, register_names, write_days
from topology.errors import InputError, Problem
from topology.network import read_network
from topology.tables import load_schema

EARLIEST, LATEST = "2000-01-01", "2100-01-01"
"""A start outside is taken for a mistake: a compact date read as seconds, say."""
LONGEST_SECONDS = 7 * 86_400
"""A longer session is taken for milliseconds."""
MOST_OF_FILE = 100
"""A session that takes this many times its file is taken for bytes."""
_SEPARATORS = ",;\t|"
_SAID_OF_A_LINE = ("Expected Number", "Value with", "Invalid unicode", "Maximum line size")


def import_log(
    source: Path,
    folder: Path,
    column_map: Mapping[str, str],
    *,
    gb_per_unit: float = 1.0,
    profile: str | None = None,
) -> dict[str, int]:
    """Write the sessions of a log into ``playback/date=…`` of a network folder; the days it has replace those the folder has.

    Parameters
    ----------
    source
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file with one row a session.
    folder
        A network folder with its titles and files.
    column_map
        For each of start, region, title, profile, seconds and gb the log's name of it; those left out are called the same.
    gb_per_unit
        GB in one unit of the size column.
    profile
        Profile of the sessions that name none.

    Returns
    -------
    Counts of sessions, days and rows left out: those of zero bytes, which real logs have (a player that was opened and shut) and no plan can serve.

    Raises
    ------
    InputError
        With everything that is wrong with the arguments, else with the rows.
    """
    network, catalogue = read_network(folder), read_catalogue(folder)
    if not 0 < gb_per_unit < np.inf:
        mend = "give the GB in one unit of the size column: 1 for GB, 1e-9 for bytes"
        raise InputError(
            Problem(
                table="arguments",
                column="--gb-per-unit",
                value=str(gb_per_unit),
                message="not a finite number > 0",
                mend=mend,
            )
        )
    with connect() as connection:
        try:
            scan = _scan(source)
            kinds = _kinds(connection, scan)
            names = _check_map(column_map, [name for name in kinds if name != "file_row_number"], source, profile)
            _load(connection, scan, names, kinds, catalogue, network.region_ids, gb_per_unit, profile)
        except (duckdb.Error, OSError, EOFError, zlib.error) as error:
            raise InputError(_unreadable(source, error)) from error
        left_out = connection.sql("SELECT count(*) FROM log WHERE gb = 0").fetchall()[0][0]
        connection.execute("DELETE FROM log WHERE gb = 0")
        problems: list[Problem] = []
        rows = report_faults(connection, "log", _faults(names), source.name, problems)
        if rows == 0:
            message = f"all {left_out:,} rows are of zero bytes" if left_out else "the log has no rows"
            problems.append(Problem(table=source.name, message=message, mend="give a log with sessions"))
        if problems:
            raise InputError(problems)
        days = [day for (day,) in connection.sql("SELECT DISTINCT CAST(start AS DATE) FROM log ORDER BY 1").fetchall()]
        return {"sessions": write_days(folder, _frames(connection, days)), "days": len(days), "left_out": left_out}


def _scan(source: Path) -> str:
    """SQL that reads the file with its row numbers."""
    if source.name.endswith(".parquet"):
        with source.open("rb"):
            return parquet_scan([source])
    if not source.name.endswith((".csv", ".csv.gz")):
        mend = "end the name in .csv, .csv.gz or .parquet"
        raise InputError(Problem(table=source.name, message="unknown kind of table", mend=mend))
    separator, names = _header(source)
    columns = ", ".join(f"{quote(name)}: 'VARCHAR'" for name in names)
    path = quote(re.sub(r"([*?\[])", r"[\1]", str(source)))
    packed = "gzip" if source.name.endswith(".gz") else "none"
    # nothing is guessed; read in parallel all the same, for parallel = false drops an unterminated last row in silence (DuckDB 2.0)
    return (
        f"(SELECT *, row_number() OVER () - 1 AS file_row_number FROM read_csv({path}, columns = {{{columns}}}, "  # noqa: S608
        f"""delim = {quote(separator)}, quote = '"', escape = '"', header = true, auto_detect = false, """
        f"compression = '{packed}'))"
    )


def _header(source: Path) -> tuple[str, list[str]]:
    """The separator most frequent in the header, and the names; refuses what can be seen not to be CSV from its first bytes."""
    with gzip.open(source, "rb") if source.name.endswith(".gz") else source.open("rb") as file:
        start = file.read(1 << 16)
    if start.startswith((b"PAR1", b"\x1f\x8b", b"PK\x03\x04")) or b"\0" in start:
        mend = "name a Parquet file .parquet, a gzip file .csv.gz, and save a sheet as CSV in UTF-8"
        raise InputError(Problem(table=source.name, message="not CSV in UTF-8, whatever its name says", mend=mend))
    header = start.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0].decode("utf-8", "replace").strip("\r")
    if not header.strip():
        mend = "begin the file with the header line"
        raise InputError(Problem(table=source.name, message="the file has no header line", mend=mend))
    found = max(_SEPARATORS, key=header.count)
    names = next(csv.reader([header], delimiter=found))
    if twice := next((name for name in names if names.count(name) > 1), None):
        message = "the column is there twice"
        raise InputError(Problem(table=source.name, column=twice, message=message, mend="rename one of them"))
    return found, names


def _kinds(connection: duckdb.DuckDBPyConnection, scan: str) -> dict[str, str]:
    """Names and types of the columns."""
    return dict(connection.sql(f"DESCRIBE SELECT * FROM {scan}").project("column_name, column_type").fetchall())  # noqa: S608


def _check_map(column_map: Mapping[str, str], there: list[str], source: Path, profile: str | None) -> dict[str, str]:
    """The log's name of each of our columns; ``profile`` may be left out if there is a default."""
    problems = []
    for ours in column_map:
        if ours not in COLUMNS:
            mend = f"map one of {', '.join(COLUMNS)}: --column start=ts"
            problems.append(
                Problem(
                    table="arguments",
                    column="--column",
                    value=ours,
                    message="not a column of a playback log",
                    mend=mend,
                )
            )
    what = {a.name: a.description for a in load_schema("demand", "playback").attributes}
    names = {}
    for ours in COLUMNS:
        theirs = column_map.get(ours, ours)
        if theirs in there:
            names[ours] = theirs
        elif ours != "profile" or profile is None or ours in column_map:
            mend = f"name the column that holds {ours} ({what[ours]}): --column {ours}=NAME"
            if ours == "profile":
                mend += "; or give one profile for all: --profile NAME"
            message = f"missing column; the log has: {', '.join(there)}"
            problems.append(Problem(table=source.name, column=theirs, message=message, mend=mend))
    if problems:
        raise InputError(problems)
    return names


def _load(
    connection: duckdb.DuckDBPyConnection,
    scan: str,
    names: Mapping[str, str],
    kinds: Mapping[str, str],
    catalogue: Catalogue,
    regions: pd.Index,
    gb_per_unit: float,
    profile: str | None,
) -> None:
    """Table ``log``: the typed rows in order of time, with the places of region and file, and what start, seconds and gb looked like."""
    register_names(connection, regions, catalogue)
    connection.register("sizes", pa.table({"file_at": np.arange(len(catalogue.files)), "size_gb": catalogue.size_gb}))
    raw = {ours: f"theirs.{quote_name(theirs)}" for ours, theirs in names.items()}
    named = f"CAST({raw['profile']} AS VARCHAR)" if "profile" in raw else "NULL"
    if profile is not None:
        named = f"coalesce({named}, {quote(profile)})"
    connection.execute(
        f"""
        CREATE TABLE log AS
        SELECT row, start, region, title, profile, seconds, gb, seen_start, seen_seconds, seen_gb, region_at, file_at,
            coalesce(gb > {MOST_OF_FILE} * size_gb, false) AS too_much
        FROM (SELECT file_row_number + 1 AS row, {_time(raw["start"], kinds[names["start"]])} AS start,
                CAST({raw["region"]} AS VARCHAR) AS region, CAST({raw["title"]} AS VARCHAR) AS title, {named} AS profile,
                TRY_CAST({raw["seconds"]} AS DOUBLE) AS seconds, TRY_CAST({raw["gb"]} AS DOUBLE) * {gb_per_unit!r} AS gb,
                CAST({raw["start"]} AS VARCHAR) AS seen_start, CAST({raw["seconds"]} AS VARCHAR) AS seen_seconds,
                CAST({raw["gb"]} AS VARCHAR) AS seen_gb
            FROM {scan} AS theirs)
        LEFT JOIN region_names USING (region) LEFT JOIN file_names USING (title, profile) LEFT JOIN sizes USING (file_at)
        ORDER BY start, row"""  # noqa: S608
    )


def _time(column: str, kind: str) -> str:
    """SQL of a column as a UTC timestamp, NULL where it is none."""
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"TRY_CAST({column} AS TIMESTAMP)"
    number = f"TRY_CAST({column} AS DOUBLE)"
    unit = f"CASE WHEN {number} < 1e11 THEN 1e6 WHEN {number} < 1e14 THEN 1e3 WHEN {number} < 1e17 THEN 1 ELSE 1e-3 END"
    epoch = f"CASE WHEN {number} BETWEEN 0 AND 9e18 THEN make_timestamp(CAST({number} * {unit} AS BIGINT)) END"
    if kind != "VARCHAR":
        return epoch
    written = f"TRY_CAST(TRY_CAST({column} AS TIMESTAMPTZ) AS TIMESTAMP)"
    return f"CASE WHEN {number} IS NULL THEN {written} ELSE {epoch} END"


def _faults(names: Mapping[str, str]) -> list[Fault]:
    """What can be wrong with a row, in the log's own names."""
    seen = {"start": "seen_start", "seconds": "seen_seconds", "gb": "seen_gb"}
    iso = "write UTC as 2026-01-15T20:30:00Z, or seconds or milliseconds since 1970-01-01"
    faults = [
        Fault("start", "start IS NULL", "not a time", iso),
        Fault("start", f"start NOT BETWEEN TIMESTAMP '{EARLIEST}' AND TIMESTAMP '{LATEST}'",
              f"not a time between {EARLIEST} and {LATEST}", iso),
        *SESSION_FAULTS,
        Fault("seconds", f"seconds > {LONGEST_SECONDS} AND seconds <= {MOST_SECONDS}", "longer than a week",
              "give seconds; divide milliseconds by 1000"),
        Fault("gb", "isfinite(gb) AND too_much", f"more than {MOST_OF_FILE} times the size of the file",
              "give --gb-per-unit, 1e-9 for bytes; or correct the size in files"),
    ]  # fmt: skip
    return [
        replace(fault, column=names.get(fault.column, fault.column), value=seen.get(fault.column, fault.column))
        for fault in faults
    ]


def _frames(connection: duckdb.DuckDBPyConnection, days: list[dt.date]) -> Iterator[tuple[dt.date, pd.DataFrame]]:
    for day in days:
        table = connection.sql(
            f"SELECT {', '.join(COLUMNS)} FROM log WHERE start >= DATE '{day}' AND start < DATE '{day}' + 1 "  # noqa: S608
            "ORDER BY start, row"
        ).to_arrow_table()
        for name in ("region", "title", "profile"):
            at = table.column_names.index(name)
            table = table.set_column(at, name, table[name].dictionary_encode())
        yield day, table.to_pandas()


def _unreadable(source: Path, error: Exception) -> Problem:
    if isinstance(error, FileNotFoundError):
        return Problem(table=source.name, message="no such file", mend="check the path")
    lines = (str(error) or type(error).__name__).strip().splitlines()
    line = re.search(r"on Line: (\d+)", lines[0])
    reason = re.sub(r"^[A-Za-z ]+ Error: ", "", lines[0])
    if line:  # then come the line itself, which may be long, and what is wrong with it
        reason = next((text for text in lines if text.startswith(_SAID_OF_A_LINE)), reason).rstrip(".")
    kind = "Parquet" if source.name.endswith(".parquet") else "CSV"
    return Problem(
        table=source.name,
        row=int(line[1]) - 1 if line else None,
        message=f"cannot be read as {kind} ({reason})",
        mend="write the file again; it may be truncated, of another kind, or not UTF-8",
    )
