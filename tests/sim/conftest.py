"""Small networks to simulate on, built through the same doors as real ones."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from demand.catalogue import Catalogue, build_catalogue
from sim.fleet import Fleet, build_fleet
from sim.sessions import Sessions, build_sessions
from topology.network import Network, build_network
from topology.placement import Placement
from topology.routing import region_paths, site_trees, steering_routes


def make_catalogue(sizes_gb: Sequence[float], bitrate_kbps: Sequence[float] | float = 8000.0) -> Catalogue:
    names = [f"t{i}" for i in range(len(sizes_gb))]
    files = pd.DataFrame(
        {
            "file": [f"{n}.h264" for n in names],
            "title": names,
            "profile": "h264",
            "bitrate_kbps": bitrate_kbps,
            "size_gb": sizes_gb,
        }
    )
    return build_catalogue(pd.DataFrame({"title": names}), files)


def make_network(
    *,
    nodes: int,
    links: Sequence[tuple[int, int, float, float]],
    regions: Sequence[int],
    sites: Sequence[tuple[int, str]],
    appliances: Sequence[tuple[int, float, float]],
    steering: Sequence[tuple[int, int, int, float]] | None = None,
    timezones: Sequence[str] | None = None,
) -> Network:
    """Links (source, target, km, cost), regions by node, sites (node, kind), appliances (site, GB, Gbit/s), steering (region, site, rank, cost)."""
    table = {
        "nodes": pd.DataFrame({"node": [f"n{i}" for i in range(nodes)], "lat": 0.0, "lon": np.arange(nodes) * 1.0}),
        "links": pd.DataFrame(
            [(f"l{i}", f"n{a}", f"n{b}", 100.0, km, cost) for i, (a, b, km, cost) in enumerate(links)],
            columns=["link", "source", "target", "capacity_gbps", "length_km", "cost_per_gb"],
        ),
        "regions": pd.DataFrame(
            {
                "region": [f"r{i}" for i in range(len(regions))],
                "node": [f"n{n}" for n in regions],
                "timezone": timezones or "UTC",
                "subscribers": 1000.0,
            }
        ),
        "sites": pd.DataFrame(
            [(f"s{i}", f"n{n}", kind) for i, (n, kind) in enumerate(sites)], columns=["site", "node", "kind"]
        ),
        "appliances": pd.DataFrame(
            [(f"a{i}", f"s{s}", "m", gb, gbps, 1.0, "02:00", 12.0) for i, (s, gb, gbps) in enumerate(appliances)],
            columns=[
                "appliance",
                "site",
                "model",
                "storage_gb",
                "throughput_gbps",
                "fill_gbps",
                "fill_start",
                "fill_hours",
            ],
        ),
        "steering": None
        if steering is None
        else pd.DataFrame(
            [(f"r{r}", f"s{s}", rank, cost) for r, s, rank, cost in steering],
            columns=["region", "site", "rank", "cost_per_gb"],
        ),
    }
    return build_network(table)


def make_fleet(network: Network, catalogue: Catalogue) -> Fleet:
    trees = site_trees(network)
    routes = steering_routes(network, trees)
    return build_fleet(network, catalogue, trees, routes, region_paths(network, trees, routes))


def make_sessions(rows: Sequence[tuple[float, int, int, float, float]]) -> Sessions:
    """Rows of (start s, region, file, length s, GB)."""
    start, region, file, length, gb = (
        (np.array(c, float) for c in zip(*rows, strict=True)) if rows else np.zeros((5, 0))
    )
    whole = (np.rint(start * 1000), region, file, np.rint(length * 1000), np.rint(gb * 1e9))
    return build_sessions(*(column.astype(np.int64) for column in whole))


class Makers:
    catalogue = staticmethod(make_catalogue)
    network = staticmethod(make_network)
    fleet = staticmethod(make_fleet)
    sessions = staticmethod(make_sessions)

    @staticmethod
    def placement(*copies: tuple[int, int]) -> Placement:
        """Copies (appliance, file)."""
        return Placement.of(np.array([a for a, _ in copies], int), np.array([f for _, f in copies], int))


@pytest.fixture(scope="session")
def make() -> type[Makers]:
    return Makers


@pytest.fixture(scope="session")
def two_sites_and_origin() -> Callable[..., Fleet]:
    """A line n0 - n1 - n2: region r0 and site s0 at n0, region r1 and site s1 at n1, the origin s2 at n2.

    Link l0 joins n0 and n1 (100 km, cost 1), l1 joins n1 and n2 (200 km, cost 2). Arc 1 runs n1 -> n0, arc 3 runs n2 -> n1.
    Region r0 is served by s0, s1, s2 and r1 by s1, s0, s2. One appliance a site unless told. Files of 2 GB.
    """

    def build(
        *,
        slots: tuple[int, int] = (2, 2),
        storage_gb: float = 10.0,
        extra: Sequence[tuple[int, float, float]] = (),
        files: int = 4,
    ) -> Fleet:
        appliances = [(0, storage_gb, 0.008 * slots[0]), (1, storage_gb, 0.008 * slots[1]), *extra]
        network = make_network(
            nodes=3,
            links=[(0, 1, 100.0, 1.0), (1, 2, 200.0, 2.0)],
            regions=[0, 1],
            sites=[(0, "embedded"), (1, "embedded"), (2, "origin")],
            appliances=appliances,
        )
        return make_fleet(network, make_catalogue([2.0] * files))

    return build
