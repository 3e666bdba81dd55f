"""What a simulation writes down: one entry a session, and the bytes counted while it ran."""

from dataclasses import dataclass

import numpy as np

OUTCOMES = ("hit", "content", "not_yet_filled", "health")
"""The classes a session ends in, by number: a hit, or the reason why the region's best-ranked site did not serve it."""
HIT, CONTENT, NOT_YET_FILLED, HEALTH = range(len(OUTCOMES))
MISSES = OUTCOMES[1:]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SessionLog:
    """Who served each session, in the order of the sessions.

    Parameters
    ----------
    candidate
        (N,) int32: place, in the region's steering, of the site that delivered the session.
    appliance
        (N,) int32: the appliance that delivered it, -1 at an origin.
    source
        (N,) int32: the site the file was pulled from; -1 where the delivering site held it.
    source_appliance
        (N,) int32: the appliance it was pulled from, -1 at an origin or where nothing was pulled.
    keeper
        (N,) int32: of the sites that kept what was pulled, the nearest to the delivering site (itself, if it did); -1 if none was.
    fetched_bytes
        (N,) int64: bytes that travelled from source to keeper (the whole file, or the session's bytes if those are more or no more are fetched); 0 if none.
        From there to the delivering site go the session's bytes.
    outcome
        (N,) int8: an index of :data:`OUTCOMES`.
    """

    candidate: np.ndarray
    appliance: np.ndarray
    source: np.ndarray
    source_appliance: np.ndarray
    keeper: np.ndarray
    fetched_bytes: np.ndarray
    outcome: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ledger:
    """Bytes counted as sessions, fetches and fills ended; whole bytes, int64.

    Parameters
    ----------
    delivered
        (S,): session bytes each site sent to clients.
    provided
        (S,): session bytes each site had the file for: the delivering site's own, or the source's of a pull.
    watched
        (2L,): of the bytes fetched, those that the sessions watched: what fetching could not have done without.
    serving, fetching, filling
        (2L,): bytes over each arc, site to region, site to site for a pull, and for a fill.
    fill_ran
        (T,) bool: which fills took place (one whose source or target is down when it should start does not).
    """

    delivered: np.ndarray
    provided: np.ndarray
    serving: np.ndarray
    fetching: np.ndarray
    filling: np.ndarray
    watched: np.ndarray
    fill_ran: np.ndarray
