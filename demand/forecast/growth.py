"""What a series asks for next over what it asked for last: one boosted model over many short series of weeks or days.

The forecast is ``last * ratio``. Since ``|next - last * ratio| = last * |next / last - ratio|``, the median regression of ``next / last`` weighted by
``last`` minimises the sum of absolute errors itself, the numerator of WAPE; the regressions of the 10 % and 90 % quantiles give the band.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from demand.forecast.base import Learned
from demand.forecast.saved import recall_saved
from demand.forecast.trees import lightgbm_for, read_trees
from topology.errors import InputError, Problem

LAGS = 4
"""Steps back that a row knows of."""
LARGEST_RATIO = 50.0
"""Ratios are cut here in learning."""
QUANTILES = (0.1, 0.5, 0.9)
PARAMETERS = ("rounds", "leaves", "smallest_leaf", "learning_rate", "seed")
"""Of a :class:`GrowthModel`, as they are saved."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """Rows (N): a series at a step, what is known then, and what comes a step later.

    Parameters
    ----------
    step
        (N,) int: week or day the row is described from.
    last
        (N,) float > 0: value at that step.
    season
        (N,) float: value a season before the step that is forecast; that of ``last`` where there is none.
    names, features
        (M,) names and (N, M) float.
    following
        (N,) float: value a step later, NaN where there is none.
    """

    step: np.ndarray
    last: np.ndarray
    season: np.ndarray
    names: tuple[str, ...]
    features: np.ndarray
    following: np.ndarray

    def take(self, rows: np.ndarray) -> "Steps":
        """Some of the rows."""
        return Steps(
            step=self.step[rows], last=self.last[rows], season=self.season[rows], names=self.names,
            features=self.features[rows], following=self.following[rows],
        )  # fmt: skip


def series_steps(
    series: np.ndarray,
    step: np.ndarray,
    value: np.ndarray,
    known: Mapping[str, np.ndarray],
    *,
    season: int,
    group: np.ndarray,
) -> Steps:
    """Describe every value of many series by what was known at its step.

    Parameters
    ----------
    series, step
        (N,) int; a pair at most once.
    value
        (N,) float; values that are not above 0 are left out, as if not measured.
    known
        Further features (N,) known at the step.
    season
        Steps of a season.
    group
        (N,) int: series of one group share a level, whose last change is a feature.

    Raises
    ------
    InputError
        A series has two values at one step.
    """
    kept = np.flatnonzero(value > 0)
    kept = kept[np.lexsort((step[kept], series[kept]))]
    series, step, value, group = series[kept], step[kept], value[kept].astype(float), group[kept]
    span = int(step.max(initial=0)) - int(step.min(initial=0)) + 1
    key = series.astype(np.int64) * (span + season + LAGS + 2) + (step - step.min(initial=0))
    if (np.diff(key) == 0).any():
        message = "a series has two values at one step"
        raise InputError(Problem(table="series", message=message, mend="sum or drop the double rows"))

    def at(shift: int) -> np.ndarray:
        """Values ``shift`` steps later, NaN where there are none."""
        found = np.minimum(np.searchsorted(key, key + shift), max(len(key) - 1, 0))
        there = (
            (key[found] == key + shift) & (step + shift >= step.min(initial=0)) & (step + shift <= step.max(initial=0))
        )
        return np.where(there, value[found], np.nan)

    lags = [at(-lag) for lag in range(1, LAGS)]
    before = at(1 - season) if season > 1 else value
    age = np.arange(len(key)) - np.searchsorted(series, series)
    level = pd.Series(value).groupby([group, step]).transform("sum").to_numpy()
    same = pd.Series(np.where(np.isfinite(lags[0]), value, np.nan)).groupby([group, step]).transform("sum").to_numpy()
    earlier = (
        pd.Series(np.where(np.isfinite(lags[0]), lags[0], np.nan)).groupby([group, step]).transform("sum").to_numpy()
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        features = {
            "log_value": np.log(value),
            "growth": np.log(value / lags[0]),
            "growth_1": np.log(lags[0] / lags[1]),
            "growth_2": np.log(lags[1] / lags[2]),
            "season": np.log(before / value),
            "age": age,
            "share": value / level,
            "level_growth": np.log(same / earlier),
            "step_of_season": (step + 1) % season,
            "group": group,
        } | {name: np.asarray(column)[kept] for name, column in known.items()}
    table = np.column_stack([np.asarray(column, float) for column in features.values()])
    return Steps(
        step=step,
        last=value,
        season=np.where(np.isfinite(before), before, value),
        names=tuple(features),
        features=np.where(np.isfinite(table), table, np.nan),
        following=at(1),
    )


@dataclass(slots=True, kw_only=True, eq=False)
class GrowthModel:
    """Boosted quantile regressions of ``next / last`` (LightGBM), weighted by ``last``.

    Parameters
    ----------
    rounds, leaves, smallest_leaf, learning_rate
        Size of each of the three models.
    seed
        Of the feature sampling.
    """

    name: str = "growth"
    rounds: int = 150
    leaves: int = 15
    smallest_leaf: int = 30
    learning_rate: float = 0.05
    seed: int = 1
    _boosters: Sequence[Any] = field(default=(), repr=False)
    _names: tuple[str, ...] = ()
    _margin: float = field(default=0.0, repr=False)

    def fit(self, past: Steps) -> Self:
        """Learn from rows whose next value is known; the last quarter of their steps sets the width of the band.

        Both ends of the band are moved outwards, or inwards, by the margin on ``next / last`` that made it hold 80 % of that quarter when the models were
        fitted on the three quarters before it (conformalized quantile regression; Romano, Patterson and Candès 2019, arXiv:1905.03222). A margin is
        added, not multiplied: where the regressions see no spread at all, no factor on it could mend that.

        Raises
        ------
        InputError
            There is no such row.
        """
        known = past.take(np.flatnonzero(np.isfinite(past.following)))
        if not len(known.last):
            mend = "give a series of two steps or more"
            raise InputError(Problem(table="series", message="no step to learn growth from", mend=mend))
        split = np.quantile(known.step, 0.75)
        early, late = known.take(known.step < split), known.take(known.step >= split)
        self._margin, self._names = 0.0, known.names
        if len(early.last) >= 10 * self.smallest_leaf and len(late.last):
            self._boosters = [self._learn(early, quantile) for quantile in QUANTILES]
            low, _, high = self._ratios(late)
            came = late.following / late.last
            self._margin = _conformal(np.maximum(low - came, came - high), QUANTILES[2] - QUANTILES[0])
        self._boosters = [self._learn(known, quantile) for quantile in QUANTILES]
        return self

    def predict(self, rows: Steps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N,) 10 % quantile, median and 90 % quantile of the next value, in this order of size.

        Raises
        ------
        InputError
            Not fitted, or fitted on rows with other features.
        """
        self._refuse_unfitted()
        if rows.names != self._names:
            other = ", ".join(sorted(set(rows.names) ^ set(self._names))) or "their order"
            message, mend = f"learnt from other features of a step ({other})", "fit the model on such series"
            raise InputError(Problem(table="model", value=self.name, message=message, mend=mend))
        low, middle, high = self._ratios(rows)
        low = np.clip(low - self._margin, 0.0, middle)
        high = np.maximum(high + self._margin, middle)
        return rows.last * low, rows.last * middle, rows.last * high

    def learned(self) -> Learned:
        """The trees of each quantile in LightGBM's own text, the margin of the band, all parameters, and the features.

        Raises
        ------
        InputError
            Not fitted.
        """
        self._refuse_unfitted()
        trees = {
            f"trees_{q:g}": booster.model_to_string() for q, booster in zip(QUANTILES, self._boosters, strict=True)
        }
        numbers = {name: getattr(self, name) for name in PARAMETERS} | {"margin": self._margin}
        return Learned(kind="growth", numbers=numbers, texts=trees | {"features": "\n".join(self._names)})

    def recall(self, learned: Learned) -> Self:
        """Take up parameters, trees and the margin of the band.

        Raises
        ------
        KeyError, ValueError
            A part is missing, or does not fit the others.
        InputError
            LightGBM is not installed, or the model is of a version that widened bands by a factor.
        """
        if "widening" in learned.numbers:
            message = "saved by an earlier version, whose bands were widened by a factor, not by a margin"
            mend = "fit the model again and save it (save_forecaster)"
            raise InputError(Problem(table="model", value=self.name, message=message, mend=mend))
        for name in PARAMETERS:
            setattr(self, name, type(getattr(self, name))(learned.numbers[name]))
        self._margin = float(learned.numbers["margin"])
        if not np.isfinite(self._margin):
            raise ValueError("the margin of the band is not finite")
        self._names = tuple(learned.texts["features"].split("\n"))
        self._boosters = [read_trees(learned.texts[f"trees_{q:g}"], len(self._names), self.name) for q in QUANTILES]
        return self

    def _refuse_unfitted(self) -> None:
        if not self._boosters:
            mend = "fit the model on past steps first"
            raise InputError(Problem(table="series", message="nothing was learnt yet", mend=mend))

    def _ratios(self, rows: Steps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the regressions make of ``next / last``, in the order of size, before the margin."""
        low, middle, high = (
            np.maximum(booster.predict(rows.features, num_threads=1), 0.0) for booster in self._boosters
        )
        return np.minimum(low, middle), middle, np.maximum(high, middle)

    def _learn(self, rows: Steps, quantile: float) -> Any:
        lightgbm = lightgbm_for(self.name)
        parameters = {
            "objective": "quantile",
            "alpha": quantile,
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.smallest_leaf,
            "feature_fraction": 0.7,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbose": -1,
        }
        ratio = np.minimum(rows.following / rows.last, LARGEST_RATIO)
        data = lightgbm.Dataset(rows.features, ratio, weight=rows.last / rows.last.mean())
        return lightgbm.train(parameters, data, self.rounds)


def _conformal(score: np.ndarray, share: float) -> float:
    """The score that a further one exceeds with a chance of ``1 - share`` at most: of n the ``ceil((n + 1) share)``-th, the largest where there is none."""
    rank = min(int(np.ceil((len(score) + 1) * share)), len(score))
    return float(np.sort(score)[rank - 1])


def load_growth(folder: Path) -> GrowthModel:
    """A model of growth that :func:`~demand.forecast.saved.save_forecaster` wrote.

    Raises
    ------
    InputError
        The folder holds no saved model, one that lacks a part, or one of something else.
    """
    return recall_saved(folder, "growth", lambda name: GrowthModel(name=name))


def backtest_growth(rows: Steps, model: GrowthModel, *, origins: int, refit_every: int = 4) -> pd.DataFrame:
    """Forecast the step after each of the last ``origins`` steps from what was known, beside naive and seasonal naive.

    Errors are over the series that have a value at both steps. At an origin the model learns from rows whose next value was known by then.

    Returns
    -------
    One row a model: ``model``, ``wape``, ``bias`` (sum of forecast less actual, over the sum of actual), ``mase`` (mean absolute error over that
    of naive on the steps before the first origin, NaN where that is 0), ``coverage`` of the 10-90 % band (NaN without one), ``values``, ``seconds``.

    Raises
    ------
    InputError
        There are not more steps than origins.
    """
    there = rows.take(np.flatnonzero(np.isfinite(rows.following)))
    steps = np.unique(there.step)
    if not 1 <= origins < len(steps):
        message = f"{origins} origins need {max(origins, 1) + 1} steps with a next one, there are {len(steps)}"
        raise InputError(Problem(table="series", message=message, mend="ask for fewer origins (>= 1), or give more"))
    tested = steps[-origins:]
    before = there.step < tested[0]
    scale = float(np.abs(there.following[before] - there.last[before]).mean())
    asked = there.take(np.flatnonzero(there.step >= tested[0]))
    began = time.perf_counter()
    low, middle, high = (np.zeros(len(asked.last)) for _ in range(3))
    for count, origin in enumerate(tested):
        if count % refit_every == 0:
            model.fit(there.take(np.flatnonzero(there.step < origin)))
        now = np.flatnonzero(asked.step == origin)
        low[now], middle[now], high[now] = model.predict(asked.take(now))
    seconds = time.perf_counter() - began
    inside = float(((low <= asked.following) & (asked.following <= high)).mean())
    forecasts = {
        "last-value": (asked.last, np.nan, 0.0),
        "seasonal-naive": (asked.season, np.nan, 0.0),
        model.name: (middle, inside, seconds),
    }
    total = asked.following.sum()
    return pd.DataFrame(
        [
            {
                "model": name,
                "wape": float(np.abs(forecast - asked.following).sum() / total),
                "bias": float((forecast - asked.following).sum() / total),
                "mase": float(np.abs(forecast - asked.following).mean()) / scale if scale > 0 else np.nan,
                "coverage": coverage,
                "values": len(asked.last),
                "seconds": taken,
            }
            for name, (forecast, coverage, taken) in forecasts.items()
        ]
    )
