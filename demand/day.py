"""The sessions of one day of the playback log, one by one, as arrays."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from demand.catalogue import Catalogue
from demand.duck import connect
from demand.playback import named_log, parts_of, register_names, validate_playback
from topology.errors import InputError, Problem

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayLog:
    """Sessions of one day in the order of the log: its files by name, the rows of each as they stand.

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


def read_day(folder: Path, date: dt.date, regions: pd.Index, catalogue: Catalogue) -> DayLog:
    """The sessions of one day.

    Parameters
    ----------
    folder
        A network folder.
    regions
        Names of the regions, in the order of the network.

    Raises
    ------
    InputError
        No log of that day; or what :func:`demand.playback.validate_playback` says of it, the first row of each kind and file.
    """
    with connect() as connection:
        register_names(connection, regions, catalogue)
        paths = parts_of(folder, date)
        try:
            parts = [
                connection.sql(
                    f"SELECT epoch_ms(start) AS start, region_at, file_at, seconds, gb FROM {named_log(connection, [path])} ORDER BY row"  # noqa: S608
                ).fetchnumpy()
                for path in paths
            ]
        except duckdb.Error:
            parts = []
    midnight = int(np.datetime64(date, "ms").astype(np.int64))
    if not parts or not all(_sound(part, midnight) for part in parts):
        problems: list[Problem] = []
        validate_playback(folder, regions, catalogue, problems, [date], most=1)
        mend = "write the day again, as fillplan import log does"
        raise InputError(problems or Problem(table=f"playback/date={date}", message="cannot be read", mend=mend))
    start, region, file, seconds, gb = (
        np.concatenate([np.asarray(part[name]) for part in parts])
        for name in ("start", "region_at", "file_at", "seconds", "gb")
    )
    return DayLog(start_ms=start - midnight, region=region, file=file, seconds=seconds, gb=gb)


def _sound(part: dict[str, np.ndarray], midnight: int) -> bool:
    """Whether every row of a file can be a session, and no row starts before the one ahead of it."""
    if not len(part["start"]) or any(np.ma.is_masked(column) for column in part.values()):
        return False
    start = np.asarray(part["start"]) - midnight
    within = start[0] >= 0 and start[-1] < DAY_MS and bool((np.diff(start) >= 0).all())
    return within and all(bool((np.isfinite(part[name]) & (part[name] > 0)).all()) for name in ("seconds", "gb"))
