"""Exact facility location, file by file: dual ascent, then branch and bound within groups of sites that share regions.

A file of twenty sites in two countries is two small problems that hardly touch. Groups (:mod:`cdn.placement.groups`) are solved one by one; a region with
ways into several groups is tied to its own by Lagrange: outside its own group it earns a visited site at most its value w, inside it may leave for the
price v >= w (v = w unless no visited site could earn anything). Each group's optimum plus w of the regions is then a true bound on the file, and the file's exact
optimum where no region has ways into two groups.

Within a group every solution A costs the dual bound plus penalties that only grow along a branch (complementary slackness, Erlenkotter 1978):

    sum of slack[s] over A  +  sum over entries of  max(0, cheapest(A) - w)  +  sum over the other sites in A of max(0, w - cost)

so depth-first search over open or closed is cheap: a node touches the regions of one site.
"""

from typing import NamedTuple

import numba as nb
import numpy as np

from cdn.placement.ascent import ascend, gather_ways, keep_ways
from cdn.placement.choices import PINNED, PREVIOUS, Candidates, Entries, Opening
from cdn.placement.facility import may_open, opening_cost

UNDECIDED, CLOSED, OPEN = -1, 0, 1


class Group(NamedTuple):
    """One group of a file: its sites and entries, renumbered.

    (size,) ``site``, ``slack`` and ``reach``, the number of entries that know the site; (size, m) ``cost`` and ``entry`` of those. (m,) ``ways``, ``value`` (w)
    and ``top``, what the entry pays at most; (m, K) ``way_cost`` and ``way_site``, ascending. ``mark`` is scratch.
    """

    site: np.ndarray
    slack: np.ndarray
    reach: np.ndarray
    cost: np.ndarray
    entry: np.ndarray
    ways: np.ndarray
    value: np.ndarray
    top: np.ndarray
    way_cost: np.ndarray
    way_site: np.ndarray
    mark: np.ndarray


class Tree(NamedTuple):
    """The path from the root to the present node.

    (size + 1, m) ``nearest`` open way and ``front``, the first way not closed; (size + 1,) ``penalty``, the ``other`` branch's penalty, whether that is
    ``waiting``, the ``site`` decided; (size,) ``choice`` and the ``best`` open set.
    """

    nearest: np.ndarray
    front: np.ndarray
    penalty: np.ndarray
    other: np.ndarray
    waiting: np.ndarray
    site: np.ndarray
    choice: np.ndarray
    best: np.ndarray


class Scratch(NamedTuple):
    """Work space for a file.

    (R,) ``pos`` of a region's entry, its ``base`` cost, ``ways``, ``value``, price to ``leave`` its group, ``home`` group, ``level`` and ``active``; (R, K) ``way_cost`` and ``way_site``; (S,)
    ``potential``, ``slack``, ``relevant``, ``touched`` and ``local``; a group and a tree.
    """

    pos: np.ndarray
    base: np.ndarray
    way_cost: np.ndarray
    way_site: np.ndarray
    ways: np.ndarray
    value: np.ndarray
    leave: np.ndarray
    home: np.ndarray
    level: np.ndarray
    active: np.ndarray
    potential: np.ndarray
    slack: np.ndarray
    relevant: np.ndarray
    touched: np.ndarray
    local: np.ndarray
    group: Group
    tree: Tree


@nb.njit(cache=True, nogil=True)
def new_scratch(group_start, S, R, K):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Work space for groups of these sizes."""
    i64, largest = np.int64, 1
    for g in range(len(group_start) - 1):
        largest = max(largest, group_start[g + 1] - group_start[g])
    return Scratch(
        np.full(R, -1, i64), np.empty(R), np.empty((R, K)), np.empty((R, K), i64), np.empty(R, i64), np.empty(R), np.empty(R), np.empty(R, i64),
        np.empty(R, i64), np.empty(R, i64), np.zeros(S), np.zeros(S), np.zeros(S, np.bool_), np.empty(S, i64), np.empty(S, i64),
        _new_group(largest, R, K), _new_tree(largest, R),
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def _new_group(size, R, K):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    i64 = np.int64
    return Group(
        np.empty(size, i64), np.empty(size), np.empty(size, i64), np.empty((size, R)), np.empty((size, R), i64), np.empty(R, i64),
        np.empty(R), np.empty(R), np.empty((R, K)), np.empty((R, K), i64), np.full(R, -1, i64),
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def _new_tree(size, R):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    i64 = np.int64
    return Tree(
        np.empty((size + 1, R)), np.empty((size + 1, R), i64), np.empty(size + 1), np.empty(size + 1), np.zeros(size + 1, np.bool_),
        np.empty(size + 1, i64), np.empty(size, i64), np.empty(size, np.bool_),
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def solve_files(
    files: np.ndarray, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening, stored: np.ndarray,
    group_start: np.ndarray, group_sites: np.ndarray, group_of: np.ndarray, node_limit: int, bounds: np.ndarray,
) -> int:  # fmt: skip
    """Bound some files at given prices and replace their open sites by the best found.

    Parameters
    ----------
    stored
        (F, S) bool: the sites a file starts from; changed in place.
    group_start, group_sites, group_of
        Sites by group, and the group of each site.
    node_limit
        Nodes of a group at most; beyond, its bound is that of the open nodes.
    bounds
        (F,) where each file's bound is written.

    Returns
    -------
    How many groups hit the node limit.
    """
    R, K = candidates.site.shape
    S, cut = len(opening.storage), 0
    scratch, nothing = new_scratch(group_start, S, R, K), np.zeros(S)
    for f in files:
        bounds[f], hits = solve_file(
            f, entries, candidates, toll, opening, nothing, False, stored[f], group_start, group_sites, group_of, node_limit, scratch
        )  # fmt: skip
        cut += hits
    return cut


@nb.njit(cache=True, nogil=True)
def solve_file(
    f: int, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening, subsidy: np.ndarray, subsidised: bool, held: np.ndarray,
    group_start: np.ndarray, group_sites: np.ndarray, group_of: np.ndarray, node_limit: int, scratch: Scratch,
) -> tuple[float, int]:  # fmt: skip
    """:func:`solve_files` for one file, with a ``subsidy`` (S,) on copies that are not pinned; returns its bound and how many groups hit the node limit. ``held`` (S,) bool: the sites it starts from, changed in place."""
    S, groups, cut = len(opening.storage), len(group_start) - 1, 0
    pos, base, way_cost, way_site, ways = scratch.pos, scratch.base, scratch.way_cost, scratch.way_site, scratch.ways
    value, leave, home, level, active = scratch.value, scratch.leave, scratch.home, scratch.level, scratch.active
    potential, slack, relevant, touched, local = (
        scratch.potential,
        scratch.slack,
        scratch.relevant,
        scratch.touched,
        scratch.local,
    )
    group, tree = scratch.group, scratch.tree
    first, n = entries.start[f], entries.start[f + 1] - entries.start[f]
    fixed = 0.0
    near = gather_ways(f, entries, candidates, toll, base, way_cost, way_site, ways, relevant, touched, potential)
    for i in range(n):
        pos[entries.region[first + i]] = i
    count = 0
    for j in range(near):
        s = touched[j]
        slack[s] = opening_cost(f, s, opening)
        if subsidised and not opening.state[f, s] & PINNED:
            slack[s] = max(0.0, slack[s] - subsidy[s])
        relevant[s] = potential[s] > slack[s] and may_open(f, s, opening)
        count += relevant[s]
    for s in range(S):
        if opening.state[f, s] & PINNED:
            held[s] = True
            fixed += opening.size[f] * opening.storage[s]
            if not opening.state[f, s] & PREVIOUS:
                fixed += opening.size[f] * opening.fill[s]
        elif not relevant[s]:
            held[s] = False
    if count == 0:
        for i in range(n):
            fixed += base[i]
    else:
        keep_ways(n, way_cost, way_site, ways, relevant)
        ascend(n, way_cost, way_site, ways, base, slack, value, level, active)
        for i in range(n):
            home[i] = -1
            if ways[i] == 0:
                fixed += base[i]
                continue
            home[i] = group_of[way_site[i, 0]]
            away = base[i]
            for q in range(1, ways[i]):
                if group_of[way_site[i, q]] != home[i]:
                    away = way_cost[i, q]
                    break
            leave[i] = min(max(value[i], away), base[i])
        for g in range(groups):
            size = 0
            for z in range(group_start[g], group_start[g + 1]):
                s = group_sites[z]
                if relevant[s]:
                    local[s] = size
                    group.site[size] = s
                    group.slack[size] = slack[s]
                    group.reach[size] = 0
                    tree.best[size] = held[s]
                    size += 1
            if size == 0:
                continue
            bound, m = _gather(
                g, size, pos, candidates, way_cost, way_site, ways, value, leave, home, group_of, local, group
            )
            penalty, hit = _branch(size, m, group, tree, node_limit)
            cut += hit
            fixed += bound + penalty
            for j in range(size):
                if not opening.state[f, group.site[j]] & PINNED:
                    held[group.site[j]] = tree.best[j]
    for j in range(near):
        relevant[touched[j]] = False
    for i in range(n):
        pos[entries.region[first + i]] = -1
    if subsidised:  # a copy that is paid for is there
        for s in range(S):
            paid = subsidy[s] - opening_cost(f, s, opening)
            if paid > 0 and not opening.state[f, s] & PINNED and may_open(f, s, opening):
                held[s] = True
                fixed -= paid
    return fixed, cut


@nb.njit(cache=True, nogil=True)
def _gather(g, size, pos, candidates, way_cost, way_site, ways, value, leave, home, group_of, local, group):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The entries of a group as arrays of their own: the regions at home in it, and those that may visit; returns the dual bound and how many."""
    bound, m = 0.0, 0
    for j in range(size):
        s = group.site[j]
        for z in range(candidates.start[s], candidates.start[s + 1]):
            i = pos[candidates.region[z]]
            if i < 0 or ways[i] == 0 or group.mark[i] == g:
                continue
            group.mark[i] = g
            own = home[i] == g
            top = leave[i] if own else value[i]
            if not own and leave[i] > value[i]:
                continue
            count = 0
            for q in range(ways[i]):
                if way_cost[i, q] >= top:
                    break
                if group_of[way_site[i, q]] == g:
                    at = local[way_site[i, q]]
                    group.way_cost[m, count], group.way_site[m, count] = way_cost[i, q], at
                    group.cost[at, group.reach[at]], group.entry[at, group.reach[at]] = way_cost[i, q], m
                    group.reach[at] += 1
                    count += 1
            if own:
                bound += value[i] if count else top
            if count == 0:
                continue
            group.ways[m], group.value[m], group.top[m] = count, value[i], top
            m += 1
    for j in range(size):
        s = group.site[j]
        for z in range(candidates.start[s], candidates.start[s + 1]):
            i = pos[candidates.region[z]]
            if i >= 0:
                group.mark[i] = -1
    return bound, m


@nb.njit(cache=True, nogil=True)
def _branch(size, m, group, tree, node_limit):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Least penalty over all open sets, starting from ``tree.best``, which is replaced by the best found; and whether the node limit was hit."""
    best = _penalty(size, m, group, tree)
    scale = 1e-300
    for i in range(m):
        scale += group.value[i]
        tree.nearest[0, i], tree.front[0, i] = group.top[i], 0
    tolerance = 1e-11 * scale
    if best <= tolerance:
        return max(best, 0.0), False
    for j in range(size):
        tree.choice[j] = UNDECIDED
    depth, nodes, descend = 0, 0, True
    tree.penalty[0] = 0.0
    while True:
        if descend:
            descend = False
            if depth == size:
                if tree.penalty[depth] < best - tolerance:
                    best = tree.penalty[depth]
                    for j in range(size):
                        tree.best[j] = tree.choice[j] == OPEN
                continue
            nodes += 1
            if nodes > node_limit:
                low = min(best, tree.penalty[depth])
                for d in range(depth):
                    if tree.waiting[d]:
                        low = min(low, tree.other[d])
                return low, True
            j, opened, closed = _pick(depth, size, group, tree, best - tolerance)
            if j < 0:
                continue
            tree.site[depth] = j
            tree.choice[j] = OPEN if opened <= closed else CLOSED
            tree.other[depth] = max(opened, closed)
            tree.waiting[depth] = True
            _decide(j, depth, m, group, tree)
            depth += 1
            tree.penalty[depth] = min(opened, closed)
            descend = tree.penalty[depth] < best - tolerance
        else:
            if depth == 0:
                return best, False
            depth -= 1
            j = tree.site[depth]
            if tree.waiting[depth] and tree.other[depth] < best - tolerance:
                tree.waiting[depth] = False
                tree.choice[j] = CLOSED if tree.choice[j] == OPEN else OPEN
                _decide(j, depth, m, group, tree)
                depth += 1
                tree.penalty[depth] = tree.other[depth - 1]
                descend = True
            else:
                tree.choice[j] = UNDECIDED


@nb.njit(cache=True, nogil=True)
def _penalty(size, m, group, tree):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The penalty of ``tree.best``."""
    total = 0.0
    for j in range(size):
        if tree.best[j]:
            total += group.slack[j]
    for i in range(m):
        cheapest, value = group.top[i], group.value[i]
        for q in range(group.ways[i]):
            if tree.best[group.way_site[i, q]]:
                if group.way_cost[i, q] < cheapest:
                    cheapest = group.way_cost[i, q]
                else:
                    total += max(0.0, value - group.way_cost[i, q])
        total += max(0.0, cheapest - value)
    return total


@nb.njit(cache=True, nogil=True)
def _pick(depth, size, group, tree, limit):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The undecided site whose two branches together promise most, with the penalty of each; -1 if a site can be neither."""
    chosen, most, opened, closed = -1, -1.0, 0.0, 0.0
    for j in range(size):
        if tree.choice[j] != UNDECIDED:
            continue
        up = tree.penalty[depth] + group.slack[j]
        down = tree.penalty[depth]
        for e in range(group.reach[j]):
            i, cost = group.entry[j, e], group.cost[j, e]
            value, nearest = group.value[i], tree.nearest[depth, i]
            if cost < value and nearest < value:
                up += value - max(cost, nearest)
            front = tree.front[depth, i]
            if front < group.ways[i] and group.way_site[i, front] == j:
                after = front + 1
                while after < group.ways[i] and tree.choice[group.way_site[i, after]] == CLOSED:
                    after += 1
                next_ = group.way_cost[i, after] if after < group.ways[i] else group.top[i]
                down += max(0.0, next_ - value) - max(0.0, cost - value)
        if up >= limit and down >= limit:
            return -1, up, down
        promise = min(up, limit) + min(down, limit)
        if up >= limit or down >= limit:
            promise += 2.0 * limit
        if promise > most:
            chosen, most, opened, closed = j, promise, up, down
    return chosen, opened, closed


@nb.njit(cache=True, nogil=True)
def _decide(j, depth, m, group, tree):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The state below a decision: the cheapest open way of each entry, and its first way that is not closed."""
    for i in range(m):
        tree.nearest[depth + 1, i] = tree.nearest[depth, i]
        tree.front[depth + 1, i] = tree.front[depth, i]
    for e in range(group.reach[j]):
        i = group.entry[j, e]
        if tree.choice[j] == OPEN:
            tree.nearest[depth + 1, i] = min(tree.nearest[depth, i], group.cost[j, e])
        else:
            front = tree.front[depth, i]
            while front < group.ways[i] and tree.choice[group.way_site[i, front]] == CLOSED:
                front += 1
            tree.front[depth + 1, i] = front
