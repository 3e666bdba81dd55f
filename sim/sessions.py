"""Playback sessions, in the order of their starts: read from a playback log or built from columns."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from demand.catalogue import Catalogue
from demand.day import A_PART, count_rows, read_day
from demand.day import DAY_MS as DAY_MS
from demand.playback import MOST_GB, MOST_SECONDS
from sim.fleet import BYTES_PER_GB
from sim.series import MOST_BPS, even_rate_bps
from topology.errors import InputError, Problem
from topology.network import Network

MANY = 20_000_000
"""Sessions of a day that are kept in memory, 40 bytes each."""
A_BLOCK = 4_000_000
"""Sessions in memory that are gone through at once."""
MOST_BYTES = 2**63 - 1
"""Of all sessions of a simulation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sessions:
    """Playback sessions in the order of their starts; equal starts keep the order of the input.

    Parameters
    ----------
    start_ms
        (N,) int64: milliseconds since 00:00 UTC of the (first) day.
    region, file
        (N,) int32.
    duration_ms
        (N,) int64, > 0: how long the session holds its rate.
    bytes
        (N,) int64, > 0.
    rate_bps
        (N,) int64: ``bytes * 8000 / duration_ms``, rounded half to even.
    days
        How many days they belong to: every start lies within them.
    """

    start_ms: np.ndarray
    region: np.ndarray
    file: np.ndarray
    duration_ms: np.ndarray
    bytes: np.ndarray
    rate_bps: np.ndarray
    days: int = 1

    def __len__(self) -> int:
        return len(self.start_ms)

    def __getitem__(self, which: slice | np.ndarray) -> "Sessions":
        """Some of the sessions, in their order: a slice, or (N,) bool."""
        columns = {name: np.ascontiguousarray(getattr(self, name)[which]) for name in COLUMNS}
        return Sessions(**columns, days=self.days)


COLUMNS = [field.name for field in fields(Sessions) if field.name != "days"]


def build_sessions(
    start_ms: np.ndarray,
    region: np.ndarray,
    file: np.ndarray,
    duration_ms: np.ndarray,
    bytes_: np.ndarray,
    *,
    days: int = 1,
) -> Sessions:
    """Sort sessions by start (stably) and work out their rates.

    Parameters
    ----------
    start_ms, region, file, duration_ms, bytes_
        (N,) each, any integer type; units as in :class:`Sessions`.

    Raises
    ------
    InputError
        A length or bytes of zero or less, or beyond what a session may have (a year, a billion GB, 31 Tbit/s).
    """
    problems = _fact_problems(duration_ms, bytes_)
    if problems:
        raise InputError(problems)
    order = np.argsort(start_ms, kind="stable")

    def take(values: np.ndarray, dtype: type) -> np.ndarray:
        return np.ascontiguousarray(values[order], dtype)

    length, size = take(duration_ms, np.int64), take(bytes_, np.int64)
    return Sessions(
        start_ms=take(start_ms, np.int64),
        region=take(region, np.int32),
        file=take(file, np.int32),
        duration_ms=length,
        bytes=size,
        rate_bps=even_rate_bps(size, length),
        days=days,
    )


def check_sessions(sessions: Sessions, regions: int, files: int) -> None:
    """Refuse sessions that a simulation could not run as they are.

    Raises
    ------
    InputError
        Starts out of order or outside the day, a region or file beyond the network's or catalogue's, a length or bytes of zero or less or beyond what a session may have.
    """
    backwards = np.diff(sessions.start_ms, prepend=sessions.start_ms[:1]) < 0
    outside = (sessions.start_ms < 0) | (sessions.start_ms >= sessions.days * DAY_MS)
    foreign_region = (sessions.region < 0) | (sessions.region >= regions)
    foreign_file = (sessions.file < 0) | (sessions.file >= files)
    problems = [
        *_row_problems(
            backwards, "start", sessions.start_ms, "starts before the session ahead of it", "sort the sessions by start"
        ),
        *_row_problems(
            outside,
            "start",
            sessions.start_ms,
            "not within the day" if sessions.days == 1 else f"not within the {sessions.days} days",
            f"give milliseconds 0..{sessions.days * DAY_MS - 1} from 00:00 UTC of the first day",
        ),
        *_row_problems(
            foreign_region, "region", sessions.region, "no such region", "use the network the sessions were made for"
        ),
        *_row_problems(
            foreign_file, "file", sessions.file, "no such file", "use the catalogue the sessions were made for"
        ),
        *_fact_problems(sessions.duration_ms, sessions.bytes),
    ]
    if problems:
        raise InputError(problems)
    high, low = sessions.bytes >> 32, sessions.bytes & 0xFFFFFFFF
    check_total((int(high.sum()) << 32) + int(low.sum()))


def check_total(bytes_: int) -> None:
    """Refuse more bytes than can be counted.

    Raises
    ------
    InputError
        More than :data:`MOST_BYTES`.
    """
    if bytes_ > MOST_BYTES:
        message = f"{bytes_ / 1e18:,.1f} EB in all, and bytes are counted up to {MOST_BYTES / 1e18:,.1f}"
        raise InputError(Problem(table="playback", column="gb", message=message, mend="give GB, not bytes"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaybackDay:
    """One day of the playback log that is read anew, part by part, whenever it is gone through: for days that memory cannot hold.

    Seconds are rounded to whole milliseconds (at least one), GB to whole bytes (likewise).

    Parameters
    ----------
    folder
        A network folder with ``playback/date=YYYY-MM-DD/*.parquet``, each file in the order of the starts.
    a_part
        Sessions of a part, if they came evenly.

    Raises
    ------
    InputError
        When gone through: no log of that day, a file whose times go backwards, an unknown region or a title and profile that name no file, a start on
        another day, a length or bytes of zero or less; in the words of ``fillplan check``, the first row of each kind, as soon as a part is unsound.
    """

    folder: Path
    date: dt.date
    network: Network
    catalogue: Catalogue
    a_part: int = A_PART

    def __len__(self) -> int:
        return count_rows(self.folder, self.date)

    def __iter__(self) -> Iterator[Sessions]:
        for log in read_day(self.folder, self.date, self.network.region_ids, self.catalogue, a_part=self.a_part):
            duration_ms = np.maximum(np.rint(log.seconds * 1000), 1).astype(np.int64)
            size = np.maximum(np.rint(log.gb * BYTES_PER_GB), 1).astype(np.int64)
            yield build_sessions(log.start_ms, log.region, log.file, duration_ms, size)


def in_memory(sessions: Sessions | PlaybackDay) -> Sessions:
    """All sessions at once, 40 bytes each."""
    if isinstance(sessions, Sessions):
        return sessions
    columns: dict[str, Any] = {name: [] for name in COLUMNS}
    for part in sessions:
        for name, values in columns.items():
            values.append(getattr(part, name))
    for name, values in columns.items():  # the parts of a column go as it is joined
        columns[name] = np.concatenate(values)
    return Sessions(**columns)


def sessions_from_playback(folder: Path, date: dt.date, network: Network, catalogue: Catalogue) -> Sessions:
    """The sessions of one day of the playback log, all at once: :class:`PlaybackDay` says what may be wrong with it."""
    return in_memory(PlaybackDay(folder=folder, date=date, network=network, catalogue=catalogue))


def sessions_to_rehearse(folder: Path, date: dt.date, network: Network, catalogue: Catalogue) -> Sessions | PlaybackDay:
    """One day of the log: in memory up to :data:`MANY` sessions, else to be read anew for every run."""
    day = PlaybackDay(folder=folder, date=date, network=network, catalogue=catalogue)
    return day if len(day) > MANY else in_memory(day)


def in_blocks(sessions: Sessions | PlaybackDay) -> Iterator[Sessions]:
    """The same sessions, some at a time, for work that takes memory for every one of them."""
    if not isinstance(sessions, Sessions):
        yield from sessions
        return
    for at in range(0, len(sessions), A_BLOCK):
        yield sessions[at : at + A_BLOCK]


def _fact_problems(duration_ms: np.ndarray, bytes_: np.ndarray) -> list[Problem]:
    fast = (duration_ms > 0) & (bytes_ * 8000.0 > duration_ms * float(MOST_BPS))
    return [
        *_row_problems(duration_ms <= 0, "seconds", duration_ms, "the session has no length", "give seconds > 0"),
        *_row_problems(bytes_ <= 0, "gb", bytes_, "the session has no bytes", "give gb > 0"),
        *_row_problems(duration_ms > 1000 * MOST_SECONDS, "seconds", duration_ms, "longer than a year", "give ms"),
        *_row_problems(bytes_ > BYTES_PER_GB * MOST_GB, "gb", bytes_, "more than a billion GB", "give bytes"),
        *_row_problems(fast, "gb", bytes_, "faster than 31 Tbit/s", "give bytes and milliseconds that belong together"),
    ]


def _row_problems(wrong: np.ndarray, column: str, values: np.ndarray, message: str, mend: str) -> list[Problem]:
    rows = np.flatnonzero(wrong)
    more = f" (and {len(rows) - 1} more such rows)" if len(rows) > 1 else ""
    return [
        Problem(
            table="playback", row=int(i) + 1, column=column, value=str(values[i]), message=message + more, mend=mend
        )
        for i in rows[:1]
    ]
