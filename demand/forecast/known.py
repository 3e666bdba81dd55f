"""What a forecaster may know of days to come: launch dates, the encode ladder, title facts, countries, announced events."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from demand.catalogue import Catalogue
from demand.events import Events
from demand.playback import History
from topology.tables import index_of

FEATURES = ("kind", "genre", "language", "series")
"""Text columns of ``titles`` that forecasters may use, as codes."""


_CELLS = 4_000_000
"""Pairs x days that are looked at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """Facts that do not come from the log, so that a forecast of a day may use them although the day lies ahead.

    Parameters
    ----------
    launch
        (T,) datetime64[D]: first day of a title; NaT where nobody says.
    profile_of
        (F,) int32: the encode profile of a file; files of one profile are split alike within a region.
    features
        (T, len(FEATURES)) int32: codes of the title's facts, -1 where the table says nothing.
    group_of
        (T,) int32: titles of one series with one launch day are a group, which is watched as a whole; any other title is one of its own.
    runtime_minutes
        (T,) float, NaN where unknown.
    country_of
        (R,) int32: the country of a region; all 0 where the regions table has no column ``country``.
    closed
        Regions, titles, first and last day (datetime64[D]) of each row of ``availability``: outside of them a listed pair is not offered.
    events
        What is announced for single days, or None.
    """

    launch: np.ndarray
    profile_of: np.ndarray
    features: np.ndarray
    group_of: np.ndarray
    runtime_minutes: np.ndarray
    country_of: np.ndarray
    closed: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None = None
    events: Events | None = None

    @property
    def titles(self) -> int:
        """T."""
        return len(self.launch)


def build_known(catalogue: Catalogue, regions: pd.DataFrame, events: Events | None = None) -> Known:
    """What the catalogue, the regions table and the events tell.

    Parameters
    ----------
    regions
        The network's table; an optional column ``country`` groups them.
    """
    titles = catalogue.titles
    count = len(titles)

    def codes(name: str) -> np.ndarray:
        if name not in titles:
            return np.full(count, -1, np.int32)
        return np.asarray(pd.factorize(titles[name].replace("", np.nan))[0], np.int32)

    launch = (
        pd.to_datetime(titles["release_date"]).to_numpy("datetime64[D]")
        if "release_date" in titles
        else np.full(count, np.datetime64("NaT"), "datetime64[D]")
    )
    runtime = titles["runtime_minutes"].to_numpy(float) if "runtime_minutes" in titles else np.full(count, np.nan)
    features = np.column_stack([codes(name) for name in FEATURES])
    country = regions["country"] if "country" in regions else pd.Series([""] * len(regions))
    return Known(
        launch=launch,
        profile_of=np.asarray(pd.factorize(catalogue.files["profile"])[0], np.int32),
        features=features,
        group_of=_groups(features[:, FEATURES.index("series")], launch),
        runtime_minutes=runtime,
        country_of=np.asarray(pd.factorize(country)[0], np.int32),
        closed=_windows(catalogue, pd.Index(regions["region"])),
        events=events,
    )


def known_from(history: History) -> Known:
    """What a history alone tells: nothing of the days to come; the n-th file of every title has one profile."""
    title = titles_of(history)
    order = np.argsort(title, kind="stable")
    place = np.empty(len(title), np.int64)
    starts = np.searchsorted(title[order], title[order])
    place[order] = np.arange(len(title)) - starts
    titles = int(title.max(initial=-1)) + 1
    return Known(
        launch=np.full(titles, np.datetime64("NaT"), "datetime64[D]"),
        profile_of=place.astype(np.int32),
        features=np.full((titles, len(FEATURES)), -1, np.int32),
        group_of=np.arange(titles, dtype=np.int32),
        runtime_minutes=np.full(titles, np.nan),
        country_of=np.zeros(history.regions, np.int32),
    )


def known_or_told(known: Known | None, history: History) -> Known:
    """What a forecaster was given, or else what the history alone tells."""
    return known_from(history) if known is None else known


def _groups(series: np.ndarray, launch: np.ndarray) -> np.ndarray:
    own = np.where(series < 0, -1 - np.arange(len(series)), series)
    keys = pd.MultiIndex.from_arrays([own, launch.astype("datetime64[D]").astype(np.int64)])
    return np.asarray(pd.factorize(keys)[0], np.int32)


def launch_facts(known: Known) -> pd.DataFrame:
    """(T) rows of what may say something of a title's launch, as :func:`~demand.forecast.launch.fit_launch_prior` takes it.

    ``number`` is the place of the title's launch among the launch days of its series; ``launch_minutes`` the runtime of all that is launched with it, a whole
    season as a rule.
    """
    facts = pd.DataFrame(known.features, columns=list(FEATURES)).astype(str).replace("-1", "")
    facts["release_date"] = known.launch
    facts["runtime_minutes"] = known.runtime_minutes
    together = np.bincount(known.group_of, np.nan_to_num(known.runtime_minutes))[known.group_of]
    facts["launch_minutes"] = np.where(together > 0, together, np.nan)
    facts["number"] = facts.groupby("series")["release_date"].rank(method="dense").where(facts["series"] != "")
    return facts


def titles_of(history: History) -> np.ndarray:
    """(F,) int: the title of each file; a file is its own where the history knows no titles."""
    return np.arange(history.files) if history.title_of is None else history.title_of


def offered(known: Known, regions: int, date: np.datetime64, rows: slice = slice(None)) -> np.ndarray | None:
    """(rows, T) bool: whether a title may be watched in a region on a day; None where no rights are on record."""
    if known.closed is None:
        return None
    region, title, first, last = known.closed
    start, stop, _ = rows.indices(regions)
    here = (region >= start) & (region < stop)
    open_ = np.ones((stop - start, known.titles), bool)
    open_[region[here] - start, title[here]] = False
    here &= (np.isnat(first) | (first <= date)) & (np.isnat(last) | (date <= last))
    open_[region[here] - start, title[here]] = True
    return open_


def closed_days(known: Known, dates: Sequence[dt.date]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs with rights on record and the days on which they were not offered: (N,) regions, (N,) titles and (N, D) bool, some at a time."""
    if known.closed is None or not len(dates):
        return
    region, title, first, last = known.closed
    pairs, of = np.unique(region.astype(np.int64) * known.titles + title, return_inverse=True)
    days = np.array(dates, "datetime64[D]")
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(len(pairs) + 1))
    step = max(1, _CELLS // len(days))
    for begin in range(0, len(pairs), step):
        end = min(begin + step, len(pairs))
        rows = order[starts[begin] : starts[end]]
        within = (np.isnat(first[rows, None]) | (first[rows, None] <= days)) & (
            np.isnat(last[rows, None]) | (days <= last[rows, None])
        )
        shut = ~np.logical_or.reduceat(within, starts[begin:end] - starts[begin], axis=0)
        some = shut.any(axis=1)
        own_region, own_title = np.divmod(pairs[begin:end][some], known.titles)
        yield own_region, own_title, shut[some]


def _windows(catalogue: Catalogue, regions: pd.Index) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    table = catalogue.availability
    if table is None or table.empty:
        return None
    region, title = index_of(regions, table["region"]), index_of(catalogue.title_ids, table["title"])
    there = (region >= 0) & (title >= 0)
    first, last = (pd.to_datetime(table[name]).to_numpy("datetime64[D]") for name in ("from", "to"))
    return region[there], title[there], first[there], last[there]
