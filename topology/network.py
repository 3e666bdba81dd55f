"""The network: nodes, links, regions, sites and appliances, as validated tables and index arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd

from topology.errors import InputError, Problem
from topology.geography import great_circle_km
from topology.tables import find_table, in_order, index_of, load_schema, read_table

TABLES = ("nodes", "links", "regions", "sites", "appliances")
NEVER_EMPTY = ("nodes", "regions", "sites")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A content delivery network.

    The tables are as the contract describes them, defaults filled in, in file order; the arrays give the same by integer index.
    Axis letters: R regions, S sites, A appliances, L links, N nodes. Nothing here is ever written to.

    Parameters
    ----------
    nodes, links, regions, sites, appliances
        One frame a table, with a plain integer index.
    steering
        The steering table, or None where the network leaves it to shortest paths.
    node_ids, link_ids, region_ids, site_ids, appliance_ids
        The one index of names for each component.
    link_ends
        (L, 2) int32, node index of source and target.
    region_node, site_node
        (R,) and (S,) int32.
    appliance_site
        (A,) int32.
    is_origin
        (S,) bool.
    site_storage_gb, site_throughput_gbps
        (S,) float, sums over the appliances; infinite at origins, which hold every file and carry any load.
    """

    nodes: pd.DataFrame
    links: pd.DataFrame
    regions: pd.DataFrame
    sites: pd.DataFrame
    appliances: pd.DataFrame
    steering: pd.DataFrame | None
    node_ids: pd.Index
    link_ids: pd.Index
    region_ids: pd.Index
    site_ids: pd.Index
    appliance_ids: pd.Index
    link_ends: np.ndarray
    region_node: np.ndarray
    site_node: np.ndarray
    appliance_site: np.ndarray
    is_origin: np.ndarray
    site_storage_gb: np.ndarray
    site_throughput_gbps: np.ndarray

    def graph(self) -> "nx.MultiGraph[str]":
        """The backbone as a networkx graph: node attributes lat, lon; edge keys are the links, with the columns of ``links``."""
        graph: nx.MultiGraph[str] = nx.MultiGraph()
        for node, lat, lon in self.nodes[["node", "lat", "lon"]].itertuples(index=False):
            graph.add_node(node, lat=float(lat), lon=float(lon))
        ends = zip(self.links["source"], self.links["target"], self.links["link"], strict=True)
        facts = self.links[["capacity_gbps", "length_km", "cost_per_gb"]].to_dict("records")
        for (source, target, link), fact in zip(ends, facts, strict=True):
            graph.add_edge(source, target, key=link, **{str(name): value for name, value in fact.items()})
        return graph


def build_network(tables: Mapping[str, pd.DataFrame | None]) -> Network:
    """Wire validated tables into a network.

    Parameters
    ----------
    tables
        ``nodes``, ``links``, ``regions``, ``sites``, ``appliances`` and optionally ``steering``, as the schema has them.

    Raises
    ------
    InputError
        A table is missing, or there are no nodes, regions or sites.
    """
    frames = {name: _table(tables, name).reset_index(drop=True) for name in TABLES}
    nodes, links, regions, sites, appliances = (frames[name] for name in TABLES)
    node_ids, site_ids = pd.Index(nodes["node"]), pd.Index(sites["site"])
    is_origin = (sites["kind"] == "origin").to_numpy()
    appliance_site = index_of(site_ids, appliances["site"]).astype(np.int32)
    if "timezone" not in sites:
        sites = sites.assign(timezone="")
    sites = sites.assign(timezone=_site_timezones(nodes, regions, sites, node_ids))
    steering = tables.get("steering")

    def total(column: str) -> np.ndarray:
        sums = (
            np.bincount(appliance_site, appliances[column].to_numpy(float), len(sites))
            if len(appliances)
            else np.zeros(len(sites))
        )
        return _frozen(np.where(is_origin, np.inf, sums))

    ends = np.column_stack([index_of(node_ids, links["source"]), index_of(node_ids, links["target"])])
    return Network(
        nodes=nodes,
        links=links,
        regions=regions,
        sites=sites,
        appliances=appliances,
        steering=None if steering is None else steering.reset_index(drop=True),
        node_ids=node_ids,
        link_ids=pd.Index(links["link"]),
        region_ids=pd.Index(regions["region"]),
        site_ids=site_ids,
        appliance_ids=pd.Index(appliances["appliance"]),
        link_ends=_frozen(ends.astype(np.int32)),
        region_node=_frozen(index_of(node_ids, regions["node"]).astype(np.int32)),
        site_node=_frozen(index_of(node_ids, sites["node"]).astype(np.int32)),
        appliance_site=_frozen(appliance_site),
        is_origin=_frozen(is_origin),
        site_storage_gb=total("storage_gb"),
        site_throughput_gbps=total("throughput_gbps"),
    )


def read_network(folder: Path) -> Network:
    """Read and validate a network folder's network tables.

    Raises
    ------
    InputError
        With everything that is wrong with the tables.
    """
    problems: list[Problem] = []
    network = validate_network(folder, problems)
    if problems or network is None:
        raise InputError(problems)
    return network


def validate_network(folder: Path, problems: list[Problem]) -> Network | None:
    """Read the network tables; append all that is wrong to ``problems`` and return the network if it is sound."""
    if not folder.is_dir():
        problems.append(
            Problem(
                table="network",
                message=f"no such folder: {folder}",
                mend="give the folder of a network; 'fillplan new DIR' writes one",
            )
        )
        return None
    before = len(problems)
    known: dict[str, pd.Index] = {}
    tables: dict[str, pd.DataFrame | None] = {}
    for name in (*TABLES, "steering"):
        schema = load_schema("topology", name)
        try:
            path = find_table(folder, name)
        except InputError as error:
            problems.extend(error.problems)
            continue
        if path is None:
            if name != "steering":
                columns = ", ".join(a.name for a in schema.attributes if a.status != "optional")
                problems.append(
                    Problem(
                        table=name,
                        message=f"missing table, no {name}.csv or {name}.parquet",
                        mend=f"add it with the columns {columns}",
                    )
                )
            continue
        tables[name] = read_table(
            path, schema, problems, known=known, may_be_empty=name == "links"
        )  # one node needs none
        frame = tables[name]
        if frame is not None and name != "steering":
            known[name] = pd.Index(frame[schema.key[0]])
    if len(problems) > before:
        return None
    network = build_network(tables)
    _check_shape(network, problems)
    if len(problems) > before:
        return None
    ordered = {
        name: in_order(frame, load_schema("topology", name).key) for name, frame in tables.items() if frame is not None
    }
    return network if all(ordered[name] is tables[name] for name in ordered) else build_network({**tables, **ordered})


def _check_shape(network: Network, problems: list[Problem]) -> None:
    """What a sound set of tables may still lack: an origin, a way to it, distinct ends, one site a rank."""
    loops = np.flatnonzero(network.link_ends[:, 0] == network.link_ends[:, 1])
    problems.extend(
        Problem(
            table="links",
            row=int(i) + 1,
            column="target",
            value=str(network.links["target"].iloc[i]),
            message="the link begins and ends at the same node",
            mend="correct one end, or remove the link",
        )
        for i in loops
    )
    if not network.is_origin.any():
        problems.append(
            Problem(
                table="sites",
                column="kind",
                message="no site of kind origin",
                mend="add a site of kind origin; it holds every file",
            )
        )
        return
    graph: nx.Graph[int] = nx.Graph(list(map(tuple, network.link_ends)))
    graph.add_nodes_from(range(len(network.nodes)))
    reached: set[int] = set()
    for node in set(network.site_node[network.is_origin].tolist()):
        if node not in reached:
            reached |= nx.node_connected_component(graph, node)
    apart = sum(node not in reached for node in [*network.region_node.tolist(), *network.site_node.tolist()])
    if apart and not len(network.links):
        message = f"the table is empty, so no path leads to an origin from {apart} regions and sites"
        problems.append(Problem(table="links", message=message, mend="add the links between the nodes"))
        reached |= set(range(len(network.nodes)))
    for table, nodes in (("regions", network.region_node), ("sites", network.site_node)):
        frame = getattr(network, table)
        problems.extend(
            Problem(
                table=table,
                row=i + 1,
                column="node",
                value=str(frame["node"].iloc[i]),
                message=f"{table[:-1]} {frame.iloc[i, 0]!r} is disconnected: no path of links leads to an origin",
                mend="add the missing link, or move it to a connected node",
            )
            for i, node in enumerate(nodes.tolist())
            if node not in reached
        )
    if network.steering is not None:
        _check_steering(network, network.steering, problems)


def _check_steering(network: Network, steering: pd.DataFrame, problems: list[Problem]) -> None:
    twice = np.flatnonzero(steering.duplicated(["region", "rank"]).to_numpy())
    problems.extend(
        Problem(
            table="steering",
            row=int(i) + 1,
            column="rank",
            value=str(steering["rank"].iloc[i]),
            message=f"two sites of region {steering['region'].iloc[i]!r} have the same rank",
            mend="give each site of a region its own rank",
        )
        for i in twice
    )
    origins = set(network.sites["site"][network.is_origin])
    served = set(steering["region"][steering["site"].isin(origins)])
    problems.extend(
        Problem(
            table="steering",
            column="site",
            value=str(region),
            message=f"region {region!r} has no origin among its sites",
            mend="add a row with an origin site as its last rank",
        )
        for region in network.region_ids
        if region not in served
    )


def _site_timezones(nodes: pd.DataFrame, regions: pd.DataFrame, sites: pd.DataFrame, node_ids: pd.Index) -> list[str]:
    """The given time zones; where a site has none, that of the nearest region."""
    lat, lon = nodes["lat"].to_numpy(float), nodes["lon"].to_numpy(float)
    region_at, site_at = index_of(node_ids, regions["node"]), index_of(node_ids, sites["node"])
    zones: list[str] = []
    for zone, at in zip(sites["timezone"], site_at, strict=True):
        nearest = int(np.argmin(great_circle_km(lat[at], lon[at], lat[region_at], lon[region_at])))
        zones.append(zone or regions["timezone"].iloc[nearest])
    return zones


def _table(tables: Mapping[str, pd.DataFrame | None], name: str) -> pd.DataFrame:
    frame = tables.get(name)
    if frame is None:
        raise InputError(Problem(table=name, message="missing table", mend="add it"))
    if name in NEVER_EMPTY and frame.empty:
        raise InputError(Problem(table=name, message="the table is empty", mend="add at least one row"))
    return frame


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
