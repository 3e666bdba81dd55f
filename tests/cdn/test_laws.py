"""Laws that hold with every option on: rules, floors, fill windows, links, slices of the day, fill cost and last night's plan."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cdn.errors import InfeasiblePlanError
from cdn.placement.build import build_problem
from cdn.placement.exact import solve_exact
from cdn.placement.greedy import solve_greedy
from cdn.placement.lagrangian import solve_lagrangian
from cdn.placement.problem import Problem, Solution, evaluate
from cdn.placement.rules import Floors
from demand.catalogue import build_catalogue
from demand.demand import build_demand, read_demand
from tests.cdn.test_rules import broken_rules
from tests.small_network import small_tables
from tests.strategies_placement import at_the_very_limit, cases
from topology.errors import InputError
from topology.network import build_network

LAWS = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


def solved(problem: Problem) -> tuple[Solution, Solution] | None:
    """HiGHS's optimum and the decomposition's plan; None where there is none."""
    try:
        return solve_exact(problem, gap=0.0), solve_lagrangian(problem, gap=0.0, time_limit=5.0)
    except InfeasiblePlanError:
        return None


def relabelled(problem: Problem, rng: np.random.Generator) -> Problem:
    """The same problem with files, sites and regions in another order."""
    S, F, (R, K) = problem.sites, problem.files, problem.site.shape
    sites, files, regions = rng.permutation(S), rng.permutation(F), rng.permutation(R)
    to_site, to_file, to_region = (np.argsort(order) for order in (sites, files, regions))
    region, file = to_region[problem.region], to_file[problem.file]
    order = np.lexsort((region, file))
    changes = {
        "size_gb": problem.size_gb[files], "storage_gb": problem.storage_gb[sites], "throughput_gbps": problem.throughput_gbps[sites],
        "is_origin": problem.is_origin[sites], "site": np.where(problem.site >= 0, to_site[problem.site], -1)[regions].astype(np.int32),
        "cost_per_gb": problem.cost_per_gb[regions], "region": region[order].astype(np.int32), "file": file[order].astype(np.int32),
        "gb": problem.gb[order], "peak_gbps": problem.peak_gbps[order],
        "file_start": np.searchsorted(file[order], np.arange(F + 1)).astype(np.int64), "fill_cost": problem.fill_cost[sites],
    }  # fmt: skip
    for name in ("previous", "pinned", "forbidden"):
        table = getattr(problem, name)
        changes[name] = None if table is None else table[np.ix_(sites, files)]
    if problem.fill_limit_gb is not None:
        changes["fill_limit_gb"] = problem.fill_limit_gb[sites]
    if problem.peak_shape is not None:
        changes["peak_shape"] = problem.peak_shape[regions]
    if problem.path_start is not None:
        parts = [
            problem.path_arcs[problem.path_start[p] : problem.path_start[p + 1]]
            for r in regions
            for p in range(r * K, r * K + K)
        ]
        changes["path_start"] = np.cumsum([0, *(len(part) for part in parts)])
        changes["path_arcs"] = np.concatenate([*parts, np.zeros(0, problem.path_arcs.dtype)])
    if problem.floors is not None:
        floors = problem.floors
        by = np.lexsort((floors.group, to_file[floors.file]))
        changes["floors"] = Floors(
            file=to_file[floors.file][by], group=floors.group[by], at_least=floors.at_least[by], member=floors.member[:, sites]
        )  # fmt: skip
    return dataclasses.replace(problem, **changes)


@given(cases(links=True, ruled=True), st.integers(0, 2**32 - 1))
@LAWS
def test_relabelling_changes_nothing_but_names(case, seed):
    assume(len(case.network.links) and len(case.network.appliances))
    try:
        problem = case.problem()
    except InfeasiblePlanError:
        return
    first, second = solved(problem), solved(relabelled(problem, np.random.default_rng(seed)))
    if first is None or second is None:
        assert first is second or at_the_very_limit(problem)
        return
    slack = 1e-6 * max(1.0, first[0].objective_cost)
    assert second[0].objective_cost == pytest.approx(first[0].objective_cost, abs=slack)
    for found in (first[1], second[1]):
        assert found.lower_bound <= first[0].objective_cost + slack
        assert found.objective_cost >= first[0].objective_cost - slack


@given(cases(links=True, ruled=True))
@LAWS
def test_doubling_all_sizes_and_what_holds_them_changes_nothing(case):
    assume(len(case.network.links) and len(case.network.appliances))
    try:
        problem = case.problem()
    except InfeasiblePlanError:
        return
    windows = None if problem.fill_limit_gb is None else problem.fill_limit_gb * 2
    doubled = dataclasses.replace(
        problem, size_gb=problem.size_gb * 2, storage_gb=problem.storage_gb * 2, fill_cost=problem.fill_cost / 2, fill_limit_gb=windows
    )  # fmt: skip
    first, second = solved(problem), solved(doubled)
    assert (first is None) == (second is None) or at_the_very_limit(problem)
    if first is not None and second is not None:
        assert second[0].objective_cost == pytest.approx(first[0].objective_cost, rel=1e-6, abs=1e-6)
        if "time limit" not in (
            first[1].status,
            second[1].status,
        ):  # powers of two: every sum is the same to the last bit
            assert (first[1].stored == second[1].stored).all()
            assert second[1].objective_cost == pytest.approx(first[1].objective_cost, rel=1e-12, abs=1e-12)
            assert second[1].lower_bound == pytest.approx(first[1].lower_bound, rel=1e-9, abs=1e-9)


def proven(problem: Problem, found: Solution) -> float:
    """(7) of the model at a solution's prices in plain NumPy: every file's least cost over all sets of sites that the rules allow, less what the limits are worth."""
    S, (R, K) = problem.sites, problem.site.shape
    prices, edge = found.prices, ~problem.is_origin
    by_slice = prices.rate(problem).reshape(problem.shape.shape[1], -1)
    fill = np.zeros(S) if prices.fill is None or problem.fill_limit_gb is None else prices.fill
    toll = np.zeros((R, K))
    for r, k in itertools.product(range(R), range(K)):
        for t, now in enumerate(by_slice):
            s = problem.site[r, k]
            if s >= 0:
                paid = now[s] * edge[s]
                if problem.path_start is not None:
                    paid += now[S + problem.path_arcs[slice(*problem.path_start[[r * K + k, r * K + k + 1]])]].sum()
                toll[r, k] += problem.shape[r, t] * paid
    window = np.full(S, np.inf) if problem.fill_limit_gb is None else problem.fill_limit_gb
    total = 0.0
    for f in range(problem.files):
        opening = problem.size_gb[f] * (prices.storage + (problem.fill_cost + fill) * ~problem.previous[:, f])
        pinned = np.zeros(S, bool) if problem.pinned is None else problem.pinned[:, f]
        allowed = (
            edge
            & (problem.size_gb[f] <= problem.storage_gb)
            & ((problem.size_gb[f] <= window) | problem.previous[:, f])
        )
        allowed &= np.ones(S, bool) if problem.forbidden is None else ~problem.forbidden[:, f]
        ours = [] if problem.floors is None else np.flatnonzero(problem.floors.file == f)
        best = np.inf
        free = np.flatnonzero(allowed & ~pinned)
        for chosen in itertools.product([False, True], repeat=len(free)):
            open_ = pinned.copy()
            open_[free] = chosen
            if any(
                (open_ & problem.floors.member[problem.floors.group[q]]).sum() < problem.floors.at_least[q]
                for q in ours
            ):
                continue
            cost = opening[open_].sum()
            for n in range(problem.file_start[f], problem.file_start[f + 1]):
                r, peak = problem.region[n], problem.peak_gbps[n]
                sites = problem.site[r]
                there = (sites >= 0) & (
                    problem.is_origin[sites] | (open_[sites] & ((peak == 0) | (problem.throughput_gbps[sites] > 0)))
                )
                cost += (problem.gb[n] * problem.cost_per_gb[r, there] + peak * toll[r, there]).min()
            best = min(best, cost)
        total += best
    total -= prices.storage[edge] @ problem.storage_gb[edge]
    limited = edge & np.isfinite(window)
    total -= fill[limited] @ window[limited]
    for now in by_slice:
        total -= now[:S][edge] @ problem.throughput_gbps[edge]
        if problem.arc_capacity_gbps is not None:
            total -= now[S:] @ problem.arc_capacity_gbps
    return total


@given(cases(links=True, ruled=True))
@LAWS
def test_the_bound_follows_from_the_prices_alone(case):
    assume(len(case.network.links) and len(case.network.appliances))
    try:
        problem = case.problem()
        found = solve_lagrangian(problem, gap=0.0, time_limit=5.0)
    except InfeasiblePlanError:
        return
    by_hand = min(max(proven(problem, found), 0.0), found.objective_cost)
    assert found.lower_bound == pytest.approx(by_hand, abs=1e-6 * max(1.0, found.objective_cost))


def with_rules(**changes) -> Problem:
    """The small network with a pinned, a forbidden and a twice-stored title, fill windows, links and slices, some columns replaced."""
    tables = small_tables()
    for table, columns in changes.items():
        if table != "demand":
            tables[table] = tables[table].assign(**columns)
    rules = pd.DataFrame(
        [("t0", "", "bravo", "pinned"), ("t1", "", "bravo", "forbidden")], columns=["title", "profile", "site", "rule"]
    )
    replicas = pd.DataFrame([("t2", "", 2)], columns=["title", "group", "at_least"])
    network = build_network(tables)
    catalogue = build_catalogue(tables["titles"], tables["files"], None, rules, replicas)
    region, file = (a.ravel().astype(np.int32) for a in np.meshgrid(np.arange(3), np.arange(12)))
    gb = np.random.default_rng(0).uniform(1, 20, 36)
    demand = build_demand(region, file, **{"gb": gb, "peak_gbps": gb / 4000, **changes.get("demand", {})})
    return build_problem(network, catalogue, demand, fill_limits=True, link_limits=True, peak_slices=3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"appliances": {"storage_gb": 0.0}}, "pinned files take"),
        ({"appliances": {"storage_gb": 1e12}}, None),
        ({"appliances": {"throughput_gbps": 0.0}}, None),
        ({"appliances": {"throughput_gbps": 1e12}}, None),
        ({"appliances": {"fill_hours": 0.0}}, "pinned files not there yet"),
        ({"links": {"capacity_gbps": 1e12}}, None),
        ({"links": {"capacity_gbps": 1e-9}}, "link capacities"),
        ({"links": {"cost_per_gb": 1.0}}, None),
        ({"links": {"cost_per_gb": 0.0}}, None),
        ({"files": {"size_gb": 50.0}}, "pinned files take"),
        ({"demand": {"gb": np.zeros(36), "peak_gbps": np.zeros(36)}}, None),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value)[:40],
)  # fmt: skip
@pytest.mark.parametrize("solve", [solve_exact, solve_lagrangian, solve_greedy])
def test_extremes_with_rules_on(solve, changes, said):
    """Tests that the rules are kept, or that what clashes with them is named."""
    try:
        problem = with_rules(**changes)
        found = solve(problem)
    except InfeasiblePlanError as error:
        assert said is not None, error
        assert said in str(error)
        return
    assert said is None
    assert not broken_rules(problem, found.stored)
    costs = evaluate(problem, found.stored, found.shares)
    assert np.isfinite(costs.objective) and costs.objective == pytest.approx(found.objective_cost)
    assert 0 <= found.lower_bound <= found.objective_cost * (1 + 1e-9)


def test_a_demand_that_is_no_number_is_refused(tmp_path):
    frame = pd.DataFrame({"region": ["r", "r"], "file": ["f", "g"], "gb": [1.0, np.nan], "peak_gbps": [0.1, 0.2]})
    frame.to_parquet(tmp_path / "demand.parquet")
    with pytest.raises(InputError) as refused:
        read_demand(tmp_path / "demand.parquet", pd.Index(["r"]), pd.Index(["f", "g"]))
    assert "gb" in str(refused.value)
