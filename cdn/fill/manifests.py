"""Manifests: what each appliance is told tonight, one JSON line a file."""

import json
from urllib.parse import quote

import numpy as np

from cdn.fill.difference import Difference
from cdn.fill.schedule import FillSchedule
from demand.catalogue import Catalogue
from topology.network import Network


def manifests(network: Network, catalogue: Catalogue, change: Difference, schedule: FillSchedule) -> dict[str, str]:
    """The manifest of every appliance outside origins.

    Returns
    -------
    File name (the appliance's name, percent-encoded, ``.jsonl``) -> text. Lines are ``drop``, then ``add`` in order of transfer with source,
    start and end (UTC), then ``keep``; copies that no window has time for are ``add`` lines without a start.
    """
    lines: list[list[str]] = [[] for _ in range(len(network.appliances))]
    names = catalogue.file_ids.to_numpy(object)

    def write(a: int, action: str, f: int, **facts: object) -> None:
        line = {"action": action, "file": names[f], "gb": float(catalogue.size_gb[f]), **facts}
        lines[a].append(json.dumps(line, ensure_ascii=False))

    for a, f in zip(change.dropped.appliance.tolist(), change.dropped.file.tolist(), strict=True):
        write(a, "drop", f)
    frame = schedule.frame(network, catalogue)
    stamps = (frame[column].dt.strftime("%Y-%m-%dT%H:%M:%SZ").tolist() for column in ("start", "end"))
    for a, f, source, start, end in zip(
        schedule.appliance.tolist(), schedule.file.tolist(), frame["source"], *stamps, strict=True
    ):
        write(a, "add", f, source=source, start=start, end=end)
    for a, f in zip(schedule.unfinished.appliance.tolist(), schedule.unfinished.file.tolist(), strict=True):
        write(a, "add", f, source=None, start=None, end=None)
    for a, f in zip(change.kept.appliance.tolist(), change.kept.file.tolist(), strict=True):
        write(a, "keep", f)
    edge = np.flatnonzero(~network.is_origin[network.appliance_site])
    return {
        quote(str(network.appliance_ids[a]), safe="") + ".jsonl": "".join(line + "\n" for line in lines[a])
        for a in edge
    }
