"""How the world's attention moves over the titles: the part of a forecast that all regions share.

A title's share of all bytes on a day is its level times an age curve. The curve, common to all titles that were launched, says how attention
fades with the days since launch; the level is smoothed twice, over few days and over many, and the two are mixed by what would have been best
on the last days, class by class of volume. A title that has no day yet takes the level of the launches before it. Where the log saw few launches, the laws fitted
to published figures (:mod:`demand.laws`) stand in: how attention fades, and how much of it a launch draws.
"""

import datetime as dt
from dataclasses import dataclass

import numpy as np

from demand.forecast.base import launch_odds
from demand.forecast.known import Known, titles_of
from demand.laws import HALF_YEAR, load_laws
from demand.playback import History

AGES = 57
"""Days since launch that the age curve tells apart; later ones are all alike."""
SHORT_HALF_LIFE, LONG_HALF_LIFE = 2.0, 21.0
"""Ages at which a day counts half in the two levels that are mixed."""
MIX_ORIGINS = 14
"""Latest days on which the mix of the two levels is learned."""
MIX_CLASSES = 6
"""Classes of equally many titles, by level, that have a mix of their own."""
MIX_PRIOR = 0.7
"""Weight of the short level where no day tells."""
NO_LAUNCH = -(10**6)
"""Stands for a launch long before the log."""
_EPOCH = dt.date(1970, 1, 1).toordinal()
LAW_LAUNCHES = 1.0
"""Launches of the log that count as much as the fitted law, which foresees none larger than the most watched title."""
LAW_DAYS = 7
"""Latest days over which that title is the most watched."""
KIND_PRIOR_LAUNCHES = 3.0
"""Launches of all kinds that count as much, for a kind of title, as its own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """Demand by group of titles and day, all regions together; "title" below is such a group (``Known.group_of``), mostly of one.

    Parameters
    ----------
    dates
        D days.
    gb
        (T, D) float.
    entries
        (T, D) int64: regions and files that asked for the title.
    announced
        (T,) int64, the ordinal day of the launch that was announced, :data:`NO_LAUNCH` where none was.
    kind
        (T,) int32, the kind of a title, -1 where unknown.
    """

    dates: tuple[dt.date, ...]
    gb: np.ndarray
    entries: np.ndarray
    announced: np.ndarray
    kind: np.ndarray

    @property
    def days(self) -> np.ndarray:
        """(D,) int64 ordinals of the dates."""
        return np.array([day.toordinal() for day in self.dates], np.int64)

    def until(self, days: int) -> "World":
        """The first days alone."""
        return World(
            dates=self.dates[:days],
            gb=self.gb[:, :days],
            entries=self.entries[:, :days],
            announced=self.announced,
            kind=self.kind,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attention:
    """The level of every title at the end of a log, and how it goes on.

    Parameters
    ----------
    level
        (T,) float, share of all bytes at the age where the curve is 1.
    launch
        (T,) int64 ordinal day.
    curve
        (AGES,) float > 0.
    """

    level: np.ndarray
    launch: np.ndarray
    curve: np.ndarray

    def on(self, day: int) -> np.ndarray:
        """(T,) float: the share of each title on an ordinal day, 0 before its launch."""
        age = day - self.launch
        return np.asarray(np.where(age >= 0, self.level * self.curve[np.clip(age, 0, AGES - 1)], 0.0))


def world_of(history: History, known: Known) -> World:
    """A history summed over the regions and the files of a group of titles."""
    titles, days = int(known.group_of.max(initial=-1)) + 1, len(history.dates)
    key = (known.group_of.astype(np.int64) * days)[titles_of(history)][history.file] + history.day
    _, first = np.unique(known.group_of, return_index=True)
    launch = known.launch[first].astype("datetime64[D]")
    return World(
        dates=history.dates,
        gb=np.bincount(key, history.gb, titles * days).reshape(titles, days),
        entries=np.bincount(key, minlength=titles * days).reshape(titles, days),
        announced=np.where(np.isnat(launch), NO_LAUNCH, launch.astype(np.int64) + _EPOCH),
        kind=known.features[first, 0],
    )


def launches(world: World) -> np.ndarray:
    """(T,) int64: ordinal launch day of each title, :data:`NO_LAUNCH` where it was long before the log or nobody knows.

    The day announced; where none was, or the title came later, the first day it is seen on, if that is likelier its launch than chance
    (:func:`~demand.forecast.base.launch_odds`). A title that is seen earlier than announced was launched then.
    """
    days = world.days
    seen = world.entries > 0
    first = np.where(seen.any(axis=1), seen.argmax(axis=1), len(days))
    odds = launch_odds(first, world.entries.sum(axis=1), len(days))
    first_day = np.append(days, NO_LAUNCH)[first]
    launch = np.maximum(world.announced, np.where(odds > 0.5, first_day, NO_LAUNCH))
    launch = np.where(first < len(days), np.minimum(launch, first_day), launch)
    return np.asarray(np.where(launch < days[0] - AGES, NO_LAUNCH, launch))


def attention(world: World) -> Attention:
    """Smooth the shares of a world."""
    days, launch = world.days, launches(world)
    share = world.gb / np.maximum(world.gb.sum(axis=0), np.finfo(float).tiny)
    age = days - launch[:, None]
    curve = age_curve(share, age, days)
    live = age >= 0
    steady = np.where(live, share / curve[np.clip(age, 0, AGES - 1)], 0.0)
    level = _mixed_level(steady, live, days)
    new = (launch > NO_LAUNCH) & ~(world.entries > 0).any(axis=1)
    if new.any():
        level = np.where(new, _launch_level(world, launch, steady, new, curve), level)
    return Attention(level=level, launch=np.where(new, np.maximum(launch, days[-1] + 1), launch), curve=curve)


def age_curve(share: np.ndarray, age: np.ndarray, days: np.ndarray) -> np.ndarray:
    """(AGES,) float > 0, 1 at the end: attention by days since launch.

    Chained from day to day: the sum of the shares at age k + 1 over that of the same titles at age k. A small constant in both sums keeps
    the chain to the fitted law of ageing where few titles tell.

    Parameters
    ----------
    share, age
        (T, D).
    days
        (D,) ordinals; pairs of days with a gap between them are left out.
    """
    next_day = np.diff(days) == 1
    now, after, young = share[:, :-1], share[:, 1:], (age[:, :-1] >= 0) & (age[:, :-1] < AGES - 1) & next_day
    k = age[:, :-1][young]
    sums, following = (np.bincount(k, part[young], AGES - 1) for part in (now, after))
    rest = 0.02 * sums.max(initial=0.0) + np.finfo(float).tiny
    law = load_laws().ageing.rate(np.arange(AGES))
    chain = np.concatenate([[1.0], np.cumprod((following + rest * law[1:] / law[:-1]) / (sums + rest))])
    return np.asarray(chain / chain[-1])


def _mixed_level(steady: np.ndarray, live: np.ndarray, days: np.ndarray) -> np.ndarray:
    """(T,) level of each title, 0 where no day tells.

    On each of the last days, the level before it is ``long + a * (short - long)``; ``a`` is the least-squares answer of a class of titles, with
    the weights ``1 / long`` that the variance of counts asks for.
    """
    titles, n = steady.shape
    sums, weights = np.zeros((2, titles)), np.zeros((2, titles))
    half = np.array([SHORT_HALF_LIFE, LONG_HALF_LIFE])[:, None]
    gain, size = np.zeros(MIX_CLASSES), np.zeros(MIX_CLASSES)
    edges = np.zeros(MIX_CLASSES - 1)
    for d in range(n):
        short, long = np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)
        if d >= max(3, n - MIX_ORIGINS):
            edges = _class_edges(long)
            at = live[:, d] & (weights[0] > 0) & (long > 0)
            group = np.searchsorted(edges, long[at], side="right")
            off = short[at] - long[at]
            gain += np.bincount(group, (steady[at, d] - long[at]) * off / long[at], MIX_CLASSES)
            size += np.bincount(group, off**2 / long[at], MIX_CLASSES)
        fade = 0.5 ** ((days[min(d + 1, n - 1)] - days[d]) / half) if d + 1 < n else np.ones((2, 1))
        sums = (sums + steady[:, d] * live[:, d]) * fade
        weights = (weights + live[:, d]) * fade
    short, long = np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)
    mix = np.clip(np.divide(gain, size, out=np.full(MIX_CLASSES, MIX_PRIOR), where=size > 0), 0.0, 1.5)
    group = np.searchsorted(_class_edges(long), long, side="right")
    return np.asarray(np.maximum(long + mix[group] * (short - long), 0.0))


def _class_edges(level: np.ndarray) -> np.ndarray:
    some = level[level > 0]
    if not len(some):
        return np.zeros(MIX_CLASSES - 1)
    return np.asarray(np.quantile(some, np.arange(1, MIX_CLASSES) / MIX_CLASSES))


def _launch_level(
    world: World, launch: np.ndarray, steady: np.ndarray, new: np.ndarray, curve: np.ndarray
) -> np.ndarray:
    """(T,) level to expect of a title that nobody has watched yet: the mean of past launches and the law, nearer to those of its own kind.

    The mean is over all launches that were announced, also those that did not come: a date that slips costs the forecast its part. Of a
    title that is ``k`` days late, only the past ones that were as late tell, and one more that came then with the chance ``0.5 ** k``.
    """
    days = world.days
    start = world.announced if ((world.announced >= days[0]) & (world.announced <= days[-1])).any() else launch
    past = (start >= days[0]) & (start <= days[-1])
    place = np.minimum(np.searchsorted(days, np.clip(start, days[0], days[-1])), len(days) - 1)
    own = steady[np.arange(len(place)), place]
    asked = world.gb[:, -LAW_DAYS:].sum(axis=1)
    law = min(_law_share(len(own)), float(asked.max() / max(asked.sum(), np.finfo(float).tiny))) / curve[0]
    usual = (float(own[past].sum()) + LAW_LAUNCHES * law) / (past.sum() + LAW_LAUNCHES)
    kind = world.kind + 1
    count, total = np.bincount(kind[past], minlength=kind.max() + 1), np.bincount(kind[past], own[past], kind.max() + 1)
    level = np.asarray((total + KIND_PRIOR_LAUNCHES * usual) / (count + KIND_PRIOR_LAUNCHES))[kind]
    came = np.cumsum(world.entries, axis=1) > 0
    late = np.where(new & (launch <= days[-1]), days[-1] - launch + 1, 0)
    for k in np.unique(late[late > 0]).tolist():
        at = np.minimum(place + k, len(days) - 1)
        as_late = past & (place + k < len(days)) & ~came[np.arange(len(at)), at - 1]
        came_then = float(steady[as_late, at[as_late]].sum()) / max(usual, np.finfo(float).tiny)
        level[late == k] *= (came_then + 0.5**k) / (as_late.sum() + 1)
    return np.asarray(level)


def _law_share(works: int) -> float:
    """Share of a work on the day of its launch, among so many works, by the fitted laws of popularity, launches and ageing."""
    laws = load_laws()
    rank = (np.arange(works) + 0.5) / works
    weight, chance = laws.popularity.weight(rank), laws.launches.chance(rank)
    burst = float(laws.ageing.rate(np.zeros(1))[0]) * HALF_YEAR / float(laws.ageing.cumulated(HALF_YEAR)[1:].mean())
    drawn = burst * float(weight @ chance / chance.sum() / weight.sum())
    return drawn / (1 + drawn)
