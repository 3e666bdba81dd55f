"""What ``simulate -o FOLDER`` writes: tidy Parquet tables of a rehearsal, of a sample of titles, or of replications."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdn.documents import write_json
from cdn.rehearse import Rehearsal, decomposition, with_site_names
from cdn.replications import Replications
from sim.series import SLOT_MS
from topology.network import Network

TOTALS = "totals.json"
"""The figures of a rehearsal."""
OF_A_REHEARSAL = ("by_hour", "by_site", "by_site_hour", "by_arc", "arc_gbps", "sampled", "offline_by_site")
OF_REPLICATIONS = ("replications", "intervals")


def write_rehearsal(rehearsal: Rehearsal, network: Network, folder: Path) -> None:
    """Write the figures of a rehearsal, totals.json, and its tables: by_hour, by_site, by_site_hour, by_arc and arc_gbps.

    Of a sample of titles, sampled has the ratios with their errors; where caches that know the future were asked for, offline_by_site has what they miss.
    Beside the numbers of sites and arcs stand their names (``site_name``; ``link`` and ``towards``, a node). What an earlier simulation left in the folder
    goes; other files stay.

    Raises
    ------
    OSError
        The folder cannot be written; nothing is there by half.
    """
    offline = rehearsal.offline_figures(network)
    totals = {
        "plan": rehearsal.plan,
        "title_share": rehearsal.title_share,
        "policies": rehearsal.totals(),
        **({"offline": offline} if offline else {}),
        "oracle_gap": rehearsal.oracle_gap,
        "decomposition": [list(row) for row in decomposition(rehearsal)],
    }
    parts = _by_policy(rehearsal, network)
    _write(folder, {table: pd.concat(frames, ignore_index=True) for table, frames in parts.items()}, totals)


def write_replications(several: Replications, folder: Path) -> None:
    """Write the tables replications (every figure of every replication and policy) and intervals; as :func:`write_rehearsal`, without totals.json."""
    _write(folder, {"replications": several.figures, "intervals": several.intervals})


def _write(folder: Path, tables: Mapping[str, pd.DataFrame], totals: Mapping[str, Any] | None = None) -> None:
    folder = folder.absolute()
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    draft.mkdir(parents=True)
    try:
        for table, frame in tables.items():
            frame.to_parquet(draft / f"{table}.parquet", index=False)
        if totals is not None:
            write_json(totals, draft / TOTALS)
        folder.mkdir(exist_ok=True)
        # the totals go first and come last: a mark that all is there
        for name in (TOTALS, *(f"{table}.parquet" for table in (*OF_A_REHEARSAL, *OF_REPLICATIONS))):
            (folder / name).unlink(missing_ok=True)
        for path in sorted(draft.iterdir(), key=lambda path: path.name == TOTALS):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _by_policy(rehearsal: Rehearsal, network: Network) -> dict[str, list[pd.DataFrame]]:
    """Each table, a part a policy."""
    links = np.repeat(network.link_ids.to_numpy(object), 2)
    towards = network.node_ids.to_numpy(object)[network.link_ends[:, ::-1].ravel()]  # arc 2 * link leads to the target
    frames: dict[str, list[pd.DataFrame]] = {}
    for name, result in rehearsal.results.items():
        arcs, slots = result.arc_gbps.shape
        loads = pd.DataFrame(
            {
                "arc": np.repeat(np.arange(arcs), slots),
                "minute": np.tile(np.arange(slots) * (SLOT_MS // 60_000), arcs),
                "gbps": result.arc_gbps.ravel().astype(np.float32),
            }
        )
        by_arc = result.by_arc.assign(link=links[result.by_arc["arc"]], towards=towards[result.by_arc["arc"]])
        for table, frame in (
            ("by_hour", result.by_hour),
            ("by_site", with_site_names(result.by_site, network)),
            ("by_site_hour", with_site_names(result.by_site_hour, network)),
            ("by_arc", by_arc),
            ("arc_gbps", loads),
        ):
            frames.setdefault(table, []).append(frame.assign(policy=name))
    for name, ratios in rehearsal.ratios.items():
        frames.setdefault("sampled", []).append(ratios.assign(policy=name))
    for name, bound in rehearsal.offline.items():
        frames.setdefault("offline_by_site", []).append(with_site_names(bound.by_site, network).assign(policy=name))
    return frames
