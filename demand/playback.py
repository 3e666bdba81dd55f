"""The playback log, one row a session, aggregated by DuckDB straight from Parquet.

A log is a folder ``playback/date=YYYY-MM-DD/*.parquet`` of a network folder; the date is the UTC date on which a session starts. The bytes of
a session belong to that date. Within it they are spread evenly over the hours the session covers; what it takes after midnight stays in the
last hour of its date, so that the hours of a day always add up to the day.
"""

import datetime as dt
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from demand.catalogue import OPTIONAL, Catalogue
from demand.demand import Demand, build_demand
from demand.duck import Fault, connect, parquet_scan, report_faults
from demand.units import unit_problems
from topology.columns import MOST_PER_COLUMN
from topology.errors import InputError, Problem
from topology.tables import find_table, load_schema

HOURS = 24
COLUMNS = ("start", "region", "title", "profile", "seconds", "gb")
MOST_SECONDS, MOST_GB = 366 * 86_400, 10**9
"""What a session may have: more is taken for another unit, and could be too much to count exactly."""
SESSION_FAULTS = (
    Fault("region", "region_at IS NULL", "unknown id, not in table regions", "add it to regions, or correct it"),
    Fault("title", "coalesce(title NOT IN (SELECT title FROM file_names), true)", "unknown id, no file has this title",
          "add the title and its files, or correct it"),
    Fault("profile", "file_at IS NULL AND title IN (SELECT title FROM file_names)",
          "the title has no file of this profile", "add the file to files"),
    Fault("seconds", "coalesce(NOT (isfinite(seconds) AND seconds > 0), true)", "the session has no length",
          "give a finite number of seconds > 0"),
    Fault("gb", "coalesce(NOT (isfinite(gb) AND gb > 0), true)", "the session has no bytes",
          "give a finite number of GB > 0, or leave the session out"),
    Fault("seconds", f"isfinite(seconds) AND seconds > {MOST_SECONDS}", "longer than a year",
          "give seconds; divide milliseconds by 1000"),
    Fault("gb", f"isfinite(gb) AND gb > {MOST_GB}", "more than a billion GB", "give GB; divide bytes by 1e9"),
)  # fmt: skip
"""What can be wrong with a session whatever its day, over the rows of a log joined with :func:`register_names`."""
SEEN = ("start", "seconds", "gb")
"""Columns that are read as times or numbers, of which complaints show what the file has."""
_PART = "part-0.parquet"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """What was asked for on each day of the log, sorted by file, then region, then day.

    Parameters
    ----------
    dates
        D days, ascending: those the log holds. A day it does not hold is not here: it is unknown, not a day of zero demand.
    day, region, file
        (M,) int32: entry of ``dates``, region and file of each sum.
    gb
        (M,) float: GB of the sessions that started on the day, >= 0. Entries without sessions are absent.
    hourly_gb
        (D, R, 24) float: GB of a region in each UTC hour; sums over the hours are the region's GB of the day.
    regions, files
        How many there are of each.
    title_of
        (F,) int32: the title each file encodes; None: each file is a title of its own.
    """

    dates: tuple[dt.date, ...]
    day: np.ndarray
    region: np.ndarray
    file: np.ndarray
    gb: np.ndarray
    hourly_gb: np.ndarray
    regions: int
    files: int
    title_of: np.ndarray | None = None

    def until(self, n_days: int) -> "History":
        """The first ``n_days`` days alone."""
        kept = self.day < n_days
        return History(
            dates=self.dates[:n_days],
            day=self.day[kept],
            region=self.region[kept],
            file=self.file[kept],
            gb=self.gb[kept],
            hourly_gb=self.hourly_gb[:n_days],
            regions=self.regions,
            files=self.files,
            title_of=self.title_of,
        )


def playback_dates(folder: Path) -> list[dt.date]:
    """The days a network folder has a log of, ascending; empty where it has none."""
    found = {_folder_date(path) for path in (folder / "playback").glob("date=*") if _parts(path)}
    return sorted(day for day in found if day is not None)


def refuse_second_catalogue(folder: Path) -> None:
    """Raise InputError if a network folder has a catalogue or a log.

    A log that names the titles of another catalogue would be unsound, and a user's own is not ours to remove.
    """
    there = [path.name for name in ("titles", "files", *OPTIONAL) if (path := find_table(folder, name))]
    there += ["playback"] if playback_dates(folder) else []
    if there:
        raise InputError(
            Problem(
                table="arguments", value=str(folder), message=f"the network has a catalogue or a log already: {', '.join(there)}",
                mend="import into a network without, or remove them",
            )
        )  # fmt: skip


def read_history(
    folder: Path, regions: pd.Index, catalogue: Catalogue, dates: Sequence[dt.date] | None = None
) -> History:
    """Sum the log by day, region and file, and by day, region and hour.

    Parameters
    ----------
    folder
        A network folder.
    regions
        Names of the regions, in the order of the network.
    dates
        The days to read; None: all there are.

    Raises
    ------
    InputError
        No log, or no log of a day asked for; with everything wrong on the first day that is not sound (see :func:`validate_playback`).
    """
    days = sorted(set(playback_dates(folder) if dates is None else dates))
    if not days:
        mend = "import a log, or write playback/date=YYYY-MM-DD/*.parquet"
        raise InputError(Problem(table="playback", message="the log is empty", mend=mend))
    hourly = np.zeros((len(days), len(regions), HOURS))
    sums: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    with connect() as connection:
        register_names(connection, regions, catalogue)
        for i, date in enumerate(days):
            try:
                totals = _sum_day(connection, parts_of(folder, date), date, hourly[i])
            except duckdb.Error:
                totals = None
            if totals is None:
                problems: list[Problem] = []
                validate_playback(folder, regions, catalogue, problems, [date])
                raise InputError(problems or _unreadable(f"playback/date={date}", "DuckDB cannot read it"))
            sums.append(totals)
    region, file, gb = (np.concatenate(parts) for parts in zip(*sums, strict=True))
    day = np.repeat(np.arange(len(days)), [len(totals[0]) for totals in sums])
    order = np.lexsort((day, region, file))
    return History(
        dates=tuple(days),
        day=day[order].astype(np.int32),
        region=region[order].astype(np.int32),
        file=file[order].astype(np.int32),
        gb=gb[order].astype(float),
        hourly_gb=hourly,
        regions=len(regions),
        files=len(catalogue.file_ids),
        title_of=catalogue.title_of,
    )


def actual_demand(folder: Path, date: dt.date, regions: pd.Index, catalogue: Catalogue) -> Demand:
    """What was asked for on one day of the log; peaks are each entry's share of its region's busiest hour.

    Raises
    ------
    InputError
        As :func:`read_history`.
    """
    return day_demand(read_history(folder, regions, catalogue, [date]), 0)


def day_demand(history: History, day: int) -> Demand:
    """What was asked for on one day of a history, an entry of its dates; peaks are each entry's share of its region's busiest hour."""
    on_day = np.flatnonzero(history.day == day)
    region, gb = history.region[on_day], history.gb[on_day]
    total = history.hourly_gb[day].sum(axis=1)
    share = np.divide(history.hourly_gb[day].max(axis=1), total, out=np.zeros(len(total)), where=total > 0)
    return build_demand(region, history.file[on_day], gb, gb * share[region] * 8 / 3600)


def log_frame(folder: Path, date: dt.date) -> pd.DataFrame:
    """One day's sessions sorted by start (stably): start as datetime64[ns] in UTC, region, title and profile categorical, seconds, gb.

    Raises
    ------
    InputError
        No log of that day, or one that is not a whole Parquet file.
    """
    with connect() as connection:
        paths = parts_of(folder, date)
        try:
            columns, source = _cleaned(_types(connection, paths)), parquet_scan(paths)
            table = connection.sql(f"SELECT {columns} FROM {source} ORDER BY 1, filename, file_row_number")  # noqa: S608
            arrow = table.to_arrow_table()
        except duckdb.Error as error:
            raise InputError(_unreadable(f"playback/date={date}", str(error))) from error
    for name in ("region", "title", "profile"):
        at = arrow.column_names.index(name)
        arrow = arrow.set_column(at, name, arrow[name].dictionary_encode())
    frame: pd.DataFrame = arrow.to_pandas()
    return frame.astype({"start": "datetime64[ns]"})


def write_playback(folder: Path, date: dt.date, frame: pd.DataFrame) -> None:
    """Write a day's log as one Parquet file, whole or not at all, sorted by start; it replaces what the day's folder held.

    Parameters
    ----------
    frame
        The contract's columns; more are dropped. ``start`` in UTC.

    Raises
    ------
    InputError
        No rows, or a column is missing.
    """
    write_days(folder, [(date, frame)])


def write_days(folder: Path, days: Iterable[tuple[dt.date, pd.DataFrame]]) -> int:
    """Write the log of several days as :func:`write_playback` does; no day is touched before the last is ready. Returns the rows.

    Raises
    ------
    InputError
        A day has no rows, or lacks a column.
    """
    drafts: dict[dt.date, Path] = {}
    rows = 0
    (folder / "playback").mkdir(parents=True, exist_ok=True)
    try:
        for date, frame in days:
            drafts[date] = folder / "playback" / f".date={date}.{os.getpid()}.tmp"
            _write_draft(date, frame, drafts[date])
            rows += len(frame)
        for date, draft in drafts.items():
            replace_day(folder, date, draft)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    return rows


def _write_draft(date: dt.date, frame: pd.DataFrame, draft: Path) -> None:
    if missing := [name for name in COLUMNS if name not in frame]:
        raise InputError([_missing("playback", name, list(frame.columns)) for name in missing])
    if frame.empty:
        raise InputError(Problem(table="playback", value=str(date), message="no sessions", mend="leave the day out"))
    frame = frame[list(COLUMNS)].sort_values("start", kind="stable", ignore_index=True)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), draft)


def replace_day(folder: Path, date: dt.date, draft: Path) -> None:
    """Make ``draft``, a Parquet file under ``playback``, the whole log of a day.

    One rename where the day has no log or one of ours; where it has files of other names, the folder is exchanged for a new one, so that a
    reader never sees both.
    """
    target = folder / "playback" / f"date={date}"
    if all(path.name == _PART for path in _parts(target)):
        target.mkdir(exist_ok=True)
        draft.replace(target / _PART)
        return
    fresh, stale = (draft.with_name(f".date={date}.{os.getpid()}.{word}") for word in ("new", "old"))
    fresh.mkdir()
    draft.replace(fresh / _PART)
    target.replace(stale)
    fresh.replace(target)
    shutil.rmtree(stale)


def validate_playback(
    folder: Path,
    regions: pd.Index,
    catalogue: Catalogue,
    problems: list[Problem],
    dates: Sequence[dt.date] | None = None,
    most: int = MOST_PER_COLUMN,
) -> None:
    """Append all that is wrong with a log to ``problems``: of each kind and file the first rows, the last of which counts the rest.

    Parameters
    ----------
    dates
        The days to look at; None: all there are, and the names of the folders.
    most
        Rows listed one by one, of each kind and file.
    """
    if dates is None:
        for path in sorted((folder / "playback").glob("date=*")):
            if _folder_date(path) is None:
                mend = "name the folder date=YYYY-MM-DD"
                problems.append(Problem(table=f"playback/{path.name}", message="not the name of a day", mend=mend))
    with connect() as connection:
        register_names(connection, regions, catalogue)
        for date in playback_dates(folder) if dates is None else sorted(set(dates)):
            try:
                paths = parts_of(folder, date)
            except InputError as error:
                problems.extend(error.problems)
                continue
            for path in paths:
                table = f"playback/{path.parent.name}/{path.name}"
                try:
                    _validate_file(connection, path, date, table, problems, most)
                except (duckdb.Error, pa.ArrowException, OSError) as error:
                    problems.append(_unreadable(table, str(error)))


def _validate_file(
    connection: duckdb.DuckDBPyConnection, path: Path, date: dt.date, table: str, problems: list[Problem], most: int
) -> None:
    with path.open("rb") as file:
        there = pq.read_schema(file).names
    if missing := [name for name in COLUMNS if name not in there]:
        problems.extend(_missing(table, name, there) for name in missing)
        return
    before = len(problems)
    seen = named_log(connection, [path], seen=True)
    rows = report_faults(connection, seen, _faults(date), table, problems, most)
    if rows == 0:
        problems.append(Problem(table=table, message="the file has no rows", mend="remove it, or add its sessions"))
    if len(problems) == before:
        start = connection.sql(f"SELECT start FROM {named_log(connection, [path])} ORDER BY row")  # noqa: S608
        problems.extend(_order_problems(start.fetchnumpy()["start"], table))
        problems.extend(unit_problems(connection, named_log(connection, [path]), table))


def _order_problems(start: np.ndarray, table: str) -> list[Problem]:
    """What to say of a file of the log whose times go backwards: one problem, of the first such row; none if they do not."""
    start = start.astype("datetime64[ms]")
    rows = np.flatnonzero(start[1:] < start[:-1]) + 1
    if not len(rows):
        return []
    first, more = int(rows[0]), f" (and {len(rows) - 1} more such rows)" if len(rows) > 1 else ""
    message = f"out of order: the row ahead of it starts at {start[first - 1]}{more}"
    mend = "sort the file by start, or bring it in with fillplan import log, which sorts"
    return [Problem(table=table, row=first + 1, column="start", value=str(start[first]), message=message, mend=mend)]


def _faults(date: dt.date) -> tuple[Fault, ...]:
    within = f"(start >= DATE '{date}' AND start < DATE '{date}' + 1)"
    faults = (
        Fault("start", "start IS NULL", "not a time", "write it as a timestamp, UTC"),
        Fault("start", f"NOT {within}", f"not on {date} (UTC)", "move the row to the folder of its day"),
        *SESSION_FAULTS,
    )
    return tuple(replace(f, value=f"seen_{f.column}" if f.column in SEEN else "") for f in faults)


def register_names(connection: duckdb.DuckDBPyConnection, regions: pd.Index, catalogue: Catalogue) -> None:
    """Tables ``region_names`` (region, region_at) and ``file_names`` (title, profile, file_at, bitrate_kbps)."""
    names = pa.table({"region": pa.array(regions, pa.string()), "region_at": np.arange(len(regions))})
    files = pa.table(
        {
            "title": pa.array(catalogue.files["title"], pa.string()),
            "profile": pa.array(catalogue.files["profile"], pa.string()),
            "file_at": np.arange(len(catalogue.files)),
            "bitrate_kbps": catalogue.bitrate_kbps,
        }
    )
    for name, table in (("region_names", names), ("file_names", files)):
        connection.register("arriving", table)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM arriving")  # noqa: S608
        connection.unregister("arriving")


def _types(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> dict[str, str]:
    """DuckDB's type of each column of the contract, none where it is missing."""
    described = connection.sql(f"DESCRIBE SELECT * FROM {parquet_scan(paths)}").project("column_name, column_type")  # noqa: S608
    types = dict(described.fetchall())
    return {name: str(types.get(name, "")) for name in COLUMNS}


def _cleaned(types: Mapping[str, str]) -> str:
    """SQL of each column of the contract as its type, NULL where it is not one."""
    return ", ".join(f"{_cast(name, kind)} AS {name}" for name, kind in types.items())


def _cast(name: str, kind: str) -> str:
    if name in ("seconds", "gb"):
        return f"TRY_CAST({name} AS DOUBLE)"
    return _start(kind) if name == "start" else f"CAST({name} AS VARCHAR)"


def _seen(types: Mapping[str, str]) -> str:
    """SQL of the texts that a complaint shows: the value, or what the file has where that is none."""
    return ", ".join(
        f"coalesce(CAST({_cast(name, types[name])} AS VARCHAR), CAST({name} AS VARCHAR)) AS seen_{name}"
        for name in SEEN
    )


def _start(kind: str) -> str:
    """SQL of a start in UTC: a text without a zone is UTC, as the connection's own is."""
    if kind == "VARCHAR" or _has_zone(kind):
        return "TRY_CAST(TRY_CAST(start AS TIMESTAMPTZ) AS TIMESTAMP)"
    return "TRY_CAST(start AS TIMESTAMP)"


def _has_zone(kind: str) -> bool:
    return "TZ" in kind or "ZONE" in kind


def named_log(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[Path], *, spanned: bool = False, seen: bool = False
) -> str:
    """SQL of the rows of a log with ``region_at`` and ``file_at``, NULL where unknown (after :func:`register_names`).

    ``file_index`` is the place in ``paths``, ``row`` counts from 1 in each file. ``spanned``: only what starts from ``$begin`` until ``$end``, two
    timestamps in UTC to be given with the query. ``seen``: with columns ``seen_start``, ``seen_seconds`` and ``seen_gb``, texts: the value, or what the
    file has where that is none.
    """
    types = _types(connection, paths)
    start, kind = _start(types["start"]), "TIMESTAMP"
    if _has_zone(types["start"]):  # compared as it stands, or DuckDB would read all there is
        start, kind = "start", types["start"]
    span = f"WHERE {start} >= CAST($begin AS {kind}) AND {start} < CAST($end AS {kind})" if spanned else ""
    columns = ", ".join([_cleaned(types), *([_seen(types)] if seen else [])])
    return (
        f"(SELECT {columns}, file_index, file_row_number + 1 AS row FROM {parquet_scan(paths)} {span}) "  # noqa: S608
        "LEFT JOIN region_names USING (region) LEFT JOIN file_names USING (title, profile)"
    )


def _sum_day(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[Path], date: dt.date, hourly: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Region, file and GB of a day, and its hours added into ``hourly`` (R, 24); None where a row is unsound."""
    source = f"(SELECT {_cleaned(_types(connection, paths))} FROM {parquet_scan(paths)})"  # noqa: S608
    sound = f"""(coalesce(isfinite(seconds) AND seconds > 0 AND seconds <= {MOST_SECONDS} AND isfinite(gb) AND gb > 0 AND gb <= {MOST_GB}
        AND start >= DATE '{date}' AND start < DATE '{date}' + 1, false))"""
    totals = connection.sql(
        f"""
        SELECT region_at, file_at, gb, sound
        FROM (SELECT region, title, profile, {_exact("gb")} AS gb, bool_and({sound}) AS sound FROM {source} GROUP BY ALL)
        LEFT JOIN region_names USING (region) LEFT JOIN file_names USING (title, profile)"""  # noqa: S608
    ).fetchnumpy()
    if not len(totals["gb"]) or any(np.ma.is_masked(column) for column in totals.values()) or not totals["sound"].all():
        return None
    # lengths as the clock's float64 can tell them apart, so that the shares of a session add up to one
    share = """gb * (CASE WHEN hour = 23 THEN ended ELSE least(ended, (hour + 1) * 3600) END
        - greatest(began, hour * 3600)) / seconds"""
    spread = connection.sql(
        f"""
        SELECT region_at, hour, {_exact(share)} AS gb
        FROM (SELECT *, unnest(range(CAST(floor(began / 3600) AS BIGINT),
                greatest(least(CAST(ceil(ended / 3600) AS BIGINT), 24), CAST(floor(began / 3600) AS BIGINT) + 1))) AS hour
            FROM (SELECT region, gb, began, began + seconds AS ended, began + seconds - began AS seconds
                FROM (SELECT region, gb, greatest(seconds, 1e-3) AS seconds, epoch(start) - epoch(DATE '{date}') AS began
                    FROM {source})))
        JOIN region_names USING (region) GROUP BY ALL"""  # noqa: S608
    ).fetchnumpy()
    np.add.at(hourly, (spread["region_at"], spread["hour"]), spread["gb"])
    return np.asarray(totals["region_at"]), np.asarray(totals["file_at"]), np.asarray(totals["gb"], float)


def _exact(gb: str) -> str:
    """SQL of a sum of GB that is the same in whatever order threads add it up: a sum of whole numbers, each far below a byte."""
    return f"CAST(sum(CAST({gb} AS DECIMAL(38, 18))) AS DOUBLE)"


def _folder_date(path: Path) -> dt.date | None:
    try:
        date = dt.date.fromisoformat(path.name.removeprefix("date="))
    except ValueError:
        return None
    return date if path.name == f"date={date}" else None


def _parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def parts_of(folder: Path, date: dt.date) -> list[Path]:
    """The files of a day's log, by name; raises InputError where there are none."""
    paths = _parts(folder / "playback" / f"date={date}")
    if not paths:
        mend = "import that day, or choose another"
        raise InputError(Problem(table="playback", value=str(date), message="no log of this day", mend=mend))
    return paths


def _missing(table: str, column: str, there: Sequence[str]) -> Problem:
    what = next(a.description for a in load_schema("demand", "playback").attributes if a.name == column)
    message = f"missing column; the table has: {', '.join(map(str, there))}"
    return Problem(table=table, column=column, message=message, mend=f"add the column ({what})")


def _unreadable(table: str, why: str) -> Problem:
    return Problem(
        table=table,
        message=f"not a whole Parquet file ({(why.splitlines() or ['?'])[0]})",
        mend="write the file again; it may be truncated or of another kind",
    )
