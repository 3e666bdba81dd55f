"""The fewest misses that the reactive cache of every site could have, had it known what would be asked of it: Belady's rule, site by site.

Only what the region's best-ranked site holds is looked at: who serves a miss, throughput and failures are left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sim.belady import belady_missed, next_requests
from sim.fleet import BYTES_PER_GB, Fleet
from sim.scheme import among
from sim.sessions import Sessions
from topology.placement import Placement


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OfflineResult:
    """What Belady's rule makes of the sessions.

    Parameters
    ----------
    sessions, requested_gb
        All there are, those of regions whose best-ranked site is an origin included: they are hits.
    by_site
        site (index, edge sites only), cache_gb, sessions, gb (of regions that rank it first), planned_sessions (of files its plan holds: hits), misses,
        missed_gb, bound: whether all files asked of its cache have one size.
    """

    sessions: int
    requested_gb: float
    by_site: pd.DataFrame

    def totals(self) -> dict[str, Any]:
        """Plain numbers; ``docs/simulation.md`` says what each means. Ratios of nothing are 0."""
        missed, missed_gb = int(self.by_site["misses"].sum()), float(self.by_site["missed_gb"].sum())
        return {
            "sessions": self.sessions,
            "requested_gb": self.requested_gb,
            "request_hit_ratio": 1 - missed / self.sessions if self.sessions else 0.0,
            "byte_hit_ratio": 1 - missed_gb / self.requested_gb if self.requested_gb else 0.0,
            "misses": {"content": missed},
            "missed_gb": missed_gb,
            "bound": bool(self.by_site["bound"].all()),
        }


def fewest_misses(
    fleet: Fleet,
    sessions: Sessions,
    cache_bytes: np.ndarray,
    *,
    planned: Placement | None = None,
    warm_up: Sessions | None = None,
) -> OfflineResult:
    """Show each edge site's cache, in order, the sessions of the regions that rank it first and whose file its plan does not hold.

    No policy and no rule of admission misses fewer of them if all these files have one size: a missed file is kept only if it is asked for again before one that
    would go. At midnight the cache holds what serves it best among all that it was asked for the day before.

    Parameters
    ----------
    cache_bytes
        (S,) int: the room of each site's cache.
    planned
        Copies that are there all day.
    warm_up
        The sessions of the day before; without them caches start empty.
    """
    site = fleet.candidate[fleet.rows(sessions.region, sessions.start_ms), 0].astype(np.int64)
    held = np.zeros(0, np.int64)
    if planned is not None:
        held = np.unique(fleet.appliance_site[planned.appliance].astype(np.int64) * fleet.files + planned.file)
    in_plan = among(site * fleet.files + sessions.file, held)
    asked = np.flatnonzero(~fleet.is_origin[site] & ~in_plan)
    asked = asked[np.argsort(site[asked], kind="stable")]
    known = np.zeros(0, np.int64)
    if warm_up is not None:
        known = np.unique(fleet.candidate[warm_up.region, 0].astype(np.int64) * fleet.files + warm_up.file)
        known = known[~among(known, held)]
    edges = np.arange(fleet.sites + 1)
    now, before = np.searchsorted(site[asked], edges), np.searchsorted(known, edges * fleet.files)
    missed, bound = np.zeros(len(sessions), bool), np.ones(fleet.sites, bool)
    for s in np.flatnonzero(~fleet.is_origin):
        rows, preset = asked[now[s] : now[s + 1]], known[before[s] : before[s + 1]] % fleet.files
        names, file = np.unique(np.concatenate([preset, sessions.file[rows]]), return_inverse=True)
        size, file = fleet.file_bytes[names], file.astype(np.int32)
        bound[s] = len(np.unique(size)) <= 1
        absent = belady_missed(file, size[file], next_requests(file, len(names)), len(names), int(cache_bytes[s]), True)
        missed[rows] = absent[len(preset) :]

    def by_site(weights: np.ndarray) -> np.ndarray:
        return np.bincount(site, weights, fleet.sites)

    frame = pd.DataFrame(
        {
            "site": np.arange(fleet.sites),
            "cache_gb": cache_bytes / BYTES_PER_GB,
            "sessions": np.bincount(site, minlength=fleet.sites),
            "gb": by_site(sessions.bytes) / BYTES_PER_GB,
            "planned_sessions": by_site(in_plan).astype(np.int64),
            "misses": by_site(missed).astype(np.int64),
            "missed_gb": by_site(sessions.bytes * missed) / BYTES_PER_GB,
            "bound": bound,
        }
    )
    return OfflineResult(
        sessions=len(sessions),
        requested_gb=float(sessions.bytes.sum()) / BYTES_PER_GB,
        by_site=frame[~fleet.is_origin].reset_index(drop=True),
    )
