"""Weekly top lists by country: the form of the public "Top 10 by country" files."""

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from topology.errors import InputError, Problem
from topology.tables import load_schema, read_table


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


def read_top_lists(path: Path, *, before: dt.date | None = None) -> TopLists:
    """Read a Top 10 file by country (tab- or comma-separated, also compressed; ``schema/netflix_countries.csv``).

    Parameters
    ----------
    before
        Leave out the weeks that end on this day or later, as if they were not in the file.

    Raises
    ------
    InputError
        With everything that is wrong in it, or there is no week before the day.
    """
    problems: list[Problem] = []
    frame = read_table(path, replace(load_schema("demand", "netflix_countries"), table=path.name), problems)
    if frame is None:
        raise InputError(problems)
    if before is not None:
        earlier = frame[frame["week"] < pd.Timestamp(before)]
        if earlier.empty:
            first = f"{frame['week'].min():%Y-%m-%d}"
            message, mend = (
                "no week of the file ends before this date",
                f"choose a date after {first}, the end of its first week",
            )
            raise InputError(Problem(table=path.name, value=str(before), message=message, mend=mend))
        frame = earlier
    return build_top_lists(frame)


def build_top_lists(frame: pd.DataFrame) -> TopLists:
    """Top lists from a sound table; without published counts of weeks these are 0."""
    season = frame["season_title"]
    name = frame["show_title"].where(season.isin(["N/A", ""]), season)
    title_of, title_index = pd.MultiIndex.from_arrays([frame["category"], name]).factorize(sort=True)
    weeks, week_of = np.unique(frame["week"].to_numpy("datetime64[D]"), return_inverse=True)
    countries, country_of = np.unique(frame["country_iso2"].to_numpy(str), return_inverse=True)
    categories = sorted(set(frame["category"]))
    rank = frame["weekly_rank"].to_numpy(np.int64)
    counted = "cumulative_weeks_in_top_10" in frame
    listed_weeks = frame["cumulative_weeks_in_top_10"].to_numpy(np.int64) if counted else np.zeros(len(frame), np.int64)
    order = np.lexsort((rank, title_of, country_of, week_of))
    return TopLists(
        weeks=weeks,
        countries=tuple(str(country) for country in countries),
        categories=tuple(categories),
        titles=tuple(str(name) for _, name in title_index),
        category_of=np.array([categories.index(category) for category, _ in title_index], np.int64),
        week=week_of[order],
        country=country_of[order],
        title=np.asarray(title_of)[order],
        rank=rank[order],
        listed_weeks=listed_weeks[order],
    )
