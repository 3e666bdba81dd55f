"""Explanations: what a copy saves is what the cost function says when the copy is taken away or added."""

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings

from cdn.errors import InfeasiblePlanError
from cdn.explain import explain, savings_at, tolls
from cdn.jobs import place_demand
from cdn.placement.build import build_problem
from cdn.placement.greedy import solve_greedy
from cdn.placement.problem import Prices, Shares, evaluate
from cdn.plan import _prices, _slice_prices, read_plan, read_prices, write_plan
from cdn.settings import Settings
from tests.strategies_placement import cases
from topology.errors import InputError


@given(cases())
@settings(max_examples=30, deadline=None)
def test_a_saving_is_a_difference_of_costs(case):
    """Tests every file at every edge site against the cost function with the copy and without it, limits of throughput aside."""
    problem = case.problem()
    assume(len(problem.gb))
    free = dataclasses.replace(problem, throughput_gbps=np.full(problem.sites, np.inf))
    stored = solve_greedy(problem).stored
    for s in np.flatnonzero(~problem.is_origin).tolist():
        saving = savings_at(problem, stored, s)
        for f in range(problem.files):
            with_copy, without = stored.copy(), stored.copy()
            with_copy[s, f], without[s, f] = True, False
            cost = [_cheapest(free, held) for held in (with_copy, without)]
            assert saving[f] == pytest.approx(cost[1] - cost[0], rel=1e-9, abs=1e-9)


def _cheapest(problem, stored):
    """Serving cost when every entry goes to the cheapest holder, by the solvers' cost function."""
    rows, ks = [], []
    for n in range(len(problem.gb)):
        site, cost = problem.site[problem.region[n]], problem.cost_per_gb[problem.region[n]]
        holders = [k for k, s in enumerate(site) if s >= 0 and (problem.is_origin[s] or stored[s, problem.file[n]])]
        rows.append(n)
        ks.append(min(holders, key=lambda k: cost[k]))
    shares = Shares(row=np.array(rows), candidate=np.array(ks), share=np.ones(len(rows)))
    return evaluate(problem, stored, shares).serving


def test_a_stored_and_a_left_out_file(planned):
    placed = planned.plan.placement
    b = np.isin(planned.network.appliance_site[placed.appliance], planned.network.site_ids.get_loc("bravo"))
    held = {planned.catalogue.file_ids[f] for f in placed.file[b]}
    price = planned.plan.prices.query("kind == 'storage' and id == 'bravo'")["price"].iloc[0]
    for file in planned.catalogue.file_ids:
        found = explain(planned.network, planned.catalogue, planned.plan, "bravo", file)
        assert found.stored == (file in held) == bool(found.appliances)
        assert found.price == price
        assert found.margin == pytest.approx(found.density - price)
        assert found.density == pytest.approx(found.value / found.size_gb)
        assert f"{file} is {'stored' if found.stored else 'not stored'} at bravo" in found.sentence
        assert "  " not in found.sentence and found.sentence.endswith(".")
    ranks = sorted(
        explain(planned.network, planned.catalogue, planned.plan, "bravo", f).rank for f in planned.catalogue.file_ids
    )
    assert ranks[0] == 1 and ranks[-1] <= 12


def test_the_factor_that_would_change_the_answer(planned):
    """At ``needed_factor`` times the demand the copy is worth exactly the price of its room."""
    for file in planned.catalogue.file_ids:
        found = explain(planned.network, planned.catalogue, planned.plan, "charlie", file)
        if found.needed_factor is None:
            continue
        fill = found.needed_factor and (found.price * found.size_gb) / found.needed_factor
        assert fill >= 0
        more = _times(planned.plan.demand, found.needed_factor)
        again = explain(
            planned.network, planned.catalogue, dataclasses.replace(planned.plan, demand=more), "charlie", file
        )
        assert again.density == pytest.approx(found.price, rel=1e-9, abs=1e-9)


def _times(demand, factor):
    return dataclasses.replace(demand, gb=demand.gb * factor, peak_gbps=demand.peak_gbps * factor)


@given(cases())
@settings(max_examples=30, deadline=None)
def test_throughput_is_charged_at_its_price(case):
    """Tests savings with tolls against the same problem with the tolls written into its costs, where peak follows bytes."""
    problem = case.problem()
    assume(len(problem.gb))
    problem = dataclasses.replace(problem, peak_gbps=problem.gb * 0.01)
    toll = np.where(problem.is_origin, 0.0, np.arange(problem.sites) + 1.0)
    known = problem.site >= 0
    dearer = dataclasses.replace(
        problem, cost_per_gb=np.where(known, problem.cost_per_gb + 0.01 * toll[np.maximum(problem.site, 0)], np.inf)
    )
    stored = solve_greedy(problem).stored
    for s in np.flatnonzero(~problem.is_origin).tolist():
        charged = savings_at(problem, stored, s, toll=toll[np.maximum(problem.site, 0)])
        assert charged == pytest.approx(savings_at(dearer, stored, s), rel=1e-9, abs=1e-9)


def test_every_case_is_said_in_words(planned):
    """Tests the words for a file that nobody asks for, a fill dearer than the saving, free room, a full site, and a file too large."""

    def said(site, file, *, prices=planned.plan.prices, **change):
        plan = dataclasses.replace(planned.plan, prices=prices, **change)
        return explain(planned.network, planned.catalogue, plan, site, file)

    placed, demand = planned.plan.placement, planned.plan.demand
    bravo = planned.network.appliance_site[placed.appliance] == planned.network.site_ids.get_loc("bravo")
    stored = planned.catalogue.file_ids[placed.file[bravo][0]]
    absent = next(f for i, f in enumerate(planned.catalogue.file_ids) if i not in placed.file[bravo])
    table = planned.plan.prices
    free, dear = (table.assign(price=np.where(table["kind"] == "storage", price, 0.0)) for price in (0.0, 1e6))
    nothing, little = _times(demand, 0.0), _times(demand, 1e-9)
    assert "saves nothing, for no region that it serves asks" in said("bravo", stored, demand=nothing).sentence
    assert "nothing is lost if it makes way" in said("bravo", stored, demand=nothing).sentence
    assert "would save nothing" in said("bravo", absent, demand=nothing).sentence
    assert "less than the" in said("bravo", stored, demand=little, prices=free).sentence
    assert "room is free" in said("bravo", stored, prices=free).sentence
    assert "does not earn its place" in said("bravo", stored, prices=dear).sentence
    assert "would earn its place if demand grew" in said("bravo", absent, prices=dear).sentence


@pytest.mark.parametrize(
    ("site", "file", "message"),
    [("brvo", "t0-low", "did you mean bravo"), ("bravo", "t0-lo", "did you mean t0-low"), ("bravo", "zzzz", "see the table files"),
     ("origin", "t0-low", "an origin stores every file")],
)  # fmt: skip
def test_unknown_names_are_refused_with_the_nearest(planned, site, file, message):
    with pytest.raises(InputError, match=message):
        explain(planned.network, planned.catalogue, planned.plan, site, file)


def test_fills_are_charged_unless_the_copy_lay_there(planned):
    """Tests that a plan's price of fill windows is added to what a fill counts for, and that last night's copies pay neither."""
    table = planned.plan.prices
    windows = pd.DataFrame({"kind": "fill", "id": ["bravo"], "price": [0.5]})
    plan = dataclasses.replace(planned.plan, prices=pd.concat([table, windows], ignore_index=True))
    file = next(f for i, f in enumerate(planned.catalogue.file_ids) if (planned.plan.placement.file == i).any())
    before, at = planned.plan.placement, planned.network.site_ids.get_loc("bravo")
    held = before.stored(planned.network, len(planned.catalogue.files))[at, planned.catalogue.file_ids.get_loc(file)]
    cheap, dear = (explain(planned.network, planned.catalogue, p, "bravo", file) for p in (planned.plan, plan))
    assert dear.value == pytest.approx(cheap.value - 0.5 * cheap.size_gb)
    again = explain(planned.network, planned.catalogue, plan, "bravo", file, before)
    assert again.value > dear.value if held else again.value == pytest.approx(dear.value)


@given(cases(links=True, ruled=True))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_tolls_are_the_prices_of_what_a_gigabit_uses(case):
    """Tests tolls against a walk over slices, sites and arcs, with prices that went through a plan's tables."""
    try:
        problem = case.problem()
    except InfeasiblePlanError:
        return
    T, S = problem.shape.shape[1], problem.sites
    arcs = 0 if problem.arc_capacity_gbps is None else len(problem.arc_capacity_gbps)
    by_slice = np.random.default_rng(0).integers(0, 3, (T, S + arcs)).astype(float)
    by_slice[:, np.flatnonzero(problem.is_origin | ~np.isfinite(problem.throughput_gbps))] = 0.0
    prices = Prices.of(problem, np.zeros(S), by_slice.ravel())
    toll = tolls(problem, prices)
    for r, k in itertools.product(*map(range, problem.site.shape)):
        s, paid = problem.site[r, k], 0.0
        if s >= 0:
            path = r * problem.candidates + k
            used = (
                [s]
                if arcs == 0
                else [s, *(S + problem.path_arcs[problem.path_start[path] : problem.path_start[path + 1]])]
            )
            paid = sum(problem.shape[r, t] * by_slice[t, u] for t in range(T) for u in used)
        assert toll[r, k] == pytest.approx(paid)


def test_prices_by_slice_come_back_from_the_tables(planned, tmp_path):
    network, catalogue = planned.network, planned.catalogue
    chosen = Settings.model_validate({"placement": {"peak_slices": 3, "link_limits": True}})
    plan = place_demand(network, catalogue, planned.plan.demand, chosen, None)
    problem = build_problem(network, catalogue, plan.demand, **chosen.problem_rules())
    by_slice = np.arange(3.0 * (problem.sites + 2 * len(network.links))).reshape(3, -1) % 5
    solution = SimpleNamespace(prices=Prices.of(problem, np.zeros(problem.sites), by_slice.ravel()))
    plan = dataclasses.replace(plan, prices=_prices(network, solution), slice_prices=_slice_prices(network, solution))
    write_plan(plan, network, catalogue, tmp_path / "plan")
    assert read_plan(tmp_path / "plan", network, catalogue).slice_prices is not None
    back = read_prices(tmp_path / "plan", network)
    assert back.rate(problem) == pytest.approx(by_slice.ravel())
