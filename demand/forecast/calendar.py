"""The release calendar: which titles come out on which day, known to an operator before anybody watches them."""

import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demand.names import is_season, title_key
from topology.errors import InputError, Problem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReleaseCalendar:
    """Releases (N), each a title and a day; a title may have more than one.

    Parameters
    ----------
    names
        Names as published; what follows `` // `` is the title in its own language.
    series, number
        The :func:`demand.names.title_key` of each name.
    is_season
        (N,) bool: a season of a series, not a film.
    day
        (N,) datetime64[D].
    minutes
        (N,) float: runtime, of a season the whole one; NaN where not told.
    """

    names: tuple[str, ...]
    series: tuple[str, ...]
    number: np.ndarray
    is_season: np.ndarray
    day: np.ndarray
    minutes: np.ndarray


def read_calendar(path: Path, *, runtimes: bool = True) -> ReleaseCalendar:
    """Read a release calendar: a CSV (also compressed) with the columns ``title`` and ``release_date`` (YYYY-MM-DD) and, optionally, ``kind`` and ``runtime_minutes``.

    Headers are compared without case and with ``_`` for blanks, and ``sheet`` is taken for ``kind``, so Netflix's engagement report is such a
    file as it is. Nothing else in it is looked at: its hours were counted later than any release. ``kind`` says film, movie, TV, show or
    series; where it says neither, a name that is written as a season is one. Rows without a date are left out, and commas that
    end every row are passed over.

    Parameters
    ----------
    runtimes
        False: leave the runtimes, too, for what the dates alone tell.

    Raises
    ------
    InputError
        The file cannot be read, has rows with more values than columns, or none with a date; a column is missing or there twice; a date is
        none, a title is missing, or a runtime is not a number above 0.
    """
    frame = _read_text(path)
    frame.columns = frame.columns.str.strip().str.casefold().str.replace(" ", "_")
    twice = {"title", "release_date", "kind", "sheet", "runtime_minutes"} & set(
        frame.columns[frame.columns.duplicated()]
    )
    if twice:
        column, message = ", ".join(sorted(twice)), "the column is there twice"
        raise InputError(Problem(table=path.name, column=column, message=message, mend="remove one of them"))
    missing = {"title", "release_date"} - set(frame.columns)
    if missing:
        mend = "give a CSV with the columns title and release_date"
        raise InputError(
            Problem(table=path.name, column=", ".join(sorted(missing)), message="the column is missing", mend=mend)
        )
    frame = frame[frame["release_date"].str.strip() != ""]
    if frame.empty:
        mend = "write the day of each release as YYYY-MM-DD, or leave the calendar"
        raise InputError(Problem(table=path.name, column="release_date", message="no row has a date", mend=mend))
    day = pd.to_datetime(frame["release_date"].str.strip(), format="%Y-%m-%d", errors="coerce")
    _refuse(frame, "release_date", day.isna(), path.name, "not a date", "write it as YYYY-MM-DD, or leave it empty")
    name = frame["title"].str.strip()
    _refuse(frame, "title", name == "", path.name, "a release without a title", "name it, or remove the row")
    minutes = pd.Series(np.nan, frame.index)
    if runtimes and "runtime_minutes" in frame:
        told = frame["runtime_minutes"].str.strip()
        minutes = pd.to_numeric(told.where(told != ""), errors="coerce")
        wrong = (told != "") & ~((minutes > 0) & np.isfinite(minutes))
        _refuse(frame, "runtime_minutes", wrong, path.name, "not a number above 0", "give minutes, or leave it empty")
    kind = frame["kind"] if "kind" in frame else frame["sheet"] if "sheet" in frame else pd.Series("", frame.index)
    releases = pd.DataFrame({"name": name, "day": day.dt.date, "season": _seasons(name, kind), "minutes": minutes})
    # a title that several reports name has the runtime of the first that tells it
    return build_calendar(releases.groupby(["name", "day", "season"], as_index=False).agg(minutes=("minutes", "first")))


def _read_text(path: Path) -> pd.DataFrame:
    """The file, all of it text; one empty value beyond the columns, as commas at the ends of the rows make, is dropped."""
    mend = "give a CSV with the columns title and release_date, plain or as .csv.gz"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # values would be dropped
            # by default pandas takes the first column for row names where rows have a value more than the header
            return pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except OSError as error:
        why = error.strerror or str(error)
        raise InputError(
            Problem(table=path.name, value=str(path), message=f"cannot be read ({why})", mend=mend)
        ) from error
    except pd.errors.ParserWarning as error:
        message = "rows have more values than the header has columns"
        mend = "put titles that hold commas in quotation marks, and remove what is beyond the last column"
        raise InputError(Problem(table=path.name, message=message, mend=mend)) from error
    except (ValueError, EOFError, zlib.error) as error:
        why = str(error).strip().splitlines()[0]
        raise InputError(Problem(table=path.name, message=f"not a CSV table ({why})", mend=mend)) from error


def _refuse(frame: pd.DataFrame, column: str, wrong: pd.Series, table: str, message: str, mend: str) -> None:
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        row, value = int(frame.index[at]) + 1, frame[column].iloc[at]
        raise InputError(Problem(table=table, row=row, column=column, value=value, message=message, mend=mend))


def build_calendar(releases: pd.DataFrame) -> ReleaseCalendar:
    """A calendar from the columns ``name``, ``day``, ``season`` (bool) and, optionally, ``minutes``."""
    names = tuple(releases["name"])
    keys = [title_key(name) for name in names]
    return ReleaseCalendar(
        names=names,
        series=tuple(series for series, _ in keys),
        number=np.array([number for _, number in keys], np.int64),
        is_season=releases["season"].to_numpy(bool),
        day=releases["day"].to_numpy("datetime64[D]"),
        minutes=releases["minutes"].to_numpy(float) if "minutes" in releases else np.full(len(releases), np.nan),
    )


def _seasons(name: pd.Series, kind: pd.Series) -> pd.Series:
    """Whether each title is a season: by its kind, else by the kind its name has in another row, else by how it is written."""
    said = kind.str.casefold()
    film, show = said.str.contains("film|movie"), said.str.contains("tv|show|series|season")
    known = pd.Series(np.where(film, 0.0, np.where(show, 1.0, np.nan)), name.index)
    known = known.fillna(known.groupby(name).transform("max"))
    return known.fillna(name.map(is_season).astype(float)).astype(bool)
