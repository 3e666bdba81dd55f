"""Floors on replicas, file by file: which copies to hold for them at present prices, and what they add to a file's bound.

A floor concerns one file only, so it is part of the file's own problem and needs no price: copies held for a floor are pinned while prices move, and chosen anew
whenever the file's turn comes. The bound rests on complementary slackness: with w from a dual ascent every solution costs at least the sum of w plus what is left
of the opening price of each site it opens, so one with k sites of a group costs at least the k smallest of these more.
"""

from typing import NamedTuple

import numba as nb
import numpy as np

from cdn.errors import InfeasiblePlanError
from cdn.placement.ascent import ascend
from cdn.placement.branch import sort_ways
from cdn.placement.choices import PINNED, PREVIOUS, Candidates, Choices, Entries, Opening
from cdn.placement.facility import may_open, opening_cost
from cdn.placement.problem import Problem
from cdn.placement.rules import Floors


class FloorTable(NamedTuple):
    """:class:`~cdn.placement.rules.Floors` by file: those of file f are ``group[start[f]:start[f + 1]]``, each asking for ``at_least`` of ``member[group]``."""

    start: np.ndarray
    group: np.ndarray
    at_least: np.ndarray
    member: np.ndarray


def by_file(floors: Floors, files: int) -> FloorTable:
    """The floors as the kernels read them."""
    start = np.searchsorted(floors.file, np.arange(files + 1)).astype(np.int64)
    return FloorTable(start, floors.group, floors.at_least, floors.member)


def keep_floors(
    problem: Problem, choices: Choices, toll: np.ndarray, opening: Opening, stored: np.ndarray
) -> np.ndarray:
    """Choose the copies that hold every floor within the room and the fill windows, the largest files first; they are added to ``stored`` (F, S).

    Returns
    -------
    (F, S) uint8: the rules' bits, and PINNED where a copy holds a floor.

    Raises
    ------
    InfeasiblePlanError
        If there was no room left for one.
    """
    state = choices.state.copy()
    if problem.floors is None:
        return state
    pinned = (state & PINNED) != 0
    left = choices.room - choices.size @ pinned
    window = choices.window - choices.size @ (pinned & ((state & PREVIOUS) == 0))
    files = np.unique(problem.floors.file)
    files = files[np.argsort(-choices.size[files], kind="stable")]
    floors = by_file(problem.floors, len(choices.size))
    failed = hold(files, floors, choices.entries, choices.candidates, toll, opening, stored, state, left, window)
    if failed >= 0:
        clash = f"file {failed}: its replicas found no room at sites filled by pinned files and the replicas of larger files"
        raise InfeasiblePlanError("storage, fill windows and floors on replicas clash", [clash])
    return state


@nb.njit(cache=True, nogil=True)
def hold(
    files: np.ndarray, floors: FloorTable, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening, stored: np.ndarray,
    state: np.ndarray, left: np.ndarray, window: np.ndarray,
) -> int:  # fmt: skip
    """Pin the copies with which each file keeps its floors at least net cost, one after the other, given what it stores elsewhere; in place.

    Parameters
    ----------
    files
        In the order in which they take room.
    opening
        Its state is the rules' own; ``state`` (F, S) gets the pins as well.
    stored
        (F, S) bool: what each file holds; chosen copies are added.
    left, window
        (S,) GB of room and of the fill window that are not pinned yet; lowered. Infinite where room has a price instead.

    Returns
    -------
    The file whose floor found no room, or -1.
    """
    K, S = candidates.site.shape[1], len(opening.storage)
    current = np.empty(len(candidates.site))
    there = np.zeros(S, np.bool_)
    for f in files:
        first, last = entries.start[f], entries.start[f + 1]
        for s in range(S):
            state[f, s] = opening.state[f, s]
            there[s] = stored[f, s] or opening.state[f, s] & PINNED
        for q in range(floors.start[f], floors.start[f + 1]):
            for s in range(S):
                if floors.member[floors.group[q], s] and not opening.state[f, s] & PINNED:
                    there[s] = False
        for q in range(
            floors.start[f + 1] - 1, floors.start[f] - 1, -1
        ):  # group 0, which overlaps the others, comes last
            member = floors.member[floors.group[q]]
            missing = floors.at_least[q]
            for s in range(S):
                if member[s] and state[f, s] & PINNED:
                    missing -= 1
            while missing > 0:
                for n in range(first, last):
                    r, gb, peak = entries.region[n], entries.gb[n], entries.peak[n]
                    low = np.inf
                    for c in range(toll.shape[1]):
                        if c < K:
                            if candidates.site[r, c] < 0 or not there[candidates.site[r, c]]:
                                continue
                            low = min(low, gb * candidates.cost[r, c] + peak * toll[r, c])
                        else:
                            low = min(low, gb * candidates.origin_cost[r, c - K] + peak * toll[r, c])
                    current[r] = low
                best, most = -1, -np.inf
                for s in range(S):
                    fresh = not state[f, s] & PREVIOUS
                    if not member[s] or state[f, s] & PINNED or not may_open(f, s, opening):
                        continue
                    if opening.size[f] > left[s] or (fresh and opening.size[f] > window[s]):
                        continue
                    value = -opening_cost(f, s, opening)
                    for q2 in range(candidates.start[s], candidates.start[s + 1]):
                        r, k = candidates.region[q2], candidates.rank[q2]
                        n = first + np.searchsorted(entries.region[first:last], r)
                        if n < last and entries.region[n] == r:
                            own = entries.gb[n] * candidates.cost[r, k] + entries.peak[n] * toll[r, k]
                            value += max(0.0, current[r] - own)
                    if value > most:
                        best, most = s, value
                if best < 0:
                    return int(f)
                there[best] = True
                stored[f, best] = True
                state[f, best] |= PINNED
                left[best] -= opening.size[f]
                if not state[f, best] & PREVIOUS:
                    window[best] -= opening.size[f]
                missing -= 1
    return -1


@nb.njit(cache=True, nogil=True)
def raise_bounds(
    files: np.ndarray, floors: FloorTable, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening, bounds: np.ndarray
) -> None:  # fmt: skip
    """Raise each file's bound to what its floors make it cost at least.

    Parameters
    ----------
    files
        Those with floors.
    bounds
        (F,) bounds without floors; raised in place.
    """
    R, K = candidates.site.shape
    S = len(opening.storage)
    base, way_cost, way_site, ways = np.empty(R), np.empty((R, K)), np.empty((R, K), np.int64), np.empty(R, np.int64)
    value, level, active = np.empty(R), np.empty(R, np.int64), np.empty(R, np.int64)
    potential, slack, seen, touched = np.zeros(S), np.empty(S), np.zeros(S, np.bool_), np.empty(S, np.int64)
    for f in files:
        first, n = entries.start[f], entries.start[f + 1] - entries.start[f]
        near = 0
        for i in range(n):
            near = sort_ways(
                i,
                entries.region[first + i],
                entries.gb[first + i],
                entries.peak[first + i],
                candidates,
                toll,
                base,
                way_cost,
                way_site,
                ways,
                seen,
                touched,
                near,
                potential,
            )
        for j in range(near):
            seen[touched[j]] = False
        fixed = 0.0
        for s in range(S):
            slack[s] = opening_cost(f, s, opening)
            if opening.state[f, s] & PINNED:
                fixed += opening.size[f] * opening.storage[s]
                if not opening.state[f, s] & PREVIOUS:
                    fixed += opening.size[f] * opening.fill[s]
            elif not may_open(f, s, opening):
                slack[s] = np.inf
        for i in range(n):
            kept = 0
            for q in range(ways[i]):
                if slack[way_site[i, q]] < np.inf:
                    way_cost[i, kept], way_site[i, kept] = way_cost[i, q], way_site[i, q]
                    kept += 1
            ways[i] = kept
        ascend(n, way_cost, way_site, ways, base, slack, value, level, active)
        for i in range(n):
            fixed += value[i]
        apart, together = 0.0, 0.0
        for q in range(floors.start[f], floors.start[f + 1]):
            missing = floors.at_least[q]
            spare = np.empty(S)
            count = 0
            for s in range(S):
                if floors.member[floors.group[q], s]:
                    if opening.state[f, s] & PINNED:
                        missing -= 1
                    elif slack[s] < np.inf:
                        spare[count] = slack[s]
                        count += 1
            extra = 0.0
            if missing > 0:
                extra = np.sum(np.sort(spare[:count])[:missing])
            if floors.group[q] == 0:
                together = extra
            else:
                apart += extra
        bounds[f] = max(bounds[f], fixed + max(apart, together))
