"""The steps that both the single verbs and the nightly job run: forecast, place, fill. Each is a pure call over what was read."""

import dataclasses
import datetime as dt
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdn.cluster import into_appliances
from cdn.errors import InfeasiblePlanError
from cdn.fill import FillSchedule, SourceRules, difference, manifests, schedule_fills
from cdn.placement.build import build_problem
from cdn.placement.lagrangian import Report
from cdn.placement.problem import REACHED, Prices, Problem, Solution, must_keep
from cdn.placement.rules import read_floors, read_pins
from cdn.placement.solve import solve
from cdn.plan import Plan, arc_name, make_plan, placement_frame
from cdn.regret import PlanJudge
from cdn.settings import Settings
from demand.catalogue import Catalogue
from demand.demand import Demand
from demand.events import read_events
from demand.forecast import (
    BASELINES,
    Forecaster,
    backtest,
    build_known,
    load_forecaster,
    make_forecaster,
    save_forecaster,
)
from demand.forecast.care import mend_history, without_absurd
from demand.playback import History, playback_dates, read_history
from topology.errors import InputError
from topology.errors import Problem as Wrong
from topology.network import Network
from topology.placement import Placement
from topology.routing import site_trees, steering_routes

USUAL_AGE_DAYS = 2
"""A night that is planned the evening before knows the log up to the day before that evening."""

MOST_LINKS = 5
"""Links that are named where no plan keeps them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A day's demand and what it rests on.

    Parameters
    ----------
    demand
        The prediction.
    model
        Its name.
    backtest
        How well each model did on the days before, one row a model; empty without a backtest.
    days
        Days of log it was made from.
    recent_gb
        Mean volume of the last seven of them.
    notes
        What is wrong with the log, and how the forecast took it.
    log_age_days
        Days from the last of them to the day that is predicted.
    """

    demand: Demand
    model: str
    backtest: pd.DataFrame
    days: int
    recent_gb: float
    notes: Sequence[Wrong]
    log_age_days: int


def make_forecast(
    folder: Path, network: Network, catalogue: Catalogue, date: dt.date, settings: Settings, *, model: str, origins: int,
    against: Sequence[str] = BASELINES, regret: bool = False, saved: Path | None = None, save: Path | None = None,
) -> Forecast:  # fmt: skip
    """Predict ``date`` from the days of the log before it.

    Parameters
    ----------
    model
        A name of ``demand.forecast.FORECASTERS``.
    origins
        Days of the rolling-origin backtest; fewer where the log is short.
    against
        Models that are tested beside it.
    regret
        Whether the backtest also plans from each forecast and costs what the errors cost.
    saved, save
        Folder of a fitted model to start from instead of fitting, and one to write the fitted model to.

    Raises
    ------
    InputError
        If the log has no day before ``date`` or the model is unknown.
    """
    dates = days_before(folder, date)
    history = read_history(folder, network.region_ids, catalogue, dates)
    events = read_events(folder, network.region_ids, catalogue.title_ids)
    known = build_known(catalogue, network.regions, events)
    rules = settings.forecast
    horizon = (date - dates[-1]).days

    def make(name: str) -> Forecaster:
        return make_forecaster(
            name, known=known, days=rules.days, half_life_days=rules.half_life_days, horizon=horizon, seed=rules.seed
        )

    mended, notes = mend_history(history, network.region_ids, catalogue)
    if horizon > USUAL_AGE_DAYS:
        message = f"the log ends {horizon} days before {date}; what came since is not known"
        notes.append(
            Wrong(table="playback", column="start", value=str(dates[-1]), message=message, mend="import the days since")
        )
    fitted = make(model).fit(mended) if saved is None else load_forecaster(saved, known).refresh(mended)
    if save is not None:
        save_forecaster(fitted, save)
    tested = min(origins, len(dates) - 1)
    scores = pd.DataFrame()
    if tested > 0:
        models = [make(name) for name in dict.fromkeys([fitted.name, *against])]
        scores = score_forecasters(history, network, catalogue, settings, models, origins=tested, regret=regret)
    recent = mended.hourly_gb.sum(axis=(1, 2))[-7:]
    return Forecast(
        demand=fitted.predict(date),
        model=fitted.name,
        backtest=scores,
        days=len(dates),
        recent_gb=float(recent.mean()),
        notes=notes,
        log_age_days=horizon,
    )


def score_forecasters(
    history: History, network: Network, catalogue: Catalogue, settings: Settings, models: Sequence[Forecaster], *, origins: int,
    regret: bool,
) -> pd.DataFrame:  # fmt: skip
    """The rolling-origin backtest of a log as it is: mended before a model sees it, held to what can have come.

    Parameters
    ----------
    origins, regret
        As of :func:`make_forecast`; ``origins`` within 1 and the days of the history less one.
    """
    return backtest(
        history,
        models,
        origins=origins,
        judge=PlanJudge(network, catalogue, settings) if regret else None,
        prepare=lambda before: mend_history(before, network.region_ids, catalogue)[0],
        outcomes=without_absurd(history, network.region_ids, catalogue, []),
    )


def place_demand(
    network: Network,
    catalogue: Catalogue,
    demand: Demand,
    settings: Settings,
    before: Placement | None,
    *,
    prices: Prices | None = None,
    progress: Callable[[Report], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Plan:
    """Solve the placement, put the files on appliances, and cost what is finally stored.

    Parameters
    ----------
    before
        What the appliances hold, last night's plan; None for nothing.
    prices
        Last night's, to start the decomposition from.
    progress, stop
        Of :func:`~cdn.placement.lagrangian.solve_lagrangian`.
    """
    began = time.perf_counter()
    rules = settings.placement
    previous = None if before is None else before.stored(network, len(catalogue.files))
    problem = build_problem(network, catalogue, demand, previous=previous, **settings.problem_rules())
    solution = _solve(
        network, problem, method=rules.method, gap=rules.gap, time_limit=rules.time_limit_s, solver=rules.solver, seed=rules.seed, workers=rules.workers, kind=rules.worker_kind,
        start=None if previous is None or prices is None else (previous, prices), progress=progress, stop=stop,
    )  # fmt: skip
    placement, finished = into_appliances(network, problem, solution, catalogue.file_ids, before)
    if solution.status == REACHED and finished.gap > max(rules.gap, solution.gap):
        finished = dataclasses.replace(finished, status=f"{REACHED} before files went to appliances")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return make_plan(
        network, catalogue, demand, problem, placement, finished, settings=settings,
        seconds=time.perf_counter() - began, peak_memory_gb=peak,
    )  # fmt: skip


def _solve(network: Network, problem: Problem, **how: Any) -> Solution:
    """Solve; links that cannot be kept are told by name, the worst of them."""
    try:
        return solve(problem, **how)
    except InfeasiblePlanError as error:
        if not error.arcs:
            raise
        named = [
            f"link {arc_name(network, arc)} would carry {gbps:.4g} of {capacity:.4g} Gbit/s"
            for arc, gbps, capacity in error.arcs[:MOST_LINKS]
        ]
        rest = len(error.arcs) - len(named)
        raise InfeasiblePlanError(error.message, named + [f"{rest} more links"] * (rest > 0), error.arcs) from error


def days_before(folder: Path, date: dt.date) -> list[dt.date]:
    """The days of the log before ``date``, at least one.

    Raises
    ------
    InputError
        If there is none.
    """
    dates = [day for day in playback_dates(folder) if day < date]
    if not dates:
        raise InputError(
            Wrong(
                table="playback",
                value=str(date),
                message="the log has no day before this date",
                mend="import earlier days, or choose a later date",
            )
        )
    return dates


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filled:
    """A night's transfers, as tables and manifests to be written and as the schedule itself."""

    schedule: FillSchedule
    fills: pd.DataFrame
    evictions: pd.DataFrame
    manifests: Mapping[str, str]
    summary: Mapping[str, Any]


def schedule_night(
    network: Network, catalogue: Catalogue, plan: Plan, before: Placement, settings: Settings, date: dt.date
) -> Filled:
    """Schedule the transfers from last night's copies to the plan's: first what the rules ask for, then the most asked-for bytes of room first."""
    change = difference(plan.placement, before)
    trees = site_trees(network)
    worth = worth_of(network, catalogue, plan, change.added, settings)
    worth[asked_by_rules(network, catalogue, plan.placement, before, change.added)] += worth.max(initial=0.0) + 1.0
    rules = SourceRules(**settings.fill.model_dump())
    schedule = schedule_fills(network, catalogue, change, trees, date=date, value=worth, rules=rules)
    return Filled(
        schedule=schedule,
        fills=schedule.frame(network, catalogue),
        evictions=placement_frame(change.dropped, network, catalogue)[["appliance", "file"]],
        manifests=manifests(network, catalogue, change, schedule),
        summary=schedule.summary(),
    )


def asked_by_rules(
    network: Network, catalogue: Catalogue, placement: Placement, before: Placement, copies: Placement
) -> np.ndarray:
    """Of some copies of a placement, those without which a pinned file or a floor on replicas would not be kept; of floors, what lay there before counts first.

    Returns
    -------
    (len(copies),) bool.
    """
    pinned, _ = read_pins(network, catalogue)
    floors = read_floors(network, catalogue)
    if pinned is None and floors is None:
        return np.zeros(len(copies), bool)
    stored, previous = (p.stored(network, len(catalogue.files)) for p in (placement, before))
    asked = must_keep(stored, previous, pinned, floors)
    return np.asarray(asked[network.appliance_site[copies.appliance], copies.file])


def worth_of(network: Network, catalogue: Catalogue, plan: Plan, copies: Placement, settings: Settings) -> np.ndarray:
    """(len(copies),) GB a day per GB of room that regions would take of each copy's file from its site, if they took all from their best-ranked holder."""
    demand, files = plan.demand, len(catalogue.files)
    candidates = steering_routes(network, candidates=settings.steering.candidates).site[demand.region]
    stored = plan.placement.stored(network, files)
    holds = (candidates >= 0) & stored[np.maximum(candidates, 0), demand.file[:, None]]
    server = candidates[np.arange(len(demand)), holds.argmax(axis=1)].astype(np.int64)
    asked = np.bincount(server * files + demand.file, demand.gb, len(network.sites) * files).reshape(-1, files)
    return np.asarray(asked[network.appliance_site[copies.appliance], copies.file] / catalogue.size_gb[copies.file])
