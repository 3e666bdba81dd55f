"""Request traces that others recorded: read into one form, refused with the row that is wrong.

libCacheSim's ``oracleGeneral`` (binary, 24 bytes a request) and CSV, and the YouTube traces of the UMass Trace Repository. Compressed files (``.gz``,
``.bz2``, ``.zst``) are read as they are.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from demand.playback import MOST_GB
from sim.fleet import BYTES_PER_GB
from sim.sessions import DAY_MS, Sessions, build_sessions
from topology.errors import InputError, Problem

ORACLE_GENERAL = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
"""A record of the format: seconds, object, bytes, and the number of its next request, which is not needed here."""
UMASS_COLUMNS = ["time", "server", "client", "request", "video", "content_server"]
ORACLE, CSV, UMASS = FORMATS = ("oracle-general", "csv", "umass")
"""The forms that are read, by the names of :func:`guess_format`."""
FAR = 2.0**62
"""Milliseconds that stand for all beyond: 146 million years."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requests:
    """A request trace: files, clients and times as numbers.

    Parameters
    ----------
    time_s
        (N,) float64, not decreasing.
    file
        (N,) int32: files by number in the order of their first request.
    size_bytes
        (N,) int64, >= 0: what each request asked for; a file's size may change on the way.
    client
        (N,) int32: clients by number in the order of their first request; all 0 where the trace names none.
    file_ids, client_ids
        The trace's own names, by number; no ``client_ids`` where it names no clients.
    """

    time_s: np.ndarray
    file: np.ndarray
    size_bytes: np.ndarray
    client: np.ndarray
    file_ids: np.ndarray
    client_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.file)

    @property
    def files(self) -> int:
        """Number of files asked for."""
        return len(self.file_ids)


def guess_format(path: Path) -> str:
    """Which of :data:`FORMATS` a trace has, by its name, or else by how it begins.

    ``oracleGeneral`` in the name or zero bytes say binary; a first line of six words without a comma is the UMass trace's; anything else is CSV.

    Raises
    ------
    InputError
        A file that is not there or cannot be decompressed.
    """
    start = _read_bytes(path, 1 << 16)
    if "oraclegeneral" in path.name.lower() or b"\0" in start:
        return ORACLE
    line = start.split(b"\n", 1)[0]
    return UMASS if len(line.split()) == len(UMASS_COLUMNS) and b"," not in line else CSV


def read_oracle_general(path: Path) -> Requests:
    """A trace in libCacheSim's binary format: 24 bytes a request.

    Raises
    ------
    InputError
        A file that is not there, empty or no whole number of requests; times that go back.
    """
    data = _read_bytes(path)
    whole, rest = divmod(len(data), ORACLE_GENERAL.itemsize)
    if rest or not whole:
        message = (
            "no requests" if not len(data) else f"{len(data)} bytes are no whole number of requests of 24 bytes each"
        )
        raise InputError(
            Problem(table=path.name, message=message, mend="give an oracleGeneral trace, whole and decompressed once")
        )
    records = np.frombuffer(data, ORACLE_GENERAL)
    file = pd.factorize(np.ascontiguousarray(records["id"]))
    return _requests(path, records["time"].astype(float), file, records["size"], None)


def read_csv_trace(
    path: Path,
    *,
    time: int = 1,
    file: int = 2,
    size: int = 3,
    client: int = 0,
    delimiter: str = ",",
    header: bool = False,
) -> Requests:
    """A trace in a CSV file, its columns counted from 1, as libCacheSim counts them (``time-col``, ``obj-id-col``, ``obj-size-col``).

    Parameters
    ----------
    size
        Bytes; 0 if the trace has no sizes: every file then has one byte, so that caches are counted in files.
    client
        0 if the trace names no clients.

    Raises
    ------
    InputError
        A file that is not there or empty, a delimiter that is not one character, a missing column, a time or size that is no number, a size that is negative,
        no whole number or more than a billion GB, times that go back.
    """
    wanted = {"time": time, "file": file} | {name: at for name, at in (("size", size), ("client", client)) if at}
    columns = dict(zip(wanted, _csv_columns(path, wanted, delimiter, header), strict=True))
    first = 2 if header else 1
    times = _parsed(path, "time", columns["time"], first)
    sizes = _parsed(path, "size", columns["size"], first) if size else np.ones(len(times))
    clients = _numbered(columns["client"]) if client else None
    return _requests(path, times, _numbered(columns["file"]), sizes, clients, first)


def read_umass_youtube(path: Path, *, video_bytes: int = 1) -> Requests:
    """The requests for videos of a UMass YouTube trace, cleaned.

    Kept are the requests ``GETVIDEO``, without what follows ``&`` in a video's name. Left out are names that are hosts (``ash-v10…``) and a last line
    that was cut off. The trace has no sizes: every video gets ``video_bytes``.

    Raises
    ------
    InputError
        A file that is not there, or a row that has not the six columns of the trace.

    References
    ----------
    M. Zink, K. Suh, Y. Gu, J. Kurose, "Watch global, cache local: YouTube network traffic at a campus network", MMCN 2008.
    """
    text = _read_bytes(path).decode("utf-8", "replace")
    lines = text.splitlines()
    if lines and not text.endswith("\n"):
        lines.pop()
    rows = [line.split() for line in lines]
    for i, row in enumerate(rows):
        if len(row) != len(UMASS_COLUMNS):
            message, mend = f"{len(row)} columns, not {len(UMASS_COLUMNS)}", "give " + " ".join(UMASS_COLUMNS)
            raise InputError(Problem(table=path.name, row=i + 1, value=lines[i][:80], message=message, mend=mend))
    frame = pd.DataFrame(rows, columns=UMASS_COLUMNS, dtype=str)
    video = frame["video"].str.split("&").str[0]
    frame["time"] = _numbers(path, "time", frame["time"], 1)
    kept = frame.assign(video=video)[(frame["request"] == "GETVIDEO") & ~video.str.startswith("ash-v10")]
    kept = kept.sort_values("time", kind="stable")  # the servers' logs stand one behind the other
    sizes = np.full(len(kept), video_bytes, np.int64)
    videos, clients = (pd.factorize(kept[name].to_numpy()) for name in ("video", "client"))
    return _requests(path, kept["time"].to_numpy(), videos, sizes, clients)


def sessions_from_requests(
    requests: Requests,
    *,
    regions: int,
    bitrate_kbps: float,
    origin_s: float | None = None,
    file_number: np.ndarray | None = None,
    region: np.ndarray | None = None,
    days: int = 1,
) -> Sessions:
    """Playback sessions of a trace's first days: each request becomes a session at a bit rate, as long as its bytes last; requests of no bytes are left out.

    Parameters
    ----------
    regions
        How many there are.
    bitrate_kbps
        > 0; a session lasts its bytes at this rate, at least a millisecond.
    origin_s
        The time that becomes 00:00 of the first day; requests before it or ``days`` and more after it are left out. Default: the first request's.
    file_number
        (F,) int: the catalogue's file for each file of the trace. Default: the trace's own numbers.
    region
        (N,) int: the region of each request. Default: clients are dealt out to the regions in turn, in the order of their first request.
    days
        >= 1.

    Raises
    ------
    InputError
        No region, or a bit rate of zero or less.
    """
    if regions < 1 or not bitrate_kbps > 0:
        mend = "give at least one region and a bit rate above 0"
        raise InputError(Problem(table="sessions", message="there is nowhere or nothing to play", mend=mend))
    start_ms = milliseconds_since(requests.time_s, requests.time_s[0] if origin_s is None else origin_s)
    kept = (start_ms >= 0) & (start_ms < days * DAY_MS) & (requests.size_bytes > 0)
    size = requests.size_bytes[kept]
    with np.errstate(over="ignore"):
        length = np.clip(np.rint(size * 8.0 / bitrate_kbps), 1, FAR).astype(np.int64)
    file = requests.file if file_number is None else np.asarray(file_number)[requests.file]
    where = requests.client % regions if region is None else region
    return build_sessions(start_ms[kept], where[kept], file[kept], length, size, days=days)


def milliseconds_since(time_s: np.ndarray, origin_s: float) -> np.ndarray:
    """(N,) int64: times in seconds as whole milliseconds from ``origin_s``, rounded down; :data:`FAR` where they are farther away."""
    with np.errstate(over="ignore"):
        return np.asarray(np.clip(np.floor((time_s - origin_s) * 1000), -FAR, FAR), np.int64)


def _requests(
    path: Path,
    time: np.ndarray,
    files: tuple[np.ndarray, np.ndarray],
    size: np.ndarray,
    clients: tuple[np.ndarray, np.ndarray] | None,
    first_row: int = 1,
) -> Requests:
    """Times, and files and clients each as numbers with their names, become requests; what no trace can be is refused."""
    if not len(time):
        raise InputError(Problem(table=path.name, message="no requests", mend="give a trace with requests"))
    backwards = np.append(False, time[1:] < time[:-1])
    size = size if size.dtype == float else size.astype(np.int64)
    broken = size != np.floor(size) if size.dtype == float else np.zeros(0, bool)
    for wrong, column, values, message, mend in (
        (backwards, "time", time, "earlier than the request before it", "sort the trace by time"),
        (size < 0, "size", size, "negative bytes", "give bytes >= 0"),
        (broken, "size", size, "no whole number of bytes", "give whole bytes"),
        (size > BYTES_PER_GB * MOST_GB, "size", size, "more than a billion GB", "give bytes"),
    ):
        if wrong.any():
            i = int(np.argmax(wrong))
            value = str(values[i]).removesuffix(".0")
            raise InputError(
                Problem(table=path.name, row=i + first_row, column=column, value=value, message=message, mend=mend)
            )
    file, file_ids = files
    client, client_ids = clients or (np.zeros(len(time), np.int32), np.zeros(0, object))
    return Requests(
        time_s=time,
        file=file.astype(np.int32, copy=False),
        size_bytes=size.astype(np.int64, copy=False),
        client=client.astype(np.int32, copy=False),
        file_ids=np.asarray(file_ids),
        client_ids=np.asarray(client_ids),
    )


def _need_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(Problem(table=path.name, message="no such file", mend="name a trace that is there"))


def _read_bytes(path: Path, most: int | None = None) -> bytes:
    """The file's bytes, or the first of them, decompressed if its name says so."""
    _need_file(path)
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            return bytes(stream.read(most))
    except OSError as error:
        message = f"cannot be read: {error}"
        raise InputError(
            Problem(table=path.name, message=message, mend="give the file whole, named for its compression")
        ) from error


def _csv_columns(path: Path, wanted: dict[str, int], delimiter: str, header: bool) -> list[pa.ChunkedArray]:
    """The wanted columns of a CSV file as text, without blanks in front."""
    if len(delimiter) != 1:
        message, mend = "the delimiter is not one character", "give one, such as , or ;"
        raise InputError(Problem(table="arguments", column="delimiter", value=delimiter, message=message, mend=mend))
    if twice := [name for name, at in wanted.items() if list(wanted.values()).count(at) > 1]:
        message, mend = f"the {' and the '.join(twice)} are one column", "give each a column of its own"
        raise InputError(
            Problem(table="arguments", column="columns", value=str(wanted[twice[0]]), message=message, mend=mend)
        )
    data = _read_bytes(path)
    names = [f"f{at - 1}" for at in wanted.values()]  # what Arrow calls columns without names
    try:
        there = pa_csv.read_csv(
            pa.BufferReader(data.split(b"\n", 1)[0] + b"\n"),
            pa_csv.ReadOptions(autogenerate_column_names=True),
            pa_csv.ParseOptions(delimiter=delimiter),
        ).num_columns
        for name, column in wanted.items():
            if not 1 <= column <= there:
                message = f"the {name} is column {column}, but there are {there}"
                raise InputError(
                    Problem(table=path.name, column=str(column), message=message, mend="count the columns from 1")
                )
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            pa_csv.ReadOptions(autogenerate_column_names=True, skip_rows=int(header)),
            pa_csv.ParseOptions(delimiter=delimiter),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_string()), include_columns=names, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise InputError(
            Problem(table=path.name, message=f"not a CSV file: {error}", mend="give rows of equal length, in UTF-8")
        ) from error
    return [pc.utf8_ltrim_whitespace(table[name]) for name in names]


def _numbered(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Texts as (N,) int32 in the order in which they first stand there, and the texts by number."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_numpy(zero_copy_only=False)


def _parsed(path: Path, name: str, column: pa.ChunkedArray, first_row: int) -> np.ndarray:
    """(N,) float64 of a column of text."""
    try:
        numbers: np.ndarray = pc.utf8_rtrim_whitespace(column).cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return _numbers(path, name, column.to_pandas(), first_row)
    return numbers if np.isfinite(numbers).all() else _numbers(path, name, column.to_pandas(), first_row)


def _numbers(path: Path, column: str, values: pd.Series, first_row: int) -> np.ndarray:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        i = int(np.argmax(wrong))
        value, mend = str(values.iloc[i])[:80], "give a number"
        if i + first_row == 1:
            mend += ", or say that the first row is a header"
        raise InputError(
            Problem(table=path.name, row=i + first_row, column=column, value=value, message="no number", mend=mend)
        )
    return numbers
