"""Levelling the loads of a site's appliances: demand split over copies as evenly as they allow, and exchanges of copies until no appliance is too loaded.

Exchanges are for what the spread by weights (:mod:`cdn.balance`) leaves uneven where an appliance has room for a few files only: chance does not average out there, and a file
finds its place only if others make room for it. The search lowers the sum of excess² over throughput, ``excess`` being an appliance's load over throughput above the
target: copies that are not missed go; a copy changes places with a set of colder ones, the coldest that make just room, or a cold one with a set of hotter ones; last,
a copy is added where there is room and it helps. Where that ends far from the target, a few random changes of places and the same search again, kept if better.
"""

from typing import NamedTuple

import numba as nb
import numpy as np

SWEEPS, FEW_SWEEPS = 200, 20
"""Times that demand is poured over copies at most, finally and in the search."""

LEAST = 1e-3
"""The part of all excess that a change must take away."""

TRIFLE = 0.01
"""A copy that carries less than this part of an appliance's excess is not tried as the one to leave it."""

SCAN = 2_000
"""Files looked at, in the order of their heat, for the set that goes the other way."""

KICKS, KICK, KICK_TRIES, KICK_WORK = 200, 3, 400, 5e7
"""Searches from random changes at most, one for each file; changes of places before each, and draws for them; and all pairs of file and appliance that such searches may start from, added up."""

NEAR = 0.5
"""How much sooner a copy moves to an appliance at whose score it nearly was: power of the ratio of the scores."""


class Room(NamedTuple):
    """What limits copies: (F,) GB ``size``; (A,) GB ``left`` free; (F, A) bool ``fresh``, a copy there must be brought tonight; (A,) GB ``window`` left to bring them in, infinite without a limit.

    Free room and window are kept up to date as copies come and go.
    """

    size: np.ndarray
    left: np.ndarray
    fresh: np.ndarray
    window: np.ndarray

    def copy(self) -> "Room":
        """The same, to be changed apart."""
        return self._replace(left=self.left.copy(), window=self.window.copy())


def spread_peak(where: np.ndarray, peak_gbps: np.ndarray, throughput_gbps: np.ndarray) -> np.ndarray:
    """Loads of the appliances when every file's peak is split over its copies so that the greatest load over throughput is least.

    Parameters
    ----------
    where
        (F, A) bool, which appliances hold a copy.
    peak_gbps, throughput_gbps
        (F,) and (A,).

    Returns
    -------
    (A,) Gbit/s.
    """
    copies = where.sum(axis=1)
    load = (where * np.where(copies == 1, peak_gbps, 0.0)[:, None]).sum(axis=0)
    several = np.flatnonzero((copies > 1) & (peak_gbps > 0))
    share = np.zeros((len(several), where.shape[1]))
    pour_all(where[several], peak_gbps[several], carrying(throughput_gbps), load, share, SWEEPS)
    return np.asarray(load)


def carrying(throughput: np.ndarray) -> np.ndarray:
    """Throughput with a trace of it where there is none, so that ratios exist."""
    most = float(throughput.max(initial=0.0))
    return np.asarray(np.maximum(throughput, 1e-9 * most if most > 0 else 1.0))


@nb.njit(cache=True, nogil=True)
def pour_all(
    where: np.ndarray, peak: np.ndarray, throughput: np.ndarray, load: np.ndarray, share: np.ndarray, sweeps: int
) -> None:
    """Pour each file into its holders in turn, least loaded first, until nothing changes.

    It is descent by blocks on the sum of load² / throughput, whose least point has the least greatest load over throughput too.
    """
    for _ in range(sweeps):
        change = 0.0
        for i in range(len(peak)):
            change = max(change, pour(where[i], peak[i], throughput, load, share[i]))
        if change <= 1e-7:
            break


@nb.njit(cache=True, nogil=True)
def pour(where: np.ndarray, peak: float, throughput: np.ndarray, load: np.ndarray, share: np.ndarray) -> float:
    """Take a file's ``share`` (A,) out of the loads and pour it in again to one level; the greatest change of a load over throughput."""
    before = share.copy()
    holders = np.flatnonzero(where)
    load[holders] -= share[holders]
    rank = holders[np.argsort(load[holders] / throughput[holders], kind="mergesort")]
    water, wide, level = peak, 0.0, 0.0
    for j in range(len(rank)):
        wide += throughput[rank[j]]
        water += load[rank[j]]
        level = water / wide
        if j + 1 == len(rank) or level <= load[rank[j + 1]] / throughput[rank[j + 1]]:
            break
    change = 0.0
    for a in holders:
        share[a] = max(0.0, level * throughput[a] - load[a])
        load[a] += share[a]
        change = max(change, abs(share[a] - before[a]) / throughput[a])
    return change / max(level, 1e-300)


def level(
    where: np.ndarray, score: np.ndarray, room: Room, peak: np.ndarray, throughput: np.ndarray, target: float, enough: float, steps: int
) -> None:  # fmt: skip
    """Exchange copies until every load over throughput is within the target or nothing found lowers the excess; in place.

    Parameters
    ----------
    where
        (F, A) bool, which appliances hold a copy; no file is lost, no room and no window exceeded.
    score
        (F, A) > 0: the less, the sooner a file belongs there.
    room
        Of the copies.
    peak
        (F,) Gbit/s.
    throughput
        (A,) Gbit/s, > 0.
    target
        Load over throughput.
    enough
        The load over throughput beyond which it is tried again from random changes; they are the same for the same input.
    steps
        Changes at most, of one search.
    """
    hot = np.argsort(-peak / room.size, kind="stable")
    cold, rng = np.ascontiguousarray(hot[::-1]), np.random.default_rng(0)
    _search(where, score, room, peak, throughput, target, steps, hot, cold)
    load, _ = _loads(where, peak, throughput)
    excess = _all_excess(load, throughput, target)
    for _ in range(int(min(KICKS, len(where), KICK_WORK / max(where.size, 1)))):
        if (load / throughput).max(initial=0.0) <= enough:
            break
        trial, changed = where.copy(), room.copy()
        files, appliances = (rng.integers(0, n, (KICK_TRIES, 2)) for n in where.shape)
        _kick(trial, changed, files, appliances)
        _search(trial, score, changed, peak, throughput, target, steps, hot, cold)
        found, _ = _loads(trial, peak, throughput)
        if _all_excess(found, throughput, target) < excess:
            load, excess = found, _all_excess(found, throughput, target)
            where[:], room.left[:], room.window[:] = trial, changed.left, changed.window


@nb.njit(cache=True, nogil=True)
def fits(room: Room, f: int, a: int) -> bool:
    """Whether an appliance has room for a copy of a file, and time to bring it."""
    return bool(room.size[f] <= room.left[a] and (not room.fresh[f, a] or room.size[f] <= room.window[a]))


@nb.njit(cache=True, nogil=True)
def put(where: np.ndarray, room: Room, f: int, a: int) -> None:
    """Store a copy."""
    where[f, a] = True
    room.left[a] -= room.size[f]
    if room.fresh[f, a]:
        room.window[a] -= room.size[f]


@nb.njit(cache=True, nogil=True)
def take(where: np.ndarray, room: Room, f: int, a: int) -> None:
    """Remove a copy."""
    where[f, a] = False
    room.left[a] += room.size[f]
    if room.fresh[f, a]:
        room.window[a] += room.size[f]


@nb.njit(cache=True, nogil=True)
def _move(where: np.ndarray, room: Room, f: int, old: int, new: int) -> None:
    take(where, room, f, old)
    put(where, room, f, new)


@nb.njit(cache=True, nogil=True)
def _in_windows(room: Room, f: int, others: np.ndarray, a: int, b: int) -> bool:
    """Whether the windows allow f to go from a to b, and the others from b to a."""
    size, fresh = room.size, room.fresh
    at_a, at_b = room.window[a] + fresh[f, a] * size[f], room.window[b] - fresh[f, b] * size[f]
    for g in others:
        at_a -= fresh[g, a] * size[g]
        at_b += fresh[g, b] * size[g]
    return bool(at_a >= 0 and at_b >= 0)


@nb.njit(cache=True, nogil=True)
def _kick(where: np.ndarray, room: Room, file: np.ndarray, appliance: np.ndarray) -> None:
    """Let the first few drawn pairs of copies that can change places do so."""
    done, size, left = 0, room.size, room.left
    for i in range(len(file)):
        f, g, a, b = file[i, 0], file[i, 1], appliance[i, 0], appliance[i, 1]
        if not where[f, a] or not where[g, b] or where[f, b] or where[g, a]:
            continue
        if size[f] <= left[b] + size[g] and size[g] <= left[a] + size[f] and _in_windows(room, f, file[i, 1:], a, b):
            _move(where, room, f, a, b)
            _move(where, room, g, b, a)
            done += 1
            if done == KICK:
                break


@nb.njit(cache=True, nogil=True)
def _search(
    where: np.ndarray, score: np.ndarray, room: Room, peak: np.ndarray, throughput: np.ndarray, target: float, steps: int, hot: np.ndarray, cold: np.ndarray,
) -> None:  # fmt: skip
    for _ in range(steps):
        load, carry = _loads(where, peak, throughput)
        if (load / throughput).max() <= target:
            return
        if _drop_copy(where, room, peak, throughput, target, load, carry):
            continue
        if _exchange(where, score, room, throughput, target, load, carry, hot, cold):
            continue
        if not _add_copy(where, room, peak, throughput, target, load, carry):
            return


@nb.njit(cache=True, nogil=True)
def _loads(where: np.ndarray, peak: np.ndarray, throughput: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(A,) loads, and (F, A) what every copy carries of them."""
    F, A = where.shape
    copies = where.sum(axis=1)
    load, carry = np.zeros(A), np.zeros((F, A))
    for f in range(F):
        if copies[f] == 1:
            a = np.argmax(where[f])
            carry[f, a] = peak[f]
            load[a] += peak[f]
    several = np.flatnonzero((copies > 1) & (peak > 0))
    share = np.zeros((len(several), A))
    pour_all(where[several], peak[several], throughput, load, share, FEW_SWEEPS)
    for i in range(len(several)):
        carry[several[i]] = share[i]
    return load, carry


@nb.njit(cache=True, nogil=True)
def _excess(load: float, throughput: float, target: float) -> float:
    over = load / throughput - target
    return over * over * throughput if over > 0 else 0.0


@nb.njit(cache=True, nogil=True)
def _all_excess(load: np.ndarray, throughput: np.ndarray, target: float) -> float:
    over = np.maximum(load / throughput - target, 0.0)
    return float(np.sum(over * over * throughput))


@nb.njit(cache=True, nogil=True)
def _gather(
    order: np.ndarray, where: np.ndarray, a: int, b: int, size: np.ndarray, low: float, high: float, chosen: np.ndarray
) -> int:
    """Copies at a, not at b, first come first taken, of ``low`` to ``high`` GB together; how many, -1 if there is no such set."""
    total, count = 0.0, 0
    for i in range(min(len(order), SCAN)):
        if total >= low:
            break
        f = order[i]
        if where[f, a] and not where[f, b] and total + size[f] <= high:
            chosen[count] = f
            total += size[f]
            count += 1
    return count if total >= low else -1


@nb.njit(cache=True, nogil=True)
def _exchange(
    where: np.ndarray, score: np.ndarray, room: Room, throughput: np.ndarray, target: float, load: np.ndarray, carry: np.ndarray,
    hot: np.ndarray, cold: np.ndarray,
) -> bool:  # fmt: skip
    """Make the best exchange between the most loaded appliance that has one and any less loaded one."""
    F, A = where.shape
    size, left = room.size, room.left
    chosen, others = np.empty(F, np.int64), np.empty(F, np.int64)
    whole = _all_excess(load, throughput, target)
    for a in np.argsort(-load / throughput, kind="mergesort"):
        excess = load[a] - target * throughput[a]
        if excess <= 0:
            break
        least, file, there, count, leaves = LEAST * whole, -1, -1, 0, True
        for b in range(A):
            if load[b] / throughput[b] >= load[a] / throughput[a]:
                continue
            for f in range(F):
                out = where[f, a]  # a hot copy leaves a for cold ones, or hot ones leave it for a cold one
                if out == where[f, b] or (out and carry[f, a] < TRIFLE * excess):
                    continue
                if out:
                    n = _gather(cold, where, b, a, size, size[f] - left[b], size[f] + left[a], chosen)
                    moved = carry[f, a] - _sum(carry, chosen[:n], b) if n >= 0 else 0.0
                else:
                    n = _gather(hot, where, a, b, size, size[f] - left[a], size[f] + left[b], chosen)
                    moved = _sum(carry, chosen[:n], a) - carry[f, b] if n > 0 else 0.0
                if moved <= 0:
                    continue
                gain = _excess(load[a], throughput[a], target) + _excess(load[b], throughput[b], target)
                gain -= _excess(load[a] - moved, throughput[a], target) + _excess(
                    load[b] + moved, throughput[b], target
                )
                gain *= min(1.0, score[f, a] / score[f, b] if out else score[f, b] / score[f, a]) ** NEAR
                old, new = (a, b) if out else (b, a)
                if gain > least and _in_windows(room, f, chosen[:n], old, new):
                    least, file, there, count, leaves = gain, f, b, n, out
                    others[:n] = chosen[:n]
        if file >= 0:
            old, new = (a, there) if leaves else (there, a)
            _move(where, room, file, old, new)
            for i in range(count):
                _move(where, room, others[i], new, old)
            return True
    return False


@nb.njit(cache=True, nogil=True)
def _sum(carry: np.ndarray, files: np.ndarray, a: int) -> float:
    whole = 0.0
    for f in files:
        whole += carry[f, a]
    return whole


@nb.njit(cache=True, nogil=True)
def _with(
    where: np.ndarray,
    f: int,
    a: int,
    peak: np.ndarray,
    throughput: np.ndarray,
    target: float,
    load: np.ndarray,
    carry: np.ndarray,
) -> float:
    """The excess if file f had a copy at a which it has not, or had not the one it has, the others' split being what it is."""
    holders, rest, share = where[f].copy(), load - carry[f], np.zeros(len(load))
    holders[a] = not holders[a]
    pour(holders, peak[f], throughput, rest, share)
    return float(_all_excess(rest, throughput, target))


@nb.njit(cache=True, nogil=True)
def _drop_copy(
    where: np.ndarray, room: Room, peak: np.ndarray, throughput: np.ndarray, target: float, load: np.ndarray, carry: np.ndarray
) -> bool:  # fmt: skip
    """Drop the largest copy that is not missed."""
    now, file, there = _all_excess(load, throughput, target) * (1 + 1e-9) + 1e-15, -1, -1
    F, A = where.shape
    copies = where.sum(axis=1)
    for f in range(F):
        for a in range(A if copies[f] > 1 else 0):
            if (
                where[f, a]
                and (file < 0 or room.size[f] > room.size[file])
                and _with(where, f, a, peak, throughput, target, load, carry) <= now
            ):
                file, there = f, a
    if file < 0:
        return False
    take(where, room, file, there)
    return True


@nb.njit(cache=True, nogil=True)
def _add_copy(
    where: np.ndarray, room: Room, peak: np.ndarray, throughput: np.ndarray, target: float, load: np.ndarray, carry: np.ndarray
) -> bool:  # fmt: skip
    """Add the copy that lowers the excess most, among those that there is room for."""
    F, A = where.shape
    least, file, there = _all_excess(load, throughput, target) * (1 - LEAST), -1, -1
    excess = np.maximum(load - target * throughput, 0.0)
    for f in range(F):
        for a in range(A):
            if excess[a] > 0 and carry[f, a] >= TRIFLE * excess[a]:
                break
        else:
            continue
        for a in range(A):
            if not where[f, a] and fits(room, f, a):
                found = _with(where, f, a, peak, throughput, target, load, carry)
                if found < least:
                    least, file, there = found, f, a
    if file < 0:
        return False
    put(where, room, file, there)
    return True
