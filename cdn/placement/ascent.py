"""Dual ascent for a file's facility location problem (Erlenkotter 1978): a bound at once, and what branching needs to finish the proof.

Every region r is given a value w[r], at most the cost of its origin, such that no site earns more than it costs: the sum over regions of
``max(0, w[r] - cost[r, s])`` is at most the price of opening s. Then the sum of the values is a bound, and ``slack[s]``, what is left of the price, is the
least by which opening s lifts a solution above the bound.
"""

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def gather_ways(f, entries, candidates, toll, base, way_cost, way_site, ways, seen, touched, potential):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Origin costs of the entries of a file, and their ways below them in ascending order; notes the sites met and what they could save at most.

    Parameters
    ----------
    base, way_cost, way_site, ways
        (n,), (n, K), (n, K), (n,): results, as :func:`ascend` takes them.
    seen, touched, potential
        (S,): whether a site was met, all False before; the sites met; what each could save at most, of those only.

    Returns
    -------
    How many sites were met.
    """
    K, near = candidates.site.shape[1], 0
    for i in range(entries.start[f + 1] - entries.start[f]):
        n = entries.start[f] + i
        r, gb, peak = entries.region[n], entries.gb[n], entries.peak[n]
        low = np.inf
        for o in range(candidates.origin_cost.shape[1]):
            low = min(low, gb * candidates.origin_cost[r, o] + peak * toll[r, K + o])
        base[i] = low
        count = 0
        for k in range(K):
            s = candidates.site[r, k]
            if s < 0:
                break
            cost = gb * candidates.cost[r, k] + peak * toll[r, k]
            if cost >= low:
                continue
            if not seen[s]:
                seen[s] = True
                touched[near] = s
                near += 1
                potential[s] = 0.0
            potential[s] += low - cost
            q = count
            while q > 0 and way_cost[i, q - 1] > cost:
                way_cost[i, q], way_site[i, q] = way_cost[i, q - 1], way_site[i, q - 1]
                q -= 1
            way_cost[i, q], way_site[i, q] = cost, s
            count += 1
        ways[i] = count
    return near


@nb.njit(cache=True, nogil=True)
def keep_ways(n, way_cost, way_site, ways, usable):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Forget the ways to sites that are not ``usable`` (S,), in place."""
    for i in range(n):
        kept = 0
        for q in range(ways[i]):
            if usable[way_site[i, q]]:
                way_cost[i, kept], way_site[i, kept] = way_cost[i, q], way_site[i, q]
                kept += 1
        ways[i] = kept


@nb.njit(cache=True, nogil=True)
def ascend(
    entries: int, way_cost: np.ndarray, way_site: np.ndarray, ways: np.ndarray, base: np.ndarray, slack: np.ndarray,
    value: np.ndarray, level: np.ndarray, active: np.ndarray,
) -> None:  # fmt: skip
    """Raise every entry's value from way to way until sites or origins stop it.

    Parameters
    ----------
    way_cost, way_site, ways
        (n, K) costs of the ways to serve an entry, ascending and below its origin's; their sites; (n,) how many.
    base
        (n,) cost from the origin.
    slack
        (S,) prices of opening, lowered in place.
    value, level, active
        (n,) results and scratch: the values, the ways passed.
    """
    left = 0
    for i in range(entries):
        if ways[i] == 0:
            value[i], level[i] = base[i], 0
        else:
            value[i], level[i] = way_cost[i, 0], 1
            active[left] = i
            left += 1
    while left > 0:
        kept = 0
        for q in range(left):
            i = active[q]
            if _raise(i, way_cost, way_site, ways[i], base[i], slack, value, level):
                active[kept] = i
                kept += 1
        left = kept


@nb.njit(cache=True, nogil=True, inline="always")
def _raise(i, way_cost, way_site, ways, base, slack, value, level):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Raise the value of entry i to its next way, as far as the slack of the sites it pays allows; True if it may go on."""
    if value[i] >= base:
        return False
    passed = level[i]
    while passed < ways and way_cost[i, passed] <= value[i]:
        passed += 1
    level[i] = passed
    target = base
    if passed < ways and way_cost[i, passed] < base:
        target = way_cost[i, passed]
    step = target - value[i]
    free = step
    for q in range(passed):
        free = min(free, slack[way_site[i, q]])
        if free <= 0.0:
            return False
    for q in range(passed):
        slack[way_site[i, q]] -= free
    if free < step:
        value[i] += free
        return False
    value[i] = target
    return target < base
