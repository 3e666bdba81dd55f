"""One site: which of its appliances store which of its files, so that each carries its share of the peak.

Weighted rendezvous hashing (:mod:`cdn.cluster`) spreads the files; what it cannot know is that hot files should lie where throughput is and cold ones where
room is. So an appliance's weight depends on how hot a file is: ``w_a(d) = T_a exp(-pi_a - mu_a d)`` for a file of d Gbit/s per GB, with ``pi, mu >= 0`` the prices of
room and load at which the expected use fits every appliance: among all such spreads that of most entropy, and ``w = T`` where room is no matter. Prices move little when
an appliance joins, and equal appliances have equal prices, so little else moves. What chance leaves uneven, exchanges
level (:mod:`cdn.level`). A file has copies where no appliance could carry it alone at the least possible load, or where nothing else levels.
"""

from dataclasses import dataclass

import numba as nb
import numpy as np
from scipy.optimize import minimize

from cdn.level import carrying, level, spread_peak

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
    """

    storage_gb: np.ndarray
    throughput_gbps: np.ndarray
    size_gb: np.ndarray
    peak_gbps: np.ndarray
    chance: np.ndarray

    def of(self, files: np.ndarray) -> "Site":
        """The site with some of its files only."""
        return Site(
            storage_gb=self.storage_gb, throughput_gbps=self.throughput_gbps, size_gb=self.size_gb[files], peak_gbps=self.peak_gbps[files],
            chance=self.chance[files],
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
    size, peak, ranked = site.size_gb[order], site.peak_gbps[order], score[order]
    left = site.storage_gb * (1 + 1e-12)
    where = _spread(ranked, size, peak, left, throughput * greatest)
    result = np.empty_like(where)
    result[order] = where
    return np.asarray(result)


def _target(site: Site) -> float:
    """The least possible load over throughput, or 1 where there is none, or so much that no appliance could bear it in earnest."""
    greatest = least_peak(site)
    return greatest if 0 < greatest < BEYOND else 1.0


@nb.njit(cache=True, nogil=True)
def _spread(score: np.ndarray, size: np.ndarray, peak: np.ndarray, left: np.ndarray, carry: np.ndarray) -> np.ndarray:
    """Files, hottest first, to their best-scored appliances (the least score) with room ``left`` that can carry them; in copies where none can alone."""
    F, A = score.shape
    where = np.zeros((F, A), np.bool_)
    for f in range(F):
        rank = np.argsort(score[f], kind="mergesort")
        alone = False
        for a in rank:
            if size[f] <= left[a] and peak[f] <= carry[a]:
                where[f, a], alone = True, True
                left[a] -= size[f]
                break
        held = 0.0
        for a in rank:
            if alone or (held > 0 and held >= peak[f]):
                break
            if size[f] <= left[a]:
                where[f, a] = True
                left[a] -= size[f]
                held += carry[a]
    return where


ROUNDS = 20
"""Times that files are dropped by worth before those without room simply go."""


def fit(site: Site, worth_per_gb: np.ndarray) -> np.ndarray:
    """Place files with the copies they need; where room ends, the files least worth their room make way.

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
    left, throughput = site.storage_gb * (1 + 1e-12) - where.T @ site.size_gb, carrying(site.throughput_gbps)
    load = spread_peak(where, site.peak_gbps, site.throughput_gbps)
    came = False
    for f in files[~where[files].any(axis=1)].tolist():
        roomy = np.flatnonzero(site.size_gb[f] <= left)
        if len(roomy):
            a = roomy[np.argmin((load[roomy] + site.peak_gbps[f]) / throughput[roomy])]
            where[f, a] = came = True
            left[a] -= site.size_gb[f]
            load[a] += site.peak_gbps[f]
    return came


def _level(site: Site, score: np.ndarray, where: np.ndarray) -> bool:
    """Exchange copies, in place, until the greatest load is near the least possible or nothing found helps; whether it is then near enough."""
    kept = where.any(axis=1)
    if not kept.any():
        return True
    stored, throughput = site.of(np.flatnonzero(kept)), carrying(site.throughput_gbps)
    left, held = site.storage_gb * (1 + 1e-12) - where.T @ site.size_gb, where[kept]
    least = _target(stored)
    enough = least * (1 + ENOUGH)
    level(
        held,
        score[kept],
        stored.size_gb,
        stored.peak_gbps,
        left,
        throughput,
        least * (1 + REACH),
        enough,
        STEPS * len(left),
    )
    where[kept] = held
    return bool((spread_peak(held, stored.peak_gbps, throughput) / throughput).max() <= enough)
