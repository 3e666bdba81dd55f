"""Flows over time in whole numbers: what each arc carried in every five minutes, and the highest load a site ever carried.

An even flow of ``rate_bps`` from ``start_ms`` to ``end_ms`` puts ``rate_bps * overlap`` bit/s x ms into every five minutes it overlaps. Written as two
marks, where it starts and where it ends, that costs the same however long it lasts: a *mark* of rate r at time t puts ``r * (slot's end - t)`` into the
slot of t, its *part*, and r x five minutes into every later one, its *level*; the end is a mark of rate -r.
"""

import numpy as np
from scipy.sparse import csr_array

from sim.machine import compiled, index
from topology.errors import InputError, Problem
from topology.routing import Paths

SLOT_MS = 300_000
SLOTS = 288
"""Slots of a day."""
MOST_BPS = 2**63 // SLOT_MS
"""What an arc may carry: more, for a whole slot, would not fit into 64 bits."""


def slot_loads(
    group: np.ndarray, groups: int, start_ms: np.ndarray, end_ms: np.ndarray, rate_bps: np.ndarray, slots: int = SLOTS
) -> np.ndarray:
    """Load of each group of even flows in every five minutes.

    Parameters
    ----------
    group
        (N,) int, 0 <= group < groups.
    start_ms, end_ms, rate_bps
        (N,) int64, start < end; what lies before 0 or after the last slot is left out.
    slots
        How many slots there are from 0 on.

    Returns
    -------
    (groups, slots) int64, in bit/s x ms: divided by :data:`SLOT_MS` it is the slot's average in bit/s.
    """
    return _loads_of_marks(*_marks(group, groups, start_ms, end_ms, rate_bps, slots))


def _marks(
    group: np.ndarray, groups: int, start_ms: np.ndarray, end_ms: np.ndarray, rate_bps: np.ndarray, slots: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the marks' parts and levels, (groups, slots) int64 each."""
    part, level = np.zeros((groups, slots + 1), np.int64), np.zeros((groups, slots + 1), np.int64)
    for at, sign in ((start_ms, 1), (end_ms, -1)):
        when = np.clip(at, 0, slots * SLOT_MS)
        slot = when // SLOT_MS
        np.add.at(part, (group, slot), sign * rate_bps * ((slot + 1) * SLOT_MS - when))
        np.add.at(level, (group, slot), sign * rate_bps)
    return part[:, :slots], level[:, :slots]


def _loads_of_marks(part: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Loads (groups, slots) int64 from the sums of marks: :func:`loads_by_arc` for marks that stand otherwise."""
    after = np.cumsum(level, axis=1)
    load = part + (after - level) * SLOT_MS
    _refuse_beyond(after.max(initial=0), load.min(initial=0))
    return np.asarray(load)


@compiled
def mark_flows(
    marks: np.ndarray,
    start: np.ndarray,
    arcs: np.ndarray,
    start_ms: np.ndarray,
    end_ms: np.ndarray,
    rate_bps: np.ndarray,
) -> None:
    """Mark flows on every arc of their paths.

    Parameters
    ----------
    marks
        (slots, A, 2) int64: parts and levels, added to.
    start, arcs
        (N + 1,) and (M,): flow n takes ``arcs[start[n]:start[n + 1]]``.
    start_ms, end_ms, rate_bps
        (N,) int64, as for :func:`slot_loads`.
    """
    last = len(marks) * SLOT_MS
    for n in range(len(rate_bps)):
        for at, rate in ((start_ms[n], rate_bps[n]), (end_ms[n], -rate_bps[n])):
            when = min(max(at, 0), last)
            slot = when // SLOT_MS
            if slot < len(marks):
                for which in range(start[n], start[n + 1]):
                    marks[slot, arcs[which], 0] += rate * ((slot + 1) * SLOT_MS - when)
                    marks[slot, arcs[which], 1] += rate


@compiled
def move_marks(
    marks: np.ndarray, past: int, arc_marks: np.ndarray, base: int, path: np.ndarray, arc: np.ndarray
) -> None:
    """Charge marks on paths to the arcs of the paths, and move what is left to the front.

    Parameters
    ----------
    marks
        (slots, P, 2) int64, of which the first ``past`` are charged; slot 0 is slot ``base`` of ``arc_marks``.
    arc_marks
        (T, A, 2) int64, added to; what lies behind its end is left out.
    path, arc
        (M,): each arc of each path, one path after the other, so that hardly ever two in a row add to the same arc.
    """
    past = min(past, len(marks))
    for slot in range(min(past, len(arc_marks) - base)):
        for each in range(len(path)):
            here, there = index(path[each]), index(arc[each])
            arc_marks[base + slot, there, 0] += marks[slot, here, 0]
            arc_marks[base + slot, there, 1] += marks[slot, here, 1]
    for slot in range(len(marks)):
        for each in range(marks.shape[1]):
            for which in range(2):
                marks[slot, each, which] = marks[slot + past, each, which] if slot + past < len(marks) else 0


@compiled
def _add_up(marks: np.ndarray, load: np.ndarray) -> tuple[int, int]:
    """Fill in the loads; returns the highest level of all arcs, in bit/s, and the least load."""
    highest, least = 0, 0
    for arc in range(len(load)):
        before = 0
        for slot in range(len(marks)):
            load[arc, slot] = marks[slot, arc, 0] + before * SLOT_MS
            before += marks[slot, arc, 1]
            highest, least = max(highest, before), min(least, load[arc, slot])
    return int(highest), int(least)


def loads_by_arc(marks: np.ndarray) -> np.ndarray:
    """Loads (A, slots) int64, in bit/s x ms, of marks (slots, A, 2).

    Raises
    ------
    InputError
        An arc carries more than :data:`MOST_BPS`.
    """
    load = np.empty(marks.shape[1::-1], np.int64)
    _refuse_beyond(*_add_up(marks, load))
    return load


def _refuse_beyond(level: int, least: int) -> None:
    """Refuse loads whose sums do not fit into 64 bits: that have too high a level in bit/s, or have become less than nothing."""
    bps = max(int(level), int(least) % 2**64 // SLOT_MS)
    if bps > MOST_BPS:
        message = f"a link carries {bps / 1e12:,.0f} Tbit/s, and loads are counted up to {MOST_BPS / 1e12:,.0f}"
        mend = "correct the demand, or give the origins more sites"
        raise InputError(Problem(table="links", message=message, mend=mend))


def arc_slot_loads(
    paths: Paths,
    path: np.ndarray,
    arcs: int,
    start_ms: np.ndarray,
    end_ms: np.ndarray,
    rate_bps: np.ndarray,
    slots: int = SLOTS,
) -> np.ndarray:
    """Load of each arc in every five minutes: flow n takes all arcs of ``paths`` number ``path[n]``.

    Returns
    -------
    (arcs, slots) int64, bit/s x ms.
    """
    used, group = np.unique(path, return_inverse=True)
    part, level = _marks(group, len(used), start_ms, end_ms, rate_bps, slots)
    crosses = crossings(paths, used, arcs)
    return _loads_of_marks(crosses @ part, crosses @ level)


def crossings(paths: Paths, path: np.ndarray, arcs: int) -> csr_array:
    """(arcs, P) int64: how often each of the given paths crosses each arc."""
    length = np.diff(paths.start)[path]
    crosses = (arcs_of(paths, path), np.repeat(np.arange(len(path)), length))
    return csr_array((np.ones(int(length.sum()), np.int64), crosses), shape=(arcs, len(path)))


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


def even_rate_bps(bytes_: np.ndarray, duration_ms: np.ndarray) -> np.ndarray:
    """(N,) int64: bytes spread evenly over a time, in bit/s, rounded half to even."""
    return np.asarray(np.rint(bytes_ * 8000.0 / duration_ms), np.int64)
