"""Sample fleets: regions, sites and appliances grown on a backbone, sized to a catalogue and a peak.

What is drawn (subscribers, storage, spare throughput) follows from the generator alone; the catalogue and the peak only scale it, so the
same seed gives the same network for any demand.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from topology.backbone import Backbone
from topology.errors import InputError, Problem
from topology.network import Network, build_network
from topology.routing import Routes, region_paths, site_trees, steering_routes
from topology.timezones import longitude_timezones

DEFAULT_STORAGE_SHARE = (0.10, 0.30)
DEFAULT_THROUGHPUT_FACTOR = (0.6, 1.8)
"""A site's throughput over the peak of the regions nearest to it: below 1 it is tight, and its neighbours or the origin must help."""

SPARE_SHARE = 0.15
"""Every site also gets this share of an average site's peak, so that one without a region near it is of use too."""

ORIGIN_SHARE = 0.5
LINK_HEADROOM = 1.5
"""Links of unknown capacity are sized for this many times the peak load when every region draws half of its peak from its nearest site
and half from its origin."""

PORT_GBPS = (10.0, 25.0, 40.0, 100.0, 200.0, 400.0)
"""Speeds a sized link may have; above the last, multiples of it."""

MEDIAN_SUBSCRIBERS = 500_000
SUBSCRIBER_SPREAD = 0.8
"""Standard deviation of the logarithm of a region's subscribers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplianceModel:
    """A kind of edge server in a sample fleet.

    Parameters
    ----------
    name
        Its name in the table.
    refill_share
        The share of its storage that it can take in during one fill window.
    """

    name: str
    refill_share: float


STORAGE_MODEL = ApplianceModel(name="storage", refill_share=0.05)
FLASH_MODEL = ApplianceModel(name="flash", refill_share=0.10)
"""Netflix publishes windows of 12 hours from 02:00 local time and at most 1.2 Gbit/s for a storage appliance: 6.5 TB of about 200 TB,
3 % of it a night (openconnect.zendesk.com, article 360035618071). A sample's catalogue is far smaller, so the rate scales with the
storage: 5 % of a storage appliance and 10 % of a flash one, whose files change faster."""

FILL_START = "02:00"
FILL_HOURS = 12

_FLASH_COUNT = {"embedded": 1, "ix": 2}
_FLASH_STORAGE = 0.3
_FLASH_THROUGHPUT = 0.7
"""Where a site has flash appliances, they share this part of its storage and of its throughput."""


def grow_fleet(
    backbone: Backbone,
    rng: np.random.Generator,
    *,
    catalogue_gb: float,
    peak_gbps: float,
    largest_gb: float = 0.0,
    sites: int = 10,
    regions: int | pd.DataFrame | None = None,
    embedded_share: float = 0.7,
    storage_share: tuple[float, float] = DEFAULT_STORAGE_SHARE,
    throughput_factor: tuple[float, float] = DEFAULT_THROUGHPUT_FACTOR,
    origins: int = 1,
    timezones: Mapping[str, str] | None = None,
    subscribers: Mapping[str, float] | None = None,
) -> dict[str, pd.DataFrame]:
    """Grow a fleet on a backbone.

    Edge sites stand at the nodes with most links (ties: the smaller mean distance to all others, then the order of the nodes), those
    of the origins last; the best of them at exchanges (``ix``), the others embedded. Origins stand where the summed distance of all nodes to the nearest origin is
    least, chosen one after the other. A site has one storage appliance; sites of more than the median peak have flash appliances too.

    Parameters
    ----------
    backbone
        Where the fleet grows.
    rng
        Draws subscribers, storage and throughput.
    catalogue_gb
        Size of all files, GB, > 0.
    peak_gbps
        Demand of all regions together in the busiest hour, Gbit/s, > 0; split over the regions by their subscribers.
    largest_gb
        Size of the largest file, GB: where no appliance could hold it, the storage of all is scaled up until one can.
    sites
        Number of edge sites, 1 to the number of nodes.
    regions
        How many nodes become regions (the most populous where ``subscribers`` are given, else the best connected), None for all; or
        the regions themselves: a frame with region, node, subscribers and optionally timezone.
    embedded_share
        Share of the edge sites that are embedded, 0 to 1.
    storage_share
        Bounds of a site's storage over ``catalogue_gb``; drawn uniformly between them, before it is scaled for ``largest_gb``.
    throughput_factor
        Bounds of a site's throughput over the peak of the regions nearest to it; drawn log-uniformly between them.
    origins
        Number of origin sites, 1 to the number of nodes.
    timezones
        IANA name of nodes' time zones (:func:`topology.timezones.nearest_timezones` gives them); elsewhere the longitude decides.
    subscribers
        People at nodes (:func:`topology.timezones.nearby_population` gives them); elsewhere drawn lognormally.

    Returns
    -------
    The tables nodes, links, regions, sites and appliances of a network folder.

    Raises
    ------
    InputError
        If a number is out of its range, or ``regions`` names an unknown node.
    """
    size = len(backbone.nodes)
    most_regions = size if isinstance(regions, int) else np.inf
    wanted = 1 if regions is None else regions if isinstance(regions, int) else len(regions)
    _require("sites", sites, 1, size)
    _require("regions", wanted, 1, most_regions)
    _require("origins", origins, 1, size)
    _require("embedded_share", embedded_share, 0, 1)
    for name, value in (("catalogue_gb", catalogue_gb), ("peak_gbps", peak_gbps)):
        _require(name, value, np.nextafter(0, 1), np.finfo(float).max)
    for name, (low, high) in (("storage_share", storage_share), ("throughput_factor", throughput_factor)):
        _require(f"{name}, lower bound", low, np.nextafter(0, 1), high)
        _require(f"{name}, upper bound", high, low, 1 if name == "storage_share" else np.finfo(float).max)

    distance = _distances(backbone)
    hubs = _best_connected(backbone, distance)
    zones = _node_timezones(backbone.nodes, timezones)
    region_table = _regions(backbone.nodes, rng, regions, hubs, zones, subscribers)
    origin = _central(distance, origins)
    edge = hubs[np.argsort(np.isin(hubs, origin), kind="stable")][:sites]  # a copy beside an origin would save nothing
    site_table = _sites(backbone.nodes, edge, origin, embedded_share, zones)
    network = build_network(
        {
            "nodes": backbone.nodes,
            "links": backbone.links,
            "regions": region_table,
            "sites": site_table,
            "appliances": pd.DataFrame({name: [] for name in ("site", "appliance", "storage_gb", "throughput_gbps")}),
        }
    )
    people = region_table["subscribers"].to_numpy(float)
    region_peak = peak_gbps * people / max(people.sum(), 1.0)
    return {
        "nodes": backbone.nodes.copy(),
        "links": _sized_links(network, region_peak),
        "regions": region_table,
        "sites": site_table,
        "appliances": _appliances(
            network, rng, region_peak, catalogue_gb, largest_gb, storage_share, throughput_factor
        ),
    }


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(
            Problem(
                table="sample fleet",
                column=name,
                value=str(value),
                message="out of range",
                mend=f"choose a value from {low:g} to {high:g}",
            )
        )


def _distances(backbone: Backbone) -> np.ndarray:
    """(N, N) km between all nodes along the links; parallel links are equally long."""
    ids = pd.Index(backbone.nodes["node"])
    ends = np.sort(np.column_stack([ids.get_indexer(backbone.links[end]) for end in ("source", "target")]), axis=1)
    lengths = dict(
        zip(map(tuple, ends.tolist()), backbone.links["length_km"], strict=True)
    )  # a matrix would add them up
    tail, head = np.array(list(lengths)).T
    matrix = csr_array((np.array(list(lengths.values())), (tail, head)), shape=(len(ids), len(ids)))
    return np.asarray(dijkstra(matrix, directed=False))


def _best_connected(backbone: Backbone, distance: np.ndarray) -> np.ndarray:
    """(N,) node indices, the one with most links first; ties by mean distance to all others, then by order."""
    ids = pd.Index(backbone.nodes["node"])
    degree = sum(np.bincount(ids.get_indexer(backbone.links[end]), minlength=len(ids)) for end in ("source", "target"))
    return np.lexsort((np.arange(len(ids)), distance.mean(axis=1).round(6), -np.asarray(degree)))


def _central(distance: np.ndarray, count: int) -> np.ndarray:
    """(count,) nodes chosen one after the other so that the summed distance of all nodes to the nearest chosen one is least."""
    chosen: list[int] = []
    nearest = np.full(len(distance), np.inf)
    for _ in range(count):
        total = np.minimum(distance, nearest).sum(axis=1).round(6)
        total[chosen] = np.inf
        chosen.append(int(total.argmin()))
        nearest = np.minimum(nearest, distance[chosen[-1]])
    return np.array(chosen)


def _node_timezones(nodes: pd.DataFrame, timezones: Mapping[str, str] | None) -> list[str]:
    by_longitude = longitude_timezones(nodes["lon"].to_numpy(float))
    known = timezones or {}
    return [known.get(node, zone) for node, zone in zip(nodes["node"], by_longitude, strict=True)]


def _regions(
    nodes: pd.DataFrame,
    rng: np.random.Generator,
    regions: int | pd.DataFrame | None,
    hubs: np.ndarray,
    zones: list[str],
    subscribers: Mapping[str, float] | None,
) -> pd.DataFrame:
    drawn = np.round(MEDIAN_SUBSCRIBERS * rng.lognormal(0.0, SUBSCRIBER_SPREAD, len(nodes)))
    if isinstance(regions, pd.DataFrame):
        return _given_regions(nodes, regions, zones)
    known = subscribers or {}
    people = np.array([known.get(node, draw) for node, draw in zip(nodes["node"], drawn, strict=True)])
    order = hubs[np.argsort(-people[hubs], kind="stable")] if subscribers else hubs
    chosen = np.sort(order[:regions])
    names = nodes["node"].to_numpy()[chosen]
    return pd.DataFrame(
        {
            "region": names,
            "node": names,
            "timezone": np.array(zones, dtype=object)[chosen],
            "subscribers": np.round(people[chosen]).astype(np.int64),
        }
    )


def _given_regions(nodes: pd.DataFrame, regions: pd.DataFrame, zones: list[str]) -> pd.DataFrame:
    first = ["region", "node", "timezone", "subscribers"]
    missing = [name for name in first if name not in regions and name != "timezone"]
    if missing:
        what, mend = f"missing columns {', '.join(missing)}", "give region, node, subscribers and optionally timezone"
        raise InputError(Problem(table="regions", message=what, mend=mend))
    at = pd.Index(nodes["node"]).get_indexer(regions["node"])
    if (at < 0).any():
        row = int((at < 0).argmax())
        raise InputError(
            Problem(
                table="regions",
                row=row + 1,
                column="node",
                value=str(regions["node"].iloc[row]),
                message="unknown node",
                mend="name a node of the backbone",
            )
        )
    table = regions.reset_index(drop=True)
    if "timezone" not in table:
        table = table.assign(timezone=np.array(zones, dtype=object)[at])
    return table[[*first, *(name for name in table.columns if name not in first)]]


def _sites(
    nodes: pd.DataFrame, edge: np.ndarray, origin: np.ndarray, embedded_share: float, zones: list[str]
) -> pd.DataFrame:
    exchanges = len(edge) - round(embedded_share * len(edge))
    kinds = ["ix"] * exchanges + ["embedded"] * (len(edge) - exchanges) + ["origin"] * len(origin)
    at = np.concatenate([edge, origin])
    names = nodes["node"].to_numpy()[at]
    return pd.DataFrame(
        {
            "site": [f"{kind}-{name}" for kind, name in zip(kinds, names, strict=True)],
            "node": names,
            "kind": kinds,
            "timezone": np.array(zones, dtype=object)[at],
        }
    )


def _appliances(
    network: Network,
    rng: np.random.Generator,
    region_peak: np.ndarray,
    catalogue_gb: float,
    largest_gb: float,
    storage_share: tuple[float, float],
    throughput_factor: tuple[float, float],
) -> pd.DataFrame:
    edge = np.flatnonzero(~network.is_origin)
    nearest = steering_routes(network, candidates=1).site[:, 0]
    near_peak = np.bincount(nearest, region_peak, len(network.sites))[edge]
    base = near_peak + SPARE_SHARE * near_peak.mean()
    storage = catalogue_gb * rng.uniform(*storage_share, len(edge))
    throughput = base * np.exp(rng.uniform(math.log(throughput_factor[0]), math.log(throughput_factor[1]), len(edge)))
    large = base > np.median(base)
    rows: list[tuple[str, str, str, float, float, float]] = []
    for s, gb, gbps, has_flash in zip(edge.tolist(), storage, throughput, large, strict=True):
        site, kind = network.sites["site"].iloc[s], network.sites["kind"].iloc[s]
        parts = _with_flash(_FLASH_COUNT[kind]) if has_flash else [(STORAGE_MODEL, 1.0, 1.0)]
        for number, (model, of_storage, of_throughput) in enumerate(parts, 1):
            fill = model.refill_share * gb * of_storage * 8 / (FILL_HOURS * 3600)
            rows.append((f"{site}-{number}", site, model.name, gb * of_storage, gbps * of_throughput, fill))
    frame = pd.DataFrame(
        rows, columns=["appliance", "site", "model", "storage_gb", "throughput_gbps", "fill_gbps"]
    ).assign(fill_start=FILL_START, fill_hours=FILL_HOURS)
    short = largest_gb * (1 + 1e-5) / frame["storage_gb"].max()  # a little more, for it is rounded
    frame[["storage_gb", "fill_gbps"]] *= max(short, 1.0)
    measures = ["storage_gb", "throughput_gbps", "fill_gbps"]
    frame[measures] = frame[measures].map(lambda value: float(f"{value:.6g}"))
    return frame


def _with_flash(count: int) -> list[tuple[ApplianceModel, float, float]]:
    """Model, share of the site's storage and share of its throughput of each appliance: one for storage, ``count`` of flash."""
    storage = (STORAGE_MODEL, 1 - _FLASH_STORAGE, 1 - _FLASH_THROUGHPUT)
    return [storage, *[(FLASH_MODEL, _FLASH_STORAGE / count, _FLASH_THROUGHPUT / count)] * count]


def _sized_links(network: Network, region_peak: np.ndarray) -> pd.DataFrame:
    """The links with a capacity for the peak where the source told none; known capacities stay as published."""
    links = network.links.copy()
    if "capacity_known" not in links or links["capacity_known"].all():
        return links
    trees = site_trees(network)
    near = steering_routes(network, trees, candidates=1)
    half = Routes(site=near.site[:, [0, -1]], cost_per_gb=near.cost_per_gb[:, [0, -1]])
    paths = region_paths(network, trees, half)
    rate = np.column_stack([(1 - ORIGIN_SHARE) * region_peak, ORIGIN_SHARE * region_peak]).ravel()
    load = np.bincount(paths.arcs, np.repeat(rate, np.diff(paths.start)), 2 * len(links))
    busier = load.reshape(-1, 2).max(axis=1) * LINK_HEADROOM
    known = links["capacity_known"].to_numpy(bool)
    links["capacity_gbps"] = np.where(known, links["capacity_gbps"].to_numpy(float), _next_port(busier))
    return links


def _next_port(gbps: np.ndarray) -> np.ndarray:
    """The smallest port speed that carries a rate, or multiple of the largest: (L,) from (L,)."""
    largest = PORT_GBPS[-1]
    at = np.minimum(np.searchsorted(PORT_GBPS, gbps), len(PORT_GBPS) - 1)
    return np.where(gbps > largest, np.ceil(gbps / largest) * largest, np.array(PORT_GBPS)[at])
