"""How the world's attention moves over the titles: the part of a forecast that all regions share.

A title's share of all bytes on a day is its level times an age curve. The curve, common to all titles that were launched, says how attention
fades with the days since launch; the level is smoothed twice, over few days and over many, and the two are mixed by what would have been best
on the last days, class by class of volume. A title that has no day yet, or only a few, is the matter of :mod:`demand.forecast.premieres`. Where the log saw few
launches, the laws fitted to published figures (:mod:`demand.laws`) stand in: how attention fades, and how much of it a launch draws.
"""

import dataclasses
import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from demand.forecast.base import launch_odds, region_day_gb
from demand.forecast.known import Known, closed_days, launch_facts, titles_of
from demand.forecast.premieres import (
    TRACK_DAYS,
    Premieres,
    fit_track,
    launch_beliefs,
    law_belief,
    slip_hazards,
    track,
)
from demand.laws import load_laws
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
LAW_DAYS = 7
"""Latest days over which that title is the most watched."""
NEVER = 10**7
"""Stands for the first day of a title that the log does not show."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """Demand by group of titles and day, all regions together; "title" below is such a group (``Known.group_of``), mostly of one.

    Parameters
    ----------
    dates
        D days.
    gb
        (T, D) float.
    reach
        (T, D) float: GB of all titles in the regions where this one was offered.
    entries
        (T, D) int64: regions and files that asked for the title.
    announced
        (T,) int64, the ordinal day of the launch that was announced, :data:`NO_LAUNCH` where none was.
    facts
        (T) rows of what is known of the titles (:func:`~demand.forecast.known.launch_facts`).
    """

    dates: tuple[dt.date, ...]
    gb: np.ndarray
    reach: np.ndarray
    entries: np.ndarray
    announced: np.ndarray
    facts: pd.DataFrame

    @property
    def days(self) -> np.ndarray:
        """(D,) int64 ordinals of the dates."""
        return np.array([day.toordinal() for day in self.dates], np.int64)

    @property
    def share(self) -> np.ndarray:
        """(T, D) float: part of a title in what regions ask for that may watch it."""
        return np.asarray(self.gb / np.maximum(self.reach, np.finfo(float).tiny))

    def until(self, days: int) -> "World":
        """The first days alone."""
        return dataclasses.replace(
            self,
            dates=self.dates[:days],
            gb=self.gb[:, :days],
            reach=self.reach[:, :days],
            entries=self.entries[:, :days],
        )

    def __add__(self, other: "World") -> "World":
        """The world of two batches of regions."""
        return dataclasses.replace(
            self, gb=self.gb + other.gb, reach=self.reach + other.reach, entries=self.entries + other.entries
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attention:
    """The level of every title at the end of a log, and how it goes on.

    Parameters
    ----------
    level
        (T,) float, share of all bytes at the age where the curve is 1.
    launch
        (T,) int64 ordinal day; of titles that are still to come the first day they may.
    curve
        (AGES,) float > 0.
    premieres
        The titles that nobody has watched yet.
    """

    level: np.ndarray
    launch: np.ndarray
    curve: np.ndarray
    premieres: Premieres

    def on(self, day: int) -> np.ndarray:
        """(T,) float: the share of each title on an ordinal day, 0 before its launch."""
        age = day - self.launch
        share = np.where(age >= 0, self.level * self.curve[np.clip(age, 0, AGES - 1)], 0.0)
        share[self.premieres.title] = self.premieres.share(day, self.curve)
        return np.asarray(share)


def world_of(history: History, known: Known) -> World:
    """A history summed over the regions and the files of a group of titles."""
    titles, days = int(known.group_of.max(initial=-1)) + 1, len(history.dates)
    key = (known.group_of.astype(np.int64) * days)[titles_of(history)][history.file] + history.day
    _, first, size = np.unique(known.group_of, return_index=True, return_counts=True)
    launch = known.launch[first].astype("datetime64[D]")
    total = region_day_gb(history)
    reach = np.broadcast_to(total.sum(axis=0), (titles, days)).copy()
    for region, title, shut in closed_days(known, history.dates):
        np.subtract.at(reach, known.group_of[title], shut * total[region] / size[known.group_of[title], None])
    return World(
        dates=history.dates,
        gb=np.bincount(key, history.gb, titles * days).reshape(titles, days),
        reach=np.maximum(reach, 0.0),
        entries=np.bincount(key, minlength=titles * days).reshape(titles, days),
        announced=np.where(np.isnat(launch), NO_LAUNCH, launch.astype(np.int64) + _EPOCH),
        facts=launch_facts(known).iloc[first].reset_index(drop=True),
    )


def launches(world: World) -> np.ndarray:
    """(T,) int64: ordinal launch day of each title, :data:`NO_LAUNCH` where it was long before the log or nobody knows.

    The day announced; where none was, or the title came later, the first day it is seen on, if that is likelier its launch than chance
    (:func:`~demand.forecast.base.launch_odds`). A title that is seen earlier than announced was launched then.
    """
    days = world.days
    first = first_days(world)
    odds = launch_odds(first, world.entries.sum(axis=1), len(days))
    first_day = np.append(days, NO_LAUNCH)[first]
    launch = np.maximum(world.announced, np.where(odds > 0.5, first_day, NO_LAUNCH))
    launch = np.where(first < len(days), np.minimum(launch, first_day), launch)
    return np.asarray(np.where(launch < days[0] - AGES, NO_LAUNCH, launch))


def first_days(world: World) -> np.ndarray:
    """(T,) int: entry of the dates on which each title is first asked for, D where it never is."""
    seen = world.entries > 0
    return np.where(seen.any(axis=1), seen.argmax(axis=1), len(world.dates))


def attention(world: World) -> Attention:
    """Smooth the shares of a world; what nobody has watched yet, or only for days, by :mod:`demand.forecast.premieres`."""
    days, launch = world.days, launches(world)
    share = world.share
    age = days - launch[:, None]
    curve = age_curve(share, age, days)
    live = age >= 0
    steady = np.where(live, share / curve[np.clip(age, 0, AGES - 1)], 0.0)
    level = _mixed_level(steady, live, days)
    new = np.flatnonzero((launch > NO_LAUNCH) & ~(world.entries > 0).any(axis=1))
    came_on = first_steady(steady, launch, days, TRACK_DAYS + 1)
    past = np.flatnonzero(came_on[:, 0] > 0)
    past = past[np.argsort(launch[past], kind="stable")]
    young = np.flatnonzero((launch >= days[0]) & (days[-1] - launch < TRACK_DAYS) & (level > 0))
    asked = world.gb[:, -LAW_DAYS:].sum(axis=1)
    law = law_belief(len(level), float(curve[0]), float(asked.max() / max(asked.sum(), np.finfo(float).tiny)))
    belief = launch_beliefs(world.facts, came_on[:, 0], past, np.concatenate([new, young]), law)
    entries = world.entries.sum(axis=1)
    if len(young):
        off = fit_track(came_on[past], entries[past])
        own = belief.take(slice(len(new), None))
        level[young] = track(own, off, days[-1] - launch[young] + 1, level[young], entries[young])
    weight = np.where(level > 0, level / max(float(level[past].mean()), 1e-300) if len(past) else 1.0, 1.0)
    came = np.append(days, NEVER)[first_days(world)]
    premieres = Premieres(
        title=new, planned=world.announced[new], belief=belief.take(slice(len(new))), last=int(days[-1]),
        hazards=slip_hazards(world.announced, came, weight, int(days[0]), int(days[-1])),
    )  # fmt: skip
    launch = launch.copy()
    launch[new] = np.maximum(launch[new], days[-1] + 1)
    return Attention(level=level, launch=launch, curve=curve, premieres=premieres)


def first_steady(steady: np.ndarray, launch: np.ndarray, days: np.ndarray, width: int) -> np.ndarray:
    """(T, width) float: level of each title on its first days, 0 where the log did not see them.

    Parameters
    ----------
    steady
        (T, D) levels.
    launch, days
        (T,) and (D,) ordinals.
    """
    at = np.searchsorted(days, launch[:, None] + np.arange(width))
    there = np.minimum(at, len(days) - 1)
    held = (at < len(days)) & (days[there] == launch[:, None] + np.arange(width))
    return np.asarray(np.where(held, steady[np.arange(len(steady))[:, None], there], 0.0))


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
