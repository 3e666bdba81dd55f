"""The placement problem as arrays, its solution, and the one cost function of the solvers (``docs/model.md``)."""

from dataclasses import dataclass

import numba as nb
import numpy as np
from scipy.sparse import csr_array

from cdn.placement.rules import Floors


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """Choose what each site stores and who serves whom, at least cost.

    Parameters
    ----------
    size_gb
        (F,) GB, > 0.
    storage_gb, throughput_gbps
        (S,) limits of a site, >= 0; infinite at origins. Storage is already less the reactive share.
    is_origin
        (S,) bool: origins store every file.
    site, cost_per_gb
        (R, K) candidates of a region, best-ranked first, padded with -1 and infinity.
    region, file, gb, peak_gbps
        (N,) demand entries, sorted by file, then region.
    file_start
        (F + 1,): the entries of file f are ``file_start[f]:file_start[f + 1]``.
    fill_cost
        (S,) cost of filling one GB, already weighted; 0 at origins.
    previous
        (S, F) bool: stored last night, so no fill cost.
    arc_capacity_gbps, path_start, path_arcs
        (2L,) capacities and the arcs from candidate k to region r as path ``r * K + k``; None where link limits are off.
    fill_limit_gb
        (S,) GB that the fill window can bring to a site, infinite at origins; None where fills are not limited.
    pinned, forbidden
        (S, F) bool: what a site must, and must not, store; None for nothing.
    floors
        Of which files at least so many sites of a group must store a copy; None for none.
    peak_shape
        (R, T) in 0 to 1: the part of ``peak_gbps`` that a region reaches in each slice of the day; None where all busiest hours coincide (T = 1).
    """

    size_gb: np.ndarray
    storage_gb: np.ndarray
    throughput_gbps: np.ndarray
    is_origin: np.ndarray
    site: np.ndarray
    cost_per_gb: np.ndarray
    region: np.ndarray
    file: np.ndarray
    gb: np.ndarray
    peak_gbps: np.ndarray
    file_start: np.ndarray
    fill_cost: np.ndarray
    previous: np.ndarray
    arc_capacity_gbps: np.ndarray | None = None
    path_start: np.ndarray | None = None
    path_arcs: np.ndarray | None = None
    fill_limit_gb: np.ndarray | None = None
    pinned: np.ndarray | None = None
    forbidden: np.ndarray | None = None
    floors: Floors | None = None
    peak_shape: np.ndarray | None = None

    @property
    def sites(self) -> int:
        """S."""
        return len(self.storage_gb)

    @property
    def files(self) -> int:
        """F."""
        return len(self.size_gb)

    @property
    def candidates(self) -> int:
        """K."""
        return int(self.site.shape[1])

    @property
    def shape(self) -> np.ndarray:
        """(R, T): :attr:`peak_shape`, or ones."""
        return np.ones((len(self.site), 1)) if self.peak_shape is None else self.peak_shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shares:
    """Who serves whom, sparsely: entries not named are served wholly by the best-ranked holder.

    Parameters
    ----------
    row, candidate, share
        (M,) demand entry, candidate index of its region, and the part that candidate serves; the parts of a named entry add up to 1.
    """

    row: np.ndarray
    candidate: np.ndarray
    share: np.ndarray

    @classmethod
    def none(cls) -> "Shares":
        """Everything from the best-ranked holder."""
        return cls(row=np.zeros(0, np.int64), candidate=np.zeros(0, np.int32), share=np.zeros(0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prices:
    """What one more unit of each limit would save.

    (S,) ``storage`` per GB, (S,) ``throughput`` per Gbit/s, (2L,) ``arc`` per Gbit/s or None; (S,) ``fill`` per GB of the fill window, or None where it is
    not limited. With several slices of the day, (T, S + 2L) ``by_slice`` are the prices of the rates slice by slice: the others are their sums.
    """

    storage: np.ndarray
    throughput: np.ndarray
    arc: np.ndarray | None = None
    fill: np.ndarray | None = None
    by_slice: np.ndarray | None = None

    @classmethod
    def of(cls, problem: Problem, storage: np.ndarray, rate: np.ndarray, fill: np.ndarray | None = None) -> "Prices":
        """From (M,) prices of the rate limits in the order of :func:`rate_limits`."""
        slices = rate.reshape(problem.shape.shape[1], -1)
        total, S = slices.sum(axis=0), problem.sites
        return cls(
            storage=storage, throughput=total[:S], arc=None if problem.arc_capacity_gbps is None else total[S:],
            fill=None if problem.fill_limit_gb is None else fill, by_slice=slices if len(slices) > 1 else None,
        )  # fmt: skip

    def rate(self, problem: Problem) -> np.ndarray:
        """(M,) prices of the rate limits; where they were made for other slices of the day, each slice gets an equal part."""
        T = problem.shape.shape[1]
        links = np.zeros(0 if problem.arc_capacity_gbps is None else len(problem.arc_capacity_gbps))
        arcs = links if self.arc is None or not len(links) else self.arc
        total = np.concatenate([self.throughput, arcs])
        if self.by_slice is not None and len(self.by_slice) == T and self.by_slice.shape[1] >= len(total):
            return self.by_slice[:, : len(total)].ravel()
        return np.tile(total / T, T)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Costs:
    """What a placement costs and uses.

    ``origin_only`` is the serving cost if no edge site stored anything. ``used_gb`` and ``new_gb``, stored and stored since last night, (S,), count edge sites only.
    Loads, (S,) and (2L,) or None, are those of the busiest slice of the day.
    """

    serving: float
    fill: float
    origin_only: float
    used_gb: np.ndarray
    new_gb: np.ndarray
    site_load_gbps: np.ndarray
    arc_load_gbps: np.ndarray | None

    @property
    def objective(self) -> float:
        """Serving plus fill."""
        return self.serving + self.fill


REACHED, TIME_LIMIT, STALLED, STOPPED = "gap reached", "time limit", "no further progress", "stopped"
"""What ended a search: the gap asked for was proven, time was up, nothing improved, or someone stopped it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """A feasible placement with a proven bound; ``status`` says what ended the search, ``reason`` why the method was chosen.

    ``gap`` is ``(objective_cost - lower_bound) / objective_cost`` (0 where the cost is 0); ``lower_bound`` is a true bound on the problem.
    """

    stored: np.ndarray
    shares: Shares
    objective_cost: float
    serving_cost: float
    fill_cost: float
    origin_only_cost: float
    lower_bound: float
    gap: float
    prices: Prices
    method: str
    status: str
    reason: str
    seconds: float


def rate_limits(problem: Problem) -> np.ndarray:
    """(M,) Gbit/s: of every slice of the day the throughput of the sites, then the capacities of the arcs where they are limited."""
    arcs = np.zeros(0) if problem.arc_capacity_gbps is None else problem.arc_capacity_gbps
    one = np.concatenate([np.where(problem.is_origin, np.inf, problem.throughput_gbps), arcs])
    return np.tile(one, problem.shape.shape[1])


def rate_uses(problem: Problem, region: np.ndarray, candidate: np.ndarray) -> csr_array:
    """(M, n): what part of a Gbit/s in the region's busiest hour each limit sees if the region takes it from the candidate.

    Parameters
    ----------
    region, candidate
        (n,) pairs.
    """
    pair, S = np.arange(len(region)), problem.sites
    served = problem.site[region, candidate]
    bounded = np.isfinite(problem.throughput_gbps[served]) & ~problem.is_origin[served]
    rows, cols, height = [served[bounded]], [pair[bounded]], S
    if problem.arc_capacity_gbps is not None:
        assert problem.path_start is not None and problem.path_arcs is not None
        path = region.astype(np.int64) * problem.candidates + candidate
        count = np.diff(problem.path_start)[path]
        offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        rows.append(S + problem.path_arcs[np.repeat(problem.path_start[path], count) + offset])
        cols.append(np.repeat(pair, count))
        height += len(problem.arc_capacity_gbps)
    row, col, shape = np.concatenate(rows), np.concatenate(cols), problem.shape
    part = shape[region[col]]
    slices = shape.shape[1]
    all_rows = (np.arange(slices)[:, None] * height + row).ravel()
    return csr_array((part.T.ravel(), (all_rows, np.tile(col, slices))), shape=(slices * height, len(region)))


def first_holder(problem: Problem, stored: np.ndarray) -> np.ndarray:
    """(N,) int16: the best-ranked candidate that holds each entry's file."""
    return np.asarray(_first_holder(problem.site, problem.is_origin, problem.region, problem.file, stored))


@nb.njit(cache=True, nogil=True)
def _first_holder(
    site: np.ndarray, is_origin: np.ndarray, region: np.ndarray, file: np.ndarray, stored: np.ndarray
) -> np.ndarray:
    first = np.zeros(len(region), np.int16)
    for n in range(len(region)):
        for k in range(site.shape[1]):
            s = site[region[n], k]
            if s >= 0 and (is_origin[s] or stored[s, file[n]]):
                first[n] = k
                break
    return first


def split(problem: Problem, stored: np.ndarray, shares: Shares) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every (entry, candidate, share) with a positive share: the default of the entries not named, then the named."""
    rest = np.ones(len(problem.gb), bool)
    rest[shares.row] = False
    rows = np.flatnonzero(rest)
    return (
        np.concatenate([rows, shares.row]),
        np.concatenate([first_holder(problem, stored)[rows], shares.candidate]).astype(np.int64),
        np.concatenate([np.ones(len(rows)), shares.share]),
    )


def evaluate(problem: Problem, stored: np.ndarray, shares: Shares) -> Costs:
    """Cost and use of a placement: the objective of the contract, term by term."""
    R, K = problem.site.shape
    serving, load = np.zeros(R), np.zeros((R, K))
    _add_first(
        _unnamed(problem, stored, shares), problem.region, problem.gb, problem.peak_gbps, problem.cost_per_gb, serving, load
    )  # fmt: skip
    _add_parts(
        shares.row, shares.candidate, shares.share, problem.region, problem.gb, problem.peak_gbps, problem.cost_per_gb, serving, load
    )  # fmt: skip
    new_gb = _stored_gb(problem, stored, new=True)
    asked = add_up(problem.region, problem.gb, R)
    by_site, by_arc = loads(problem, load)
    return Costs(
        serving=float(np.sum(serving)),
        fill=float(np.sum(new_gb * problem.fill_cost)),
        origin_only=float(np.sum((asked * cheapest_origin(problem))[asked > 0])),
        used_gb=_stored_gb(problem, stored, new=False),
        new_gb=new_gb,
        site_load_gbps=by_site,
        arc_load_gbps=by_arc,
    )


def fill_cost(problem: Problem, stored: np.ndarray) -> float:
    """What filling costs: copies at edge sites that were not there last night."""
    return float(np.sum(_stored_gb(problem, stored, new=True) * problem.fill_cost))


def _stored_gb(problem: Problem, stored: np.ndarray, *, new: bool) -> np.ndarray:
    """(S,) GB of the copies, or of the new ones, at edge sites: row by row, for a matrix of floats would be eight times as large."""
    rows = [
        0.0 if origin else float(problem.size_gb[row & ~had if new else row].sum())
        for origin, row, had in zip(problem.is_origin, stored, problem.previous, strict=True)
    ]
    return np.array(rows)


def must_keep(stored: np.ndarray, previous: np.ndarray, pinned: np.ndarray | None, floors: Floors | None) -> np.ndarray:
    """(S, F) bool: copies of a placement that rules ask for; of a floor that more sites than it asks for hold, those that lay there last night, then the first sites'."""
    kept = np.zeros_like(stored) if pinned is None else pinned.copy()
    if floors is not None:
        for f, g, k in zip(floors.file, floors.group, floors.at_least, strict=True):
            holders = np.flatnonzero(floors.member[g] & stored[:, f])
            kept[holders[np.argsort(~previous[holders, f], kind="stable")][:k], f] = True
    return kept


def served_peak(problem: Problem, stored: np.ndarray, shares: Shares) -> np.ndarray:
    """(P,) Gbit/s that each site serves of each file, in the regions' busiest hours, for the P copies in the order of ``np.nonzero(stored)``."""
    start, file = copies(stored)
    peak = np.zeros(len(file))
    _add_peaks(
        _unnamed(problem, stored, shares), shares.row, shares.candidate, shares.share,
        problem.site, problem.region, problem.file, problem.peak_gbps, start, file, peak,
    )  # fmt: skip
    return peak


def copies(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S + 1,) ``start`` and (P,) ``file``: the copies at site s are ``file[start[s]:start[s + 1]]``, ascending; a number a copy is much less than one a site and file."""
    start = np.concatenate([[0], np.cumsum(stored.sum(axis=1))]).astype(np.int64)
    return start, np.concatenate([np.flatnonzero(row).astype(np.int32) for row in stored])


@nb.njit(cache=True, nogil=True)
def copy_at(start: np.ndarray, file: np.ndarray, s: int, f: int) -> int:
    """The number of the copy of a file at a site that holds it."""
    return int(start[s] + np.searchsorted(file[start[s] : start[s + 1]], f))


def add_up(key: np.ndarray, value: np.ndarray, n: int) -> np.ndarray:
    """(n,) sum of the values of each key: as ``np.bincount``, which would copy the keys."""
    return np.asarray(_add_up(key, value, np.zeros(n)))


@nb.njit(cache=True, nogil=True)
def _add_up(key: np.ndarray, value: np.ndarray, out: np.ndarray) -> np.ndarray:
    for n in range(len(key)):
        out[key[n]] += value[n]
    return out


def _unnamed(problem: Problem, stored: np.ndarray, shares: Shares) -> np.ndarray:
    """(N,) the best-ranked holder of the entries that the shares do not name, -1 for the others."""
    first = first_holder(problem, stored)
    first[shares.row] = -1
    return first


@nb.njit(cache=True, nogil=True)
def _add_first(
    first: np.ndarray, region: np.ndarray, gb: np.ndarray, peak: np.ndarray, cost: np.ndarray, serving: np.ndarray, load: np.ndarray
) -> None:  # fmt: skip
    """Add each entry's serving cost to its region's, and its peak to its pair's, if it has a holder of its own."""
    for n in range(len(first)):
        k = first[n]
        if k >= 0:
            r = region[n]
            serving[r] += gb[n] * cost[r, k]
            load[r, k] += peak[n]


@nb.njit(cache=True, nogil=True)
def _add_parts(
    rows: np.ndarray, candidate: np.ndarray, share: np.ndarray, region: np.ndarray, gb: np.ndarray, peak: np.ndarray, cost: np.ndarray,
    serving: np.ndarray, load: np.ndarray,
) -> None:  # fmt: skip
    """Likewise for the parts of entries that several serve."""
    for i in range(len(rows)):
        n, k, part = rows[i], candidate[i], share[i]
        r = region[n]
        serving[r] += gb[n] * cost[r, k] * part
        load[r, k] += peak[n] * part


@nb.njit(cache=True, nogil=True)
def _add_peaks(
    first: np.ndarray, rows: np.ndarray, candidate: np.ndarray, share: np.ndarray,
    site: np.ndarray, region: np.ndarray, file: np.ndarray, peak: np.ndarray, start: np.ndarray, held: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    for n in range(len(first)):
        if first[n] >= 0:
            out[copy_at(start, held, site[region[n], first[n]], file[n])] += peak[n]
    for i in range(len(rows)):
        n = rows[i]
        out[copy_at(start, held, site[region[n], candidate[i]], file[n])] += peak[n] * share[i]


def loads(problem: Problem, load: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """(S,) and (2L,) or None, Gbit/s in the busiest slice, when ``load`` (R, K), in the regions' busiest hours, flows from each candidate to its region."""
    known = problem.site.ravel() >= 0
    served, S = problem.site.ravel()[known], problem.sites
    arcs = problem.arc_capacity_gbps
    by_site, by_arc = np.zeros(S), None if arcs is None else np.zeros(len(arcs))
    for part in problem.shape.T:
        now = load * part[:, None]
        by_site = np.maximum(by_site, np.bincount(served, now.ravel()[known], S))
        if arcs is not None and by_arc is not None:
            assert problem.path_start is not None and problem.path_arcs is not None
            used = np.repeat(now.ravel(), np.diff(problem.path_start))
            by_arc = np.maximum(by_arc, np.bincount(problem.path_arcs, used, len(arcs)))
    return by_site, by_arc


def cheapest_origin(problem: Problem) -> np.ndarray:
    """(R,) cost per GB from each region's cheapest origin."""
    origin = (problem.site >= 0) & problem.is_origin[np.maximum(problem.site, 0)]
    return np.asarray(np.where(origin, problem.cost_per_gb, np.inf).min(axis=1))


def unlimited_storage_bound(problem: Problem) -> float:
    """A true bound: every entry from its cheapest candidate, as if storage, throughput, links and fills were free."""
    return float(np.sum(add_up(problem.region, problem.gb, len(problem.site)) * problem.cost_per_gb.min(axis=1)))
