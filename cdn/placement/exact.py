"""The contract's problem as a mixed-integer program in PuLP, solved by HiGHS or CBC; bound, gap and shadow prices read back.

Equation numbers are those of ``docs/model.md``. Worth it up to some ten thousand shares; beyond, the decomposition or greedy.
"""

import time
import warnings
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
import pulp

from cdn.errors import InfeasiblePlanError
from cdn.placement.greedy import assemble, solve_greedy
from cdn.placement.problem import (
    Prices,
    Problem,
    Solution,
    evaluate,
    rate_limits,
    rate_uses,
    split,
    unlimited_storage_bound,
)
from cdn.placement.serving import best_shares
from topology.errors import InputError
from topology.errors import Problem as Wrong


class WarmHiGHS(pulp.HiGHS):  # type: ignore[misc]
    """PuLP's HiGHS, started from the variables' present values."""

    name = "HiGHS"

    def callSolver(self, lp: Any) -> None:  # noqa: N802 - PuLP's name
        """Hand the start over, then solve."""
        start = highspy.HighsSolution()
        start.col_value = [v.varValue or 0.0 for v in lp.variables()]
        lp.solverModel.setSolution(start)
        lp.solverModel.run()


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
    reason: str = "asked for",
) -> Solution:
    """Solve to a proven gap, from the greedy placement; never worse than that.

    Parameters
    ----------
    gap
        Relative gap of cost at which to stop.
    time_limit
        Seconds for the program, relaxation for the prices included.
    solver
        ``highs`` or ``cbc``.

    Raises
    ------
    InfeasiblePlanError
        If link limits cannot be kept by any placement.
    """
    began = time.perf_counter()
    start = solve_greedy(problem)
    model = build_model(problem)
    prices, relaxed = relaxation(problem, model, time_limit=time_limit)
    _set_start(problem, model, start)
    left = max(1.0, time_limit - (time.perf_counter() - began))
    model.program.solve(_engine(solver, gap, left, threads))
    if model.program.status == pulp.LpStatusInfeasible:
        raise InfeasiblePlanError("no placement keeps every limit", _hard_limits(problem))
    bound = max(_dual_bound(model.program, solver, gap), relaxed, unlimited_storage_bound(problem))
    stored, shares = start.stored, start.shares
    costs = evaluate(problem, stored, shares)
    if model.program.sol_status in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        found = _read(problem, model)
        split_ = best_shares(problem, found).shares
        found_costs = evaluate(problem, found, split_)
        if found_costs.objective < costs.objective:
            stored, shares, costs = found, split_, found_costs
    solved = costs.objective - bound <= gap * costs.objective * (1 + 1e-9)
    return assemble(
        stored, shares, costs, prices, bound,
        method=f"exact ({solver})", status="optimal within the gap" if solved else "time limit",
        reason=reason, seconds=time.perf_counter() - began,
    )  # fmt: skip


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
    for limit in np.flatnonzero(np.isfinite(rate_limits(problem))).tolist():
        at = slice(uses.indptr[limit], uses.indptr[limit + 1])
        load = [
            model.serve[keys[i]] * float(part * problem.peak_gbps[rows[i]])
            for i, part in zip(uses.indices[at].tolist(), uses.data[at].tolist(), strict=True)
            if problem.peak_gbps[rows[i]] > 0
        ]
        if load:
            model.program.addConstraint(pulp.lpSum(load) <= float(rate_limits(problem)[limit]), f"rate_{limit}")


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


def relaxation(problem: Problem, model: Model, *, time_limit: float) -> tuple[Prices, float]:
    """Shadow prices and value of the linear relaxation; zero prices and no bound where it takes too long."""
    model.program.solve(pulp.HiGHS(msg=False, mip=False, timeLimit=time_limit / 2, threads=1))
    if model.program.status == pulp.LpStatusInfeasible:
        raise InfeasiblePlanError("no placement keeps every limit", _hard_limits(problem))
    optimal = model.program.sol_status == pulp.LpSolutionOptimal

    def priced(name: str, count: int) -> np.ndarray:
        prices = np.zeros(count)
        for i in range(count if optimal else 0):
            row = model.program.get_constraint_by_name(f"{name}_{i}")
            if row is not None:
                prices[i] = max(0.0, -(row.pi or 0.0))
        return prices

    S, rates = problem.sites, len(rate_limits(problem))
    prices = Prices.of(problem, priced("storage", S), priced("rate", rates), priced("fill", S))
    return prices, float(pulp.value(model.program.objective)) if optimal else 0.0


def _engine(solver: str, gap: float, seconds: float, threads: int) -> Any:
    if solver == "highs":
        tight = {"mip_feasibility_tolerance": 1e-9, "primal_feasibility_tolerance": 1e-9}
        return WarmHiGHS(msg=False, gapRel=gap, timeLimit=seconds, threads=threads, random_seed=0, **tight)
    if solver == "cbc":
        with warnings.catch_warnings():  # the bundled CBC is the one there is; PuLP 4 will want another
            warnings.simplefilter("ignore", DeprecationWarning)
            return pulp.PULP_CBC_CMD(msg=False, gapRel=gap, timeLimit=seconds, threads=threads, warmStart=True)
    raise InputError(
        Wrong(
            table="arguments",
            column="placement.solver",
            value=solver,
            message="unknown solver",
            mend="use highs or cbc",
        )
    )


def _dual_bound(program: Any, solver: str, gap: float) -> float:
    """The bound the solver proved. CBC tells none through PuLP: a finished run proves its own gap, an unfinished one nothing."""
    if solver == "highs":
        bound = float(program.solverModel.getInfo().mip_dual_bound)
        return bound if np.isfinite(bound) else 0.0
    if program.sol_status == pulp.LpSolutionOptimal and program.solutionTime < program.solver.timeLimit:
        return float(pulp.value(program.objective)) * (1 - gap) - 1e-9
    return 0.0


def _set_start(problem: Problem, model: Model, start: Solution) -> None:
    for (s, f), y in model.open_.items():
        y.setInitialValue(float(start.stored[s, f]))
    for x in model.serve.values():
        x.setInitialValue(0.0)
    for n, k, share in zip(*(a.tolist() for a in split(problem, start.stored, start.shares)), strict=True):
        model.serve[n, k].setInitialValue(share)


def _read(problem: Problem, model: Model) -> np.ndarray:
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
