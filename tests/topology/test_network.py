"""Network folders: what is sound is wired right, what is not is named, all of it at once."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from tests.strategies import network_tables
from topology.errors import InputError, Problem
from topology.network import build_network, read_network, validate_network
from topology.routing import region_paths, site_trees, steering_routes
from topology.tables import load_schema, write_table


def small():
    """Three places in a line; a region at each end, an exchange in the middle, the origin at the left."""
    return {
        "nodes": pd.DataFrame({"node": ["a", "b", "c"], "lat": [0.0, 0.0, 0.0], "lon": [0.0, 1.0, 40.0]}),
        "links": pd.DataFrame(
            {
                "link": ["ab", "bc"],
                "source": ["a", "c"],
                "target": ["b", "b"],
                "capacity_gbps": [10.0, 20.0],
                "length_km": [111.0, 4300.0],
                "cost_per_gb": [1.0, 2.0],
            }
        ),
        "regions": pd.DataFrame(
            {"region": ["left", "right"], "node": ["a", "c"], "timezone": ["UTC", "Asia/Dubai"], "subscribers": [5, 7]}
        ),
        "sites": pd.DataFrame({"site": ["mid", "root"], "node": ["b", "a"], "kind": ["ix", "origin"]}),
        "appliances": pd.DataFrame(
            {
                "appliance": ["m1", "m2"],
                "site": ["mid", "mid"],
                "model": "m",
                "storage_gb": [100.0, 50.0],
                "throughput_gbps": [4.0, 3.0],
                "fill_gbps": 1.2,
                "fill_start": "02:00",
                "fill_hours": 12,
            }
        ),
    }


def write(folder, tables, ending=".csv"):
    for name, frame in tables.items():
        write_table(frame, folder / f"{name}{ending}")
    return folder


def problems_of(folder):
    problems = []
    assert validate_network(folder, problems) is None
    with pytest.raises(InputError) as caught:
        read_network(folder)
    assert caught.value.problems == problems
    assert all(p.mend and p.message for p in problems)
    return problems


def the_problem(folder):
    problems = problems_of(folder)
    assert len(problems) == 1, [str(p) for p in problems]
    return problems[0]


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_a_sound_folder(tmp_path, ending):
    network = read_network(write(tmp_path, small(), ending))
    assert network.link_ends.tolist() == [[0, 1], [2, 1]]
    assert network.region_node.tolist() == [0, 2]
    assert network.site_node.tolist() == [1, 0]
    assert network.appliance_site.tolist() == [0, 0]
    assert network.is_origin.tolist() == [False, True]
    assert network.site_storage_gb.tolist() == [150.0, np.inf]
    assert network.site_throughput_gbps.tolist() == [7.0, np.inf]
    assert network.sites["timezone"].tolist() == ["UTC", "UTC"], "the nearest region's, where none is given"
    assert network.steering is None


def test_nothing_can_be_written_to(tmp_path):
    network = read_network(write(tmp_path, small()))
    for array in (network.link_ends, network.site_storage_gb, network.region_node, network.is_origin):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_given_time_zones_are_kept_and_blank_ones_filled(tmp_path):
    tables = small()
    tables["sites"] = tables["sites"].assign(timezone=["Europe/Berlin", ""])
    assert read_network(write(tmp_path, tables)).sites["timezone"].tolist() == ["Europe/Berlin", "UTC"]


def test_the_graph_has_every_link_with_its_facts(tmp_path):
    tables = small()
    tables["links"] = pd.concat([tables["links"], tables["links"].iloc[:1].assign(link="ab2", cost_per_gb=9.0)])
    graph = read_network(write(tmp_path, tables)).graph()
    assert isinstance(graph, nx.MultiGraph)
    assert graph.number_of_edges("a", "b") == 2
    assert graph.edges["c", "b", "bc"] == {"capacity_gbps": 20.0, "length_km": 4300.0, "cost_per_gb": 2.0}
    assert graph.edges["a", "b", "ab2"]["cost_per_gb"] == 9.0
    assert graph.nodes["b"] == {"lat": 0.0, "lon": 1.0}


@given(tables=network_tables())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_as_it_was_built(tmp_path_factory, tables):
    folder = tmp_path_factory.mktemp("network")
    if tables["appliances"].empty:
        del tables["appliances"]
        write(folder, tables)
        assert the_problem(folder).table == "appliances"
        return
    write(folder, tables)
    ordered = {name: table.sort_values(load_schema("topology", name).key) for name, table in tables.items()}
    built, read = build_network(ordered), read_network(folder)
    for name in ("link_ends", "region_node", "site_node", "appliance_site", "site_storage_gb", "site_throughput_gbps"):
        np.testing.assert_array_equal(getattr(read, name), getattr(built, name))
    for name in ("node_ids", "link_ids", "region_ids", "site_ids", "appliance_ids"):
        assert list(getattr(read, name)) == list(getattr(built, name))


def test_a_network_of_one_node_needs_no_link(tmp_path):
    tables = small()
    tables["nodes"], tables["links"] = tables["nodes"].iloc[:1], tables["links"].iloc[:0]
    for name in ("regions", "sites"):
        tables[name] = tables[name].assign(node=tables["nodes"]["node"].iloc[0])
    network = read_network(write(tmp_path, tables))
    assert len(network.links) == 0
    trees = site_trees(network)
    assert (trees.cost_per_gb == 0).all()
    assert len(region_paths(network, trees, steering_routes(network, trees)).arcs) == 0


def test_several_nodes_without_a_link_are_cut_off(tmp_path):
    tables = small()
    tables["links"] = tables["links"].iloc[:0]
    problem = the_problem(write(tmp_path, tables))
    assert (problem.table, problem.row) == ("links", None)
    assert problem.message == "the table is empty, so no path leads to an origin from 2 regions and sites"


def test_no_folder(tmp_path):
    assert "no such folder" in the_problem(tmp_path / "nowhere").message


def test_an_empty_folder_lists_every_missing_table(tmp_path):
    problems = problems_of(tmp_path)
    assert [p.table for p in problems] == ["nodes", "links", "regions", "sites", "appliances"]
    assert "throughput_gbps" in problems[-1].mend


def test_a_table_in_two_forms(tmp_path):
    write(tmp_path, small())
    write_table(small()["nodes"], tmp_path / "nodes.parquet")
    problem = the_problem(tmp_path)
    assert problem.table == "nodes"
    assert "twice" in problem.message


def broken(table, row, column, value):
    def change(tables):
        tables[table] = tables[table].astype({column: object})
        tables[table].loc[row - 1, column] = value

    return pytest.param(change, (table, row, column, str(value)), id=f"{table}.{column}={value}")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        broken("nodes", 2, "lat", 90.5),
        broken("nodes", 2, "lon", -181),
        broken("nodes", 3, "lat", "north"),
        broken("links", 1, "capacity_gbps", 0),
        broken("links", 2, "cost_per_gb", -1),
        broken("links", 2, "length_km", "inf"),
        broken("links", 2, "length_km", 1e300),
        broken("links", 1, "length_km", 100001.0),
        broken("links", 2, "cost_per_gb", 1e300),
        broken("links", 2, "source", "nowhere"),
        broken("links", 1, "target", "nowhere"),
        broken("regions", 2, "node", "nowhere"),
        broken("regions", 1, "timezone", "Mars/Base"),
        broken("regions", 1, "subscribers", -5),
        broken("regions", 1, "subscribers", 1e300),
        broken("sites", 1, "node", "nowhere"),
        broken("sites", 1, "kind", "edge"),
        broken("appliances", 2, "site", "nowhere"),
        broken("appliances", 2, "appliance", "m1"),
        broken("appliances", 2, "storage_gb", "nan"),
        broken("appliances", 2, "throughput_gbps", -1),
        broken("appliances", 1, "fill_start", "2 am"),
        broken("appliances", 1, "fill_hours", 25),
        broken("links", 2, "link", "ab"),
    ],
)
def test_one_wrong_value_is_named_where_it_stands(tmp_path, change, where):
    tables = small()
    change(tables)
    problem = the_problem(write(tmp_path, tables))
    assert (problem.table, problem.row, problem.column, problem.value) == where


def test_everything_wrong_comes_at_once(tmp_path):
    tables = small()
    tables["nodes"].loc[0, "lat"] = 100.0
    tables["regions"].loc[0, "timezone"] = "Nowhere"
    tables["appliances"].loc[1, "storage_gb"] = -1.0
    write(tmp_path, tables)
    (tmp_path / "links.csv").unlink()
    assert [p.table for p in problems_of(tmp_path)] == ["nodes", "links", "regions", "appliances"]


def test_no_origin(tmp_path):
    tables = small()
    tables["sites"]["kind"] = "ix"
    assert "no site of kind origin" in the_problem(write(tmp_path, tables)).message


def test_a_link_from_a_node_to_itself_is_named_even_without_an_origin(tmp_path):
    tables = small()
    tables["links"] = pd.concat([tables["links"], tables["links"].iloc[:1].assign(link="aa", target="a")])
    assert the_problem(write(tmp_path, tables)).row == 3
    tables["sites"]["kind"] = "ix"
    assert [p.table for p in problems_of(write(tmp_path, tables))] == ["links", "sites"]


def test_a_disconnected_region_and_site(tmp_path):
    tables = small()
    tables["links"] = tables["links"].iloc[:1]
    tables["sites"].loc[2] = ["far", "c", "embedded"]
    problems = problems_of(write(tmp_path, tables))
    assert [(p.table, p.row, p.value) for p in problems] == [("regions", 2, "c"), ("sites", 3, "c")]
    assert "'right' is disconnected" in problems[0].message


def test_steering_faults(tmp_path):
    tables = small()
    rows = [("left", "mid", 1, 1.0), ("left", "root", 1, 2.0), ("right", "mid", 1, 2.0)]
    tables["steering"] = pd.DataFrame(rows, columns=["region", "site", "rank", "cost_per_gb"])
    problems = problems_of(write(tmp_path, tables))
    assert [(p.table, p.row, p.column) for p in problems] == [("steering", 2, "rank"), ("steering", None, "site")]
    assert problems[1].value == "right"
    tables["steering"] = tables["steering"].assign(rank=[1, 0, 2.5])
    assert [p.row for p in problems_of(write(tmp_path, tables))] == [2, 3]


def test_missing_tables_of_build_network():
    tables = small()
    del tables["sites"]
    with pytest.raises(InputError, match="sites: missing table"):
        build_network(tables)


def test_a_problem_in_words_and_as_values():
    problem = Problem(table="nodes", row=3, column="lat", value="x", message="not a number", mend="give one")
    assert str(problem) == "nodes, row 3, column lat: not a number (value 'x'). Mend: give one"
    assert problem.as_dict()["row"] == 3
    assert len(InputError(problem).problems) == 1
