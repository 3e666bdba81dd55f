"""Groups of sites that compete for the same regions: what branch and bound solves as one."""

import heapq
from typing import NamedTuple

import numpy as np

from cdn.placement.choices import Choices
from cdn.placement.problem import add_up

LARGEST, WIDEST = 20, 40
"""Sites of a group at most, in an epoch and for a bound: branch and bound is cheap up to the first, and still pays up to the second."""


class Groups(NamedTuple):
    """``sites[start[g]:start[g + 1]]`` are the sites of group g; ``of`` (S,) is the group of each site."""

    start: np.ndarray
    sites: np.ndarray
    of: np.ndarray


def group_sites(choices: Choices, largest: int = LARGEST) -> Groups:
    """Merge the two groups with the strongest tie per pair of sites, again and again, while none grows too large.

    The tie of two sites is what both could save, region by region: the smaller of their savings against the origin, for all the region asks.
    """
    candidates, entries = choices.candidates, choices.entries
    S = len(choices.room)
    asked = add_up(entries.region, entries.gb, len(candidates.site))
    ties: list[dict[int, float]] = [{} for _ in range(S)]
    for r, sites in enumerate(candidates.site):
        known = np.flatnonzero(sites >= 0)
        saving = np.maximum(candidates.origin_cost[r].min() - candidates.cost[r, known], 0.0) * asked[r]
        for i, s in enumerate(sites[known].tolist()):
            for j, t in enumerate(sites[known].tolist()):
                if s != t:
                    ties[s][t] = ties[s].get(t, 0.0) + float(min(saving[i], saving[j]))
    members = {s: [s] for s in range(S)}
    heap = [(-tie, s, t, 1, 1) for s in range(S) for t, tie in ties[s].items() if s < t and tie > 0]
    heapq.heapify(heap)
    while heap:
        _, s, t, size_s, size_t = heapq.heappop(heap)
        fresh = s in members and t in members and (len(members[s]), len(members[t])) == (size_s, size_t)
        if not fresh or size_s + size_t > largest:
            continue
        members[s] += members.pop(t)
        for u, tie in ties[t].items():
            del ties[u][t]
            if u != s:
                ties[s][u] = ties[u][s] = ties[s].get(u, 0.0) + tie
        ties[t] = {}
        for u, tie in ties[s].items():
            if tie > 0:
                sizes = len(members[min(s, u)]), len(members[max(s, u)])
                heapq.heappush(heap, (-tie / (sizes[0] * sizes[1]), min(s, u), max(s, u), *sizes))
    groups = [np.sort(group) for group in members.values()]
    of = np.empty(S, np.int64)
    for g, group in enumerate(groups):
        of[group] = g
    start = np.concatenate([[0], np.cumsum([len(group) for group in groups])]).astype(np.int64)
    return Groups(start=start, sites=np.concatenate(groups).astype(np.int64), of=of)
