"""Every published topology either becomes a network or says why not: 276 of the Topology Zoo, 25 of SNDlib, those of TopoHub."""

import tarfile

import numpy as np
import pandas as pd
import pytest

from topology.backbone import Backbone, link_cost_per_gb
from topology.errors import InputError
from topology.fleet import grow_fleet
from topology.geography import great_circle_km
from topology.importers import read_graphml, read_sndlib, read_topohub
from topology.network import read_network
from topology.routing import site_trees
from topology.tables import write_table
from topology.timezones import nearby_population, nearest_timezones, read_cities


@pytest.fixture(scope="module")
def zoo(shared_data, tmp_path_factory):
    return unpacked(shared_data / "topology_zoo/topology_zoo_graphml.tar.xz", tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def sndlib(shared_data, tmp_path_factory):
    return unpacked(shared_data / "sndlib/sndlib-networks-xml.tar.xz", tmp_path_factory.mktemp("sndlib"))


def unpacked(archive, folder):
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return {path.stem: path for path in sorted(folder.rglob("*.*ml"))}


def check_backbone(backbone):
    """What holds for any import: unique names, sound numbers, one connected part."""
    assert isinstance(backbone, Backbone)
    nodes, links = backbone.nodes, backbone.links
    assert nodes["node"].is_unique
    assert links["link"].is_unique
    assert nodes["lat"].between(-90, 90).all()
    assert nodes["lon"].between(-180, 180).all()
    assert (links["source"] != links["target"]).all()
    assert (links["capacity_gbps"] > 0).all()
    assert np.isfinite(links[["capacity_gbps", "length_km", "cost_per_gb"]].to_numpy()).all()
    place = nodes.set_index("node")
    a, b = place.loc[links["source"]], place.loc[links["target"]]
    km = great_circle_km(a["lat"].to_numpy(), a["lon"].to_numpy(), b["lat"].to_numpy(), b["lon"].to_numpy())
    np.testing.assert_allclose(links["length_km"], km, atol=0.2)
    np.testing.assert_allclose(links["cost_per_gb"], link_cost_per_gb(links["length_km"]), atol=1e-7)


def test_the_whole_topology_zoo(shared_data, zoo):
    index = pd.read_csv(shared_data / "topology_zoo/index.csv", keep_default_na=False).set_index("file")
    assert len(zoo) == len(index) == 276
    imported, refused, links = 0, [], 0
    for name, path in zoo.items():
        try:
            backbone = read_graphml(path)
        except InputError as error:
            assert "no node has coordinates" in str(error)
            refused.append(name)
            continue
        imported += 1
        check_backbone(backbone)
        assert len(backbone.nodes) + backbone.nodes_dropped == index.loc[name, "nodes"]
        if backbone.nodes_dropped == 0:
            assert len(backbone.links) + backbone.loops_dropped == index.loc[name, "edges"]
            assert backbone.links["capacity_known"].sum() <= index.loc[name, "edges_with_speed"] + 5
        links += len(backbone.links)
    assert imported == 260
    assert refused == index.index[index["nodes_with_latlon"] == 0].tolist()
    assert links > 13_000


def test_every_network_of_sndlib(shared_data, sndlib):
    nodes = pd.read_csv(shared_data / "sndlib/nodes.csv.gz").groupby("network").size()
    links = pd.read_csv(shared_data / "sndlib/links.csv.gz").groupby("network").size()
    assert len(sndlib) == 25
    for name, path in sndlib.items():
        backbone = read_sndlib(path)
        check_backbone(backbone)
        assert (len(backbone.nodes), len(backbone.links)) == (nodes[name], links[name])
        assert backbone.links["capacity_known"].mean() > 0.9
        assert 0.1 < backbone.links["capacity_gbps"].max() <= 100
    assert sum(read_sndlib(path).schematic for path in sndlib.values()) == 10


def test_germany50(shared_data, sndlib, tmp_path):
    backbone = read_sndlib(f"{shared_data}/sndlib/sndlib-networks-xml.tar.xz:germany50")
    pd.testing.assert_frame_equal(backbone.links, read_sndlib(sndlib["germany50"]).links)
    assert (len(backbone.nodes), len(backbone.links)) == (50, 88)
    assert set(backbone.links["capacity_gbps"]) == {40.0}
    hub = read_topohub("sndlib/germany50")
    assert set(hub.nodes["node"]) == set(backbone.nodes["node"])

    def ends(links):
        return {frozenset(pair) for pair in zip(links["source"], links["target"], strict=True)}

    assert ends(hub.links) == ends(backbone.links)
    cities = read_cities(shared_data / "geo/geonames_cities15000.csv.gz")
    at = backbone.nodes["lat"].to_numpy(), backbone.nodes["lon"].to_numpy()
    zones = dict(zip(backbone.nodes["node"], nearest_timezones(*at, cities), strict=True))
    assert set(zones.values()) == {"Europe/Berlin"}
    people = dict(zip(backbone.nodes["node"], nearby_population(*at, cities, within_km=100), strict=True))
    assert max(people, key=people.get) in {"Berlin", "Hamburg", "Essen", "Koeln", "Duesseldorf", "Frankfurt"}
    rng = np.random.default_rng(0)
    fleet = grow_fleet(backbone, rng, catalogue_gb=10_000, peak_gbps=500, timezones=zones, subscribers=people)
    for table, frame in fleet.items():
        write_table(frame, tmp_path / f"{table}.csv")
    network = read_network(tmp_path)
    assert np.isfinite(site_trees(network).cost_per_gb).all()
    assert set(network.sites["timezone"]) == {"Europe/Berlin"}


def test_geant2009(zoo):
    backbone = read_graphml(zoo["Geant2009"])
    assert (backbone.name, len(backbone.nodes), len(backbone.links)) == ("Geant2009", 34, 52)
    assert (backbone.nodes_dropped, backbone.nodes_placed, backbone.loops_dropped) == (0, 0, 0)
    place = backbone.nodes.set_index("node")
    assert place.loc["DE"].tolist() == pytest.approx([52.524, 13.411], abs=1e-3)
    to_paris = backbone.links.set_index("link").loc["FR - UK"]
    assert to_paris["length_km"] == pytest.approx(344, abs=2)
    assert backbone.links["capacity_known"].mean() > 0.9
    assert {"NL", "UK", "FR", "ES", "IT", "SE", "PL"} <= set(place.index)


def test_every_topology_of_topohub():
    from importlib import resources

    folder = resources.files("topohub") / "data"
    keys = [
        f"{group}/{file.name[:-5]}"
        for group in ("sndlib", "topozoo", "backbone")
        for file in (folder / group).iterdir()
    ]
    keys += [f"gabriel/{size.name}/0" for size in (folder / "gabriel").iterdir()]
    assert len(keys) > 240
    for key in keys:
        check_backbone(read_topohub(key))
