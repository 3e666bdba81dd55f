"""One small network with a plan, made once."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdn.jobs import place_demand
from cdn.plan import Plan, write_plan
from cdn.settings import Settings
from demand.catalogue import Catalogue, read_catalogue
from demand.demand import write_demand
from demand.playback import actual_demand
from tests.cdn.evening import Evening, spend_evening
from tests.small_network import DAYS, FIRST, write_small_network
from topology.network import Network, read_network


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A network folder, what is in it, a demand table and a plan for it."""

    folder: Path
    network: Network
    catalogue: Catalogue
    demand: Path
    plan: Plan
    plan_folder: Path
    settings: Settings


@pytest.fixture(scope="session")
def planned(tmp_path_factory) -> Planned:
    """The small network and its plan for the last day of its log. Not to be written to."""
    folder = write_small_network(tmp_path_factory.mktemp("planned") / "net")
    network, catalogue, settings = read_network(folder), read_catalogue(folder), Settings()
    day = FIRST + dt.timedelta(days=DAYS - 1)
    demand = actual_demand(folder, day, network.region_ids, catalogue)
    write_demand(demand, network.region_ids, catalogue.file_ids, folder.parent / "demand.parquet")
    plan = place_demand(network, catalogue, demand, settings, None)
    write_plan(plan, network, catalogue, folder.parent / "plan")
    return Planned(
        folder=folder, network=network, catalogue=catalogue, demand=folder.parent / "demand.parquet", plan=plan,
        plan_folder=folder.parent / "plan", settings=settings,
    )  # fmt: skip


@pytest.fixture(scope="session")
def evening(tmp_path_factory) -> Evening:
    """Every verb run once."""
    return spend_evening(tmp_path_factory.mktemp("evening"))
