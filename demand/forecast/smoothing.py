"""Several days smoothed predict the next: the method that Netflix describes for Open Connect.

Source: "Content Popularity for Open Connect", Netflix Technology Blog: popularity is bytes streamed over file size, and the ranking of several
days smoothed is both steadier and nearer to the next day's than that of the last day alone.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from demand.demand import Demand
from demand.forecast.bands import (
    YOUNG_DAYS,
    Bands,
    Errors,
    band_origins,
    bands_as_arrays,
    bands_from_arrays,
    learn_bands,
)
from demand.forecast.base import (
    Learned,
    banded_demand,
    launch_odds,
    region_day_gb,
    require_history,
    series_key,
    take_series,
    weekdays,
)
from demand.playback import History
from topology.errors import InputError, Problem

SEASON_WEEKS = 8
"""Weeks, back from the last day, that the weekday factors are estimated from."""
NEVER = -(10**6)
"""Stands for the launch day of a title that was there before the log."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Level:
    """Deseasonalised daily GB of each series (N,), its title's launch day if there was one, and the weekday factors (R, 7) of the regions."""

    region: np.ndarray
    file: np.ndarray
    gb: np.ndarray
    factor: np.ndarray
    launch: np.ndarray

    def on(self, date: dt.date) -> np.ndarray:
        return np.asarray(self.gb * self.factor[self.region, date.weekday()])

    def young(self, date: dt.date) -> np.ndarray:
        return np.asarray(date.toordinal() - self.launch < YOUNG_DAYS)


@dataclass(slots=True, kw_only=True, eq=False)
class Smoothing:
    """Exponentially weighted mean of the last days, without the region's weekday factor, times that of the day asked for.

    A day that the log holds and a series does not is a zero, but the days before the title's launch are none: see :func:`launch_chance`.

    Parameters
    ----------
    days
        Calendar days, back from the last of the log, that are smoothed; >= 1.
    half_life_days
        Age at which a day counts half; > 0.
    horizon
        Days ahead the bands are made for.
    seed
        Of the draws in the bands of rarely watched series.

    Raises
    ------
    InputError
        A parameter out of its range.
    """

    days: int = 14
    half_life_days: float = 3.0
    horizon: int = 1
    seed: int = 0
    name: str = "smoothing"
    _history: History | None = field(default=None, repr=False)
    _level: _Level | None = field(default=None, repr=False)
    _bands: Bands | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not (self.days >= 1 and self.half_life_days > 0):
            message = f"smoothing needs days >= 1 and a half-life > 0, not {self.days} and {self.half_life_days:g}"
            mend = "set forecast.days to 14 and forecast.half_life_days to 3, for example"
            raise InputError(Problem(table="settings", message=message, mend=mend))

    def fit(self, history: History) -> Self:
        """Smooth the history and learn the band from the errors on its last days."""
        self._history = require_history(history)
        origins = band_origins(len(history.dates), self.horizon)
        errors: list[Errors] = []
        for u, level in _levels(history, self.days, self.half_life_days, [*sorted(origins), len(history.dates)]):
            if u == len(history.dates):
                self._level = level
            else:
                errors += _errors(history, level, u, origins[u])
        self._bands = learn_bands(errors)
        return self

    def refresh(self, history: History) -> Self:
        """Smooth a later history; the bands stay."""
        self._history = require_history(history)
        ((_, self._level),) = _levels(history, self.days, self.half_life_days, [len(history.dates)])
        return self

    def predict(self, date: dt.date) -> Demand:
        """The level times the weekday's factor; with a band where the log has two days or more.

        Raises
        ------
        InputError
            Not fitted, or ``date`` is not after the log.
        """
        history, level = require_history(self._history), self._level
        assert level is not None
        young = level.young(date)
        return banded_demand(history, date, level.region, level.file, level.on(date), young, self._bands, self.seed)

    def learned(self) -> Learned:
        """The parameters and the bands; the level is measured anew from each history."""
        numbers = {
            "days": self.days, "half_life_days": self.half_life_days, "horizon": self.horizon, "seed": self.seed,
        }  # fmt: skip
        return Learned(numbers=numbers, arrays=bands_as_arrays(self._bands))

    def recall(self, learned: Learned) -> Self:
        """Take up parameters and bands."""
        self._bands = bands_from_arrays(learned.arrays)
        for name, kind in (("days", int), ("half_life_days", float), ("horizon", int), ("seed", int)):
            setattr(self, name, kind(learned.numbers[name]))
        return self


def weekday_factors(dates: Sequence[dt.date], totals: np.ndarray) -> np.ndarray:
    """(R, 7) float > 0: what a region asks for on a weekday over its weekly mean, Monday first; geometric mean 1.

    Deviations of log volume from the mean of their week are averaged by weekday and shrunk towards none by the positive-part empirical Bayes
    factor ``1 - (within variance / weeks) / between variance`` (Efron and Morris 1973), so that chance makes no weekday. Weeks are counted
    back from the last day; only whole ones count, and with fewer than two all factors are 1.

    Parameters
    ----------
    dates
        D days, ascending.
    totals
        (R, D) GB of each region on each day.
    """
    days = np.array(dates, "datetime64[D]")
    ages, regions = (days[-1] - days).astype(int), len(totals)
    log_gb = np.full((regions, SEASON_WEEKS * 7), np.nan)
    near = ages < SEASON_WEEKS * 7
    log_gb[:, ages[near]] = np.log(
        totals[:, near], out=np.full((regions, near.sum()), np.nan), where=totals[:, near] > 0
    )
    by_week = log_gb.reshape(regions, SEASON_WEEKS, 7)
    whole = np.isfinite(by_week).all(axis=2)
    deviation = np.where(whole[:, :, None], by_week - by_week.mean(axis=2, keepdims=True), 0.0)
    weeks = whole.sum(axis=1)
    mean = deviation.sum(axis=1) / np.maximum(weeks, 1)[:, None]
    residual = np.where(whole[:, :, None], deviation - mean[:, None, :], 0.0)
    within = (residual**2).sum(axis=(1, 2)) / (6 * np.maximum(weeks - 1, 1))
    between = (mean**2).sum(axis=1) / 6
    noise = np.divide(within / np.maximum(weeks, 1), between, out=np.ones(regions), where=between > 0)
    kept = np.where(weeks >= 2, np.clip(1 - noise, 0, 1), 0.0)
    factor = np.ones((regions, 7))
    factor[:, (dates[-1].weekday() - np.arange(7)) % 7] = np.exp(kept[:, None] * mean)
    return factor


def launch_chance(history: History) -> tuple[np.ndarray, np.ndarray]:
    """When each title first appears, and how likely that was its launch (:func:`~demand.forecast.base.launch_odds`).

    Returns
    -------
    (T,) int64, entry of ``dates`` (D where the title never appears), and (T,) float in [0, 1].
    """
    return _first_and_odds(_entries(history))


def _entries(history: History) -> np.ndarray:
    """(T, D) int64: entries of each title on each day."""
    title_of = np.arange(history.files) if history.title_of is None else history.title_of
    titles, days = int(title_of.max(initial=-1)) + 1, len(history.dates)
    key = (title_of.astype(np.int64) * days)[history.file] + history.day
    return np.bincount(key, minlength=titles * days).reshape(titles, days)


def _first_and_odds(entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    days = entries.shape[1]
    seen = entries > 0
    first = np.where(seen.any(axis=1), seen.argmax(axis=1), days)
    return first, launch_odds(first, entries.sum(axis=1), days)


def _levels(history: History, days: int, half_life_days: float, origins: Sequence[int]) -> Iterator[tuple[int, _Level]]:
    """The levels after the first ``u`` days, for each of ``origins``; only the days that any of them smooths are looked at twice."""
    ordinal = np.array([date.toordinal() for date in history.dates], np.int64)
    start = int(np.searchsorted(ordinal, ordinal[origins[0] - 1] - days + 1))
    near = np.flatnonzero(history.day >= start)
    series = series_key(history.file[near], history.region[near], history.regions)
    begins = np.diff(series, prepend=-1) != 0
    at = np.cumsum(begins) - 1
    region, file = history.region[near][begins], history.file[near][begins]
    width = len(ordinal) - start
    gb = np.bincount(at * width + history.day[near] - start, history.gb[near], len(region) * width)
    gb = gb.reshape(-1, width)
    weekday, totals, entries = weekdays(history.dates), region_day_gb(history), _entries(history)
    title = file if history.title_of is None else history.title_of[file]
    for u in origins:
        age = ordinal[u - 1] - ordinal[:u]
        weight = np.where(age < days, 0.5 ** (age / half_life_days), 0.0)
        factor = weekday_factors(history.dates[:u], totals[:, :u])
        by_day = (weight[start:u] / factor[:, weekday[start:u]])[region]
        sums = np.einsum("nd,nd->n", gb[:, : u - start], by_day)
        since = np.append(np.cumsum(weight[::-1])[::-1], 0.0)
        first, odds = _first_and_odds(entries[:, :u])
        total = odds[title] * since[first[title]] + (1 - odds[title]) * since[0]
        known = sums > 0
        first_day = ordinal[np.minimum(first[title], u - 1)]
        launch = np.where((odds[title] > 0.5) & (first[title] > 0), first_day, NEVER)
        yield (
            u,
            _Level(
                region=region[known],
                file=file[known],
                gb=sums[known] / total[known],
                factor=factor,
                launch=launch[known],
            ),
        )


def _errors(history: History, level: _Level, origin: int, lead: int) -> Iterator[Errors]:
    date = history.dates[origin - 1] + dt.timedelta(days=lead)
    if date not in history.dates:
        return
    on_day = np.flatnonzero(history.day == history.dates.index(date))
    keys = series_key(history.file[on_day], history.region[on_day], history.regions)
    came = take_series(keys, history.gb[on_day], series_key(level.file, level.region, history.regions))
    yield Errors(lead=lead, forecast=level.on(date), came=came, young=level.young(date))
