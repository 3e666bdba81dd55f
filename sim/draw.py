"""Sessions drawn from a demand: an hour at a time or all at once, in the order of their starts, by a compiled generator.

Sessions of a (region, file) arrive as a Poisson process whose rate follows a curve of the day in the region's local time. Drawn the other way round, which
is the same law: the number of all arrivals of a quarter of an hour, their starts by exponential spacings, so that nothing need be sorted, then for each its
region and its file, by inversion of sums of chances with a guide to where the search begins: made in two passes, where alias tables take many.

References
----------
H.-C. Chen, Y. Asau, "On generating random variates from an empirical distribution", AIIE Transactions 1974 (the guide).
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import numba as nb
import numpy as np

from demand.catalogue import Catalogue
from demand.demand import Demand
from demand.diurnal import EVENING, QUARTERS, quarter_hour_weights
from demand.laws import LognormalWatching, Watching, load_laws
from sim.machine import index, wide_zeros
from sim.sessions import Sessions
from topology.errors import InputError, Problem
from topology.network import Network

QUARTER_MS, MINUTE_MS = 900_000, 60_000
QUARTERS_AN_HOUR = 4
A_PART = 10_000
"""Sessions that a part should have at least."""
CERTAIN = 2**32 - 1
"""A chance of 1."""
A_SLOT = 4
"""Entries to a place of the guide: a search begins a few entries ahead of its end."""


def draw_sessions(
    demand: Demand,
    network: Network,
    catalogue: Catalogue,
    rng: np.random.Generator,
    *,
    date: dt.date,
    days: int = 1,
    hourly_profile: np.ndarray = EVENING,
    watching: Watching | LognormalWatching | None = None,
) -> Sessions:
    """Draw sessions whose expected bytes are the demand's, entry by entry.

    A session takes the file's bit rate until its viewer leaves or the file ends; their number has the mean ``gb / mean GB of a session``, and that is known in
    closed form, so nothing is lost.

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
    watching
        How long viewers stay if the file does not end first. Default: the fitted law, :attr:`demand.laws.Laws.watching`.

    Raises
    ------
    InputError
        If the profile is not 24 numbers >= 0 with a positive sum, or a parameter of the law of watching is not positive.
    """
    law = _law(demand, network, catalogue, date, days, hourly_profile, watching)
    return _draw(law, rng, 0, rng.poisson(law.rate.sum(axis=1)))


def draw_parts(
    demand: Demand,
    network: Network,
    catalogue: Catalogue,
    rng: np.random.Generator,
    *,
    date: dt.date,
    days: int = 1,
    hourly_profile: np.ndarray = EVENING,
    watching: Watching | LognormalWatching | None = None,
) -> Iterator[Sessions]:
    """The sessions of :func:`draw_sessions`, some hours at a time, one where that is many: joined, they are the same for the same generator."""
    law = _law(demand, network, catalogue, date, days, hourly_profile, watching)
    counts = rng.poisson(law.rate.sum(axis=1))
    return (_draw(law, rng, first, counts[first:end]) for first, end in _spans(counts))


def _spans(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """The quarters (begin, end) of each part: whole hours, as few as have :data:`A_PART` sessions."""
    begin, size = 0, 0
    for end in range(QUARTERS_AN_HOUR, len(counts) + 1, QUARTERS_AN_HOUR):
        size += int(counts[end - QUARTERS_AN_HOUR : end].sum())
        if size >= A_PART or end == len(counts):
            yield begin, end
            begin, size = end, 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Law:
    """What is drawn from.

    Parameters
    ----------
    rate
        (Q, R): expected arrivals of each region in each quarter of an hour.
    table
        ``slots`` (R + 1,) int64, ``guide`` (N / 4 + 2 R,) int32 and ``entry`` (2 N,) uint32. Entries stand region by region, two numbers each: the chance of all entries of
        the region up to this one, in parts of :data:`CERTAIN`, and its file. ``guide`` has ``slots[r]:slots[r + 1]`` for region r, each but the last for an equal share of all chances:
        the entry at which the search for a chance in that share begins.
    is_weibull, location, spread
        The time in ms is exp(location + spread z), z being normal or, to make it Weibull, the logarithm of an exponential variate.
    play
        (F, 2): each file's whole length in ms, and its bytes a ms.
    """

    rate: np.ndarray
    table: tuple[np.ndarray, np.ndarray, np.ndarray]
    is_weibull: bool
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
    watching: Watching | LognormalWatching | None,
) -> _Law:
    watching = load_laws().watching if watching is None else watching
    location, spread = _location_and_spread(watching)
    zones, regions = network.regions["timezone"].to_numpy(), len(network.regions)
    weights = [quarter_hour_weights(zones, date + dt.timedelta(days=d), hourly_profile) for d in range(days)]
    mean_gb = mean_session_gb(catalogue, watching)
    slots, guide = np.zeros(regions + 1, np.int64), wide_zeros((len(demand) // A_SLOT + 2 * regions,), np.int32)
    table = slots, guide, wide_zeros((2 * len(demand),), np.uint32)
    total = _fill_tables(demand.region, demand.file, demand.gb, 1 / mean_gb, *table)
    return _Law(
        rate=np.concatenate([(total[:, None] * w / w.sum(axis=1, keepdims=True)).T for w in weights]),
        table=table,
        is_weibull=isinstance(watching, Watching),
        location=location,
        spread=spread,
        play=np.stack([_whole_ms(catalogue), catalogue.bitrate_kbps / 8], axis=1),
    )


def mean_session_gb(catalogue: Catalogue, watching: Watching | LognormalWatching | None = None) -> np.ndarray:
    """(F,) GB of a session of each file in the mean, as :func:`draw_sessions` draws it."""
    watching = load_laws().watching if watching is None else watching
    minutes = watching.mean_minutes(_whole_ms(catalogue) / MINUTE_MS)
    return np.asarray(minutes * MINUTE_MS * catalogue.bitrate_kbps / 8e9)


def _whole_ms(catalogue: Catalogue) -> np.ndarray:
    """(F,) the whole length of each file."""
    return np.asarray(catalogue.size_gb * 8e9 / catalogue.bitrate_kbps)


def _location_and_spread(watching: Watching | LognormalWatching) -> tuple[float, float]:
    """Of :class:`_Law`."""
    positive = (watching.shape, watching.scale_minutes) if isinstance(watching, Watching) else (watching.log_sd,)
    if not min(positive) > 0:
        message, mend = "not a law of watching", "give parameters > 0"
        raise InputError(Problem(table="settings", value=str(watching), message=message, mend=mend))
    if isinstance(watching, Watching):
        return float(np.log(watching.scale_minutes * MINUTE_MS)), 1 / watching.shape
    return float(watching.log_mean + np.log(MINUTE_MS)), watching.log_sd


def _draw(law: _Law, rng: np.random.Generator, first: int, counts: np.ndarray) -> Sessions:
    """The sessions of so many quarters of an hour from ``first`` on."""
    size = int(counts.sum())
    start_ms, duration_ms, bytes_, rate_bps = (np.empty(size, np.int64) for _ in range(4))
    region, file = np.empty(size, np.int32), np.empty(size, np.int32)
    most, (slots, guide, entry) = int(counts.max(initial=0)), law.table
    _fill(
        rng,
        counts,
        first * QUARTER_MS,
        law.rate[first : first + len(counts)],
        np.empty(1 << law.rate.shape[1].bit_length()),
        np.empty(most + 1),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        slots,
        guide,
        entry,
        law.is_weibull,
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
        days=len(law.rate) // QUARTERS,
    )


@nb.njit(cache=True, nogil=True, _nrt=False, error_model="numpy", forceinline=True)
def _share(chance: int, slots: np.ndarray, region: int) -> int:
    """In which of the equal shares of a region's guide a chance lies; behind the last there is one place to spare."""
    return int(chance * (slots[region + 1] - slots[region] - 1) >> 32)


@nb.njit(cache=True, nogil=True)
def _fill_tables(
    region: np.ndarray,
    file: np.ndarray,
    gb: np.ndarray,
    sessions_a_gb: np.ndarray,
    slots: np.ndarray,
    guide: np.ndarray,
    entry: np.ndarray,
) -> np.ndarray:
    """Expected sessions of each region a day, (R,); ``slots``, ``guide`` and ``entry`` of ``_Law.table``, which come as zeros, tell the files they ask for.

    ``region``, ``file``, ``gb`` (N,) as in :class:`Demand`; ``sessions_a_gb`` (F,). Two passes over the demand, in its order, then one over the entries.
    """
    regions = len(slots) - 1
    total, count = np.zeros(regions), np.zeros(regions, np.int64)
    for i in range(len(gb)):
        r = index(region[i])
        total[r] += gb[i] * sessions_a_gb[index(file[i])]
        count[r] += 1
    upto, begin = np.empty(regions, np.int64), 0
    for r in range(regions):
        upto[r] = begin
        begin += count[r]
        slots[r + 1] = slots[r] + count[r] // A_SLOT + 2
    so_far, scale = np.zeros(regions), np.zeros(regions)
    for r in range(regions):
        scale[r] = CERTAIN / total[r] if total[r] > 0 else 0.0
    for i in range(len(gb)):
        r, f = index(region[i]), index(file[i])
        so_far[r] += gb[i] * sessions_a_gb[f]
        at = index(2 * upto[r])
        entry[at], entry[at + 1] = np.int64(np.rint(so_far[r] * scale[r])), f
        upto[r] += 1
    at = 0
    for r in range(regions):
        guide[slots[r]] = at
        for i in range(at, upto[r]):  # a search for more than an entry's share begins behind it
            guide[index(slots[r] + _share(entry[index(2 * i)], slots, r) + 1)] = i + 1
        at = upto[r]
        for slot in range(slots[r] + 1, slots[r + 1]):
            guide[slot] = max(guide[slot], guide[slot - 1])
    return total


@nb.njit(cache=True, nogil=True, _nrt=False, error_model="numpy")  # as in sim.kernel: no reference counts
def _fill(
    rng: np.random.Generator,
    counts: np.ndarray,
    begin_ms: int,
    rate: np.ndarray,
    upto: np.ndarray,
    spacing: np.ndarray,
    place: np.ndarray,
    chance: np.ndarray,
    slots: np.ndarray,
    guide: np.ndarray,
    entry: np.ndarray,
    is_weibull: bool,
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
    first, regions, steps = 0, rate.shape[1], 0
    while 1 << steps < len(upto):
        steps += 1
    for quarter in range(len(counts)):
        count = counts[quarter]
        total = 0.0
        for i in range(count + 1):
            total += rng.standard_exponential()
            spacing[i] = total
        quarter_ms, stretch = begin_ms + quarter * QUARTER_MS, QUARTER_MS / total
        expected = 0.0
        for r in range(regions):
            expected += rate[quarter, r]
            upto[r] = expected
        last = regions - 1
        while last > 0 and rate[quarter, last] == 0:
            last -= 1
        upto[last:] = np.inf  # behind the last that is asked for anything there is nothing
        for i in range(count):
            at = index(first + i)
            start_ms[at] = quarter_ms + min(int(spacing[i] * stretch), QUARTER_MS - 1)
            sought, r = rng.random() * expected, 0
            # by halves, summed up: of a branch, or what is compiled to one, the processor would guess every second wrong
            for step in range(steps - 1, -1, -1):
                r += int(upto[index(r + (1 << step) - 1)] <= sought) << step
            region[at] = r
            chance[i] = int(rng.random() * CERTAIN)
            place[i] = slots[index(r)] + _share(chance[i], slots, index(r))
        # apart from the rest, so that the processor waits for many places of long tables at once
        for i in range(count):
            place[i] = guide[index(place[i])]
        for i in range(count):
            at, reach = index(2 * place[i]), chance[i]
            while entry[at] <= reach:
                at += 2
            file[index(first + i)] = entry[at + 1]
        for i in range(count):
            at = index(first + i)
            f = index(file[at])
            z = np.log(rng.standard_exponential()) if is_weibull else rng.standard_normal()
            length = min(np.exp(location + spread * z), play[f, 0])
            milliseconds, size = max(int(np.rint(length)), 1), max(int(np.rint(length * play[f, 1])), 1)
            duration_ms[at], bytes_[at] = milliseconds, size
            rate_bps[at] = int(np.rint(size * 8000.0 / milliseconds))
        first += count
