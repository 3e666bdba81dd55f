"""One site: which of its appliances store which of its files, so that each carries its share of the peak.

Weighted rendezvous hashing (:mod:`cdn.cluster`) spreads the files; what it cannot know is that hot files should lie where throughput is and cold ones where
room is. So an appliance's weight depends on how hot a file is: ``w_a(d) = T_a exp(-pi_a - mu_a d)`` for a file of d Gbit/s per GB, with ``pi, mu >= 0`` the prices of
room and load at which the expected use fits every appliance: among all such spreads that of most entropy, and ``w = T`` where room is no matter. Prices move little when
an appliance joins, and equal appliances have equal prices, so little else moves. What chance leaves uneven, exchanges
level (:mod:`cdn.level`). A file has copies where no appliance could carry it alone at the least possible load, or where nothing else levels.

Files stay where they lay last night (:func:`stay`), only what is new is spread and as few as will do change places, unless spreading all anew is evener or keeps more, and the fill
windows of appliances, where they are limits, have time for it.
"""

from dataclasses import dataclass, replace

import numba as nb
import numpy as np
from scipy.optimize import minimize

from cdn.level import Room, carrying, fits, level, put, spread_peak, take

AIM = 0.005
"""How far over the least possible load the weights may expect an appliance to be."""

REACH = 0.015
"""How far over it copies are exchanged until none is."""

ENOUGH = 0.025
"""How far over it an appliance may stay without exchanges being tried again from random changes."""

ROOM, ROOM_STEPS = 0.02, 8
"""The part of a site's storage that files may be pushed out of so that loads can be levelled, and in how many steps."""

STEPS = 30
"""Exchanges at most, for each appliance of the site."""

STAYS = 100.0
"""How much sooner a file belongs where it lies, when loads are levelled."""

SLIGHT = 1e-4
"""The part of what a site's files save that may be lost so that files stay where they lie."""

BINS = 256
"""Groups of like heat for which the prices are found."""

BEYOND = 1e12
"""Load over throughput that nothing is spread by any more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """The appliances of a site and the files it is to store.

    Parameters
    ----------
    storage_gb, throughput_gbps
        (A,) >= 0.
    size_gb, peak_gbps
        (F,) > 0 and >= 0: the peak that the site serves of each file.
    chance
        (F, A) > 0, the exponential variates of :func:`cdn.cluster.chances`.
    held
        (F, A) bool: the copies that lie there already; None for none.
    window_gb
        (A,) GB of other copies that can be brought tonight; None where that is no limit.
    """

    storage_gb: np.ndarray
    throughput_gbps: np.ndarray
    size_gb: np.ndarray
    peak_gbps: np.ndarray
    chance: np.ndarray
    held: np.ndarray | None = None
    window_gb: np.ndarray | None = None

    def of(self, files: np.ndarray) -> "Site":
        """The site with some of its files only."""
        return replace(
            self, size_gb=self.size_gb[files], peak_gbps=self.peak_gbps[files], chance=self.chance[files],
            held=None if self.held is None else self.held[files],
        )  # fmt: skip

    def room(self, where: np.ndarray) -> Room:
        """What is left beside the copies (F, A)."""
        none = np.zeros(where.shape, bool)
        fresh = none if self.window_gb is None else ~(none if self.held is None else self.held)
        window = np.full(where.shape[1], np.inf) if self.window_gb is None else self.window_gb
        return Room(
            size=self.size_gb, left=self.storage_gb * (1 + 1e-12) - where.T @ self.size_gb, fresh=fresh,
            window=window * (1 + 1e-12) - (where & fresh).T @ self.size_gb,
        )  # fmt: skip


def least_peak(site: Site) -> float:
    """A lower bound on the greatest load over throughput of any appliance, however files are placed, copied and split.

    What a set of appliances carries is asked of files that they store, so it is at most the peak of the hottest files per GB that fit into their room together;
    the others must carry the rest. As that peak is concave in the room, the worst set is the first few appliances by throughput per GB. If files could be cut in
    pieces the bound would be reached (the loads form a polymatroid), so it is the linear relaxation's.
    """
    throughput = site.throughput_gbps
    gb, gbps = _heat_curve(site)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(throughput > 0, throughput / site.storage_gb, 0.0)
    first = np.argsort(-ratio, kind="stable")
    held = np.interp(np.concatenate([[0.0], np.cumsum(site.storage_gb[first])[:-1]]), gb, gbps)
    others = np.cumsum(throughput[first][::-1])[::-1]
    left = np.where(gbps[-1] - held > 1e-12 * gbps[-1], gbps[-1] - held, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return float(np.where(left > 0, left / others, 0.0).max(initial=0.0))


def _heat_curve(site: Site) -> tuple[np.ndarray, np.ndarray]:
    """(F + 1,) GB and Gbit/s of the hottest files per GB, summed up."""
    order = np.argsort(-site.peak_gbps / site.size_gb, kind="stable")
    return tuple(np.concatenate([[0.0], np.cumsum(v[order])]) for v in (site.size_gb, site.peak_gbps))  # type: ignore[return-value]


def weights(site: Site, greatest: float) -> np.ndarray:
    """(F, A) part of each file that each appliance should expect, adding up to 1 over the appliances.

    Parameters
    ----------
    greatest
        The load over throughput that no appliance should be expected to exceed.
    """
    throughput = carrying(site.throughput_gbps)
    total_gb, total_gbps = float(site.size_gb.sum()), float(site.peak_gbps.sum())
    part_gb = site.size_gb / total_gb
    heat = site.peak_gbps / total_gbps / part_gb if total_gbps > 0 else np.zeros(len(part_gb))
    room = site.storage_gb / total_gb
    room = room * max(1.0, 1.0 / room.sum())  # too full a site spreads its excess
    carry = greatest * (throughput / total_gbps) if total_gbps > 0 else np.full(len(room), np.inf)
    kinds, kind, number = np.unique(
        np.column_stack([room, carry, throughput]), axis=0, return_inverse=True, return_counts=True
    )
    log = np.log(kinds[:, 2] / throughput.sum())
    price = _prices(heat, part_gb, log + np.log(number), kinds[:, 0] * number, kinds[:, 1] * number)
    power = log - price[0] - heat[:, None] * price[1]
    spread = np.exp(power - power.max(axis=1, keepdims=True))
    spread /= (spread * number).sum(axis=1, keepdims=True)
    return np.asarray(np.maximum(spread, 1e-12)[:, kind.ravel()])


def _prices(heat: np.ndarray, part: np.ndarray, log: np.ndarray, room: np.ndarray, carry: np.ndarray) -> np.ndarray:
    """(2, A) prices of room and of load, A kinds of appliances: the least point of the dual of the spread of most entropy.

    Parameters
    ----------
    heat, part
        (F,) heat over the mean, and the file's part of all GB.
    log
        (A,) logarithm of the weight without prices.
    room, carry
        (A,) limits as parts of all GB and of all Gbit/s.
    """
    A = len(room)
    order = np.argsort(-heat, kind="stable")
    both = np.cumsum(part[order]) + np.cumsum((part * heat)[order])
    start = np.unique(np.searchsorted(both, np.linspace(0.0, both[-1], BINS, endpoint=False)))
    gb = np.add.reduceat(part[order], start)
    warm = np.add.reduceat((part * heat)[order], start) / gb
    scale = np.sqrt(float(gb @ warm**2)) or 1.0
    limited = np.isfinite(carry)
    limit = np.concatenate([room, np.where(limited, carry, 0.0) / scale])
    warm = warm / scale

    def dual(price: np.ndarray) -> tuple[float, np.ndarray]:
        power = log - price[:A] - warm[:, None] * price[A:]
        top = power.max(axis=1, keepdims=True)
        spread = np.exp(power - top)
        whole = spread.sum(axis=1, keepdims=True)
        used = gb[:, None] * (spread / whole)
        value = float(gb @ (np.log(whole[:, 0]) + top[:, 0]) + price @ limit)
        return value, limit - np.concatenate([used.sum(axis=0), (warm[:, None] * used).sum(axis=0)])

    bounds = [(0.0, None)] * A + [(0.0, None if known else 0.0) for known in limited]
    found = minimize(
        dual, np.zeros(2 * A), jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-14, "gtol": 1e-6, "maxcor": 20},
    )  # fmt: skip
    return np.asarray(found.x.reshape(2, A) / np.array([[1.0], [scale]]))


def scores(site: Site) -> np.ndarray:
    """(F, A) > 0: the least is where a file belongs first."""
    return np.asarray(site.chance / weights(site, _target(site) * (1 + AIM)))


def pack(site: Site, score: np.ndarray) -> np.ndarray:
    """Place every file that finds room, with copies of those that no appliance could carry alone.

    Parameters
    ----------
    score
        (F, A) of :func:`scores`.

    Returns
    -------
    (F, A) bool; rows of files that found no room are empty.
    """
    greatest, throughput = _target(site), carrying(site.throughput_gbps)
    order = np.lexsort((site.chance.sum(axis=1), -site.peak_gbps))
    peak, ranked = site.peak_gbps[order], score[order]
    room = site.of(order).room(np.zeros(ranked.shape, bool))
    where = _spread(ranked, room, peak, throughput * greatest)
    result = np.empty_like(where)
    result[order] = where
    return np.asarray(result)


def _target(site: Site) -> float:
    """The least possible load over throughput, or 1 where there is none, or so much that no appliance could bear it in earnest."""
    greatest = least_peak(site)
    return greatest if 0 < greatest < BEYOND else 1.0


@nb.njit(cache=True, nogil=True)
def _spread(score: np.ndarray, room: Room, peak: np.ndarray, carry: np.ndarray) -> np.ndarray:
    """Files, hottest first, to their best-scored appliances (the least score) with room that can carry them; in copies where none can alone."""
    F, A = score.shape
    where = np.zeros((F, A), np.bool_)
    for f in range(F):
        rank = np.argsort(score[f], kind="mergesort")
        alone = False
        for a in rank:
            if fits(room, f, a) and peak[f] <= carry[a]:
                put(where, room, f, a)
                alone = True
                break
        held = 0.0
        for a in rank:
            if alone or (held > 0 and held >= peak[f]):
                break
            if fits(room, f, a):
                put(where, room, f, a)
                held += carry[a]
    return where


ROUNDS = 20
"""Times that files are dropped by worth before those without room simply go."""


def fit(site: Site, worth_per_gb: np.ndarray) -> np.ndarray:
    """Place files with the copies they need; where room or fill windows end, the files least worth their room make way.

    Parameters
    ----------
    worth_per_gb
        (F,) what storing a file at the site saves, per GB.

    Returns
    -------
    (F, A) bool; rows of files that made way are empty.
    """
    cheap = np.lexsort((site.chance.sum(axis=1), worth_per_gb))
    kept = site.size_gb <= site.storage_gb.max(initial=0.0) * (1 + 1e-12)
    where = np.zeros(site.chance.shape, bool)
    if not kept.any():
        return where
    score = np.ones(site.chance.shape)
    score[kept] = scores(site.of(np.flatnonzero(kept)))
    if site.held is None:
        return _fit(site, worth_per_gb, cheap, kept, score)
    near = _near(site, worth_per_gb, cheap, score)
    if (near.any(axis=1) | (worth_per_gb <= 0)).all() and _over(site, near) <= 1 + ENOUGH:
        return near
    anew = _fit(replace(site, window_gb=None), worth_per_gb, cheap, kept, score)
    if (site.room(anew).window < 0).any():
        return near
    usual = np.less(worth_per_gb, worth_per_gb.max())  # what the rules ask for is worth most, all of it the same
    most = SLIGHT * _saved(site, worth_per_gb, usual[:, None])
    more = _saved(site, worth_per_gb, anew) - _saved(site, worth_per_gb, near)
    return anew if more > most or _over(site, near) > max(1 + ENOUGH, _over(site, anew)) else near


def _near(site: Site, worth_per_gb: np.ndarray, cheap: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Copies as they lie, what is new beside them, and the loads levelled with few of them changing places."""
    where = stay(site, worth_per_gb, score)
    score = score if site.held is None else np.where(site.held, score / STAYS, score)
    _level(site, score, where)
    if _refill(site, cheap[::-1][worth_per_gb[cheap[::-1]] >= 0], where):
        _level(site, score, where)
    return where


def _over(site: Site, where: np.ndarray) -> float:
    """The greatest load over throughput of copies (F, A), over the least possible."""
    stored = site.of(np.flatnonzero(where.any(axis=1)))
    load = spread_peak(where[where.any(axis=1)], stored.peak_gbps, site.throughput_gbps)
    return float((load / carrying(site.throughput_gbps)).max() / _target(stored)) if len(stored.size_gb) else 1.0


def _saved(site: Site, worth_per_gb: np.ndarray, where: np.ndarray) -> float:
    """What the files save that are stored anywhere (F, A)."""
    return float((np.maximum(worth_per_gb, 0.0) * site.size_gb)[where.any(axis=1)].sum())


def _fit(site: Site, worth_per_gb: np.ndarray, cheap: np.ndarray, kept: np.ndarray, score: np.ndarray) -> np.ndarray:
    """:func:`fit` where windows are no limit."""
    where, kept = np.zeros(site.chance.shape, bool), kept.copy()
    for _ in range(ROUNDS):
        where[:] = False
        if not kept.any():
            break
        where[kept] = pack(site.of(np.flatnonzero(kept)), score[kept])
        lost = kept & ~where.any(axis=1)
        if not lost.any():
            break
        short = float(site.size_gb[lost].sum())
        candidates = cheap[kept[cheap]]
        freed = np.cumsum(site.size_gb[candidates])
        kept[candidates[: int(np.searchsorted(freed, short)) + 1]] = False
    even = _level(site, score, where)
    if _refill(site, cheap[::-1][worth_per_gb[cheap[::-1]] >= 0], where):
        even = _level(site, score, where)
    return where if even or not site.throughput_gbps.all() else _with_room(site, score, cheap, where)


def stay(site: Site, worth_per_gb: np.ndarray, score: np.ndarray) -> np.ndarray:
    """One copy of each file that finds room and, unless it lies there, time to be brought; what lies there stays, but for what is worth more per GB.

    Files that lie at the site come first, each to the best-scored appliance that has it; then all others by worth per GB, each to its best-scored appliance with room and time. Where there
    is none, the files least worth per GB make way at the appliance where that loses least, and are tried elsewhere when their turn comes.

    Returns
    -------
    (F, A) bool; rows of files that found no place are empty.
    """
    where = np.zeros(site.chance.shape, bool)
    room = site.room(where)
    order = np.lexsort((site.chance.sum(axis=1), -site.size_gb, -worth_per_gb))
    held = np.zeros(site.chance.shape, bool) if site.held is None else site.held
    _stay(order, worth_per_gb, score, held, room, where)
    return where


@nb.njit(cache=True, nogil=True)
def _stay(
    order: np.ndarray, worth: np.ndarray, score: np.ndarray, held: np.ndarray, room: Room, where: np.ndarray
) -> None:
    F, A = score.shape
    out = np.empty(F, np.int64)
    for f in order:
        best = -1
        for a in range(A):
            if held[f, a] and fits(room, f, a) and (best < 0 or score[f, a] < score[f, best]):
                best = a
        if best >= 0:
            put(where, room, f, best)
    for i in range(F):  # whoever is pushed out is worth less than all before, so its own turn is still to come
        f, best, least = order[i], -1, np.inf
        if where[f].any():
            continue
        for a in range(A):
            if fits(room, f, a) and (best < 0 or score[f, a] < score[f, best]):
                best = a
        for a in range(A if best < 0 else 0):
            count = _in_the_way(order, i, worth, room, where, a, out)
            lost = np.sum(worth[out[:count]] * room.size[out[:count]]) if count >= 0 else np.inf
            if lost < least:
                best, least = a, lost
        if best < 0:
            continue
        if not fits(room, f, best):
            for g in out[: _in_the_way(order, i, worth, room, where, best, out)]:
                take(where, room, g, best)
        put(where, room, f, best)


@nb.njit(cache=True, nogil=True)
def _in_the_way(
    order: np.ndarray, i: int, worth: np.ndarray, room: Room, where: np.ndarray, a: int, out: np.ndarray
) -> int:
    """The files that must leave an appliance so that file ``order[i]`` fits, all worth less than it, the least per GB first; how many, -1 if that is not enough."""
    f, count = order[i], 0
    size, fresh = room.size, room.fresh
    left, window = room.left[a], room.window[a]
    last = len(order) - 1
    while fresh[f, a] and size[f] > window and last > i:  # those that were to be brought give time and room
        g = order[last]
        if where[g, a] and fresh[g, a] and worth[g] < worth[f]:
            out[count] = g
            left, window, count = left + size[g], window + size[g], count + 1
        last -= 1
    for j in range(len(order) - 1, i, -1):
        if size[f] <= left:
            break
        g = order[j]
        if where[g, a] and worth[g] < worth[f] and not (fresh[f, a] and fresh[g, a] and j > last):
            out[count] = g
            left, count = left + size[g], count + 1
    return count if size[f] <= left and not (fresh[f, a] and size[f] > window) else -1


def _with_room(site: Site, score: np.ndarray, cheap: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The copies with some of the files least worth their room out of the way, if exchanges then level the loads; else as they are."""
    trial, files = where.copy(), cheap[where[cheap].any(axis=1)]
    freed, storage = np.cumsum(site.size_gb[files]), float(site.storage_gb.sum())
    for part in np.arange(1, ROOM_STEPS + 1) / ROOM_STEPS:
        trial[files[: int(np.searchsorted(freed, part * ROOM * storage))]] = False
        if _level(site, score, trial):
            return trial
    return where


def _refill(site: Site, files: np.ndarray, where: np.ndarray) -> bool:
    """Give files that are nowhere, in the order named, the room that is left, each where it loads least; in place. Says whether any came."""
    room, throughput = site.room(where), carrying(site.throughput_gbps)
    load = spread_peak(where, site.peak_gbps, site.throughput_gbps)
    came = False
    for f in files[~where[files].any(axis=1)].tolist():
        size = site.size_gb[f]
        roomy = np.flatnonzero((size <= room.left) & ((size <= room.window) | ~room.fresh[f]))
        if len(roomy):
            a = roomy[np.argmin((load[roomy] + site.peak_gbps[f]) / throughput[roomy])]
            put(where, room, f, a)
            load[a] += site.peak_gbps[f]
            came = True
    return came


def _level(site: Site, score: np.ndarray, where: np.ndarray) -> bool:
    """Exchange copies, in place, until the greatest load is near the least possible or nothing found helps; whether it is then near enough."""
    kept = where.any(axis=1)
    if not kept.any():
        return True
    stored, throughput, held = site.of(np.flatnonzero(kept)), carrying(site.throughput_gbps), where[kept]
    least = _target(stored)
    enough = least * (1 + ENOUGH)
    room = stored.room(held)
    level(held, score[kept], room, stored.peak_gbps, throughput, least * (1 + REACH), enough, STEPS * len(throughput))
    where[kept] = held
    return bool((spread_peak(held, stored.peak_gbps, throughput) / throughput).max() <= enough)
