"""Groups of sites that compete for the same regions: what branch and bound solves as one."""

import heapq
from typing import NamedTuple

import numba as nb
import numpy as np

from cdn.placement.choices import Candidates, Choices
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
    nearest = candidates.origin_cost.min(axis=1)[:, None]
    saving = np.maximum(np.where(candidates.site >= 0, nearest - candidates.cost, 0.0), 0.0) * asked[:, None]
    ties: list[dict[int, float]] = []
    row = np.empty(S)
    for s in range(S):
        _tie(s, candidates, saving, row)
        tied = np.flatnonzero(row)
        ties.append(dict(zip(tied.tolist(), row[tied].tolist(), strict=True)))
    members = {s: [s] for s in range(S)}
    heap = [(-tie, s, t, 1, 1) for s in range(S) for t, tie in ties[s].items() if s < t]
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
            sizes = len(members[min(s, u)]), len(members[max(s, u)])
            heapq.heappush(heap, (-tie / (sizes[0] * sizes[1]), min(s, u), max(s, u), *sizes))
    groups = [np.sort(group) for group in members.values()]
    of = np.empty(S, np.int64)
    for g, group in enumerate(groups):
        of[group] = g
    start = np.concatenate([[0], np.cumsum([len(group) for group in groups])]).astype(np.int64)
    return Groups(start=start, sites=np.concatenate(groups).astype(np.int64), of=of)


@nb.njit(cache=True, nogil=True)
def _tie(s: int, candidates: Candidates, saving: np.ndarray, row: np.ndarray) -> None:
    """(S,) the ties of a site to every other, from what each candidate saves its region (R, K)."""
    row[:] = 0.0
    for q in range(candidates.start[s], candidates.start[s + 1]):
        r = candidates.region[q]
        own = saving[r, candidates.rank[q]]
        for k in range(candidates.site.shape[1]):
            t = candidates.site[r, k]
            if t >= 0 and t != s:
                row[t] += min(own, saving[r, k])
