"""Backbones from published topologies: GraphML (Internet Topology Zoo), SNDlib XML and TopoHub.

A file may lie inside a tar archive: ``ARCHIVE.tar.xz:member``, where the member is named in full or by its last part, with or without
its ending (``topology_zoo_graphml.tar.xz:Geant2009``).
"""

import difflib
import io
import json
import math
import re
import tarfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

import networkx as nx
import numpy as np

from topology.backbone import Backbone, RawBackbone, build_backbone, flat_to_degrees
from topology.errors import InputError, Problem

__all__ = ["Backbone", "read_graphml", "read_sndlib", "read_topohub"]

SCHEMATIC_EXTENT_KM = 1000.0
"""How far the longer side of a drawing (SNDlib networks with pixel coordinates) is taken to reach."""

LARGEST_PLAUSIBLE_GBPS = 100.0
"""No single module of the networks in SNDlib (1.0, 2005 to 2010) was faster; see :func:`read_sndlib`."""

_SNDLIB = "{http://sndlib.zib.de/network}"
_GBPS_OF_UNIT = {"": 1e-9, "K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3}
_SNDLIB_UNITS = {"BITPERSEC": 1e-9, "KBITPERSEC": 1e-6, "MBITPERSEC": 1e-3, "GBITPERSEC": 1.0}
_ARCHIVE = re.compile(r"(?P<archive>.+?\.(?:tar(?:\.\w+)?|tgz|txz)):(?P<member>.+)", re.DOTALL)


def read_graphml(path: Path | str) -> Backbone:
    """Read a GraphML file as the Internet Topology Zoo writes them.

    Nodes: ``label``, ``Latitude`` and ``Longitude`` (also ``lat`` and ``lon``, any case). Links: ``LinkSpeedRaw`` in bit/s, else
    ``LinkSpeed`` in ``LinkSpeedUnits`` (K, M, G), else :data:`topology.backbone.DEFAULT_CAPACITY_GBPS`. Parallel links stay separate;
    in a directed graph the two directions are one link.

    Parameters
    ----------
    path
        The file, or ``ARCHIVE.tar.xz:member``.

    Raises
    ------
    InputError
        If the file is missing, is not GraphML, or holds no two joined places with coordinates.

    References
    ----------
    Knight, Nguyen, Falkner, Bowden, Roughan: The Internet Topology Zoo, IEEE JSAC 29(9), 2011.
    """
    name, data = _read_bytes(path)
    try:
        graph = nx.read_graphml(io.BytesIO(data), force_multigraph=True)
    except (ET.ParseError, nx.NetworkXError, ValueError, KeyError, TypeError, AttributeError, LookupError) as error:
        raise _wrong(name, f"not GraphML ({_first_line(error)})", "give a GraphML file (XML)") from error
    nodes = list(graph.nodes)
    index = {node: i for i, node in enumerate(nodes)}
    facts = [{str(k).lower(): v for k, v in graph.nodes[node].items()} for node in nodes]
    edges = [(index[a], index[b], data) for a, b, data in graph.edges(data=True)]
    if graph.is_directed():
        edges = _merge_directions(edges)
    return build_backbone(
        RawBackbone(
            name=str(graph.graph.get("label") or graph.graph.get("Network") or name),
            labels=[str(fact.get("label", node)) for node, fact in zip(nodes, facts, strict=True)],
            lat=np.array([_number(fact, "latitude", "lat") for fact in facts]),
            lon=np.array([_number(fact, "longitude", "lon", "lng") for fact in facts]),
            ends=np.array([edge[:2] for edge in edges], int).reshape(-1, 2),
            capacity_gbps=np.array([_link_speed_gbps(edge[2]) for edge in edges]),
        )
    )


def read_sndlib(path: Path | str, *, unit_gbps: float | None = None) -> Backbone:
    """Read a network in SNDlib's XML format.

    The capacity of a link is that of its pre-installed module, else of its largest module. SNDlib leaves the unit to each network and
    seldom names it, so: the unit the file names (``meta/unit``); else the largest of Gbit/s, Mbit/s, kbit/s and bit/s in which no module
    is faster than 100 Gbit/s. Ten networks have pixel coordinates: they are imported as drawings (``Backbone.schematic``), their longer
    side taken as 1000 km, so that lengths and costs are right relative to each other.

    Parameters
    ----------
    path
        The file, or ``ARCHIVE.tar.xz:member``.
    unit_gbps
        Gbit/s in one unit of the file's capacities, where the user knows better.

    Raises
    ------
    InputError
        If the file is missing, is not an SNDlib network, or a link names an unknown node.

    References
    ----------
    Orlowski, Wessäly, Pióro, Tomaszewski: SNDlib 1.0, Survivable Network Design Library, Networks 55(3), 2010.
    """
    name, data = _read_bytes(path)
    try:
        root = ET.fromstring(data)  # noqa: S314 - expat refuses entity bombs since 2.4.1
    except (ET.ParseError, ValueError, LookupError) as error:
        raise _wrong(name, f"not XML ({_first_line(error)})", "give an SNDlib file in XML format") from error
    if root.find(f"{_SNDLIB}networkStructure") is None:
        raise _wrong(
            name, "XML, but not an SNDlib network", "give an SNDlib file in XML format (native text is not read)"
        )
    nodes = root.findall(f".//{_SNDLIB}nodes/{_SNDLIB}node")
    links = root.findall(f".//{_SNDLIB}links/{_SNDLIB}link")
    labels = [node.get("id", "") for node in nodes]
    index = {label: i for i, label in enumerate(labels)}
    ends = []
    for row, link in enumerate(links, 1):
        pair = [_text(link, "source"), _text(link, "target")]
        for column, end in zip(("source", "target"), pair, strict=True):
            if end not in index:
                raise InputError(
                    Problem(
                        table=f"{name} links",
                        row=row,
                        column=column,
                        value=end,
                        message="unknown node",
                        mend="name a node of the file's <nodes>",
                    )
                )
        ends.append([index[end] for end in pair])
    x = np.array([_float(_text(node, f"coordinates/{_SNDLIB}x")) for node in nodes])
    y = np.array([_float(_text(node, f"coordinates/{_SNDLIB}y")) for node in nodes])
    holder = root.find(f".//{_SNDLIB}nodes")
    kind = "geographical" if holder is None else holder.get("coordinatesType", "geographical")
    lat, lon, schematic = _lat_lon(x, y, geographical=kind == "geographical")
    capacity = np.array([_installed_capacity(link) for link in links])
    unit = unit_gbps or _sndlib_unit(root.findtext(f"{_SNDLIB}meta/{_SNDLIB}unit"), capacity)
    return build_backbone(
        RawBackbone(
            name=PurePosixPath(name).stem,
            labels=labels,
            lat=lat,
            lon=lon,
            ends=np.array(ends, int).reshape(-1, 2),
            capacity_gbps=capacity * unit,
            link_names=[link.get("id", "") for link in links],
            schematic=schematic,
        )
    )


def read_topohub(key: str) -> Backbone:
    """Read a topology that comes with the package topohub, such as ``sndlib/germany50`` or ``topozoo/Abilene``.

    TopoHub tells positions, not capacities. Some are drawings and become a schematic backbone: the Gabriel graphs, drawn in kilometres,
    and those of SNDlib with pixel coordinates, taken as in :func:`read_sndlib`.

    Raises
    ------
    InputError
        If there is no such topology.

    References
    ----------
    Jurkiewicz: TopoHub: A repository of reference Gabriel graph and real-world topologies for networking research, SoftwareX 24, 2023.
    """
    folder = resources.files("topohub") / "data"
    file = folder / f"{key}.json"
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+", key) or ".." in key or not file.is_file():
        near = difflib.get_close_matches(key, _topohub_keys(folder), n=3, cutoff=0.4)
        raise _wrong(
            f"topohub {key}",
            "TopoHub has no such topology",
            "use a key such as " + ", ".join(near or ["sndlib/germany50"]),
        )
    topology = json.loads(file.read_text("utf-8"))
    nodes = topology["nodes"]
    index = {node["id"]: i for i, node in enumerate(nodes)}
    x, y = np.array([node["pos"] for node in nodes], float).reshape(-1, 2).T
    if key.startswith("gabriel/"):
        (lat, lon), schematic = flat_to_degrees(x, y), True
    else:
        lat, lon, schematic = _lat_lon(x, y, geographical=bool((np.abs(x) <= 180).all() and (np.abs(y) <= 90).all()))
    return build_backbone(
        RawBackbone(
            name=key,
            labels=[str(node.get("name") or node["id"]) for node in nodes],
            lat=lat,
            lon=lon,
            ends=np.array([[index[e["source"]], index[e["target"]]] for e in topology["edges"]], int).reshape(-1, 2),
            capacity_gbps=np.full(len(topology["edges"]), np.nan),
            schematic=schematic,
        )
    )


def _read_bytes(path: Path | str) -> tuple[str, bytes]:
    """The name and content of a file or of a member of an archive."""
    parts = None if Path(path).exists() else _ARCHIVE.fullmatch(str(path))
    try:
        if parts is None:
            return Path(path).stem, Path(path).read_bytes()
        with tarfile.open(parts["archive"]) as archive:
            files = [name for name in archive.getnames() if PurePosixPath(name).suffix]
            wanted = parts["member"]
            named = [n for n in files if n == wanted or wanted in (PurePosixPath(n).name, PurePosixPath(n).stem)]
            content = archive.extractfile(named[0]) if len(named) == 1 else None
            if content is None:
                near = difflib.get_close_matches(wanted, [PurePosixPath(n).stem for n in files], n=3, cutoff=0.4)
                raise _wrong(
                    str(path),
                    "several members have this name" if named else "the archive has no such member",
                    "name one of its members in full" + (", such as " + ", ".join(near) if near else ""),
                )
            return PurePosixPath(named[0]).stem, content.read()
    except (tarfile.TarError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise _wrong(str(path), f"not a whole tar archive ({_first_line(error)})", "fetch it again") from error
    except OSError as error:
        raise _wrong(str(path), f"cannot be read ({error.strerror or error})", "check the path") from error


def _merge_directions(edges: list[tuple[int, int, dict[str, object]]]) -> list[tuple[int, int, dict[str, object]]]:
    """One full-duplex link of each pair of opposite arcs; an arc without its opposite is a link too."""
    waiting: Counter[tuple[int, int]] = Counter()
    links = []
    for a, b, data in edges:
        if a != b and waiting[b, a]:
            waiting[b, a] -= 1
            continue
        waiting[a, b] += 1
        links.append((a, b, data))
    return links


def _link_speed_gbps(data: Mapping[str, object]) -> float:
    raw = _number(data, "LinkSpeedRaw")
    if raw > 0:
        return raw / 1e9
    unit = str(data.get("LinkSpeedUnits", "")).strip().upper()[:1]
    return _number(data, "LinkSpeed") * _GBPS_OF_UNIT[unit] if unit in _GBPS_OF_UNIT and unit else math.nan


def _lat_lon(x: np.ndarray, y: np.ndarray, *, geographical: bool) -> tuple[np.ndarray, np.ndarray, bool]:
    """Degrees from x (longitude) and y (latitude), or from a drawing; whether it was a drawing."""
    if geographical:
        return y, x, False
    spans = [float(np.nanmax(v) - np.nanmin(v)) for v in (x, y) if np.isfinite(v).any()]
    scale = SCHEMATIC_EXTENT_KM / max([*spans, 1e-9])
    lat, lon = flat_to_degrees(x * scale, y * scale)
    return lat, lon, True


def _installed_capacity(link: ET.Element) -> float:
    installed = _float(_text(link, f"preInstalledModule/{_SNDLIB}capacity"))
    if installed > 0:
        return installed
    modules = [_float(e.text or "") for e in link.iter(f"{_SNDLIB}capacity")]
    return max([m for m in modules if m > 0], default=math.nan)


def _sndlib_unit(named: str | None, capacity: np.ndarray) -> float:
    if named and named.strip().upper() in _SNDLIB_UNITS:
        return _SNDLIB_UNITS[named.strip().upper()]
    largest = np.nanmax(capacity) if np.isfinite(capacity).any() else 0.0
    fitting = [
        unit for unit in sorted(_SNDLIB_UNITS.values(), reverse=True) if largest * unit <= LARGEST_PLAUSIBLE_GBPS
    ]
    return fitting[0] if fitting else min(_SNDLIB_UNITS.values())


def _topohub_keys(folder: Traversable, before: str = "") -> list[str]:
    keys: list[str] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            keys += _topohub_keys(entry, f"{before}{entry.name}/")
        elif entry.name.endswith(".json"):
            keys.append(before + entry.name.removesuffix(".json"))
    return sorted(keys)


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(_SNDLIB + path) or "").strip()


def _number(data: Mapping[str, object], *names: str) -> float:
    return next((value for name in names if not math.isnan(value := _float(str(data.get(name, ""))))), math.nan)


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]


def _wrong(name: str, message: str, mend: str) -> InputError:
    return InputError(Problem(table=name, message=message, mend=mend))
