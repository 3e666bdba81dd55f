"""Generated catalogues and playback logs that follow the fitted laws (:mod:`demand.laws`; docs/workload.md has the formulas).

Everything follows from the generator alone: the same seed gives the same sessions, and a day's do not depend on how many days come after it.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from demand.bitrate import BITS_PER_GB, Ladder, build_choice
from demand.catalogue import Catalogue
from demand.diurnal import QUARTERS, local_quarters
from demand.laws import HALF_YEAR, Laws
from topology.errors import InputError, Problem

EPISODE_MINUTES = 45.0
"""Seasons are cut into episodes of about this length: reports give the runtime of whole seasons only. A convention, not fitted."""
ACCESS_CONCENTRATION = 2.0
"""Each region mixes the kinds of access by a symmetric Dirichlet distribution with this parameter. A convention, not fitted."""
QUARTER_MS = 900_000


def sample_catalogue(
    rng: np.random.Generator, titles: int, laws: Laws, ladder: Ladder, *, first_day: dt.date, days: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw a catalogue: films, and seasons of series as one title an episode.

    Parameters
    ----------
    titles
        Number of titles, >= 1. The last season is cut short to come out at it.
    ladder
        The encodes of every title.
    first_day, days
        When the log begins and how long it is, >= 1. Works are launched before and during it, at the
        fitted rate: about one launch in two weeks of log for 500 works.

    Returns
    -------
    The tables ``titles`` and ``files`` of the contract.

    Raises
    ------
    InputError
        A number is below 1.
    """
    for name, count in (("titles", titles), ("days", days)):
        if count < 1:
            _refuse(name, count, "not a count of 1 or more", "ask for one or more")
    runtimes = laws.runtimes
    season = rng.random(titles) < runtimes.season_share
    mean = np.where(season, runtimes.season_log_mean, runtimes.film_log_mean)
    sd = np.where(season, runtimes.season_log_sd, runtimes.film_log_sd)
    minutes = np.exp(mean + sd * rng.standard_normal(titles))
    episodes = np.where(season, np.maximum(np.rint(minutes / EPISODE_MINUTES), 1), 1).astype(int)
    works = int(np.searchsorted(np.cumsum(episodes), titles)) + 1
    season, minutes, episodes = season[:works], minutes[:works] / episodes[:works], episodes[:works]
    released = _release_dates(rng, works, laws, first_day, days)

    work = np.repeat(np.arange(works), episodes)[:titles]
    episode = np.arange(titles) - np.searchsorted(work, work) + 1
    digits = len(str(works))
    names = [f"{'series' if s else 'film'}-{w + 1:0{digits}d}" for w, s in enumerate(season.tolist())]
    of_series = season[work]
    title = [f"{names[w]}-e{e:02d}" if s else names[w] for w, e, s in zip(work, episode, of_series, strict=True)]
    runtime = np.maximum(np.round(minutes[work], 2), 1.0)
    frame = pd.DataFrame(
        {
            "title": title,
            "kind": np.where(of_series, "series", "film"),
            "release_date": released[work],
            "runtime_minutes": runtime,
            "series": [names[w] if s else "" for w, s in zip(work, of_series, strict=True)],
        }
    )
    files = pd.DataFrame(
        {
            "file": [f"{t}.{profile}" for t in title for profile in ladder.profiles],
            "title": np.repeat(title, len(ladder)),
            "profile": np.tile(ladder.profiles, titles),
            "bitrate_kbps": np.tile(ladder.bitrate_kbps, titles),
            "size_gb": ladder.sizes_gb(runtime).ravel(),
        }
    )
    return frame, files


def generate_playback(
    rng: np.random.Generator,
    catalogue: Catalogue,
    regions: pd.DataFrame,
    days: Sequence[dt.date],
    laws: Laws,
    *,
    sessions_per_day: float,
) -> Iterator[tuple[dt.date, pd.DataFrame]]:
    """Draw the sessions of one day after the other.

    Titles of one ``series`` share their work's popularity; a work with a ``release_date`` less than half a year before the first day, or later, ages by
    the law of launches and is not watched before its date; all others hold their level.

    Parameters
    ----------
    catalogue
        Any catalogue in which every title has a file; of the optional columns of titles, ``series`` and ``release_date`` count.
    regions
        The contract's table: region, timezone, subscribers.
    days
        UTC dates, ascending.
    sessions_per_day
        Mean number of sessions, all regions together, > 0; each region's share is that of its subscribers.

    Yields
    ------
    The date and its log in the contract's columns, sorted by start (datetime64[ms], UTC); region, title and profile are categorical.

    Raises
    ------
    InputError
        Before the first day: no days or days out of order, no regions or subscribers, a title without a file, a number that is not above 0.
    """
    _check(catalogue, regions, days, sessions_per_day)
    drawn, popularity = rng.spawn(2)
    wanted = wanted_by_day(popularity, catalogue, len(regions), list(days), laws)
    return draw_playback(drawn, catalogue, regions, days, laws, wanted, sessions_per_day=sessions_per_day)


def draw_playback(
    rng: np.random.Generator,
    catalogue: Catalogue,
    regions: pd.DataFrame,
    days: Sequence[dt.date],
    laws: Laws,
    wanted: Iterable[np.ndarray],
    *,
    sessions_per_day: float,
) -> Iterator[tuple[dt.date, pd.DataFrame]]:
    """Draw the sessions of one day after the other, given what is wanted on each; the rest is as in :func:`generate_playback`.

    Parameters
    ----------
    wanted
        For each day (R, T) float, >= 0: relative number of sessions of each title within a region.
    """
    _check(catalogue, regions, days, sessions_per_day)
    return _days(rng, catalogue, regions, list(days), laws, wanted, sessions_per_day)


def _days(
    rng: np.random.Generator,
    catalogue: Catalogue,
    regions: pd.DataFrame,
    days: list[dt.date],
    laws: Laws,
    wanted: Iterable[np.ndarray],
    volume: float,
) -> Iterator[tuple[dt.date, pd.DataFrame]]:
    # streams of their own: what is drawn for one day changes nothing on another
    access, *own = rng.spawn(1 + len(days))
    kinds = access.dirichlet(np.full(len(laws.throughput.kinds), ACCESS_CONCENTRATION), len(regions))
    share = regions["subscribers"].to_numpy(float) / regions["subscribers"].sum()
    zones = regions["timezone"].to_numpy()
    drawer = _Drawer(catalogue, regions, laws, kinds)
    for date, stream, weight in zip(days, own, wanted, strict=True):
        hours, weekdays = local_quarters(zones, date)
        curve = laws.hourly_profile[hours] * laws.weekday[weekdays] / QUARTERS
        total = weight.sum(axis=1, keepdims=True)
        mean = weight * np.divide(
            (volume * share * curve.sum(axis=1))[:, None], total, where=total > 0, out=np.zeros_like(total)
        )
        yield date, drawer.draw(stream, date, mean, curve)


def wanted_by_day(
    rng: np.random.Generator, catalogue: Catalogue, regions: int, days: list[dt.date], laws: Laws
) -> Iterator[np.ndarray]:
    """(R, T) for each day: levels of works by rank, turned by regional taste, aged since their launch, drifting from day to day."""
    base, tastes, drifts = rng.spawn(3)
    work_of, launched = works_of(catalogue, days[0])
    works = len(launched)
    level = work_levels(base, launched, laws)
    taste = np.exp(laws.taste_sd * tastes.standard_normal((regions, works)))
    drift = np.zeros(works)
    for i, date in enumerate(days):
        gap = (date - days[i - 1]).days if i else 0
        drift += laws.drift_sd * np.sqrt(gap) * drifts.standard_normal(works)
        age = (np.datetime64(date, "D") - launched).astype(float)  # NaT becomes NaN: no launch to age from
        aged = np.where(np.isnat(launched), 1.0, launch_rates(age, laws))
        yield (taste * (level * aged * np.exp(drift)))[:, work_of]


def works_of(catalogue: Catalogue, first_day: dt.date) -> tuple[np.ndarray, np.ndarray]:
    """Titles of one series are one work, every other title is one of its own.

    Returns
    -------
    (T,) int: the work of each title; (W,) datetime64[D]: its launch, NaT where it was :data:`HALF_YEAR` days before the first day, earlier or is
    not known.
    """
    titles = catalogue.titles
    name = "title:" + titles["title"].astype(str)
    if "series" in titles:
        series = titles["series"].fillna("").astype(str)
        name = name.where(series == "", "series:" + series)
    work_of, _ = pd.factorize(name)
    launched = np.full(work_of.max() + 1, np.datetime64("NaT", "D"))
    if "release_date" in titles:
        released = pd.to_datetime(titles["release_date"]).to_numpy("datetime64[D]")
        earliest = pd.Series(released).groupby(work_of).min().to_numpy("datetime64[D]")
        recent = earliest > np.datetime64(first_day, "D") - HALF_YEAR
        launched[recent] = earliest[recent]
    return work_of, launched


def work_levels(rng: np.random.Generator, launched: np.ndarray, laws: Laws) -> np.ndarray:
    """Popularity of each work (W,), views of a half-year: the law's ranks, of which launched works (a date, not NaT) take those such works have."""
    works = len(launched)
    ranks = (np.arange(works) + 0.5) / works
    chance = laws.launches.chance(ranks)
    new = np.flatnonzero(~np.isnat(launched))
    theirs = rng.choice(works, len(new), replace=False, p=chance / chance.sum())
    level = np.empty(works)
    level[new] = laws.popularity.weight(ranks[theirs])
    level[np.isnat(launched)] = rng.permutation(laws.popularity.weight(np.delete(ranks, theirs)))
    return level


def launch_rates(age_days: np.ndarray, laws: Laws) -> np.ndarray:
    """Views on the day of each age over those of a mean day of the half-year; 0 before the launch.

    Works launched on a random day of a half-year then have, on average, the views in it that the law of popularity gives them.
    """
    to_date = laws.ageing.cumulated(HALF_YEAR)[1:]
    return laws.ageing.rate(age_days) * HALF_YEAR / float(to_date.mean())


class _Drawer:
    """Draws the sessions of a day from their expected numbers; holds what is the same on every day."""

    def __init__(self, catalogue: Catalogue, regions: pd.DataFrame, laws: Laws, kinds: np.ndarray) -> None:
        self.laws = laws
        self.kinds = np.cumsum(kinds, axis=1)
        self.kinds[:, -1] = 1.0
        self.choice = build_choice(catalogue.title_of, catalogue.bitrate_kbps, len(catalogue.title_ids))
        self.size_gb, self.kbps = catalogue.size_gb, catalogue.bitrate_kbps
        self.regions = pd.Index(regions["region"])
        self.titles = catalogue.title_ids
        self.profile_of, profiles = pd.factorize(catalogue.files["profile"])
        self.profiles = pd.Index(profiles)

    def draw(self, rng: np.random.Generator, date: dt.date, mean: np.ndarray, curve: np.ndarray) -> pd.DataFrame:
        """The log of a day.

        Parameters
        ----------
        mean
            (R, T) expected sessions.
        curve
            (R, 96) relative rate of arrivals in each UTC quarter of an hour.
        """
        cell = np.repeat(np.arange(mean.size), rng.poisson(mean).ravel())
        region, title = np.divmod(cell, mean.shape[1])
        start = _starts(rng, region, curve)
        order = np.argsort(start, kind="stable")
        start, region, title = start[order], region[order], title[order]
        file = self.choice.pick(title, self._throughput(rng, region))
        kbps = self.kbps[file]
        watching = self.laws.watching
        minutes = watching.scale_minutes * rng.weibull(watching.shape, len(file))
        whole = self.size_gb[file] * BITS_PER_GB / 1000 / kbps
        seconds = np.minimum(np.maximum(np.round(minutes * 60, 3), 1.0), whole)
        gb = np.minimum(seconds * kbps * 1000 / BITS_PER_GB, self.size_gb[file])
        return pd.DataFrame(
            {
                "start": np.datetime64(date, "ms") + start.astype("timedelta64[ms]"),
                "region": pd.Categorical.from_codes(region, categories=self.regions),
                "title": pd.Categorical.from_codes(title, categories=self.titles),
                "profile": pd.Categorical.from_codes(self.profile_of[file], categories=self.profiles),
                "seconds": seconds,
                "gb": gb,
            }
        )

    def _throughput(self, rng: np.random.Generator, region: np.ndarray) -> np.ndarray:
        kinds = self.kinds.shape[1]
        spot = rng.random(len(region)) + region
        kind = (
            np.searchsorted((self.kinds + np.arange(len(self.kinds))[:, None]).ravel(), spot, side="right")
            - region * kinds
        )
        kind = np.minimum(kind, kinds - 1)
        access = self.laws.throughput
        return np.asarray(np.exp(access.log_mean[kind] + access.log_sd[kind] * rng.standard_normal(len(region))))


def _starts(rng: np.random.Generator, region: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """(N,) int64 milliseconds since midnight UTC, of sessions of ``region`` (N,), by the curve (R, 96)."""
    reached = np.cumsum(curve, axis=1) / curve.sum(axis=1, keepdims=True)
    reached[:, -1] = 1.0
    spot = rng.random(len(region)) + region
    quarter = (
        np.searchsorted((reached + np.arange(len(curve))[:, None]).ravel(), spot, side="right") - region * QUARTERS
    )
    within = np.minimum(quarter, QUARTERS - 1) * QUARTER_MS
    return np.asarray(within + rng.integers(0, QUARTER_MS, len(region)))


def _release_dates(rng: np.random.Generator, works: int, laws: Laws, first_day: dt.date, days: int) -> np.ndarray:
    """Launches (W,) datetime64[D].

    Those of the half-year before the log and of the log itself come at the fitted rate; all others are earlier, by the fitted distribution.
    """
    launches = laws.launches
    back = HALF_YEAR + 1 + np.floor(rng.gamma(launches.back_shape, launches.back_scale_days, works))
    recent = min(works, int(rng.poisson(launches.share * works * (HALF_YEAR + days) / HALF_YEAR)))
    who = rng.permutation(works)[:recent]
    back[who] = rng.integers(1 - days, HALF_YEAR + 1, recent)
    return np.datetime64(first_day, "D") - back.astype("timedelta64[D]")


def _check(catalogue: Catalogue, regions: pd.DataFrame, days: Sequence[dt.date], volume: float) -> None:
    if not days or any(b <= a for a, b in pairwise(days)):
        _refuse("days", f"{len(days)} days", "no days, or days out of order", "give one day or more, ascending")
    if not (np.isfinite(volume) and volume > 0):
        _refuse("sessions_per_day", volume, "not a number above 0", "ask for one session a day or more")
    subscribers = regions["subscribers"].to_numpy(float)
    if not len(regions) or not np.isfinite(subscribers).all() or (subscribers < 0).any() or subscribers.sum() <= 0:
        raise InputError(
            Problem(
                table="regions",
                column="subscribers",
                message="no subscribers to watch",
                mend="give numbers >= 0, one above 0",
            )
        )
    bare = np.bincount(catalogue.title_of, minlength=len(catalogue.title_ids)) == 0
    if bare.any():
        title = str(catalogue.title_ids[int(np.argmax(bare))])
        raise InputError(
            Problem(
                table="titles", column="title", value=title,
                message="the title has no file", mend="add a file of it to files, or remove it",
            )
        )  # fmt: skip


def _refuse(argument: str, value: object, message: str, mend: str) -> None:
    raise InputError(Problem(table="arguments", column=argument, value=str(value), message=message, mend=mend))
