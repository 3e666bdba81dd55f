"""The contract's problem as a mixed-integer program in PuLP, solved by HiGHS or CBC; bound, gap and shadow prices read back.

Equation numbers are those of ``docs/model.md``. The program starts from the decomposition's plan, and stops where its best plan is proven by the decomposition's bound or its own.
Prices are those of the linear relaxation (:mod:`cdn.placement.relaxation`). Worth it up to some ten thousand shares; beyond, the decomposition alone.
"""

import dataclasses
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pulp

from cdn.errors import InfeasiblePlanError
from cdn.placement.engines import FINISHED, engine, refuse_unknown
from cdn.placement.greedy import assemble, solve_greedy
from cdn.placement.lagrangian import Report, solve_lagrangian
from cdn.placement.problem import (
    REACHED,
    STOPPED,
    Prices,
    Problem,
    Solution,
    evaluate,
    rate_limits,
    rate_uses,
    split,
    unlimited_storage_bound,
)
from cdn.placement.relaxation import solve_relaxation
from cdn.placement.serving import best_shares, refuse_hopeless

FEW = 2_000
"""Shares up to which greedy's plan is start enough."""

LEAD = 0.2
"""Part of the time that the decomposition may take for its plan and bound."""

ROUNDING = 1e-6
"""What is taken off the relaxation's value, relatively, to be a bound: its solver ends within tolerances."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """The program and its variables: ``open_[s, f]`` (y) and ``serve[n, k]`` (x)."""

    program: Any
    open_: dict[tuple[int, int], Any]
    serve: dict[tuple[int, int], Any]


def solve_exact(
    problem: Problem,
    *,
    gap: float = 1e-4,
    time_limit: float = 60.0,
    solver: str = "highs",
    threads: int = 1,
    seed: int = 0,
    workers: int = 0,
    reason: str = "asked for",
    progress: Callable[[Report], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Solution:
    """Solve to a proven gap, from the decomposition's plan (greedy's, where there is little to place); never worse than that.

    Parameters
    ----------
    gap
        Relative gap of cost at which to stop.
    time_limit
        Seconds for everything.
    solver
        ``highs`` or ``cbc``.
    seed, workers, progress, stop
        Of the decomposition; once ``stop`` says so, the best plan so far is the result.

    Raises
    ------
    InputError
        If the solver is unknown or not installed.
    InfeasiblePlanError
        If link limits cannot be kept by any placement.
    """
    began = time.perf_counter()
    refuse_unknown(solver)

    def left() -> float:
        return max(1.0, time_limit - (time.perf_counter() - began))

    refuse_hopeless(problem)
    start = None
    if shares_of(problem) <= FEW:
        with suppress(InfeasiblePlanError):  # the program may find what greed does not
            start = solve_greedy(problem)
    if start is None:
        with suppress(InfeasiblePlanError):
            start = solve_lagrangian(
                problem, gap=gap, time_limit=LEAD * time_limit, seed=seed, workers=workers, progress=progress, stop=stop
            )
    method = f"exact ({solver})"

    def stopped() -> bool:
        return stop is not None and stop()

    if start is not None and start.method == "lagrangian" and start.gap <= gap:
        said = f"{reason}; the decomposition proved it, no program was needed"
        return dataclasses.replace(start, method=method, reason=said)
    relaxed = None if stopped() else solve_relaxation(problem, time_limit=left() / 2, threads=threads, stop=stop)
    if start is not None and stopped():
        said = f"{reason}; stopped before the program"
        return dataclasses.replace(start, method=method, status=STOPPED, reason=said)
    model = build_model(problem)
    known = unlimited_storage_bound(problem)
    if start is not None:
        _set_start(problem, model, start)
        known = max(known, start.lower_bound)
    if relaxed is not None and relaxed.optimal:
        known = max(known, relaxed.value - ROUNDING * abs(relaxed.value))
    running = engine(solver, gap, left(), threads, known, warm=start is not None, stop=stop)
    model.program.solve(running)
    if model.program.status == pulp.LpStatusInfeasible:
        raise InfeasiblePlanError("no placement keeps every limit", _hard_limits(problem))
    bound = max(_dual_bound(model.program, solver, gap), known)
    plans = [] if start is None else [(start.stored, start.shares)]
    if model.program.sol_status in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        found = read_copies(problem, model)
        with suppress(InfeasiblePlanError):  # at the very limit, the solver's tolerance may be wider than the split's
            plans.append((found, best_shares(problem, found, alike=False).shares))
    if not plans:
        raise InfeasiblePlanError("no plan that keeps every limit was found in the time given", _hard_limits(problem))
    stored, shares, costs = min(
        ((stored, shares, evaluate(problem, stored, shares)) for stored, shares in plans),
        key=lambda plan: plan[2].objective,
    )
    prices = (relaxed and relaxed.prices) or (_no_prices(problem) if start is None else start.prices)
    return assemble(
        stored, shares, costs, prices, bound,
        method=method, status=_status(costs.objective, bound, gap, running.end), reason=reason, seconds=time.perf_counter() - began,
    )  # fmt: skip


def _status(cost: float, bound: float, gap: float, end: str) -> str:
    """Whether the gap asked for was reached, to rounding, and if not, what ended the search."""
    if cost - bound <= (gap + ROUNDING) * cost:
        return REACHED
    return "solver finished, but its placement costs more as demand is split" if end == FINISHED else end


def _no_prices(problem: Problem) -> Prices:
    return Prices.of(problem, np.zeros(problem.sites), np.zeros(len(rate_limits(problem))), np.zeros(problem.sites))


def shares_of(problem: Problem) -> int:
    """Ways to serve: the x variables."""
    known = (problem.site >= 0).sum(axis=1).astype(np.int16)
    return int(known[problem.region].sum(dtype=np.int64))


def build_model(problem: Problem) -> Model:
    """Minimise serving and fill cost (1) subject to (2) to (6)."""
    program = pulp.LpProblem("placement", pulp.LpMinimize)
    rows, ks = np.nonzero(problem.site[problem.region] >= 0)
    sites = problem.site[problem.region[rows], ks]
    fits = problem.is_origin[sites] | (problem.size_gb[problem.file[rows]] <= problem.storage_gb[sites])
    rows, ks, sites = rows[fits], ks[fits], sites[fits]
    edge = ~problem.is_origin[sites]
    pairs = sorted(
        set(zip(sites[edge].tolist(), problem.file[rows[edge]].tolist(), strict=True)) | _asked_pairs(problem)
    )
    open_ = {(s, f): program.add_variable(f"y_{s}_{f}", cat="Binary") for s, f in pairs}
    serve = {
        (n, k): program.add_variable(f"x_{n}_{k}", lowBound=0) for n, k in zip(rows.tolist(), ks.tolist(), strict=True)
    }
    model = Model(program=program, open_=open_, serve=serve)
    add_objective(model, problem)
    add_demand(model, len(problem.gb))
    add_holding(model, problem)
    add_storage_limits(model, problem)
    add_fill_limits(model, problem)
    add_rate_limits(model, problem)
    add_rules(model, problem)
    return model


def _asked_pairs(problem: Problem) -> set[tuple[int, int]]:
    """(site, file) of copies that rules may ask for whether or not anyone is served by them."""
    asked = np.zeros((problem.sites, problem.files), bool) if problem.pinned is None else problem.pinned.copy()
    if problem.floors is not None:
        for file, group in zip(problem.floors.file, problem.floors.group, strict=True):
            asked[:, file] |= problem.floors.member[group] & (problem.size_gb[file] <= problem.storage_gb)
    return set(zip(*(axis.tolist() for axis in np.nonzero(asked)), strict=True))


def add_objective(model: Model, problem: Problem) -> None:
    """(1) Serving cost of every share and fill cost of every new copy."""
    serving = [
        x * float(problem.gb[n] * problem.cost_per_gb[problem.region[n], k]) for (n, k), x in model.serve.items()
    ]
    fill = [
        y * float(problem.fill_cost[s] * problem.size_gb[f])
        for (s, f), y in model.open_.items()
        if not problem.previous[s, f]
    ]
    model.program.setObjective(pulp.lpSum(serving) + pulp.lpSum(fill))


def add_demand(model: Model, entries: int) -> None:
    """(2) The shares of every entry add up to one."""
    parts: list[list[Any]] = [[] for _ in range(entries)]
    for (n, _), x in model.serve.items():
        parts[n].append(x)
    for n, shares in enumerate(parts):
        model.program.addConstraint(pulp.lpSum(shares) == 1, f"demand_{n}")


def add_holding(model: Model, problem: Problem) -> None:
    """(3) Only a site that stores the file serves it."""
    for (n, k), x in model.serve.items():
        s = int(problem.site[problem.region[n], k])
        if not problem.is_origin[s]:
            model.program.addConstraint(x <= model.open_[s, int(problem.file[n])], f"holding_{n}_{k}")


def add_storage_limits(model: Model, problem: Problem) -> None:
    """(4) What a site stores fits."""
    stored: dict[int, list[Any]] = {}
    for (s, f), y in model.open_.items():
        stored.setdefault(s, []).append(y * float(problem.size_gb[f]))
    for s, sizes in stored.items():
        model.program.addConstraint(pulp.lpSum(sizes) <= float(problem.storage_gb[s]), f"storage_{s}")


def add_fill_limits(model: Model, problem: Problem) -> None:
    """(9) What a site must take in tonight fits into its fill window."""
    if problem.fill_limit_gb is None:
        return
    new: dict[int, list[Any]] = {}
    for (s, f), y in model.open_.items():
        if not problem.previous[s, f]:
            new.setdefault(s, []).append(y * float(problem.size_gb[f]))
    for s, sizes in new.items():
        model.program.addConstraint(pulp.lpSum(sizes) <= float(problem.fill_limit_gb[s]), f"fill_{s}")


def add_rate_limits(model: Model, problem: Problem) -> None:
    """(5), (6) What a site serves, and what flows over an arc, stays within its throughput or capacity in every slice of the day."""
    keys = list(model.serve)
    rows = np.array([n for n, _ in keys], np.int64)
    uses = rate_uses(problem, problem.region[rows], np.array([k for _, k in keys], np.int64)).tocsr()
    limits = rate_limits(problem)
    for limit in np.flatnonzero(np.isfinite(limits)).tolist():
        at = slice(uses.indptr[limit], uses.indptr[limit + 1])
        load = [
            model.serve[keys[i]] * float(part * problem.peak_gbps[rows[i]])
            for i, part in zip(uses.indices[at].tolist(), uses.data[at].tolist(), strict=True)
            if problem.peak_gbps[rows[i]] > 0
        ]
        if load:
            model.program.addConstraint(pulp.lpSum(load) <= float(limits[limit]), f"rate_{limit}")


def add_rules(model: Model, problem: Problem) -> None:
    """(10) Pinned copies are stored, forbidden ones are not; (11) of a floor's group so many sites store the file."""
    for (s, f), y in model.open_.items():
        if problem.pinned is not None and problem.pinned[s, f]:
            y.lowBound = 1
        if problem.forbidden is not None and problem.forbidden[s, f]:
            y.upBound = 0
    if problem.floors is not None:
        floors = problem.floors
        for q, (f, g, k) in enumerate(
            zip(floors.file.tolist(), floors.group.tolist(), floors.at_least.tolist(), strict=True)
        ):
            copies = [model.open_[s, f] for s in np.flatnonzero(floors.member[g]).tolist() if (s, f) in model.open_]
            model.program.addConstraint(pulp.lpSum(copies) >= k, f"floor_{q}")


def _dual_bound(program: Any, solver: str, gap: float) -> float:
    """The bound the solver proved. CBC tells none through PuLP: a finished run proves its own gap, an unfinished one nothing."""
    if solver == "highs":
        bound = float(program.solverModel.getInfo().mip_dual_bound)
        return bound if np.isfinite(bound) else 0.0
    if program.sol_status == pulp.LpSolutionOptimal and program.solutionTime < program.solver.timeLimit:
        return float(pulp.value(program.objective) or 0.0) * (1 - gap) - 1e-9
    return 0.0


def _set_start(problem: Problem, model: Model, start: Solution) -> None:
    for (s, f), y in model.open_.items():
        y.setInitialValue(float(start.stored[s, f]))
    for x in model.serve.values():
        x.setInitialValue(0.0)
    for n, k, share in zip(*(a.tolist() for a in split(problem, start.stored, start.shares)), strict=True):
        model.serve[n, k].setInitialValue(share)


def read_copies(problem: Problem, model: Model) -> np.ndarray:
    """(S, F) bool. Where rounding a binary overfills a site or a fill window by a hair, its smallest files that no rule asks for give way."""
    stored = np.zeros((problem.sites, problem.files), bool)
    for (s, f), y in model.open_.items():
        stored[s, f] = (y.varValue or 0.0) > 0.5
    everything = np.ones(problem.files, bool)
    asked = _asked_pairs(problem)
    limits = [(problem.storage_gb, np.broadcast_to(everything, stored.shape))]
    if problem.fill_limit_gb is not None:
        limits.append((problem.fill_limit_gb, ~problem.previous))
    for limit, counts in limits:
        for s in range(problem.sites):
            counted = counts[s]
            by_size = np.flatnonzero(stored[s] & counted)
            for f in by_size[np.argsort(problem.size_gb[by_size], kind="stable")].tolist():
                if problem.size_gb[stored[s] & counted].sum() <= limit[s]:
                    break
                if (s, f) not in asked:
                    stored[s, f] = False
    stored[problem.is_origin] = True
    return stored


def _hard_limits(problem: Problem) -> list[str]:
    """The limits that can make a problem infeasible: everything else is kept by storing nothing."""
    there = {
        "link capacities against the peak demand": problem.arc_capacity_gbps is not None,
        "pinned files": problem.pinned is not None,
        "floors on replicas": problem.floors is not None,
        "fill windows": problem.fill_limit_gb is not None,
    }
    return [name for name, asked in there.items() if asked]
