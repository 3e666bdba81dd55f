"""Plan for many days that may come instead of one: sample average approximation, and what it can and cannot add.

The serving cost is linear in the bytes. Where no limit on a rate binds, each entry goes to its best-ranked holder whatever the day brings, so the mean cost of a
placement over any days is its cost on their mean: planning for the mean *is* the sample average, exactly, and more scenarios change nothing.
Uncertain launches get the room they are worth through their mean alone. Scenarios matter where throughput or links bind: the cost of re-routing is convex in the
demand, so the mean day understates it (Jensen), and a plan with some room to spare can be better on average.

So the sample average is taken where it says something: over a few candidate plans, all for the mean bytes of the scenarios, which differ in how severe the
rates are that they plan for. Each is costed on every scenario with the limits of that scenario, the shares chosen anew each time (the second stage), and
the plan with the least mean cost is taken. What it reports is a sample average of true costs; it is the best of the candidates, not of all placements.

References
----------
Kleywegt, Shapiro and Homem-de-Mello 2002, "The sample average approximation method for stochastic discrete optimization".
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cdn.jobs import place_demand
from cdn.placement.build import build_problem
from cdn.placement.problem import evaluate
from cdn.placement.serving import best_shares
from cdn.plan import Plan
from cdn.settings import Settings
from demand.catalogue import Catalogue
from demand.demand import Demand, build_demand
from demand.scenarios import draw_scenarios, mean_demand
from topology.network import Network
from topology.placement import Placement
from topology.routing import SiteTrees, site_trees

SEVERITIES = (0.75, 0.9)
"""Quantiles over the scenarios of a region's rate that candidates plan for, beside the mean rate."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RobustPlan:
    """The plan with the least mean cost, and what every candidate costs on average.

    Parameters
    ----------
    plan
        Made for the mean bytes and its own rates; ``plan.demand`` says which.
    candidates
        One mapping a candidate: ``rates`` (``mean``, ``p75`` …), ``mean_cost`` (serving in the mean of the scenarios, and fill), ``worst_cost``,
        ``chosen``.
    """

    plan: Plan
    candidates: list[dict[str, object]]


def place_robust(
    network: Network, catalogue: Catalogue, demand: Demand, settings: Settings, before: Placement | None,
    *, scenarios: int, seed: int, stop: Callable[[], bool] | None = None,
) -> RobustPlan:  # fmt: skip
    """Draw scenarios from the demand's band, and take of the candidates the plan that costs least on their average; ``stop`` ends the search of each.

    Raises
    ------
    InputError
        The demand has no band, or fewer than one scenario is asked for.
    """
    drawn = list(draw_scenarios(demand, catalogue.title_of, scenarios, np.random.default_rng(seed)))
    mean = mean_demand(drawn)
    by_region = np.array([np.bincount(s.region, s.peak_gbps, network.regions.shape[0]) for s in drawn])
    usual = by_region.mean(axis=0)
    trees = site_trees(network)
    candidates: dict[str, Demand] = {"mean": mean}
    for severity in SEVERITIES:
        factor = np.divide(np.quantile(by_region, severity, axis=0), usual, out=np.ones_like(usual), where=usual > 0)
        candidates[f"p{100 * severity:.0f}"] = build_demand(
            mean.region, mean.file, mean.gb, mean.peak_gbps * factor[mean.region]
        )
    made = {
        name: place_demand(network, catalogue, wanted, settings, before, stop=stop)
        for name, wanted in candidates.items()
    }
    costs = {name: _costs(network, catalogue, drawn, settings, plan, trees) for name, plan in made.items()}
    best = min(costs, key=lambda name: costs[name].mean())
    rows: list[dict[str, object]] = [
        {"rates": name, "mean_cost": float(c.mean()), "worst_cost": float(c.max()), "chosen": name == best}
        for name, c in costs.items()
    ]
    return RobustPlan(plan=made[best], candidates=rows)


def _costs(
    network: Network, catalogue: Catalogue, drawn: list[Demand], settings: Settings, plan: Plan, trees: SiteTrees
) -> np.ndarray:
    """(scenarios,) serving cost of each day under a plan, within that day's limits, plus the plan's fill cost."""
    stored = plan.placement.stored(network, len(catalogue.files))
    rules, costs = {**settings.problem_rules(), "fill_weight": 0.0, "fill_limits": False}, []
    for day in drawn:
        problem = build_problem(network, catalogue, day, trees=trees, **rules)
        costs.append(evaluate(problem, stored, best_shares(problem, stored).shares).serving)
    return np.array(costs) + float(plan.summary["fill_cost"])
