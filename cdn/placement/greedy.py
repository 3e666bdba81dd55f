"""Lazy greedy: always store the file that saves most per GB of room, given what is stored already.

Gains only shrink as files are stored (but for the throughput that a better holder frees), so a stale gain from the heap is recomputed and pushed
back unless it is still the best (Minoux 1978). A site takes an entry only if its remaining throughput carries the entry's peak.
"""

import heapq
import time

import numba as nb
import numpy as np

from cdn.placement.problem import (
    Costs,
    Prices,
    Problem,
    Shares,
    Solution,
    cheapest_origin,
    evaluate,
    unlimited_storage_bound,
)
from cdn.placement.serving import best_shares

ROUNDS = 3
"""Passes of: fill by gain, then drop the copies that nobody is served from any more."""


def solve_greedy(problem: Problem, *, reason: str = "asked for") -> Solution:
    """Place by lazy greedy and split the demand exactly; the bound is that of unlimited storage.

    Returns
    -------
    A feasible solution; its storage prices are the best gain per GB left outside each full site.
    """
    began = time.perf_counter()
    stored, storage_price = greedy_placement(problem)
    serving = best_shares(problem, stored)
    costs = evaluate(problem, stored, serving.shares)
    prices = Prices(storage=storage_price, throughput=serving.throughput_price, arc=serving.arc_price)
    return assemble(
        stored, serving.shares, costs, prices, unlimited_storage_bound(problem),
        method="greedy", status="heuristic", reason=reason, seconds=time.perf_counter() - began,
    )  # fmt: skip


def assemble(
    stored: np.ndarray, shares: Shares, costs: Costs, prices: Prices, bound: float,
    *, method: str, status: str, reason: str, seconds: float,
) -> Solution:  # fmt: skip
    """A Solution from its parts; the bound is never above the cost, but for rounding, and then it is the cost."""
    cost = costs.objective
    bound = min(max(bound, 0.0), cost)
    return Solution(
        stored=stored, shares=shares, objective_cost=cost, serving_cost=costs.serving, fill_cost=costs.fill,
        origin_only_cost=costs.origin_only, lower_bound=bound, gap=(cost - bound) / cost if cost > 0 else 0.0,
        prices=prices, method=method, status=status, reason=reason, seconds=seconds,
    )  # fmt: skip


def greedy_placement(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Choose what to store: (S, F) bool with origins full, and (S,) storage prices."""
    S, F = problem.sites, problem.files
    rank = np.full((len(problem.site), S), -1, np.int32)
    region, k = np.nonzero(problem.site >= 0)
    rank[region, problem.site[region, k]] = k
    current = cheapest_origin(problem)[problem.region].copy()
    server = np.full(len(problem.gb), -1, np.int32)
    room = np.where(problem.is_origin, 0.0, problem.storage_gb)
    left = problem.throughput_gbps.astype(float).copy()
    stored = np.zeros((S, F), bool)
    sites = np.flatnonzero(~problem.is_origin).astype(np.int32)
    arrays = (
        problem.region, problem.gb, problem.peak_gbps, problem.file_start, problem.size_gb, problem.cost_per_gb,
        rank, problem.fill_cost, problem.previous,
    )  # fmt: skip
    price = np.zeros(S)
    for _ in range(ROUNDS):
        price = _fill_by_gain(sites, stored, current, server, room, left, *arrays)
        if not _drop_unused(stored, server, room, problem.file_start, problem.size_gb):
            break
    stored[problem.is_origin] = True
    return stored, price


@nb.njit(cache=True)
def _gain(
    s: int, f: int, current: np.ndarray, server: np.ndarray, left: np.ndarray, region: np.ndarray, gb: np.ndarray, peak: np.ndarray,
    start: np.ndarray, size: np.ndarray, cost: np.ndarray, rank: np.ndarray, fill: np.ndarray, previous: np.ndarray,
) -> float:  # fmt: skip
    """What storing f at s would save, given who serves each entry now and the throughput left at s."""
    gain = 0.0 if previous[s, f] else -fill[s] * size[f]
    room = left[s]
    for n in range(start[f], start[f + 1]):
        k = rank[region[n], s]
        if k >= 0 and server[n] != s:
            saving = gb[n] * (current[n] - cost[region[n], k])
            if saving > 0 and peak[n] <= room:
                gain += saving
                room -= peak[n]
    return gain


@nb.njit(cache=True)
def _fill_by_gain(
    sites: np.ndarray, stored: np.ndarray, current: np.ndarray, server: np.ndarray, room: np.ndarray, left: np.ndarray,
    region: np.ndarray, gb: np.ndarray, peak: np.ndarray, start: np.ndarray, size: np.ndarray, cost: np.ndarray, rank: np.ndarray,
    fill: np.ndarray, previous: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Store by gain per GB until nothing fits or gains; returns (S,) the best gain per GB that found no room."""
    S, F = stored.shape
    heap = [(0.0, np.int64(0))]
    heap.pop()
    for s in sites:
        for f in range(F):
            if not stored[s, f] and size[f] <= room[s] and start[f + 1] > start[f]:
                gain = _gain(s, f, current, server, left, region, gb, peak, start, size, cost, rank, fill, previous)
                if gain > 0:
                    heap.append((-gain / size[f], np.int64(s) * F + f))
    heapq.heapify(heap)
    price = np.zeros(S)
    while len(heap) > 0:
        pair = heapq.heappop(heap)[1]
        s, f = pair // F, pair % F
        gain = _gain(s, f, current, server, left, region, gb, peak, start, size, cost, rank, fill, previous)
        if size[f] > room[s]:
            price[s] = max(price[s], gain / size[f])
            continue
        if gain <= 0:
            continue
        fresh = -gain / size[f]
        if len(heap) > 0 and (fresh, pair) > heap[0]:
            heapq.heappush(heap, (fresh, pair))
            continue
        stored[s, f] = True
        room[s] -= size[f]
        for n in range(start[f], start[f + 1]):
            k = rank[region[n], s]
            if k >= 0 and gb[n] * (current[n] - cost[region[n], k]) > 0 and peak[n] <= left[s]:
                if server[n] >= 0:
                    left[server[n]] += peak[n]
                left[s] -= peak[n]
                server[n] = s
                current[n] = cost[region[n], k]
    return price


@nb.njit(cache=True)
def _drop_unused(stored: np.ndarray, server: np.ndarray, room: np.ndarray, start: np.ndarray, size: np.ndarray) -> int:
    """Drop the copies that serve nobody; returns how many."""
    S, F = stored.shape
    dropped = 0
    used = np.zeros(S, np.bool_)
    for f in range(F):
        used[:] = False
        for n in range(start[f], start[f + 1]):
            if server[n] >= 0:
                used[server[n]] = True
        for s in range(S):
            if stored[s, f] and not used[s]:
                stored[s, f] = False
                room[s] += size[f]
                dropped += 1
    return dropped
