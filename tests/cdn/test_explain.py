"""Explanations: what a copy saves is what the cost function says when the copy is taken away or added."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings

from cdn.explain import explain, savings_at
from cdn.placement.greedy import solve_greedy
from cdn.placement.problem import Shares, evaluate
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
        more = dataclasses.replace(planned.plan.demand, gb=planned.plan.demand.gb * found.needed_factor)
        again = explain(
            planned.network, planned.catalogue, dataclasses.replace(planned.plan, demand=more), "charlie", file
        )
        assert again.density == pytest.approx(found.price, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("site", "file", "message"),
    [("brvo", "t0-low", "did you mean bravo"), ("bravo", "t0-lo", "did you mean t0-low"), ("bravo", "zzzz", "see the table files"),
     ("origin", "t0-low", "an origin stores every file")],
)  # fmt: skip
def test_unknown_names_are_refused_with_the_nearest(planned, site, file, message):
    with pytest.raises(InputError, match=message):
        explain(planned.network, planned.catalogue, planned.plan, site, file)
