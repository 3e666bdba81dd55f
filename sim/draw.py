"""Sessions drawn from a demand: an hour at a time or all at once, in the order of their starts, by a compiled generator.

Sessions of a (region, file) arrive as a Poisson process whose rate follows a curve of the day in the region's local time. Drawn the other way round, which
is the same law: the number of all arrivals of a quarter of an hour, their starts by exponential spacings, so that nothing need be sorted, then for each its
region and its file, from alias tables.

References
----------
M. D. Vose, "A linear algorithm for generating random numbers with a given distribution", IEEE TSE 1991 (alias tables).
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import numba as nb
import numpy as np
from scipy.special import ndtr

from demand.catalogue import Catalogue
from demand.demand import Demand
from demand.diurnal import EVENING, QUARTERS, quarter_hour_weights
from sim.sessions import Sessions
from topology.errors import InputError, Problem
from topology.network import Network

QUARTER_MS = 900_000
QUARTERS_A_PART = 4
CERTAIN = 2**31
"""A chance of 1."""


def draw_sessions(
    demand: Demand,
    network: Network,
    catalogue: Catalogue,
    rng: np.random.Generator,
    *,
    date: dt.date,
    days: int = 1,
    hourly_profile: np.ndarray = EVENING,
    mean_minutes: float = 45.0,
    spread: float = 0.9,
) -> Sessions:
    """Draw sessions whose expected bytes are the demand's, entry by entry.

    A session takes the file's bit rate for a lognormal time, cut at the file's own length; their number has the mean ``gb / mean GB of a session``, the
    mean of the cut lognormal in closed form, so cutting loses nothing.

    Parameters
    ----------
    demand
        GB of each (region, file) over a UTC day.
    date
        The first day, which decides the offset of local times.
    days
        How many days, each with the same demand.
    hourly_profile
        (24,) float, >= 0: relative rate of arrivals in each local hour; only its shape counts. Default: :data:`demand.diurnal.EVENING`.
    mean_minutes, spread
        Mean of the lognormal time before the cut, in minutes, and the standard deviation of its logarithm.

    Raises
    ------
    InputError
        If the profile is not 24 numbers >= 0 with a positive sum, or the mean or spread is not positive.
    """
    law = _law(demand, network, catalogue, date, days, hourly_profile, mean_minutes, spread)
    return _draw(law, rng, 0, rng.poisson(law.rate.sum(axis=0)))


def draw_parts(
    demand: Demand,
    network: Network,
    catalogue: Catalogue,
    rng: np.random.Generator,
    *,
    date: dt.date,
    days: int = 1,
    hourly_profile: np.ndarray = EVENING,
    mean_minutes: float = 45.0,
    spread: float = 0.9,
) -> Iterator[Sessions]:
    """The sessions of :func:`draw_sessions`, an hour at a time: joined, they are the same for the same generator."""
    law = _law(demand, network, catalogue, date, days, hourly_profile, mean_minutes, spread)
    counts = rng.poisson(law.rate.sum(axis=0))
    return (
        _draw(law, rng, first, counts[first : first + QUARTERS_A_PART])
        for first in range(0, len(counts), QUARTERS_A_PART)
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Law:
    """What is drawn from.

    Parameters
    ----------
    rate
        (R, Q): expected arrivals of each region in each quarter of an hour.
    start, entry
        Alias tables: the entries of region r are ``start[r]:start[r + 1]``. (N, 3) int32: the chance to keep an entry in parts of 2**31, its file, and the
        file taken otherwise: side by side, for a draw waits for memory once.
    location, spread
        Of the lognormal time.
    play
        (F, 2): each file's whole length in ms, and its bytes a ms.
    """

    rate: np.ndarray
    start: np.ndarray
    entry: np.ndarray
    location: float
    spread: float
    play: np.ndarray


def _law(
    demand: Demand,
    network: Network,
    catalogue: Catalogue,
    date: dt.date,
    days: int,
    hourly_profile: np.ndarray,
    mean_minutes: float,
    spread: float,
) -> _Law:
    if not (mean_minutes > 0 and spread > 0):
        raise InputError(
            Problem(
                table="settings", message="session length must be positive", mend="give mean minutes and spread > 0"
            )
        )
    zones, regions = network.regions["timezone"].to_numpy(), len(network.regions)
    weights = [quarter_hour_weights(zones, date + dt.timedelta(days=d), hourly_profile) for d in range(days)]
    whole_ms = catalogue.size_gb * 8e9 / catalogue.bitrate_kbps  # GB over kbit/s, in ms
    location = np.log(mean_minutes * 60_000) - spread**2 / 2
    mean_gb = cut_lognormal_mean(location, spread, whole_ms) * catalogue.bitrate_kbps / 8e9
    arrivals = demand.gb / mean_gb[demand.file]
    start = np.concatenate([[0], np.cumsum(np.bincount(demand.region, minlength=regions))])
    weight, file = _by_region(arrivals, demand.region, demand.file, start)
    total = np.bincount(demand.region, arrivals, regions)
    return _Law(
        rate=np.concatenate([total[:, None] * w / w.sum(axis=1, keepdims=True) for w in weights], axis=1),
        start=start,
        entry=alias_tables(weight, start, file),
        location=float(location),
        spread=spread,
        play=np.stack([whole_ms, catalogue.bitrate_kbps / 8], axis=1),
    )


def cut_lognormal_mean(location: float, spread: float, limit: np.ndarray) -> np.ndarray:
    """E[min(X, limit)] of a lognormal X: the limited expected value of actuarial mathematics."""
    z = (np.log(limit) - location) / spread
    return np.asarray(np.exp(location + spread**2 / 2) * ndtr(z - spread) + limit * ndtr(-z))


def _draw(law: _Law, rng: np.random.Generator, first: int, counts: np.ndarray) -> Sessions:
    """The sessions of so many quarters of an hour from ``first`` on."""
    size = int(counts.sum())
    start_ms, duration_ms, bytes_, rate_bps = (np.empty(size, np.int64) for _ in range(4))
    region, file = np.empty(size, np.int32), np.empty(size, np.int32)
    rate = np.ascontiguousarray(law.rate[:, first : first + len(counts)].T)
    regions = rate.shape[1]
    places = np.arange(rate.size, dtype=np.int32) % np.int32(regions)
    most = int(counts.max(initial=0))
    _fill(
        rng,
        counts,
        first * QUARTER_MS,
        alias_tables(rate.ravel(), np.arange(len(counts) + 1) * regions, places),
        regions,
        np.empty(most + 1),
        np.empty((most, 2), np.int64),
        law.start,
        law.entry,
        law.location,
        law.spread,
        law.play,
        start_ms,
        region,
        file,
        duration_ms,
        bytes_,
        rate_bps,
    )
    return Sessions(
        start_ms=start_ms,
        region=region,
        file=file,
        duration_ms=duration_ms,
        bytes=bytes_,
        rate_bps=rate_bps,
        days=law.rate.shape[1] // QUARTERS,
    )


@nb.njit(cache=True, nogil=True)
def _by_region(
    weight: np.ndarray, region: np.ndarray, file: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and files, (N,), region by region, each region's in the order they came in."""
    sorted_weight, sorted_file, upto = np.empty(len(weight)), np.empty(len(weight), np.int32), start.copy()
    for i in range(len(weight)):
        at = upto[region[i]]
        upto[region[i]] = at + 1
        sorted_weight[at], sorted_file[at] = weight[i], file[i]
    return sorted_weight, sorted_file


@nb.njit(cache=True, nogil=True)
def alias_tables(weight: np.ndarray, start: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Alias tables of many distributions, one after the other.

    Parameters
    ----------
    weight
        (N,) float, >= 0; distribution d is ``weight[start[d]:start[d + 1]]``.
    start
        (D + 1,) int.
    value
        (N,) int32: what is drawn at each place.

    Returns
    -------
    (N, 3) int32: the chance to keep a place drawn evenly, in parts of :data:`CERTAIN`; its value; and the value to take otherwise.
    """
    table, longest = np.empty((len(weight), 3), np.int32), 0
    for d in range(len(start) - 1):
        longest = max(longest, start[d + 1] - start[d])
    keep, other, stack = np.empty(longest), np.empty(longest, np.int32), np.empty(longest, np.int32)
    for d in range(len(start) - 1):
        begin, size = start[d], start[d + 1] - start[d]
        total = weight[begin : begin + size].sum()
        small, large = 0, size
        for i in range(size):
            keep[i] = weight[begin + i] * size / total if total > 0 else 1.0
            other[i] = i
            if keep[i] < 1:
                stack[small] = i
                small += 1
            else:
                large -= 1
                stack[large] = i
        while small > 0 and large < size:
            small -= 1
            poor, rich = stack[small], stack[large]
            other[poor] = rich
            keep[rich] -= 1 - keep[poor]
            if keep[rich] < 1:
                large += 1
                stack[small] = rich
                small += 1
        for i in range(small):  # left over by rounding alone
            keep[stack[i]] = 1.0
        for i in range(size):
            table[begin + i, 0] = min(np.rint(keep[i] * CERTAIN), CERTAIN - 1)
            table[begin + i, 1], table[begin + i, 2] = value[begin + i], value[begin + other[i]]
    return table


@nb.njit(cache=True, nogil=True, _nrt=False, error_model="numpy")  # as in sim.kernel: no reference counts
def _fill(
    rng: np.random.Generator,
    counts: np.ndarray,
    begin_ms: int,
    whose: np.ndarray,
    regions: int,
    spacing: np.ndarray,
    drawn: np.ndarray,
    start: np.ndarray,
    entry: np.ndarray,
    location: float,
    spread: float,
    play: np.ndarray,
    start_ms: np.ndarray,
    region: np.ndarray,
    file: np.ndarray,
    duration_ms: np.ndarray,
    bytes_: np.ndarray,
    rate_bps: np.ndarray,
) -> None:
    """Draw quarter after quarter into the columns of :class:`Sessions`."""
    first = 0
    for quarter in range(len(counts)):
        count = counts[quarter]
        total = 0.0
        for i in range(count + 1):
            total += rng.standard_exponential()
            spacing[i] = total
        quarter_ms, stretch = begin_ms + quarter * QUARTER_MS, QUARTER_MS / total
        for i in range(count):
            start_ms[first + i] = quarter_ms + min(int(spacing[i] * stretch), QUARTER_MS - 1)
            place = rng.random() * regions
            r = _choose(whose, quarter * regions + int(place), int((place - int(place)) * CERTAIN))
            region[first + i] = r
            place = rng.random() * (start[r + 1] - start[r])
            drawn[i, 0], drawn[i, 1] = start[r] + int(place), int((place - int(place)) * CERTAIN)
        for i in range(
            count
        ):  # apart from the rest, so that the processor waits for many places of this long table at once
            file[first + i] = _choose(entry, drawn[i, 0], drawn[i, 1])
        for i in range(count):
            at, f = first + i, file[first + i]
            length = min(np.exp(location + spread * rng.standard_normal()), play[f, 0])
            milliseconds, size = max(int(np.rint(length)), 1), max(int(np.rint(length * play[f, 1])), 1)
            duration_ms[at], bytes_[at] = milliseconds, size
            rate_bps[at] = int(np.rint(size * 8000.0 / milliseconds))
        first += count


@nb.njit(cache=True, nogil=True, _nrt=False, error_model="numpy")
def _choose(table: np.ndarray, place: int, chance: int) -> int:
    """What stands at a place of an alias table, or its other value: an index, not a branch that the processor would have to guess."""
    return int(table[place, 1 + np.int64(chance >= table[place, 0])])
