"""The network in whole numbers."""

import numpy as np
import pytest

from sim.fleet import build_fleet
from sim.reference import Fills, Scheme, simulate
from topology.errors import InputError
from topology.routing import Routes, region_paths, site_trees, steering_routes

LINE = [(0, 1, 100.0, 1.0), (1, 2, 200.0, 2.0)]


def test_gigabytes_and_gigabits_become_whole_bytes_and_bits(make):
    network = make.network(
        nodes=3,
        links=LINE,
        regions=[0],
        sites=[(0, "embedded"), (1, "ix"), (2, "origin")],
        appliances=[(0, 0.1, 0.3), (0, 1.7, 1e-9), (1, 2.0, 4.0)],
    )
    fleet = make.fleet(network, make.catalogue([0.1, 1e-9, 123.456789012]))
    assert fleet.appliance_storage_bytes.tolist() == [100_000_000, 1_700_000_000, 2_000_000_000]
    assert fleet.appliance_throughput_bps.tolist() == [300_000_000, 1, 4_000_000_000]
    assert fleet.site_storage_bytes.tolist() == [1_800_000_000, 2_000_000_000, 0]
    assert fleet.site_throughput_bps.tolist() == [300_000_001, 4_000_000_000, 0]
    assert fleet.file_bytes.tolist() == [100_000_000, 1, 123_456_789_012]
    assert (fleet.regions, fleet.sites, fleet.appliances, fleet.files, fleet.arcs) == (1, 3, 3, 3, 4)
    assert fleet.arc_length_km.tolist() == [100, 100, 200, 200]
    assert fleet.site_paths(np.array([2, 0, 0]), np.array([0, 2, 0])).arcs.tolist() == [3, 1, 0, 2]


def test_an_appliance_without_limits_has_room_for_all(make):
    network = make.network(
        nodes=2,
        links=[(0, 1, 100.0, 1.0)],
        regions=[0],
        sites=[(0, "embedded"), (1, "origin")],
        appliances=[(0, 1e300, 1e10), (0, 1e300, 1e300)],
    )
    fleet = make.fleet(network, make.catalogue([2.0]))
    assert (fleet.appliance_throughput_bps > 10**15).all() and (fleet.appliance_storage_bytes > 10**15).all()
    assert fleet.site_throughput_bps[0] > 10**15
    day = make.sessions([(0, 0, 0, 600, 1.0)] * 50)
    result = simulate(fleet, day, Scheme(label="plan", placement=make.placement((0, 0))))
    assert result.figures["request_hit_ratio"] == 1


@pytest.mark.parametrize(
    ("lacks", "word"), [({"regions": []}, "regions: the table is empty"), ({"sites": []}, "sites: the table is empty"), ({"sites": [(0, "ix")]}, "no origin")]
)  # fmt: skip
def test_an_empty_network_is_refused(make, lacks, word):
    facts = {"nodes": 1, "links": [], "regions": [0], "sites": [(0, "origin")], "appliances": []}
    with pytest.raises(InputError, match=word):
        make.fleet(make.network(**(facts | lacks)), make.catalogue([1.0]))


def test_a_region_without_an_origin_is_refused(make):
    network = make.network(nodes=3, links=LINE, regions=[0, 1], sites=[(0, "embedded"), (2, "origin")], appliances=[])
    trees, routes = site_trees(network), steering_routes(network)
    site = routes.site.copy()
    site[1, site[1] == 1] = -1
    with pytest.raises(InputError, match="'r1' has no origin"):
        build_fleet(
            network,
            make.catalogue([1.0]),
            trees,
            Routes(site=site, cost_per_gb=routes.cost_per_gb),
            region_paths(network, trees, routes),
        )


@pytest.fixture
def islands(make):
    """Two lines of nodes without a link between them, an origin on each."""

    def build(steering):
        return make.network(
            nodes=4,
            links=[(0, 1, 1.0, 1.0), (2, 3, 1.0, 1.0)],
            regions=[0],
            sites=[(0, "embedded"), (1, "origin"), (2, "embedded"), (3, "origin")],
            appliances=[(0, 5.0, 1.0), (2, 5.0, 1.0)],
            steering=steering,
        )

    return build


def test_a_candidate_on_another_island_is_refused(make, islands):
    with pytest.raises(InputError, match="no path of links") as caught:
        make.fleet(islands([(0, 0, 1, 1.0), (0, 2, 2, 2.0), (0, 1, 3, 3.0)]), make.catalogue([1.0]))
    assert [problem.value for problem in caught.value.problems] == ["s2"]


def test_a_fill_from_another_island_is_refused(make, islands):
    fleet = make.fleet(islands([(0, 0, 1, 1.0), (0, 1, 2, 3.0)]), make.catalogue([1.0]))
    one, start = np.array([0]), np.array([0])
    transfer = Fills(
        appliance=one, file=one, source=np.array([-4]), start_ms=start, end_ms=start + 1, bytes=np.array([10**9])
    )
    with pytest.raises(InputError, match="no path of links"):
        simulate(fleet, make.sessions([]), Scheme(label="plan", placement=make.placement((0, 0))), transfer)
