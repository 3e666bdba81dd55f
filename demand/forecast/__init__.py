"""Tomorrow's demand from the days of the log, and how good such forecasts were."""

import importlib
from pathlib import Path

from demand.forecast.backtest import backtest
from demand.forecast.base import Forecaster, popularity
from demand.forecast.boosting import Boosted
from demand.forecast.ensemble import Ensemble
from demand.forecast.hierarchy import Reconciled
from demand.forecast.known import Known, build_known
from demand.forecast.naive import LastDay, SameWeekday
from demand.forecast.pooled import Pooled
from demand.forecast.saved import recall_saved, save_forecaster
from demand.forecast.smoothing import Smoothing
from demand.forecast.statistical import Statistical
from demand.forecast.trees import lightgbm_for
from topology.errors import InputError, Problem

__all__ = [
    "BASELINES",
    "FORECASTERS",
    "Boosted",
    "Ensemble",
    "Forecaster",
    "Known",
    "LastDay",
    "Pooled",
    "Reconciled",
    "SameWeekday",
    "Smoothing",
    "Statistical",
    "available_forecasters",
    "backtest",
    "build_known",
    "load_forecaster",
    "make_forecaster",
    "popularity",
    "save_forecaster",
]

FORECASTERS: tuple[str, ...] = (
    "pooled",
    "smoothing",
    "last-day",
    "same-weekday",
    "boosted",
    "autoets",
    "mstl",
    "ensemble",
    "reconciled",
)
"""The names of :func:`make_forecaster`, the usual one first."""
NEEDS = {"boosted": "lightgbm", "autoets": "statsforecast", "mstl": "statsforecast", "ensemble": "lightgbm"}
"""The library of the extra ``forecast`` that a model is made of."""
BASELINES: tuple[str, ...] = ("smoothing", "last-day", "same-weekday")
"""What any model is tested against: they need no extra and next to no time."""


def make_forecaster(
    name: str,
    *,
    known: Known | None = None,
    days: int = 14,
    half_life_days: float = 3.0,
    horizon: int = 1,
    seed: int = 0,
) -> Forecaster:
    """A forecaster by its name.

    Parameters
    ----------
    name
        One of :data:`FORECASTERS`.
    known
        Launch dates, rights, title facts and events, for those that use them.
    days, half_life_days
        Of :class:`Smoothing`; the others have no use for them.
    horizon
        Days ahead the bands are made for.
    seed
        Of every random draw.

    Raises
    ------
    InputError
        An unknown name, or a parameter out of its range.
    """
    match name:
        case "pooled":
            return Pooled(known=known, horizon=horizon, seed=seed)
        case "boosted":
            return Boosted(known=known, horizon=horizon, seed=seed)
        case "autoets" | "mstl":
            return Statistical(name=name, known=known, horizon=horizon, seed=seed)
        case "reconciled":
            return Reconciled(known=known, horizon=horizon, seed=seed)
        case "ensemble":
            members = (
                Pooled(known=known, horizon=horizon, seed=seed),
                Boosted(known=known, horizon=horizon, seed=seed),
                Smoothing(days=days, half_life_days=half_life_days, horizon=horizon, seed=seed),
            )
            return Ensemble(members=members, seed=seed)
        case "smoothing":
            return Smoothing(days=days, half_life_days=half_life_days, horizon=horizon, seed=seed)
        case "last-day":
            return LastDay()
        case "same-weekday":
            return SameWeekday()
    mend = "use one of: " + ", ".join(FORECASTERS)
    raise InputError(Problem(table="settings", column="model", value=name, message="no such forecaster", mend=mend))


def available_forecasters() -> tuple[str, ...]:
    """Those of :data:`FORECASTERS` whose libraries can be loaded, which is tried: a library that is installed may lack one of the system's."""
    loads = {library: _loads(library) for library in sorted(set(NEEDS.values()))}
    return tuple(name for name in FORECASTERS if name not in NEEDS or loads[NEEDS[name]])


def _loads(library: str) -> bool:
    try:
        if library == "lightgbm":
            lightgbm_for("boosted")
        else:
            importlib.import_module(library)
    except (ImportError, OSError, InputError):
        return False
    return True


def load_forecaster(folder: Path, known: Known | None = None) -> Forecaster:
    """A forecaster that :func:`save_forecaster` wrote; ``refresh`` it with a history before it predicts.

    Raises
    ------
    InputError
        The folder holds no saved model, one that lacks a part, or one of something else than a network's demand.
    """
    return recall_saved(folder, "demand", lambda name: make_forecaster(name, known=known))
