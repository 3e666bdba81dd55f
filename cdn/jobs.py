"""The steps that both the single verbs and the nightly job run: forecast, place. Each is a pure call over what was read."""

import datetime as dt
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cdn.cluster import into_appliances
from cdn.placement.problem import build_problem
from cdn.placement.solve import solve
from cdn.plan import Plan, make_plan
from cdn.settings import Settings
from demand.catalogue import Catalogue
from demand.demand import Demand
from demand.forecast import FORECASTERS, backtest, make_forecaster
from demand.playback import playback_dates, read_history
from topology.errors import InputError, Problem
from topology.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A day's demand and how well each model did on the days before (one row a model; empty without a backtest)."""

    demand: Demand
    backtest: pd.DataFrame


def make_forecast(
    folder: Path, network: Network, catalogue: Catalogue, date: dt.date, settings: Settings, *, model: str, origins: int
) -> Forecast:
    """Predict ``date`` from the days of the log before it.

    Parameters
    ----------
    model
        A name of ``demand.forecast.FORECASTERS``.
    origins
        Days of the rolling-origin backtest; fewer where the log is short.

    Raises
    ------
    InputError
        If the log has no day before ``date`` or the model is unknown.
    """
    dates = [day for day in playback_dates(folder) if day < date]
    if not dates:
        raise InputError(
            Problem(
                table="playback",
                value=str(date),
                message="the log has no day before this date",
                mend="import earlier days, or choose a later date",
            )
        )
    history = read_history(folder, network.region_ids, catalogue, dates)
    rules = settings.forecast
    fitted = make_forecaster(model, days=rules.days, half_life_days=rules.half_life_days).fit(history)
    tested = min(origins, len(dates) - 1)
    scores = pd.DataFrame()
    if tested > 0:
        models = [make_forecaster(name, days=rules.days, half_life_days=rules.half_life_days) for name in FORECASTERS]
        scores = backtest(history, models, origins=tested)
    return Forecast(demand=fitted.predict(date), backtest=scores)


def place_demand(
    network: Network, catalogue: Catalogue, demand: Demand, settings: Settings, previous: np.ndarray | None
) -> Plan:
    """Solve the placement, put the files on appliances, and cost what is finally stored.

    Parameters
    ----------
    previous
        (S, F) bool, what last night's plan stored, or None.
    """
    began = time.perf_counter()
    rules = settings.placement
    problem = build_problem(
        network, catalogue, demand, candidates=settings.steering.candidates, fill_weight=rules.fill_weight, previous=previous,
        reactive_share=rules.reactive_share, link_limits=rules.link_limits,
    )  # fmt: skip
    solution = solve(problem, method=rules.method, gap=rules.gap, time_limit=rules.time_limit_s, solver=rules.solver)
    placement, finished = into_appliances(network, problem, solution, catalogue.file_ids)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return make_plan(
        network, catalogue, demand, problem, placement, finished, settings=settings,
        seconds=time.perf_counter() - began, peak_memory_gb=peak,
    )  # fmt: skip
