"""Forecasters that repeat a day: what anything cleverer has to beat."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from demand.demand import Demand
from demand.forecast.base import Learned, day_ages, forecast_demand, require_history
from demand.playback import History


@dataclass(slots=True, kw_only=True, eq=False)
class LastDay:
    """Tomorrow is as the last day of the log."""

    name: str = "last-day"
    _history: History | None = field(default=None, repr=False)

    def fit(self, history: History) -> Self:
        """Keep the history."""
        self._history = require_history(history)
        return self

    refresh = fit

    def learned(self) -> Learned:
        """Nothing: the history is all there is."""
        return Learned()

    def recall(self, learned: Learned) -> Self:  # noqa: ARG002
        """Take up nothing."""
        return self

    def predict(self, date: dt.date) -> Demand:
        """The last day again.

        Raises
        ------
        InputError
            Not fitted, or ``date`` is not after the log.
        """
        history = require_history(self._history)
        return _repeat(history, date, int(np.argmin(day_ages(history, date))))


@dataclass(slots=True, kw_only=True, eq=False)
class SameWeekday:
    """A day is as the last one of its weekday; where the log holds none, as the last day of all."""

    name: str = "same-weekday"
    _history: History | None = field(default=None, repr=False)

    def fit(self, history: History) -> Self:
        """Keep the history."""
        self._history = require_history(history)
        return self

    refresh = fit

    def learned(self) -> Learned:
        """Nothing: the history is all there is."""
        return Learned()

    def recall(self, learned: Learned) -> Self:  # noqa: ARG002
        """Take up nothing."""
        return self

    def predict(self, date: dt.date) -> Demand:
        """The same weekday's last day again.

        Raises
        ------
        InputError
            Not fitted, or ``date`` is not after the log.
        """
        history = require_history(self._history)
        ages = day_ages(history, date)
        same = np.flatnonzero(ages % 7 == 0)
        candidates = same if len(same) else np.arange(len(ages))
        return _repeat(history, date, int(candidates[np.argmin(ages[candidates])]))


def _repeat(history: History, date: dt.date, day: int) -> Demand:
    at = history.day == day
    return forecast_demand(history, date, history.region[at], history.file[at], history.gb[at])
