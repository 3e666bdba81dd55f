"""The titles of one category: those of the lists, and those of the calendar that no list need have shown yet, under one index."""

from dataclasses import dataclass

import numpy as np

from demand.forecast.calendar import ReleaseCalendar
from demand.forecast.toplists import TopLists
from demand.names import script_class, title_key, wording

NEVER = -(10**6)
"""The day of a release that is not known of."""
WEEK_DAYS = 7
USUAL_MINUTES = 100.0, 300.0
"""Runtime of a film, and of a season, of which none is told."""
SERIES_DAYS = 10**7
"""More than any two days lie apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Universe:
    """Titles (U = T + K) of a category: T listed ones, then K of the calendar, a key each.

    Parameters
    ----------
    category
        Index into the categories of the lists.
    categories
        Their names.
    dated
        Whether there is a calendar, be it of another category's titles alone: all categories are described alike.
    names
        (U,) names, for texts and reports.
    listed
        T.
    twin
        (T,) int: entry among the U of the calendar title with the same key, -1 without one.
    series, number
        (U,) int: index of the series (NS of them) and number within it.
    script
        (U,) int: :func:`demand.names.script_class` of calendar titles, -1 for the others.
    wording
        (U, 4) float: :func:`demand.names.wording` of each name.
    minutes, told
        (U,) float: runtime of the earliest release of the key that tells one, ``usual_minutes`` where none does; int: the day of that release, :data:`NEVER`
        without one. Names and scripts of calendar titles are their earliest release's.
    release_title, release_day
        (N,) releases of the calendar: entry among the U, and days since 1970-01-01.
    season_series, season_day
        (N,) all releases of the calendar that belong to a series of the U, also those whose titles are not among them.
    week, country, title, rank, listed_weeks
        (E,) entries of the lists, ``title`` among the T, sorted by week.
    """

    category: int
    categories: tuple[str, ...]
    dated: bool
    names: np.ndarray
    listed: int
    twin: np.ndarray
    series: np.ndarray
    number: np.ndarray
    script: np.ndarray
    wording: np.ndarray
    minutes: np.ndarray
    told: np.ndarray
    usual_minutes: float
    release_title: np.ndarray
    release_day: np.ndarray
    season_series: np.ndarray
    season_day: np.ndarray
    week: np.ndarray
    country: np.ndarray
    title: np.ndarray
    rank: np.ndarray
    listed_weeks: np.ndarray

    @property
    def titles(self) -> int:
        """U."""
        return len(self.names)

    def grid(self, values: np.ndarray, week: int, countries: int) -> np.ndarray:
        """(C, U) int: values (E,) of a week's entries in their places, 0 elsewhere."""
        found = np.zeros((countries, self.titles), np.int16)
        at = slice(*np.searchsorted(self.week, [week, week + 1]))
        found[self.country[at], self.title[at]] = values[at]
        return found

    def released(self, until: int) -> np.ndarray:
        """(U,) int: day of the last release up to and including the day ``until``, :data:`NEVER` without one; listed titles as their twins."""
        day = np.full(self.titles, NEVER)
        known = self.release_day <= until
        np.maximum.at(day, self.release_title[known], self.release_day[known])
        paired = self.twin >= 0
        day[: self.listed][paired] = day[self.twin[paired]]
        return day

    def runtimes(self, until: int) -> np.ndarray:
        """(U,) float: ``minutes`` as far as releases up to and including the day ``until`` tell them, else ``usual_minutes``."""
        return np.where(self.told <= until, self.minutes, self.usual_minutes)

    def seasons_released(self, until: int) -> np.ndarray:
        """(U,) int: releases of the same series up to and including the day ``until``."""
        count = np.bincount(self.season_series[self.season_day <= until], minlength=int(self.series.max(initial=0)) + 1)
        return np.asarray(count[self.series])

    def days_since_last_season(self, until: int) -> np.ndarray:
        """(U,) int: from the last earlier release of the same series to the title's own as of the day ``until``; -1 without either."""
        own, found = self.released(until), np.full(self.titles, NEVER)
        order = np.lexsort((self.season_day, self.season_series))
        at = self.season_series[order] * SERIES_DAYS + self.season_day[order]
        before = np.searchsorted(at, self.series * SERIES_DAYS + own) - 1
        there = (own > NEVER) & (before >= 0)
        there[there] = self.season_series[order][before[there]] == self.series[there]
        found[there] = self.season_day[order][before[there]]
        return np.where(there, own - found, -1)


def build_universe(lists: TopLists, category: int, calendar: ReleaseCalendar | None) -> Universe:
    """The universe of one category of the lists: the calendar's titles are those that are listed or released within the weeks of the lists.

    Categories with "TV" in their name take the calendar's seasons, the others its films. Releases after the week that follows the lists are not looked at. What is
    known of a title is told by the earliest of its releases, so that from any week within the lists, too, it is known once that release is: later releases, in
    a backtest those of weeks to come, change nothing of it.
    """
    own = np.flatnonzero(lists.category_of == category)
    names = [lists.titles[title] for title in own]
    keys = [title_key(name) for name in names]
    of_seasons = "tv" in lists.categories[category].casefold()
    span = lists.weeks.astype(np.int64)
    releases, usual = _releases(calendar, of_seasons, int(span[-1]) + WEEK_DAYS), USUAL_MINUTES[of_seasons]
    listed = set(keys)
    near = [r for r in releases if r[0] in listed or span[0] - 2 * WEEK_DAYS < r[1]]
    planned: dict[tuple[str, int], str] = {}
    runtime: dict[tuple[str, int], tuple[float, int]] = {}
    for key, day, name, minutes in near:
        planned.setdefault(key, name)
        if minutes > 0:
            runtime.setdefault(key, (minutes, day))
    order = sorted(planned)
    place = {key: len(own) + k for k, key in enumerate(order)}
    all_keys = keys + order
    series_index = {name: s for s, name in enumerate(sorted({series for series, _ in all_keys}))}
    seasons = [(series_index[key[0]], day) for key, day, *_ in releases if key[0] in series_index]
    told = [runtime.get(key, (usual, NEVER)) for key in all_keys]
    mine = np.isin(lists.title, own)
    return Universe(
        category=category,
        categories=lists.categories,
        dated=calendar is not None,
        names=np.array(names + [planned[key] for key in order], object),
        listed=len(own),
        twin=np.array([place.get(key, -1) for key in keys], np.int64),
        series=np.array([series_index[series] for series, _ in all_keys], np.int64),
        number=np.array([number for _, number in all_keys], np.int64),
        script=np.array([-1] * len(own) + [script_class(planned[key]) for key in order], np.int64),
        wording=np.array([wording(name) for name in names + [planned[key] for key in order]], float),
        minutes=np.array([minutes for minutes, _ in told], float),
        told=np.array([day for _, day in told], np.int64),
        usual_minutes=usual,
        release_title=np.array([place[key] for key, *_ in near], np.int64),
        release_day=np.array([day for _, day, *_ in near], np.int64),
        season_series=np.array([series for series, _ in seasons], np.int64),
        season_day=np.array([day for _, day in seasons], np.int64),
        week=lists.week[mine],
        country=lists.country[mine],
        title=np.searchsorted(own, lists.title[mine]),
        rank=lists.rank[mine],
        listed_weeks=lists.listed_weeks[mine],
    )


def _releases(
    calendar: ReleaseCalendar | None, seasons: bool, until: int
) -> list[tuple[tuple[str, int], int, str, float]]:
    """Key, day, name and runtime of every release up to and including the day ``until`` that is, or is not, of a season: by day, those of a day as the calendar has them."""
    if calendar is None:
        return []
    days = calendar.day.astype(np.int64)
    return [
        ((calendar.series[n], int(calendar.number[n])), int(days[n]), calendar.names[n], float(calendar.minutes[n]))
        for n in np.argsort(days, kind="stable")
        if calendar.is_season[n] == seasons and days[n] <= until
    ]
