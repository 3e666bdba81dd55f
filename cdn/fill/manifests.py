"""Manifests: what each appliance is told tonight, one JSON line a file."""

import hashlib
import json
from urllib.parse import quote

import numpy as np

from cdn.fill.difference import Difference
from cdn.fill.schedule import FillSchedule
from demand.catalogue import Catalogue
from topology.network import Network
from topology.placement import Placement

LONGEST_NAME = 240
"""Bytes of a file name; file systems stop at 255."""


def manifests(network: Network, catalogue: Catalogue, change: Difference, schedule: FillSchedule) -> dict[str, str]:
    """The manifest of every appliance outside origins.

    A line has ``action`` (drop, add or keep), ``file``, ``gb``, ``source``, ``start`` and ``order``. Drops and adds come first, in the order
    (1, 2, …) and at the moment (UTC) they are due: carried out in that order, an appliance never holds more than its storage. Adds that no window
    has time for follow without order, start and source; then all that is kept.

    Returns
    -------
    File name, as :func:`manifest_name` gives it -> text.
    """
    lines = _Lines(catalogue)
    A = len(network.appliances)
    texts: list[list[str]] = [[] for _ in range(A)]
    sources = schedule.frame(network, catalogue)["source"].tolist()
    stamps = np.datetime_as_string(schedule.utc(schedule.start_ms).astype("datetime64[ms]")).tolist()
    drops = np.datetime_as_string(schedule.utc(schedule.dropped_ms).astype("datetime64[ms]")).tolist()
    D = len(schedule.dropped)
    appliance = np.concatenate([schedule.dropped.appliance, schedule.appliance])
    at = np.concatenate([schedule.dropped_ms, schedule.start_ms])
    is_add = np.arange(D + len(schedule)) >= D
    for i in np.lexsort((is_add, at, appliance)).tolist():
        own = texts[appliance[i]]
        if i < D:
            own.append(lines.line("drop", schedule.dropped.file[i], None, drops[i] + "Z", len(own) + 1))
        else:
            own.append(lines.line("add", schedule.file[i - D], sources[i - D], stamps[i - D] + "Z", len(own) + 1))
    for action, copies in (("add", schedule.unfinished), ("keep", change.kept)):
        for a, f in _pairs(copies):
            texts[a].append(lines.line(action, f, None, None, None))
    edge = np.flatnonzero(~network.is_origin[network.appliance_site]).tolist()
    return {manifest_name(str(network.appliance_ids[a])): "".join(texts[a]) for a in edge}


def manifest_name(appliance: str) -> str:
    """A file name for any appliance: percent-encoded UTF-8, no leading dot, long names cut and told apart by a hash.

    Examples
    --------
    >>> manifest_name("ams/1 ü"), manifest_name("..")
    ('ams%2F1%20%C3%BC.jsonl', '%2E..jsonl')
    """
    name = quote(appliance, safe="")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > LONGEST_NAME:
        digest = hashlib.blake2b(appliance.encode(), digest_size=16).hexdigest()
        name = f"{name[: LONGEST_NAME - 33]}-{digest}"
    return name + ".jsonl"


class _Lines:
    """Lines of a manifest; names and sizes of the catalogue are written as JSON once."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.name = [json.dumps(str(name), ensure_ascii=False) for name in catalogue.file_ids]
        self.gb = [json.dumps(gb) for gb in catalogue.size_gb.tolist()]

    def line(self, action: str, f: int, source: str | None, start: str | None, order: int | None) -> str:
        rest = json.dumps({"source": source, "start": start, "order": order}, ensure_ascii=False)
        return f'{{"action": "{action}", "file": {self.name[f]}, "gb": {self.gb[f]}, {rest[1:]}\n'


def _pairs(copies: Placement) -> list[tuple[int, int]]:
    return list(zip(copies.appliance.tolist(), copies.file.tolist(), strict=True))
