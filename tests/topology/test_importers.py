"""Importers against small files written here, and TopoHub's own."""

import io
import tarfile

import numpy as np
import pytest

from topology.backbone import DEFAULT_CAPACITY_GBPS, link_cost_per_gb, unique_names
from topology.errors import InputError
from topology.geography import great_circle_km
from topology.importers import read_graphml, read_sndlib, read_topohub


def graphml(nodes, edges, directed=False, label="Net"):
    """GraphML as the Topology Zoo writes it; nodes: (id, label, lat, lon), edges: (source, target, {name: value})."""
    names = ["LinkSpeed", "LinkSpeedUnits", "LinkSpeedRaw"]
    keys = "".join(f'<key attr.name="{n}" attr.type="string" for="edge" id="{n}"/>' for n in names)
    keys += '<key attr.name="label" attr.type="string" for="graph" id="g"/>'
    keys += '<key attr.name="label" attr.type="string" for="node" id="label"/>'
    keys += "".join(f'<key attr.name="{n}" attr.type="double" for="node" id="{n}"/>' for n in ("Latitude", "Longitude"))
    body = ""
    for node, name, lat, lon in nodes:
        facts = {"label": name, "Latitude": lat, "Longitude": lon}
        inner = "".join(f'<data key="{k}">{v}</data>' for k, v in facts.items() if v is not None)
        body += f'<node id="{node}">{inner}</node>'
    for source, target, facts in edges:
        inner = "".join(f'<data key="{k}">{v}</data>' for k, v in facts.items())
        body += f'<edge source="{source}" target="{target}">{inner}</edge>'
    kind = "directed" if directed else "undirected"
    return (
        '<?xml version="1.0" encoding="utf-8"?><graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
        f'{keys}<graph edgedefault="{kind}"><data key="g">{label}</data>{body}</graph></graphml>'
    )


def sndlib(nodes, links, coordinates="geographical", unit=None):
    """SNDlib XML; nodes: (id, x, y), links: (id, source, target, pre-installed or None, [modules])."""
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><network xmlns="http://sndlib.zib.de/network" version="1.0">'
    text += f"<meta><unit>{unit}</unit></meta>" if unit else ""
    text += f'<networkStructure><nodes coordinatesType="{coordinates}">'
    for node, x, y in nodes:
        text += f'<node id="{node}"><coordinates><x>{x}</x><y>{y}</y></coordinates></node>'
    text += "</nodes><links>"
    for link, source, target, installed, modules in links:
        text += f'<link id="{link}"><source>{source}</source><target>{target}</target>'
        if installed is not None:
            text += f"<preInstalledModule><capacity>{installed}</capacity><cost>0</cost></preInstalledModule>"
        added = "".join(f"<addModule><capacity>{m}</capacity><cost>1</cost></addModule>" for m in modules)
        text += f"<additionalModules>{added}</additionalModules></link>"
    return text + "</links></networkStructure></network>"


LINE = [("0", "Oslo", 60, 10), ("1", "Oslo", 60, 20), ("2", "", 50, 20)]


@pytest.fixture
def save(tmp_path):
    def write(text, name="net.xml"):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write


def the_problem(reader, source):
    with pytest.raises(InputError) as caught:
        reader(source)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].mend
    return caught.value.problems[0]


def test_graphml_in_full(save):
    speeds = {"LinkSpeed": "155", "LinkSpeedUnits": "M", "LinkSpeedRaw": "155000000.0"}
    edges = [
        ("0", "1", speeds),
        ("0", "1", {}),
        ("1", "2", {"LinkSpeed": "2.5", "LinkSpeedUnits": "G"}),
        ("2", "2", {}),
    ]
    backbone = read_graphml(save(graphml(LINE, edges)))
    assert backbone.name == "Net"
    assert backbone.nodes["node"].tolist() == ["Oslo", "Oslo (2)", "node"]
    assert backbone.nodes[["lat", "lon"]].to_numpy().tolist() == [[60, 10], [60, 20], [50, 20]]
    links = backbone.links
    assert links["link"].tolist() == ["Oslo - Oslo (2)", "Oslo - Oslo (2) (2)", "Oslo (2) - node"]
    assert links["source"].tolist() == ["Oslo", "Oslo", "Oslo (2)"]
    assert links["capacity_gbps"].tolist() == [0.155, DEFAULT_CAPACITY_GBPS, 2.5]
    assert links["capacity_known"].tolist() == [True, False, True]
    assert links["length_km"].tolist() == pytest.approx(
        [float(great_circle_km(60, 10, 60, 20))] * 2 + [1111.95], abs=0.01
    )
    assert links["cost_per_gb"].to_numpy() == pytest.approx(link_cost_per_gb(links["length_km"].to_numpy()), abs=1e-7)
    assert (backbone.loops_dropped, backbone.nodes_dropped, backbone.nodes_placed) == (1, 0, 0)


@pytest.mark.parametrize(
    ("facts", "gbps"),
    [
        ({"LinkSpeedRaw": "1e9"}, 1.0),
        ({"LinkSpeed": "20", "LinkSpeedUnits": "K"}, 2e-5),
        ({"LinkSpeed": "10", "LinkSpeedUnits": "Gbps"}, 10.0),
        ({"LinkSpeed": "&lt;10", "LinkSpeedUnits": "G"}, None),
        ({"LinkSpeed": "10"}, None),
        ({"LinkSpeedRaw": "0"}, None),
        ({"LinkSpeedRaw": "-5"}, None),
        ({"LinkSpeedRaw": "inf"}, None),
    ],
)
def test_link_speeds(save, facts, gbps):
    links = read_graphml(save(graphml(LINE[:2], [("0", "1", facts)]))).links
    assert links["capacity_known"].iloc[0] == (gbps is not None)
    assert links["capacity_gbps"].iloc[0] == pytest.approx(gbps or DEFAULT_CAPACITY_GBPS)


def test_nodes_without_coordinates_go_amid_their_neighbours(save):
    nodes = [("0", "west", 0, 179), ("1", "east", 0, -179), ("2", "amid", None, None), ("3", "leaf", None, None)]
    backbone = read_graphml(save(graphml(nodes, [("0", "2", {}), ("1", "2", {}), ("2", "3", {})])))
    assert backbone.nodes_placed == 2
    places = backbone.nodes.set_index("node")
    assert abs(places.loc["amid", "lon"]) == pytest.approx(180), "across the date line, not at 0°"
    assert places.loc["amid", "lat"] == 0
    assert places.loc["leaf"].tolist() == places.loc["amid"].tolist()
    assert backbone.links["length_km"].iloc[2] == 0
    assert backbone.links["cost_per_gb"].iloc[2] > 0


def test_only_the_largest_part_is_kept(save):
    nodes = [(str(i), f"n{i}", 10 * i, 0) for i in range(6)] + [("6", "lost", None, None)]
    backbone = read_graphml(save(graphml(nodes, [("0", "1", {}), ("2", "3", {}), ("3", "4", {})])))
    assert backbone.nodes["node"].tolist() == ["n2", "n3", "n4"]
    assert backbone.nodes_dropped == 4
    assert backbone.links["link"].tolist() == ["n2 - n3", "n3 - n4"]


def test_two_arcs_of_a_directed_graph_are_one_link(save):
    edges = [("0", "1", {}), ("1", "0", {}), ("1", "0", {}), ("1", "2", {})]
    links = read_graphml(save(graphml(LINE, edges, directed=True))).links
    assert links[["source", "target"]].to_numpy().tolist() == [
        ["Oslo", "Oslo (2)"],
        ["Oslo (2)", "Oslo"],
        ["Oslo (2)", "node"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not GraphML"),
        ("no XML at all", "not GraphML"),
        ("<graphml>", "not GraphML"),
        ("<html></html>", "not GraphML"),
        (graphml([], []), "no nodes"),
        (graphml([("0", "a", None, None), ("1", "b", None, None)], [("0", "1", {})]), "no node has coordinates"),
        (graphml(LINE, []), "no link"),
        (graphml(LINE, [("0", "0", {})]), "no link"),
        (graphml(LINE, [("0", "1", {})]).replace("double", "nonsense"), "not GraphML"),
    ],
)
def test_graphml_that_is_none(save, text, message):
    assert message in the_problem(read_graphml, save(text)).message


def test_sndlib_in_full(save):
    nodes = [("A", 13.4, 52.5), ("B", 11.6, 48.1), ("C", 9.0, 50.0)]
    links = [("L1", "A", "B", 9920.0, [40000.0]), ("L2", "B", "C", None, [2480.0, 9920.0]), ("L3", "A", "C", None, [])]
    backbone = read_sndlib(save(sndlib(nodes, links, unit="MBITPERSEC"), "toy.xml"))
    assert backbone.name == "toy"
    assert backbone.nodes.to_numpy().tolist() == [["A", 52.5, 13.4], ["B", 48.1, 11.6], ["C", 50.0, 9.0]]
    assert backbone.links["link"].tolist() == ["L1", "L2", "L3"]
    assert backbone.links["capacity_gbps"].tolist() == [9.92, 9.92, DEFAULT_CAPACITY_GBPS]
    assert backbone.links["capacity_known"].tolist() == [True, True, False]
    assert not backbone.schematic


@pytest.mark.parametrize(("module", "gbps"), [(40.0, 40.0), (622.0, 0.622), (504000.0, 0.504), (1e10, 10.0)])
def test_the_unit_where_none_is_named(save, module, gbps):
    path = save(sndlib([("A", 1, 1), ("B", 2, 2)], [("L", "A", "B", None, [module])]))
    assert read_sndlib(path).links["capacity_gbps"].tolist() == pytest.approx([gbps])
    assert read_sndlib(path, unit_gbps=2.0).links["capacity_gbps"].tolist() == [2 * module]


def test_pixel_coordinates_become_a_drawing_of_1000_km(save):
    nodes = [("A", 100, 100), ("B", 300, 100), ("C", 300, 600)]
    path = save(sndlib(nodes, [("L", "A", "B", 1, []), ("M", "B", "C", 1, [])], coordinates="pixel"))
    backbone = read_sndlib(path)
    assert backbone.schematic
    assert backbone.links["length_km"].tolist() == pytest.approx([400, 1000], rel=0.005)
    middle = backbone.nodes[["lat", "lon"]]
    assert ((middle.max() + middle.min()) / 2).tolist() == pytest.approx([0, 0], abs=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not XML"),
        ("?SNDlib native format; type: network", "not XML"),
        ("<network/>", "not an SNDlib network"),
        (graphml(LINE, []), "not an SNDlib network"),
        (sndlib([], []), "no nodes"),
        (sndlib([("A", 1, 1), ("B", 2, 2)], []), "no link"),
        (sndlib([("A", 1, 1)], [("L", "A", "X", 1, [])]), "unknown node"),
        (sndlib([("A", "", ""), ("B", "", "")], [("L", "A", "B", 1, [])]), "no node has coordinates"),
        (sndlib([("A", "", ""), ("B", "", "")], [("L", "A", "B", 1, [])], "pixel"), "no node has coordinates"),
    ],
)
def test_sndlib_that_is_none(save, text, message):
    problem = the_problem(read_sndlib, save(text))
    assert message in problem.message
    if message == "unknown node":
        assert (problem.row, problem.column, problem.value) == (1, "target", "X")


@pytest.mark.parametrize("reader", [read_graphml, read_sndlib])
def test_a_missing_file_and_a_folder(reader, tmp_path):
    assert "cannot be read" in the_problem(reader, tmp_path / "no.xml").message
    assert "cannot be read" in the_problem(reader, tmp_path).message
    assert "cannot be read" in the_problem(reader, f"{tmp_path}/no.tar.xz:net").message


@pytest.mark.parametrize("ending", ["tar.xz", "tar.gz", "tgz", "tar"])
def test_a_member_of_an_archive(tmp_path, ending):
    mode = {"tar.xz": "w:xz", "tar.gz": "w:gz", "tgz": "w:gz", "tar": "w"}[ending]
    with tarfile.open(tmp_path / f"zoo.{ending}", mode) as archive:
        for name in ("zoo/One.graphml", "zoo/Two.graphml", "more/Two.graphml"):
            data = graphml(LINE[:2], [("0", "1", {})], label=name).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    for wanted in ("zoo/One.graphml", "One.graphml", "One"):
        assert read_graphml(f"{tmp_path}/zoo.{ending}:{wanted}").name == "zoo/One.graphml"
    assert read_graphml(f"{tmp_path}/zoo.{ending}:more/Two.graphml").name == "more/Two.graphml"
    assert "several" in the_problem(read_graphml, f"{tmp_path}/zoo.{ending}:Two").message
    problem = the_problem(read_graphml, f"{tmp_path}/zoo.{ending}:Onee")
    assert "no such member" in problem.message
    assert "One" in problem.mend


def test_a_truncated_archive(tmp_path):
    path = tmp_path / "zoo.tar.xz"
    path.write_bytes(b"\xfd7zXZ\x00 but no more")
    assert "not a whole tar archive" in the_problem(read_graphml, f"{path}:One").message


def test_germany50_of_topohub():
    backbone = read_topohub("sndlib/germany50")
    assert (len(backbone.nodes), len(backbone.links)) == (50, 88)
    assert (backbone.nodes_dropped, backbone.schematic) == (0, False)
    berlin = backbone.nodes.set_index("node").loc["Berlin"]
    assert (berlin["lat"], berlin["lon"]) == (52.52, 13.39)
    assert not backbone.links["capacity_known"].any()


def test_topohub_of_every_kind():
    assert len(read_topohub("topozoo/Abilene").links) == 14
    gabriel = read_topohub("gabriel/25/0")
    assert gabriel.schematic
    assert (len(gabriel.nodes), len(gabriel.links)) == (25, 40)
    assert gabriel.links["length_km"].iloc[0] == pytest.approx(127.58, rel=0.01), "TopoHub's own length, in km"
    africa = read_topohub("backbone/africa")
    assert africa.nodes["node"].is_unique


@pytest.mark.parametrize(
    "key", ["sndlib/german50", "", "sndlib", "../topohub/data/sndlib/polska", "sndlib/../sndlib/polska", "/etc/passwd"]
)
def test_unknown_topohub_keys(key):
    problem = the_problem(read_topohub, key)
    assert "no such topology" in problem.message
    assert "use a key such as" in problem.mend
    assert key != "sndlib/german50" or "sndlib/germany50" in problem.mend


def test_unique_names_are_unique_whatever_comes():
    labels = ["a", "a", "a (2)", "a", "", "", "a (2)", "a\tb", "a  b", "x\x00y"]
    names = unique_names(labels, "node")
    assert len(set(names)) == len(labels)
    assert names[:3] == ["a", "a (3)", "a (2)"], "a name that is taken as it is stays with the one that has it"
    assert names[-3:] == ["a b", "a b (2)", "xy"]


def test_costs_grow_with_length_from_that_of_a_hop():
    cost = link_cost_per_gb(np.array([0.0, 200.0, 400.0]))
    assert cost[0] > 0
    assert cost[1] == pytest.approx(2 * cost[0])
    assert cost[2] - cost[1] == pytest.approx(cost[1] - cost[0])
