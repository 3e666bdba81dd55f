"""The best split of demand over the holders of a given placement.

With the placement fixed, what remains is a linear program that only sees which candidates of a region hold a file: entries of the same region
and the same set of holders can be served alike, so millions of shares collapse to a few thousand groups. Where the entries of a group differ in
peak over bytes, serving them alike is still feasible, and exact whenever a region's peak follows its bytes.
"""

from dataclasses import dataclass

import highspy
import numpy as np
from scipy.sparse import coo_array, csr_array

from cdn.errors import InfeasiblePlanError
from cdn.placement.problem import Problem, Shares, arc_loads, holding

SLACK = 2e-7
"""Relative share of every limit that is left unused, so that rounding never exceeds it."""

LEAST_SHARE = 1e-7
"""A site whose throughput carries less than this part of a group's peak does not serve it: such coefficients only upset the program."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Serving:
    """Shares, and what one more Gbit/s of each site and arc would save at this placement: (S,) and (2L,) or None."""

    shares: Shares
    throughput_price: np.ndarray
    arc_price: np.ndarray | None


def best_shares(problem: Problem, stored: np.ndarray) -> Serving:
    """Split the demand over the holders at least cost, within throughput and link limits.

    Parameters
    ----------
    stored
        (S, F) bool.

    Raises
    ------
    InfeasiblePlanError
        If not even the origins' links can carry what is asked.
    """
    held = holding(problem, stored)
    cost = np.where(held, problem.cost_per_gb[problem.region], np.inf)
    cheapest = cost.argmin(axis=1)
    arcs = problem.arc_capacity_gbps
    no_price = Serving(
        shares=_named(problem, held, np.arange(len(cheapest)), cheapest, np.ones(len(cheapest))),
        throughput_price=np.zeros(problem.sites),
        arc_price=None if arcs is None else np.zeros(len(arcs)),
    )
    load = np.bincount(problem.site[problem.region, cheapest], problem.peak_gbps, problem.sites)
    if (load <= problem.throughput_gbps).all() and (
        arcs is None or (arc_loads(problem, problem.region, cheapest, problem.peak_gbps) <= arcs).all()
    ):
        return no_price
    return _split_groups(problem, held)


def _split_groups(problem: Problem, held: np.ndarray) -> Serving:
    """Solve the linear program over (region, set of holders) groups."""
    K, S = problem.candidates, problem.sites
    bits = np.packbits(held, axis=1)
    key = np.column_stack([problem.region.astype(np.int32).view(np.uint8).reshape(-1, 4), bits])
    _, first, group_of = np.unique(
        key.view(np.dtype((np.void, key.shape[1]))).ravel(), return_index=True, return_inverse=True
    )
    G = len(first)
    gb, peak = np.bincount(group_of, problem.gb, G), np.bincount(group_of, problem.peak_gbps, G)
    group, candidate = np.nonzero(held[first])
    region = problem.region[first][group]
    site = problem.site[region, candidate]
    load = peak[group]
    limit = problem.throughput_gbps[site]
    keep = (load <= limit / LEAST_SHARE) | (
        load == 0
    )  # a site that could take no more than a trace of a group is left out
    group, candidate, region, site, load = (a[keep] for a in (group, candidate, region, site, load))
    columns = np.arange(len(group))
    rows, cols, values, upper = [group], [columns], [np.ones(len(group))], np.ones(G)
    limited = np.unique(site[np.isfinite(problem.throughput_gbps[site]) & (problem.throughput_gbps[site] > 0)])
    row_of_site = np.full(S, -1)
    row_of_site[limited] = G + np.arange(len(limited))
    bound = row_of_site[site] >= 0
    rows.append(row_of_site[site[bound]])
    cols.append(columns[bound])
    values.append(load[bound] / problem.throughput_gbps[site[bound]])
    height = G + len(limited)
    capacity = problem.arc_capacity_gbps
    if capacity is not None:
        assert problem.path_start is not None and problem.path_arcs is not None
        path = region.astype(np.int64) * K + candidate
        count = np.diff(problem.path_start)[path]
        at = (
            np.repeat(problem.path_start[path], count)
            + np.arange(count.sum())
            - np.repeat(np.cumsum(count) - count, count)
        )
        arc = problem.path_arcs[at]
        rows.append(height + arc)
        cols.append(np.repeat(columns, count))
        values.append(np.repeat(load, count) / np.maximum(capacity[arc], 1e-12))
        height += len(capacity)
    matrix = coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), shape=(height, len(columns))
    ).tocsr()
    lower = np.concatenate([np.ones(G), np.full(height - G, -np.inf)])
    upper = np.concatenate([upper, np.full(height - G, 1 - SLACK)])
    cost = gb[group] * problem.cost_per_gb[region, candidate]
    share, dual = _solve_lp(cost, matrix, lower, upper, problem)
    share = np.clip(share, 0.0, 1.0)
    share[share < 1e-12] = 0.0
    share /= np.bincount(group, share, G)[group]
    throughput_price = np.zeros(S)
    throughput_price[limited] = np.maximum(0.0, -dual[G : G + len(limited)]) / problem.throughput_gbps[limited]
    arc_price = None
    if capacity is not None:
        arc_price = np.maximum(0.0, -dual[G + len(limited) :]) / np.maximum(capacity, 1e-12)
    used = np.flatnonzero(share > 0)
    order = used[np.argsort(group[used], kind="stable")]
    start = np.searchsorted(group[order], np.arange(G + 1))
    count = np.diff(start)[group_of]
    row = np.repeat(np.arange(len(group_of)), count)
    at = order[
        np.repeat(start[:-1][group_of], count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    ]
    shares = _named(problem, held, row, candidate[at], share[at])
    return Serving(shares=shares, throughput_price=throughput_price, arc_price=arc_price)


def _named(problem: Problem, held: np.ndarray, row: np.ndarray, candidate: np.ndarray, share: np.ndarray) -> Shares:
    """Keep the entries that differ from 'all from the best-ranked holder'."""
    differs = np.zeros(len(problem.gb), bool)
    differs[row[(candidate != held.argmax(axis=1)[row]) | (share < 1.0)]] = True
    keep = differs[row]
    return Shares(row=row[keep], candidate=candidate[keep].astype(np.int32), share=share[keep])


def _solve_lp(
    cost: np.ndarray, matrix: csr_array, lower: np.ndarray, upper: np.ndarray, problem: Problem
) -> tuple[np.ndarray, np.ndarray]:
    scale = float(np.abs(cost).max(initial=0.0)) or 1.0
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = matrix.shape[1], matrix.shape[0]
    lp.col_cost_ = cost / scale
    lp.col_lower_, lp.col_upper_ = np.zeros(len(cost)), np.full(len(cost), highspy.kHighsInf)
    lp.row_lower_, lp.row_upper_ = lower, upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("primal_feasibility_tolerance", 1e-9)
    solver.passModel(lp)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise InfeasiblePlanError("the links cannot carry the demand, whatever is stored", _overloaded_links(problem))
    solution = solver.getSolution()
    return np.array(solution.col_value), np.array(solution.row_dual) * scale


def _overloaded_links(problem: Problem) -> list[str]:
    """Arcs that serving every entry from its nearest candidate already overloads."""
    if problem.arc_capacity_gbps is None:
        return []
    nearest = problem.cost_per_gb.argmin(axis=1)[problem.region]
    load = arc_loads(problem, problem.region, nearest, problem.peak_gbps)
    over = np.flatnonzero(load > problem.arc_capacity_gbps)
    return [
        f"link {a // 2} ({'forward' if a % 2 == 0 else 'backward'}): {load[a]:.4g} of {problem.arc_capacity_gbps[a]:.4g} Gbit/s"
        for a in over
    ]
