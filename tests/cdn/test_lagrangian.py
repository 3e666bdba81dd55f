"""The decomposition against enumeration, the exact solver and laws."""

import dataclasses
import itertools
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cdn.errors import InfeasiblePlanError
from cdn.placement import lagrangian, shards
from cdn.placement.branch import solve_files
from cdn.placement.choices import Opening, build_choices
from cdn.placement.exact import solve_exact
from cdn.placement.facility import improve
from cdn.placement.groups import group_sites
from cdn.placement.lagrangian import solve_lagrangian
from cdn.placement.problem import Problem, evaluate
from cdn.placement.relaxation import solve_relaxation
from cdn.placement.rules import Floors
from tests.strategies_placement import at_the_very_limit, cases, solvable

EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def make_problem(
    seed: int, sites: int = 6, regions: int = 8, files: int = 60, *, tight: bool = True, candidates: int = 4
) -> Problem:
    """A random problem of the shape that matters: nearby sites alike, some storage, throughput that binds."""
    rng = np.random.default_rng(seed)
    where, there = rng.uniform(0, 1, (sites, 2)), rng.uniform(0, 1, (regions, 2))
    cost = 0.1 + np.hypot(*(there[:, None] - where[None]).transpose(2, 0, 1))
    near = np.argsort(cost, axis=1)[:, :candidates]
    site = np.column_stack([near, np.full(regions, sites)]).astype(np.int32)
    price = np.column_stack([np.take_along_axis(cost, near, 1), rng.uniform(1.5, 2, regions)])
    size = rng.lognormal(0, 0.7, files)
    gb = (np.arange(files) + 3.0)[None] ** -0.9 * rng.lognormal(0, 0.5, (regions, files)) * size * 100
    peak = gb * rng.uniform(0.5, 1.5, regions)[:, None]
    return Problem(
        size_gb=size, storage_gb=np.append(rng.uniform(0.1, 0.4, sites) * size.sum(), np.inf),
        throughput_gbps=np.append(rng.uniform(0.3, 1.2, sites) * peak.sum() / sites if tight else np.full(sites, 1e9), np.inf),
        is_origin=np.arange(sites + 1) == sites, site=site, cost_per_gb=price, region=np.tile(np.arange(regions), files).astype(np.int32),
        file=np.repeat(np.arange(files), regions).astype(np.int32), gb=gb.T.ravel(), peak_gbps=peak.T.ravel(),
        file_start=np.arange(files + 1) * regions, fill_cost=np.append(rng.uniform(0.05, 0.2, sites), 0.0),
        previous=rng.random((sites + 1, files)) < 0.2,
    )  # fmt: skip


def least_costs(problem: Problem, storage: np.ndarray, throughput: np.ndarray) -> np.ndarray:
    """(F,) the least cost of every file at given prices, by trying every set of sites."""
    edge = np.flatnonzero(~problem.is_origin & (problem.storage_gb > 0) & (problem.throughput_gbps > 0)).tolist()
    found = np.zeros(problem.files)
    for f in range(problem.files):
        rows = range(int(problem.file_start[f]), int(problem.file_start[f + 1]))
        fitting = [s for s in edge if problem.size_gb[f] <= problem.storage_gb[s]]
        best = np.inf
        for count in range(len(fitting) + 1):
            for open_ in itertools.combinations(fitting, count):
                cost = sum(
                    problem.size_gb[f] * (storage[s] + (0 if problem.previous[s, f] else problem.fill_cost[s]))
                    for s in open_
                )
                for n in rows:
                    r = problem.region[n]
                    ways = [
                        problem.gb[n] * problem.cost_per_gb[r, k]
                        + (0.0 if problem.is_origin[s] else problem.peak_gbps[n] * throughput[s])
                        for k, s in enumerate(problem.site[r])
                        if s >= 0 and (problem.is_origin[s] or s in open_)
                    ]
                    cost += min(ways)
                best = min(best, cost)
        found[f] = best
    return found


def kernels_at(problem: Problem, storage: np.ndarray, throughput: np.ndarray):
    """The kernels' arguments at given prices."""
    choices = build_choices(problem)
    rate = np.append(throughput, np.zeros(len(choices.rate_limit) - problem.sites))
    toll = np.asarray(choices.rates.T @ rate).reshape(choices.column.shape)
    return choices, toll, Opening(storage, choices.fill, choices.room, choices.window, choices.size, choices.state)


@given(st.integers(0, 10**6), st.floats(0, 30), st.floats(0, 2))
@EXAMPLES
def test_files_are_solved_exactly(seed, storage_price, throughput_price):
    """Tests that branch and bound finds the least cost of every file, its bound is that cost, and local search is never below it."""
    problem = make_problem(seed, sites=5, files=6)
    rng = np.random.default_rng(seed)
    storage, throughput = (
        rng.uniform(0, high, problem.sites) * ~problem.is_origin for high in (storage_price, throughput_price)
    )
    truth = least_costs(problem, storage, throughput)
    choices, toll, opening = kernels_at(problem, storage, throughput)
    stored, bounds = rng.random((problem.files, problem.sites)) < 0.5, np.zeros(problem.files)
    stored[:, problem.is_origin] = False

    def spent(rounds: int) -> float:
        used, filled, flow = np.zeros(problem.sites), np.zeros(problem.sites), np.zeros(toll.shape)
        files = np.arange(problem.files)
        return improve(files, choices.entries, choices.candidates, toll, opening, stored, used, filled, flow, rounds)

    assert spent(20) >= truth.sum() * (1 - 1e-9)
    cut = solve_files(
        np.arange(problem.files),
        choices.entries,
        choices.candidates,
        toll,
        opening,
        stored,
        *group_sites(choices),
        10**6,
        bounds,
    )
    assert cut == 0
    assert bounds == pytest.approx(truth, rel=1e-9)
    assert spent(0) == pytest.approx(truth.sum(), rel=1e-9)


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3]), st.sampled_from([1, 5, 10**6]))
@EXAMPLES
def test_bounds_of_small_groups_and_few_nodes_stay_bounds(seed, largest, limit):
    """Tests that cutting the sites into groups, or the search short, only lowers a file's bound."""
    problem = make_problem(seed, sites=5, files=6)
    rng = np.random.default_rng(seed)
    storage, throughput = (rng.uniform(0, high, problem.sites) * ~problem.is_origin for high in (8, 0.5))
    choices, toll, opening = kernels_at(problem, storage, throughput)
    bounds = np.zeros(problem.files)
    stored = np.zeros((problem.files, problem.sites), bool)
    groups = group_sites(choices, largest)
    assert max(np.diff(groups.start)) <= largest
    solve_files(
        np.arange(problem.files), choices.entries, choices.candidates, toll, opening, stored, *groups, limit, bounds
    )
    truth = least_costs(problem, storage, throughput)
    assert (bounds <= truth * (1 + 1e-9)).all()
    assert bounds.sum() > 0.8 * truth.sum()


@given(cases())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_bound_optimum_plan_are_in_order(case):
    """Tests that no bound exceeds the optimum and no plan beats it, and that plans keep every limit."""
    assume(len(case.network.links) and len(case.network.appliances))
    problem = case.problem()
    exact = solve_exact(problem, gap=0.0)
    found = solve_lagrangian(problem, gap=0.0, time_limit=20.0)
    slack = 1e-6 * max(1.0, exact.objective_cost)
    assert found.lower_bound <= exact.objective_cost + slack
    assert found.objective_cost >= exact.lower_bound - slack
    costs = evaluate(problem, found.stored, found.shares)
    edge = ~problem.is_origin
    assert costs.objective == pytest.approx(found.objective_cost, rel=1e-9, abs=1e-9)
    assert (costs.used_gb[edge] <= problem.storage_gb[edge] * (1 + 1e-9)).all()
    assert (costs.site_load_gbps[edge] <= problem.throughput_gbps[edge] * (1 + 1e-6) + 1e-9).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_bound_follows_from_the_prices_alone(seed):
    """Tests that the prices a solution gives, and nothing else, prove its bound, by enumeration."""
    problem = make_problem(seed, sites=5, files=30)
    found = solve_lagrangian(problem, gap=0.0, time_limit=20.0)
    edge = ~problem.is_origin
    prices = found.prices
    worth = prices.storage[edge] @ problem.storage_gb[edge] + prices.throughput[edge] @ problem.throughput_gbps[edge]
    proven = least_costs(problem, prices.storage, prices.throughput).sum() - worth
    assert proven == pytest.approx(found.lower_bound, rel=1e-6)


def test_the_plan_does_not_depend_on_the_number_of_workers(monkeypatch):
    """Tests that one thread, three, and two processes give the same plan and bound, bit for bit."""
    monkeypatch.setattr(shards, "ROUNDS", 20)
    monkeypatch.setattr(lagrangian, "BLOCK", 10)
    problem = make_problem(3, files=200)
    rng = np.random.default_rng(0)
    floors = Floors(
        file=np.arange(0, 200, 7),
        group=np.zeros(29, int),
        at_least=rng.integers(1, 3, 29),
        member=~problem.is_origin[None],
    )
    problem = dataclasses.replace(problem, floors=floors)
    one, three, apart = (
        solve_lagrangian(problem, gap=0.02, time_limit=60.0, workers=n, kind=kind)
        for n, kind in ((1, "threads"), (3, "threads"), (2, "processes"))
    )
    for other in (three, apart):
        assert (one.stored == other.stored).all()
        assert (one.objective_cost, one.lower_bound) == (other.objective_cost, other.lower_bound)


def test_scaling_sizes_and_storage_changes_nothing():
    """Tests that the same plan is found when all sizes and storages double and a filled GB costs half."""
    problem = make_problem(4)
    fields = {name: getattr(problem, name) for name in problem.__dataclass_fields__}
    fields |= {"size_gb": problem.size_gb * 2, "storage_gb": problem.storage_gb * 2, "fill_cost": problem.fill_cost / 2}
    first, second = (solve_lagrangian(p, gap=0.01, time_limit=30.0) for p in (problem, Problem(**fields)))
    assert (first.stored == second.stored).all()
    assert first.objective_cost == pytest.approx(second.objective_cost, rel=1e-9)


def test_it_stops_when_told_with_a_plan_that_holds():
    """Tests that a stop after the first epoch still gives a feasible plan and a bound below it."""
    problem = make_problem(5)
    found = solve_lagrangian(problem, gap=0.0, stop=lambda: True)
    assert found.status == "stopped"
    assert 0 < found.lower_bound <= found.objective_cost
    assert (evaluate(problem, found.stored, found.shares).used_gb[:-1] <= problem.storage_gb[:-1]).all()


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_bound_in_a_hurry_is_weaker_and_true(kind):
    """Tests that a bound that is late from its first step, or from halfway, lies between nothing and the patient one."""
    problem = make_problem(5, sites=8, regions=10, files=300)
    search = lagrangian._Search(problem, 0, 2, kind, None, time.perf_counter)
    with search.crew:
        search.approach(lambda: False, lagrangian.APPROACH, lagrangian.APPROACH_EPOCHS)
        toll = search._toll(search.mean)
        steps = itertools.count()
        patient, quick, half = (
            search.crew.bound(search.mean, toll, late)[0]
            for late in (lambda: False, lambda: True, lambda: next(steps) >= 5)
        )
        assert 0 < quick < half < patient
        assert patient - search.limits.worth(search.mean) <= search.plan().cost


def test_yesterdays_prices_are_a_better_start(monkeypatch):
    """Tests that from yesterday's prices and plan as many passes prove less than half the gap of another day's demand."""
    monkeypatch.setattr(lagrangian, "SMALL", 0)  # as where files are many
    monkeypatch.setattr(lagrangian, "APPROACH_EPOCHS", lagrangian.RETURN_EPOCHS)
    problem = make_problem(1, sites=20, regions=24, files=3000)
    factor = np.random.default_rng(0).lognormal(0.0, 0.3, problem.files)[problem.file]
    before = solve_lagrangian(problem, gap=0.02, time_limit=60.0)
    today = dataclasses.replace(
        problem, gb=problem.gb * factor, peak_gbps=problem.peak_gbps * factor, previous=before.stored
    )
    cold, warm = [], []
    solve_lagrangian(today, gap=0.5, time_limit=60.0, progress=cold.append)
    solve_lagrangian(today, gap=0.5, time_limit=60.0, start=(before.stored, before.prices), progress=warm.append)
    assert warm[-1].epochs == cold[-1].epochs
    assert warm[-1].gap <= cold[-1].gap / 2


def test_a_gap_within_a_percent_where_throughput_binds():
    """Tests the point of it all on a problem too large for enumeration."""
    problem = make_problem(7, sites=12, regions=16, files=2000, candidates=6)
    found = solve_lagrangian(problem, gap=0.005, time_limit=60.0)
    assert found.gap <= 0.005


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_prices_agree_with_the_relaxation_where_files_are_many(seed):
    """Tests that the bound is at least the linear relaxation's, but for a hair, and that its prices are near the relaxation's duals."""
    problem = make_problem(seed, sites=5, files=400)
    relaxed = solve_relaxation(problem, time_limit=60.0)
    found = solve_lagrangian(problem, gap=0.0, time_limit=15.0)
    assert relaxed.optimal
    assert relaxed.prices is not None
    assert found.lower_bound >= relaxed.value * (1 - 1e-3)
    assert found.objective_cost >= relaxed.value * (1 - 1e-9)
    priced = relaxed.prices.storage > 1e-3 * relaxed.prices.storage.max()
    assert np.median(np.abs(found.prices.storage[priced] / relaxed.prices.storage[priced] - 1)) < 0.1


def planned(problem: Problem) -> bool:
    try:
        solve_lagrangian(problem, time_limit=5.0)
    except InfeasiblePlanError:
        return False
    return True


@given(cases(links=True))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_link_limits_are_kept_and_priced(case):
    """Tests bound <= optimum <= plan with link limits, and that the plan keeps them; where none can, both solvers say so."""
    assume(len(case.network.links) and len(case.network.appliances))
    problem = case.problem()
    try:
        exact, found = solve_exact(problem, gap=0.0), solve_lagrangian(problem, gap=0.0, time_limit=20.0)
    except InfeasiblePlanError:
        assert not (solvable(problem) or planned(problem)) or at_the_very_limit(problem)
        return
    slack = 1e-6 * max(1.0, exact.objective_cost)
    assert found.lower_bound <= exact.objective_cost + slack
    assert found.objective_cost >= exact.lower_bound - slack
    load = evaluate(problem, found.stored, found.shares).arc_load_gbps
    assert load is not None
    assert (load <= problem.arc_capacity_gbps * (1 + 1e-6) + 1e-9).all()


def test_a_copy_that_only_a_full_link_asks_for_is_found():
    """Tests that link prices rise far enough where the origin is the cheapest for every region, so that nothing but a link makes a copy worth its while."""
    problem = Problem(
        size_gb=np.array([40.0]), storage_gb=np.array([41.0, np.inf]), throughput_gbps=np.array([9.0, np.inf]), is_origin=np.array([False, True]),
        site=np.array([[1, -1], [1, 0]], np.int32), cost_per_gb=np.array([[0.0, np.inf], [0.0, 5.0]]),
        region=np.array([0, 1], np.int32), file=np.array([0, 0], np.int32), gb=np.array([874.0, 765.0]), peak_gbps=np.array([60.0, 1.01]),
        file_start=np.array([0, 2]), fill_cost=np.array([0.14, 0.0]), previous=np.array([[False], [True]]),
        arc_capacity_gbps=np.array([0.5]), path_start=np.array([0, 0, 0, 1, 1]), path_arcs=np.array([0], np.int32),
    )  # fmt: skip
    found = solve_lagrangian(problem, gap=0.0, time_limit=20.0)
    least = 0.14 * 40 + 5.0 * 765 * (1 - 0.5 / 1.01)
    assert found.objective_cost == pytest.approx(least, rel=1e-6)
    assert found.stored[0, 0]


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_the_exact_solver_goes_on_from_the_decomposition(solver):
    """Tests that the program starts from the decomposition's plan and bound, ends no worse with either engine, and agrees with the relaxation."""
    problem = make_problem(3, files=80)
    first = solve_lagrangian(problem, gap=0.0, time_limit=2.0, workers=1)
    exact = solve_exact(problem, gap=1e-3, time_limit=6.0, solver=solver, workers=1)
    assert exact.method == f"exact ({solver})"
    assert exact.gap <= 1e-3 or exact.status == "time limit"
    assert exact.objective_cost <= first.objective_cost * (1 + 2e-3)
    assert exact.lower_bound <= first.objective_cost * (1 + 1e-9)
    assert first.lower_bound <= exact.objective_cost * (1 + 1e-9)
    assert solve_relaxation(problem).value <= exact.objective_cost * (1 + 1e-6)


def test_the_exact_solver_needs_no_program_where_the_decomposition_proves_enough():
    solution = solve_exact(make_problem(3, files=80), gap=0.05, time_limit=60.0, workers=1)
    assert solution.gap <= 0.05
    assert "no program was needed" in solution.reason
