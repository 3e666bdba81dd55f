"""How good forecasters were on days that have come to pass: rolling origin, one day ahead."""

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from demand.demand import Demand
from demand.forecast.base import Forecaster, series_key, take_series
from demand.forecast.known import titles_of
from demand.playback import History, day_demand
from topology.errors import InputError, Problem

LIST_LENGTH = 10
"""Titles of a region's list that precision and NDCG look at."""
SCALE_DAYS = 28
"""Latest days before an origin over which the error of repeating the day before is averaged, as the scale of MASE."""

Judge = Callable[[dt.date, Demand, Demand], Mapping[str, float]]
"""Told the day, the forecast and what came; what it returns is summed over the days."""


@dataclass(slots=True)
class _Tally:
    """Sums over the origins of one forecaster."""

    sums: dict[str, float] = field(default_factory=dict)
    banded: bool = True

    def add(self, parts: Mapping[str, float]) -> None:
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def ratio(self, name: str, of: str) -> float:
        return self.sums.get(name, 0.0) / self.sums[of] if self.sums.get(of) else float("nan")


def backtest(
    history: History,
    forecasters: Sequence[Forecaster],
    *,
    origins: int,
    judge: Judge | None = None,
    prepare: Callable[[History], History] | None = None,
    outcomes: History | None = None,
) -> pd.DataFrame:
    """Forecast each of the last days from the days before it, and compare with what came.

    A forecaster sees ``history.until(origin)``, mended by ``prepare``, and nothing else; what it is held to is the log as it was, or ``outcomes``. Errors are
    taken over the series that were forecast or came (a title nobody foresaw counts in full), and summed over all origins before they are
    divided.

    Parameters
    ----------
    origins
        Days to forecast, >= 1; one less than the history has at most.
    judge
        Adds sums of its own, such as what the plan made of each forecast costs. Of sums ``cost`` and ``oracle_cost``, ``regret`` is made.
    prepare
        Mends a history before a forecaster sees it.
    outcomes
        The same days without what cannot have come.

    Returns
    -------
    One row a forecaster: ``model``; ``wape``, sum of absolute errors over sum of GB; ``bias``, sum of forecast less actual over sum of GB;
    ``mase``, absolute errors over those of repeating the day before, within the log before the origin; ``coverage``, share of the series
    whose outcome lay in its 10-90 % band, ``below`` and ``above``, the shares outside, NaN for a forecaster that gives none;
    ``precision_at_10`` and ``ndcg_at_10`` of each region's list of titles by GB; ``mae_gb``, mean absolute error of a series; ``regret``, NaN
    without a judge; ``seconds`` taken to fit and predict; ``origins``.

    Raises
    ------
    InputError
        ``origins`` is not within 1 and the days of the history less one.
    """
    days = len(history.dates)
    if not 1 <= origins < days:
        message = f"a backtest of {origins} days needs {max(origins, 1) + 1} days of log, there are {days}"
        raise InputError(
            Problem(table="playback", message=message, mend="ask for fewer origins (>= 1), or import more days")
        )
    tallies = [_Tally() for _ in forecasters]
    title_of = titles_of(history).astype(np.int64)
    real = history if outcomes is None else outcomes
    for origin in range(days - origins, days):
        before, date = history.until(origin), history.dates[origin]
        came, scale = day_demand(real, origin), _naive_error(real.until(origin))
        seen = before if prepare is None else prepare(before)
        for forecaster, tally in zip(forecasters, tallies, strict=True):
            began = time.perf_counter()
            forecast = forecaster.fit(seen).predict(date)
            tally.add({"seconds": time.perf_counter() - began, "naive": scale, "origins": 1.0})
            tally.add(_errors(forecast, came, history.regions))
            tally.add(_lists(forecast, came, title_of, history.regions))
            tally.banded &= forecast.gb_p10 is not None and forecast.gb_p90 is not None
            if judge is not None:
                tally.add(judge(date, forecast, came))
    return pd.DataFrame([_row(forecaster.name, tally) for forecaster, tally in zip(forecasters, tallies, strict=True)])


def _row(model: str, tally: _Tally) -> dict[str, object]:
    nan = float("nan")
    return {
        "model": model,
        "wape": tally.ratio("missed", "came"),
        "bias": tally.ratio("surplus", "came"),
        "mase": tally.ratio("missed", "naive"),
        "coverage": tally.ratio("inside", "series") if tally.banded else nan,
        "below": tally.ratio("below", "series") if tally.banded else nan,
        "above": tally.ratio("above", "series") if tally.banded else nan,
        "precision_at_10": tally.ratio("listed", "lists"),
        "ndcg_at_10": tally.ratio("ndcg", "lists"),
        "mae_gb": tally.ratio("missed", "series"),
        "regret": tally.ratio("cost", "oracle_cost") - 1.0,
        "seconds": tally.sums["seconds"],
        "origins": int(tally.sums["origins"]),
    }


def _errors(forecast: Demand, came: Demand, regions: int) -> dict[str, float]:
    """Sums over the series that were forecast or came."""
    key, foreseen = series_key(came.file, came.region, regions), series_key(forecast.file, forecast.region, regions)
    keys = np.union1d(key, foreseen)
    actual, expected = take_series(key, came.gb, keys), take_series(foreseen, forecast.gb, keys)
    sums = {
        "missed": float(np.abs(expected - actual).sum()),
        "surplus": float((expected - actual).sum()),
        "came": float(actual.sum()),
        "series": float(len(keys)),
    }
    if forecast.gb_p10 is not None and forecast.gb_p90 is not None:
        low, high = take_series(foreseen, forecast.gb_p10, keys), take_series(foreseen, forecast.gb_p90, keys)
        below, above = actual < low, actual > high
        sums |= {"below": float(below.sum()), "above": float(above.sum()), "inside": float((~below & ~above).sum())}
    return sums


def _naive_error(history: History) -> float:
    """Mean over the last days of the sum of absolute differences from the day before; 0 where the log has one day only."""
    days = len(history.dates)
    first = max(0, days - SCALE_DAYS - 1)
    near = history.day >= first
    day, gb = history.day[near], history.gb[near]
    series = series_key(history.file[near], history.region[near], history.regions)
    follows = (np.diff(series, prepend=-1) == 0) & (np.diff(day, prepend=-2) == 1)
    followed = np.append(follows[1:], False)[: len(day)]
    change = np.abs(np.diff(gb, prepend=0.0))
    rise = np.bincount(day, np.where(follows, change, gb), days)
    fall = np.bincount(day + 1, np.where(followed, 0.0, gb), days + 1)[:days]
    total = (rise + fall)[first + 1 :]
    return float(total.mean()) if len(total) else 0.0


def _lists(forecast: Demand, came: Demand, title_of: np.ndarray, regions: int) -> dict[str, float]:
    """Precision and NDCG of the titles forecast to be asked for most, by region, summed over the regions that asked for anything.

    NDCG takes the GB that came as the gain and ``1 / log2(rank + 1)`` as the discount (Järvelin and Kekäläinen 2002).
    """
    titles = int(title_of.max(initial=-1)) + 1
    listed = ndcg = lists = 0.0
    discount = 1 / np.log2(np.arange(2, LIST_LENGTH + 2))
    asked = np.bincount(came.region * np.int64(titles) + title_of[came.file], came.gb, regions * titles)
    thought = np.bincount(forecast.region * np.int64(titles) + title_of[forecast.file], forecast.gb, regions * titles)
    for actual, expected in zip(asked.reshape(regions, titles), thought.reshape(regions, titles), strict=True):
        best = np.argsort(-actual, kind="stable")[:LIST_LENGTH]
        best = best[actual[best] > 0]
        if not len(best):
            continue
        chosen = np.argsort(-expected, kind="stable")[:LIST_LENGTH]
        chosen = chosen[expected[chosen] > 0]
        lists += 1
        listed += len(np.intersect1d(best, chosen)) / len(best)
        ndcg += float(actual[chosen] @ discount[: len(chosen)]) / float(actual[best] @ discount[: len(best)])
    return {"listed": listed, "ndcg": ndcg, "lists": lists}
