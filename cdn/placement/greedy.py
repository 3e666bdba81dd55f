"""Lazy greedy: always store the file that saves most per GB of room, given what is stored already.

Gains only shrink as files are stored (but for the throughput that a better holder frees), so a stale gain from the heap is recomputed and pushed
back unless it is still the best (Minoux 1978). A site takes an entry only if its remaining throughput carries the entry's peak.
"""

import heapq
import time

import numba as nb
import numpy as np

from cdn.placement.choices import PINNED, Opening, build_choices
from cdn.placement.floors import keep_floors
from cdn.placement.groups import group_sites
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
from cdn.placement.serving import best_shares, refuse_hopeless

ROUNDS = 3
"""Passes of: fill by gain, then drop the copies that nobody is served from any more."""


def solve_greedy(problem: Problem, *, reason: str = "asked for") -> Solution:
    """Place by lazy greedy and split the demand exactly; the bound is that of unlimited storage.

    Returns
    -------
    A feasible solution; its storage prices are the best gain per GB left outside each full site.
    """
    began = time.perf_counter()
    refuse_hopeless(problem)
    stored, storage_price = greedy_placement(problem)
    serving = best_shares(problem, stored)
    costs = evaluate(problem, stored, serving.shares)
    prices = Prices.of(problem, storage_price, serving.rate, np.zeros(problem.sites))
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
    kept = required_copies(problem)
    stored = kept.copy()
    room -= stored @ problem.size_gb
    window = np.full(S, np.inf) if problem.fill_limit_gb is None else problem.fill_limit_gb.astype(float).copy()
    window -= (stored & ~problem.previous) @ problem.size_gb
    banned = np.zeros((S, F), bool) if problem.forbidden is None else problem.forbidden
    sites = np.flatnonzero(~problem.is_origin).astype(np.int32)
    arrays = (
        problem.region, problem.gb, problem.peak_gbps, problem.file_start, problem.size_gb, problem.cost_per_gb,
        rank, problem.fill_cost, problem.previous,
    )  # fmt: skip
    price = np.zeros(S)
    for _ in range(ROUNDS):
        price = _fill_by_gain(sites, stored, banned, current, server, room, window, left, *arrays)
        if not _drop_unused(stored, kept, server, room, window, problem.previous, problem.file_start, problem.size_gb):
            break
    stored[problem.is_origin] = True
    return stored, price


def required_copies(problem: Problem) -> np.ndarray:
    """(S, F) bool: copies that the rules ask for, those of floors where they cost least beside the origins alone.

    Raises
    ------
    InfeasiblePlanError
        If the floors found no room, the largest files first.
    """
    asked = np.zeros((problem.sites, problem.files), bool) if problem.pinned is None else problem.pinned.copy()
    if problem.floors is None:
        return asked
    choices = build_choices(problem)
    stored = np.ascontiguousarray(asked.T)
    free = np.zeros(problem.sites)
    opening = Opening(free, choices.fill, choices.room, choices.window, choices.size, choices.state)
    state = keep_floors(problem, choices, np.zeros(choices.column.shape), opening, group_sites(choices), stored)
    return np.ascontiguousarray((state & PINNED).astype(bool).T)


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
    sites: np.ndarray, stored: np.ndarray, banned: np.ndarray, current: np.ndarray, server: np.ndarray, room: np.ndarray,
    window: np.ndarray, left: np.ndarray,
    region: np.ndarray, gb: np.ndarray, peak: np.ndarray, start: np.ndarray, size: np.ndarray, cost: np.ndarray, rank: np.ndarray,
    fill: np.ndarray, previous: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Store by gain per GB until nothing fits or gains; returns (S,) the best gain per GB that found no room."""
    S, F = stored.shape
    heap = [(0.0, np.int64(0))]
    heap.pop()
    for s in sites:
        for f in range(F):
            if stored[s, f]:
                _take(s, f, current, server, left, region, gb, peak, start, cost, rank)
    for s in sites:
        for f in range(F):
            if not stored[s, f] and not banned[s, f] and size[f] <= room[s] and start[f + 1] > start[f]:
                gain = _gain(s, f, current, server, left, region, gb, peak, start, size, cost, rank, fill, previous)
                if gain > 0:
                    heap.append((-gain / size[f], np.int64(s) * F + f))
    heapq.heapify(heap)
    price = np.zeros(S)
    while len(heap) > 0:
        pair = heapq.heappop(heap)[1]
        s, f = pair // F, pair % F
        gain = _gain(s, f, current, server, left, region, gb, peak, start, size, cost, rank, fill, previous)
        fresh_gb = 0.0 if previous[s, f] else size[f]
        if size[f] > room[s] or fresh_gb > window[s]:
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
        window[s] -= fresh_gb
        _take(s, f, current, server, left, region, gb, peak, start, cost, rank)
    return price


@nb.njit(cache=True)
def _take(
    s: int, f: int, current: np.ndarray, server: np.ndarray, left: np.ndarray, region: np.ndarray, gb: np.ndarray, peak: np.ndarray,
    start: np.ndarray, cost: np.ndarray, rank: np.ndarray,
) -> None:  # fmt: skip
    """Let site s serve the entries of file f that it serves cheaper than whoever does now, while its throughput lasts."""
    for n in range(start[f], start[f + 1]):
        k = rank[region[n], s]
        if k >= 0 and gb[n] * (current[n] - cost[region[n], k]) > 0 and peak[n] <= left[s]:
            if server[n] >= 0:
                left[server[n]] += peak[n]
            left[s] -= peak[n]
            server[n] = s
            current[n] = cost[region[n], k]


@nb.njit(cache=True)
def _drop_unused(
    stored: np.ndarray, kept: np.ndarray, server: np.ndarray, room: np.ndarray, window: np.ndarray, previous: np.ndarray,
    start: np.ndarray, size: np.ndarray,
) -> int:  # fmt: skip
    """Drop the copies that serve nobody and that no rule asks for; returns how many."""
    S, F = stored.shape
    dropped = 0
    used = np.zeros(S, np.bool_)
    for f in range(F):
        used[:] = False
        for n in range(start[f], start[f + 1]):
            if server[n] >= 0:
                used[server[n]] = True
        for s in range(S):
            if stored[s, f] and not used[s] and not kept[s, f]:
                stored[s, f] = False
                room[s] += size[f]
                if not previous[s, f]:
                    window[s] += size[f]
                dropped += 1
    return dropped
