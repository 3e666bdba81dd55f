"""The check run on every simulation: bytes asked for, served and carried agree to the byte.

The simulation counts bytes while it runs; here the same sums are made afresh from the log, by other code. Any difference is a defect.
"""

import numpy as np

from sim.fleet import Fleet
from sim.log import HIT
from sim.metrics import SimulationResult
from sim.series import arc_bytes
from sim.sessions import Sessions


class BalanceError(ArithmeticError):
    """Two ways of counting the same bytes disagree: a defect of the simulator, never of its input."""


def check_balance(result: SimulationResult, fleet: Fleet, sessions: Sessions) -> None:
    """Compare the counted bytes of a result with those its log amounts to.

    Checked: bytes requested = sum of bytes delivered by sites = sum of bytes provided by sites, and each site's share of both; bytes over every
    arc = sum over the sessions, fetches and fills whose path it lies on; a session is a hit exactly if its best-ranked site delivered it from what
    it held.

    Raises
    ------
    BalanceError
        Naming the sum that is off.
    """
    log, ledger, fills = result.log, result.ledger, result.fills
    assert log is not None, "only a result that kept its log can be checked against it"
    width, sites = fleet.candidate.shape[1], fleet.sites
    row = fleet.rows(sessions.region, sessions.start_ms)
    delivering = fleet.candidate.ravel()[row * width + log.candidate].astype(np.int64)
    is_pull = log.source >= 0
    providing = np.where(is_pull, log.source, delivering).astype(np.int64)
    pulls, ran = np.flatnonzero(is_pull), np.flatnonzero(ledger.fill_ran)
    fetches = fleet.site_paths(providing[pulls], log.keeper[pulls])
    relays = fleet.site_paths(log.keeper[pulls], delivering[pulls])
    transfers = fleet.site_paths(fills.source_site(fleet)[ran], fills.target_site(fleet)[ran])
    requested = int(sessions.bytes.sum())
    _same("bytes requested and delivered", requested, int(ledger.delivered.sum()))
    _same("bytes requested and provided", requested, int(ledger.provided.sum()))
    _same("bytes delivered by each site", _by_site(delivering, sessions.bytes, sites), ledger.delivered)
    _same("bytes provided by each site", _by_site(providing, sessions.bytes, sites), ledger.provided)
    _same(
        "serving bytes of each arc",
        arc_bytes(fleet.region_paths, row * width + log.candidate, sessions.bytes, fleet.arcs),
        ledger.serving,
    )
    relayed = arc_bytes(relays, np.arange(len(pulls)), sessions.bytes[pulls], fleet.arcs)
    for what, size, counted in (
        ("fetched", log.fetched_bytes[pulls], ledger.fetching),
        ("fetched and watched", sessions.bytes[pulls], ledger.watched),
    ):
        _same(
            f"{what} bytes of each arc", arc_bytes(fetches, np.arange(len(pulls)), size, fleet.arcs) + relayed, counted
        )
    _same(
        "filled bytes of each arc",
        arc_bytes(transfers, np.arange(len(ran)), fills.bytes[ran], fleet.arcs),
        ledger.filling,
    )
    _same("hits", log.outcome == HIT, (log.candidate == 0) & ~is_pull)


def _by_site(site: np.ndarray, bytes_: np.ndarray, sites: int) -> np.ndarray:
    order = np.argsort(site, kind="stable")
    running = np.concatenate([[0], np.cumsum(bytes_[order])])
    ends = np.searchsorted(site[order], np.arange(sites + 1))
    return np.asarray(running[ends[1:]] - running[ends[:-1]])


def _same(what: str, expected: np.ndarray | int, counted: np.ndarray | int) -> None:
    if not np.array_equal(np.asarray(expected), np.asarray(counted)):
        off = np.flatnonzero(np.atleast_1d(np.asarray(expected) != np.asarray(counted)))
        raise BalanceError(
            f"{what} do not balance: {len(off)} differ, the first at {int(off[0])}: {expected} in the log, {counted} counted"
        )
