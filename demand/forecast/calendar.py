"""The release calendar: which titles come out on which day, known to an operator before anybody watches them."""

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
    """

    names: tuple[str, ...]
    series: tuple[str, ...]
    number: np.ndarray
    is_season: np.ndarray
    day: np.ndarray


def read_calendar(path: Path) -> ReleaseCalendar:
    """Read a release calendar: a CSV (also compressed) with the columns ``title`` and ``release_date`` (YYYY-MM-DD) and, optionally, ``kind``.

    Headers are compared without case and with ``_`` for blanks, and ``sheet`` is taken for ``kind``, so Netflix's engagement report is such a
    file as it is. Nothing else in it is looked at: its hours were counted later than any release. ``kind`` says film, movie, TV, show or
    series; where it says neither, a name that is written as a season is one. Rows without a date are left out.

    Raises
    ------
    InputError
        A column is missing, or a date is none.
    """
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.columns = frame.columns.str.strip().str.casefold().str.replace(" ", "_")
    missing = {"title", "release_date"} - set(frame.columns)
    if missing:
        mend = "give a CSV with the columns title and release_date"
        raise InputError(
            Problem(table=path.name, column=", ".join(sorted(missing)), message="the column is missing", mend=mend)
        )
    frame = frame[frame["release_date"].str.strip() != ""]
    day = pd.to_datetime(frame["release_date"].str.strip(), format="%Y-%m-%d", errors="coerce")
    if day.isna().any():
        at = int(np.flatnonzero(day.isna())[0])
        raise InputError(
            Problem(
                table=path.name,
                row=int(frame.index[at]) + 1,
                column="release_date",
                value=frame["release_date"].iloc[at],
                message="not a date",
                mend="write it as YYYY-MM-DD, or leave it empty",
            )
        )
    kind = frame["kind"] if "kind" in frame else frame["sheet"] if "sheet" in frame else pd.Series("", frame.index)
    releases = pd.DataFrame(
        {"name": frame["title"].str.strip(), "day": day.dt.date, "season": _seasons(frame["title"], kind)}
    )
    return build_calendar(releases.drop_duplicates().sort_values(["name", "day"]))


def build_calendar(releases: pd.DataFrame) -> ReleaseCalendar:
    """A calendar from the columns ``name``, ``day`` and ``season`` (bool)."""
    names = tuple(releases["name"])
    keys = [title_key(name) for name in names]
    return ReleaseCalendar(
        names=names,
        series=tuple(series for series, _ in keys),
        number=np.array([number for _, number in keys], np.int64),
        is_season=releases["season"].to_numpy(bool),
        day=releases["day"].to_numpy("datetime64[D]"),
    )


def _seasons(name: pd.Series, kind: pd.Series) -> pd.Series:
    """Whether each title is a season: by its kind, else by the kind its name has in another row, else by how it is written."""
    said = kind.str.casefold()
    film, show = said.str.contains("film|movie"), said.str.contains("tv|show|series|season")
    known = pd.Series(np.where(film, 0.0, np.where(show, 1.0, np.nan)), name.index)
    known = known.fillna(known.groupby(name).transform("max"))
    return known.fillna(name.map(is_season).astype(float)).astype(bool)
