"""A global LightGBM model of region x title demand through mlforecast, beside the project's own (``benchmarks.daily_forecast accuracy --models mlforecast``).

Settings were chosen on networks of other seeds (11 and 12) than the tables report.
"""

import datetime as dt
import os
import warnings
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from demand.demand import Demand
from demand.events import SIGNALS
from demand.forecast.base import Learned, day_ages, require_history
from demand.forecast.features import Days
from demand.forecast.known import FEATURES, Known, known_or_told
from demand.forecast.pooled import PooledState, pooled_states, state_demand
from demand.playback import History

MODELS = ("mlforecast", "mlforecast-scaled", "mlforecast-stacked")
STATICS = ("region", "title", *FEATURES)
LAGS = (1, 2, 3, 7, 14)
PARAMETERS = {
    "objective": "tweedie", "tweedie_variance_power": 1.5, "n_estimators": 300, "learning_rate": 0.05, "num_leaves": 63,
    "min_child_samples": 100, "colsample_bytree": 0.8, "subsample": 0.8, "subsample_freq": 1, "n_jobs": 1, "verbosity": -1,
    "deterministic": True, "force_row_wise": True,
}  # fmt: skip
STACKED_FROM = 7
"""Days of log before the first pooled forecast that the stacked model is shown."""


@dataclass(slots=True, kw_only=True, eq=False)
class GlobalTrees:
    """mlforecast's pipeline: lags, windows of the series, its title and its region, dates, statics, and covariates known in advance.

    Parameters
    ----------
    name
        ``mlforecast``: GB as they are, Tweedie loss. ``mlforecast-scaled``: each series over its mean, weighted by it, Poisson loss, so that trees need not know the
        sizes they meet. ``mlforecast-stacked``: as the first, with the log of the pooled forecast made the day before among the covariates.
    known
        Launch dates, title facts and announcements; None: what the log alone tells.
    seed
        Of the trees.
    """

    name: Literal["mlforecast", "mlforecast-scaled", "mlforecast-stacked"] = "mlforecast"
    known: Known | None = None
    seed: int = 0
    _history: History | None = field(default=None, repr=False)
    _state: PooledState | None = field(default=None, repr=False)
    _scale: np.ndarray | None = field(default=None, repr=False)
    _later: pd.DataFrame | None = field(default=None, repr=False)
    _pipeline: Any = field(default=None, repr=False)

    def fit(self, history: History) -> Self:
        """Grow the trees on every day of the log."""
        self.refresh(history)
        rows, self._later = self._later, None
        self._pipeline = _pipeline(scaled=self.name == "mlforecast-scaled", seed=self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of lags that are missing, which is meant
            self._pipeline.fit(
                rows, static_features=list(STATICS), dropna=False, validate_data=False, weight_col="weight"
            )
        return self

    def refresh(self, history: History) -> Self:
        """Predict from a later history; the trees stay."""
        self._history = require_history(history)
        known = known_or_told(self.known, history)
        ((_, self._state),) = pooled_states(history, known, None, [len(history.dates)])
        rows = series_rows(history, known)
        self._scale = np.ones(history.regions * known.titles)
        rows["weight"] = 1.0
        if self.name == "mlforecast-scaled":
            # one more day of an average series: none is 0
            total = np.bincount(rows["unique_id"], rows["y"]) + rows["y"].mean()
            self._scale = total / (np.bincount(rows["unique_id"]) + 1)
            rows["weight"] = self._scale[rows["unique_id"]]
            rows["y"] /= rows["weight"]
        if self.name == "mlforecast-stacked":
            rows["log_base"] = _past_forecasts(rows, history, known)
        self._later = rows
        return self

    def predict(self, date: dt.date) -> Demand:
        """A day's demand, without bands; the days before it are forecast one after the other.

        Raises
        ------
        InputError
            Not fitted, or ``date`` is not after the log.
        """
        history, state = require_history(self._history), self._state
        assert state is not None and self._scale is not None
        lead, known = int(day_ages(history, date).min()), state.known
        ahead = [history.dates[-1] + dt.timedelta(days=i) for i in range(1, lead + 1)]
        cells = np.arange(len(self._scale))
        days = np.repeat(np.array(ahead, "datetime64[D]"), len(cells))
        future = covariates(known, history.regions, np.tile(cells, lead), days)
        if self.name == "mlforecast-stacked":
            future["log_base"] = np.concatenate([_log(state.titles(day)).ravel() for day in ahead])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = self._pipeline.predict(lead, X_df=future, new_df=self._later)
        made = made[made["ds"] == pd.Timestamp(date)].sort_values("unique_id")
        titles = (made["trees"].to_numpy() * self._scale).reshape(history.regions, known.titles)
        titles[:, known.launch > np.datetime64(date)] = 0.0
        return state_demand(history, state, date, None, self.seed, titles)

    def learned(self) -> Learned:
        """Nothing: models of the benchmarks are not saved."""
        return Learned()

    def recall(self, learned: Learned) -> Self:  # noqa: ARG002
        """Nothing was saved."""
        return self


def series_rows(history: History, known: Known) -> pd.DataFrame:
    """One row a region, title and calendar day, in this order: ``unique_id`` (place in the flattened (R, T)), ``ds``, ``y`` in GB, statics and covariates.

    A day without views is a row of 0 GB; one that the log lacks repeats the day before. A title's rows begin the day before its launch (titles that launch later
    have the last day's), so that the trees meet past launches as they meet the next: without lags.
    """
    gb = Days.of(history, known, 0).gb
    first = np.datetime64(history.dates[0])
    offset = (np.array(history.dates, "datetime64[D]") - first).astype(np.int64)
    width = int(offset[-1]) + 1
    held = np.searchsorted(offset, np.arange(width), side="right") - 1
    grid = np.stack([gb[day].ravel() for day in held.tolist()], axis=1)
    begin = np.where(np.isnat(known.launch), 0, (known.launch - first).astype(np.int64) - 1).clip(0, width - 1)
    cell, day = np.nonzero(np.arange(width) >= np.tile(begin, history.regions)[:, None])
    rows = covariates(known, history.regions, cell, first + day)
    rows["y"] = grid[cell, day].astype(float)
    rows["region"], rows["title"] = np.divmod(cell, known.titles)
    for name, codes in zip(FEATURES, known.features.T, strict=True):
        rows[name] = codes[rows["title"]]
    return rows.astype(dict.fromkeys(("region", *FEATURES), "category"))


def covariates(known: Known, regions: int, cell: np.ndarray, day: np.ndarray) -> pd.DataFrame:
    """What is known in advance of (N,) places in the flattened (R, T) on (N,) days: age since launch in days, announcements."""
    region, title = np.divmod(cell, known.titles)
    launch = known.launch[title]
    age = np.where(np.isnat(launch), np.nan, (day - launch).astype(np.int64))
    rows = pd.DataFrame({"unique_id": cell, "ds": day.astype("datetime64[ns]"), "age_days": age})
    if known.events is not None:
        signals = np.zeros((len(cell), len(SIGNALS)))
        for date in np.unique(day):
            at = day == date
            signals[at] = known.events.on(date, region[at], title[at], regions)
        rows[list(SIGNALS)] = signals
    return rows


def _past_forecasts(rows: pd.DataFrame, history: History, known: Known) -> np.ndarray:
    """(N,) log of each row's pooled forecast, made after the day of log before; NaN on the first days and on days the log lacks."""
    ahead = np.full(len(rows), np.nan)
    cell, day = rows["unique_id"].to_numpy(), rows["ds"].to_numpy("datetime64[D]")
    for u, state in pooled_states(history, known, None, range(STACKED_FROM, len(history.dates))):
        at = np.flatnonzero(day == np.datetime64(history.dates[u]))
        ahead[at] = _log(state.titles(history.dates[u])).ravel()[cell[at]]
    return ahead


def _log(gb: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.maximum(gb, 1e-6)))


def _pipeline(*, scaled: bool, seed: int) -> Any:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import ExponentiallyWeightedMean, RollingMean

    windows = [RollingMean(7, min_samples=1), RollingMean(28, min_samples=1)]
    windows += [ExponentiallyWeightedMean(0.3), ExponentiallyWeightedMean(0.1)]
    for group in ("title", "region"):
        windows += [RollingMean(days, min_samples=1, groupby=[group]) for days in (1, 7, 28)]
        windows.append(ExponentiallyWeightedMean(0.3, groupby=[group]))
    loss = {"objective": "poisson"} if scaled else {}
    return MLForecast(
        models={"trees": LGBMRegressor(**{**PARAMETERS, **loss, "seed": seed})}, freq="D", lags=list(LAGS),
        lag_transforms={1: windows}, date_features=["dayofweek"], drop_auxiliary_columns=False,
    )  # fmt: skip
