"""The sessions of one day of the playback log, one by one, as arrays: some of them at a time, so that memory does not grow with their number."""

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from demand.catalogue import Catalogue
from demand.duck import connect
from demand.playback import named_log, parts_of, register_names, validate_playback
from topology.errors import InputError, Problem

DAY_MS = 86_400_000
A_PART = 500_000
"""Sessions that a part of a day has in the mean."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayLog:
    """Sessions of a part of one day, which is a stretch of time: file by file of the log, in the order of their names, the rows of each as they stand.

    Parameters
    ----------
    start_ms
        (N,) int64: milliseconds since 00:00 UTC, within the day; not decreasing within a file.
    region, file
        (N,) int64: places in the network's regions and the catalogue's files.
    seconds, gb
        (N,) float64, finite, > 0.
    """

    start_ms: np.ndarray
    region: np.ndarray
    file: np.ndarray
    seconds: np.ndarray
    gb: np.ndarray


def count_rows(folder: Path, date: dt.date) -> int:
    """Sessions of one day, as its files say; 0 for a file that cannot be read. Raises InputError where there is no log of that day."""
    return int(_rows(parts_of(folder, date)).sum())


def read_day(
    folder: Path, date: dt.date, regions: pd.Index, catalogue: Catalogue, *, a_part: int = A_PART
) -> Iterator[DayLog]:
    """The sessions of one day, in parts that follow each other in time.

    Parameters
    ----------
    folder
        A network folder.
    regions
        Names of the regions, in the order of the network.
    a_part
        Sessions of a part, if they came evenly.

    Raises
    ------
    InputError
        No log of that day; or what :func:`demand.playback.validate_playback` says of it, the first row of each kind and file: as soon as a part is unsound.
    """
    paths = parts_of(folder, date)
    rows = _rows(paths)
    parts, sound = max(-(-int(rows.sum()) // a_part), 1), bool((rows > 0).all())
    edges, read = np.linspace(0, DAY_MS, parts + 1).astype(np.int64), np.zeros(len(paths), np.int64)
    with connect() as connection:
        register_names(connection, regions, catalogue)
        for which in range(parts):
            columns = _stretch(connection, paths, date, edges[which : which + 2], read) if sound else None
            if columns is None or (which == parts - 1 and not np.array_equal(read, rows)):
                raise _unsound(folder, date, regions, catalogue)
            yield DayLog(**columns)


def _rows(paths: Sequence[Path]) -> np.ndarray:
    """(P,) int64: rows of each file, 0 where it is no whole Parquet file."""
    rows = np.zeros(len(paths), np.int64)
    for which, path in enumerate(paths):
        with contextlib.suppress(pa.ArrowException, OSError):
            rows[which] = pq.read_metadata(path).num_rows
    return rows


def _stretch(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[Path], date: dt.date, edges: np.ndarray, read: np.ndarray
) -> dict[str, np.ndarray] | None:
    """The columns of :class:`DayLog` of what starts between two times; None if a row is unsound, or does not follow those ``read`` of its file so far."""
    midnight, columns = int(np.datetime64(date, "ms").astype(np.int64)), []
    begin, end = (np.datetime64(int(midnight + edge), "ms") for edge in edges)
    for which, path in enumerate(paths):
        try:
            part = connection.sql(
                f"""SELECT epoch_ms(start) - {midnight} AS start_ms, region_at AS region, file_at AS file, seconds, gb, row
                FROM {named_log(connection, [path])} WHERE start >= TIMESTAMP '{begin}' AND start < TIMESTAMP '{end}' ORDER BY row"""  # noqa: S608
            ).fetchnumpy()
        except duckdb.Error:
            return None
        row = part.pop("row")
        if len(row) and not (row[0] == read[which] + 1 and row[-1] == read[which] + len(row) and _sound(part)):
            return None
        read[which] += len(row)
        columns.append(part)
    return {name: np.concatenate([np.asarray(part[name]) for part in columns]) for name in columns[0]}


def _sound(part: dict[str, Any]) -> bool:
    """Whether every row can be a session, and none starts before the one ahead of it."""
    if any(np.ma.is_masked(column) for column in part.values()) or (np.diff(part["start_ms"]) < 0).any():
        return False
    return all(bool((np.isfinite(part[name]) & (part[name] > 0)).all()) for name in ("seconds", "gb"))


def _unsound(folder: Path, date: dt.date, regions: pd.Index, catalogue: Catalogue) -> InputError:
    problems: list[Problem] = []
    validate_playback(folder, regions, catalogue, problems, [date], most=1)
    mend = "write the day again, as fillplan import log does"
    return InputError(problems or Problem(table=f"playback/date={date}", message="cannot be read", mend=mend))
