"""Tomorrow's demand from the days of the log, and how good such forecasts were."""

from demand.forecast.backtest import backtest
from demand.forecast.base import Forecaster, popularity
from demand.forecast.naive import LastDay, SameWeekday
from demand.forecast.smoothing import Smoothing
from topology.errors import InputError, Problem

__all__ = [
    "FORECASTERS",
    "Forecaster",
    "LastDay",
    "SameWeekday",
    "Smoothing",
    "backtest",
    "make_forecaster",
    "popularity",
]

FORECASTERS: tuple[str, ...] = ("smoothing", "last-day", "same-weekday")
"""The names of :func:`make_forecaster`, the usual one first."""


def make_forecaster(name: str, *, days: int = 14, half_life_days: float = 3.0) -> Forecaster:
    """A forecaster by its name.

    Parameters
    ----------
    name
        One of :data:`FORECASTERS`.
    days, half_life_days
        Of :class:`Smoothing`; the others have no use for them.

    Raises
    ------
    InputError
        An unknown name, or a parameter out of its range.
    """
    match name:
        case "smoothing":
            return Smoothing(days=days, half_life_days=half_life_days)
        case "last-day":
            return LastDay()
        case "same-weekday":
            return SameWeekday()
    mend = "use one of: " + ", ".join(FORECASTERS)
    raise InputError(Problem(table="settings", column="model", value=name, message="no such forecaster", mend=mend))
