"""A plain logistic regression of "listed next week", beside the trees: with few releases to learn from, smooth curves err less than steps.

Its columns are made of the features of :mod:`demand.forecast.candidates`: counts as logarithms, ranks and weekdays one by one, shares as log odds, what is listed
apart from what is not.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from demand.forecast.universe import WEEK_DAYS

STEPS, HALVINGS, ENOUGH = 50, 30, 1e-6
"""Newton steps at most, halvings of one, and the gain in log likelihood below which they end."""
YOUNG_DAYS = 14
"""Age up to which the days since a release count one by one."""
RUNTIMES = 30, 60, 90, 120, 240, 480, 960
"""Minutes at which the line of a release's log runtime may bend: shorts, specials, films, seasons of few and many episodes."""
_ROWS = 100_000
"""Rows that are weighed at once."""
_LISTED = ("weeks", "published_weeks", "holders", "holders_1", "points", "mean_points", "near_points", "most_countries", "nearest", "since_first_anywhere")  # fmt: skip
_SERIES = ("series_other_weeks", "series_other_points", "series_near_weeks", "series_most_countries", "series_countries")  # fmt: skip

Column = Callable[[str], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Logistic:
    """Log odds ``intercept + ((x - centre) / scale) @ slope``."""

    centre: np.ndarray
    scale: np.ndarray
    slope: np.ndarray
    intercept: float

    def log_odds(self, x: np.ndarray) -> np.ndarray:
        """(N,) of (N, M) columns."""
        return np.asarray(self.intercept + ((x - self.centre) / self.scale) @ self.slope)


def fit_logistic(x: np.ndarray, happened: np.ndarray, strength: float) -> Logistic:
    """The likeliest coefficients under a normal prior on those of the standardised columns: Newton's method (Hastie, Tibshirani and Friedman 2009, 4.4).

    Parameters
    ----------
    x
        (N, M) columns; one that never varies says nothing.
    happened
        (N,) bool, true and false both among them.
    strength
        Precision of the prior; the intercept has none.
    """
    width = x.shape[1]
    centre, scale = x.mean(axis=0, dtype=float), x.std(axis=0, dtype=float)
    scale = np.where(scale > 1e-9, scale, np.inf)
    share = happened.mean()
    found = np.concatenate([[np.log(share / (1 - share))], np.zeros(width)])
    penalty = np.concatenate([[0.0], np.full(width, strength)])
    loss, slope, square = _weigh(x, happened, centre, scale, found)
    loss += float(penalty @ found**2) / 2
    for _ in range(STEPS):
        step = np.linalg.solve(square + np.diag(penalty), slope - penalty * found)
        before = loss
        for _ in range(HALVINGS):  # a whole step may lead beyond the valley
            loss, slope, square = _weigh(x, happened, centre, scale, found + step)
            loss += float(penalty @ (found + step) ** 2) / 2
            if loss <= before:
                break
            step = step / 2
        found = found + step
        if before - loss < ENOUGH:
            break
    return Logistic(centre=centre, scale=scale, slope=found[1:], intercept=float(found[0]))


def _weigh(
    x: np.ndarray, happened: np.ndarray, centre: np.ndarray, scale: np.ndarray, found: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Negative log likelihood, its negative gradient (M + 1,) and its curvature (M + 1, M + 1) at some coefficients."""
    loss, slope, square = 0.0, np.zeros(len(found)), np.zeros((len(found), len(found)))
    for start in range(0, len(x), _ROWS):
        own = np.column_stack([np.ones(len(x[start : start + _ROWS])), (x[start : start + _ROWS] - centre) / scale])
        came, score = happened[start : start + _ROWS], own @ found
        p = expit(score)
        loss += float(np.logaddexp(0, score).sum() - score[came].sum())
        slope += own.T @ (came - p)
        square += (own * (p * (1 - p))[:, None]).T @ own
    return loss, slope, square


def columns_of_listed(column: Column, calendar: bool) -> np.ndarray:
    """(N, M) float32 of titles that some list has shown; with the columns of a calendar or without."""
    rank, before, gone, streak = (column(name) for name in ("rank", "rank_1", "gone", "streak"))
    on, number = rank < 11, column("number")
    off = ~on
    new, debut = on & (column("weeks") == 1), column("since_first_anywhere") == 0
    made = [rank == k for k in range(1, 11)]
    made += [on & (before < 11), np.where(on, before, 0), np.where(on & (before < 11), before - rank, 0)]
    made += [new, new & debut, np.where(new, rank, 0), np.where(new & debut, rank, 0)]
    made += [streak == k for k in (1, 2, 3, 4)] + [_log(streak), np.minimum(streak, 6) * np.where(on, rank, 0)]
    made += [gone == k for k in (1, 2, 3, 4)] + [(gone > 4) & (gone < 99), gone == 99]
    split = [_log(column(name)) for name in (*_LISTED, *_SERIES)]
    split += [_signed_log(column(name)) for name in ("holders_gain", "points_gain")]
    split += [column("near_share"), column("near_gain"), _log_odds((10 * column("near_share") + 0.5) / 11)]
    split += [_log_odds(column("kept")), column("series_debut")]
    made += [_log(column("holders")) * new, column("near_share") * new]
    made += [_log(column("holders")) * (off & debut), column("near_share") * (off & debut)]
    made += [column("debuts"), column("best") * off, _log(number)]
    if calendar:
        age = column("age")
        known, young = age >= 0, (age >= 0) & (age < YOUNG_DAYS)
        split += [known, column("released_next"), _log(age) * known, young, np.where(young, age, 0)]
        split += [column("series_release"), _log(column("rivals"))]
        made += [column("limited") * on, column("colon") * on]
        made += [(column("weekday") == day) & young & on for day in range(WEEK_DAYS)]
    made += [part * side for part in split for side in (on, off)]
    return np.column_stack([np.asarray(part, np.float32) for part in made])


def columns_of_releases(column: Column) -> np.ndarray:
    """(N, M) float32 of releases that no list has shown; all but the country's rates also by category."""
    script, series = column("script"), column("series_most_countries")
    rates = [_log_odds(column("launch_rate")), _log_odds(column("script_rate"))]
    made = [column("weekday") == day for day in range(WEEK_DAYS)]
    made += [_log(column(name)) for name in (*_SERIES, "rivals", "seasons_released", "letters", "words", "debuts")]
    made += [series > 0, column("series_debut"), column("number") > 1, column("colon"), column("limited")]
    gap, minutes = column("season_gap"), np.maximum(column("runtime"), 1.0)
    made += [gap > 0, _log(gap) * (gap > 0), np.log(minutes)]
    made += [np.log(np.maximum(minutes / bend, 1)) for bend in RUNTIMES]
    made += [script == 0, script == 1, script > 1, column("kept")]
    category = column("category")
    made += [part * category for part in made]
    return np.column_stack([np.asarray(part, np.float32) for part in (*rates, category, *made)])


def _log(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.log1p(np.maximum(values, 0)))


def _signed_log(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def _log_odds(share: np.ndarray) -> np.ndarray:
    inside = np.clip(share, 0.01, 0.99)
    return np.asarray(np.log(inside / (1 - inside)))
