"""Local search for the facility location problem that each file is, once storage, fills and rates have prices.

A file opens sites (paying for its bytes) and serves each region from the cheapest open site or an origin. Add, drop and swap moves are tried until none
pays, each from the gains that only the regions knowing a site can feel (Whitaker 1983; Resende and Werneck 2007).
"""

import numba as nb
import numpy as np

from cdn.placement.choices import FORBIDDEN, PINNED, PREVIOUS, Candidates, Entries, Opening


@nb.njit(cache=True, nogil=True)
def opening_cost(f: int, s: int, opening: Opening) -> float:
    """What storing file f at site s costs at the present prices; nothing for a pinned copy, which is there anyway."""
    state = opening.state[f, s]
    if state & PINNED:
        return 0.0
    return float(opening.size[f] * (opening.storage[s] + (0.0 if state & PREVIOUS else opening.fill[s])))


@nb.njit(cache=True, nogil=True)
def may_open(f: int, s: int, opening: Opening) -> bool:
    """Whether file f may be at site s at all."""
    if opening.state[f, s] & FORBIDDEN or opening.size[f] > opening.room[s]:
        return False
    return bool(opening.state[f, s] & PREVIOUS) or opening.size[f] <= opening.window[s]


@nb.njit(cache=True, nogil=True)
def improve(
    files: np.ndarray, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening, stored: np.ndarray,
    used: np.ndarray, filled: np.ndarray, flow: np.ndarray, rounds: int,
) -> float:  # fmt: skip
    """Improve the open sites of some files in place, and add up what they then use.

    Parameters
    ----------
    files
        File numbers.
    toll
        (R, K + O) price of a Gbit/s from each column.
    stored
        (F, S) bool, changed in place.
    used, filled, flow
        (S,) GB stored, (S,) GB newly filled and (R, K + O) Gbit/s, added to.
    rounds
        Sweeps over a file's sites at most; 0 measures the present sites only.

    Returns
    -------
    Cost of the files at these prices.
    """
    R, K = candidates.site.shape
    origins = candidates.origin_cost.shape[1]
    S = len(opening.storage)
    cost = np.empty((R, K))
    way_start, way_end = np.zeros(S, np.int64), np.zeros(S, np.int64)  # by site: the file's ways below an origin's cost
    way_entry, way_rank = np.empty(R * K, np.int32), np.empty(R * K, np.int32)
    base, base_at = np.empty(R), np.empty(R, np.int64)
    best, second, best_at = np.empty(R), np.empty(R), np.empty(R, np.int64)
    potential, price, loss, extra = np.zeros(S), np.empty(S), np.zeros(S), np.zeros(S)
    dirty, seen = np.zeros(S, np.bool_), np.zeros(S, np.bool_)
    touched, relevant, partners = np.empty(S, np.int64), np.empty(S, np.int64), np.empty(S, np.int64)
    ranks = (candidates.site, cost, base, base_at, best, second, best_at)
    total = 0.0
    for f in files:
        first, n = entries.start[f], entries.start[f + 1] - entries.start[f]
        regions, open_, near = entries.region[first : first + n], stored[f], 0
        for i in range(n):
            r = entries.region[first + i]
            gb, peak = entries.gb[first + i], entries.peak[first + i]
            base[i] = np.inf
            for o in range(origins):
                value = gb * candidates.origin_cost[r, o] + peak * toll[r, K + o]
                if value < base[i]:
                    base[i] = value
                    base_at[i] = K + o
            for k in range(K):
                s = candidates.site[r, k]
                if s < 0:
                    break
                value = gb * candidates.cost[r, k] + peak * toll[r, k]
                cost[i, k] = value
                if value < base[i]:
                    if not seen[s]:
                        seen[s] = True
                        touched[near] = s
                        near += 1
                        potential[s] = 0.0
                        way_end[s] = 0
                    potential[s] += base[i] - value
                    way_end[s] += 1
        count = 0
        for j in range(near):
            s = touched[j]
            seen[s] = False
            price[s] = opening_cost(f, s, opening)
            if potential[s] > price[s] and may_open(f, s, opening):
                relevant[count] = s
                count += 1
        for s in range(S):
            dirty[s] = False
            if opening.state[f, s] & PINNED:
                stored[f, s] = True
                used[s] += opening.size[f]
                total += opening.size[f] * opening.storage[s]
                if not opening.state[f, s] & PREVIOUS:
                    total += opening.size[f] * opening.fill[s]
                    filled[s] += opening.size[f]
        ways = 0
        for j in range(count):
            s = relevant[j]
            dirty[s] = True  # for now: relevant
            loss[s] = 0.0
            way_start[s] = ways
            ways += way_end[s]
            way_end[s] = way_start[s]
        for i in range(n if count else 0):
            r = regions[i]
            for k in range(K):
                s = candidates.site[r, k]
                if s < 0:
                    break
                if dirty[s] and cost[i, k] < base[i]:
                    way_entry[way_end[s]], way_rank[way_end[s]] = i, k
                    way_end[s] += 1
        for s in range(S):
            if stored[f, s] and not dirty[s] and not opening.state[f, s] & PINNED:
                stored[f, s] = False
        for i in range(n):
            _rank(i, entries.region[first + i], candidates.site, cost, base, base_at, open_, best, second, best_at)
            if best_at[i] < K:
                loss[candidates.site[entries.region[first + i], best_at[i]]] += second[i] - best[i]
        for _ in range(rounds if count else 0):
            changed = False
            for j in range(count):
                s = relevant[j]
                if not dirty[s]:
                    continue
                dirty[s] = False
                tiny = 1e-12 * (1e-30 + potential[s])
                if stored[f, s]:
                    if loss[s] < price[s] - tiny:
                        stored[f, s] = False
                        _update(way_start[s], way_end[s], way_entry, regions, open_, *ranks, loss, dirty)
                        changed = True
                    continue
                gain, others = -price[s], 0
                for q in range(way_start[s], way_end[s]):
                    i = way_entry[q]
                    value = cost[i, way_rank[q]]
                    if value < second[i]:
                        if best_at[i] < K:
                            t = candidates.site[entries.region[first + i], best_at[i]]
                            if not seen[t]:
                                seen[t] = True
                                partners[others] = t
                                others += 1
                                extra[t] = 0.0
                            extra[t] += second[i] - max(value, best[i])
                        if value < best[i]:
                            gain += best[i] - value
                most, out = gain, -1
                for q in range(others):
                    t = partners[q]
                    seen[t] = False
                    profit = gain + price[t] - loss[t] + extra[t]
                    if profit > most + tiny and not opening.state[f, t] & PINNED:
                        most, out = profit, t
                if most > tiny:
                    stored[f, s] = True
                    if out >= 0:
                        stored[f, out] = False
                        _update(way_start[out], way_end[out], way_entry, regions, open_, *ranks, loss, dirty)
                    _update(way_start[s], way_end[s], way_entry, regions, open_, *ranks, loss, dirty)
                    changed = True
            if not changed:
                break
        for j in range(count):
            s = relevant[j]
            if stored[f, s] and not opening.state[f, s] & PINNED:
                total += price[s]
                used[s] += opening.size[f]
                if not opening.state[f, s] & PREVIOUS:
                    filled[s] += opening.size[f]
        for i in range(n):
            r = entries.region[first + i]
            total += best[i]
            flow[r, best_at[i]] += entries.peak[first + i]
    return total


@nb.njit(cache=True, nogil=True, inline="always")
def _rank(i, r, site, cost, base, base_at, open_, best, second, best_at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The cheapest and second cheapest way to serve entry i of region r."""
    low, next_, at = base[i], base[i], base_at[i]
    for k in range(site.shape[1]):
        s = site[r, k]
        if s < 0:
            break
        if open_[s]:
            value = cost[i, k]
            if value < low:
                next_, low, at = low, value, k
            elif value < next_:
                next_ = value
    best[i], second[i], best_at[i] = low, next_, at


@nb.njit(cache=True, nogil=True)
def _update(first, last, way_entry, regions, open_, site, cost, base, base_at, best, second, best_at, loss, dirty):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """After a site opened or closed: rank the ways of the entries that know it again, and mark the sites that may feel it."""
    K = site.shape[1]
    for q in range(first, last):
        i = way_entry[q]
        r = regions[i]
        low, next_, at = best[i], second[i], best_at[i]
        _rank(i, r, site, cost, base, base_at, open_, best, second, best_at)
        if low == best[i] and next_ == second[i] and at == best_at[i]:
            continue
        if at < K:
            loss[site[r, at]] -= next_ - low
        if best_at[i] < K:
            loss[site[r, best_at[i]]] += second[i] - best[i]
        for k in range(K):
            t = site[r, k]
            if t < 0:
                break
            dirty[t] = True
