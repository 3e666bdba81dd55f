"""The best split of demand over the holders of a given placement.

With the placement fixed, what remains is a linear program that only sees which candidates of a region hold a file: entries of the same region
and the same set of holders can be served alike, so millions of shares collapse to some hundred thousand groups. Where the entries of a group differ in
peak over bytes, serving them alike is still feasible, and exact whenever a region's peak follows its bytes.

Nearly all groups are served by one holder whatever the limits' exact prices, for there are far fewer limits than groups. While prices stay in a box around a
guess, only the groups with a second way about as cheap as the first enter the program; the others are a load that is there. The box moves until the best prices
lie inside it (boxstep method, Marsten, Hogan and Blankenship 1975): then the result is the optimum over all ways.
"""

from dataclasses import dataclass

import highspy
import numba as nb
import numpy as np
from scipy.sparse import csr_array

from cdn.errors import InfeasiblePlanError
from cdn.placement.holders import HolderGroups, group_entries, salts
from cdn.placement.problem import Problem, Shares, loads, rate_limits, rate_uses

SLACK = 2e-7
"""Relative share of every limit that is left unused, so that rounding never exceeds it; it is used only where nothing else is left."""

LEAST_SHARE = 1e-7
"""A way whose limits carry less than this part of a group's peak does not serve it: such coefficients only upset the program."""

FLOOR = 0.01
"""What a price of ordinary size is multiplied by for the least that a box reaches: limits without a price may turn out to have a small one."""

WIDTH, GROWTH, WIDEST, STEPS = 0.05, 4.0, 4.0, 14
"""The box of prices: how far it reaches at first, relative to the price; by what it grows at a step, and to what at most; steps before all ways and prices are let in."""

PRIMAL = 4
"""HiGHS's number of the primal simplex method."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """Where the program of a placement ended: a start for one like it.

    (M,) ``rate``: what one more Gbit/s of each limit would save, in the order of :func:`~cdn.placement.problem.rate_limits`. Keys of the ways, and numbers of
    the limits' spare parts and excesses, whose variables are basic.
    """

    rate: np.ndarray
    ways: np.ndarray
    aside: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Serving:
    """(W,) ``group``, ``candidate`` and ``share`` of the ways in use; ``cost`` of serving; where the program ended."""

    groups: HolderGroups
    group: np.ndarray
    candidate: np.ndarray
    share: np.ndarray
    cost: float
    start: Start

    @property
    def rate(self) -> np.ndarray:
        """(M,) what one more Gbit/s of each limit would save at this placement."""
        return self.start.rate

    @property
    def shares(self) -> Shares:
        """Written out entry by entry: those of groups that differ from 'all from the best-ranked holder'."""
        return _named(self.groups, self.group, self.candidate, self.share)


def best_shares(
    problem: Problem, stored: np.ndarray, *, rate: np.ndarray | None = None, start: Start | None = None, alike: bool = True
) -> Serving:  # fmt: skip
    """Split the demand over the holders at least cost, within throughput and link limits.

    Parameters
    ----------
    stored
        (S, F) bool.
    rate
        (M,) a guess of what the limits are worth; it only makes the program smaller.
    start
        Where the program of a placement like this one ended, many times as fast where few files differ.
    alike
        Whether entries of one region and the same holders are served alike. Without, the split is the best there is whatever their peaks, and costs the more time the more entries there are.

    Raises
    ------
    InfeasiblePlanError
        If what is stored leaves more to the links than they can carry.
    """
    groups = group_entries(problem, stored, alike=alike)
    region, G = groups.region, len(groups.region)
    cheapest = np.where(groups.holds, problem.cost_per_gb[region], np.inf).argmin(axis=1)
    R, K = problem.site.shape
    load = np.bincount(region.astype(np.int64) * K + cheapest, groups.peak, R * K).reshape(R, K)
    by_site, by_arc = loads(problem, load)
    if (by_site <= problem.throughput_gbps).all() and (by_arc is None or (by_arc <= problem.arc_capacity_gbps).all()):
        none = np.zeros(0, np.uint64)
        free = Start(rate=np.zeros(len(rate_limits(problem))), ways=none, aside=none)
        return _serving(problem, groups, np.arange(G), cheapest, np.ones(G), free)
    return _Split(problem, groups).solve(rate, start)


def refuse_hopeless(problem: Problem) -> None:
    """Raise InfeasiblePlanError if the links could not carry the demand even if every site stored every file that it may store."""
    if problem.arc_capacity_gbps is None:
        return
    everything = problem.is_origin[:, None] | (problem.size_gb <= problem.storage_gb[:, None])
    if problem.forbidden is not None:
        everything &= ~problem.forbidden
    try:
        best_shares(problem, everything)
    except InfeasiblePlanError as error:
        raise InfeasiblePlanError("the links cannot carry the demand, whatever is stored", error.limits) from None


def _serving(
    problem: Problem, groups: HolderGroups, group: np.ndarray, candidate: np.ndarray, share: np.ndarray, start: Start
) -> Serving:
    cost = np.sum(groups.gb[group] * problem.cost_per_gb[groups.region[group], candidate] * share)
    return Serving(groups=groups, group=group, candidate=candidate, share=share, cost=float(cost), start=start)


class _Split:
    """The program over (group, way) columns.

    (G, K) ``ways`` are those that serve, ``chosen`` those in the program, ``basic`` those whose variables are basic; of the (L,) finite limits' spare parts,
    then of their excesses, those ``aside`` are basic. Prices are for the whole of a limit.
    """

    def __init__(self, problem: Problem, groups: HolderGroups) -> None:
        self.problem, self.groups = problem, groups
        limit = rate_limits(problem)
        self.limited = np.flatnonzero(np.isfinite(limit))
        self.limit = np.maximum(limit[self.limited], 1e-12)
        self.uses = self._uses()
        R, K = problem.site.shape
        dearest = np.asarray(self.uses.max(axis=1).todense()).reshape(R, K)
        self.ways = groups.holds & (groups.peak[:, None] * dearest[groups.region] <= 1 / LEAST_SHARE)
        if not self.ways.any(axis=1).all():
            raise _infeasible()
        self.chosen, self.basic = np.zeros_like(self.ways), np.zeros_like(self.ways)
        self.aside = np.zeros(2 * len(self.limit), bool)

    def _uses(self) -> csr_array:
        """(R * K, L): the part of each limit that a Gbit/s on its way from a candidate to a region takes."""
        R, K = self.problem.site.shape
        region, candidate = np.nonzero(self.problem.site >= 0)
        uses = rate_uses(self.problem, region, candidate)[self.limited].tocoo()
        part = uses.data / self.limit[uses.row]
        return csr_array((part, ((region * K + candidate)[uses.col], uses.row)), shape=(R * K, len(self.limit)))

    def solve(self, guess: np.ndarray | None, start: Start | None) -> Serving:
        """Move a box of prices until the best ones lie inside it."""
        groups, cost = self.groups, self.problem.cost_per_gb
        guess = guess if start is None else start.rate
        price = np.zeros(len(self.limit)) if guess is None else guess[self.limited] * self.limit
        ordinary = self._ordinary()
        if start is not None:
            self._recall(start, self._toll(price))
        width = np.full(len(price), WIDTH)
        for _ in range(STEPS):
            reach = width * np.maximum(price, ordinary)
            toll, reached = self._toll(price), self._toll(reach)
            self.chosen = self.basic | _near(groups.region, groups.gb, groups.peak, cost, toll, reached, self.ways)
            try:
                share, price, outside = self._run(np.maximum(price - reach, 0.0), price + reach)
            except InfeasiblePlanError:
                break  # a box always has a solution: these prices are only too steep to compute with
            if (outside <= SLACK / 2).all():
                return self._found(share, price)
            over = outside > SLACK / 2
            width[over] = np.minimum(width[over] * GROWTH, WIDEST)
        self.chosen = self.ways.copy()
        return self._found(*self._run(np.zeros(len(price)), np.full(len(price), np.inf))[:2])

    def _ordinary(self) -> np.ndarray:
        """(L,) prices of ordinary size: as if peaks paid for what the choice of ways is worth."""
        groups = self.groups
        worth, self.scale = _worth(groups.region, groups.gb, self.problem.cost_per_gb, self.ways)
        return (
            FLOOR * worth / float(np.sum(groups.peak)) * self.limit
            if worth > 0
            else np.full(len(self.limit), self.scale)
        )

    def _found(self, share: np.ndarray, price: np.ndarray) -> Serving:
        rate = np.zeros(len(rate_limits(self.problem)))
        rate[self.limited] = price / self.limit
        group, candidate = np.nonzero(share > 1e-12)
        part = share[group, candidate]
        part /= np.bincount(group, part)[group]
        several = self.basic & (self.chosen.sum(axis=1) > 1)[:, None]
        start = Start(rate=rate, ways=self._keys()[several], aside=np.flatnonzero(self.aside))
        return _serving(self.problem, self.groups, group, candidate, part, start)

    def _toll(self, price: np.ndarray) -> np.ndarray:
        """(R, K) per Gbit/s."""
        return np.asarray(self.uses @ price).reshape(self.problem.site.shape)

    def _keys(self) -> np.ndarray:
        """(G, K) uint64: a number of each way that is the same in every program: from the region, the holders and the candidate."""
        salt = salts(self.problem.candidates)
        key = np.bitwise_xor.reduce(np.where(self.groups.holds, salt[:-1], 0), axis=1)
        key = (key ^ (self.groups.region.astype(np.uint64) + np.uint64(1)) * salt[-1]) * np.uint64(0x9E3779B97F4A7C15)
        return np.asarray(key[:, None] + np.arange(self.ways.shape[1], dtype=np.uint64))

    def _recall(self, start: Start, toll: np.ndarray) -> None:
        """Take in what was basic in another program; of a group that is new here, its cheapest way."""
        self.basic = np.isin(self._keys(), start.ways) & self.ways
        new = ~self.basic.any(axis=1)
        g = self.groups
        self.basic |= _near(
            g.region, g.gb, g.peak, self.problem.cost_per_gb, toll, np.zeros_like(toll), self.ways & new[:, None]
        )
        self.aside[start.aside] = True

    def _run(self, least: np.ndarray, most: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Solve the program with (L,) prices in a box: (G, K) shares, the prices, and what part of a limit at most is exceeded or given away at the box's prices."""
        groups, L = self.groups, len(self.limit)
        several = self.chosen.sum(axis=1) > 1
        rows = int(several.sum())
        program = _program(
            groups.region, groups.gb, groups.peak, self.problem.cost_per_gb, self.chosen, several,
            self.uses.indptr, self.uses.indices, self.uses.data, L,
        )  # fmt: skip
        group, candidate, cost, start, index, value, taken = program
        columns, strict = len(group), np.isinf(most)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = columns + 2 * L, rows + L
        lp.col_cost_ = np.concatenate([cost, -least, np.where(strict, 0.0, most)]) / self.scale
        lp.col_lower_ = np.zeros(columns + 2 * L)
        lp.col_upper_ = np.concatenate([np.full(columns + L, np.inf), np.where(strict, SLACK, np.inf)])
        lp.row_lower_ = lp.row_upper_ = np.concatenate([np.ones(rows), 1 - SLACK - taken])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = start, index, value
        solver = _solver()
        solver.passModel(lp)
        if self.basic.any():
            solver.setBasis(_basis(np.concatenate([self.basic[group, candidate], self.aside]), rows + L))
            solver.setOptionValue("simplex_strategy", PRIMAL)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:  # once more, with all that HiGHS knows
            solver.clearSolver()
            solver.setOptionValue("presolve", "on")
            solver.setOptionValue("simplex_strategy", 0)
            solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise _infeasible()
        solution, inside = solver.getSolution(), np.array(solver.getBasicVariables()[1])
        found, inside = np.array(solution.col_value), inside[inside >= 0]
        self.basic, self.aside = self.chosen & ~several[:, None], np.zeros(2 * L, bool)
        share = self.basic.astype(float)
        share[group, candidate] = np.clip(found[:columns], 0.0, 1.0)
        ways = inside[inside < columns]
        self.basic[group[ways], candidate[ways]] = True
        self.aside[inside[inside >= columns] - columns] = True
        spare, over = np.split(found[columns:], 2)
        price = np.maximum(0.0, -np.array(solution.row_dual)[rows:]) * self.scale
        return share, price, np.where(least > 0, spare, 0.0) + over


def _basis(columns: np.ndarray, rows: int) -> highspy.HighsBasis:
    """A basis of the columns named by (n,) bool and of no row; HiGHS mends it where it is none."""
    status, basis = highspy.HighsBasisStatus, highspy.HighsBasis()
    basis.col_status = [status.kBasic if there else status.kLower for there in columns.tolist()]
    basis.row_status = [status.kLower] * rows
    basis.valid, basis.alien = True, True
    return basis


@nb.njit(cache=True, nogil=True)
def _near(
    region: np.ndarray, gb: np.ndarray, peak: np.ndarray, cost: np.ndarray, toll: np.ndarray, reach: np.ndarray, ways: np.ndarray
) -> np.ndarray:  # fmt: skip
    """(G, K) bool: the ways of each group that are cheapest at some prices of the box: tolls (R, K), give or take ``reach``."""
    G, K = ways.shape
    near = np.zeros((G, K), np.bool_)
    for g in range(G):
        r = region[g]
        low, best = np.inf, -1
        for k in range(K):
            if ways[g, k]:
                value = gb[g] * cost[r, k] + peak[g] * toll[r, k]
                if value < low:
                    low, best = value, k
        for k in range(K):
            if ways[g, k]:
                value = gb[g] * cost[r, k] + peak[g] * toll[r, k]
                near[g, k] = k == best or value - low <= peak[g] * (reach[r, k] + reach[r, best])
    return near


@nb.njit(cache=True, nogil=True)
def _worth(region: np.ndarray, gb: np.ndarray, cost: np.ndarray, ways: np.ndarray) -> tuple[float, float]:
    """What the choice of ways is worth: their dearest less their cheapest, over all groups; and the largest cost there is, or 1."""
    worth, largest = 0.0, 0.0
    for g in range(len(region)):
        low, high = np.inf, 0.0
        for k in range(ways.shape[1]):
            if ways[g, k]:
                value = gb[g] * cost[region[g], k]
                low, high = min(low, value), max(high, value)
        worth += high - low
        largest = max(largest, high)
    return worth, largest if largest > 0.0 else 1.0


@nb.njit(cache=True, nogil=True)
def _program(
    region: np.ndarray, gb: np.ndarray, peak: np.ndarray, cost: np.ndarray, chosen: np.ndarray, several: np.ndarray,
    first: np.ndarray, limit: np.ndarray, part: np.ndarray, limits: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """The program's columns: ways of groups that have several, then a spare part of each limit, then its excess.

    Group, candidate and cost of each way; start, row and value of the coefficients by column, where rows are the groups with several ways, then the limits; (L,)
    the part of each limit that the other groups take. ``first``, ``limit`` and ``part`` are those of the pairs of a region and a candidate.
    """
    G, K = chosen.shape
    columns, size, rows = 0, 2 * limits, 0
    for g in range(G):
        rows += several[g]
        for k in range(K):
            if several[g] and chosen[g, k]:
                pair = region[g] * K + k
                columns += 1
                size += 1 + first[pair + 1] - first[pair]
    groups, candidates, costs = np.empty(columns, np.int64), np.empty(columns, np.int64), np.empty(columns)
    start, index, value = np.zeros(columns + 2 * limits + 1, np.int32), np.empty(size, np.int32), np.empty(size)
    taken = np.zeros(limits)
    row, column, at = 0, 0, 0
    for g in range(G):
        for k in range(K):
            if not chosen[g, k]:
                continue
            pair = region[g] * K + k
            if several[g]:
                groups[column], candidates[column], costs[column] = g, k, gb[g] * cost[region[g], k]
                index[at], value[at] = row, 1.0
                at += 1
            for i in range(first[pair], first[pair + 1]):
                if several[g]:
                    index[at], value[at] = rows + limit[i], peak[g] * part[i]
                    at += 1
                else:
                    taken[limit[i]] += peak[g] * part[i]
            if several[g]:
                column += 1
                start[column] = at
        row += several[g]
    for sign in (1.0, -1.0):
        for i in range(limits):
            index[at], value[at] = rows + i, sign
            at += 1
            column += 1
            start[column] = at
    return groups, candidates, costs, start, index, value, taken


def _infeasible() -> InfeasiblePlanError:
    return InfeasiblePlanError("the links cannot carry what the stored files leave to them", ["link capacities"])


def _solver() -> highspy.Highs:
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("presolve", "off")  # it finds little to take away here
    solver.setOptionValue("primal_feasibility_tolerance", 1e-9)
    return solver


def _named(groups: HolderGroups, group: np.ndarray, candidate: np.ndarray, share: np.ndarray) -> Shares:
    """Keep the groups that differ from 'all from the best-ranked holder', and write them out entry by entry."""
    G = len(groups.gb)
    differs = np.zeros(G, bool)
    differs[group[(candidate != groups.holds.argmax(axis=1)[group]) | (share < 1.0)]] = True
    order = np.flatnonzero(differs[group])
    order = order[np.argsort(group[order], kind="stable")]
    start = np.searchsorted(group[order], np.arange(G + 1))
    row, of, part = _write_out(groups.of, start, candidate[order].astype(np.int32), share[order])
    return Shares(row=row, candidate=of, share=part)


@nb.njit(cache=True, nogil=True)
def _write_out(
    of: np.ndarray, start: np.ndarray, candidate: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every entry once for each part of its group: (M,) entry, candidate and share."""
    count = 0
    for g in of:
        count += start[g + 1] - start[g]
    row, candidates, shares = np.empty(count, np.int64), np.empty(count, np.int32), np.empty(count)
    at = 0
    for n in range(len(of)):
        for p in range(start[of[n]], start[of[n] + 1]):
            row[at], candidates[at], shares[at] = n, candidate[p], share[p]
            at += 1
    return row, candidates, shares
