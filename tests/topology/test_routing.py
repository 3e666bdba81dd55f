"""Shortest paths, travel direction and steering, against networkx on the undirected graph."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import networks
from topology.network import build_network
from topology.routing import fill_costs, region_paths, site_trees, steering_routes


def oracle_costs(network):
    """(S, N) by networkx's Dijkstra over the multigraph."""
    graph = network.graph()
    costs = np.full((len(network.sites), len(network.nodes)), np.inf)
    for s, node in enumerate(network.sites["node"]):
        for reached, cost in nx.single_source_dijkstra_path_length(graph, node, weight="cost_per_gb").items():
            costs[s, network.node_ids.get_loc(reached)] = cost
    return costs


def walk(network, start, arcs):
    """Node reached and cost paid when the arcs are followed one by one; fails where one does not begin at the place reached."""
    at, cost = start, 0.0
    for arc in arcs.tolist():
        source, target = network.link_ends[arc // 2]
        if arc % 2:
            source, target = target, source
        assert source == at, "an arc does not begin where the one before it ended"
        at = target
        cost += network.links["cost_per_gb"].iloc[arc // 2]
    return at, cost


@given(networks(steering=False))
@settings(max_examples=150, deadline=None)
def test_costs_are_the_shortest_of_networkx(network):
    np.testing.assert_allclose(site_trees(network).cost_per_gb, oracle_costs(network), rtol=1e-12, atol=1e-12)


@given(networks(steering=False))
@settings(max_examples=150, deadline=None)
def test_every_path_runs_from_site_to_node_and_costs_what_the_tree_says(network):
    trees = site_trees(network)
    sites, nodes = map(np.ravel, np.indices((len(network.sites), len(network.nodes))))
    paths = trees.paths(sites, nodes)
    for p, (site, node) in enumerate(zip(sites, nodes, strict=True)):
        end, cost = walk(network, network.site_node[site], paths.of(p))
        assert end == node
        assert cost == pytest.approx(trees.cost_per_gb[site, node], rel=1e-12, abs=1e-12)
        assert len(paths.of(p)) < len(network.nodes), "a shortest path visits no node twice"


@given(networks(steering=False), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_default_steering_is_the_cheapest_edge_sites_then_the_cheapest_origin(network, candidates):
    routes = steering_routes(network, candidates=candidates)
    costs = oracle_costs(network)[:, network.region_node].T
    edge, origin = np.flatnonzero(~network.is_origin), np.flatnonzero(network.is_origin)
    count = min(candidates, len(edge))
    assert routes.site.shape == routes.cost_per_gb.shape == (len(network.regions), count + 1)
    for r in range(len(network.regions)):
        chosen = routes.site[r].tolist()
        assert network.is_origin[chosen].tolist() == [False] * count + [True]
        assert len(set(chosen)) == len(chosen)
        np.testing.assert_allclose(routes.cost_per_gb[r], costs[r, chosen], atol=1e-12)
        np.testing.assert_allclose(routes.cost_per_gb[r, :-1], np.sort(costs[r, edge])[:count], atol=1e-12)
        assert routes.cost_per_gb[r, -1] == pytest.approx(costs[r, origin].min(), abs=1e-12)


@given(networks(steering=True))
@settings(max_examples=100, deadline=None)
def test_a_steering_table_is_followed_to_the_letter(network):
    routes = steering_routes(network)
    for r, region in enumerate(network.region_ids):
        rows = network.steering[network.steering["region"] == region].sort_values("rank")
        real = routes.site[r] >= 0
        assert list(network.site_ids[routes.site[r][real]]) == list(rows["site"])
        assert routes.cost_per_gb[r][real].tolist() == list(rows["cost_per_gb"])
        assert np.isinf(routes.cost_per_gb[r][~real]).all()
        assert real.tolist() == sorted(real, reverse=True), "padding comes last"


@given(networks())
@settings(max_examples=100, deadline=None)
def test_region_paths_lead_from_each_candidate_to_its_region(network):
    trees = site_trees(network)
    routes = steering_routes(network, trees)
    paths = region_paths(network, trees, routes)
    assert len(paths.start) == routes.site.size + 1
    for p, site in enumerate(routes.site.ravel()):
        if site < 0:
            assert len(paths.of(p)) == 0
        else:
            end, _ = walk(network, network.site_node[site], paths.of(p))
            assert end == network.region_node[p // routes.site.shape[1]]


@given(networks())
@settings(max_examples=100, deadline=None)
def test_fill_cost_is_that_of_the_cheapest_origin(network):
    cost, origin = fill_costs(network, site_trees(network))
    costs = oracle_costs(network)[:, network.site_node]
    assert network.is_origin[origin].all()
    np.testing.assert_allclose(cost, costs[network.is_origin].min(axis=0), atol=1e-12)
    np.testing.assert_allclose(cost, costs[origin, np.arange(len(network.sites))], atol=1e-12)


def tables_of(links, *, sites=(("edge", "b", "ix"), ("origin", "a", "origin")), regions=(("r", "c"),)):
    nodes = sorted({end for link in links for end in link[1:3]})
    return {
        "nodes": pd.DataFrame({"node": nodes, "lat": 0.0, "lon": 0.0}),
        "links": pd.DataFrame(links, columns=["link", "source", "target", "cost_per_gb"]).assign(
            capacity_gbps=1.0, length_km=1.0
        ),
        "regions": pd.DataFrame(regions, columns=["region", "node"]).assign(timezone="UTC", subscribers=1.0),
        "sites": pd.DataFrame(sites, columns=["site", "node", "kind"]),
        "appliances": pd.DataFrame({"appliance": [], "site": [], "storage_gb": [], "throughput_gbps": []}),
    }


def test_of_parallel_links_the_cheapest_serves_and_of_equal_ones_the_first():
    links = [("dear", "a", "b", 3.0), ("cheap", "b", "a", 1.0), ("equal", "a", "b", 1.0), ("on", "b", "c", 2.0)]
    network = build_network(tables_of(links))
    trees = site_trees(network)
    paths = trees.paths(np.array([1, 1]), np.array([1, 2]))
    cheap, on = 1, 3
    assert paths.of(0).tolist() == [2 * cheap + 1], "from a to b against the direction in which the link is written"
    assert paths.of(1).tolist() == [2 * cheap + 1, 2 * on]
    assert trees.cost_per_gb[1].tolist() == [0.0, 1.0, 3.0]


def test_a_link_without_cost_is_a_link_all_the_same():
    network = build_network(tables_of([("free", "a", "b", 0.0), ("also", "b", "c", 0.0), ("direct", "a", "c", 0.5)]))
    trees = site_trees(network)
    assert trees.cost_per_gb.tolist() == [[0.0] * 3] * 2
    assert trees.paths(np.array([1]), np.array([2])).of(0).tolist() == [0, 2]


def test_sites_of_equal_cost_come_in_table_order():
    sites = [("second", "b", "ix"), ("first", "b", "embedded"), ("origin", "a", "origin")]
    network = build_network(tables_of([("l", "a", "b", 1.0), ("m", "b", "c", 1.0)], sites=sites))
    assert steering_routes(network).site.tolist() == [[0, 1, 2]]


def test_no_paths_at_all_are_fine():
    network = build_network(tables_of([("l", "a", "b", 1.0), ("m", "b", "c", 1.0)]))
    paths = site_trees(network).paths(np.zeros(0, int), np.zeros(0, int))
    assert paths.start.tolist() == [0]
    assert len(paths.arcs) == 0
