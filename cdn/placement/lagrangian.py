"""The decomposition: prices on every limit, exact facility location file by file, a true bound at every report, a plan that fits.

    bound(prices) = sum over files of their least cost at the prices  -  prices times limits

holds at any prices >= 0 (``docs/model.md``, (7)). Since files are solved as integers, it is often better than the linear relaxation. Three things alternate:
epochs, in which all files are solved in small batches while prices follow the use of the limits (:mod:`cdn.placement.control`); the bound, at the
epochs' mean prices; and a plan, from what the files hold now: packed to fit (:mod:`cdn.placement.repair`), then split exactly (:mod:`cdn.placement.serving`).
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numba as nb
import numpy as np
from numba.core.event import TimingListener, install_listener

from cdn.errors import InfeasiblePlanError
from cdn.placement.choices import Choices, build_choices
from cdn.placement.control import Controller, Gains, Limits, PriceVector
from cdn.placement.crew import Crew, ProcessCrew, Workers, total
from cdn.placement.exchange import exchange
from cdn.placement.floors import by_file, keep_floors
from cdn.placement.greedy import assemble
from cdn.placement.groups import LARGEST, WIDEST, group_sites
from cdn.placement.master import Master
from cdn.placement.problem import (
    REACHED,
    STALLED,
    STOPPED,
    TIME_LIMIT,
    Prices,
    Problem,
    Solution,
    add_up,
    evaluate,
    fill_cost,
    unlimited_storage_bound,
)
from cdn.placement.repair import fit_sites
from cdn.placement.serving import Start, best_shares, refuse_hopeless
from cdn.placement.shards import Use, cut, opening_at

APPROACH = Gains(storage=1.0, rate=0.3, storage_memory=6.0, rate_memory=4.0, start=0.7, end=0.05)
RETURN = Gains(storage=1.0, rate=0.3, storage_memory=5.0, rate_memory=4.0, start=1.0, end=0.05, own_pace=True)
SETTLE = Gains(storage=1.0, rate=0.03, storage_memory=1.0, rate_memory=0.3, start=1.0, end=0.5)
"""Gains while prices are far from right, with local search only; while yesterday's follow today's demand, likewise, most of them right and some far off,
each at its own pace; and when they are near, with exact files."""

APPROACH_EPOCHS, RETURN_EPOCHS = 20, 10
CYCLE = 4
"""Epochs between two reports once files are solved exactly."""

FIRST_PLAN = 4
"""Epochs from nothing until a first plan: at prices that nobody knows yet it would cost more time and room than all later ones, and be worth nothing."""

BATCHES = 50
NODE_LIMIT = 2000
BLOCK = 200_000
"""Ways to serve in a shard's batch at least: smaller ones are not worth a thread."""

SMALL = 2_000_000
"""Ways to serve up to which a plan is made after every exact epoch, prices are finished by Dantzig-Wolfe and plans by exchange: with few files chance and
single files decide much, and every step is cheap."""

CALM, CALMER, CALMEST = 0.9, 0.7, 0.1
"""In a small problem each file shakes the prices, so gains fall by the first factor every epoch, in others by the second every cycle, to the last at least."""

MASTER_STEPS = 6
ROUNDINGS = 10
EXCHANGES = 60
"""Steps of Dantzig-Wolfe, plans rounded from what they end with, and tries of exchange, at every report of a small problem."""

HOME_BLOCK = 8_000_000
"""Pairs of a site and a file whose first worth is taken at a time."""

PATIENCE = 5
"""Reports without a better gap before the solver gives up on its target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How far the solver is: best cost and bound so far, their gap, seconds, and epochs done.

    Before there is a plan, the cost is infinite and the gap 1; before a bound is proven, it is that of unlimited storage.
    """

    cost: float
    bound: float
    seconds: float
    epochs: int

    @property
    def gap(self) -> float:
        """Relative gap of cost."""
        if np.isinf(self.cost):
            return 1.0
        return (self.cost - self.bound) / self.cost if self.cost > 0 else 0.0


def solve_lagrangian(
    problem: Problem,
    *,
    gap: float = 1e-3,
    time_limit: float = 60.0,
    seed: int = 0,
    workers: int = 0,
    kind: Workers = "threads",
    start: tuple[np.ndarray, Prices] | None = None,
    reason: str = "asked for",
    progress: Callable[[Report], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Solution:
    """Place files by decomposition until the gap is proven, time is up, or nothing improves.

    Parameters
    ----------
    gap
        Relative gap of cost at which to stop.
    time_limit
        Seconds, from the call; the best plan so far is returned. What it takes to compile the kernels, once on a machine, does not count.
    workers, kind
        Threads or processes; 0 for one a core. They change nothing but the time.
    start
        Yesterday's (S, F) placement and prices, to start from.
    progress
        Called with every report, and on the way to the first after every epoch.
    stop
        Asked after every epoch; when true, the best plan so far is returned.

    Raises
    ------
    InfeasiblePlanError
        If no placement that keeps the link limits exists, or none was found; or pinned files do not fit.
    """
    began, compiling = time.perf_counter(), TimingListener()
    closing = 0.0  # seconds from the last epoch to the end, as it was last time: they belong within the limit, too

    def spent() -> float:
        return time.perf_counter() - began - (compiling.duration if compiling.done else 0.0)

    with install_listener("numba:compile", compiling):
        search = _Search(problem, seed, workers or os.cpu_count() or 1, kind, start, spent)

    def stopped(closing: float = 0.0) -> bool:
        return spent() + closing > time_limit or (stop is not None and stop())

    def over() -> bool:
        return stopped(search.pace + max(closing, 2 * search.planning))

    refuse_hopeless(problem)
    small = len(problem.gb) * problem.candidates <= SMALL
    reports: list[Report] = []
    plans: list[_Plan] = []

    def tell() -> bool:
        if start is None and search.epochs == FIRST_PLAN:
            plans.append(search.plan())
        if progress is not None:
            cost = plans[0].cost if plans else np.inf
            progress(Report(cost=cost, bound=free, seconds=spent(), epochs=search.epochs))
        return over()

    with install_listener("numba:compile", compiling), search.crew:
        free = unlimited_storage_bound(problem)
        search.approach(tell, *((APPROACH, APPROACH_EPOCHS) if start is None else (RETURN, RETURN_EPOCHS)))
        if not plans or search.epochs > FIRST_PLAN:
            plans.append(search.plan())
        best = _cheapest(plans)
        while True:
            search.raise_bound(stopped)
            if small:
                plans += search.finish_prices(stopped)
            best = _cheapest([best, *plans])
            if small and np.isfinite(_cheapest(plans).cost) and best.cost - search.bound > gap * best.cost:
                best = _cheapest([best, search.exchange(_cheapest(plans))])
            seconds = spent()
            closing = seconds - search.rested + search.planning
            reports.append(Report(cost=best.cost, bound=search.bound, seconds=seconds, epochs=search.epochs))
            if progress is not None:
                progress(reports[-1])
            if reports[-1].gap <= gap or over() or _stalled(reports):
                break
            plans = search.settle(over, cycle=len(reports) - 1, small=small)
    status = _end(reports, gap, stop)
    if np.isinf(best.cost):
        raise InfeasiblePlanError(
            "no plan was found that keeps the link limits", ["link capacities", "storage behind them"]
        )
    shares = best_shares(problem, best.stored, start=best.start).shares
    return assemble(
        best.stored, shares, evaluate(problem, best.stored, shares), search.shadow_prices(), search.bound,
        method="lagrangian", status=status, reason=reason, seconds=time.perf_counter() - began,
    )  # fmt: skip


def _end(reports: list[Report], gap: float, stop: Callable[[], bool] | None) -> str:
    """What ended the search."""
    if reports[-1].gap <= gap:
        return REACHED
    if stop is not None and stop():
        return STOPPED
    return STALLED if _stalled(reports) else TIME_LIMIT


def _stalled(reports: list[Report]) -> bool:
    return len(reports) > PATIENCE and min(r.gap for r in reports[-PATIENCE:]) >= 0.99 * reports[-PATIENCE - 1].gap


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plan:
    """(S, F) ``stored`` and its cost, with the best split; ``state`` (F, S): the rules' bits, and pins where a copy holds a floor.

    Where links cannot carry what the stored files leave to them, the cost is infinite and there is no split.
    """

    stored: np.ndarray
    state: np.ndarray
    cost: float
    start: Start | None


def _cheapest(plans: list[_Plan]) -> _Plan:
    return min(plans, key=lambda plan: plan.cost)


class _Search:
    """The state between epochs: what files hold, what that uses, the prices, the best bound; and the seconds that the last epoch and the last plan took."""

    def __init__(
        self, problem: Problem, seed: int, workers: int, kind: Workers, start: tuple[np.ndarray, Prices] | None, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.problem, self.rng = problem, np.random.default_rng(seed)
        self.choices = choices = build_choices(problem)
        files, ways = problem.files, len(problem.gb) * choices.candidates.site.shape[1]
        batches = max(1, min(BATCHES, files // 4))
        shards = int(np.clip(ways // (batches * BLOCK // 10), 1, 8))
        stored = np.zeros((files, problem.sites), bool)
        if start is not None:
            stored[:] = start[0].T & ~problem.is_origin
        asked = add_up(problem.file, problem.gb, files)
        hands = cut(files, asked, shards, batches, self.rng)
        self.groups, wide = group_sites(choices, LARGEST), group_sites(choices, WIDEST)
        floors = None if problem.floors is None else by_file(problem.floors, files)
        state = choices.state if floors is None else choices.state.copy()
        make = Crew if kind == "threads" else ProcessCrew
        self.crew = make(choices, floors, self.groups, wide, hands, stored, state, NODE_LIMIT, workers)
        self.limits = _limits(problem, choices)
        self.controller = Controller(self.limits, _first_prices(problem, choices, self.limits, start))
        self.mean, self.best_prices, self.bound = (
            self.controller.lasting.copy(),
            self.controller.lasting.copy(),
            -np.inf,
        )
        prices, toll = self.mean, self._toll(self.mean)
        self.uses: list[Use] = [self.crew.measure(batch, prices, toll) for batch in range(batches)]
        self.fresh, self.epochs = True, 0
        self.clock, self.rested = clock, clock()
        self.pace, self.planning = 0.0, 0.0
        self.master: Master | None = None

    def approach(self, over: Callable[[], bool], gains: Gains, epochs: int) -> None:
        """From first prices, or yesterday's, to about the right ones, by local search."""
        for epoch in range(epochs):
            self.epoch(gains, gains.at(epoch, epochs), exact=False)
            if over():
                break

    def settle(self, over: Callable[[], bool], *, cycle: int, small: bool) -> list[_Plan]:
        """A cycle of exact epochs; returns the plans made on the way, the last at its end."""
        plans = []
        for epoch in range(CYCLE):
            calm = (
                max(CALMEST, CALM ** (CYCLE * cycle + epoch))
                if small
                else max(CALMEST, CALMER**cycle) * SETTLE.at(epoch, CYCLE)
            )
            self.epoch(SETTLE, calm, exact=True)
            if small:
                plans.append(self.plan())
            if over():
                break
        return plans or [self.plan()]

    def epoch(self, gains: Gains, scale: float, *, exact: bool) -> None:
        """Solve every file once, batch by batch, while prices follow."""
        began, batches = self.clock(), len(self.uses)
        storage, fill, flow, _ = total(self.uses)
        paid: PriceVector | None = None
        self.controller.begin(gains)
        for done, batch in enumerate(self.rng.permutation(batches).tolist()):
            prices = self.controller.prices(self._use(storage, fill, flow), gains, scale)
            old, new = self.uses[batch], self.crew.step(batch, prices, self._toll(prices), exact=exact)
            self.uses[batch] = new
            storage, fill, flow = (
                storage - old.storage + new.storage,
                fill - old.fill + new.fill,
                flow - old.flow + new.flow,
            )
            self.controller.learn(self._use(storage, fill, flow), gains, scale / batches)
            paid = prices if paid is None else paid.blend(prices, 1 / (done + 1))
        assert paid is not None
        self.epochs, self.rested = self.epochs + 1, self.clock()
        self.pace = self.rested - began
        self.mean = paid if self.fresh else self.mean.blend(paid, 0.5)
        self.fresh = False

    def raise_bound(self, late: Callable[[], bool]) -> None:
        """Bound the problem at the mean prices; keep the best."""
        self._bound_at(self.mean, late)

    def finish_prices(self, late: Callable[[], bool]) -> list[_Plan]:
        """Some steps of Dantzig-Wolfe from the best prices; plans from what they end with."""
        if self.master is None:
            self.master = Master(self.choices, self.limits)
            self.master.add(np.zeros_like(self.crew.stored), self._toll(self.best_prices))
        self.master.add(self.crew.holdings(), self._toll(self.mean))
        for _ in range(MASTER_STEPS):
            prices = self.master.prices(self.best_prices)
            better, found = self._bound_at(prices, late)
            new = self.master.add(found, self._toll(prices))
            if not better:
                self.master.width *= 0.6
            if not new and not better:
                break
        self.master.prices(self.best_prices)
        return [self._fitted(stored) for stored in self.master.rounded(ROUNDINGS, self.rng)]

    def exchange(self, plan: _Plan) -> _Plan:
        """The plan after some exchanges."""
        prices = self.mean.copy()

        def toll(rate: np.ndarray) -> np.ndarray:
            prices.rate = rate
            return self._toll(prices)

        assert plan.start is not None
        choices = self.choices._replace(state=plan.state)
        stored, cost, start = exchange(self.problem, choices, plan.stored, plan.start, toll, EXCHANGES)
        return _Plan(stored=stored, state=plan.state, cost=cost, start=start)

    def _bound_at(self, prices: PriceVector, late: Callable[[], bool]) -> tuple[bool, np.ndarray]:
        """Bound the problem; keep the bound and its prices if best. Says whether it was, and where the files are stored at these prices, (F, S)."""
        found, stored = self.crew.bound(prices, self._toll(prices), late)
        found -= self.limits.worth(prices)
        better = found > self.bound
        if better:
            self.bound, self.best_prices = found, prices.copy()
        return better, stored

    def plan(self) -> _Plan:
        """A plan from what the files hold now."""
        began = self.clock()
        plan = self._fitted(self.crew.holdings().copy())
        self.planning = self.clock() - began
        return plan

    def _fitted(self, stored: np.ndarray) -> _Plan:
        """A plan from what is stored: overfull sites first shed, then every site packs what it has room for, and demand is split."""
        toll = self._toll(self.mean)
        free = PriceVector(storage=np.zeros(self.problem.sites), fill=self.mean.fill, rate=self.mean.rate)
        opening, edge = opening_at(self.choices, free), np.flatnonzero(~self.problem.is_origin)
        priced = opening._replace(storage=self.mean.storage)
        state = keep_floors(self.problem, self.choices, toll, priced, self.groups, stored)
        opening = opening._replace(state=state)
        fit_sites(edge, self.choices.entries, self.choices.candidates, toll, opening, stored, True)
        placed = np.ascontiguousarray(stored.T)
        placed[self.problem.is_origin] = True
        try:
            serving = best_shares(self.problem, placed, rate=self.mean.rate)
        except InfeasiblePlanError:
            return _Plan(stored=placed, state=state, cost=np.inf, start=None)
        return _Plan(
            stored=placed, state=state, cost=serving.cost + fill_cost(self.problem, placed), start=serving.start
        )

    def shadow_prices(self) -> Prices:
        """The prices of the best bound, by limit."""
        best = self.best_prices
        return Prices.of(self.problem, best.storage, best.rate, best.fill)

    def _toll(self, prices: PriceVector) -> np.ndarray:
        return np.asarray(self.choices.rates.T @ prices.rate).reshape(self.choices.column.shape)

    def _use(self, storage: np.ndarray, fill: np.ndarray, flow: np.ndarray) -> PriceVector:
        return PriceVector(storage=storage, fill=fill, rate=self.choices.rates @ flow.ravel())


def _limits(problem: Problem, choices: Choices) -> Limits:
    storage = np.where(problem.is_origin, np.inf, choices.room)
    saving, detour = _savings(problem, choices)
    size, peak = float(np.sum(choices.size)), float(np.sum(problem.peak_gbps))
    return Limits(
        storage=storage,
        fill=choices.window,
        rate=choices.rate_limit,
        storage_scale=saving / size if size > 0 else 1.0,
        rate_scale=detour / peak if peak > 0 else 1.0,
    )


def _savings(problem: Problem, choices: Choices) -> tuple[float, float]:
    """What serving everything from its nearest candidate saves over the origins, and over the dearest: links may make any of them the way to go."""
    candidates = choices.candidates
    origin = candidates.origin_cost.min(axis=1)
    nearest = np.minimum(candidates.cost.min(axis=1), origin)
    dearest = np.maximum(np.where(candidates.site >= 0, candidates.cost, -np.inf).max(axis=1), origin)
    asked = add_up(problem.region, problem.gb, len(origin))
    saving, detour = ((asked * (worse - nearest))[asked > 0].sum() for worse in (origin, dearest))
    return float(saving) or 1.0, float(detour) or 1.0


def _first_prices(
    problem: Problem, choices: Choices, limits: Limits, start: tuple[np.ndarray, Prices] | None
) -> PriceVector:
    """Yesterday's prices; or those at which each site fills up if every region knew only its nearest site, halved."""
    S, files = problem.sites, problem.files
    least = limits.storage_scale * 1e-9
    edge = ~problem.is_origin
    if start is not None:
        known = start[1]
        fill = np.zeros(S) if known.fill is None else known.fill
        return PriceVector(
            storage=np.where(edge, np.maximum(known.storage, least), 0.0),
            fill=np.where(np.isfinite(limits.fill), np.maximum(fill, least), 0.0),
            rate=known.rate(problem),
        )
    candidates = choices.candidates
    origin, at = candidates.origin_cost.min(axis=1), candidates.cost.argmin(axis=1)
    regions = np.arange(len(at))
    home = candidates.site[regions, at]
    saving = np.where(home >= 0, np.maximum(origin - candidates.cost[regions, at], 0.0), 0.0) / 2
    price = np.zeros(S)
    width = max(1, HOME_BLOCK // max(files, 1))
    for first in range(0, S, width):
        worth = np.zeros((min(width, S - first), files))
        _add_home_worth(home - first, saving, problem.region, problem.file, problem.gb, worth)
        for s, value in enumerate(worth, first):
            density = value / choices.size
            order = np.argsort(-density, kind="stable")
            last = np.searchsorted(np.cumsum(choices.size[order]), choices.room[s])
            price[s] = density[order[min(last, files - 1)]] if files else 0.0
    typical = float(price[edge].mean()) if edge.any() else 0.0
    return PriceVector(
        storage=np.where(edge, np.maximum(price, max(1e-3 * typical, least)), 0.0),
        fill=np.where(np.isfinite(limits.fill), max(1e-3 * typical, least), 0.0),
        rate=np.zeros(len(limits.rate)),
    )


@nb.njit(cache=True, nogil=True)
def _add_home_worth(
    home: np.ndarray, saving: np.ndarray, region: np.ndarray, file: np.ndarray, gb: np.ndarray, worth: np.ndarray
) -> None:  # fmt: skip
    """What each file saves at each site, for the regions whose home is one of the rows of ``worth`` (sites, F)."""
    for n in range(len(gb)):
        s = home[region[n]]
        if 0 <= s < len(worth):
            worth[s, file[n]] += gb[n] * saving[region[n]]
