"""Read the published files: one table each, checked like every table of ours."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from demand.names import plain_name
from topology.errors import InputError, Problem
from topology.tables import load_schema, read_table

FILM, SERIES = "film", "series"
NON_ENGLISH = "Non-English"
"""The language of a title that has a name of its own in another one, as the global lists word it."""
_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_SEASON = r"(?i)\b(?:season|series|collection|volume|part|chapter|episodes?)\b"
_HALF_YEAR = re.compile(r"(\d{4})(Jan-Jun|Jul-Dec)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Published:
    """The Netflix files, each title with a ``key`` that is the same in all of them.

    Parameters
    ----------
    lists
        Weekly lists by country: country, week, kind, rank, name, key, show: the :func:`demand.names.plain_name` of a season's show, else "".
    worldwide
        Hours of the weekly global lists: week, category, kind, language (English, Non-English), hours, key.
    engagement
        Half-yearly reports: first, last (days), kind, name, key, language (Non-English, or "" where no other name is given), hours, release_date,
        runtime_minutes (NaN where unknown).
    """

    lists: pd.DataFrame
    worldwide: pd.DataFrame
    engagement: pd.DataFrame


def read_published(source: Path) -> Published:
    """Find and read the Top 10 files and the engagement reports under a folder.

    Raises
    ------
    InputError
        With everything that is wrong: a file that is missing or there twice, and every faulty row.
    """
    if not source.is_dir():
        raise InputError(
            Problem(table="arguments", value=str(source), message="no such folder", mend="give the folder of the files")
        )
    problems: list[Problem] = []
    countries = _read(source, "all-weeks-countries", "netflix_countries", problems)
    worldwide = _read(source, "all-weeks-global", "netflix_global", problems)
    engagement = _read(source, "*engagement*", "netflix_engagement", problems)
    if countries is None or worldwide is None or engagement is None or problems:
        raise InputError(problems)
    return Published(lists=_lists(countries), worldwide=_worldwide(worldwide), engagement=_engagement(engagement))


def read_geography(source: Path, table: str, pattern: str) -> pd.DataFrame | None:
    """A table of countries under a folder, or None where there is none.

    Raises
    ------
    InputError
        It is there twice, or not sound.
    """
    problems: list[Problem] = []
    path = find_file(source, pattern, problems, optional=True)
    frame = path and read_table(path, replace(load_schema("demand", table), table=path.name), problems)
    if problems:
        raise InputError(problems)
    return frame if isinstance(frame, pd.DataFrame) else None


def find_file(source: Path, pattern: str, problems: list[Problem], *, optional: bool = False) -> Path | None:
    """The one table under a folder, at any depth, whose name without its ending is like a pattern; None where there is not one."""
    found = sorted({path for ending in _ENDINGS for path in source.rglob(pattern + ending)})
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(str(path.relative_to(source)) for path in found[:3])
        problems.append(Problem(table=pattern, message=f"the file is there twice: {names}", mend="keep one of them"))
    elif not optional:
        mend = (
            f"fetch it from netflix.com/tudum/top10 and put it under {source}, as .tsv or .csv, packed with gzip or not"
        )
        problems.append(Problem(table=pattern, message="missing file", mend=mend))
    return None


def _read(source: Path, pattern: str, table: str, problems: list[Problem]) -> pd.DataFrame | None:
    path = find_file(source, pattern, problems)
    if path is None:
        return None
    schema = replace(load_schema("demand", table), table=path.name)  # problems then name the file
    frame = read_table(path, schema, problems)
    if frame is None:
        return None
    if "week" in frame:
        _check_sundays(frame["week"], path.name, problems)
    else:
        _check_reports(frame["Report"], path.name, problems)
    return frame


def _check_sundays(week: pd.Series, table: str, problems: list[Problem]) -> None:
    rows = np.flatnonzero(week.dt.dayofweek.to_numpy() != 6)
    if len(rows):
        mend = "weeks are named by the Sunday on which they end"
        problems.append(
            Problem(
                table=table, row=int(rows[0]) + 1, column="week", value=str(week.iloc[rows[0]].date()),
                message=f"not a Sunday (in {len(rows)} rows)", mend=mend,
            )
        )  # fmt: skip


def _check_reports(report: pd.Series, table: str, problems: list[Problem]) -> None:
    for value in report.unique():
        if not _HALF_YEAR.fullmatch(str(value)):
            row = int(np.argmax(report.to_numpy() == value)) + 1
            mend = "write the half-year as 2023Jan-Jun or 2023Jul-Dec"
            problems.append(
                Problem(table=table, row=row, column="Report", value=str(value), message="not a half-year", mend=mend)
            )


def _lists(frame: pd.DataFrame) -> pd.DataFrame:
    name = _names(frame)
    return pd.DataFrame(
        {
            "country": frame["country_iso2"],
            "week": frame["week"],
            "kind": np.where(frame["category"] == "Films", FILM, SERIES),
            "rank": frame["weekly_rank"].astype(int),
            "name": name,
            "show": _keys(frame["show_title"]).where(name != frame["show_title"], ""),
            "key": _keys(name),
        }
    )


def _worldwide(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "week": frame["week"],
            "category": frame["category"],
            "kind": np.where(frame["category"].str.startswith("Films"), FILM, SERIES),
            "language": frame["category"].str.extract(r"\((.*)\)", expand=False).fillna(""),
            "hours": frame["weekly_hours_viewed"].astype(float),
            "key": _keys(_names(frame)),
        }
    )


def _engagement(frame: pd.DataFrame) -> pd.DataFrame:
    """Kinds are those of the sheets; a report in one sheet takes them from the others, or from the words of the title."""
    sheet = frame["Sheet"] if "Sheet" in frame else pd.Series("", index=frame.index)
    kind = sheet.map({"Film": FILM, "Movies": FILM, "TV": SERIES, "Shows": SERIES})
    told = kind.notna()
    elsewhere = pd.Series(kind[told].to_numpy(), frame.loc[told, "Title"]).groupby(level=0).first()
    guessed = frame["Title"].str.contains(_SEASON).map({True: SERIES, False: FILM})
    spans = {report: _span(report) for report in frame["Report"].unique()}
    blank = pd.Series(np.nan, frame.index)
    release = frame["Release Date"] if "Release Date" in frame else pd.Series(pd.NaT, frame.index)
    return pd.DataFrame(
        {
            "first": frame["Report"].map({report: pd.Timestamp(first) for report, (first, _) in spans.items()}),
            "last": frame["Report"].map({report: pd.Timestamp(last) for report, (_, last) in spans.items()}),
            "kind": kind.where(told, frame["Title"].map(elsewhere.to_dict())).combine_first(guessed),
            "name": frame["Title"].str.split(" // ").str[0],
            "language": np.where(frame["Title"].str.contains(" // ", regex=False), NON_ENGLISH, ""),
            "key": _keys(frame["Title"]),
            "hours": frame["Hours Viewed"].astype(float),
            "release_date": pd.to_datetime(release),
            "runtime_minutes": frame["runtime_minutes"].astype(float) if "runtime_minutes" in frame else blank,
        }
    )


def _span(report: str) -> tuple[dt.date, dt.date]:
    """First and last day of a half-year."""
    year, months = re.fullmatch(_HALF_YEAR, report).groups()  # type: ignore[union-attr]  # checked when it was read
    number = int(year)
    if months == "Jan-Jun":
        return dt.date(number, 1, 1), dt.date(number, 6, 30)
    return dt.date(number, 7, 1), dt.date(number, 12, 31)


def _names(frame: pd.DataFrame) -> pd.Series:
    """The season where there is one: that is what people choose, and what the engagement report counts."""
    season = frame["season_title"]
    return season.where(~season.isin(["", "N/A"]), frame["show_title"])


def _keys(names: Sequence[str] | pd.Series) -> pd.Series:
    column = pd.Series(names)
    return column.map({name: plain_name(str(name)) for name in column.unique()})
