"""Everything that is wrong with a network folder, said at once."""

from pathlib import Path

import numpy as np

from cdn.settings import read_settings
from demand.catalogue import Catalogue, validate_catalogue
from demand.playback import playback_dates, validate_playback
from topology.errors import InputError, Problem
from topology.network import Network, validate_network


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
    catalogue = validate_catalogue(folder, problems, None if network is None else network.region_ids)
    try:
        read_settings(folder)
    except InputError as error:
        problems.extend(error.problems)
    if network is not None and catalogue is not None:
        problems.extend(_oversized_files(network, catalogue))
        if playback_dates(folder):
            validate_playback(folder, network.region_ids, catalogue, problems)
    return problems


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
            row=int(f) + 1,
            column="size_gb",
            value=f"{catalogue.size_gb[f]:g}",
            message=f"file {catalogue.file_ids[f]!r} is larger than any site's appliance (the largest has {room:g} GB)",
            mend="correct the size, or give a site an appliance with more storage_gb",
        )
        for f in too_large[:20]
    ]
