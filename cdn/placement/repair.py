"""From the files' own choices to a plan that fits: every site in turn packs the files that save most per GB, given what the others hold."""

import numba as nb
import numpy as np

from cdn.placement.choices import PINNED, PREVIOUS, Candidates, Entries, Opening
from cdn.placement.facility import may_open


@nb.njit(cache=True, nogil=True)
def fit_sites(
    sites: np.ndarray, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening, stored: np.ndarray, keep: bool
) -> None:  # fmt: skip
    """Make each site's files fit into its room, in the order named, then fill the room that is left; in place.

    Parameters
    ----------
    opening
        Its storage prices do not count: room is a hard limit here; fill prices do.
    stored
        (F, S) bool.
    keep
        Whether a stored file leaves only for want of room; otherwise all files compete for the whole site. Keeping respects a mix of
        equally good sites that no single set of tolls would choose again.
    """
    value = np.empty(len(stored))
    for s in sites:
        site_values(s, entries, candidates, toll, opening, stored, value)
        _pack(s, value, opening, stored, keep)


@nb.njit(cache=True, nogil=True)
def site_values(
    s: int, entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening, stored: np.ndarray, value: np.ndarray
) -> None:  # fmt: skip
    """(F,) what each file saves by being at site s, given where else it is: serving less fill."""
    K, low, high = candidates.site.shape[1], candidates.start[s], candidates.start[s + 1]
    rank = np.full(len(candidates.site), -1, np.int64)
    for q in range(low, high):
        rank[candidates.region[q]] = candidates.rank[q]
    for f in range(len(value)):
        value[f] = 0.0 if opening.state[f, s] & PREVIOUS else -opening.size[f] * opening.fill[s]
        first, last = entries.start[f], entries.start[f + 1]
        by_entry, dense, at = last - first <= high - low, last - first == len(candidates.site), first
        for q in range(last - first if by_entry else high - low):
            if by_entry:
                n = first + q
                r = entries.region[n]
                k = rank[r]
                if k < 0:
                    continue
            else:
                r, k = candidates.region[low + q], candidates.rank[low + q]
                n = first + r if dense else at + np.searchsorted(entries.region[at:last], r)
                if n == last:
                    break
                at = n
                if entries.region[n] != r:
                    continue
            gb, peak = entries.gb[n], entries.peak[n]
            own = gb * candidates.cost[r, k] + peak * toll[r, k]
            other = np.inf
            for o in range(candidates.origin_cost.shape[1]):
                other = min(other, gb * candidates.origin_cost[r, o] + peak * toll[r, K + o])
            if own >= other:
                continue
            for e in range(K):
                t = candidates.site[r, e]
                if t < 0:
                    break
                if t != s and stored[f, t]:
                    cost = gb * candidates.cost[r, e] + peak * toll[r, e]
                    if cost < other:
                        other = cost
                        if own >= other:
                            break
            value[f] += max(0.0, other - own)


@nb.njit(cache=True, nogil=True)
def _pack(s: int, value: np.ndarray, opening: Opening, stored: np.ndarray, keep: bool) -> None:
    """Pinned files first, then what is stored if that is kept, then by value per GB, whatever still fits into the room and the fill window."""
    F = len(value)
    left, window = opening.room[s], opening.window[s]
    density = np.full(F, -1.0)
    for f in range(F):
        if opening.state[f, s] & PINNED:
            left -= opening.size[f]
            if not opening.state[f, s] & PREVIOUS:
                window -= opening.size[f]
        elif (value[f] > 0.0 or (keep and stored[f, s])) and may_open(f, s, opening):
            density[f] = max(value[f], 0.0) / opening.size[f]
    files = np.flatnonzero(density >= 0.0)
    files = files[np.argsort(-density[files], kind="mergesort")]
    before = stored[:, s].copy()
    for f in range(F):
        stored[f, s] = bool(opening.state[f, s] & PINNED)
    for new in (False, True):  # first what is there, then what is not
        for i in range(len(files)):
            f = files[i]
            fresh = 0.0 if opening.state[f, s] & PREVIOUS else opening.size[f]
            if (new or before[f] or not keep) and not stored[f, s] and opening.size[f] <= left and fresh <= window:
                stored[f, s] = True
                left -= opening.size[f]
                window -= fresh
