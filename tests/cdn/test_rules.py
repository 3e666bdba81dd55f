"""Pinned and forbidden files, floors on replicas, fill windows and slices of the day: in every solver, against each other and against the verifier."""

import dataclasses
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings

from cdn.cluster import into_appliances
from cdn.errors import InfeasiblePlanError
from cdn.placement.build import fill_windows_gb
from cdn.placement.choices import Opening, build_choices
from cdn.placement.exact import solve_exact
from cdn.placement.floors import by_file, solve_floored
from cdn.placement.greedy import solve_greedy
from cdn.placement.lagrangian import solve_lagrangian
from cdn.placement.problem import Problem, Solution, evaluate
from cdn.placement.relaxation import solve_relaxation
from cdn.placement.rules import Floors, read_floors, read_pins
from cdn.placement.verify import verify
from cdn.plan import make_plan, write_plan
from cdn.settings import Settings
from demand.catalogue import build_catalogue
from demand.demand import write_demand
from demand.diurnal import EVENING, peak_slices
from tests.cdn.test_lagrangian import make_problem
from tests.small_network import small_tables
from tests.strategies_placement import Case, cases
from topology.errors import InputError
from topology.network import build_network
from topology.tables import write_table

EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def broken_rules(problem: Problem, stored: np.ndarray) -> list[str]:
    """What a placement breaks, told from the problem's arrays alone."""
    found = []
    if problem.pinned is not None and (problem.pinned & ~stored).any():
        found.append("pinned")
    if problem.forbidden is not None and (problem.forbidden & stored).any():
        found.append("forbidden")
    if problem.floors is not None:
        floors = problem.floors
        for f, g, k in zip(floors.file, floors.group, floors.at_least, strict=True):
            if stored[floors.member[g], f].sum() < k:
                found.append("floor")
    edge = ~problem.is_origin[:, None]
    if ((stored & edge) @ problem.size_gb > problem.storage_gb * (1 + 1e-9)).any():
        found.append("storage")
    if problem.fill_limit_gb is not None:
        new = (stored & edge & ~problem.previous) @ problem.size_gb
        if (new > problem.fill_limit_gb * (1 + 1e-9)).any():
            found.append("window")
    return found


def checked_by_verify(case: Case, problem: Problem, solution: Solution) -> float:
    """Write everything to files and let the verifier, which shares nothing with the solvers, say the same; returns its bound."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "network"
        tables = {**case.tables, "titles": case.catalogue.titles, "files": case.catalogue.files, "rules": case.catalogue.rules,
                  "replicas": case.catalogue.replicas}  # fmt: skip
        for name, table in tables.items():
            if table is not None:
                write_table(table, folder / f"{name}.csv")
        demand = Path(place) / "demand.parquet"
        write_demand(case.demand, case.network.region_ids, case.catalogue.file_ids, demand)
        rules = case.rules
        chosen = Settings.model_validate(
            {
                "steering": {"candidates": rules["candidates"]},
                "placement": {key: value for key, value in rules.items() if key != "candidates"},
            }
        )
        try:
            placement, final = into_appliances(case.network, problem, solution, case.catalogue.file_ids, case.held)
        except InfeasiblePlanError as error:  # storage and windows come in pieces
            assert "fit no appliance" in str(error)
            return 0.0
        plan = make_plan(
            case.network, case.catalogue, case.demand, problem, placement, final, settings=chosen, seconds=0.0, peak_memory_gb=0.0
        )  # fmt: skip
        write_plan(plan, case.network, case.catalogue, Path(place) / "plan")
        before = case.write_before(Path(place) / "before")
        found = verify(folder, demand, Path(place) / "plan", previous=before, **chosen.problem_rules())
        assert found.feasible, found.violations
        assert found.objective_cost == pytest.approx(final.objective_cost, rel=1e-9, abs=1e-9)
        return found.lower_bound


@given(cases(ruled=True))
@EXAMPLES
def test_every_solver_keeps_every_rule_and_bounds_stay_in_order(case):
    assume(len(case.network.links) and len(case.network.appliances))
    try:
        problem = case.problem()
        exact = solve_exact(problem, gap=0.0)
    except InfeasiblePlanError as error:
        assert error.limits
        return
    slack = 1e-6 * max(1.0, exact.objective_cost)
    relaxed = solve_relaxation(problem)
    assert not relaxed.optimal or relaxed.value <= exact.objective_cost + slack
    for solve in (lambda p: solve_lagrangian(p, gap=0.0, time_limit=20.0), solve_greedy):
        try:
            found = solve(problem)
        except InfeasiblePlanError as error:  # rare: floors that only a search would fit
            assert "replicas" in str(error)
            continue
        assert not broken_rules(problem, found.stored)
        assert found.lower_bound <= exact.objective_cost + slack
        assert found.objective_cost >= exact.lower_bound - slack
        costs = evaluate(problem, found.stored, found.shares)
        edge = ~problem.is_origin
        assert (costs.site_load_gbps[edge] <= problem.throughput_gbps[edge] * (1 + 1e-6) + 1e-9).all()
        assert checked_by_verify(case, problem, found) <= exact.objective_cost + slack
    assert not broken_rules(problem, exact.stored)
    assert checked_by_verify(case, problem, exact) <= exact.objective_cost + slack


@given(cases(links=True, ruled=True))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_links_in_slices_of_the_day_and_rules_together(case):
    assume(len(case.network.links) and len(case.network.appliances))
    try:
        problem = case.problem()
        exact = solve_exact(problem, gap=0.0)
        found = solve_lagrangian(problem, gap=0.0, time_limit=20.0)
    except InfeasiblePlanError as error:
        assert error.limits
        return
    slack = 1e-6 * max(1.0, exact.objective_cost)
    assert not broken_rules(problem, found.stored)
    assert found.lower_bound <= exact.objective_cost + slack
    assert found.objective_cost >= exact.lower_bound - slack
    load = evaluate(problem, found.stored, found.shares).arc_load_gbps
    assert (load <= problem.arc_capacity_gbps * (1 + 1e-6) + 1e-9).all()
    for solution in (found, exact):
        assert checked_by_verify(case, problem, solution) <= exact.objective_cost + slack


def ruled_problem(seed: int) -> Problem:
    """A problem with many files and every rule: a tenth pinned or forbidden somewhere, floors in two halves of the sites, tight windows, two time zones."""
    problem = make_problem(seed, sites=8, regions=10, files=400, candidates=5)
    rng = np.random.default_rng(seed)
    S, F = problem.sites, problem.files
    edge = ~problem.is_origin
    draw = rng.random((S, F))
    halves = np.arange(S) < S // 2
    member = np.array([edge, edge & halves, edge & ~halves])
    file = np.sort(rng.choice(F, 60, replace=False))
    shape = np.where((np.arange(len(problem.site)) % 2 == 0)[:, None], [1.0, 0.4, 0.7], [0.3, 1.0, 0.8])
    return dataclasses.replace(
        problem, pinned=(draw < 0.005) & edge[:, None], forbidden=(draw > 0.95) & edge[:, None], peak_shape=shape,
        fill_limit_gb=np.where(edge, 0.5 * problem.storage_gb, np.inf),
        floors=Floors(file=np.repeat(file, 2), group=np.tile([1, 2], 60), at_least=np.full(120, 1), member=member),
    )  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
def test_the_gap_stays_small_with_every_rule_on(seed):
    problem = ruled_problem(seed)
    found = solve_lagrangian(problem, gap=0.003, time_limit=60.0)
    assert not broken_rules(problem, found.stored)
    assert found.gap < 0.02
    assert found.lower_bound >= solve_relaxation(problem, time_limit=600).value * (1 - 2e-3)
    assert (found.prices.fill[~problem.is_origin] > 0).any()
    assert found.prices.by_slice.shape == (3, problem.sites)
    assert found.prices.by_slice.sum(axis=0) == pytest.approx(found.prices.throughput)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_files_with_floors_against_every_set_of_sites(seed):
    """Tests that each file's bound and copies with floors are those of its cheapest set of sites that keeps them."""
    problem = make_problem(seed, sites=6, files=30)
    rng = np.random.default_rng(seed)
    edge, S = ~problem.is_origin, problem.sites
    member = np.array([edge, edge & (np.arange(S) < 3), edge & (np.arange(S) >= 3)])
    group = np.sort(np.array([rng.permutation(3)[:2] for _ in range(30)]), axis=1).ravel()
    floors = Floors(
        file=np.repeat(np.arange(30), 2),
        group=group,
        at_least=np.where(group == 0, 4, rng.integers(1, 4, 60)),
        member=member,
    )
    problem = dataclasses.replace(problem, floors=floors, storage_gb=np.where(edge, 1e9, np.inf))
    storage, toll_price = rng.uniform(0, 8, S) * edge, rng.uniform(0, 0.5, S) * edge
    choices = build_choices(problem)
    toll = np.asarray(choices.rates.T @ toll_price).reshape(choices.column.shape)
    opening = Opening(storage, choices.fill, choices.room, choices.window, choices.size, choices.state)
    bounds, stored, one = np.zeros(30), np.zeros((30, S), bool), (np.array([0, S]), np.arange(S), np.zeros(S, np.int64))
    solve_floored(
        np.arange(30), by_file(floors, 30), choices.entries, choices.candidates, toll, opening, stored, *one, 2000, bounds
    )  # fmt: skip

    def cost(f, held):
        total = sum(
            problem.size_gb[f] * (storage[s] + (0 if problem.previous[s, f] else problem.fill_cost[s]))
            for s in np.flatnonzero(held)
        )
        for n in range(problem.file_start[f], problem.file_start[f + 1]):
            r = problem.region[n]
            total += min(
                problem.gb[n] * problem.cost_per_gb[r, k] + problem.peak_gbps[n] * toll_price[s]
                for k, s in enumerate(problem.site[r]) if held[s] or problem.is_origin[s]
            )  # fmt: skip
        return total

    for f in range(30):
        asked = [(member[floors.group[q]], floors.at_least[q]) for q in (2 * f, 2 * f + 1)]
        sets = [np.append(open_, False) for open_ in itertools.product([False, True], repeat=S - 1)]
        least = min(cost(f, held) for held in sets if all(held[group].sum() >= k for group, k in asked))
        assert bounds[f] == pytest.approx(least, rel=1e-9)
        assert all(stored[f, group].sum() >= k for group, k in asked)
        assert cost(f, stored[f]) == pytest.approx(least, rel=1e-9)


def test_a_slice_of_the_day_frees_what_time_zones_do_not_ask_at_once():
    """Tests that two regions half a day apart fit a site that could not bear both busiest hours, and that one slice refuses."""
    shape = peak_slices(np.array(["UTC", "Asia/Tokyo", "America/Los_Angeles"]), 24, EVENING)
    assert shape.shape == (3, 24)
    assert (shape.max(axis=1) == 1).all()
    assert shape[0].argmax() == 21 or shape[0, 21] == 1
    assert shape.sum(axis=0).max() < 2.9
    assert (peak_slices(np.array(["UTC"]), 1, EVENING) == 1).all()


@pytest.fixture
def small():
    tables = small_tables()
    return build_network(tables), build_catalogue(tables["titles"], tables["files"])


def frame(columns, *rows):
    return pd.DataFrame(list(rows), columns=columns)


RULE, REPLICA = ["title", "profile", "site", "rule"], ["title", "group", "at_least"]


@pytest.mark.parametrize(
    ("rules", "replicas", "said"),
    [
        (frame(RULE, ("t1", "", "nowhere", "pinned")), None, "no such site"),
        (frame(RULE, ("t1", "", "origin", "forbidden")), None, "an origin stores every file"),
        (frame(RULE, ("t1", "none", "bravo", "pinned")), None, "no such encode"),
        (frame(RULE, ("t1", "", "bravo", "pinned"), ("t1", "high", "bravo", "forbidden")), None, "both pinned and forbidden"),
        (None, frame(REPLICA, ("t1", "mars", 1)), "no edge site is of this group"),
        (None, frame(REPLICA, ("t1", "", 9)), "more than the group has sites"),
    ],
)  # fmt: skip
def test_rules_that_make_no_sense_are_named(small, rules, replicas, said):
    network, catalogue = small
    catalogue = build_catalogue(catalogue.titles, catalogue.files, None, rules, replicas)
    with pytest.raises(InputError, match=said):
        read_pins(network, catalogue)
        read_floors(network, catalogue)


def test_windows_of_a_site_add_up(small):
    network, _ = small
    own = network.appliances
    expected = sum(own["fill_gbps"][own["site"] == "bravo"] * own["fill_hours"][own["site"] == "bravo"]) * 450
    assert fill_windows_gb(network)[network.site_ids.get_loc("bravo")] == pytest.approx(expected)
