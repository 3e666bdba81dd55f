"""The network: places, links, regions, sites and appliances; importers, routing, sample fleets; the one reader of tables."""

from topology.errors import InputError, Problem
from topology.network import Network, build_network, read_network, validate_network
from topology.placement import Placement
from topology.routing import Paths, Routes, SiteTrees, fill_costs, region_paths, site_trees, steering_routes

__all__ = [
    "InputError",
    "Network",
    "Paths",
    "Placement",
    "Problem",
    "Routes",
    "SiteTrees",
    "build_network",
    "fill_costs",
    "read_network",
    "region_paths",
    "site_trees",
    "steering_routes",
    "validate_network",
]
