"""What people watch: catalogue, playback log, expected demand, forecasters, importers and the workload generator."""

from demand.catalogue import Catalogue, build_catalogue, read_catalogue, validate_catalogue
from demand.demand import Demand, build_demand, read_demand, write_demand

__all__ = [
    "Catalogue",
    "Demand",
    "build_catalogue",
    "build_demand",
    "read_catalogue",
    "read_demand",
    "validate_catalogue",
    "write_demand",
]
