"""The sample average over scenarios: linear where nothing binds, and never worse than planning for the mean where something does."""

import numpy as np
import pandas as pd
import pytest

from cdn.robust import place_robust
from cdn.settings import Settings
from demand.demand import build_demand
from tests.fill_nights import make_catalogue, make_network
from topology.network import build_network

SIZES = [1.0] * 12


def network(throughput_gbps):
    """Two sites of 6 GB beside a region each; regions reach both, the origin is dear."""
    star = make_network(["UTC", "UTC"], [(0, 6.0, 10.0, "02:00", 12), (1, 6.0, 10.0, "02:00", 12)])
    frame = pd.DataFrame({"region": ["a", "b"], "node": ["n1", "n2"], "timezone": "UTC", "subscribers": 1.0})
    appliances = star.appliances.assign(throughput_gbps=throughput_gbps)
    return build_network(
        {"nodes": star.nodes, "links": star.links, "regions": frame, "sites": star.sites, "appliances": appliances}
    )


def uncertain(spread=1.0):
    region, file = np.repeat([0, 1], 12), np.tile(np.arange(12), 2)
    gb = np.concatenate([np.linspace(30, 3, 12), np.linspace(3, 30, 12)])
    return build_demand(region, file, gb, gb / 100, gb * max(0, 1 - spread), gb * (1 + spread))


def test_where_no_rate_binds_all_candidates_cost_the_same_and_what_the_mean_costs():
    made = place_robust(network(1000.0), make_catalogue(SIZES), uncertain(), Settings(), None, scenarios=20, seed=1)
    costs = [row["mean_cost"] for row in made.candidates]
    assert costs == pytest.approx([costs[0]] * 3, rel=1e-6)
    assert made.plan.summary["serving_cost"] + made.plan.summary["fill_cost"] == pytest.approx(costs[0], rel=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_rates_bind_the_mean_day_understates_and_the_chosen_plan_is_the_least(seed):
    made = place_robust(network(0.9), make_catalogue(SIZES), uncertain(1.2), Settings(), None, scenarios=15, seed=seed)
    costs = {row["rates"]: row["mean_cost"] for row in made.candidates}
    (chosen,) = [row for row in made.candidates if row["chosen"]]
    assert chosen["mean_cost"] == min(costs.values())
    assert set(costs) == {"mean", "p75", "p90"}
    assert all(row["worst_cost"] >= row["mean_cost"] for row in made.candidates)
    mean_plan = made.plan.summary["serving_cost"] + made.plan.summary["fill_cost"]
    if chosen["rates"] == "mean":  # Jensen: the cost of the mean day is no more than the mean cost of the days
        assert mean_plan <= costs["mean"] * (1 + 1e-6)
