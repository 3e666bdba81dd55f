"""A backbone: places and links of an operator's network, before any region, site or appliance stands on it.

Every importer ends here: names are made unique, places without coordinates are put amid their neighbours, links that lead nowhere
are dropped, lengths and costs are filled in, and the largest connected part is kept. What was assumed or dropped is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from topology.errors import InputError, Problem
from topology.geography import EARTH_RADIUS_KM, great_circle_km

DEFAULT_CAPACITY_GBPS = 10.0
"""Capacity of a link whose speed the source does not tell: the speed most frequent among the known ones of the Topology Zoo."""

COST_PER_GB_OF_A_HOP = 0.002
COST_PER_GB_AND_KM = 0.00001
"""What one GB costs on a link: a part for the ports at its ends and a part for its length; a hop weighs as much as 200 km of fibre.
The unit is whatever money a user counts in: only ratios matter to a placement."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backbone:
    """A connected backbone.

    Parameters
    ----------
    name
        What the source calls it.
    nodes
        node, lat, lon: degrees.
    links
        link, source, target, capacity_gbps, length_km, cost_per_gb, capacity_known (bool: the source told the capacity).
    nodes_dropped
        Nodes left out: not in the largest connected part, or nowhere near a place with coordinates.
    nodes_placed
        Nodes without coordinates that were put amid their neighbours.
    loops_dropped
        Links left out because both ends were the same node.
    schematic
        The source has no geographical coordinates but a drawing, which was laid around 0° N 0° E: lengths are relative.
    """

    name: str
    nodes: pd.DataFrame
    links: pd.DataFrame
    nodes_dropped: int = 0
    nodes_placed: int = 0
    loops_dropped: int = 0
    schematic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawBackbone:
    """What an importer found in its source, nothing filled in yet: N nodes, L links.

    Parameters
    ----------
    name
        What the source calls the network.
    labels
        N names; they may repeat or be empty.
    lat, lon
        (N,) degrees, nan where unknown.
    ends
        (L, 2) int, node index of source and target.
    capacity_gbps
        (L,) nan where unknown.
    link_names
        L names, or None: then links are called after their ends.
    schematic
        Whether ``lat`` and ``lon`` come from a drawing.
    """

    name: str
    labels: Sequence[str]
    lat: np.ndarray
    lon: np.ndarray
    ends: np.ndarray
    capacity_gbps: np.ndarray
    link_names: Sequence[str] | None = None
    schematic: bool = False


def link_cost_per_gb(length_km: np.ndarray) -> np.ndarray:
    """What one GB costs on links of these lengths: (L,) from (L,)."""
    return COST_PER_GB_OF_A_HOP + COST_PER_GB_AND_KM * np.asarray(length_km, float)


def build_backbone(raw: RawBackbone, *, default_capacity_gbps: float = DEFAULT_CAPACITY_GBPS) -> Backbone:
    """Make a sound, connected backbone of what an importer found.

    Of several connected parts the one with most nodes is kept, of equal ones the one that comes first.

    Parameters
    ----------
    raw
        The source's nodes and links.
    default_capacity_gbps
        Capacity where ``raw.capacity_gbps`` is not a positive number.

    Raises
    ------
    InputError
        If there are no nodes, or none has coordinates, or no link is left.
    """
    count = len(raw.labels)
    if count == 0:
        raise _wrong(raw.name, "the network has no nodes", "choose a file that holds a network")
    lat, lon, placed = _place_amid_neighbours(raw.lat, raw.lon, raw.ends)
    if np.isnan(lat).all():
        raise _wrong(
            raw.name,
            "no node has coordinates",
            "choose a network with coordinates, or add Latitude and Longitude to its nodes",
        )
    loops = raw.ends[:, 0] == raw.ends[:, 1]
    located = ~np.isnan(lat)
    usable = ~loops & located[raw.ends].all(axis=1)
    kept = _largest_part(raw.ends[usable], located)
    links = np.flatnonzero(usable & kept[raw.ends].all(axis=1))
    if len(links) == 0:
        raise _wrong(raw.name, "no link joins two places", "choose a network with at least two joined places")
    ids = unique_names(raw.labels, "node")
    new = np.cumsum(kept) - 1
    ends = raw.ends[links]
    names = (
        [f"{ids[a]} - {ids[b]}" for a, b in ends]
        if raw.link_names is None
        else [raw.link_names[i] for i in links.tolist()]
    )
    speed = raw.capacity_gbps[links]
    known = np.isfinite(speed) & (speed > 0)
    length = great_circle_km(lat[ends[:, 0]], lon[ends[:, 0]], lat[ends[:, 1]], lon[ends[:, 1]])
    node_ids = np.array(ids, dtype=object)[kept]
    return Backbone(
        name=raw.name,
        nodes=pd.DataFrame({"node": node_ids, "lat": lat[kept].round(6), "lon": lon[kept].round(6)}),
        links=pd.DataFrame(
            {
                "link": unique_names(names, "link"),
                "source": node_ids[new[ends[:, 0]]],
                "target": node_ids[new[ends[:, 1]]],
                "capacity_gbps": np.where(known, speed, default_capacity_gbps),
                "length_km": length.round(3),
                "cost_per_gb": link_cost_per_gb(length).round(9),
                "capacity_known": known,
            }
        ),
        nodes_dropped=count - int(kept.sum()),
        nodes_placed=int((placed & kept).sum()),
        loops_dropped=int(loops.sum()),
        schematic=raw.schematic,
    )


def unique_names(labels: Sequence[str], empty: str) -> list[str]:
    """Names in the same order, each once: white space is tidied, an empty name becomes ``empty``, repetitions get a number.

    Examples
    --------
    >>> unique_names(["Oslo", "Oslo", "", "Oslo (2)"], "node")
    ['Oslo', 'Oslo (3)', 'node', 'Oslo (2)']
    """
    tidy = ["".join(c for c in " ".join(label.split()) if c.isprintable()) or empty for label in labels]
    taken = set(tidy)
    seen: dict[str, int] = {}
    names: list[str] = []
    for name in tidy:
        number = seen.get(name, 0) + 1
        fresh = name
        if number > 1:
            while (fresh := f"{name} ({number})") in taken:
                number += 1
            taken.add(fresh)
        seen[name] = number
        names.append(fresh)
    return names


def flat_to_degrees(x_km: np.ndarray, y_km: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay a drawing on the globe, centred on 0° N 0° E, where a degree is as long north as east: (lat, lon) in degrees."""
    degrees = np.degrees(1 / EARTH_RADIUS_KM)
    x, y = np.asarray(x_km, float), np.asarray(y_km, float)
    if not np.isfinite(x).any():
        return y * degrees, x * degrees
    middle_x, middle_y = (np.nanmin(x) + np.nanmax(x)) / 2, (np.nanmin(y) + np.nanmax(y)) / 2
    return (y - middle_y) * degrees, (x - middle_x) * degrees


def _place_amid_neighbours(
    lat: np.ndarray, lon: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give nodes without coordinates the middle of their neighbours', outwards from those that have some.

    The middle is that of the neighbours' unit vectors, so it is right across the date line too.
    """
    lat, lon = np.array(lat, float), np.array(lon, float)
    sound = (np.abs(lat) <= 90) & (np.abs(lon) <= 180)
    lat[~sound], lon[~sound] = np.nan, np.nan
    placed = np.zeros(len(lat), bool)
    tail, head = np.concatenate([ends, ends[:, ::-1]]).T if len(ends) else np.zeros((2, 0), int)
    while True:
        unknown = np.isnan(lat)
        usable = unknown[tail] & ~unknown[head]
        if not usable.any():
            return lat, lon, placed
        phi, lam = np.radians(lat[head[usable]]), np.radians(lon[head[usable]])
        x, y, z = (
            np.bincount(tail[usable], part, len(lat))
            for part in (np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi))
        )
        now = np.unique(tail[usable])
        lat[now] = np.degrees(np.arctan2(z, np.hypot(x, y)))[now]
        lon[now] = np.degrees(np.arctan2(y, x))[now]
        placed[now] = True


def _largest_part(ends: np.ndarray, located: np.ndarray) -> np.ndarray:
    """(N,) bool: the nodes of the largest connected part among the located ones."""
    size = len(located)
    matrix = csr_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    part = connected_components(matrix, directed=False)[1]
    kept: np.ndarray = (part == np.bincount(part, located).argmax()) & located
    return kept


def _wrong(name: str, message: str, mend: str) -> InputError:
    return InputError(Problem(table=name, message=message, mend=mend))
