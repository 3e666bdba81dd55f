"""The network as the simulator sees it: integers throughout (bytes, bit/s), candidates of every region, arcs of every path.

Costs and lengths stay float: they only weigh what the integers count.
"""

from dataclasses import dataclass

import numpy as np

from demand.catalogue import Catalogue
from sim.clock import TIME_SPAN
from topology.errors import InputError, Problem
from topology.network import Network
from topology.routing import Paths, Routes, SiteTrees

BYTES_PER_GB = 1_000_000_000
BITS_PER_GBIT = 1_000_000_000
ENOUGH = 2.0**56
"""Bit/s or bytes of one appliance or link that stand for any number above, so that sums over a site stay within 64 bits."""
EVER = -(2**62)
"""A time before all others."""
ROUND_TRIP_US_PER_KM = 10
"""Light in fibre takes 5 microseconds a kilometre, there and back."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fleet:
    """Sites, appliances and paths in whole bytes and bits.

    Axis letters: R regions, V rows of steering, K candidates, S sites, A appliances, F files, L links (arc ``2 * l`` runs source to target, ``2 * l + 1`` back).

    Parameters
    ----------
    candidate
        (V, K) int32: sites that may serve a region, best first, padded with -1. Row r < R is what region r begins with; rows of changes follow.
    candidate_cost_per_gb
        (V, K) float: what one GB costs from that site; infinite where padded.
    row_region, row_from_ms
        (V,) int64: the region of each row and from when on it holds, :data:`EVER` for the first R.
    region_paths
        Arcs from candidate to region: path ``v * K + k``.
    trees, site_node, region_node
        Shortest-path trees and the node of every site, (S,), and region, (R,) int32: paths are traced from them on demand.
    arc_head
        (2L,) int32: the node where each arc ends.
    arc_capacity_bps
        (2L,) int64.
    arc_length_km, arc_cost_per_gb
        (2L,) float.
    appliance_site
        (A,) int32.
    appliance_throughput_bps, appliance_storage_bytes
        (A,) int64.
    site_storage_bytes, site_throughput_bps
        (S,) int64: sums over the appliances; 0 at origins, which are unlimited and never asked.
    is_origin
        (S,) bool: origins hold every file and carry any load.
    file_bytes
        (F,) int64.
    """

    candidate: np.ndarray
    candidate_cost_per_gb: np.ndarray
    row_region: np.ndarray
    row_from_ms: np.ndarray
    region_paths: Paths
    trees: SiteTrees
    site_node: np.ndarray
    region_node: np.ndarray
    arc_head: np.ndarray
    arc_capacity_bps: np.ndarray
    arc_length_km: np.ndarray
    arc_cost_per_gb: np.ndarray
    appliance_site: np.ndarray
    appliance_throughput_bps: np.ndarray
    appliance_storage_bytes: np.ndarray
    site_storage_bytes: np.ndarray
    site_throughput_bps: np.ndarray
    is_origin: np.ndarray
    file_bytes: np.ndarray

    @property
    def regions(self) -> int:
        """R."""
        return len(self.region_node)

    @property
    def sites(self) -> int:
        """S."""
        return len(self.is_origin)

    @property
    def appliances(self) -> int:
        """A."""
        return len(self.appliance_site)

    @property
    def files(self) -> int:
        """F."""
        return len(self.file_bytes)

    @property
    def arcs(self) -> int:
        """2L."""
        return len(self.arc_capacity_bps)

    def rows(self, region: np.ndarray, start_ms: np.ndarray) -> np.ndarray:
        """(N,) int64: the row of ``candidate`` that a region has at a time; a change at that time holds already."""
        region = np.asarray(region, np.int64)
        if len(self.candidate) == self.regions:
            return region
        keys = self.row_region * TIME_SPAN + np.maximum(self.row_from_ms, 0)
        order = np.lexsort((self.row_from_ms, self.row_region))
        return np.asarray(order[np.searchsorted(keys[order], region * TIME_SPAN + start_ms, side="right") - 1])

    def round_trip_us(self, paths: Paths) -> np.ndarray:
        """(P,) int64: propagation there and back along each path, in microseconds, whole for every arc."""
        arc_us = whole_units(self.arc_length_km, ROUND_TRIP_US_PER_KM)
        return np.diff(np.concatenate([[0], np.cumsum(arc_us[paths.arcs])])[paths.start])

    def site_paths(self, sources: np.ndarray, targets: np.ndarray) -> Paths:
        """The arcs from ``sources[p]`` to ``targets[p]``, sites both, for every p; empty where they share a node."""
        return self.trees.paths(np.asarray(sources, np.int64), self.site_node[np.asarray(targets, np.int64)])


def build_fleet(network: Network, catalogue: Catalogue, trees: SiteTrees, routes: Routes, paths: Paths) -> Fleet:
    """Round a network and a catalogue to whole bytes and bits.

    Parameters
    ----------
    trees, routes, paths
        As :func:`topology.routing.site_trees`, :func:`~topology.routing.steering_routes` and :func:`~topology.routing.region_paths` give them.

    Raises
    ------
    InputError
        If a region has no origin among its candidates (some of its sessions could find no server), or one that no path of links leads from.
    """
    _check_candidates(network, trees, routes)
    links, appliances = network.links, network.appliances
    site_of, sites = network.appliance_site, len(network.sites)
    throughput = whole_units(appliances["throughput_gbps"].to_numpy(float), BITS_PER_GBIT)
    storage = whole_units(appliances["storage_gb"].to_numpy(float), BYTES_PER_GB)
    return Fleet(
        candidate=routes.site,
        candidate_cost_per_gb=routes.cost_per_gb,
        row_region=np.arange(len(network.regions)),
        row_from_ms=np.full(len(network.regions), EVER),
        region_paths=paths,
        trees=trees,
        site_node=network.site_node,
        region_node=network.region_node,
        arc_head=network.link_ends[:, ::-1].ravel(),
        arc_capacity_bps=whole_units(np.repeat(links["capacity_gbps"].to_numpy(float), 2), BITS_PER_GBIT),
        arc_length_km=np.repeat(links["length_km"].to_numpy(float), 2),
        arc_cost_per_gb=np.repeat(links["cost_per_gb"].to_numpy(float), 2),
        appliance_site=site_of,
        appliance_throughput_bps=throughput,
        appliance_storage_bytes=storage,
        site_storage_bytes=_sum_by_site(storage, site_of, network.is_origin, sites),
        site_throughput_bps=_sum_by_site(throughput, site_of, network.is_origin, sites),
        is_origin=network.is_origin,
        file_bytes=whole_units(catalogue.size_gb, BYTES_PER_GB),
    )


def _check_candidates(network: Network, trees: SiteTrees, routes: Routes) -> None:
    cost = trees.cost_per_gb[np.maximum(routes.site, 0), network.region_node[:, None]]
    cut_off = np.argwhere((routes.site >= 0) & np.isinf(cost))
    served = (network.is_origin[np.maximum(routes.site, 0)] & (routes.site >= 0)).any(axis=1)
    problems = [
        Problem(
            table="steering",
            column="site",
            value=str(network.region_ids[region]),
            message=f"region {network.region_ids[region]!r} has no origin among its sites",
            mend="add a row with an origin site as its last rank",
        )
        for region in np.flatnonzero(~served)[:20]
    ]
    problems += [
        Problem(
            table="steering",
            column="site",
            value=str(network.site_ids[routes.site[region, k]]),
            message=f"no path of links leads from the site to region {network.region_ids[region]!r}",
            mend="add the missing link, or take the site out of the region's steering",
        )
        for region, k in cut_off[:20]
    ]
    if problems:
        raise InputError(problems)


def whole_units(values: np.ndarray, unit: int) -> np.ndarray:
    """So many units each, as whole numbers; what stands for no limit at all becomes :data:`ENOUGH`."""
    whole: np.ndarray = np.rint(np.minimum(values, ENOUGH / unit) * unit).astype(np.int64)
    return whole


def _sum_by_site(values: np.ndarray, site_of: np.ndarray, is_origin: np.ndarray, sites: int) -> np.ndarray:
    sums = np.zeros(sites, np.int64)
    np.add.at(sums, site_of, values)
    sums[is_origin] = 0
    return sums
