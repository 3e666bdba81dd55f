"""The solvers against brute force, against each other, against the laws of the problem, and against the verifier that shares nothing with them."""

import dataclasses
import itertools
import os
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from scipy.optimize import linprog

from cdn.cluster import into_appliances
from cdn.errors import InfeasiblePlanError
from cdn.placement.engines import engine
from cdn.placement.exact import build_model, solve_exact
from cdn.placement.greedy import solve_greedy
from cdn.placement.lagrangian import solve_lagrangian
from cdn.placement.problem import Problem, Solution, evaluate, unlimited_storage_bound
from cdn.placement.relaxation import Relaxation, least_excess
from cdn.placement.serving import best_shares
from cdn.placement.solve import solve
from cdn.placement.verify import verify
from cdn.plan import make_plan, write_plan
from cdn.settings import Settings
from demand.demand import write_demand
from tests.cdn.test_lagrangian import make_problem
from tests.strategies_placement import Case, cases
from topology.errors import InputError
from topology.tables import write_table

EXAMPLES = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
CLOSE = 1e-9


def brute_force(problem: Problem) -> float:
    """The optimum by trying every storage-feasible placement; serving is a linear program over all shares."""
    pairs = sorted(
        {
            (int(s), int(f))
            for n, f in enumerate(problem.file)
            for s in problem.site[problem.region[n]]
            if s >= 0 and not problem.is_origin[s] and problem.size_gb[f] <= problem.storage_gb[s]
        }
    )
    best = np.inf
    for chosen in itertools.product([False, True], repeat=len(pairs)):
        held = {pair for pair, yes in zip(pairs, chosen, strict=True) if yes}
        used = np.zeros(problem.sites)
        for s, f in held:
            used[s] += problem.size_gb[f]
        if (used > problem.storage_gb).any():
            continue
        fill = sum(problem.fill_cost[s] * problem.size_gb[f] for s, f in held if not problem.previous[s, f])
        best = min(best, fill + _serve(problem, held))
    return best


def _serve(problem: Problem, held: set[tuple[int, int]]) -> float:
    cost, entry, site, load = [], [], [], []
    for n in range(len(problem.gb)):
        r, f = problem.region[n], int(problem.file[n])
        for k, s in enumerate(problem.site[r].tolist()):
            if s >= 0 and (problem.is_origin[s] or (s, f) in held):
                cost.append(problem.gb[n] * problem.cost_per_gb[r, k])
                entry.append(n)
                site.append(s)
                load.append(problem.peak_gbps[n])
    if not cost:
        return 0.0
    one = np.equal.outer(np.arange(len(problem.gb)), entry).astype(float)
    limited = np.flatnonzero(np.isfinite(problem.throughput_gbps))
    peaks = np.equal.outer(limited, site) * np.array(load)
    found = linprog(cost, A_ub=peaks, b_ub=problem.throughput_gbps[limited], A_eq=one, b_eq=np.ones(len(one)))
    assert found.status == 0
    return float(found.fun)


def check_feasible(problem: Problem, solution: Solution) -> None:
    costs = evaluate(problem, solution.stored, solution.shares)
    edge = ~problem.is_origin
    assert (costs.used_gb[edge] <= problem.storage_gb[edge] * (1 + 1e-9)).all()
    assert (costs.site_load_gbps[edge] <= problem.throughput_gbps[edge] * (1 + 1e-6) + 1e-9).all()
    assert costs.objective == pytest.approx(solution.objective_cost, rel=CLOSE, abs=1e-9)
    if problem.arc_capacity_gbps is not None:
        assert costs.arc_load_gbps is not None
        assert (costs.arc_load_gbps <= problem.arc_capacity_gbps * (1 + 1e-6)).all()


def verified(case: Case, solution: Solution, folder: Path):
    """Write everything to files and let the verifier recompute it from them."""
    problem = case.problem()
    placement, final = into_appliances(case.network, problem, solution, case.catalogue.file_ids, case.held)
    for name, frame in {**case.tables, "titles": case.catalogue.titles, "files": case.catalogue.files}.items():
        write_table(frame, folder / f"{name}.parquet")
    write_demand(case.demand, case.network.region_ids, case.catalogue.file_ids, folder / "demand.parquet")
    rules = Settings()
    plan = make_plan(
        case.network,
        case.catalogue,
        case.demand,
        problem,
        placement,
        final,
        settings=rules,
        seconds=0.0,
        peak_memory_gb=0.0,
    )
    write_plan(plan, case.network, case.catalogue, folder / "plan")
    before = case.write_before(folder / "before")
    return final, verify(folder, folder / "demand.parquet", folder / "plan", previous=before, **case.rules)


@given(cases())
@EXAMPLES
def test_exact_greedy_and_verify_agree(case):
    """Tests that the optimum is never above greedy's cost nor below any bound, and that the files say what the solvers say, to 1e-9."""
    assume(len(case.network.links) and len(case.network.appliances))
    problem = case.problem()
    greedy, exact = solve_greedy(problem), solve_exact(problem, gap=0.0)
    for solution in (greedy, exact):
        check_feasible(problem, solution)
        with tempfile.TemporaryDirectory() as place:
            final, found = verified(case, solution, Path(place))
        assert found.feasible, found.violations
        assert found.objective_cost == pytest.approx(final.objective_cost, rel=CLOSE, abs=1e-9)
        assert found.origin_only_cost == pytest.approx(final.origin_only_cost, rel=CLOSE, abs=1e-9)
        assert found.lower_bound <= exact.objective_cost * (1 + 1e-7) + 1e-7
        assert solution.lower_bound <= exact.objective_cost * (1 + 1e-7) + 1e-7
    assert exact.objective_cost <= greedy.objective_cost * (1 + CLOSE) + 1e-9
    assert unlimited_storage_bound(problem) <= exact.objective_cost * (1 + 1e-7) + 1e-7


@given(cases())
@settings(parent=EXAMPLES, max_examples=40)
def test_exact_finds_the_optimum(case):
    """Tests the exact solver against every placement there is."""
    problem = case.problem()
    pairs = {
        (s, f)
        for n, f in enumerate(problem.file)
        for s in problem.site[problem.region[n]]
        if s >= 0 and not problem.is_origin[s]
    }
    assume(len(pairs) <= 7)
    optimum = brute_force(problem)
    exact = solve_exact(problem, gap=0.0)
    unused = 1e-5  # a split leaves 2e-7 of every limit unused, and what limits are worth may be many times the cost
    assert exact.objective_cost == pytest.approx(optimum, rel=unused, abs=1e-6)
    assert exact.lower_bound <= optimum * (1 + 1e-6) + 1e-6


@given(cases())
@settings(parent=EXAMPLES, max_examples=15)
def test_highs_and_cbc_agree(case):
    """Tests that two engines find the same optimum."""
    problem = case.problem()
    highs, cbc = solve_exact(problem, gap=0.0), solve_exact(problem, gap=0.0, solver="cbc")
    assert cbc.objective_cost == pytest.approx(highs.objective_cost, rel=1e-6, abs=1e-6)


@given(cases(links=True))
@settings(parent=EXAMPLES, max_examples=60)
def test_link_limits_are_kept(case):
    """Tests that with link limits on, every arc stays within its capacity, or no plan is given at all."""
    problem = case.problem()
    try:
        exact = solve_exact(problem, gap=0.0)
    except InfeasiblePlanError as error:
        assert "link" in str(error)
        return
    check_feasible(problem, exact)
    assert (
        exact.objective_cost
        >= solve_exact(case_without_links(case).problem(), gap=0.0).objective_cost * (1 - 1e-7) - 1e-7
    )


def case_without_links(case: Case) -> Case:
    return Case(**{**case.__dict__, "rules": {**case.rules, "link_limits": False}})


@given(cases())
@settings(parent=EXAMPLES, max_examples=30)
def test_more_storage_never_hurts(case):
    """Tests that the optimum does not rise when every site has twice the room."""
    problem = case.problem()
    roomier = dataclasses.replace(problem, storage_gb=problem.storage_gb * 2)
    assert (
        solve_exact(roomier, gap=0.0).objective_cost <= solve_exact(problem, gap=0.0).objective_cost * (1 + 1e-7) + 1e-7
    )


@given(cases())
@settings(parent=EXAMPLES, max_examples=50)
def test_shares_are_optimal_for_the_greedy_placement(case):
    """Tests the grouped program against one over all shares, where peak follows bytes region by region."""
    problem = case.problem()
    problem = dataclasses.replace(problem, peak_gbps=problem.gb * 0.01 * (1 + problem.region))
    stored = solve_greedy(problem).stored
    held = {(int(s), int(f)) for s, f in np.argwhere(stored & ~problem.is_origin[:, None])}
    serving = evaluate(problem, stored, best_shares(problem, stored).shares).serving
    assert serving == pytest.approx(_serve(problem, held), rel=1e-5, abs=1e-5)


def test_shadow_price_of_storage(two_sites_four_files):
    """Tests a price worked out by hand.

    One GB more at the near site takes the third file there and frees the far site for the fourth: 4 x 4 + 2 x 5 = 26 a day. One GB less moves the
    second file to the far site and the third to the origin: 8 x 4 + 4 x 5 = 52. The price lies between the two.
    """
    solution = solve_exact(two_sites_four_files, gap=0.0)
    assert solution.stored[0].tolist() == [True, True, False, False]
    assert solution.objective_cost == pytest.approx(10 * 1 + 8 * 1 + 4 * 5 + 2 * 10)
    assert 26 - 1e-6 <= solution.prices.storage[0] <= 52 + 1e-6
    assert 2 * 5 - 1e-6 <= solution.prices.storage[1] <= 4 * 5 + 1e-6


def test_auto_says_which_and_why(two_sites_four_files):
    """Tests that the automatic choice names itself, and that unknown methods and solvers are refused with the known ones."""
    solution = solve(two_sites_four_files, method="auto")
    assert solution.method.startswith("exact")
    assert "auto" in solution.reason
    with pytest.raises(InputError, match="greedy"):
        solve(two_sites_four_files, method="magic")
    with pytest.raises(InputError, match="highs or cbc"):
        solve(two_sites_four_files, method="exact", solver="abacus")


def test_a_missing_cbc_is_named_with_its_mend(two_sites_four_files, monkeypatch):
    """Tests that no traceback of PuLP's comes through where no CBC is installed."""
    monkeypatch.setattr("cdn.placement.engines._cbc", lambda: None)
    with pytest.raises(InputError, match="coinor-cbc"):
        solve(two_sites_four_files, method="exact", solver="cbc")


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_the_status_says_what_ended_the_search(two_sites_four_files, solver):
    """Tests that a finished solver is not said to have run out of time, for its cost is split anew, to rounding; and that one that has is."""
    assert solve_exact(two_sites_four_files, gap=0.0, solver=solver).status == "gap reached"
    assert (
        solve_exact(make_problem(3, files=80), gap=0.0, time_limit=2.0, solver=solver, workers=1).status == "time limit"
    )


class Second:
    """A stop that says so after some time, or ends in an error as a second Ctrl-C does."""

    def __init__(self, after: float, *, error: bool = False) -> None:
        self.at, self.error = time.monotonic() + after, error

    def __call__(self) -> bool:
        if self.error and time.monotonic() > self.at:
            raise KeyboardInterrupt
        return time.monotonic() > self.at


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_a_solver_ends_when_told_and_when_interrupted(solver):
    """Tests that nobody waits for the time limit, that CBC's process is gone, and that no file of it stays behind."""
    model, others = build_model(make_problem(3, files=80)), children()
    for stop in (Second(0.5), Second(0.5, error=True)):
        began, running = time.monotonic(), engine(solver, 0.0, 300.0, 1, warm=False, stop=stop)
        with pytest.raises(KeyboardInterrupt) if stop.error else nullcontext():
            model.program.solve(running)
        assert time.monotonic() - began < 30.0
        assert running.end == ("" if stop.error else "stopped")
    assert children() <= others


def children() -> set[str]:
    """Processes that this one began and that are still there: other tests of the same worker may have left a tracker of theirs."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_a_stop_in_the_relaxation_leaves_the_plan_so_far(monkeypatch):
    problem, asked = make_problem(3, files=80), []

    def relax(*_: object, **__: object) -> Relaxation:
        asked.append(True)
        return Relaxation(optimal=False, value=np.nan, prices=None, seconds=0.0)

    monkeypatch.setattr("cdn.placement.exact.solve_relaxation", relax)
    found = solve_exact(problem, gap=0.0, time_limit=5.0, workers=1, stop=lambda: bool(asked))
    assert found.status == "stopped" and "stopped before the program" in found.reason
    check_feasible(problem, found)


@pytest.mark.parametrize("solve", [solve_exact, solve_lagrangian])
@pytest.mark.parametrize("storage", [1.0, 0.5])
def test_what_must_be_stored_for_the_links_sake_is_stored(two_sites_four_files, solve, storage):
    """Tests a file that saves nothing near its region, yet without it there the link from the origin is overloaded; and that no room for it is no plan."""
    problem = dataclasses.replace(
        two_sites_four_files, storage_gb=np.array([storage, 0.0, np.inf]), cost_per_gb=np.ones((1, 3)),
        gb=np.array([1.0, 0.0, 0.0, 0.0]), peak_gbps=np.array([2.0, 0.0, 0.0, 0.0]),
        arc_capacity_gbps=np.array([1.0, 1.0]), path_start=np.array([0, 0, 0, 1]), path_arcs=np.array([0]),
    )  # fmt: skip
    if storage < 1:
        with pytest.raises(InfeasiblePlanError, match="whatever is stored"):
            solve(problem)
        return
    found = solve(problem)
    assert found.stored[0, 0]
    assert found.objective_cost == pytest.approx(1.0)


@pytest.mark.parametrize("method", ["exact", "lagrangian", "greedy"])
@pytest.mark.parametrize(("storage", "capacity", "needed"), [(0.5, 1.0, 4.0), (1.0, 1.5, 2.0), (1.0, 2.0, None)])
def test_links_that_no_plan_keeps_are_named_with_what_they_would_carry(
    two_sites_four_files, method, storage, capacity, needed
):
    """Tests two files of 1 GB and 2 Gbit/s each: without room for one of them the link from the origin carries both, with room for one the other."""
    problem = dataclasses.replace(
        two_sites_four_files, storage_gb=np.array([storage, 0.0, np.inf]), cost_per_gb=np.ones((1, 3)),
        gb=np.array([1.0, 1.0, 0.0, 0.0]), peak_gbps=np.array([2.0, 2.0, 0.0, 0.0]),
        arc_capacity_gbps=np.array([capacity, 9.0]), path_start=np.array([0, 0, 0, 1]), path_arcs=np.array([0]),
    )  # fmt: skip
    if needed is None:
        assert not least_excess(problem)
        return
    with pytest.raises(InfeasiblePlanError, match=f"arc 0: {needed:.4g} of {capacity:.4g} Gbit/s") as told:
        solve(problem, method=method)
    assert told.value.arcs == [(0, pytest.approx(needed), capacity)]
    assert ("whatever is stored" in str(told.value)) == (storage < 1)
