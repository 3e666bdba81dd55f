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
from cdn.explain import savings_at
from cdn.fill import FillSchedule, SourceRules, difference, manifests, schedule_fills
from cdn.placement.lagrangian import Report
from cdn.placement.problem import Prices, Problem, build_problem, evaluate
from cdn.placement.rules import read_pins
from cdn.placement.serving import best_shares
from cdn.placement.solve import solve
from cdn.plan import Plan, make_plan, placement_frame, recost
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
from demand.playback import playback_dates, read_history
from topology.errors import InputError
from topology.errors import Problem as Wrong
from topology.network import Network
from topology.placement import Placement
from topology.routing import site_trees, steering_routes


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
        What was wrong with the log and mended before the forecast.
    """

    demand: Demand
    model: str
    backtest: pd.DataFrame
    days: int
    recent_gb: float
    notes: Sequence[Wrong] = ()


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
    fitted = make(model).fit(mended) if saved is None else load_forecaster(saved, known).refresh(mended)
    if save is not None:
        save_forecaster(fitted, save)
    tested = min(origins, len(dates) - 1)
    scores = pd.DataFrame()
    if tested > 0:
        models = [make(name) for name in dict.fromkeys([fitted.name, *against])]
        judge = PlanJudge(network, catalogue, settings) if regret else None
        scores = backtest(
            history,
            models,
            origins=tested,
            judge=judge,
            prepare=lambda before: mend_history(before, network.region_ids, catalogue)[0],
            outcomes=without_absurd(history, network.region_ids, catalogue, []),
        )
    recent = mended.hourly_gb.sum(axis=(1, 2))[-7:]
    return Forecast(
        demand=fitted.predict(date),
        model=fitted.name,
        backtest=scores,
        days=len(dates),
        recent_gb=float(recent.mean()),
        notes=notes,
    )


def place_demand(
    network: Network,
    catalogue: Catalogue,
    demand: Demand,
    settings: Settings,
    previous: np.ndarray | None,
    *,
    prices: Prices | None = None,
    progress: Callable[[Report], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Plan:
    """Solve the placement, put the files on appliances, and cost what is finally stored.

    Parameters
    ----------
    previous
        (S, F) bool, what last night's plan stored, or None.
    prices
        Last night's, to start the decomposition from.
    progress, stop
        Of :func:`~cdn.placement.lagrangian.solve_lagrangian`.
    """
    began = time.perf_counter()
    rules = settings.placement
    problem = build_problem(network, catalogue, demand, previous=previous, **settings.problem_rules())
    solution = solve(
        problem, method=rules.method, gap=rules.gap, time_limit=rules.time_limit_s, solver=rules.solver, seed=rules.seed, workers=rules.workers, kind=rules.worker_kind,
        start=None if previous is None or prices is None else (previous, prices), progress=progress, stop=stop,
    )  # fmt: skip
    placement, finished = into_appliances(network, problem, solution, catalogue.file_ids)
    if finished.gap > rules.gap >= solution.gap:
        finished = dataclasses.replace(finished, status="optimal within the gap before files went to appliances")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return make_plan(
        network, catalogue, demand, problem, placement, finished, settings=settings,
        seconds=time.perf_counter() - began, peak_memory_gb=peak,
    )  # fmt: skip


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
    """Schedule the transfers from last night's copies to the plan's, the most asked-for bytes of room first."""
    change = difference(plan.placement, before)
    trees = site_trees(network)
    asked = _served_gb(network, catalogue, plan, settings)
    site = network.appliance_site[change.added.appliance]
    worth = asked[site, change.added.file] / catalogue.size_gb[change.added.file]
    pinned, _ = read_pins(network, catalogue)
    if pinned is not None:  # first what must be there
        worth[pinned[site, change.added.file]] += worth.max(initial=0.0) + 1.0
    rules = SourceRules(**settings.fill.model_dump())
    schedule = schedule_fills(network, catalogue, change, trees, date=date, value=worth, rules=rules)
    return Filled(
        schedule=schedule,
        fills=schedule.frame(network, catalogue),
        evictions=placement_frame(change.dropped, network, catalogue)[["appliance", "file"]],
        manifests=manifests(network, catalogue, change, schedule),
        summary=schedule.summary(),
    )


def settle(
    network: Network, catalogue: Catalogue, plan: Plan, before: Placement, settings: Settings, date: dt.date
) -> tuple[Plan, Filled]:
    """Schedule the night, and cut the plan down to what its fill windows can bring.

    Copies that no window has time for leave the plan. In their place stays what the appliance holds already and was to drop, as far as it fits and saves
    something, the most saving a GB first. So the plan names what will be there, and the next night starts from the truth.

    Returns
    -------
    The plan, costed anew with the same proven bound, and its transfers, all of which are finished; their summary counts what was left out as unfinished.
    """
    filled = schedule_night(network, catalogue, plan, before, settings, date)
    left_out, left_gb = 0, 0.0
    while len(filled.schedule.unfinished):  # every round takes copies away
        left_out += len(filled.schedule.unfinished)
        left_gb += filled.schedule.unfinished_gb
        plan = _cut(network, catalogue, plan, before, settings, filled.schedule)
        filled = schedule_night(network, catalogue, plan, before, settings, date)
    gb = float(filled.summary["gb"])
    whole = gb + left_gb
    counted = {"unfinished": left_out, "unfinished_gb": left_gb, "finished_share": gb / whole if whole > 0 else 1.0}
    return plan, dataclasses.replace(filled, summary={**filled.summary, **counted})


def _cut(
    network: Network, catalogue: Catalogue, plan: Plan, before: Placement, settings: Settings, schedule: FillSchedule
) -> Plan:
    rules, files = settings.placement, len(catalogue.files)
    wanted, late = _keys(plan.placement, files), _keys(schedule.unfinished, files)
    held = np.setdiff1d(wanted, late)
    previous = before.stored(network, files)
    problem = build_problem(network, catalogue, plan.demand, previous=previous, **settings.problem_rules())
    room = network.appliances["storage_gb"].to_numpy(float) * (1.0 - rules.reactive_share)
    room = room - np.bincount(held // files, catalogue.size_gb[held % files], len(room))
    spare = np.setdiff1d(_keys(schedule.dropped, files), held)
    held = np.concatenate([held, _worth_keeping(network, problem, held, spare, room)])
    placement = Placement.of(held // files, held % files)
    stored = placement.stored(network, files)
    shares = best_shares(problem, stored).shares
    return recost(network, catalogue, plan, problem, placement, shares, evaluate(problem, stored, shares))


def _keys(placement: Placement, files: int) -> np.ndarray:
    return np.asarray(placement.appliance.astype(np.int64) * files + placement.file)


def _worth_keeping(
    network: Network, problem: Problem, held: np.ndarray, spare: np.ndarray, room: np.ndarray
) -> np.ndarray:
    """Of the copies that were to be dropped, those that fit beside what is held and save something, by saving per GB."""
    files = problem.files
    stored = Placement.of(held // files, held % files).stored(network, files)
    site = network.appliance_site[spare // files]
    saving = np.zeros(len(spare))
    for s in np.unique(site).tolist():
        here = site == s
        useful = ~stored[s] if problem.forbidden is None else ~stored[s] & ~problem.forbidden[s]
        saving[here] = np.where(useful, savings_at(problem, stored, s), 0.0)[spare[here] % files]
    order = np.lexsort((spare, -saving / problem.size_gb[spare % files]))
    kept: list[int] = []
    for i in order[saving[order] > 0].tolist():
        a, f = divmod(int(spare[i]), files)
        s = network.appliance_site[a]
        if problem.size_gb[f] <= room[a] and not stored[s, f]:
            room[a] -= problem.size_gb[f]
            stored[s, f] = True
            kept.append(int(spare[i]))
    return np.array(kept, np.int64)


def _served_gb(network: Network, catalogue: Catalogue, plan: Plan, settings: Settings) -> np.ndarray:
    """(S, F) GB that regions would take of each file from their best-ranked holder."""
    demand, files = plan.demand, len(catalogue.files)
    candidates = steering_routes(network, candidates=settings.steering.candidates).site[demand.region]
    stored = plan.placement.stored(network, files)
    holds = (candidates >= 0) & stored[np.maximum(candidates, 0), demand.file[:, None]]
    server = candidates[np.arange(len(demand)), holds.argmax(axis=1)].astype(np.int64)
    return np.bincount(server * files + demand.file, demand.gb, len(network.sites) * files).reshape(-1, files)
