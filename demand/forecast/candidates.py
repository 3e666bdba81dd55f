"""Which titles may stand in next week's lists, and what is known of each pair of country and title: one pass that never looks ahead.

From week ``w`` the pass knows the lists of the weeks up to ``w`` and the releases up to the end of week ``w + 1``. Titles of the calendar that
no list has shown stand under their key; once one is listed, the listed name takes over.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from demand.forecast.calendar import ReleaseCalendar
from demand.forecast.toplists import TopLists
from demand.forecast.universe import NEVER, WEEK_DAYS, Universe, build_universe
from demand.names import SCRIPT_CLASSES

NO_RANK = 11
"""Stands among the ranks for "not in the list"."""
LAGS = 4
"""Weeks of lists before the first from which candidates are described."""
KEPT = 3
"""Weeks of lists kept whole, the latest among them."""
RECENT_WEEKS = 4
"""A title that left a country's list at most so many weeks ago is a candidate there."""
ELSEWHERE = 12
"""Titles of other countries' lists that are candidates in a country: those most held by the countries most like it."""
RETURNING = 4
"""Titles gone for longer that are candidates in a country: those with the most weeks, the longer gone the fewer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """Pairs (N) of country and title that may stand in the lists of the week after ``week``, sorted by country and title.

    Parameters
    ----------
    week
        Index of the week they are described from.
    end
        The day it ends, counted from 1970-01-01.
    universe
        Whose titles ``title`` counts.
    country, title
        (N,) int.
    names, features
        (M,) names and (N, M) float32.
    next_rank
        (N,) int: rank a week later, 0 where not listed; None where that week is not known.
    next_size
        (C,) int: length of each country's list a week later, 0 where it or this week's is missing; None likewise.
    """

    week: int
    end: int
    universe: Universe
    country: np.ndarray
    title: np.ndarray
    names: tuple[str, ...]
    features: np.ndarray
    next_rank: np.ndarray | None
    next_size: np.ndarray | None

    def column(self, name: str) -> np.ndarray:
        """(N,) one feature."""
        return np.asarray(self.features[:, self.names.index(name)])


def weekly_candidates(lists: TopLists, calendar: ReleaseCalendar | None) -> list[Candidates]:
    """Candidates from every week index >= :data:`LAGS`, category by category within a week.

    A week whose successor does not end seven days later has no outcome.
    """
    found = []
    memories = [Memory(build_universe(lists, g, calendar), len(lists.countries)) for g in range(len(lists.categories))]
    end = lists.weeks.astype(np.int64)
    for week in range(len(lists.weeks)):
        follows = week + 1 < len(end) and end[week + 1] - end[week] == WEEK_DAYS
        for memory in memories:
            memory.advance(week, int(end[week]))
            if week >= LAGS:
                found.append(_describe(memory, follows))
    return found


class Memory:
    """What the weeks so far have shown of a universe: arrays (C, U) unless said otherwise."""

    def __init__(self, universe: Universe, countries: int) -> None:
        shape = (countries, universe.titles)
        self.universe = universe
        self.countries = countries
        self.week = -1
        self.end = 0
        self.ranks = [np.zeros(shape, np.int16)] * KEPT
        """Rank in each of the last weeks, latest first; 0 where not listed."""
        self.listed_weeks = np.zeros(shape, np.int16)
        self.total = np.zeros(shape, np.int16)
        self.streak = np.zeros(shape, np.int16)
        self.best = np.full(shape, NO_RANK, np.int16)
        self.first = np.full(shape, -1, np.int16)
        self.last = np.full(shape, -1, np.int16)
        self.first_anywhere = np.full(universe.titles, -1)
        self.most_countries = np.zeros(universe.titles, np.int64)
        self.together = np.zeros((countries, countries))
        self.kept = np.full(countries, 0.6)
        """(C,) share of a list that stays for another week, smoothed."""
        self.launches = np.zeros((countries, SCRIPT_CLASSES))
        self.launched_in = np.zeros((countries, SCRIPT_CLASSES))
        """Releases of the calendar by script in weeks whose list of the country is there, and how many of them it showed."""
        self.released = np.full(universe.titles, NEVER)
        self.series_of = sparse.csr_array((np.ones(universe.titles), (np.arange(universe.titles), universe.series)))
        """(U, NS) 1 where the title belongs to the series."""

    def advance(self, week: int, end: int) -> None:
        """Take in the lists of a week that ends on the day ``end``, and the releases of the week after it."""
        universe = self.universe
        rank = universe.grid(universe.rank, week, self.countries)
        listed = rank > 0
        before = self.ranks[0] > 0
        if before.any():
            stayed = (listed & before).sum(axis=1) / np.maximum(before.sum(axis=1), 1)
            self.kept = np.where(listed.any(axis=1) & before.any(axis=1), 0.8 * self.kept + 0.2 * stayed, self.kept)
        self.ranks = [rank, *self.ranks[: KEPT - 1]]
        self.listed_weeks = np.where(
            listed, universe.grid(universe.listed_weeks, week, self.countries), self.listed_weeks
        )
        self.total = self.total + listed
        self.streak = np.where(listed, self.streak + 1, 0)
        self.best = np.where(listed, np.minimum(self.best, rank), self.best)
        self.first = np.where(listed & (self.first < 0), week, self.first)
        self.last = np.where(listed, week, self.last)
        holders = listed.sum(axis=0)
        self.first_anywhere = np.where((holders > 0) & (self.first_anywhere < 0), week, self.first_anywhere)
        self.most_countries = np.maximum(self.most_countries, holders)
        points = np.where(listed, NO_RANK - rank, 0).astype(float)
        self.together = 0.9 * self.together + points @ points.T
        self._count_launches(listed, end)
        self.week, self.end = week, end
        self.released = universe.released(end + WEEK_DAYS)

    def _count_launches(self, listed: np.ndarray, end: int) -> None:
        universe = self.universe
        out = np.flatnonzero(universe.released(end)[universe.listed :] > end - WEEK_DAYS) + universe.listed
        paired = np.flatnonzero(np.isin(universe.twin, out))
        shown = np.zeros((len(out), self.countries), bool)
        np.logical_or.at(shown, np.searchsorted(out, universe.twin[paired]), listed.T[paired])
        there = np.any(listed, axis=1, keepdims=True)
        self.launches += there * np.bincount(universe.script[out], minlength=SCRIPT_CLASSES)
        np.add.at(self.launched_in.T, universe.script[out], shown)

    def likeness(self) -> np.ndarray:
        """(C, C) weights that sum to 1 by row: the sixth power of the cosine between the countries' points of recent weeks, none with itself."""
        length = np.sqrt(np.diag(self.together))
        cosine = self.together / np.maximum(np.outer(length, length), 1e-9)
        np.fill_diagonal(cosine, 0.0)
        weight = cosine**6
        return np.asarray(weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-9))


def _describe(memory: Memory, follows: bool) -> Candidates:
    universe, end = memory.universe, memory.end
    series = universe.series
    rank = memory.ranks[0]
    listed = rank > 0
    seen = memory.first_anywhere >= 0
    planned = _unlisted_releases(memory)
    fresh_release = memory.released > end
    late_release = (memory.released > end - WEEK_DAYS) & ~fresh_release
    points = [np.where(past > 0, NO_RANK - past, 0).astype(float) for past in memory.ranks[:2]]
    weight = memory.likeness()
    near = weight @ points[0]
    near_share, near_share_before = weight @ listed, weight @ (memory.ranks[1] > 0)
    nearest = np.argsort(-weight, axis=1, kind="stable")[:, :5]

    def by_series(values: np.ndarray) -> np.ndarray:
        """Sums over each series of values (…, U), back on the titles."""
        return np.asarray((memory.series_of.T @ values.T.astype(np.float64))[series].T)

    debut = listed & (memory.first == memory.week)
    series_debut = by_series(debut) > 0
    series_release = by_series((fresh_release | late_release) & (planned | seen)) > 0
    series_weeks = by_series(memory.total)
    mask = listed | ((memory.week - memory.last <= RECENT_WEEKS) & (memory.last >= 0))
    mask |= _largest(np.where(mask, 0.0, near), ELSEWHERE)
    mask |= planned | (seen & fresh_release)
    mask |= (memory.total > 0) & (series_release | series_debut)
    mask |= series_debut & seen
    gone = memory.week - memory.last + 1.0
    mask |= _largest(np.where(mask | (memory.total == 0), 0.0, memory.total / gone), RETURNING)
    country, title = np.nonzero(mask)

    def pair(values: np.ndarray) -> np.ndarray:
        return np.asarray(values[country, title])

    def ranked(past: np.ndarray) -> np.ndarray:
        at = pair(past)
        return np.where(at > 0, at, NO_RANK)

    holders = [(past > 0).sum(axis=0) for past in memory.ranks]
    script = np.where(memory.released > NEVER, _script(universe), -1)
    launch_rate, script_rate = _launch_rates(memory)
    largest_series = _series_max(memory.most_countries, series)
    age = np.where(memory.released > NEVER, end + WEEK_DAYS - memory.released, -1)
    values: dict[str, np.ndarray] = {
        "rank": ranked(rank),
        "rank_1": ranked(memory.ranks[1]),
        "rank_2": ranked(memory.ranks[2]),
        "climb": ranked(memory.ranks[1]) - ranked(rank),
        "streak": pair(memory.streak),
        "weeks": pair(memory.total),
        "published_weeks": pair(memory.listed_weeks),
        "gone": np.where(pair(memory.last) >= 0, memory.week - pair(memory.last), 99),
        "best": pair(memory.best),
        "since_first": np.where(pair(memory.first) >= 0, memory.week - pair(memory.first), -1),
        "holders": holders[0][title],
        "holders_1": holders[1][title],
        "holders_2": holders[2][title],
        "holders_gain": (holders[0] - holders[1])[title],
        "points": points[0].sum(axis=0)[title],
        "points_gain": (points[0] - points[1]).sum(axis=0)[title],
        "mean_points": (points[0].sum(axis=0) / np.maximum(holders[0], 1))[title],
        "near_points": pair(near),
        "near_share": pair(near_share),
        "near_gain": pair(near_share - near_share_before),
        "nearest": listed[nearest[country], title[:, None]].sum(axis=1),
        "nearest_1": (memory.ranks[1] > 0)[nearest[country], title[:, None]].sum(axis=1),
        "since_first_anywhere": np.where(seen, memory.week - memory.first_anywhere, -1)[title],
        "most_countries": memory.most_countries[title],
        "kept": memory.kept[country],
        "debuts": debut.sum(axis=1)[country],
        "series_other_weeks": pair(series_weeks - memory.total),
        "series_other_points": pair(by_series(points[0]) - points[0]),
        "series_near_weeks": pair(weight @ np.minimum(series_weeks, 8)),
        "series_most_countries": largest_series[title],
        "series_countries": (series_weeks > 0).sum(axis=0)[title],
        "series_debut": pair(series_debut),
        "number": universe.number[title],
        "category": np.full(len(title), universe.category),
    }
    if universe.dated:
        values |= {
            "age": np.minimum(age, 400)[title],
            "released_next": fresh_release[title],
            "weekday": np.where(memory.released > NEVER, (memory.released + 3) % WEEK_DAYS, -1)[title],
            "script": script[title],
            "launch_rate": launch_rate[country],
            "script_rate": script_rate[country, np.maximum(script, 0)[title]],
            "rivals": np.full(len(title), (planned & fresh_release).sum()),
            "series_release": series_release[title],
            "letters": universe.wording[title, 0],
            "words": universe.wording[title, 1],
            "colon": universe.wording[title, 2],
            "limited": universe.wording[title, 3],
            "seasons_released": universe.seasons_released(end + WEEK_DAYS)[title],
            "runtime": universe.runtimes(end + WEEK_DAYS)[title],
            "season_gap": universe.days_since_last_season(end + WEEK_DAYS)[title],
        }
    next_rank = next_size = None
    if follows:
        next_rank, next_size = _outcome(memory, country, title)
    return Candidates(
        week=memory.week,
        end=end,
        universe=universe,
        country=country,
        title=title,
        names=tuple(values),
        features=np.column_stack([np.asarray(column, np.float32) for column in values.values()]),
        next_rank=next_rank,
        next_size=next_size,
    )


def _unlisted_releases(memory: Memory) -> np.ndarray:
    """(U,) bool: titles of the calendar released this week or the next that no list has shown under any name."""
    universe = memory.universe
    planned = np.zeros(universe.titles, bool)
    planned[universe.listed :] = memory.released[universe.listed :] > memory.end - WEEK_DAYS
    shown = (universe.twin >= 0) & (memory.first_anywhere[: universe.listed] >= 0)
    planned[universe.twin[shown]] = False
    return planned


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """(C, U) bool: the ``count`` largest of each row's values (>= 0), if above 0; ties at the edge are all in."""
    largest = values > 0
    some = values[:, largest.any(axis=0)]
    if some.shape[1] > count:
        edge = np.partition(some, -count, axis=1)[:, -count]
        largest &= values >= edge[:, None]
    return np.asarray(largest)


def _script(universe: Universe) -> np.ndarray:
    script = universe.script.copy()
    paired = universe.twin >= 0
    script[: universe.listed][paired] = script[universe.twin[paired]]
    return script


def _series_max(values: np.ndarray, series: np.ndarray) -> np.ndarray:
    most = np.zeros(int(series.max(initial=0)) + 1, np.int64)
    np.maximum.at(most, series, values)
    return np.asarray(most[series])


def _launch_rates(memory: Memory) -> tuple[np.ndarray, np.ndarray]:
    """(C,) and (C, scripts): share of the releases, and of those of a script, that the country listed at once.

    Both are shrunk with the weight of four releases: the country's rate towards a quarter, the script's towards the product of the country's
    rate and what the script does elsewhere over all releases.
    """
    launches = memory.launches.sum(axis=1)
    own = (memory.launched_in.sum(axis=1) + 1.0) / (launches + 4.0)
    anywhere = (memory.launched_in.mean(axis=0) + 0.25) / (memory.launches.mean(axis=0) + 1.0)
    overall = max(float(memory.launched_in.sum()) / max(float(launches.sum()), 1.0), 0.05)
    expected = own[:, None] * anywhere[None, :] / overall
    return own, (memory.launched_in + 4.0 * expected) / (memory.launches + 4.0)


def _outcome(memory: Memory, country: np.ndarray, title: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank of each pair in the week after, and the lengths of its lists; a calendar title has the rank of a listed one of its key."""
    universe = memory.universe
    after = universe.grid(universe.rank, memory.week + 1, memory.countries)
    paired = np.flatnonzero(universe.twin >= 0)
    listed_at, title_at = np.nonzero(after[:, paired])
    after[listed_at, universe.twin[paired[title_at]]] = after[listed_at, paired[title_at]]
    size = np.where((memory.ranks[0] > 0).any(axis=1), (after[:, : universe.listed] > 0).sum(axis=1), 0)
    return after[country, title], size
