"""What a simulation measured: the contract's figures, and tables by hour, site and arc."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import pandas as pd

from sim.fleet import BITS_PER_GBIT, BYTES_PER_GB, Fleet
from sim.log import HIT, MISSES, Ledger, SessionLog
from sim.scheme import Fills
from sim.series import SLOT_MS
from sim.sessions import Sessions
from sim.tally import DELIVERED, HOUR_MS, Tally


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulationResult:
    """What one scheme did with the sessions. GB are 10^9 bytes; traffic over links counts once for every link it crosses.

    Parameters
    ----------
    label
        The scheme's.
    sessions
        N.
    figures
        What :meth:`totals` hands out.
    by_hour
        hour (of the session's start, UTC, counted from the first midnight), sessions, hits, gb, hit_gb, origin_gb, content, not_yet_filled, health;
        24 rows a day.
    by_site
        site (index), sessions, gb, hit_sessions, hit_gb (of those delivered there), pulled_sessions, fetched_gb (pulled into its cache), sourced_gb
        (session GB it had for the pulls of others), filled_gb (brought by fills), peak_gbps (highest load at any moment), throughput_gbps.
    by_site_hour
        hour, site; of the sessions it delivered: sessions, gb, mean_kbps, startup_ms_mean, pulled_sessions; of those it ranks best for: hits, hit_gb,
        content, not_yet_filled, health; and of fills that end in the hour: fills_due, fills_finished, filled_gb. Rows of nothing are left out. A
        rehearsal adds rebuffer_ratio (:func:`with_stalls`).
    by_arc
        arc, serving_gb, fetch_gb, fill_gb, gb, peak_gbps, p95_gbps, capacity_gbps.
    arc_gbps
        (2L, 288 a day) float: average load of each arc in every five minutes.
    tally, ledger, fills
        The whole numbers the figures were made from.
    log
        Who served each session, where the engine was asked to keep it.
    """

    label: str
    sessions: int
    figures: dict[str, Any]
    by_hour: pd.DataFrame
    by_site: pd.DataFrame
    by_site_hour: pd.DataFrame
    by_arc: pd.DataFrame
    arc_gbps: np.ndarray
    tally: Tally
    ledger: Ledger
    fills: Fills
    log: SessionLog | None = None

    def totals(self) -> dict[str, Any]:
        """The contract's figures, plain numbers; ``docs/simulation.md`` says what each means. Ratios of nothing are 0."""
        return dict(self.figures)


def measure(
    fleet: Fleet, label: str, tally: Tally, ledger: Ledger, fills: Fills, log: SessionLog | None = None
) -> SimulationResult:
    """Work out every figure of a finished simulation from what it counted."""
    gbps = tally.arc_load / SLOT_MS / BITS_PER_GBIT
    by_arc = _by_arc(fleet, ledger, gbps)
    return SimulationResult(
        label=label,
        sessions=int(tally.hour_sessions.sum()),
        figures=_figures(fleet, tally, ledger, fills, by_arc),
        by_hour=_by_hour(tally),
        by_site=_by_site(fleet, tally, ledger, fills),
        by_site_hour=_by_site_hour(fleet, tally, ledger, fills),
        by_arc=by_arc,
        arc_gbps=gbps,
        tally=tally,
        ledger=ledger,
        fills=fills,
        log=log,
    )


def with_stalls(
    result: SimulationResult, fleet: Fleet, sessions: Sessions, log: SessionLog, stall_ms: np.ndarray
) -> SimulationResult:
    """The same result, its table by site and hour with ``rebuffer_ratio``: time standing still over playing time of the sessions delivered.

    Parameters
    ----------
    stall_ms
        (N,) int64: how long each session stood still.
    """
    hours, sites = result.tally.site_hour_hit_bytes.shape
    site = fleet.candidate[fleet.rows(sessions.region, sessions.start_ms), log.candidate]
    place = sessions.start_ms // HOUR_MS * sites + site
    stood, played = (np.bincount(place, values, hours * sites) for values in (stall_ms, sessions.duration_ms))
    frame = result.by_site_hour
    at = (frame["hour"] * sites + frame["site"]).to_numpy()
    ratio = stood[at] / np.maximum(played[at], 1)
    return dataclasses.replace(result, by_site_hour=frame.assign(rebuffer_ratio=ratio))


def with_expected_stalls(result: SimulationResult, ratio: float) -> SimulationResult:
    """The same result, its table by site and hour with the one ``rebuffer_ratio`` that is expected of every session; 0 where there is none."""
    frame = result.by_site_hour
    return dataclasses.replace(
        result, by_site_hour=frame.assign(rebuffer_ratio=np.where(frame["sessions"] > 0, ratio, 0.0))
    )


def _by_arc(fleet: Fleet, ledger: Ledger, gbps: np.ndarray) -> pd.DataFrame:
    """The 95th percentile is the nearest rank among the five-minute averages: the busiest 5 % are not billed."""
    billed = -(-95 * gbps.shape[1] // 100) - 1
    return pd.DataFrame(
        {
            "arc": np.arange(fleet.arcs),
            "serving_gb": ledger.serving / BYTES_PER_GB,
            "fetch_gb": ledger.fetching / BYTES_PER_GB,
            "fill_gb": ledger.filling / BYTES_PER_GB,
            "gb": (ledger.serving + ledger.fetching + ledger.filling) / BYTES_PER_GB,
            "peak_gbps": gbps.max(axis=1),
            "p95_gbps": _ranked(gbps, billed),
            "capacity_gbps": fleet.arc_capacity_bps / BITS_PER_GBIT,
        }
    )


@nb.njit(cache=True, nogil=True)
def _ranked(rows: np.ndarray, rank: int) -> np.ndarray:
    """(N,): of each row the value that so many are not above. NumPy's own partition takes ten times as long where most are equal: zeros."""
    value = np.empty(len(rows), rows.dtype)
    for row in range(len(rows)):
        value[row] = np.partition(rows[row], rank)[rank]
    return value


def _by_hour(tally: Tally) -> pd.DataFrame:
    columns = {
        "hour": np.arange(len(tally.hour_bytes)),
        "sessions": tally.hour_sessions.sum(axis=1),
        "hits": tally.hour_sessions[:, HIT],
        "gb": tally.hour_bytes / BYTES_PER_GB,
        "hit_gb": tally.hour_hit_bytes / BYTES_PER_GB,
        "origin_gb": tally.hour_origin_bytes / BYTES_PER_GB,
    }
    return pd.DataFrame(columns | {name: tally.hour_sessions[:, o] for o, name in enumerate(MISSES, HIT + 1)})


def _by_site(fleet: Fleet, tally: Tally, ledger: Ledger, fills: Fills) -> pd.DataFrame:
    ran, there = ledger.fill_ran, fleet.candidate >= 0
    sessions, filled = np.zeros(fleet.sites, np.int64), np.zeros(fleet.sites, np.int64)
    np.add.at(sessions, fleet.candidate[there], tally.path_sessions[there])
    np.add.at(filled, fills.target_site(fleet)[ran], fills.bytes[ran])
    return pd.DataFrame(
        {
            "site": np.arange(fleet.sites),
            "sessions": sessions,
            "gb": ledger.delivered / BYTES_PER_GB,
            "hit_sessions": tally.hit_sessions,
            "hit_gb": tally.hit_bytes / BYTES_PER_GB,
            "pulled_sessions": tally.pulled_sessions,
            "fetched_gb": tally.fetched_bytes / BYTES_PER_GB,
            "sourced_gb": tally.sourced_bytes / BYTES_PER_GB,
            "filled_gb": filled / BYTES_PER_GB,
            "peak_gbps": tally.peak_bps / BITS_PER_GBIT,
            "throughput_gbps": np.where(fleet.is_origin, np.inf, fleet.site_throughput_bps / BITS_PER_GBIT),
        }
    )


def _by_site_hour(fleet: Fleet, tally: Tally, ledger: Ledger, fills: Fills) -> pd.DataFrame:
    hours, sites = tally.site_hour_hit_bytes.shape
    given = dict(zip(DELIVERED, tally.site_hour_delivered.reshape(-1, len(DELIVERED)).T, strict=True))
    asked = tally.site_hour_asked.reshape(-1, 1 + len(MISSES))
    filled = np.zeros((hours * sites, 3), np.int64)
    hour = fills.end_ms // HOUR_MS
    within = (hour >= 0) & (hour < hours)
    ran = ledger.fill_ran
    columns = np.stack([np.ones(len(fills), np.int64), ran, fills.bytes * ran], axis=1)
    np.add.at(filled, (hour * sites + fills.target_site(fleet))[within], columns[within])
    frame = pd.DataFrame(
        {
            "hour": np.repeat(np.arange(hours), sites),
            "site": np.tile(np.arange(sites), hours),
            "sessions": given["sessions"],
            "gb": given["bytes"] / BYTES_PER_GB,
            "mean_kbps": given["bytes"] * 8 / np.maximum(given["watched_ms"], 1),
            "startup_ms_mean": given["startup_us"] / 1000 / np.maximum(given["sessions"], 1),
            "pulled_sessions": given["pulled_sessions"],
            "hits": asked[:, HIT],
            "hit_gb": tally.site_hour_hit_bytes.ravel() / BYTES_PER_GB,
            **{name: asked[:, o] for o, name in enumerate(MISSES, HIT + 1)},
            "fills_due": filled[:, 0],
            "fills_finished": filled[:, 1],
            "filled_gb": filled[:, 2] / BYTES_PER_GB,
        }
    )
    something = (given["sessions"] > 0) | asked.any(axis=1) | (filled[:, 0] > 0)
    return frame[something].reset_index(drop=True)


def _figures(fleet: Fleet, tally: Tally, ledger: Ledger, fills: Fills, by_arc: pd.DataFrame) -> dict[str, Any]:
    outcomes = tally.hour_sessions.sum(axis=0).tolist()
    sessions, requested = sum(outcomes), int(tally.hour_bytes.sum())
    origin_bytes = int(ledger.provided[fleet.is_origin].sum())
    carried = ledger.serving + ledger.fetching + ledger.filling
    least = ledger.serving + ledger.watched + ledger.filling
    there = fleet.candidate >= 0
    steered_cost = float(fleet.candidate_cost_per_gb[there] @ tally.path_bytes[there])
    return {
        "sessions": sessions,
        "requested_gb": requested / BYTES_PER_GB,
        "request_hit_ratio": _ratio(outcomes[HIT], sessions),
        "byte_hit_ratio": _ratio(int(tally.hour_hit_bytes.sum()), requested),
        "edge_offload": _ratio(requested - origin_bytes, requested),
        "misses": dict(zip(MISSES, outcomes[1:], strict=True)),
        "origin_gb": origin_bytes / BYTES_PER_GB,
        "backbone_gb": int(carried.sum()) / BYTES_PER_GB,
        "backbone_serving_gb": int(ledger.serving.sum()) / BYTES_PER_GB,
        "backbone_fetch_gb": int(ledger.fetching.sum()) / BYTES_PER_GB,
        "backbone_fill_gb": int(ledger.filling.sum()) / BYTES_PER_GB,
        "backbone_gb_km": float(carried @ fleet.arc_length_km) / BYTES_PER_GB,
        "backbone_cost": float(carried @ fleet.arc_cost_per_gb) / BYTES_PER_GB,
        "backbone_gb_watched": int(least.sum()) / BYTES_PER_GB,
        "backbone_cost_watched": float(least @ fleet.arc_cost_per_gb) / BYTES_PER_GB,
        "serving_cost": (steered_cost + float(ledger.fetching @ fleet.arc_cost_per_gb)) / BYTES_PER_GB,
        "fetched_gb": int(tally.fetched_bytes.sum()) / BYTES_PER_GB,
        "fills_due": len(fills),
        "fills_finished": int(ledger.fill_ran.sum()),
        "fill_gb": int(fills.bytes[ledger.fill_ran].sum()) / BYTES_PER_GB,
        "mean_kbps": _ratio(8 * requested, int(tally.site_hour_delivered[:, :, DELIVERED.index("watched_ms")].sum())),
        "startup_ms_mean": _ratio(int(tally.startup_us[0]), 1000 * sessions),
        "startup_ms_p95": _startup_p95(tally.startup_sessions),
        "peak_link_gbps": float(by_arc["peak_gbps"].max()) if len(by_arc) else 0.0,
        "p95_link_gbps": float(by_arc["p95_gbps"].max()) if len(by_arc) else 0.0,
    }


def _startup_p95(sessions: np.ndarray) -> int:
    """Whole milliseconds that 95 % of the sessions stay within; 0 of none."""
    reached = np.cumsum(sessions)
    return int(np.searchsorted(reached, 0.95 * reached[-1]))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
