"""What a forecast's errors cost: the plan made from it against the plan of someone who knew the day."""

import datetime as dt
from dataclasses import dataclass, field

import numpy as np

from cdn.placement.build import build_problem
from cdn.placement.problem import Problem, evaluate
from cdn.placement.serving import best_shares
from cdn.placement.solve import solve
from cdn.settings import Settings
from demand.catalogue import Catalogue
from demand.demand import Demand
from topology.network import Network
from topology.routing import SiteTrees, site_trees


@dataclass(slots=True, eq=False)
class PlanJudge:
    """Serving cost of the demand that came, under the plan made from a forecast and under the oracle's.

    Both plans are made by the same solver, on the same empty network and without fill cost, so that the forecast is all that differs; the
    demand that came is then split over the holders at least cost within the limits. ``regret = cost / oracle_cost - 1``. A solver that stops
    at a gap makes this uncertain by about as much.
    """

    network: Network
    catalogue: Catalogue
    settings: Settings
    _trees: SiteTrees | None = None
    _oracle: dict[dt.date, float] = field(default_factory=dict)

    def __call__(self, date: dt.date, forecast: Demand, came: Demand) -> dict[str, float]:
        """``cost`` and ``oracle_cost`` of one day."""
        if date not in self._oracle:
            self._oracle[date] = self.serving_cost(self.stored_for(came), came)
        return {"cost": self.serving_cost(self.stored_for(forecast), came), "oracle_cost": self._oracle[date]}

    def stored_for(self, demand: Demand) -> np.ndarray:
        """(S, F) bool: what the solver stores for a demand."""
        rules = self.settings.placement
        solution = solve(
            self._problem(demand),
            method=rules.method,
            gap=rules.gap,
            time_limit=rules.time_limit_s,
            solver=rules.solver,
        )
        return solution.stored

    def serving_cost(self, stored: np.ndarray, came: Demand) -> float:
        """Cost of serving a demand from what is stored, at best shares."""
        problem = self._problem(came)
        return evaluate(problem, stored, best_shares(problem, stored).shares).serving

    def _problem(self, demand: Demand) -> Problem:
        if self._trees is None:
            self._trees = site_trees(self.network)
        rules = {**self.settings.problem_rules(), "fill_weight": 0.0, "fill_limits": False}  # nothing is there yet
        return build_problem(self.network, self.catalogue, demand, trees=self._trees, **rules)
