"""Flows over time: bytes in each five minutes, on every arc; and the highest load a site ever carried."""

import numpy as np
from scipy.sparse import csr_array

from topology.routing import Paths

SLOT_MS = 300_000
SLOTS = 288


def slot_bytes(
    group: np.ndarray, groups: int, start_ms: np.ndarray, duration_ms: np.ndarray, bytes_: np.ndarray
) -> np.ndarray:
    """Bytes of each group of even flows in every five minutes of the day.

    Parameters
    ----------
    group
        (N,) int, 0 <= group < groups.
    start_ms, duration_ms, bytes_
        (N,) int64: a flow carries ``bytes_ * overlap / duration_ms`` in a slot; what lies outside the day is left out.

    Returns
    -------
    (groups, 288) float64.
    """
    total = np.zeros(groups * SLOTS)
    end_ms = start_ms + duration_ms
    slot = np.maximum(start_ms // SLOT_MS, 0)
    alive = np.flatnonzero((slot < SLOTS) & (end_ms > 0))
    while len(alive):
        left = slot[alive] * SLOT_MS
        overlap = np.minimum(end_ms[alive], left + SLOT_MS) - np.maximum(start_ms[alive], left)
        share = bytes_[alive] * (overlap / duration_ms[alive])
        total += np.bincount(group[alive] * SLOTS + slot[alive], share, groups * SLOTS)
        slot[alive] += 1
        alive = alive[(slot[alive] < SLOTS) & (slot[alive] * SLOT_MS < end_ms[alive])]
    return total.reshape(groups, SLOTS)


def arc_slot_bytes(
    paths: Paths, path: np.ndarray, arcs: int, start_ms: np.ndarray, duration_ms: np.ndarray, bytes_: np.ndarray
) -> np.ndarray:
    """Bytes over each arc in every five minutes: flow n takes all arcs of ``paths`` number ``path[n]``.

    Returns
    -------
    (arcs, 288) float64.
    """
    used, group = np.unique(path, return_inverse=True)
    flows = slot_bytes(group, len(used), start_ms, duration_ms, bytes_)
    length = np.diff(paths.start)[used]
    crosses = (arcs_of(paths, used), np.repeat(np.arange(len(used)), length))
    return np.asarray(csr_array((np.ones(int(length.sum())), crosses), shape=(arcs, len(used))) @ flows)


def arcs_of(paths: Paths, path: np.ndarray) -> np.ndarray:
    """All arcs of many paths, one path after the other."""
    first, length = paths.start[path], np.diff(paths.start)[path]
    ahead = np.cumsum(length) - length
    return paths.arcs[np.repeat(first - ahead, length) + np.arange(int(length.sum()))]


def arc_bytes(paths: Paths, path: np.ndarray, bytes_: np.ndarray, arcs: int) -> np.ndarray:
    """Whole bytes over each arc, (arcs,) int64: every flow is charged to every arc of its path."""
    total = np.zeros(arcs, np.int64)
    for begin in range(0, len(path), 1_000_000):
        part = path[begin : begin + 1_000_000]
        np.add.at(total, arcs_of(paths, part), np.repeat(bytes_[begin : begin + 1_000_000], np.diff(paths.start)[part]))
    return total


def peak_bps(
    site: np.ndarray, sites: int, start_ms: np.ndarray, end_ms: np.ndarray, rate_bps: np.ndarray
) -> np.ndarray:
    """The highest sum of rates at any moment, (sites,) int64; at equal times what ends goes before what begins."""
    count = len(site)
    where = np.concatenate([site, site])
    when = np.concatenate([start_ms, end_ms])
    begins = np.repeat([True, False], count)
    change = np.where(begins, np.concatenate([rate_bps, rate_bps]), -np.concatenate([rate_bps, rate_bps]))
    order = np.lexsort((begins, when, where))
    load = np.cumsum(change[order])  # the changes of one site add up to nothing, so each site starts from zero
    peak = np.zeros(sites, np.int64)
    np.maximum.at(peak, where[order], load)
    return peak
