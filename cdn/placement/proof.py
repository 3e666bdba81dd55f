"""What a plan's prices prove: the least cost of every file at given prices, by branch and bound. The verifier's own; it shares no code with the solvers.

At fixed prices a file is a facility location problem of its own. Sites that no region ties together fall apart; each part is solved like DUALOC (Erlenkotter, 1978): at every node of the
tree a dual ascent gives a bound and says which sites are tight, the tight sites (those not needed dropped) give a solution, and where the two differ a site that is
paid twice is tried open and closed. At the root, sites whose slack exceeds the difference are closed for good, and what falls apart then is solved apart. A floor on
replicas ties its sites together; a node's bound adds the least slacks with which the missing copies can be opened.

Cut short by its limit of nodes, a tree still gives a true bound: the least of its open nodes.
"""

from typing import NamedTuple

import numba as nb
import numpy as np

NODES = 3_000
"""Nodes of a part's tree at most."""

FREE, OPEN, CLOSED = 0, 1, 2

ROUNDING = 1e-11
"""Relative difference of a bound and a solution that counts as none."""


class Prices(NamedTuple):
    """(R, K) ``toll`` on a Gbit/s of each way; (S,) ``storage`` a GB stored and ``fresh`` a GB that was not there before."""

    toll: np.ndarray
    storage: np.ndarray
    fresh: np.ndarray


class Ways(NamedTuple):
    """Who may serve whom: (R, K) ``site``, -1 where there are fewer, and ``cost`` a GB; (S,) ``origin``; (S,) GB of ``room`` and of the fill ``window``, and what a site can ``carry`` in Gbit/s."""

    site: np.ndarray
    cost: np.ndarray
    origin: np.ndarray
    room: np.ndarray
    window: np.ndarray
    carry: np.ndarray


class Asked(NamedTuple):
    """Demand by file: (F + 1,) ``start``; (N,) ``region``, ``gb`` and ``peak``; (F,) ``size`` in GB."""

    start: np.ndarray
    region: np.ndarray
    gb: np.ndarray
    peak: np.ndarray
    size: np.ndarray


class Ruled(NamedTuple):
    """(S, F) bool ``before``, ``pinned`` and ``forbidden``; floors of file f are ``start[f]:start[f + 1]``, each asking for ``least`` of ``member[group]``, (G, S) bool; group 0 is all edge sites, the others do not overlap."""

    before: np.ndarray
    pinned: np.ndarray
    forbidden: np.ndarray
    start: np.ndarray
    least: np.ndarray
    group: np.ndarray
    member: np.ndarray


class Part(NamedTuple):
    """One part of a file: (m,) ``opening`` and its sites' numbers ``site``; (n,) ``top``, what an entry pays at most, and how many ``ways`` it has; (n, K) ``price``, ascending, and ``at``, the site.

    The rest is scratch: (n,) ``value``, ``level`` and ``active``; (m,) ``slack``, ``chosen`` and ``gain``; of nodes that wait, (m + 2, m) ``state`` of the sites, their ``bound``
    and the site to ``branch`` on.
    """

    opening: np.ndarray
    site: np.ndarray
    top: np.ndarray
    ways: np.ndarray
    price: np.ndarray
    at: np.ndarray
    value: np.ndarray
    level: np.ndarray
    active: np.ndarray
    slack: np.ndarray
    chosen: np.ndarray
    gain: np.ndarray
    state: np.ndarray
    bound: np.ndarray
    branch: np.ndarray


class Whole(NamedTuple):
    """A whole file: (n,) ``top`` and ``ways``, (n, K) ``price`` and ``at`` as of a part, of all sites; (S,) ``opening``, infinite where the file may not be, ``potential`` saving, whether to ``keep`` a site.

    The parts it falls into: (S,) ``home`` of each site, -1 for none, and ``site`` by part, from (S + 1,) ``site_start``; likewise of entries. ``parent`` and ``local`` are scratch.
    """

    top: np.ndarray
    ways: np.ndarray
    price: np.ndarray
    at: np.ndarray
    opening: np.ndarray
    potential: np.ndarray
    keep: np.ndarray
    home: np.ndarray
    site: np.ndarray
    site_start: np.ndarray
    entry_home: np.ndarray
    entry: np.ndarray
    entry_start: np.ndarray
    parent: np.ndarray
    local: np.ndarray


@nb.njit(cache=True, nogil=True)
def _new_part(S, R, K):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    i64 = np.int64
    return Part(
        np.empty(S), np.empty(S, i64), np.empty(R), np.empty(R, i64), np.empty((R, K)), np.empty((R, K), i64), np.empty(R), np.empty(R, i64),
        np.empty(R, i64), np.empty(S), np.empty(S, np.bool_), np.empty(S), np.empty((S + 2, S), np.int8),
        np.empty(S + 2), np.empty(S + 2, i64),
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def _new_whole(S, R, K):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    i64 = np.int64
    return Whole(
        np.empty(R), np.empty(R, i64), np.empty((R, K)), np.empty((R, K), i64), np.empty(S), np.empty(S), np.empty(S, np.bool_), np.empty(S, i64), np.empty(S, i64),
        np.empty(S + 1, i64), np.empty(R, i64), np.empty(R, i64), np.empty(S + 1, i64), np.empty(S, i64), np.empty(S, i64),
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def least_costs(
    files: np.ndarray, asked: Asked, ways: Ways, prices: Prices, ruled: Ruled, nodes: int, least: np.ndarray
) -> int:
    """Bound the cost of some files at given prices.

    Parameters
    ----------
    nodes
        Nodes at most of the tree of each part of a file.
    least
        (F,) where each file's bound is written: its least cost, unless a tree was cut short.

    Returns
    -------
    How many trees were cut short.
    """
    R, K = ways.site.shape
    S, cut = len(ways.origin), 0
    part, whole = _new_part(S, R, K), _new_whole(S, R, K)
    for f in files:
        n = asked.start[f + 1] - asked.start[f]
        least[f] = _openings(f, asked, ways, prices, ruled, whole)
        _sort_ways(f, n, asked, ways, prices, whole)
        for s in range(S):
            whole.keep[s] = whole.potential[s] > whole.opening[s]
        for q in range(ruled.start[f], ruled.start[f + 1]):
            for s in range(S):
                if ruled.member[ruled.group[q], s] and whole.opening[s] < np.inf:
                    whole.keep[s] = True
        for p in range(_fall_apart(f, n, ruled, whole)):
            m, k, tied = _gather(f, p, ruled, whole, part)
            low, high, _ = _node(f, 0, m, k, tied, ruled, part)
            for j in range(m if not tied else 0):
                if part.state[0, j] == FREE and part.slack[j] > high - low + ROUNDING * abs(high):
                    whole.keep[part.site[j]] = False
        for p in range(_fall_apart(f, n, ruled, whole)):
            m, k, tied = _gather(f, p, ruled, whole, part)
            bound, hit = _tree(f, m, k, tied, ruled, part, nodes)
            least[f] += bound
            cut += hit
        for i in range(n):
            if whole.entry_home[i] < 0:
                least[f] += whole.top[i]
    return cut


@nb.njit(cache=True, nogil=True)
def _openings(f, asked, ways, prices, ruled, whole):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """What opening each site costs the file; returns what its pinned copies cost, which are free to use then."""
    size, fixed = asked.size[f], 0.0
    for s in range(len(ways.origin)):
        known = ruled.before[s, f]
        price = size * (prices.storage[s] + (0.0 if known else prices.fresh[s]))
        whole.potential[s] = 0.0
        if ways.origin[s]:
            whole.opening[s] = np.inf
        elif ruled.pinned[s, f]:
            whole.opening[s] = 0.0
            fixed += price
        elif ruled.forbidden[s, f] or size > ways.room[s] or (size > ways.window[s] and not known):
            whole.opening[s] = np.inf
        else:
            whole.opening[s] = price
    return fixed


@nb.njit(cache=True, nogil=True)
def _sort_ways(f, n, asked, ways, prices, whole):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The ways of each entry that cost less than its cheapest origin, ascending."""
    K = ways.site.shape[1]
    for i in range(n):
        e = asked.start[f] + i
        r, gb, peak = asked.region[e], asked.gb[e], asked.peak[e]
        low = np.inf
        for k in range(K):
            if ways.site[r, k] >= 0 and ways.origin[ways.site[r, k]]:
                low = min(low, gb * ways.cost[r, k] + peak * prices.toll[r, k])
        whole.top[i] = low
        count = 0
        for k in range(K):
            s = ways.site[r, k]
            if s < 0 or whole.opening[s] == np.inf or (peak > 0 and ways.carry[s] <= 0):
                continue
            price = gb * ways.cost[r, k] + peak * prices.toll[r, k]
            if price >= low:
                continue
            whole.potential[s] += low - price
            q = count
            while q > 0 and whole.price[i, q - 1] > price:
                whole.price[i, q], whole.at[i, q] = whole.price[i, q - 1], whole.at[i, q - 1]
                q -= 1
            whole.price[i, q], whole.at[i, q] = price, s
            count += 1
        whole.ways[i] = count


@nb.njit(cache=True, nogil=True)
def _root(parent, s):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    while parent[s] != s:
        parent[s] = parent[parent[s]]
        s = parent[s]
    return s


@nb.njit(cache=True, nogil=True)
def _fall_apart(f, n, ruled, whole):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The parts that regions and floors tie the kept sites into; returns how many."""
    S, keep, parent = len(whole.keep), whole.keep, whole.parent
    for s in range(S):
        parent[s] = s
    for i in range(n):
        head = -1
        for q in range(whole.ways[i]):
            s = whole.at[i, q]
            if keep[s]:
                if head < 0:
                    head = _root(parent, s)
                else:
                    parent[_root(parent, s)] = head
        whole.entry_home[i] = head
    head = -1
    for q in range(ruled.start[f], ruled.start[f + 1]):
        for s in range(S):
            if ruled.member[ruled.group[q], s] and keep[s]:
                if head < 0:
                    head = _root(parent, s)
                else:
                    parent[_root(parent, s)] = head
    parts = 0
    for s in range(S):
        whole.home[s] = -1
        if keep[s] and _root(parent, s) == s:
            whole.home[s] = parts
            parts += 1
    for p in range(parts + 1):
        whole.site_start[p] = whole.entry_start[p] = 0
    for s in range(S):
        if keep[s]:
            whole.home[s] = whole.home[_root(parent, s)]
            whole.site_start[whole.home[s] + 1] += 1
    for i in range(n):
        if whole.entry_home[i] >= 0:
            whole.entry_home[i] = whole.home[_root(parent, whole.entry_home[i])]
            whole.entry_start[whole.entry_home[i] + 1] += 1
    for p in range(parts):
        whole.site_start[p + 1] += whole.site_start[p]
        whole.entry_start[p + 1] += whole.entry_start[p]
    for s in range(S - 1, -1, -1):
        if keep[s]:
            p = whole.home[s] + 1
            whole.site_start[p] -= 1
            whole.site[whole.site_start[p]] = s
    for i in range(n - 1, -1, -1):
        if whole.entry_home[i] >= 0:
            p = whole.entry_home[i] + 1
            whole.entry_start[p] -= 1
            whole.entry[whole.entry_start[p]] = i
    for p in range(parts):  # starts had become those of the part after
        whole.site_start[p], whole.entry_start[p] = whole.site_start[p + 1], whole.entry_start[p + 1]
    count = entries = 0
    for s in range(S):
        count += keep[s]
    for i in range(n):
        entries += whole.entry_home[i] >= 0
    whole.site_start[parts], whole.entry_start[parts] = count, entries
    return parts


@nb.njit(cache=True, nogil=True)
def _gather(f, p, ruled, whole, part):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """A part with its sites numbered anew, pinned ones open; returns its sites, its entries, and whether a floor ties it."""
    m, tied = 0, False
    for z in range(whole.site_start[p], whole.site_start[p + 1]):
        s = whole.site[z]
        whole.local[s], part.site[m], part.opening[m] = m, s, whole.opening[s]
        part.state[0, m] = OPEN if ruled.pinned[s, f] else FREE
        for q in range(ruled.start[f], ruled.start[f + 1]):
            tied = tied or ruled.member[ruled.group[q], s]
        m += 1
    k = 0
    for z in range(whole.entry_start[p], whole.entry_start[p + 1]):
        i, count = whole.entry[z], 0
        for q in range(whole.ways[i]):
            if whole.keep[whole.at[i, q]]:
                part.price[k, count], part.at[k, count] = whole.price[i, q], whole.local[whole.at[i, q]]
                count += 1
        part.top[k], part.ways[k] = whole.top[i], count
        k += 1
    return m, k, tied


@nb.njit(cache=True, nogil=True)
def _tree(f, m, k, tied, ruled, part, nodes):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The least cost of a part, or where its tree was cut short a bound on it; and whether it was."""
    low, best, site = _node(f, 0, m, k, tied, ruled, part)
    part.bound[0], part.branch[0] = low, site
    depth, done = 1, 1
    while depth > 0:
        depth -= 1
        low, site = part.bound[depth], part.branch[depth]
        if low >= best - ROUNDING * abs(best) or site < 0:
            continue
        if done >= nodes:
            for row in range(depth):
                low = min(low, part.bound[row])
            return min(low, best), True
        done += 2
        part.state[depth + 1, :m] = part.state[depth, :m]
        part.state[depth, site], part.state[depth + 1, site] = CLOSED, OPEN
        for row in (depth, depth + 1):
            found, high, part.branch[row] = _node(f, row, m, k, tied, ruled, part)
            part.bound[row], best = max(found, low), min(best, high)
        if part.bound[depth] < part.bound[depth + 1]:  # the more promising comes first
            for j in range(m):
                part.state[depth, j], part.state[depth + 1, j] = part.state[depth + 1, j], part.state[depth, j]
            part.bound[depth], part.bound[depth + 1] = part.bound[depth + 1], part.bound[depth]
            part.branch[depth], part.branch[depth + 1] = part.branch[depth + 1], part.branch[depth]
        depth += 2
    return (best - ROUNDING * abs(best) if best < np.inf else 0.0), False


@nb.njit(cache=True, nogil=True)
def _node(f, row, m, k, tied, ruled, part):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """A bound on the part with the sites of a row open and closed, the cost of a solution, and the site to branch on, -1 if there is nothing to decide."""
    state = part.state[row]
    low = 0.0
    for j in range(m):
        part.slack[j] = 0.0
        if state[j] == OPEN:
            low += part.opening[j]
        elif state[j] == FREE:
            part.slack[j] = part.opening[j]
    _ascend(state, k, part)
    for i in range(k):
        low += part.value[i]
    for j in range(m):
        part.chosen[j] = state[j] == OPEN or (state[j] == FREE and part.slack[j] <= 1e-12 * part.opening[j])
    if tied:
        extra = _floors(f, m, state, ruled, part)
        if extra == np.inf:
            return np.inf, np.inf, -1
        low += extra
    site = _overpaid(state, m, k, part)
    return low, _solution(f, m, k, state, tied, ruled, part), site


@nb.njit(cache=True, nogil=True)
def _ascend(state, k, part):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Raise what each entry is worth from way to way until the slack of the sites that it pays ends."""
    left = k
    for i in range(k):
        q = 0
        while q < part.ways[i] and state[part.at[i, q]] == CLOSED:
            q += 1
        part.value[i] = part.price[i, q] if q < part.ways[i] else part.top[i]
        part.level[i], part.active[i] = q, i
    while left > 0:
        still = 0
        for z in range(left):
            i = part.active[z]
            value, q = part.value[i], part.level[i]
            while q < part.ways[i] and (part.price[i, q] <= value or state[part.at[i, q]] == CLOSED):
                q += 1
            part.level[i] = q
            goal = part.price[i, q] if q < part.ways[i] else part.top[i]
            step = goal - value
            for w in range(q):
                if state[part.at[i, w]] != CLOSED:
                    step = min(step, part.slack[part.at[i, w]])
            if step <= 0.0:
                continue
            for w in range(q):
                if state[part.at[i, w]] == FREE:
                    part.slack[part.at[i, w]] -= step
            if step == goal - value:
                part.value[i] = goal
                if q < part.ways[i]:
                    part.active[still] = i
                    still += 1
            else:
                part.value[i] = value + step
        left = still


@nb.njit(cache=True, nogil=True)
def _floors(f, m, state, ruled, part):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Choose the copies that the floors still ask for where slack is least; returns what they add to the bound, infinite if there are too few sites left."""
    apart, together = 0.0, 0.0
    for q in range(ruled.start[f], ruled.start[f + 1]):
        missing = ruled.least[q]
        for j in range(m):
            if ruled.member[ruled.group[q], part.site[j]] and state[j] == OPEN:
                missing -= 1
        part.gain[:m] = np.inf
        for j in range(m):
            if ruled.member[ruled.group[q], part.site[j]] and state[j] == FREE:
                part.gain[j] = part.slack[j]
        extra = 0.0
        while missing > 0:
            least = np.argmin(part.gain[:m])
            if part.gain[least] == np.inf:
                return np.inf
            extra += part.gain[least]
            part.chosen[least] = True
            part.gain[least] = np.inf
            missing -= 1
        if ruled.group[q] == 0:
            together = max(together, extra)
        else:
            apart += extra
    return max(apart, together)


@nb.njit(cache=True, nogil=True)
def _overpaid(state, m, k, part):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The undecided chosen site that is paid most by entries which pay others as well; any undecided one if none is; -1 if all is decided."""
    part.gain[:m] = 0.0
    for i in range(k):
        paid = 0
        for q in range(part.ways[i]):
            if part.price[i, q] >= part.value[i]:
                break
            paid += part.chosen[part.at[i, q]]
        if paid > 1:
            for q in range(part.ways[i]):
                if part.price[i, q] >= part.value[i]:
                    break
                part.gain[part.at[i, q]] += part.value[i] - part.price[i, q]
    best = -1
    for j in range(m):
        better = best < 0 or (part.chosen[j], part.gain[j]) > (part.chosen[best], part.gain[best])
        if state[j] == FREE and better:
            best = j
    return best


@nb.njit(cache=True, nogil=True)
def _solution(f, m, k, state, tied, ruled, part):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """What the chosen sites cost, once those that cost more than they save are dropped, the worst first."""
    while True:
        total = 0.0
        for j in range(m):
            part.gain[j] = part.opening[j] if part.chosen[j] else 0.0
            total += part.gain[j]
        for i in range(k):
            first, second, server = part.top[i], part.top[i], -1
            for q in range(part.ways[i]):
                if part.chosen[part.at[i, q]]:
                    if server < 0:
                        first, server = part.price[i, q], part.at[i, q]
                    else:
                        second = part.price[i, q]
                        break
            total += first
            if server >= 0:
                part.gain[server] -= second - first
        worst = -1
        for j in range(m):
            useless = part.chosen[j] and state[j] == FREE and part.gain[j] > 0
            if (
                useless
                and (worst < 0 or part.gain[j] > part.gain[worst])
                and (not tied or _may_go(f, j, m, ruled, part))
            ):
                worst = j
        if worst < 0:
            return total
        part.chosen[worst] = False


@nb.njit(cache=True, nogil=True)
def _may_go(f, j, m, ruled, part):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Whether every floor is kept without a site."""
    for q in range(ruled.start[f], ruled.start[f + 1]):
        if ruled.member[ruled.group[q], part.site[j]]:
            there = 0
            for z in range(m):
                there += part.chosen[z] and ruled.member[ruled.group[q], part.site[z]]
            if there <= ruled.least[q]:
                return False
    return True
