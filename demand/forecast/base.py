"""What a forecaster is, and what all of them share: the calendar of a history, the busiest hour, the popularity of a file."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np

from demand.catalogue import Catalogue
from demand.demand import Demand, build_demand
from demand.forecast.bands import Bands
from demand.playback import HOURS, History
from topology.errors import InputError, Problem

PROFILE_HALF_LIFE_DAYS = 7.0
"""Age at which a day counts half in the hourly profile: the curve of a day changes slowly, so more days than one are worth having."""
LAUNCH_PRIOR = 0.05
"""Chance, before its log is looked at, that a title which appears during the log was launched then rather than merely not watched before."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learned:
    """What a fit found out, in plain parts that can be written to disk: no history, no objects.

    ``kind`` says what such models forecast: one of :data:`demand.forecast.saved.KINDS`.
    """

    kind: str = "demand"
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


class Forecaster(Protocol):
    """Learns from a history, then says what later days will ask for.

    One shape goes in and one comes out, whatever the method: a :class:`~demand.playback.History`, series keyed by region and file and by
    the files' titles, and for each day asked for a :class:`~demand.demand.Demand`, mean, 10 % and 90 % quantile of each entry.
    """

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def fit(self, history: History) -> Self:
        """Learn from a history, which is kept as it is; earlier fits are forgotten."""
        ...

    def refresh(self, history: History) -> Self:
        """Look at a later history without learning anew: what was learned stays, and the next prediction starts from here."""
        ...

    def predict(self, date: dt.date) -> Demand:
        """The expected demand of a day after the history."""
        ...

    def learned(self) -> Learned:
        """What to save of a fit."""
        ...

    def recall(self, learned: Learned) -> Self:
        """Take up what an earlier fit learned; :meth:`refresh` comes next."""
        ...


def day_ages(history: History, date: dt.date) -> np.ndarray:
    """(D,) int64: calendar days from each day of the history to ``date``, so that days missing from the log leave a gap.

    Raises
    ------
    InputError
        ``date`` is not after the whole history.
    """
    ages = np.array([(date - day).days for day in history.dates], np.int64)
    if not len(ages) or ages.min() < 1:
        message = "a forecast is of a day after the log it is made from"
        raise InputError(Problem(table="playback", value=str(date), message=message, mend="choose a later date"))
    return ages


def require_history(history: History | None) -> History:
    """The history of a fit.

    Raises
    ------
    InputError
        There was none, or it holds no day.
    """
    if history is None or not history.dates:
        raise InputError(
            Problem(table="playback", message="nothing to forecast from", mend="fit on a log of one day or more first")
        )
    return history


def weekdays(dates: Sequence[dt.date]) -> np.ndarray:
    """(D,) int64: day of the week of each date (UTC), Monday 0."""
    return np.array([day.weekday() for day in dates], np.int64)


def region_day_gb(history: History) -> np.ndarray:
    """(R, D) float: all GB of a region on a day."""
    days = len(history.dates)
    key = history.region.astype(np.int64) * days + history.day
    return np.bincount(key, history.gb, history.regions * days).reshape(history.regions, days)


def launch_odds(first: np.ndarray, entries: np.ndarray, days: int) -> np.ndarray:
    """(T,) float in [0, 1]: how likely the first day that titles are seen on was their launch.

    A title that was always there and has c entries in D days leaves the days before its first one blank with probability ``(n / D) ** c``, n
    being the days from then on; one that was launched then, with certainty. Bayes' rule with :data:`LAUNCH_PRIOR` weighs the two. Without it
    every rarely watched title whose one session came late in the log would be taken for a hit.

    Parameters
    ----------
    first
        (T,) int, day of the first entry; ``days`` where there is none.
    entries
        (T,) int, entries of the title.
    """
    blank = ((days - first) / days) ** entries
    return np.asarray(LAUNCH_PRIOR / (LAUNCH_PRIOR + (1 - LAUNCH_PRIOR) * blank))


def busiest_share(history: History, date: dt.date) -> np.ndarray:
    """(R,) float in [1/24, 1]: share of a region's day that its busiest hour is forecast to carry.

    Hours are averaged over the days with weights that halve every :data:`PROFILE_HALF_LIFE_DAYS`; a region without bytes takes the profile of
    all regions together.
    """
    weight = 0.5 ** (day_ages(history, date) / PROFILE_HALF_LIFE_DAYS)
    hourly = np.einsum("d,drh->rh", weight, history.hourly_gb)
    all_regions = hourly.sum(axis=0)
    if all_regions.sum() <= 0:
        return np.full(history.regions, 1 / HOURS)
    hourly = np.where(hourly.sum(axis=1, keepdims=True) > 0, hourly, all_regions)
    return np.asarray(hourly.max(axis=1) / hourly.sum(axis=1))


def forecast_demand(
    history: History,
    date: dt.date,
    region: np.ndarray,
    file: np.ndarray,
    gb: np.ndarray,
    gb_p10: np.ndarray | None = None,
    gb_p90: np.ndarray | None = None,
) -> Demand:
    """A demand whose peaks are ``gb * share of the busiest hour * 8 / 3600``; entries of no bytes at all are left out."""
    kept = (gb > 0) | (np.zeros(len(gb), bool) if gb_p90 is None else gb_p90 > 0)
    peak = gb * busiest_share(history, date)[region] * 8 / 3600

    def keep(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[kept]

    return build_demand(region[kept], file[kept], gb[kept], peak[kept], keep(gb_p10), keep(gb_p90))


def banded_demand(
    history: History, date: dt.date, region: np.ndarray, file: np.ndarray, gb: np.ndarray, young: np.ndarray, bands: Bands | None,
    seed: int, own: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> Demand:  # fmt: skip
    """A day's entries with their bands: the end of every forecaster's ``predict``.

    Parameters
    ----------
    region, file, gb, young
        (N,) each.
    bands
        None where the log was too short to learn any; the demand then has none.
    seed
        Of the draws in the bands of rarely watched series, which also differ by date.
    own
        Rows, lower and upper ends of entries that have bands of their own.

    Raises
    ------
    InputError
        ``date`` is not after the whole history.
    """
    lead = int(day_ages(history, date).min())
    if bands is None:
        return forecast_demand(history, date, region, file, gb)
    low, high = bands.around(gb, young, lead, np.random.default_rng([seed, date.toordinal()]))
    if own is not None:
        low[own[0]], high[own[0]] = own[1], own[2]
    return forecast_demand(history, date, region, file, gb, low, high)


def popularity(demand: Demand, catalogue: Catalogue) -> np.ndarray:
    """(N,) float: bytes asked for over the file's size, the measure by which a byte of storage earns most.

    Source: "Content Popularity for Open Connect", Netflix Technology Blog.
    """
    return np.asarray(demand.gb / catalogue.size_gb[demand.file])


def series_key(file: np.ndarray, region: np.ndarray, regions: int) -> np.ndarray:
    """(N,) int64: one number for each (file, region), in their order."""
    return np.asarray(file.astype(np.int64) * regions + region)


def take_series(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values of ascending, distinct keys where they are wanted, 0 where there is none."""
    if not len(keys):
        return np.zeros(len(wanted))
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0.0)
