"""Weekly top lists by country: the form of the public "Top 10 by country" files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from topology.errors import InputError, Problem

COLUMNS = (
    "country_iso2",
    "week",
    "category",
    "weekly_rank",
    "show_title",
    "season_title",
    "cumulative_weeks_in_top_10",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopLists:
    """Entries (N) of weekly lists: W weeks, C countries, G categories, T titles.

    Parameters
    ----------
    weeks
        (W,) datetime64[D]: the days that end the weeks, ascending.
    countries, categories
        Names, sorted.
    titles
        Names, sorted by category and name; a series counts by season.
    category_of
        (T,) int: category of a title.
    week, country, title
        (N,) int indices; sorted by week.
    rank
        (N,) int, 1 best.
    listed_weeks
        (N,) int: weeks that the title has been in this country's list so far, as published.
    """

    weeks: np.ndarray
    countries: tuple[str, ...]
    categories: tuple[str, ...]
    titles: tuple[str, ...]
    category_of: np.ndarray
    week: np.ndarray
    country: np.ndarray
    title: np.ndarray
    rank: np.ndarray
    listed_weeks: np.ndarray


def read_top_lists(path: Path) -> TopLists:
    """Read a Top 10 file by country: tab-separated, or comma-separated where the name ends in .csv, also compressed.

    Raises
    ------
    InputError
        A column is missing, or a week or a rank cannot be read.
    """
    separator = "," if ".csv" in path.suffixes else "\t"
    frame = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    missing = [column for column in COLUMNS if column not in frame]
    if missing:
        mend = "give a file with the columns of the Top 10 by country"
        raise InputError(
            Problem(table=path.name, column=", ".join(missing), message="the column is missing", mend=mend)
        )
    return build_top_lists(frame, path.name)


def build_top_lists(frame: pd.DataFrame, table: str = "top lists") -> TopLists:
    """Top lists from the columns :data:`COLUMNS`, all text.

    Raises
    ------
    InputError
        A week is not a date, or a rank or a count of weeks not a whole number of at least 1; or there is no entry.
    """
    if frame.empty:
        raise InputError(Problem(table=table, message="there is no entry", mend="give a file with weekly lists"))
    week = pd.to_datetime(frame["week"], format="%Y-%m-%d", errors="coerce")
    _refuse(table, frame, "week", week.isna(), "not a date", "write it as YYYY-MM-DD")
    numbers = {}
    for column in ("weekly_rank", "cumulative_weeks_in_top_10"):
        numbers[column] = pd.to_numeric(frame[column], errors="coerce")
        wrong = ~(numbers[column] >= 1) | (numbers[column] % 1 != 0)
        _refuse(table, frame, column, wrong, "not a whole number of at least 1", "correct the row")
    season = frame["season_title"]
    name = frame["show_title"].where(season.isin(["N/A", ""]), season)
    titles = pd.MultiIndex.from_arrays([frame["category"], name])
    title_of, title_index = titles.factorize(sort=True)
    weeks, week_of = np.unique(week.to_numpy("datetime64[D]"), return_inverse=True)
    countries, country_of = np.unique(frame["country_iso2"].to_numpy(str), return_inverse=True)
    categories = sorted(set(frame["category"]))
    order = np.lexsort((numbers["weekly_rank"].to_numpy(), title_of, country_of, week_of))
    return TopLists(
        weeks=weeks,
        countries=tuple(str(country) for country in countries),
        categories=tuple(categories),
        titles=tuple(str(name) for _, name in title_index),
        category_of=np.array([categories.index(category) for category, _ in title_index], np.int64),
        week=week_of[order],
        country=country_of[order],
        title=np.asarray(title_of)[order],
        rank=numbers["weekly_rank"].to_numpy(np.int64)[order],
        listed_weeks=numbers["cumulative_weeks_in_top_10"].to_numpy(np.int64)[order],
    )


def _refuse(table: str, frame: pd.DataFrame, column: str, wrong: pd.Series, message: str, mend: str) -> None:
    if not wrong.any():
        return
    at = int(np.flatnonzero(wrong)[0])
    value = str(frame[column].iloc[at])
    raise InputError(Problem(table=table, row=at + 1, column=column, value=value, message=message, mend=mend))
