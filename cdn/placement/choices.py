"""What the kernels of the decomposition work on: entries, candidates, prices on the way, prices of opening. Plain tuples of arrays.

The limits on rates (throughput of sites, capacity of arcs, slice by slice of the day) are the rows of one sparse matrix over the R * C pairs of a region and
one of its columns, where the first K columns are edge candidates and the rest origins; so a vector of prices becomes a toll on every pair, and the flows of
the pairs become a use of every limit, by one product each.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from cdn.placement.problem import Problem, rate_limits, rate_uses

PREVIOUS, PINNED, FORBIDDEN = 1, 2, 4
"""Bits of ``Opening.state``."""


class Entries(NamedTuple):
    """Demand: ``start`` (F + 1,), and (N,) region, GB and peak Gbit/s of each entry of file f at ``start[f]:start[f + 1]``."""

    start: np.ndarray
    region: np.ndarray
    gb: np.ndarray
    peak: np.ndarray


class Candidates(NamedTuple):
    """Who may serve a region.

    ``site`` (R, K) int32 edge sites, -1 where there are fewer; ``cost`` (R, K) per GB, ``origin_cost`` (R, O) per GB, infinite where there are
    fewer; the regions that know site s, and as which candidate, are ``region[start[s]:start[s + 1]]`` and ``rank[…]``.
    """

    site: np.ndarray
    cost: np.ndarray
    origin_cost: np.ndarray
    start: np.ndarray
    region: np.ndarray
    rank: np.ndarray


class Opening(NamedTuple):
    """What opening costs: (S,) price of a stored GB and of a filled GB, (S,) GB that fit, and that the fill window brings, (F,) GB of each file, (F, S) uint8 state bits."""

    storage: np.ndarray
    fill: np.ndarray
    room: np.ndarray
    window: np.ndarray
    size: np.ndarray
    state: np.ndarray


class Choices(NamedTuple):
    """A problem as the kernels see it; ``column`` (R, C) is the problem's candidate of each column, -1 where there is none."""

    entries: Entries
    candidates: Candidates
    column: np.ndarray
    size: np.ndarray
    state: np.ndarray
    room: np.ndarray
    window: np.ndarray
    fill: np.ndarray
    rate_limit: np.ndarray
    rates: csr_array


def build_choices(problem: Problem) -> Choices:
    """Split candidates into edge sites and origins, and gather every limit on rates into one matrix.

    Sites without storage are no candidates, nor those without throughput where everything has a peak.
    """
    R, S = len(problem.site), problem.sites
    known = problem.site >= 0
    safe = np.maximum(problem.site, 0)
    origin = known & problem.is_origin[safe]
    costless = bool(((problem.gb > 0) & (problem.peak_gbps <= 0)).any())  # what has no peak needs no throughput
    useful = (problem.storage_gb > 0) & ((problem.throughput_gbps > 0) | costless)
    edge = known & ~origin & useful[safe]
    K = max(1, int(edge.sum(axis=1).max(initial=0)))
    origins = max(1, int(origin.sum(axis=1).max(initial=0)))
    column = np.full((R, K + origins), -1, np.int32)
    for part, first in ((edge, 0), (origin, K)):
        region, candidate = np.nonzero(part)
        place = np.cumsum(part, axis=1)[region, candidate] - 1
        column[region, first + place] = candidate
    there = column >= 0
    at = np.maximum(column, 0)
    rows = np.arange(R)[:, None]
    site = np.where(there, problem.site[rows, at], -1).astype(np.int32)
    cost = np.where(there, problem.cost_per_gb[rows, at], np.inf)
    region, rank = np.nonzero(site[:, :K] >= 0)
    by_site = np.argsort(site[region, rank], kind="stable")
    candidates = Candidates(
        site=np.ascontiguousarray(site[:, :K]),
        cost=np.ascontiguousarray(cost[:, :K]),
        origin_cost=np.ascontiguousarray(cost[:, K:]),
        start=np.searchsorted(site[region, rank][by_site], np.arange(S + 1)).astype(np.int64),
        region=region[by_site].astype(np.int32),
        rank=rank[by_site].astype(np.int32),
    )
    return Choices(
        entries=Entries(problem.file_start, problem.region, problem.gb, problem.peak_gbps),
        candidates=candidates,
        column=column,
        size=problem.size_gb,
        state=_states(problem),
        room=np.where(problem.is_origin, 0.0, problem.storage_gb),
        window=np.full(S, np.inf) if problem.fill_limit_gb is None else problem.fill_limit_gb,
        fill=problem.fill_cost,
        rate_limit=rate_limits(problem),
        rates=_rates(problem, column),
    )


def _states(problem: Problem) -> np.ndarray:
    """(F, S) uint8 of :class:`Opening`."""
    state = problem.previous.T.astype(np.uint8)
    for table, bit in ((problem.pinned, PINNED), (problem.forbidden, FORBIDDEN)):
        if table is not None:
            state |= (bit * table.T).astype(np.uint8)
    return np.ascontiguousarray(state)


def _rates(problem: Problem, column: np.ndarray) -> csr_array:
    """(M, R * C): what part of a Gbit/s each limit sees of each pair of a region and a column."""
    R, C = column.shape
    region, at = np.nonzero(column >= 0)
    uses = rate_uses(problem, region, column[region, at]).tocoo()
    return csr_array((uses.data, (uses.row, (region * C + at)[uses.col])), shape=(uses.shape[0], R * C))
