"""Everything that is wrong with a network folder, said at once."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from cdn.placement.rules import read_floors, read_pins
from cdn.settings import read_settings
from demand.catalogue import Catalogue, validate_catalogue
from demand.events import validate_events
from demand.playback import playback_dates, validate_playback
from topology.errors import InputError, Problem
from topology.network import Network, validate_network
from topology.tables import find_table, load_schema, read_table


def check(folder: Path) -> list[Problem]:
    """Validate every table, the settings, the playback log, and what the tables say together.

    Returns
    -------
    All problems, in the order tables, settings, log; empty if the network is sound.
    """
    problems: list[Problem] = []
    network = validate_network(folder, problems)
    if not folder.is_dir():
        return problems
    known = (None, None) if network is None else (network.region_ids, network.site_ids)
    catalogue = validate_catalogue(folder, problems, *known)
    try:
        read_settings(folder)
    except InputError as error:
        problems.extend(error.problems)
    if network is not None and catalogue is not None:
        problems.extend(_oversized_files(network, catalogue))
        for read in (read_pins, read_floors):
            try:
                read(network, catalogue)
            except InputError as error:
                problems.extend(error.problems)
        validate_events(folder, network.region_ids, catalogue.title_ids, problems)
    regions = _region_ids(folder) if network is None else network.region_ids
    if regions is not None and catalogue is not None and playback_dates(folder):
        validate_playback(folder, regions, catalogue, problems)
    return problems


def _region_ids(folder: Path) -> pd.Index | None:
    """Names of the regions of a network that is otherwise unsound, so that its log is looked at all the same."""
    with suppress(InputError):
        path = find_table(folder, "regions")
        if path is not None:
            frame = read_table(path, load_schema("topology", "regions"), [])
            return None if frame is None else pd.Index(frame["region"])
    return None


def _oversized_files(network: Network, catalogue: Catalogue) -> list[Problem]:
    """Files that no appliance outside an origin could hold: they could only ever be served from an origin."""
    edge = ~network.is_origin[network.appliance_site]
    room = float(network.appliances["storage_gb"].to_numpy(float)[edge].max(initial=0.0))
    if not edge.any():
        return []
    too_large = np.flatnonzero(catalogue.size_gb > room)
    return [
        Problem(
            table="files",
            column="size_gb",
            value=f"{catalogue.size_gb[f]:g}",
            message=f"file {catalogue.file_ids[f]!r} is larger than any site's appliance (the largest has {room:g} GB)",
            mend="correct the size, or give a site an appliance with more storage_gb",
        )
        for f in too_large[:20]
    ]
