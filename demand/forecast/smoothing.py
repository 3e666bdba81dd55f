"""Several days smoothed predict the next: the method that Netflix describes for Open Connect.

Source: "Content Popularity for Open Connect", Netflix Technology Blog: popularity is bytes streamed over file size, and the ranking of several
days smoothed is both steadier and nearer to the next day's than that of the last day alone.
"""

import datetime as dt
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from demand.demand import Demand
from demand.forecast.base import (
    day_ages,
    forecast_demand,
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
BAND_ORIGINS = 5
"""Latest days that are forecast again, one day ahead, to see how far off the method is."""
VOLUME_CLASSES = 10
"""Classes of equally many series, by forecast volume, that have their own errors."""
LAUNCH_PRIOR = 0.05
"""Chance, before its log is looked at, that a title which appears during the log was launched then rather than merely not watched before."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Level:
    """Deseasonalised daily GB of each series (N,), and the weekday factors (R, 7) of the regions."""

    region: np.ndarray
    file: np.ndarray
    gb: np.ndarray
    factor: np.ndarray

    def on(self, date: dt.date) -> np.ndarray:
        return np.asarray(self.gb * self.factor[self.region, date.weekday()])


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

    Raises
    ------
    InputError
        A parameter out of its range.
    """

    days: int = 14
    half_life_days: float = 3.0
    name: str = "smoothing"
    _history: History | None = field(default=None, repr=False)
    _level: _Level | None = field(default=None, repr=False)
    _band: tuple[np.ndarray, np.ndarray, np.ndarray] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not (self.days >= 1 and self.half_life_days > 0):
            message = f"smoothing needs days >= 1 and a half-life > 0, not {self.days} and {self.half_life_days:g}"
            mend = "set forecast.days to 14 and forecast.half_life_days to 3, for example"
            raise InputError(Problem(table="settings", message=message, mend=mend))

    def fit(self, history: History) -> Self:
        """Smooth the history and learn the band from the errors on its last days."""
        self._history = require_history(history)
        self._level = _smooth(history, self.days, self.half_life_days)
        self._band = _own_errors(history, self.days, self.half_life_days)
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
        gb = level.on(date)
        if self._band is None:
            return forecast_demand(history, date, level.region, level.file, gb)
        edges, low, high = self._band
        size = np.searchsorted(edges, gb, side="right")
        return forecast_demand(history, date, level.region, level.file, gb, gb * low[size], gb * high[size])


def weekday_factors(history: History) -> np.ndarray:
    """(R, 7) float > 0: what a region asks for on a weekday over its weekly mean, Monday first; geometric mean 1.

    Deviations of log volume from the mean of their week are averaged by weekday and shrunk towards none by the positive-part empirical Bayes
    factor ``1 - (within variance / weeks) / between variance`` (Efron and Morris 1973), so that chance makes no weekday. Weeks are counted
    back from the last day; only whole ones count, and with fewer than two all factors are 1.
    """
    ages = (np.array(history.dates, "datetime64[D]")[-1] - np.array(history.dates, "datetime64[D]")).astype(int)
    totals = region_day_gb(history)
    log_gb = np.full((history.regions, SEASON_WEEKS * 7), np.nan)
    near = ages < SEASON_WEEKS * 7
    log_gb[:, ages[near]] = np.log(
        totals[:, near], out=np.full((history.regions, near.sum()), np.nan), where=totals[:, near] > 0
    )
    by_week = log_gb.reshape(history.regions, SEASON_WEEKS, 7)
    whole = np.isfinite(by_week).all(axis=2)
    deviation = np.where(whole[:, :, None], by_week - by_week.mean(axis=2, keepdims=True), 0.0)
    weeks = whole.sum(axis=1)
    mean = deviation.sum(axis=1) / np.maximum(weeks, 1)[:, None]
    residual = np.where(whole[:, :, None], deviation - mean[:, None, :], 0.0)
    within = (residual**2).sum(axis=(1, 2)) / (6 * np.maximum(weeks - 1, 1))
    between = (mean**2).sum(axis=1) / 6
    noise = np.divide(within / np.maximum(weeks, 1), between, out=np.ones(history.regions), where=between > 0)
    kept = np.where(weeks >= 2, np.clip(1 - noise, 0, 1), 0.0)
    factor = np.ones((history.regions, 7))
    factor[:, (history.dates[-1].weekday() - np.arange(7)) % 7] = np.exp(kept[:, None] * mean)
    return factor


def launch_chance(history: History) -> tuple[np.ndarray, np.ndarray]:
    """When each title first appears, and how likely that was its launch.

    A title that was always there and has c entries in D days leaves the days before its first one blank with probability ``(n / D) ** c``, n
    being the days from then on; one that was launched then, with certainty. Bayes' rule with :data:`LAUNCH_PRIOR` weighs the two. Without it
    every rarely watched title whose one session came late in the log would be taken for a hit.

    Returns
    -------
    (T,) int64, entry of ``dates`` (D where the title never appears), and (T,) float in [0, 1].
    """
    days = len(history.dates)
    title_of = np.arange(history.files) if history.title_of is None else history.title_of
    title = title_of[history.file]
    titles = int(title_of.max(initial=-1)) + 1
    first = np.full(titles, days, np.int64)
    np.minimum.at(first, title, history.day.astype(np.int64))
    entries = np.bincount(title, minlength=titles)
    blank = ((days - first) / days) ** entries
    return first, LAUNCH_PRIOR / (LAUNCH_PRIOR + (1 - LAUNCH_PRIOR) * blank)


def _smooth(history: History, days: int, half_life_days: float) -> _Level:
    ages = day_ages(history, history.dates[-1] + dt.timedelta(days=1)) - 1
    weight = np.where(ages < days, 0.5 ** (ages / half_life_days), 0.0)
    factor = weekday_factors(history)
    near = ages[history.day] < days
    day, region, file = history.day[near], history.region[near], history.file[near]
    value = weight[day] * history.gb[near] / factor[region, weekdays(history)[day]]
    series = series_key(file, region, history.regions)
    starts = np.flatnonzero(np.diff(series, prepend=-1))
    region, file = region[starts], file[starts]
    since = np.cumsum(weight[::-1])[::-1]
    first, launched = launch_chance(history)
    title = file if history.title_of is None else history.title_of[file]
    total = launched[title] * since[first[title]] + (1 - launched[title]) * since[0]
    sums = np.add.reduceat(value, starts) if len(starts) else np.zeros(0)
    return _Level(region=region, file=file, gb=sums / total, factor=factor)


def _own_errors(history: History, days: int, half_life_days: float) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Edges of the volume classes (C - 1,), and by class (C,) the 10 % and 90 % quantiles of what came over what was forecast.

    The quantiles are kept to either side of 1, so that the forecast lies in its own band. None where the log has a single day.
    """
    n = len(history.dates)
    forecasts, ratios = [], []
    for origin in range(max(1, n - BAND_ORIGINS), n):
        level = _smooth(history.until(origin), days, half_life_days)
        forecast = level.on(history.dates[origin])
        on_day = history.day == origin
        dense = series_key(history.file[on_day], history.region[on_day], history.regions)
        key = series_key(level.file, level.region, history.regions)
        came = take_series(dense, history.gb[on_day], key)
        asked = forecast > 0
        forecasts.append(forecast[asked])
        ratios.append(came[asked] / forecast[asked])
    forecast = np.concatenate(forecasts) if forecasts else np.zeros(0)
    if not len(forecast):
        return None
    ratio = np.concatenate(ratios)
    edges = np.unique(np.quantile(forecast, np.arange(1, VOLUME_CLASSES) / VOLUME_CLASSES))
    size = np.searchsorted(edges, forecast, side="right")
    low, high = np.ones(len(edges) + 1), np.ones(len(edges) + 1)
    for c in range(len(edges) + 1):
        own = ratio[size == c] if (size == c).any() else ratio
        low[c], high[c] = np.quantile(own, [0.1, 0.9])
    return edges, np.minimum(low, 1.0), np.maximum(high, 1.0)
