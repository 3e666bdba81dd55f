"""Regret on a network where the costs can be worked out by hand: one site of 2 GB next to the region, the origin at 10 a GB."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from cdn.regret import PlanJudge
from cdn.settings import Settings
from demand.demand import build_demand
from demand.forecast import LastDay, Pooled, SameWeekday, Smoothing, backtest, build_known
from tests.drawn_logs import draw, regions_frame
from tests.fill_nights import make_catalogue, make_network
from topology.network import build_network

DAY = dt.date(2026, 1, 8)


def near_site(storage_gb=2.0, regions=1):
    """``make_network``'s star, with the regions at the site's node, where serving from the site costs nothing."""
    star = make_network(["UTC"], [(0, storage_gb, 10.0, "02:00", 12)])
    frame = pd.DataFrame(
        {"region": [f"r{i}" for i in range(regions)], "node": "n1", "timezone": "UTC", "subscribers": 1.0}
    )
    return build_network(
        {"nodes": star.nodes, "links": star.links, "regions": frame, "sites": star.sites, "appliances": star.appliances}
    )


def says(*gb):
    there = np.flatnonzero(gb)
    return build_demand(np.zeros(len(there), int), there, np.array(gb, float)[there], np.zeros(len(there)))


@pytest.mark.parametrize(
    "forecast, cost",
    [((10, 8, 4, 2), 60.0), ((9, 9, 0, 0), 60.0), ((0, 0, 5, 5), 180.0), ((10, 0, 8, 0), 100.0), ((0, 0, 0, 0), 240.0)],
)
def test_the_demand_that_came_is_costed_under_the_plan_of_the_forecast(forecast, cost):
    judge = PlanJudge(near_site(), make_catalogue([1.0] * 4), Settings())
    came = says(10, 8, 4, 2)
    assert judge(DAY, says(*forecast), came) == pytest.approx({"cost": cost, "oracle_cost": 60.0})


def test_the_pooled_plan_loses_at_most_half_of_what_the_plan_from_yesterday_loses():
    drawn = draw(regions=5, titles=60, sessions=6000.0, days=32, seed=10)
    catalogue = drawn.catalogue
    network = near_site(0.3 * float(catalogue.size_gb.sum()), regions=5)
    known = build_known(catalogue, regions_frame(5))
    rules = Settings().placement.model_copy(update={"method": "greedy"})
    judge = PlanJudge(network, catalogue, Settings().model_copy(update={"placement": rules}))
    scores = backtest(
        drawn.history, [Pooled(known=known), Smoothing(), LastDay(), SameWeekday()], origins=4, judge=judge
    )
    regret = scores.set_index("model")["regret"]
    assert 0 <= regret["pooled"] <= 0.5 * regret["last-day"]
    assert regret["pooled"] <= regret["smoothing"]
