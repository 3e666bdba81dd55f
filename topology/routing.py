"""Shortest paths over the backbone: what a GB costs from each site to each region, over which links, and the steering order.

A link has two arcs: ``2 * link`` runs from its source to its target, ``2 * link + 1`` the other way. All trees are computed at once by
SciPy's sparse Dijkstra; paths are then traced for all pairs together, one hop of every path at a time.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from topology.errors import InputError, Problem
from topology.network import Network
from topology.tables import index_of

DEFAULT_CANDIDATES = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Routes:
    """How regions are served.

    Parameters
    ----------
    site
        (R, K) int32: the sites that may serve a region, best first, padded with -1.
    cost_per_gb
        (R, K) float: what one GB costs on the way, padded with infinity.
    """

    site: np.ndarray
    cost_per_gb: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paths:
    """Arcs of many paths, one after the other: those of path p are ``arcs[start[p]:start[p + 1]]``, in the order of travel."""

    start: np.ndarray
    arcs: np.ndarray

    def of(self, path: int) -> np.ndarray:
        """The arcs of one path."""
        return self.arcs[self.start[path] : self.start[path + 1]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteTrees:
    """Shortest-path trees from every site over ``links.cost_per_gb``.

    Parameters
    ----------
    cost_per_gb
        (S, N) float: from each site to each node; infinite where there is no path.
    before
        (S, N) int32: the node before a node on the way from the site, negative at the site and where there is no path.
    arc_keys, arc_ids
        The cheapest arc of every joined pair of nodes; ``arc_keys`` is ``node * N + next``, sorted.
    """

    cost_per_gb: np.ndarray
    before: np.ndarray
    arc_keys: np.ndarray
    arc_ids: np.ndarray

    def paths(self, sites: np.ndarray, nodes: np.ndarray) -> Paths:
        """Trace the path from ``sites[p]`` to ``nodes[p]`` for every p at once; an unreachable pair gets an empty path."""
        count, width = len(sites), self.before.shape[1]
        at = np.asarray(nodes, np.int64).copy()
        hops: list[tuple[np.ndarray, np.ndarray]] = []
        alive = np.arange(count)
        while len(alive):
            previous = self.before[sites[alive], at[alive]].astype(np.int64)
            alive, previous = alive[previous >= 0], previous[previous >= 0]
            keys = previous * width + at[alive]
            hops.append((alive, self.arc_ids[np.searchsorted(self.arc_keys, keys)]))
            at[alive] = previous
        length = np.zeros(count, np.int64)
        for who, _ in hops:
            length[who] += 1
        start = np.concatenate([[0], np.cumsum(length)])
        arcs = np.empty(int(start[-1]), np.int32)
        fill = start[1:].copy()
        for who, arc in hops:  # traced backwards, so written from the end
            fill[who] -= 1
            arcs[fill[who]] = arc
        return Paths(start=start, arcs=arcs)


def site_trees(network: Network) -> SiteTrees:
    """Compute the shortest-path tree of every site; of parallel links the cheapest serves, of equal ones the first."""
    size = len(network.nodes)
    source, target = network.link_ends.T.astype(np.int64)
    cost = network.links["cost_per_gb"].to_numpy(float)
    arc = np.arange(2 * len(cost))
    tails, heads = (
        np.where(arc % 2 == 0, source[arc // 2], target[arc // 2]),
        np.where(arc % 2 == 0, target[arc // 2], source[arc // 2]),
    )
    keys = tails * size + heads
    order = np.lexsort((arc, cost[arc // 2], keys))
    first = order[np.concatenate([[True], keys[order][1:] != keys[order][:-1]])] if len(order) else order
    matrix = csr_array((cost[first // 2], (tails[first], heads[first])), shape=(size, size))
    roots, tree_of = np.unique(network.site_node, return_inverse=True)
    distance, before = dijkstra(matrix, indices=roots, return_predecessors=True)
    return SiteTrees(
        cost_per_gb=distance[tree_of],
        before=before[tree_of].astype(np.int32),
        arc_keys=keys[first],
        arc_ids=first.astype(np.int32),
    )


def steering_routes(
    network: Network, trees: SiteTrees | None = None, *, candidates: int = DEFAULT_CANDIDATES
) -> Routes:
    """The sites that serve each region, best first.

    The steering table decides where there is one. Otherwise a region gets the ``candidates`` cheapest edge sites by shortest path
    (ties: the site named first in the table) and then its cheapest origin.

    Parameters
    ----------
    trees
        As :func:`site_trees` gives them; only needed without a steering table, and computed if absent.
    candidates
        K, the number of edge sites a region knows.

    Raises
    ------
    InputError
        There is neither a steering table nor an origin.
    """
    regions = len(network.regions)
    if network.steering is None:
        return _nearest_sites(network, site_trees(network) if trees is None else trees, candidates)
    table = network.steering
    region, site = index_of(network.region_ids, table["region"]), index_of(network.site_ids, table["site"])
    order = np.lexsort((table["rank"].to_numpy(), region))
    region, site = region[order], site[order]
    count = np.bincount(region, minlength=regions)
    place = np.arange(len(region)) - np.repeat(np.cumsum(count) - count, count)
    width = int(count.max(initial=0))
    sites, costs = np.full((regions, width), -1, np.int32), np.full((regions, width), np.inf)
    sites[region, place], costs[region, place] = site, table["cost_per_gb"].to_numpy(float)[order]
    return Routes(site=sites, cost_per_gb=costs)


def _nearest_sites(network: Network, trees: SiteTrees, candidates: int) -> Routes:
    cost = trees.cost_per_gb[:, network.region_node].T  # (R, S)
    edge, origins = np.flatnonzero(~network.is_origin), np.flatnonzero(network.is_origin)
    if not len(origins):
        message, mend = "the network has no origin", "add a site of kind 'origin'"
        raise InputError(Problem(table="sites", column="kind", message=message, mend=mend))
    near = edge[np.argsort(cost[:, edge], axis=1, kind="stable")[:, :candidates]]
    last = origins[np.argmin(cost[:, origins], axis=1)][:, None]
    sites = np.concatenate([near, last], axis=1).astype(np.int32)
    costs = np.take_along_axis(cost, sites.astype(np.int64), axis=1)
    sites[np.isinf(costs)] = -1
    padding_last = np.argsort(sites < 0, axis=1, kind="stable")
    return Routes(
        site=np.take_along_axis(sites, padding_last, axis=1),
        cost_per_gb=np.take_along_axis(costs, padding_last, axis=1),
    )


def region_paths(network: Network, trees: SiteTrees, routes: Routes) -> Paths:
    """The arcs from every candidate site to its region: path ``r * K + k``; empty where a candidate is padding."""
    regions, width = routes.site.shape
    sites = routes.site.ravel()
    nodes = np.repeat(network.region_node, width)
    paths = trees.paths(np.maximum(sites, 0), np.where(sites >= 0, nodes, network.site_node[np.maximum(sites, 0)]))
    assert len(paths.start) == regions * width + 1
    return paths


def fill_costs(network: Network, trees: SiteTrees) -> tuple[np.ndarray, np.ndarray]:
    """What one GB costs from the cheapest origin to each site, and which origin that is: (S,) float and (S,) int."""
    origins = np.flatnonzero(network.is_origin)
    cost = trees.cost_per_gb[origins][:, network.site_node]
    return cost.min(axis=0), origins[cost.argmin(axis=0)]
