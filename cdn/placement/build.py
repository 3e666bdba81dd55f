"""The placement problem from a network, a catalogue and a demand: what the contract's tables say, as the arrays of :class:`cdn.placement.problem.Problem`."""

import numpy as np

from cdn.placement.problem import Problem
from cdn.placement.rules import check_rules, read_floors, read_pins
from demand.catalogue import Catalogue
from demand.demand import Demand
from demand.diurnal import peak_slices as slice_shapes
from demand.laws import load_laws
from topology.network import Network
from topology.routing import SiteTrees, fill_costs, region_paths, site_trees, steering_routes

DEFAULT_FILL_WEIGHT = 0.14
"""A fill pays back over about a week (the contract's default)."""


def build_problem(
    network: Network,
    catalogue: Catalogue,
    demand: Demand,
    *,
    trees: SiteTrees | None = None,
    candidates: int = 10,
    fill_weight: float = DEFAULT_FILL_WEIGHT,
    previous: np.ndarray | None = None,
    reactive_share: float = 0.0,
    link_limits: bool = False,
    fill_limits: bool = False,
    peak_slices: int = 1,
) -> Problem:
    """Assemble the problem of the contract from a network, a catalogue and a demand.

    Parameters
    ----------
    previous
        (S, F) bool, what last night's plan stored, or None for nothing.
    reactive_share
        Share of every site's storage that the plan leaves alone, 0 to 1.
    link_limits, fill_limits
        Whether the capacities of links, and what the fill windows can bring, are limits.
    peak_slices
        Slices of the day, whose rates are limited one by one; 1 takes all busiest hours as one.

    Raises
    ------
    InputError
        If the rules of the catalogue name a site or a group that is not there, or contradict each other.
    InfeasiblePlanError
        If what they ask for cannot fit, whatever else is stored.
    """
    trees = site_trees(network) if trees is None else trees
    routes = steering_routes(network, trees, candidates=candidates)
    cost, _ = fill_costs(network, trees)
    asked = (demand.gb > 0) | (demand.peak_gbps > 0)
    wanted = slice(None) if asked.all() else asked  # nothing is copied where everything is wanted
    files = len(catalogue.files)
    file = demand.file[wanted]
    arcs = region_paths(network, trees, routes) if link_limits else None
    rules = *read_pins(network, catalogue), read_floors(network, catalogue)
    previous = np.zeros((len(network.sites), files), bool) if previous is None else previous
    storage = np.where(network.is_origin, np.inf, network.site_storage_gb * (1.0 - reactive_share))
    window = fill_windows_gb(network) if fill_limits else None
    check_rules(network, catalogue, storage, window, previous, *rules)
    pinned, forbidden, floors = rules
    return Problem(
        size_gb=catalogue.size_gb,
        storage_gb=storage,
        throughput_gbps=network.site_throughput_gbps,
        is_origin=network.is_origin,
        site=routes.site,
        cost_per_gb=routes.cost_per_gb,
        region=demand.region[wanted],
        file=file,
        gb=demand.gb[wanted],
        peak_gbps=demand.peak_gbps[wanted],
        file_start=np.searchsorted(file, np.arange(files + 1, dtype=file.dtype)).astype(np.int64),
        fill_cost=np.where(network.is_origin, 0.0, fill_weight * cost),
        previous=previous,
        arc_capacity_gbps=np.repeat(network.links["capacity_gbps"].to_numpy(float), 2) if link_limits else None,
        path_start=None if arcs is None else arcs.start,
        path_arcs=None if arcs is None else arcs.arcs,
        fill_limit_gb=window,
        pinned=pinned,
        forbidden=forbidden,
        floors=floors,
        peak_shape=None
        if peak_slices == 1
        else slice_shapes(network.regions["timezone"].to_numpy(str), peak_slices, load_laws().hourly_profile),
    )


def fill_windows_gb(network: Network) -> np.ndarray:
    """(S,) GB that the appliances of each site can take in one fill window; infinite at origins."""
    each = appliance_windows_gb(network)
    return np.where(network.is_origin, np.inf, np.bincount(network.appliance_site, each, len(network.sites)))


def appliance_windows_gb(network: Network) -> np.ndarray:
    """(A,) GB that each appliance can take in one fill window."""
    table = network.appliances
    return np.asarray(table["fill_gbps"].to_numpy(float) * table["fill_hours"].to_numpy(float) * 3600 / 8)
