"""What a simulation measured: the contract's figures, and tables by hour, site and arc."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sim.fleet import BITS_PER_GBIT, BYTES_PER_GB, Fleet
from sim.log import HIT, MISSES, OUTCOMES, Ledger, SessionLog
from sim.scheme import Fills
from sim.series import SLOT_MS, SLOTS, arc_slot_bytes, peak_bps
from sim.sessions import Sessions

HOUR_MS = 3_600_000
BILLED_SLOT = -(-95 * SLOTS // 100) - 1
"""Place of the 95th percentile among a day's sorted five-minute averages (nearest rank): the busiest 5 % are not billed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulationResult:
    """One scheme's day. GB are 10^9 bytes; traffic over links counts once for every link it crosses.

    Parameters
    ----------
    label
        The scheme's.
    sessions
        N.
    figures
        What :meth:`totals` hands out.
    by_hour
        hour (of the session's start, UTC), sessions, hits, gb, hit_gb, origin_gb, content, not_yet_filled, health; 24 rows.
    by_site
        site (index), sessions, gb, hit_sessions, hit_gb (of those delivered there), pulled_sessions, fetched_gb (pulled into its cache), sourced_gb
        (session GB it had for the pulls of others), filled_gb (brought by fills), peak_gbps (highest load at any moment), throughput_gbps.
    by_arc
        arc, serving_gb, fetch_gb, fill_gb, gb, peak_gbps, p95_gbps, capacity_gbps.
    arc_gbps
        (2L, 288) float: average load of each arc in every five minutes of the day.
    log, ledger, fills
        What the figures were made from.
    """

    label: str
    sessions: int
    figures: dict[str, Any]
    by_hour: pd.DataFrame
    by_site: pd.DataFrame
    by_arc: pd.DataFrame
    arc_gbps: np.ndarray
    log: SessionLog
    ledger: Ledger
    fills: Fills

    def totals(self) -> dict[str, Any]:
        """The contract's figures, plain numbers; ``docs/simulation.md`` says what each means. Ratios of nothing are 0."""
        return dict(self.figures)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Day:
    """A finished simulation, and for its sessions the site that delivered and the one that had the file; ``pulled`` and ``ran`` are indices."""

    fleet: Fleet
    sessions: Sessions
    log: SessionLog
    ledger: Ledger
    fills: Fills
    site: np.ndarray
    provider: np.ndarray
    pulled: np.ndarray
    ran: np.ndarray


def measure(
    fleet: Fleet, sessions: Sessions, label: str, log: SessionLog, ledger: Ledger, fills: Fills
) -> SimulationResult:
    """Work out every figure of a finished simulation from its log and its counted bytes."""
    site = fleet.candidate[sessions.region, log.candidate].astype(np.int64)
    pulled = np.flatnonzero(log.source >= 0)
    provider = site.copy()
    provider[pulled] = fleet.candidate[sessions.region[pulled], log.source[pulled]]
    ran = np.flatnonzero(ledger.fill_ran)
    day = _Day(
        fleet=fleet,
        sessions=sessions,
        log=log,
        ledger=ledger,
        fills=fills,
        site=site,
        provider=provider,
        pulled=pulled,
        ran=ran,
    )
    gbps = _arc_gbps(day)
    by_arc = _by_arc(fleet, ledger, gbps)
    return SimulationResult(
        label=label,
        sessions=len(sessions),
        figures=_figures(day, by_arc),
        by_hour=_by_hour(day),
        by_site=_by_site(day),
        by_arc=by_arc,
        arc_gbps=gbps,
        log=log,
        ledger=ledger,
        fills=fills,
    )


def _arc_gbps(day: _Day) -> np.ndarray:
    """(2L, 288) float: every flow spread evenly over its time and laid on the arcs of its path."""
    fleet, sessions, fills, pulled, ran = day.fleet, day.sessions, day.fills, day.pulled, day.ran

    def between(
        sources: np.ndarray, targets: np.ndarray, start_ms: np.ndarray, duration_ms: np.ndarray, bytes_: np.ndarray
    ) -> np.ndarray:
        pair, at = np.unique(sources * fleet.sites + targets, return_inverse=True)
        paths = fleet.site_paths(pair // fleet.sites, pair % fleet.sites)
        return arc_slot_bytes(paths, at, fleet.arcs, start_ms, duration_ms, bytes_)

    path = sessions.region.astype(np.int64) * fleet.candidate.shape[1] + day.log.candidate
    total = arc_slot_bytes(
        fleet.region_paths, path, fleet.arcs, sessions.start_ms, sessions.duration_ms, sessions.bytes
    )
    fetch = (day.provider, day.site, sessions.start_ms, sessions.duration_ms, day.log.fetched_bytes)
    fill = (
        fills.source_site(fleet),
        fills.target_site(fleet),
        fills.start_ms,
        fills.end_ms - fills.start_ms,
        fills.bytes,
    )
    total += between(*(values[pulled] for values in fetch))
    total += between(*(values[ran] for values in fill))
    return total * 8 / (SLOT_MS / 1000) / BITS_PER_GBIT


def _by_arc(fleet: Fleet, ledger: Ledger, gbps: np.ndarray) -> pd.DataFrame:
    ranked = np.sort(gbps, axis=1)
    return pd.DataFrame(
        {
            "arc": np.arange(fleet.arcs),
            "serving_gb": ledger.serving / BYTES_PER_GB,
            "fetch_gb": ledger.fetching / BYTES_PER_GB,
            "fill_gb": ledger.filling / BYTES_PER_GB,
            "gb": (ledger.serving + ledger.fetching + ledger.filling) / BYTES_PER_GB,
            "peak_gbps": ranked[:, -1],
            "p95_gbps": ranked[:, BILLED_SLOT],
            "capacity_gbps": fleet.arc_capacity_bps / BITS_PER_GBIT,
        }
    )


def _by_hour(day: _Day) -> pd.DataFrame:
    sessions, log = day.sessions, day.log
    from_origin = day.fleet.is_origin[day.provider]
    hour = sessions.start_ms // HOUR_MS
    hit = log.outcome == HIT

    def count(which: np.ndarray) -> np.ndarray:
        return np.bincount(hour[which], minlength=24)

    def gb(which: np.ndarray) -> np.ndarray:
        total = np.zeros(24, np.int64)
        np.add.at(total, hour[which], sessions.bytes[which])
        return total / BYTES_PER_GB

    everything = np.ones(len(sessions), bool)
    columns = {
        "hour": np.arange(24),
        "sessions": count(everything),
        "hits": count(hit),
        "gb": gb(everything),
        "hit_gb": gb(hit),
        "origin_gb": gb(from_origin),
    }
    return pd.DataFrame(columns | {name: count(log.outcome == OUTCOMES.index(name)) for name in MISSES})


def _by_site(day: _Day) -> pd.DataFrame:
    fleet, sessions, log, ledger, fills = day.fleet, day.sessions, day.log, day.ledger, day.fills
    site, provider, pulled, ran = day.site, day.provider, day.pulled, day.ran
    hit = log.outcome == HIT
    end_ms = sessions.start_ms + sessions.duration_ms
    peak = peak_bps(
        np.concatenate([site, provider[pulled], fills.source_site(fleet)[ran]]),
        fleet.sites,
        np.concatenate([sessions.start_ms, sessions.start_ms[pulled], fills.start_ms[ran]]),
        np.concatenate([end_ms, end_ms[pulled], fills.end_ms[ran]]),
        np.concatenate([sessions.rate_bps, sessions.rate_bps[pulled], fills.rate_bps()[ran]]),
    )

    def gb(where: np.ndarray, bytes_: np.ndarray) -> np.ndarray:
        return _sum_by(where, bytes_, fleet.sites) / BYTES_PER_GB

    return pd.DataFrame(
        {
            "site": np.arange(fleet.sites),
            "sessions": np.bincount(site, minlength=fleet.sites),
            "gb": ledger.delivered / BYTES_PER_GB,
            "hit_sessions": np.bincount(site[hit], minlength=fleet.sites),
            "hit_gb": gb(site[hit], sessions.bytes[hit]),
            "pulled_sessions": np.bincount(site[pulled], minlength=fleet.sites),
            "fetched_gb": gb(site[pulled], log.fetched_bytes[pulled]),
            "sourced_gb": gb(provider[pulled], sessions.bytes[pulled]),
            "filled_gb": gb(fills.target_site(fleet)[ran], fills.bytes[ran]),
            "peak_gbps": peak / BITS_PER_GBIT,
            "throughput_gbps": np.where(fleet.is_origin, np.inf, fleet.site_throughput_bps / BITS_PER_GBIT),
        }
    )


def _figures(day: _Day, by_arc: pd.DataFrame) -> dict[str, Any]:
    fleet, sessions, log, ledger, fills = day.fleet, day.sessions, day.log, day.ledger, day.fills
    requested = int(sessions.bytes.sum())
    outcomes = np.bincount(log.outcome, minlength=len(OUTCOMES)).tolist()
    hit_bytes = int(sessions.bytes[log.outcome == HIT].sum())
    origin_bytes = int(ledger.provided[fleet.is_origin].sum())
    carried = ledger.serving + ledger.fetching + ledger.filling
    steered_cost = fleet.candidate_cost_per_gb[sessions.region, log.candidate] * sessions.bytes
    return {
        "sessions": len(sessions),
        "requested_gb": requested / BYTES_PER_GB,
        "request_hit_ratio": _ratio(outcomes[HIT], len(sessions)),
        "byte_hit_ratio": _ratio(hit_bytes, requested),
        "edge_offload": _ratio(requested - origin_bytes, requested),
        "misses": dict(zip(MISSES, outcomes[1:], strict=True)),
        "origin_gb": origin_bytes / BYTES_PER_GB,
        "backbone_gb": int(carried.sum()) / BYTES_PER_GB,
        "backbone_serving_gb": int(ledger.serving.sum()) / BYTES_PER_GB,
        "backbone_fetch_gb": int(ledger.fetching.sum()) / BYTES_PER_GB,
        "backbone_fill_gb": int(ledger.filling.sum()) / BYTES_PER_GB,
        "backbone_gb_km": float(carried @ fleet.arc_length_km) / BYTES_PER_GB,
        "backbone_cost": float(carried @ fleet.arc_cost_per_gb) / BYTES_PER_GB,
        "serving_cost": (float(steered_cost.sum()) + float(ledger.fetching @ fleet.arc_cost_per_gb)) / BYTES_PER_GB,
        "fetched_gb": int(log.fetched_bytes.sum()) / BYTES_PER_GB,
        "fill_gb": int(fills.bytes[ledger.fill_ran].sum()) / BYTES_PER_GB,
        "peak_link_gbps": float(by_arc["peak_gbps"].max()) if len(by_arc) else 0.0,
        "p95_link_gbps": float(by_arc["p95_gbps"].max()) if len(by_arc) else 0.0,
    }


def _sum_by(where: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    total = np.zeros(size, np.int64)
    np.add.at(total, where, values)
    return total


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
