"""The best split of demand over the holders of a given placement.

With the placement fixed, what remains is a linear program that only sees which candidates of a region hold a file: entries of the same region
and the same set of holders can be served alike, so millions of shares collapse to a few thousand groups. Where the entries of a group differ in
peak over bytes, serving them alike is still feasible, and exact whenever a region's peak follows its bytes.

Only a few ways of a group matter: the program starts with each group's cheapest ones at guessed prices of the limits, and takes in the ways that its own
prices make worth while, until there are none (column generation: the result is the optimum over all ways).
"""

from dataclasses import dataclass

import highspy
import numba as nb
import numpy as np
from scipy.sparse import csr_array

from cdn.errors import InfeasiblePlanError
from cdn.placement.problem import Problem, Shares, add_up, loads, rate_limits, rate_uses

SLACK = 2e-7
"""Relative share of every limit that is left unused, so that rounding never exceeds it."""

LEAST_SHARE = 1e-7
"""A site whose throughput carries less than this part of a group's peak does not serve it: such coefficients only upset the program."""

FIRST_WAYS = 3
"""Ways a group starts with, beside its cheapest origin."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Serving:
    """Shares, and what one more Gbit/s of each rate limit would save at this placement: (M,) in the order of :func:`~cdn.placement.problem.rate_limits`.

    ``basis``: keys of the ways and groups, and the positions of the limits, whose variables are basic; None where no program was needed.
    """

    shares: Shares
    rate: np.ndarray
    basis: "_Basis | None" = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Basis:
    ways: np.ndarray
    groups: np.ndarray
    limits: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Groups:
    """G groups of entries: (N,) ``of``; (G,) ``region``, ``gb``, ``peak``; (G, K) bool ``holds``."""

    of: np.ndarray
    region: np.ndarray
    gb: np.ndarray
    peak: np.ndarray
    holds: np.ndarray


def best_shares(
    problem: Problem, stored: np.ndarray, *, rate: np.ndarray | None = None, start: Serving | None = None
) -> Serving:
    """Split the demand over the holders at least cost, within throughput and link limits.

    Parameters
    ----------
    stored
        (S, F) bool.
    rate
        (M,) a guess of what the limits are worth; it only makes the program smaller.
    start
        The split of a placement like this one, from which the program starts: many times as fast, where few files differ.

    Raises
    ------
    InfeasiblePlanError
        If not even the origins' links can carry what is asked.
    """
    groups = _group(problem, stored)
    cost = np.where(groups.holds, problem.cost_per_gb[groups.region], np.inf)
    cheapest = cost.argmin(axis=1)
    R, K = problem.site.shape
    load = np.bincount(groups.region.astype(np.int64) * K + cheapest, groups.peak, R * K).reshape(R, K)
    by_site, by_arc = loads(problem, load)
    if (by_site <= problem.throughput_gbps).all() and (by_arc is None or (by_arc <= problem.arc_capacity_gbps).all()):
        return Serving(
            shares=_named(groups, np.arange(len(cheapest)), cheapest, np.ones(len(cheapest))),
            rate=np.zeros(len(rate_limits(problem))),
        )
    return _Split(problem, groups).solve(rate, start)


def _salt(candidates: int) -> np.ndarray:
    """(K + 1,) uint64: what sets of holders are hashed with."""
    return np.random.default_rng(0).integers(1, 2**63, candidates + 1, dtype=np.int64).astype(np.uint64)


def _group(problem: Problem, stored: np.ndarray) -> _Groups:
    of, first = _assign_groups(
        problem.site, problem.is_origin, problem.region, problem.file, stored, _salt(problem.candidates)
    )
    region = problem.region[first]
    site = problem.site[region]
    safe = np.maximum(site, 0)
    holds = (site >= 0) & (stored[safe, problem.file[first][:, None]] | problem.is_origin[safe])
    return _Groups(
        of=of, region=region, gb=add_up(of, problem.gb, len(first)), peak=add_up(of, problem.peak_gbps, len(first)), holds=holds
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def _assign_groups(
    site: np.ndarray, is_origin: np.ndarray, region: np.ndarray, file: np.ndarray, stored: np.ndarray, salt: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Number the groups in the order of their first entries, by a hash table that compares in full: (N,) group and (G,) first entry of each."""
    N, K = len(region), site.shape[1]
    of = np.empty(N, np.int32)
    first = np.empty(1024, np.int64)
    table = np.full(4096, -1, np.int32)
    hashes = np.empty(1024, np.uint64)
    count = 0
    for n in range(N):
        r, f = region[n], file[n]
        key = (np.uint64(r) + np.uint64(1)) * salt[K]
        for k in range(K):
            s = site[r, k]
            if s >= 0 and (is_origin[s] or stored[s, f]):
                key ^= salt[k]
        key ^= key >> np.uint64(31)
        key *= np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
        at = np.int64(key & np.uint64(len(table) - 1))
        while True:
            g = table[at]
            if g < 0:
                break
            if hashes[g] == key and _same(site, is_origin, region, file, stored, n, first[g]):
                break
            at = (at + 1) & (len(table) - 1)
        if table[at] < 0:
            if count == len(first):
                first = np.append(first, np.empty(count, np.int64))
                hashes = np.append(hashes, np.empty(count, np.uint64))
            table[at] = count
            first[count] = n
            hashes[count] = key
            count += 1
            of[n] = count - 1
            if 4 * count > len(table):
                table = np.full(4 * len(table), -1, np.int32)
                for g in range(count):
                    at = np.int64(hashes[g] & np.uint64(len(table) - 1))
                    while table[at] >= 0:
                        at = (at + 1) & (len(table) - 1)
                    table[at] = g
        else:
            of[n] = table[at]
    return of, first[:count].copy()


@nb.njit(cache=True, nogil=True)
def _same(
    site: np.ndarray, is_origin: np.ndarray, region: np.ndarray, file: np.ndarray, stored: np.ndarray, n: int, m: int
) -> bool:  # fmt: skip
    """Whether two entries are of one region and one set of holders."""
    if region[n] != region[m]:
        return False
    for k in range(site.shape[1]):
        s = site[region[n], k]
        if s >= 0 and not is_origin[s] and stored[s, file[n]] != stored[s, file[m]]:
            return False
    return True


class _Split:
    """The program over (group, way) columns."""

    def __init__(self, problem: Problem, groups: _Groups) -> None:
        self.problem, self.groups = problem, groups
        group, candidate = np.nonzero(groups.holds)
        region = groups.region[group]
        site = problem.site[region, candidate]
        load, limit = groups.peak[group], problem.throughput_gbps[site]
        keep = (load <= limit / LEAST_SHARE) | (
            load == 0
        )  # a site that could take no more than a trace of a group is left out
        self.group, self.candidate, self.site, self.load = group[keep], candidate[keep], site[keep], load[keep]
        region = region[keep]
        self.cost = groups.gb[self.group] * problem.cost_per_gb[region, self.candidate]
        limit = rate_limits(problem)
        self.limited = np.flatnonzero(np.isfinite(limit))
        self.limit = np.maximum(limit[self.limited], 1e-12)
        uses = rate_uses(problem, region, self.candidate)[
            self.limited
        ].T.tocsr()  # (ways, limits): shares of each limit
        uses.data *= np.repeat(self.load, np.diff(uses.indptr)) / self.limit[uses.indices]
        self.matrix = csr_array(uses)

    def solve(self, guess: np.ndarray | None, start: Serving | None) -> Serving:
        """Grow the program until no way left out is worth while."""
        guess = start.rate if start is not None else guess
        price = np.zeros(len(self.limit)) if guess is None else guess[self.limited] * self.limit
        chosen, basic = self._first_ways(price), None
        if start is not None and start.basis is not None:
            basic = self._known(start.basis, price)
            chosen |= basic[0]
        solver = _solver()
        while True:
            share, dual, basic = self._run(solver, chosen, basic)
            price = np.maximum(0.0, -dual[len(self.groups.gb) :])
            reduced = self.cost + self.matrix @ price - dual[: len(self.groups.gb)][self.group]
            scale = float(np.abs(self.cost).max(initial=0.0)) or 1.0
            missing = ~chosen & (reduced < -1e-9 * scale)
            if not missing.any():
                break
            chosen |= missing
        full = np.zeros(len(self.group))
        full[chosen] = np.where(share < 1e-12, 0.0, np.clip(share, 0.0, 1.0))
        full /= np.bincount(self.group, full, len(self.groups.gb))[self.group]
        used = np.flatnonzero(full > 0)
        rate = np.zeros(len(rate_limits(self.problem)))
        rate[self.limited] = price / self.limit
        ways, rows = basic
        G, (group_key, way_key) = len(self.groups.gb), self._keys()
        return Serving(
            shares=_named(self.groups, self.group[used], self.candidate[used], full[used]), rate=rate,
            basis=_Basis(ways=way_key[ways], groups=group_key[rows[rows < G]], limits=rows[rows >= G] - G),
        )  # fmt: skip

    def _keys(self) -> tuple[np.ndarray, np.ndarray]:
        """A number of each group and each way that is the same in every program: from the region, the holders and the candidate."""
        salt = _salt(self.problem.candidates)
        key = np.bitwise_xor.reduce(np.where(self.groups.holds, salt[:-1], 0), axis=1)
        key = (key ^ (self.groups.region.astype(np.uint64) + np.uint64(1)) * salt[-1]) * np.uint64(0x9E3779B97F4A7C15)
        return key, key[self.group] + self.candidate.astype(np.uint64)

    def _known(self, basis: _Basis, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What was basic in another program: (ways,) bool, and rows. A group that is new here gets its cheapest way."""
        group_key, way_key = self._keys()
        G, groups = len(group_key), np.isin(group_key, basis.groups)
        ways = np.isin(way_key, basis.ways)
        served = np.bincount(self.group, ways, G) > 0
        priced = self.cost + self.matrix @ price
        order = np.lexsort((priced, self.group))
        cheapest = order[np.searchsorted(self.group, np.arange(G))]
        ways[cheapest[~served & ~groups]] = True
        return ways, np.concatenate([np.flatnonzero(groups), G + basis.limits])

    def _first_ways(self, price: np.ndarray) -> np.ndarray:
        """(ways,) bool: each group's cheapest ways at these prices, and its cheapest origin, which keeps the program feasible."""
        priced = self.cost + self.matrix @ price
        order = np.lexsort((priced, self.group))
        start = np.searchsorted(self.group, np.arange(len(self.groups.gb)))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - start[self.group[order]]
        if self.problem.arc_capacity_gbps is not None:
            return np.ones(len(rank), bool)
        return np.asarray((rank < FIRST_WAYS) | self.problem.is_origin[self.site])

    def _run(
        self, solver: highspy.Highs, chosen: np.ndarray, basic: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Shares of the chosen ways, the duals of groups and limits, and what was basic: (ways,) bool, and rows. The same goes in, to start from."""
        G, columns = len(self.groups.gb), np.flatnonzero(chosen)
        use = self.matrix[columns]
        cost = self.cost[columns]
        scale = float(np.abs(cost).max(initial=0.0)) or 1.0
        count = np.diff(use.indptr)
        start = np.concatenate([[0], np.cumsum(count + 1)])
        index, value = np.empty(start[-1], np.int32), np.empty(start[-1])
        index[start[:-1]], value[start[:-1]] = self.group[columns], 1.0
        rest = np.ones(start[-1], bool)
        rest[start[:-1]] = False
        index[rest], value[rest] = G + use.indices, use.data
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(columns), G + len(self.limit)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = (
            cost / scale,
            np.zeros(len(cost)),
            np.full(len(cost), highspy.kHighsInf),
        )
        lp.row_lower_ = np.concatenate([np.ones(G), np.full(len(self.limit), -np.inf)])
        lp.row_upper_ = np.concatenate([np.ones(G), np.full(len(self.limit), 1 - SLACK)])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = start.astype(np.int32), index, value
        solver.passModel(lp)
        if basic is not None:
            solver.setBasis(_basis(lp, np.flatnonzero(basic[0][columns]), basic[1]))
        solver.run()
        if (
            solver.getModelStatus() != highspy.HighsModelStatus.kOptimal
        ):  # ask once more, from nothing and with all that HiGHS knows
            solver.clearSolver()
            solver.setOptionValue("presolve", "on")
            solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise InfeasiblePlanError(
                "the links cannot carry the demand, whatever is stored", _overloaded_links(self.problem)
            )
        solution = solver.getSolution()
        inside = np.array(solver.getBasicVariables()[1])
        ways = np.zeros(len(chosen), bool)
        ways[columns[inside[inside >= 0]]] = True
        return np.array(solution.col_value), np.array(solution.row_dual) * scale, (ways, -1 - inside[inside < 0])


def _basis(lp: highspy.HighsLp, columns: np.ndarray, rows: np.ndarray) -> highspy.HighsBasis:
    """A basis of these columns and rows; HiGHS mends it where it is none."""
    status, basis = highspy.HighsBasisStatus, highspy.HighsBasis()
    col, row = [status.kLower] * lp.num_col_, [status.kUpper] * lp.num_row_
    for places, at in ((col, columns), (row, rows)):
        for i in at.tolist():
            places[i] = status.kBasic
    basis.col_status, basis.row_status, basis.valid, basis.alien = col, row, True, True
    return basis


def _solver() -> highspy.Highs:
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("presolve", "off")  # it finds little to take away here, and doubles the memory
    solver.setOptionValue("primal_feasibility_tolerance", 1e-9)
    return solver


def _named(groups: _Groups, group: np.ndarray, candidate: np.ndarray, share: np.ndarray) -> Shares:
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


def _overloaded_links(problem: Problem) -> list[str]:
    """Arcs that serving every entry from its nearest candidate already overloads; if none, what clashes in general."""
    if problem.arc_capacity_gbps is None:
        return []
    R, K = problem.site.shape
    pair = problem.region.astype(np.int64) * K + problem.cost_per_gb.argmin(axis=1)[problem.region]
    load = loads(problem, np.bincount(pair, problem.peak_gbps, R * K).reshape(R, K))[1]
    assert load is not None
    over = np.flatnonzero(load > problem.arc_capacity_gbps)
    named = [
        f"link {a // 2} ({'forward' if a % 2 == 0 else 'backward'}): {load[a]:.4g} of {problem.arc_capacity_gbps[a]:.4g} Gbit/s"
        for a in over
    ]
    return named or ["link capacities against the peak demand that throughput leaves to the origins"]
