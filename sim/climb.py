"""The way of a pull towards an origin: the sites at the nodes it passes, which may answer it or keep a copy of what comes back."""

from dataclasses import dataclass

import numpy as np

from sim.fleet import Fleet
from topology.routing import Paths

PULLS = ("next", "edge", "lce", "lcd")
"""Where a front site pulls a file from, and who keeps it: :attr:`sim.scheme.Scheme.pull`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Climbs:
    """Ways from front sites to origins.

    Parameters
    ----------
    of
        (V, K) int32: the number of the way from a candidate to the first origin of its row; -1 for origins and padding.
    start, site
        Sites of way c: ``site[start[c]:start[c + 1]]``, int32, from the front on, without it; the last is the origin.
    """

    of: np.ndarray
    start: np.ndarray
    site: np.ndarray

    def sites(self, row: int, place: int) -> list[int]:
        """The sites of one way."""
        way = int(self.of[row, place])
        return [int(site) for site in self.site[self.start[way] : self.start[way + 1]]]


def climbs(fleet: Fleet) -> Climbs:
    """The ways of every candidate, along the path that the origin's bytes would take to it, against their direction.

    All edge sites at its nodes stand on it, the ends' included, in the order of the nodes and at one node in that of the table.
    """
    at_node: dict[int, list[int]] = {}
    for site in np.flatnonzero(~fleet.is_origin).tolist():
        at_node.setdefault(int(fleet.site_node[site]), []).append(site)
    of = np.full(fleet.candidate.shape, -1, np.int32)
    known: dict[tuple[int, int], int] = {}
    ways: list[list[int]] = []
    for row, listed in enumerate(fleet.candidate.tolist()):
        origin = next(site for site in listed if site >= 0 and fleet.is_origin[site])
        for place, front in enumerate(listed):
            if front < 0 or fleet.is_origin[front]:
                continue
            if (front, origin) not in known:
                known[front, origin] = len(ways)
                nodes = [int(fleet.site_node[origin]), *fleet.arc_head[_path(fleet, origin, front)].tolist()]
                passed = [site for node in reversed(nodes) for site in at_node.get(node, []) if site != front]
                ways.append([*passed, origin])
            of[row, place] = known[front, origin]
    start = np.concatenate([[0], np.cumsum([len(way) for way in ways], dtype=np.int64)])
    return Climbs(of=of, start=start.astype(np.int64), site=np.array([s for way in ways for s in way], np.int32))


def pull_paths(fleet: Fleet, pull: str) -> tuple[np.ndarray, Paths]:
    """Paths between the sites that a pull may join.

    Returns
    -------
    (S, S) int32: the number of the path from one site (first axis) to another, -1 where no pull goes; and the paths.
    """
    if pull == "next":
        ahead, behind = np.triu_indices(fleet.candidate.shape[1], 1)
        targets, sources = fleet.candidate[:, ahead].astype(np.int64), fleet.candidate[:, behind].astype(np.int64)
        targets, sources = targets.ravel(), sources.ravel()
    else:
        ways = climbs(fleet)
        joined = [
            (source, target)
            for row, place in np.argwhere(ways.of >= 0).tolist()
            for way in [[int(fleet.candidate[row, place]), *ways.sites(row, place)]]
            for i, target in enumerate(way[:-1])
            for source in way[i + 1 :]
        ]
        sources, targets = np.array(joined, np.int64).reshape(-1, 2).T
    pairs = np.unique((sources * fleet.sites + targets)[(sources >= 0) & (targets >= 0)])
    pair_of = np.full((fleet.sites, fleet.sites), -1, np.int32)
    pair_of.ravel()[pairs] = np.arange(len(pairs))
    return pair_of, fleet.site_paths(pairs // fleet.sites, pairs % fleet.sites)


def _path(fleet: Fleet, source: int, target: int) -> np.ndarray:
    return fleet.site_paths(np.array([source]), np.array([target])).arcs
