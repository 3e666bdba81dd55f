"""What a simulation counts, as whole numbers: every table and figure is worked out from these, whichever engine counted them."""

from dataclasses import dataclass

import numpy as np

from sim.fleet import Fleet
from sim.log import HIT, OUTCOMES, Ledger, SessionLog
from sim.scheme import Fills
from sim.series import SLOTS, arc_slot_loads, even_rate_bps, peak_bps, slot_loads
from sim.sessions import Sessions

HOUR_MS = 3_600_000
STARTUP_BINS = 1024
DELIVERED = ("sessions", "bytes", "watched_ms", "startup_us", "pulled_sessions")
"""What is counted of delivered sessions by site and hour: how many, their bytes and lengths, their round trips as in ``startup_us``, and those pulled."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """Counts and sums, all int64. H hours and T five-minute slots of the days simulated.

    Parameters
    ----------
    hour_sessions
        (H, 4): sessions by hour of their start and outcome.
    hour_bytes, hour_hit_bytes, hour_origin_bytes
        (H,): session bytes by hour of the start: all, of hits, and those an origin provided.
    site_hour_asked
        (H, S, 4): sessions by hour, best-ranked site and outcome.
    site_hour_hit_bytes
        (H, S): bytes of the hits of each site.
    site_hour_delivered
        (H, S, 5), see :data:`DELIVERED`: of the sessions each site delivered.
    path_sessions, path_bytes
        (V, K): sessions and their bytes by row of steering and place of the delivering site in it.
    hit_sessions, hit_bytes
        (S,): hits of each site.
    pulled_sessions, fetched_bytes, sourced_bytes
        (S,): sessions a site pulled, bytes fetched to it to be kept, session bytes it had for the pulls of others.
    startup_us
        (1,): round trips of all sessions, from the region to the delivering site and, of a pull, on to its source, in microseconds.
    startup_sessions
        (1024,): sessions by that time in whole milliseconds, rounded up, the last for all above.
    peak_bps
        (S,): the highest sum of rates a site provided at any moment.
    arc_load
        (2L, T): bit/s x ms of each arc in each slot.
    """

    hour_sessions: np.ndarray
    hour_bytes: np.ndarray
    hour_hit_bytes: np.ndarray
    hour_origin_bytes: np.ndarray
    site_hour_asked: np.ndarray
    site_hour_hit_bytes: np.ndarray
    site_hour_delivered: np.ndarray
    path_sessions: np.ndarray
    path_bytes: np.ndarray
    hit_sessions: np.ndarray
    hit_bytes: np.ndarray
    pulled_sessions: np.ndarray
    fetched_bytes: np.ndarray
    sourced_bytes: np.ndarray
    startup_us: np.ndarray
    startup_sessions: np.ndarray
    peak_bps: np.ndarray
    arc_load: np.ndarray


def tally_log(fleet: Fleet, sessions: Sessions, log: SessionLog, ledger: Ledger, fills: Fills) -> Tally:
    """Count a finished simulation from its log."""
    candidate, hours = log.candidate, 24 * sessions.days
    row = fleet.rows(sessions.region, sessions.start_ms)
    site = fleet.candidate[row, candidate].astype(np.int64)
    pulled = np.flatnonzero(log.source >= 0)
    provider = site.copy()
    provider[pulled] = log.source[pulled]
    hour, size, hit = sessions.start_ms // HOUR_MS, sessions.bytes, log.outcome == HIT
    from_origin = fleet.is_origin[provider]
    place = row * fleet.candidate.shape[1] + candidate
    shape = fleet.candidate.shape
    startup_us = fleet.round_trip_us(fleet.region_paths)[place]
    startup_us[pulled] += fleet.round_trip_us(fleet.site_paths(provider[pulled], site[pulled]))
    return Tally(
        hour_sessions=_count(hour * len(OUTCOMES) + log.outcome, hours * len(OUTCOMES)).reshape(hours, len(OUTCOMES)),
        hour_bytes=_sum(hour, size, hours),
        hour_hit_bytes=_sum(hour[hit], size[hit], hours),
        hour_origin_bytes=_sum(hour[from_origin], size[from_origin], hours),
        site_hour_asked=_count(
            (hour * fleet.sites + fleet.candidate[row, 0]) * len(OUTCOMES) + log.outcome,
            hours * fleet.sites * len(OUTCOMES),
        ).reshape(hours, fleet.sites, len(OUTCOMES)),
        site_hour_hit_bytes=_sum((hour * fleet.sites + site)[hit], size[hit], hours * fleet.sites).reshape(hours, -1),
        site_hour_delivered=np.stack(
            [
                _sum(hour * fleet.sites + site, values, hours * fleet.sites).reshape(hours, -1)
                for values in (np.ones(len(site), np.int64), size, sessions.duration_ms, startup_us, log.source >= 0)
            ],
            axis=2,
        ),
        path_sessions=_count(place, shape[0] * shape[1]).reshape(shape),
        path_bytes=_sum(place, size, shape[0] * shape[1]).reshape(shape),
        hit_sessions=_count(site[hit], fleet.sites),
        hit_bytes=_sum(site[hit], size[hit], fleet.sites),
        pulled_sessions=_count(site[pulled], fleet.sites),
        fetched_bytes=_sum(log.keeper[pulled].astype(np.int64), log.fetched_bytes[pulled], fleet.sites),
        sourced_bytes=_sum(provider[pulled], size[pulled], fleet.sites),
        startup_us=startup_us.sum(keepdims=True),
        startup_sessions=_count(startup_bin(startup_us), STARTUP_BINS),
        peak_bps=_peaks(fleet, sessions, fills, site, provider, pulled, np.flatnonzero(ledger.fill_ran)),
        arc_load=_session_loads(fleet, sessions, place)
        + _pull_loads(fleet, sessions, log, site, provider, pulled)
        + fill_loads(fleet, fills, ledger.fill_ran, sessions.days),
    )


def startup_bin(startup_us: np.ndarray) -> np.ndarray:
    """Place in ``startup_sessions``: whole milliseconds, rounded up."""
    return np.asarray(np.minimum((startup_us + 999) // 1000, STARTUP_BINS - 1))


def fill_loads(fleet: Fleet, fills: Fills, ran: np.ndarray, days: int) -> np.ndarray:
    """(2L, T) int64: what the fills that took place put on the arcs."""
    source, target = fills.source_site(fleet)[ran], fills.target_site(fleet)[ran]
    paths = fleet.site_paths(source, target)
    length = np.diff(paths.start)
    start_ms, end_ms, rate = (
        np.repeat(values[ran], length) for values in (fills.start_ms, fills.end_ms, fills.rate_bps())
    )
    return slot_loads(paths.arcs, fleet.arcs, start_ms, end_ms, rate, days * SLOTS)


def _session_loads(fleet: Fleet, sessions: Sessions, place: np.ndarray) -> np.ndarray:
    end_ms, slots = sessions.start_ms + sessions.duration_ms, sessions.days * SLOTS
    return arc_slot_loads(fleet.region_paths, place, fleet.arcs, sessions.start_ms, end_ms, sessions.rate_bps, slots)


def _pull_loads(
    fleet: Fleet, sessions: Sessions, log: SessionLog, site: np.ndarray, provider: np.ndarray, pulled: np.ndarray
) -> np.ndarray:
    start, length = sessions.start_ms[pulled], sessions.duration_ms[pulled]
    rate, keeper = even_rate_bps(log.fetched_bytes[pulled], length), log.keeper[pulled].astype(np.int64)
    slots = sessions.days * SLOTS
    fetches = _loads_between(fleet, provider[pulled], keeper, start, start + length, rate, slots)
    relays = _loads_between(fleet, keeper, site[pulled], start, start + length, sessions.rate_bps[pulled], slots)
    return np.asarray(fetches + relays)


def _loads_between(
    fleet: Fleet,
    sources: np.ndarray,
    targets: np.ndarray,
    start_ms: np.ndarray,
    end_ms: np.ndarray,
    rate_bps: np.ndarray,
    slots: int,
) -> np.ndarray:
    pair, at = np.unique(sources * fleet.sites + targets, return_inverse=True)
    paths = fleet.site_paths(pair // fleet.sites, pair % fleet.sites)
    return arc_slot_loads(paths, at, fleet.arcs, start_ms, end_ms, rate_bps, slots)


def _peaks(
    fleet: Fleet,
    sessions: Sessions,
    fills: Fills,
    site: np.ndarray,
    provider: np.ndarray,
    pulled: np.ndarray,
    ran: np.ndarray,
) -> np.ndarray:
    end_ms = sessions.start_ms + sessions.duration_ms
    return peak_bps(
        np.concatenate([site, provider[pulled], fills.source_site(fleet)[ran]]),
        fleet.sites,
        np.concatenate([sessions.start_ms, sessions.start_ms[pulled], fills.start_ms[ran]]),
        np.concatenate([end_ms, end_ms[pulled], fills.end_ms[ran]]),
        np.concatenate([sessions.rate_bps, sessions.rate_bps[pulled], fills.rate_bps()[ran]]),
    )


def _count(where: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(where, minlength=size).astype(np.int64)


def _sum(where: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    total = np.zeros(size, np.int64)
    np.add.at(total, where, values)
    return total
