"""Sample fleets: sound networks, within their bounds, the same from the same seed whatever the demand."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.backbone import RawBackbone, build_backbone
from topology.errors import InputError
from topology.fleet import LINK_HEADROOM, PORT_GBPS, grow_fleet
from topology.importers import read_topohub
from topology.network import build_network, read_network
from topology.routing import site_trees
from topology.tables import write_table


@pytest.fixture(scope="module")
def germany():
    return read_topohub("sndlib/germany50")


def grow(backbone, seed=0, **options):
    return grow_fleet(backbone, np.random.default_rng(seed), **{"catalogue_gb": 5000.0, "peak_gbps": 300.0, **options})


@st.composite
def backbones(draw):
    count = draw(st.integers(2, 12))
    ends = [(draw(st.integers(0, i - 1)), i) for i in range(1, count)]
    ends += draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=8))
    place = st.lists(st.floats(-80, 80), min_size=count, max_size=count).map(np.array)
    capacity = [draw(st.one_of(st.just(np.nan), st.floats(0.1, 100))) for _ in ends]
    labels = draw(st.lists(st.text(max_size=3), min_size=count, max_size=count))
    return build_backbone(
        RawBackbone(
            name="random",
            labels=labels,
            lat=draw(place),
            lon=draw(place),
            ends=np.array(ends),
            capacity_gbps=np.array(capacity),
        )
    )


@given(backbones(), st.data())
@settings(max_examples=60, deadline=None)
def test_any_fleet_is_a_sound_network_within_its_bounds(tmp_path_factory, backbone, data):
    size = len(backbone.nodes)
    low = data.draw(st.floats(0.01, 0.5))
    options = {
        "catalogue_gb": data.draw(st.floats(1, 1e7)),
        "peak_gbps": data.draw(st.floats(0.01, 1e5)),
        "sites": data.draw(st.integers(1, size)),
        "origins": data.draw(st.integers(1, size)),
        "regions": data.draw(st.one_of(st.none(), st.integers(1, size))),
        "embedded_share": data.draw(st.floats(0, 1)),
        "storage_share": (low, data.draw(st.floats(low, 1))),
    }
    folder = tmp_path_factory.mktemp("fleet")
    for name, frame in grow(backbone, **options).items():
        write_table(frame, folder / f"{name}.csv")
    network = read_network(folder)
    edge = ~network.is_origin
    assert edge.sum() == options["sites"]
    assert network.is_origin.sum() == options["origins"]
    assert len(network.regions) == (options["regions"] or size)
    share = network.site_storage_gb[edge] / options["catalogue_gb"]
    assert (share >= options["storage_share"][0] * (1 - 1e-5)).all()
    assert (share <= options["storage_share"][1] * (1 + 1e-5)).all()
    assert (network.site_throughput_gbps > 0).all()
    assert (network.sites["kind"] == "ix").sum() == options["sites"] - round(
        options["embedded_share"] * options["sites"]
    )


@pytest.mark.parametrize("largest", [1.0, 700.0, 1234.5678, 5000.0])
def test_some_appliance_holds_the_largest_file(germany, largest):
    """However few the files are; a fleet that could hold it anyway stays as it is."""
    plain, made = (grow(germany, **sizes)["appliances"] for sizes in ({}, {"largest_gb": largest}))
    assert made["storage_gb"].max() >= largest
    short = max(1.0, largest / plain["storage_gb"].max())
    for measure in ("storage_gb", "fill_gbps"):
        assert made[measure].to_numpy() == pytest.approx(plain[measure].to_numpy() * short, rel=5e-5)
    assert made["throughput_gbps"].equals(plain["throughput_gbps"])


def test_the_same_seed_gives_the_same_fleet_and_another_one_another(germany):
    one, two, other = grow(germany), grow(germany), grow(germany, seed=1)
    for name, frame in one.items():
        pd.testing.assert_frame_equal(frame, two[name])
    assert not one["appliances"].equals(other["appliances"])


def test_demand_only_scales_what_was_drawn(germany):
    small, large = grow(germany, peak_gbps=1.0, catalogue_gb=100.0), grow(germany, peak_gbps=1000.0, catalogue_gb=200.0)
    for name in ("nodes", "regions", "sites"):
        pd.testing.assert_frame_equal(small[name], large[name])
    ratio = (
        large["appliances"][["storage_gb", "throughput_gbps", "fill_gbps"]]
        / small["appliances"][["storage_gb", "throughput_gbps", "fill_gbps"]]
    )
    assert ratio.to_numpy() == pytest.approx(np.tile([2, 1000, 2], (len(ratio), 1)), rel=1e-5)


def test_inputs_are_left_alone(germany):
    nodes, links = germany.nodes.copy(), germany.links.copy()
    grow(germany)["nodes"]["lat"] = 0.0
    pd.testing.assert_frame_equal(germany.nodes, nodes)
    pd.testing.assert_frame_equal(germany.links, links)


def test_sites_stand_at_the_best_connected_nodes(germany):
    fleet = grow(germany, sites=12)
    degree = dict(build_network(fleet).graph().degree())
    edge = fleet["sites"][fleet["sites"]["kind"] != "origin"]
    chosen = [degree[node] for node in edge["node"]]
    assert chosen == sorted(chosen, reverse=True)
    assert min(chosen) >= max(d for node, d in degree.items() if node not in set(edge["node"]))
    assert edge["kind"].tolist() == ["ix"] * 4 + ["embedded"] * 8


def test_the_origin_is_central(germany):
    fleet = grow(germany)
    graph = nx.Graph(build_network(fleet).graph())
    centrality = nx.closeness_centrality(graph, distance="length_km")
    origin = fleet["sites"].set_index("kind").loc["origin", "node"]
    assert centrality[origin] == pytest.approx(max(centrality.values()))


def test_a_second_origin_is_the_best_partner_of_the_first(germany):
    fleet = grow(germany, origins=2)
    graph = nx.Graph(build_network(fleet).graph())
    km = dict(nx.all_pairs_dijkstra_path_length(graph, weight="length_km"))
    first, second = fleet["sites"]["node"][fleet["sites"]["kind"] == "origin"]

    def total(other):
        return sum(min(km[node][first], km[node][other]) for node in graph)

    assert total(second) == pytest.approx(min(total(node) for node in graph))


def test_throughput_follows_the_peak_of_the_regions_nearby_and_some_sites_are_tight(germany):
    fleet = grow(germany, sites=10)
    network = build_network(fleet)
    cost = site_trees(network).cost_per_gb[~network.is_origin]
    nearest = cost[:, network.region_node].argmin(axis=0)
    people = fleet["regions"]["subscribers"].to_numpy(float)
    peak = np.bincount(nearest, 300.0 * people / people.sum(), len(cost))
    ratio = network.site_throughput_gbps[~network.is_origin] / (peak + 0.15 * peak.mean())
    assert (ratio >= 0.6 * (1 - 1e-5)).all()
    assert (ratio <= 1.8 * (1 + 1e-5)).all()
    assert (ratio < 1).any()
    assert (ratio > 1).any()


def test_a_window_refills_a_few_percent_of_an_appliance(germany):
    appliances = grow(germany)["appliances"]
    assert set(appliances["model"]) == {"storage", "flash"}
    assert set(appliances["fill_start"]) == {"02:00"}
    night = appliances["fill_gbps"] / 8 * 3600 * appliances["fill_hours"] / appliances["storage_gb"]
    assert night[appliances["model"] == "storage"].to_numpy() == pytest.approx(0.05, rel=1e-4)
    assert night[appliances["model"] == "flash"].to_numpy() == pytest.approx(0.10, rel=1e-4)
    density = appliances["throughput_gbps"] / appliances["storage_gb"]
    per_site = appliances.assign(density=density).groupby(["site", "model"])["density"].mean().unstack().dropna()
    assert len(per_site) > 0
    assert (per_site["flash"] > per_site["storage"]).all()


def test_known_capacities_stay_and_unknown_ones_carry_the_peak_with_head_room(germany):
    links = germany.links.assign(capacity_known=False)
    links.loc[3, ["capacity_gbps", "capacity_known"]] = [0.155, True]
    backbone = type(germany)(name="g", nodes=germany.nodes, links=links)
    fleet = grow(backbone, peak_gbps=2000.0)
    capacity = fleet["links"]["capacity_gbps"]
    assert capacity[3] == 0.155
    assert all(c in PORT_GBPS or c % PORT_GBPS[-1] == 0 for c in capacity.drop(3))
    network = build_network(fleet)
    graph, load = network.graph(), {}
    people = fleet["regions"]["subscribers"]
    origin = fleet["sites"].set_index("kind").loc["origin", "node"]
    edge = fleet["sites"][fleet["sites"]["kind"] != "origin"]["node"]
    for node, share in zip(fleet["regions"]["node"], people / people.sum(), strict=True):
        costs, routes = nx.single_source_dijkstra(graph, node, weight="cost_per_gb")
        for source in (min(edge, key=costs.get), origin):
            for step in zip(routes[source], routes[source][1:], strict=False):
                load[step] = load.get(step, 0.0) + 1000.0 * share
    for step, gbps in load.items():
        (link,) = list(graph[step[0]][step[1]])
        row = network.link_ids.get_loc(link)
        assert row == 3 or capacity[row] >= gbps * LINK_HEADROOM * (1 - 1e-9)


def test_regions_are_the_most_populous_where_people_are_known(germany):
    people = dict.fromkeys(germany.nodes["node"], 1.0) | {"Kiel": 9e6, "Passau": 8e6, "Trier": 7e6}
    regions = grow(germany, regions=3, subscribers=people)["regions"]
    assert regions.set_index("region")["subscribers"].to_dict() == {"Kiel": 9e6, "Passau": 8e6, "Trier": 7e6}


def test_given_regions_and_time_zones(germany):
    given_regions = pd.DataFrame(
        {"region": ["DE", "PL"], "node": ["Berlin", "Dresden"], "subscribers": [80, 38], "iso": ["x", "y"]}
    )
    fleet = grow(germany, regions=given_regions, timezones={"Berlin": "Europe/Berlin"})
    assert fleet["regions"]["timezone"].tolist() == ["Europe/Berlin", "Etc/GMT-1"]
    assert fleet["regions"]["iso"].tolist() == ["x", "y"]
    zoned = grow(germany, regions=given_regions.assign(timezone="UTC"))["regions"]
    assert zoned["timezone"].tolist() == ["UTC", "UTC"]
    assert "timezone" not in given_regions


@pytest.mark.parametrize(
    ("options", "column"),
    [
        ({"sites": 0}, "sites"),
        ({"sites": 51}, "sites"),
        ({"regions": 0}, "regions"),
        ({"regions": 51}, "regions"),
        ({"origins": 0}, "origins"),
        ({"embedded_share": 1.2}, "embedded_share"),
        ({"catalogue_gb": 0.0}, "catalogue_gb"),
        ({"catalogue_gb": float("inf")}, "catalogue_gb"),
        ({"peak_gbps": float("nan")}, "peak_gbps"),
        ({"peak_gbps": -1.0}, "peak_gbps"),
        ({"storage_share": (0.3, 0.1)}, "storage_share, lower bound"),
        ({"storage_share": (0.1, 1.1)}, "storage_share, upper bound"),
        ({"throughput_factor": (0.0, 1.0)}, "throughput_factor, lower bound"),
        ({"regions": pd.DataFrame({"region": ["r"], "node": ["nowhere"], "subscribers": [1]})}, "node"),
        ({"regions": pd.DataFrame({"region": ["r"], "node": ["Berlin"]})}, None),
    ],
)
def test_numbers_out_of_range_are_refused(germany, options, column):
    with pytest.raises(InputError) as caught:
        grow(germany, **options)
    assert caught.value.problems[0].column == column
    assert caught.value.problems[0].mend
