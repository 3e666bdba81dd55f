"""Floors on replicas, file by file: which copies to hold for them at present prices, and what they add to a file's bound.

A floor concerns one file only, so it is part of the file's own problem and needs no price: copies held for a floor are pinned while prices move, and chosen anew
whenever the file's turn comes, as in its cheapest solution with its floors. That is found by branch and bound over the sites of its floors' groups: at every node a
floor of k copies has a price within the file, every copy in the group is paid a subsidy and the file is charged k of them, which is a bound at any subsidy, concave in it, and most often
exact at the best, where the number of copies goes from too few to enough; where it is not, a site that holds a copy on one side of that price only is tried open and closed.
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

SHARE = 50
"""Of the nodes a file's tree may have, the tree over who holds its floors has one in so many, but one at least."""

PLAN_NODES = 500
"""Nodes of a file's tree at most when the copies that hold floors take room."""

FREE, OPEN, CLOSED = 0, 1, 2

ROUNDING = 1e-11
"""Relative difference of a bound and a solution that counts as none."""


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
    problem: Problem, choices: Choices, toll: np.ndarray, opening: Opening, groups: Groups, stored: np.ndarray
) -> np.ndarray:
    """Store the files with floors anew, each where it costs least within the room and the fill windows that are left, the largest files first; ``stored`` (F, S) is changed in place.

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
    failed = _choose(
        files, floors, choices.entries, choices.candidates, toll, opening, *groups, stored, state, left, window
    )
    if failed >= 0:
        clash = f"{problem.floors.say(failed)} found no room at sites filled by pinned files and the replicas of larger files"
        raise InfeasiblePlanError("storage, fill windows and floors on replicas clash", [clash])
    return state


class Work(NamedTuple):
    """Work space for a file with floors.

    (S,) ``held`` of the latest trial, of one with too ``few`` copies, and of the ``best`` found, whose cost is ``cost[0]``; (S,) ``subsidy``, and that of a ``trial``; of nodes that wait,
    (S + 2, S) ``choice`` of every site, (S + 2,) ``low``, a bound, and the ``site`` to branch on.
    """

    held: np.ndarray
    few: np.ndarray
    best: np.ndarray
    cost: np.ndarray
    subsidy: np.ndarray
    trial: np.ndarray
    choice: np.ndarray
    low: np.ndarray
    site: np.ndarray


@nb.njit(cache=True, nogil=True)
def _new_work(S):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return Work(
        np.zeros(S, np.bool_), np.zeros(S, np.bool_), np.zeros(S, np.bool_), np.zeros(1), np.zeros(S), np.zeros(S),
        np.zeros((S + 2, S), np.int8), np.zeros(S + 2), np.zeros(S + 2, np.int64),
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def solve_floored(
    files: np.ndarray, floors: FloorTable, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening, stored: np.ndarray,
    group_start: np.ndarray, group_sites: np.ndarray, group_of: np.ndarray, nodes: int, bounds: np.ndarray,
) -> None:  # fmt: skip
    """:func:`cdn.placement.branch.solve_files` for files with floors: bound them, and replace their open sites by the best found that keep the floors.

    Parameters
    ----------
    opening
        Its state is the rules' own.
    nodes
        Of each tree at most; 0 for bounds by dual ascent.
    """
    S, (R, K) = len(opening.storage), candidates.site.shape
    scratch, work = new_scratch(group_start, S, R, K), _new_work(S)
    for f in files:
        work.held[:] = stored[f]
        bounds[f] = _solve(
            f, floors, entries, candidates, toll, opening, group_start, group_sites, group_of, nodes, scratch, work
        )
        if work.cost[0] < np.inf:
            stored[f] = work.best


@nb.njit(cache=True, nogil=True)
def pin(files: np.ndarray, floors: FloorTable, opening: Opening, stored: np.ndarray, state: np.ndarray) -> None:
    """Of what files store, pin the copies that hold their floors, those that cost least to open; ``state`` (F, S) gets the rules' bits and these."""
    for f in files:
        for s in range(len(opening.storage)):
            state[f, s] = opening.state[f, s]
        for q in range(
            floors.start[f + 1] - 1, floors.start[f] - 1, -1
        ):  # group 0, which overlaps the others, comes last
            member, missing = floors.member[floors.group[q]], floors.at_least[q]
            able = member & stored[f]
            for s in range(len(member)):
                if state[f, s] & PINNED:
                    missing -= member[s]
                    able[s] = False
            while missing > 0:
                best = _cheapest(f, able, opening)
                if best < 0:
                    break
                able[best] = False
                state[f, best] |= PINNED
                missing -= 1


@nb.njit(cache=True, nogil=True)
def _cheapest(f: int, able: np.ndarray, opening: Opening) -> int:
    """The site among those ``able`` (S,) where a copy costs least to open; -1 if there is none."""
    best = -1
    for s in range(len(able)):
        if able[s] and (best < 0 or opening_cost(f, s, opening) < opening_cost(f, best, opening)):
            best = s
    return best


@nb.njit(cache=True, nogil=True)
def _solve(
    f: int, floors: FloorTable, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening,
    group_start: np.ndarray, group_sites: np.ndarray, group_of: np.ndarray, nodes: int, scratch: Scratch, work: Work,
) -> float:  # fmt: skip
    """The least cost of a file that keeps its floors, or a bound on it where a tree is cut short; ``work.best`` gets the cheapest copies found, ``work.cost`` what they cost, infinite if none keep the floors."""
    work.cost[0] = np.inf
    work.choice[0] = FREE
    most = _most(f, entries, candidates, toll)
    work.low[0], work.site[0] = _node(
        f, 0, most, floors, entries, candidates, toll, opening, group_start, group_sites, group_of, nodes, scratch, work
    )
    depth, done, left = 1, 1, np.inf
    while depth > 0:
        depth -= 1
        low, site = work.low[depth], work.site[depth]
        if low >= work.cost[0] * (1 - ROUNDING):
            continue
        if site < 0 or done >= nodes // SHARE:
            left = min(left, low)
            continue
        done += 2
        work.choice[depth + 1] = work.choice[depth]
        work.choice[depth, site], work.choice[depth + 1, site] = CLOSED, OPEN
        for row in (depth, depth + 1):
            found, work.site[row] = _node(
                f, row, most, floors, entries, candidates, toll, opening, group_start, group_sites, group_of, nodes, scratch, work
            )  # fmt: skip
            work.low[row] = max(found, low)
        depth += 2
    return float(min(left, work.cost[0]))


@nb.njit(cache=True, nogil=True)
def _node(
    f: int, row: int, most: float, floors: FloorTable, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening,
    group_start: np.ndarray, group_sites: np.ndarray, group_of: np.ndarray, nodes: int, scratch: Scratch, work: Work,
) -> tuple[float, int]:  # fmt: skip
    """A bound on the file with the sites of a row open and closed, and a site of its floors to branch on, -1 if all are decided; betters ``work.best`` on the way."""
    S, choice, subsidy, trial = len(work.held), work.choice[row], work.subsidy, work.trial
    given = 0.0
    for s in range(S):
        subsidy[s] = 0.0
        if choice[s] == OPEN:
            subsidy[s] = opening_cost(f, s, opening)
            given += subsidy[s]
        elif choice[s] == CLOSED:
            subsidy[s] = -most
    low, site, bound, now, known = -np.inf, -1, 0.0, 0.0, False
    for q in range(floors.start[f], floors.start[f + 1]):
        member, missing, free, highest = floors.member[floors.group[q]], floors.at_least[q], 0, 0.0
        for s in range(S):
            if member[s] and (opening.state[f, s] & PINNED or choice[s] == OPEN):
                missing -= 1
            elif member[s] and choice[s] == FREE and may_open(f, s, opening):
                free += 1
                highest = max(highest, opening_cost(f, s, opening))
                if site < 0:
                    site = s
        if missing > free:
            return np.inf, -1
        at = np.zeros(2)  # subsidies with too few copies, and with enough; the bounds there and how they rise
        found, rise = np.zeros(2), np.zeros(2)
        best, chosen = -np.inf, 0.0
        for step in range(STEPS):
            now, hoped = highest * min(step, 1) * (1 + 1e-9), np.inf
            if step > 1:  # the bound is concave: go where the two lines meet
                now = (found[1] - found[0] + rise[0] * at[0] - rise[1] * at[1]) / (rise[0] - rise[1])
                hoped = found[0] + rise[0] * (now - at[0])
            if step > 0 or not known:
                for s in range(S):
                    trial[s] = subsidy[s] + (now if member[s] and choice[s] == FREE else 0.0)
                bound, _ = solve_file(
                    f, entries, candidates, toll, opening, trial, True, work.held, group_start, group_sites, group_of, nodes, scratch
                )  # fmt: skip
                bound += given + now * max(missing, 0)
            if bound > best:
                best, chosen = bound, now
            count, differs = 0, -1
            for s in range(S):
                work.held[s] = work.held[s] or choice[s] == OPEN
                if member[s] and choice[s] == FREE and work.held[s] and not opening.state[f, s] & PINNED:
                    count += 1
                    if step > 0 and not work.few[s]:
                        differs = s
            side = 0 if count < missing else 1
            at[side], found[side], rise[side] = now, bound, missing - count
            if side == 0:
                work.few[:] = work.held
            elif differs >= 0:
                site = differs
            _take(f, choice, floors, entries, candidates, toll, opening, work)
            if rise[side] == 0 or (step == 0 and side == 1) or (step == 1 and side == 0):
                break
            if bound >= hoped - 1e-9 * abs(hoped):
                break
        for s in range(S):
            if member[s] and choice[s] == FREE:
                subsidy[s] += chosen
        given += chosen * max(missing, 0)
        low, known = best, now == chosen  # then the next floor begins with this solution
    return low, site


@nb.njit(cache=True, nogil=True)
def _take(
    f: int, choice: np.ndarray, floors: FloorTable, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening, work: Work
) -> None:  # fmt: skip
    """Make a solution of ``work.held`` by the cheapest missing copies; keep it as ``work.best`` if it costs less."""
    S, K, held = len(choice), candidates.site.shape[1], work.held.copy()
    for q in range(floors.start[f + 1] - 1, floors.start[f] - 1, -1):
        member, missing = floors.member[floors.group[q]], floors.at_least[q]
        able = member & ~held
        for s in range(S):
            missing -= member[s] and held[s]
            able[s] = able[s] and choice[s] != CLOSED and may_open(f, s, opening)
        while missing > 0:
            best = _cheapest(f, able, opening)
            if best < 0:
                return
            able[best] = False
            held[best] = True
            missing -= 1
    cost = 0.0
    for s in range(S):
        if held[s]:
            fresh = 0.0 if opening.state[f, s] & PREVIOUS else opening.fill[s]
            cost += opening.size[f] * (opening.storage[s] + fresh)
    for n in range(entries.start[f], entries.start[f + 1]):
        r, gb, peak = entries.region[n], entries.gb[n], entries.peak[n]
        least = np.inf
        for o in range(candidates.origin_cost.shape[1]):
            least = min(least, gb * candidates.origin_cost[r, o] + peak * toll[r, K + o])
        for k in range(K):
            s = candidates.site[r, k]
            if s >= 0 and held[s]:
                least = min(least, gb * candidates.cost[r, k] + peak * toll[r, k])
        cost += least
    if cost < work.cost[0]:
        work.cost[0] = cost
        work.best[:] = held


@nb.njit(cache=True, nogil=True)
def _most(f: int, entries: Entries, candidates: Candidates, toll: np.ndarray) -> float:
    """More than any copy of a file can save: what it costs from origins, and 1."""
    K, total = candidates.site.shape[1], 1.0
    for n in range(entries.start[f], entries.start[f + 1]):
        r, least = entries.region[n], np.inf
        for o in range(candidates.origin_cost.shape[1]):
            least = min(least, entries.gb[n] * candidates.origin_cost[r, o] + entries.peak[n] * toll[r, K + o])
        total += least
    return total


@nb.njit(cache=True, nogil=True)
def _choose(
    files: np.ndarray, floors: FloorTable, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening,
    group_start: np.ndarray, group_sites: np.ndarray, group_of: np.ndarray, stored: np.ndarray, state: np.ndarray, left: np.ndarray, window: np.ndarray,
) -> int:  # fmt: skip
    """The copies of each file's cheapest solution with its floors within what is left of the room and the fill windows; returns the floor that found no room, or -1."""
    S, (R, K) = len(opening.storage), candidates.site.shape
    scratch, work = new_scratch(group_start, S, R, K), _new_work(S)
    fitting = Opening(opening.storage, opening.fill, left, window, opening.size, opening.state)
    for z in range(len(files)):
        f = files[z]
        work.held[:] = stored[f]
        _solve(
            f, floors, entries, candidates, toll, fitting, group_start, group_sites, group_of, PLAN_NODES, scratch, work
        )
        if work.cost[0] == np.inf:
            return int(_tightest(f, floors, fitting))
        stored[f] = work.best
        pin(files[z : z + 1], floors, opening, stored, state)
        for s in range(S):
            if state[f, s] & PINNED and not opening.state[f, s] & PINNED:
                left[s] -= opening.size[f]
                if not state[f, s] & PREVIOUS:
                    window[s] -= opening.size[f]
    return -1


@nb.njit(cache=True, nogil=True)
def _tightest(f: int, floors: FloorTable, opening: Opening) -> int:
    """The floor of a file that asks for most copies beyond the sites where it may be."""
    tightest, most = floors.start[f], -np.inf
    for q in range(floors.start[f], floors.start[f + 1]):
        missing = floors.at_least[q]
        for s in range(len(opening.storage)):
            known = opening.state[f, s] & PINNED or may_open(f, s, opening)
            missing -= floors.member[floors.group[q], s] and known
        if missing > most:
            tightest, most = q, missing
    return int(tightest)
