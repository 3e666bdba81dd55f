"""Floors on replicas, file by file: which copies to hold for them at present prices, and what they add to a file's bound.

A floor concerns one file only, so it is part of the file's own problem and needs no price: copies held for a floor are pinned while prices move, and chosen anew
whenever the file's turn comes. For the bound a floor of k copies has a price within its file: every copy in the group is paid a subsidy and the file is charged k of them, which is a bound
at any subsidy, concave in it, and most often exact at the best, where the number of copies goes from too few to enough.
"""

from typing import NamedTuple

import numba as nb
import numpy as np

from cdn.errors import InfeasiblePlanError
from cdn.placement.branch import Scratch, new_scratch, solve_file
from cdn.placement.choices import PINNED, PREVIOUS, Candidates, Choices, Entries, Opening
from cdn.placement.facility import may_open, opening_cost
from cdn.placement.groups import Groups
from cdn.placement.problem import Problem
from cdn.placement.rules import Floors

STEPS = 12
"""Subsidies of a floor that are tried at most."""

NODES = 2_000
"""Nodes of a tree at most."""


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
    failed = _choose(files, floors, choices.entries, choices.candidates, toll, opening, stored, state, left, window)
    if failed >= 0:
        clash = f"{problem.floors.say(failed)} found no room at sites filled by pinned files and the replicas of larger files"
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
    The floor that found no room, or -1.
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
                    return int(q)
                there[best] = True
                stored[f, best] = True
                state[f, best] |= PINNED
                left[best] -= opening.size[f]
                if not state[f, best] & PREVIOUS:
                    window[best] -= opening.size[f]
                missing -= 1
    return -1


def raise_bounds(
    files: np.ndarray, floors: FloorTable, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening, bounds: np.ndarray,
    groups: Groups | None = None,
) -> None:  # fmt: skip
    """Raise each file's bound to what its floors make it cost at least.

    Parameters
    ----------
    files
        Those with floors.
    bounds
        (F,) bounds without floors; raised in place.
    groups
        Of sites, for branch and bound; None for all of them in one.
    """
    S = len(opening.storage)
    one = Groups(np.array([0, S]), np.arange(S), np.zeros(S, np.int64)) if groups is None else groups
    _raise(files, floors, entries, candidates, toll, opening, one.start, one.sites, one.of, bounds)


@nb.njit(cache=True, nogil=True)
def _raise(
    files: np.ndarray, floors: FloorTable, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening,
    group_start: np.ndarray, group_sites: np.ndarray, group_of: np.ndarray, bounds: np.ndarray,
) -> None:  # fmt: skip
    S, (R, K) = len(opening.storage), candidates.site.shape
    scratch = new_scratch(group_start, S, R, K)
    held, subsidy = np.empty(S, np.bool_), np.empty(S)
    for f in files:
        best = _subsidise(
            f, floors, entries, candidates, toll, opening, group_start, group_sites, group_of, scratch, held, subsidy
        )
        bounds[f] = max(bounds[f], best)


@nb.njit(cache=True, nogil=True)
def _subsidise(
    f: int, floors: FloorTable, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening,
    group_start: np.ndarray, group_sites: np.ndarray, group_of: np.ndarray, scratch: Scratch, held: np.ndarray, subsidy: np.ndarray,
) -> float:  # fmt: skip
    """Find the subsidies (S,) with which a file keeps its floors at least cost; returns the bound that they prove, -inf where pinned copies keep them all."""
    S, given, best = len(held), 0.0, -np.inf
    subsidy[:] = 0.0
    for q in range(floors.start[f], floors.start[f + 1]):
        member, missing, highest = floors.member[floors.group[q]], floors.at_least[q], 0.0
        for s in range(S):
            if member[s] and opening.state[f, s] & PINNED:
                missing -= 1
            elif member[s] and may_open(f, s, opening):
                highest = max(highest, opening_cost(f, s, opening))
        if missing <= 0:
            continue
        at = np.zeros(2)  # subsidies with too few copies, and with enough; the bounds there and how they rise
        found, rise = np.zeros(2), np.zeros(2)
        most, chosen = -np.inf, 0.0
        for step in range(STEPS):
            now, hoped = highest * min(step, 1) * (1 + 1e-9), np.inf
            if step > 1:  # the bound is concave: go where the two lines meet
                now = (found[1] - found[0] + rise[0] * at[0] - rise[1] * at[1]) / (rise[0] - rise[1])
                hoped = found[0] + rise[0] * (now - at[0])
            held[:] = False
            trial = subsidy + now * member
            bound, _ = solve_file(
                f, entries, candidates, toll, opening, trial, True, held, group_start, group_sites, group_of, NODES, scratch
            )  # fmt: skip
            bound += given + now * missing
            if bound > most:
                most, chosen = bound, now
            count = 0
            for s in range(S):
                count += member[s] and held[s] and not opening.state[f, s] & PINNED
            side = 0 if count < missing else 1
            at[side], found[side], rise[side] = now, bound, missing - count
            if rise[side] == 0 or (step == 0 and side == 1) or (step == 1 and side == 0):
                break
            if bound >= hoped - 1e-9 * abs(hoped):
                break
        subsidy += chosen * member
        given += chosen * missing
        best = most
    return best


@nb.njit(cache=True, nogil=True)
def _choose(
    files: np.ndarray, floors: FloorTable, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening,
    stored: np.ndarray, state: np.ndarray, left: np.ndarray, window: np.ndarray,
) -> int:  # fmt: skip
    """As :func:`hold`, but each file's copies are those of its cheapest solution with the floors, as far as that is found; else they are held one by one."""
    S, (R, K) = len(opening.storage), candidates.site.shape
    start, sites, of = np.array([0, S]), np.arange(S), np.zeros(S, np.int64)
    scratch = new_scratch(start, S, R, K)
    held, subsidy = np.empty(S, np.bool_), np.empty(S)
    for z in range(len(files)):
        f = files[z]
        fitting = Opening(opening.storage, opening.fill, left, window, opening.size, opening.state)
        _subsidise(f, floors, entries, candidates, toll, fitting, start, sites, of, scratch, held, subsidy)
        held[:] = False
        solve_file(
            f, entries, candidates, toll, fitting, subsidy * (1 + 1e-6), True, held, start, sites, of, NODES, scratch
        )
        enough = True
        for q in range(floors.start[f], floors.start[f + 1]):
            count = 0
            for s in range(S):
                count += floors.member[floors.group[q], s] and (held[s] or opening.state[f, s] & PINNED)
            enough = enough and count >= floors.at_least[q]
        if not enough:
            failed = hold(files[z : z + 1], floors, entries, candidates, toll, opening, stored, state, left, window)
            if failed >= 0:
                return int(failed)
            continue
        for s in range(S):
            state[f, s] = opening.state[f, s]
        for q in range(floors.start[f + 1] - 1, floors.start[f] - 1, -1):  # group 0 comes last
            member, missing = floors.member[floors.group[q]], floors.at_least[q]
            for s in range(S):
                missing -= member[s] and bool(state[f, s] & PINNED)
            while missing > 0:
                best = -1
                for s in range(S):
                    wanted = member[s] and held[s] and not state[f, s] & PINNED
                    if wanted and (best < 0 or opening_cost(f, s, opening) < opening_cost(f, best, opening)):
                        best = s
                stored[f, best] = True
                state[f, best] |= PINNED
                left[best] -= opening.size[f]
                if not state[f, best] & PREVIOUS:
                    window[best] -= opening.size[f]
                missing -= 1
        for s in range(S):
            stored[f, s] = stored[f, s] or held[s]
    return -1
