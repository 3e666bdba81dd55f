"""Request traces as a network's catalogue and log: each object is a title with one file, each request a session."""

import contextlib
import dataclasses
import datetime as dt
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdn.sample import FIRST_DAY
from demand.logs import EARLIEST, LATEST
from demand.playback import MOST_GB, refuse_second_catalogue, write_days
from sim.fleet import BYTES_PER_GB
from sim.sessions import DAY_MS, Sessions
from sim.traces import (
    CSV,
    FORMATS,
    ORACLE,
    UMASS,
    Requests,
    guess_format,
    milliseconds_since,
    read_csv_trace,
    read_oracle_general,
    read_umass_youtube,
    sessions_from_requests,
)
from topology.columns import is_identifier
from topology.errors import InputError, Problem
from topology.network import Network, read_network
from topology.tables import write_table

PROFILE = "trace"
"""Profile of every file: a trace does not know encodes."""
OBJECT_MB = 10.0
"""Size of every object of a trace without sizes: a short video."""
BITRATE_KBPS = 4000.0
TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Seconds in the units a trace's times may have."""
MOST_DAYS = 3660
"""A longer trace is taken for one whose times have another unit."""


def import_trace(
    source: Path,
    folder: Path,
    *,
    form: str | None = None,
    columns: Mapping[str, Any] | None = None,
    time_unit: str = "s",
    object_mb: float | None = None,
    bitrate_kbps: float = BITRATE_KBPS,
    first: dt.datetime | None = None,
    seed: int = 0,
) -> dict[str, int]:
    """Write a trace's objects as titles and files of a network folder, and its requests as the log, day by day.

    A file has the bytes of the largest request for it. A session has its request's bytes and lasts as long as they do at the bit rate. Clients are drawn to the
    regions in proportion to subscribers, each once and for all; of a trace that names none, every request by itself.

    Parameters
    ----------
    source
        A trace as :mod:`sim.traces` reads them.
    folder
        A network folder without titles, files and playback.
    form
        One of :data:`sim.traces.FORMATS`; None: guessed.
    columns
        Arguments of :func:`sim.traces.read_csv_trace`: time, file, size, client, delimiter, header. For CSV only.
    time_unit
        A key of :data:`TIME_UNITS`.
    object_mb
        > 0, size of every object, for a trace without sizes; None: :data:`OBJECT_MB`.
    bitrate_kbps
        > 0.
    first
        When the first request came (UTC), in the years 2000 to 2099. None: as the trace has it, if its times are seconds since 1970 of those years; else 00:00
        of :data:`cdn.sample.FIRST_DAY`.

    Returns
    -------
    Counts of titles, files, days, sessions, clients and requests left out: those of zero bytes.

    Raises
    ------
    InputError
        With what is wrong with the trace, the network or the arguments. Nothing is written then.
    """
    network = read_network(folder)
    refuse_second_catalogue(folder)
    _check_arguments(form, time_unit, object_mb, bitrate_kbps, first)
    requests = _read(source, form or guess_format(source), columns or {}, object_mb)
    requests = dataclasses.replace(requests, time_s=requests.time_s * TIME_UNITS[time_unit])
    day, origin_s = _first_midnight(float(requests.time_s[0]), first)
    apart = (float(requests.time_s[-1]) - origin_s) / 86_400  # days; in milliseconds they may be too many to count
    if not apart < MOST_DAYS:
        message = f"the requests lie {apart:,.6g} days apart"
        mend = "say the unit of the times: --time-unit ms, us or ns"
        raise InputError(Problem(table=source.name, column="time", message=message, mend=mend))
    days = int(milliseconds_since(requests.time_s[-1:], origin_s)[0]) // DAY_MS + 1
    size = np.zeros(requests.files, np.int64)
    np.maximum.at(size, requests.file, requests.size_bytes)
    stored = size > 0
    names = _names(source, requests, stored)
    sessions = sessions_from_requests(
        requests, regions=len(network.regions), bitrate_kbps=bitrate_kbps, origin_s=origin_s,
        file_number=np.cumsum(stored) - 1, region=_regions(requests, network, seed), days=days,
    )  # fmt: skip
    counts = {
        "titles": len(names), "files": len(names), "days": 0, "sessions": len(sessions), "clients": len(requests.client_ids),
        "left_out": len(requests) - len(sessions),
    }  # fmt: skip
    del requests
    counts["days"] = len(np.unique(sessions.start_ms // DAY_MS))
    files = pd.DataFrame(
        {"file": names, "title": names, "profile": PROFILE, "bitrate_kbps": bitrate_kbps, "size_gb": size[stored] / BYTES_PER_GB}
    )  # fmt: skip
    tables = {"files": files, "titles": pd.DataFrame({"title": names})}
    with contextlib.ExitStack() as undo:
        undo.callback(_remove, folder, tables)
        for name, frame in tables.items():
            write_table(frame, folder / f"{name}.parquet")
        write_days(folder, _days(sessions, day, network.region_ids, names))
        undo.pop_all()
    return counts


def _remove(folder: Path, tables: Iterable[str]) -> None:
    """What was written before something went wrong; the log is whole or not there."""
    for name in tables:
        (folder / f"{name}.parquet").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (folder / "playback").rmdir()


def _check_arguments(
    form: str | None, time_unit: str, object_mb: float | None, bitrate_kbps: float, first: dt.datetime | None
) -> None:
    problems = [
        Problem(table="arguments", column=option, value=value, message="unknown", mend="use one of " + ", ".join(known))
        for option, value, known in (("--format", form, FORMATS), ("--time-unit", time_unit, TIME_UNITS))
        if value is not None and value not in known
    ]
    problems += [
        Problem(table="arguments", column=option, value=str(value), message="not a finite number > 0", mend="give one")
        for option, value in (("--object-mb", object_mb), ("--bitrate-kbps", bitrate_kbps))
        if value is not None and not 0 < value < math.inf
    ]
    if object_mb is not None and MOST_GB * 1000 < object_mb < math.inf:
        message, mend = "more than a billion GB", "give MB"
        problems.append(
            Problem(table="arguments", column="--object-mb", value=str(object_mb), message=message, mend=mend)
        )
    if first is not None and not EARLIEST <= first.isoformat() < LATEST:
        message, mend = f"not a time between {EARLIEST} and {LATEST}", "say when the first request came"
        problems.append(Problem(table="arguments", column="--start", value=str(first), message=message, mend=mend))
    if problems:
        raise InputError(problems)


def _read(source: Path, form: str, columns: Mapping[str, Any], object_mb: float | None) -> Requests:
    """The trace; where it has no sizes, every object with ``object_mb``."""
    if columns and form != CSV:
        message = f"columns and delimiter are of CSV traces, this is taken for {form}"
        mend = "leave the options out, or say --format csv"
        raise InputError(Problem(table=source.name, message=message, mend=mend))
    unsized = form == UMASS or (form == CSV and columns.get("size") == 0)
    if object_mb is not None and not unsized:
        message, mend = (
            "the trace has sizes of its own",
            "leave it out; for a CSV trace without sizes say --obj-size-col 0",
        )
        raise InputError(
            Problem(table="arguments", column="--object-mb", value=str(object_mb), message=message, mend=mend)
        )
    object_bytes = max(round((object_mb or OBJECT_MB) * 1e6), 1)
    if form == ORACLE:
        return read_oracle_general(source)
    if form == UMASS:
        return read_umass_youtube(source, video_bytes=object_bytes)
    requests = read_csv_trace(source, **columns)
    return dataclasses.replace(requests, size_bytes=requests.size_bytes * object_bytes) if unsized else requests


def _first_midnight(time_s: float, first: dt.datetime | None) -> tuple[dt.date, float]:
    """The first day, and the time of the trace that is its 00:00 UTC."""
    if first is not None:
        return first.date(), time_s - (first - dt.datetime.combine(first.date(), dt.time())).total_seconds()
    earliest, latest = (np.datetime64(text, "s").astype(float) for text in (EARLIEST, LATEST))
    if not earliest <= time_s < latest:
        return FIRST_DAY, time_s
    date = dt.datetime.fromtimestamp(time_s, dt.UTC).date()
    return date, float(np.datetime64(date, "s").astype(float))


def _names(source: Path, requests: Requests, stored: np.ndarray) -> np.ndarray:
    """(F,) object array of str: the objects that are stored; refuses names that no title may have."""
    names = np.array(list(map(str, requests.file_ids[stored].tolist())), object)
    wrong = np.array([not is_identifier(name) for name in names.tolist()], bool)
    if not len(names):
        message, mend = f"all {len(requests):,} requests are of zero bytes", "give a trace with bytes"
        raise InputError(Problem(table=source.name, message=message, mend=mend))
    if wrong.any():
        value, more = names[np.argmax(wrong)], f" (and {wrong.sum() - 1:,} more)" if wrong.sum() > 1 else ""
        raise InputError(
            Problem(
                table=source.name,
                value=repr(value),
                message=f"an object's name is empty or has control characters{more}",
                mend="name every object, or point to the column that does: --obj-id-col",
            )
        )
    return names


def _regions(requests: Requests, network: Network, seed: int) -> np.ndarray:
    """(N,) int32: the region of each request; its client's, where the trace names clients."""
    people = network.regions["subscribers"].to_numpy(float)
    share = people / people.sum() if people.sum() > 0 else np.full(len(people), 1 / len(people))
    rng, clients = np.random.default_rng([seed, 5]), len(requests.client_ids)
    drawn = rng.choice(len(share), clients or len(requests), p=share).astype(np.int32)
    return drawn[requests.client] if clients else drawn


def _days(
    sessions: Sessions, first: dt.date, regions: pd.Index, names: np.ndarray
) -> Iterator[tuple[dt.date, pd.DataFrame]]:
    """The contract's log, one day after the other, those without sessions left out."""
    bounds = np.searchsorted(sessions.start_ms, np.arange(sessions.days + 1) * DAY_MS)
    midnight = np.datetime64(first, "ms")
    for i, (begin, end) in enumerate(itertools.pairwise(bounds)):
        if begin == end:
            continue
        rows = slice(begin, end)
        asked = np.bincount(sessions.file[rows], minlength=len(names)) > 0
        yield (
            first + dt.timedelta(days=i),
            pd.DataFrame(
                {
                    "start": midnight + sessions.start_ms[rows],
                    "region": pd.Categorical.from_codes(sessions.region[rows], categories=regions),
                    "title": pd.Categorical.from_codes(
                        (np.cumsum(asked) - 1)[sessions.file[rows]], categories=pd.Index(names[asked])
                    ),
                    "profile": pd.Categorical.from_codes(
                        np.zeros(end - begin, np.int8), categories=pd.Index([PROFILE])
                    ),
                    "seconds": sessions.duration_ms[rows] / 1000,
                    "gb": sessions.bytes[rows] / BYTES_PER_GB,
                }
            ),
        )
