"""A complete sample network: a real topology, a grown fleet, a catalogue and a playback log drawn from the fitted laws."""

import datetime as dt
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demand.bitrate import default_ladder
from demand.catalogue import build_catalogue, read_catalogue
from demand.laws import load_laws
from demand.playback import log_frame, playback_dates, write_playback
from demand.workload import generate_playback, sample_catalogue
from topology.errors import InputError, Problem
from topology.fleet import grow_fleet
from topology.importers import Backbone, read_topohub
from topology.network import read_network
from topology.tables import find_table, write_table

FIRST_DAY = dt.date(2026, 1, 1)
"""First day of a sample's log: fixed, so that the same seed gives the same files on any day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSize:
    """How large a sample is.

    Parameters
    ----------
    sites, regions, titles
        Counts; each title has one file a rung of the ladder.
    days
        Days of playback log.
    sessions_per_day
        Mean number of playback sessions a day, all regions together.
    """

    sites: int = 8
    regions: int = 12
    titles: int = 150
    days: int = 15
    sessions_per_day: int = 20_000


def write_sample(
    folder: Path,
    size: SampleSize,
    *,
    topology: str = "sndlib/nobel-germany",
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Write a sample network folder.

    Parameters
    ----------
    topology
        A TopoHub key such as ``sndlib/germany50`` or ``topozoo/Abilene``.

    Returns
    -------
    Counts of what was written.

    Raises
    ------
    InputError
        If the folder exists and is not empty, or the topology is unknown.
    """
    refuse_to_overwrite(folder)
    rng = np.random.default_rng(seed)
    backbone = read_topohub(topology)
    laws, ladder = load_laws(), default_ladder()
    titles, files = sample_catalogue(rng, size.titles, laws, ladder, first_day=FIRST_DAY, days=size.days)
    size_gb = files["size_gb"]

    def fleet(busiest_gbps: float) -> dict[str, pd.DataFrame]:
        own = np.random.default_rng([seed, 1])  # the same draws each time: only the sizes follow the demand
        return grow_fleet(
            backbone, own, catalogue_gb=float(size_gb.sum()), largest_gb=float(size_gb.max()), peak_gbps=busiest_gbps, sites=size.sites,
            regions=size.regions,
        )  # fmt: skip

    regions = fleet(1.0)["regions"]
    if progress:
        progress(f"{size.days} days of about {size.sessions_per_day:,} sessions in {len(regions)} regions")
    days = [FIRST_DAY + dt.timedelta(days=i) for i in range(size.days)]
    sessions, busiest = 0, 0.0
    catalogue = build_catalogue(titles, files)
    with new_folder(folder) as draft:
        for date, frame in generate_playback(
            rng, catalogue, regions, days, laws, sessions_per_day=size.sessions_per_day
        ):
            write_playback(draft, date, frame)
            sessions += len(frame)
            busiest = max(busiest, busiest_hour_gbps(frame))
        tables = fleet(busiest)
        for name, frame in {**tables, "titles": titles, "files": files}.items():
            write_table(frame, draft / f"{name}.csv")
    counts = {name: len(frame) for name, frame in tables.items()}
    return {**counts, "titles": len(titles), "files": len(files), "days": size.days, "sessions": sessions}


def write_backbone(folder: Path, backbone: Backbone, *, sites: int, seed: int = 0) -> dict[str, int]:
    """Write the network tables of an imported topology with a fleet grown on it; every node becomes a region.

    The fleet is sized for a nominal catalogue of 10 TB and a peak of 100 Gbit/s until :func:`regrow_fleet` knows better.
    """
    refuse_to_overwrite(folder)
    tables = grow_fleet(backbone, np.random.default_rng([seed, 1]), catalogue_gb=10_000.0, peak_gbps=100.0, sites=sites)
    with new_folder(folder) as draft:
        for name, frame in tables.items():
            write_table(frame, draft / f"{name}.csv")
    return {name: len(frame) for name, frame in tables.items()}


def regrow_fleet(folder: Path, *, seed: int = 0) -> None:
    """Size the fleet of an imported topology for the catalogue and the busiest hour of the log that were imported since.

    Nodes, links, regions, sites and their number stay; storage, throughput and fill rates are drawn anew.
    """
    network, catalogue = read_network(folder), read_catalogue(folder)
    backbone = Backbone(name=folder.name, nodes=network.nodes, links=network.links)
    peak = max(busiest_hour_gbps(log_frame(folder, date)) for date in playback_dates(folder))
    tables = grow_fleet(
        backbone, np.random.default_rng([seed, 1]), catalogue_gb=float(catalogue.size_gb.sum()),
        largest_gb=float(catalogue.size_gb.max()), peak_gbps=peak, sites=int((~network.is_origin).sum()), regions=network.regions,
    )  # fmt: skip
    for name in ("sites", "appliances"):
        write_table(tables[name], find_table(folder, name) or folder / f"{name}.csv")


def busiest_hour_gbps(frame: pd.DataFrame) -> float:
    """Mean rate of all sessions of a log frame in the hour that begins most bytes, in Gbit/s."""
    hours = frame["start"].to_numpy("datetime64[h]")
    _, at = np.unique(hours, return_inverse=True)
    return float(np.bincount(at, frame["gb"].to_numpy(float)).max(initial=0.0)) * 8 / 3600


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write to, which becomes ``folder`` if all goes well, and goes if not: by an error or Ctrl-C.

    A new folder appears whole, by one rename. What is written for one that exists, empty, is moved into it.
    """
    draft = folder / f".{os.getpid()}.tmp" if folder.exists() else folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    draft.mkdir(parents=True)
    try:
        yield draft
        if draft.parent == folder:
            for part in list(draft.iterdir()):
                part.rename(folder / part.name)
        else:
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def refuse_to_overwrite(folder: Path) -> None:
    """Raise InputError unless the folder is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            Problem(
                table="arguments",
                value=str(folder),
                message="the folder exists and is not empty",
                mend="give a new folder, or remove this one",
            )
        )
