"""How good forecasters were on days that have come to pass: rolling origin, one day ahead."""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from demand.forecast.base import Forecaster, series_key, take_series
from demand.playback import History
from topology.errors import InputError, Problem


def backtest(history: History, forecasters: Sequence[Forecaster], *, origins: int) -> pd.DataFrame:
    """Forecast each of the last days from the days before it, and compare with what came.

    A forecaster sees ``history.until(origin)`` and nothing else. Errors are taken over the series that were forecast or came (a title
    nobody foresaw counts in full), and summed over all origins before they are divided.

    Parameters
    ----------
    origins
        Days to forecast, >= 1; one less than the history has at most.

    Returns
    -------
    One row a forecaster: ``model``; ``wape``, sum of absolute errors over sum of GB; ``bias``, sum of forecast less actual over sum of GB;
    ``coverage``, share of the series whose outcome lay in its 10-90 % band, NaN for a forecaster that gives none; ``mae_gb``, mean absolute
    error of a series; ``seconds`` taken; ``origins``.

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
    return pd.DataFrame([_score(history, forecaster, range(days - origins, days)) for forecaster in forecasters])


def _score(history: History, forecaster: Forecaster, tested: range) -> dict[str, object]:
    began = time.perf_counter()
    missed = surplus = came = 0.0
    series = inside = 0
    banded = True
    for origin in tested:
        forecast = forecaster.fit(history.until(origin)).predict(history.dates[origin])
        on_day = history.day == origin
        key = series_key(history.file[on_day], history.region[on_day], history.regions)
        foreseen = series_key(forecast.file, forecast.region, history.regions)
        keys = np.union1d(key, foreseen)
        actual = take_series(key, history.gb[on_day], keys)
        expected = take_series(foreseen, forecast.gb, keys)
        missed += float(np.abs(expected - actual).sum())
        surplus += float((expected - actual).sum())
        came += float(actual.sum())
        series += len(keys)
        if forecast.gb_p10 is None or forecast.gb_p90 is None:
            banded = False
            continue
        low = take_series(foreseen, forecast.gb_p10, keys)
        high = take_series(foreseen, forecast.gb_p90, keys)
        inside += int(((low <= actual) & (actual <= high)).sum())
    return {
        "model": forecaster.name,
        "wape": missed / came if came else np.nan,
        "bias": surplus / came if came else np.nan,
        "coverage": inside / series if banded and series else np.nan,
        "mae_gb": missed / series if series else np.nan,
        "seconds": time.perf_counter() - began,
        "origins": len(tested),
    }
