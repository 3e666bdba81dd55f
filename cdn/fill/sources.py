"""Where a file can come from tonight: who holds it, who is free to feed, and in what order they are asked.

Ranked as Netflix publishes it ("Netflix and Fill", Costello and Livengood, 2016): a peer, that is another appliance of the same site; then a tier
fill, from the cheapest other edge site that held the file last night and keeps it; then an origin. Everything is whole bytes, bit/s and ms.
"""

import heapq
from dataclasses import dataclass

import numpy as np

from cdn.fill.difference import Difference
from demand.catalogue import Catalogue
from sim.fleet import BITS_PER_GBIT, BYTES_PER_GB, whole_units
from topology.network import Network
from topology.placement import Placement
from topology.routing import SiteTrees

PEER, TIER, ORIGIN = 0, 1, 2
KINDS = ("peer", "tier", "origin")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRules:
    """How sources are chosen.

    Parameters
    ----------
    source_gbps_factor
        Rate at which an appliance may feed others, over its own ``fill_gbps``, > 0.
    tier_sources
        Other edge sites that are asked before the origin, >= 0.
    tier_cost_factor
        A tier source may cost at most this times the path from the cheapest origin, >= 0.
    min_rate_share
        A source that cannot give this share of the taker's fill rate counts as busy, 0..1.
    """

    source_gbps_factor: float = 1.0
    tier_sources: int = 4
    tier_cost_factor: float = 1.0
    min_rate_share: float = 0.3


class Feeders:
    """What every appliance can still give: its feeding rate less the streams that run."""

    def __init__(self, feed_bps: np.ndarray) -> None:
        self._free: list[int] = feed_bps.tolist()
        self._streams: list[list[tuple[int, int]]] = [[] for _ in self._free]

    def free_bps(self, appliance: int, now: int) -> int:
        """The rate that is left at a moment; moments never go backwards."""
        streams = self._streams[appliance]
        while streams and streams[0][0] <= now:
            self._free[appliance] += heapq.heappop(streams)[1]
        return self._free[appliance]

    def next_end(self, appliance: int) -> int | None:
        """When the next of its streams ends, or None if it feeds nobody."""
        return self._streams[appliance][0][0] if self._streams[appliance] else None

    def feed(self, appliance: int, end: int, bps: int) -> None:
        """Begin a stream."""
        self._free[appliance] -= bps
        heapq.heappush(self._streams[appliance], (end, bps))


def site_keys(network: Network, copies: Placement, files: int) -> np.ndarray:
    """(P,) int64: ``site * F + file`` of each copy."""
    return np.asarray(network.appliance_site[copies.appliance].astype(np.int64) * files + copies.file)


def handed_over(network: Network, change: Difference, files: int) -> np.ndarray:
    """(D,) bool: which dropped copies another appliance of the site takes on, so that they are worth keeping until it has them."""
    dropped = site_keys(network, change.dropped, files)
    wanted = np.isin(dropped, site_keys(network, change.added, files))
    return np.asarray(wanted & ~network.is_origin[dropped // files])


def peer_copies(network: Network, copies: Placement, added: np.ndarray, files: int) -> dict[int, list[int]]:
    """For the added ``site * F + file``: the appliances of that site among ``copies``, in table order."""
    keys = site_keys(network, copies, files)
    wanted = np.flatnonzero(np.isin(keys, added))
    peers: dict[int, list[int]] = {}
    for key, a in zip(keys[wanted].tolist(), copies.appliance[wanted].tolist(), strict=True):
        peers.setdefault(key, []).append(a)
    return peers


def tier_copies(
    network: Network, trees: SiteTrees, kept: Placement, added: np.ndarray, files: int, rules: SourceRules
) -> dict[int, list[int]]:
    """For the added ``site * F + file``: appliances of other edge sites that hold the file, cheapest path first.

    Of each file the ``tier_sources`` cheapest sites are listed, as far as their path costs at most ``tier_cost_factor`` times the origin's. Paths
    of equal cost keep the order of the tables. The work is sites x added copies, in NumPy.
    """
    cost = trees.cost_per_gb[:, network.site_node]  # (from S, to S)
    limit = cost[network.is_origin].min(axis=0) * rules.tier_cost_factor
    kept = _outside_origins(network, kept)
    keys = site_keys(network, kept, files)
    order = np.argsort(keys, kind="stable")
    keys, appliances = keys[order], kept.appliance[order].tolist()
    holds = np.zeros((len(network.sites), files), bool)
    holds.reshape(-1)[keys] = True
    tiers: dict[int, list[int]] = {}
    wanted = np.unique(added)
    bounds = np.searchsorted(wanted, np.arange(len(network.sites) + 1) * files)
    for s in np.flatnonzero(np.diff(bounds)).tolist():
        own = wanted[bounds[s] : bounds[s + 1]]
        near = np.argsort(cost[:, s], kind="stable")
        near = near[(near != s) & ~network.is_origin[near] & (cost[near, s] <= limit[s])]
        found = holds[np.ix_(near, own - s * files)]
        found &= np.cumsum(found, axis=0) <= rules.tier_sources
        which, rank = np.nonzero(found.T)
        pairs = near[rank] * np.int64(files) + (own[which] - s * files)
        first, last = np.searchsorted(keys, pairs), np.searchsorted(keys, pairs, side="right")
        for key, low, high in zip(own[which].tolist(), first.tolist(), last.tolist(), strict=True):
            tiers.setdefault(key, []).extend(appliances[low:high])
    return tiers


def cheapest_origins(network: Network, trees: SiteTrees) -> list[int]:
    """For each site, the origin with the cheapest path to it."""
    origins = np.flatnonzero(network.is_origin)
    chosen: list[int] = origins[np.argmin(trees.cost_per_gb[origins][:, network.site_node], axis=0)].tolist()
    return chosen


def feed_rates(network: Network, rules: SourceRules) -> np.ndarray:
    """(A,) int64 bit/s: what each appliance may feed others with, all streams together."""
    return whole_units(network.appliances["fill_gbps"].to_numpy(float) * rules.source_gbps_factor, BITS_PER_GBIT)


def file_bytes(catalogue: Catalogue) -> np.ndarray:
    """(F,) int64, the simulator's rounding."""
    return whole_units(catalogue.size_gb, BYTES_PER_GB)


def _outside_origins(network: Network, copies: Placement) -> Placement:
    edge = ~network.is_origin[network.appliance_site[copies.appliance]]
    return Placement(appliance=copies.appliance[edge], file=copies.file[edge])
