"""What a plan is verified against, read from the network's files: limits, costs, rules. Part of the verifier; shares no code with the solvers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demand.catalogue import Catalogue, read_catalogue
from demand.demand import Demand, read_demand
from demand.diurnal import peak_slices as slice_shapes
from demand.laws import load_laws
from topology.network import Network, read_network
from topology.routing import Paths, Routes, fill_costs, region_paths, site_trees, steering_routes
from topology.tables import index_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """The network, what it costs, the demand and the rules.

    Parameters
    ----------
    fill_cost
        (S,) weighted cost of filling one GB; 0 at origins.
    size_gb
        (F,) GB.
    storage_gb
        (S,) GB less the reactive share; infinite at origins.
    window_gb, appliance_window_gb
        (S,) and (A,) GB that fill windows can bring; infinite at origins, and everywhere where that is no limit.
    pinned, forbidden
        (S, F) bool.
    floors
        file, group and at_least, sorted by file; group 0 is all edge sites.
    member
        (G, S) bool, the sites of each group.
    shape
        (R, T): what part of its busiest hour each region reaches in each slice of the day.
    """

    network: Network
    catalogue: Catalogue
    routes: Routes
    paths: Paths
    demand: Demand
    fill_cost: np.ndarray
    size_gb: np.ndarray
    storage_gb: np.ndarray
    window_gb: np.ndarray
    appliance_window_gb: np.ndarray
    link_limits: bool
    pinned: np.ndarray
    forbidden: np.ndarray
    floors: pd.DataFrame
    member: np.ndarray
    shape: np.ndarray

    def throughput_gbps(self) -> np.ndarray:
        """(S,) Gbit/s; infinite at origins."""
        return np.where(self.network.is_origin, np.inf, self.network.site_throughput_gbps)

    def link_gbps(self) -> np.ndarray:
        """(2L,) Gbit/s, by direction."""
        return np.repeat(self.network.links["capacity_gbps"].to_numpy(float), 2)


def read_case(
    folder: Path, demand_path: Path, *, candidates: int, peak_to_mean: float, fill_weight: float, reactive_share: float, link_limits: bool,
    fill_limits: bool, peak_slices: int,
) -> Case:  # fmt: skip
    """Read a network folder and a demand table.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    network, catalogue = read_network(folder), read_catalogue(folder)
    trees = site_trees(network)
    routes = steering_routes(network, trees, candidates=candidates)
    table = network.appliances
    each = (table["fill_gbps"] / 8 * 3600 * table["fill_hours"]).to_numpy(float)
    each = np.where(network.is_origin[network.appliance_site], np.inf, each)
    by_site = np.bincount(network.appliance_site, each, len(network.sites))
    floors, member = _floors(network, catalogue)
    return Case(
        network=network, catalogue=catalogue, routes=routes, paths=region_paths(network, trees, routes),
        demand=read_demand(demand_path, network.region_ids, catalogue.file_ids, peak_to_mean=peak_to_mean),
        fill_cost=np.where(network.is_origin, 0.0, fill_weight * fill_costs(network, trees)[0]), size_gb=catalogue.size_gb,
        storage_gb=np.where(network.is_origin, np.inf, network.site_storage_gb * (1.0 - reactive_share)), link_limits=link_limits,
        window_gb=np.where(network.is_origin, np.inf, by_site) if fill_limits else np.full(len(by_site), np.inf),
        appliance_window_gb=each if fill_limits else np.full(len(each), np.inf),
        pinned=_ruled(network, catalogue, "pinned"), forbidden=_ruled(network, catalogue, "forbidden"), floors=floors, member=member,
        shape=_shape(network, peak_slices),
    )  # fmt: skip


def _ruled(network: Network, catalogue: Catalogue, rule: str) -> np.ndarray:
    """(S, F) bool: what the table ``rules`` says is pinned, or forbidden."""
    ruled = np.zeros((len(network.sites), len(catalogue.files)), bool)
    if catalogue.rules is not None:
        table = catalogue.rules[catalogue.rules["rule"] == rule].fillna({"profile": ""})
        files = catalogue.files.assign(f=np.arange(len(catalogue.files)))[["title", "profile", "f"]]
        found = table.merge(files, on="title", suffixes=("", "_own"))
        found = found[(found["profile"] == "") | (found["profile"] == found["profile_own"])]
        ruled[index_of(network.site_ids, found["site"]), found["f"].to_numpy()] = True
    return ruled


def _floors(network: Network, catalogue: Catalogue) -> tuple[pd.DataFrame, np.ndarray]:
    """Every floor on replicas, and the sites of the groups."""
    edge = ~network.is_origin
    of = network.sites["group"].fillna("") if "group" in network.sites else pd.Series("", index=network.sites.index)
    names = ["", *sorted(set(of[edge]) - {""})]
    member = np.array([edge & (of == name).to_numpy() if name else edge for name in names])
    if catalogue.replicas is None:
        return pd.DataFrame({"file": [], "group": [], "at_least": []}, dtype=int), member
    files = catalogue.files.assign(f=np.arange(len(catalogue.files)))[["title", "f"]]
    found = catalogue.replicas.fillna({"group": ""}).merge(files, on="title").sort_values("f", kind="stable")
    group = found["group"].map({name: g for g, name in enumerate(names)})
    frame = pd.DataFrame({"file": found["f"], "group": group, "at_least": found["at_least"]}).astype(int)
    return frame.reset_index(drop=True), member


def _shape(network: Network, slices: int) -> np.ndarray:
    """(R, T): what part of its busiest hour each region reaches in each slice of the day."""
    if slices == 1:
        return np.ones((len(network.regions), 1))
    return slice_shapes(network.regions["timezone"].to_numpy(str), slices, load_laws().hourly_profile)
