"""The sessions of one day of the playback log, one by one, as arrays: some of them at a time, so that memory does not grow with their number."""

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from demand.catalogue import Catalogue
from demand.duck import connect
from demand.playback import MOST_GB, MOST_SECONDS, named_log, parts_of, register_names, validate_playback
from topology.errors import InputError, Problem

DAY_MS = 86_400_000
MOST = (("seconds", MOST_SECONDS), ("gb", MOST_GB))
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
        (N,) float64, > 0, at most :data:`demand.playback.MOST_SECONDS` and :data:`demand.playback.MOST_GB`.
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
    parts, read = max(-(-int(rows.sum()) // a_part), 1), np.zeros(len(paths), np.int64)
    edges = np.datetime64(date, "ms") + np.linspace(0, DAY_MS, parts + 1).astype("timedelta64[ms]")
    with connect() as connection:
        register_names(connection, regions, catalogue)
        try:
            if not (rows > 0).all():
                raise _UnsoundError
            log = named_log(connection, paths, spanned=True)
            for begin, end in pairwise(edges):
                yield _stretch(connection, log, date, begin, end, read)
            if not np.array_equal(read, rows):
                raise _UnsoundError
        except (_UnsoundError, duckdb.Error) as error:
            raise _unsound(folder, date, regions, catalogue) from error


class _UnsoundError(Exception):
    """A row that can be no session, or does not follow those read before it."""


def _rows(paths: Sequence[Path]) -> np.ndarray:
    """(P,) int64: rows of each file, 0 where it is no whole Parquet file."""
    rows = np.zeros(len(paths), np.int64)
    for which, path in enumerate(paths):
        with contextlib.suppress(pa.ArrowException, OSError):
            rows[which] = pq.read_metadata(path).num_rows
    return rows


def _stretch(
    connection: duckdb.DuckDBPyConnection,
    log: str,
    date: dt.date,
    begin: np.datetime64,
    end: np.datetime64,
    read: np.ndarray,
) -> DayLog:
    """What starts between two times; ``read``, the rows of each file so far, grows. Raises _UnsoundError, also where a row does not follow these."""
    midnight = int(np.datetime64(date, "ms").astype(np.int64))
    part = connection.execute(
        f"""SELECT file_index, row, epoch_ms(start) - {midnight} AS start_ms, region_at AS region, file_at AS file, seconds, gb
        FROM {log} ORDER BY file_index, row""",  # noqa: S608
        {"begin": begin.item(), "end": end.item()},
    ).fetchnumpy()
    if any(np.ma.is_masked(column) for column in part.values()):
        raise _UnsoundError
    columns = {name: np.asarray(column) for name, column in part.items()}
    of, row = columns.pop("file_index").astype(np.int64), columns.pop("row")
    found = np.bincount(of, minlength=len(read))
    follows = np.arange(len(row)) - (np.cumsum(found) - found)[of] + read[of] + 1
    sooner = (np.diff(columns["start_ms"]) < 0) & (np.diff(of) == 0)
    possible = all(((columns[name] > 0) & (columns[name] <= most)).all() for name, most in MOST)
    if not np.array_equal(row, follows) or sooner.any() or not possible:
        raise _UnsoundError
    read += found
    return DayLog(**columns)


def _unsound(folder: Path, date: dt.date, regions: pd.Index, catalogue: Catalogue) -> InputError:
    problems: list[Problem] = []
    validate_playback(folder, regions, catalogue, problems, [date], most=1)
    mend = "write the day again, as fillplan import log does"
    return InputError(problems or Problem(table=f"playback/date={date}", message="cannot be read", mend=mend))
