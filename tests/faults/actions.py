"""What the victims do."""

import datetime as dt
from pathlib import Path

from cdn.nightly import run_night
from cdn.plan import read_plan, write_plan
from cdn.settings import read_settings
from demand.catalogue import read_catalogue
from topology.network import read_network


def write_over(folder: str, source: str, target: str) -> None:
    """Read one plan and write it over another, with a manifest that names it."""
    network, catalogue = read_network(Path(folder)), read_catalogue(Path(folder))
    plan = read_plan(Path(source), network, catalogue)
    write_plan(plan, network, catalogue, Path(target), manifests={"who.jsonl": "new"})


def night(folder: str, date: str) -> None:
    """One whole night."""
    run_night(Path(folder), dt.date.fromisoformat(date), read_settings(Path(folder)))
