"""Manifests: what an appliance does when it follows its own, line by line."""

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.fill import SourceRules, difference, manifest_name, manifests, schedule_fills
from demand.catalogue import build_catalogue
from tests.fill_nights import make_catalogue, make_network, placed
from topology.network import build_network
from topology.routing import site_trees

DAY = dt.date(2026, 1, 15)


def told(network, catalogue, now, before, value=None):
    change = difference(now, before)
    schedule = schedule_fills(network, catalogue, change, site_trees(network), date=DAY, value=value, rules=SourceRules())  # fmt: skip
    texts = manifests(network, catalogue, change, schedule)
    return {name: [json.loads(line) for line in text.splitlines()] for name, text in texts.items()}


def test_a_night_line_by_line():
    network = make_network(["UTC"], [(0, 250.0, 1.0, "02:00", 0.4), (0, 100.0, 1.0, "02:00", 12.0)])
    catalogue = make_catalogue([100.0, 50.0, 100.0, 100.0, 150.0])
    now, before = placed((0, 0), (0, 1), (0, 2), (1, 3)), placed((0, 1), (0, 3), (0, 4))
    told_0 = told(network, catalogue, now, before, np.array([2.0, 1.0, 1.0]))
    assert len(difference(now, before).added) == 3
    assert told_0["a0.jsonl"] == [
        {"action": "drop", "file": "f4", "gb": 150.0, "source": None, "start": "2026-01-15T02:00:00.000Z", "order": 1},
        {"action": "add", "file": "f0", "gb": 100.0, "source": "origin", "start": "2026-01-15T02:00:00.000Z", "order": 2},
        {"action": "drop", "file": "f3", "gb": 100.0, "source": None, "start": "2026-01-15T02:13:20.000Z", "order": 3},
        {"action": "add", "file": "f2", "gb": 100.0, "source": None, "start": None, "order": None},
        {"action": "keep", "file": "f1", "gb": 50.0, "source": None, "start": None, "order": None},
    ]  # fmt: skip
    assert told_0["a1.jsonl"] == [
        {"action": "add", "file": "f3", "gb": 100.0, "source": "a0", "start": "2026-01-15T02:00:00.000Z", "order": 1}
    ]


COPIES = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 7)))


@given(COPIES, COPIES, st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_following_the_lines_in_order_ends_with_the_plan_and_never_exceeds_the_storage(now, before, seed):
    sizes = np.random.default_rng(seed).integers(1, 90, 8).astype(float)
    room = [max(sum(sizes[f] for b, f in copies if b == a) for copies in (now, before)) for a in range(4)]
    network = make_network(["UTC", "Asia/Tokyo"], [(a % 2, room[a], 1.0, "02:00", 0.3) for a in range(4)])
    for a, lines in enumerate(told(network, make_catalogue(sizes), placed(*now), placed(*before)).values()):
        held = {f"f{f}" for b, f in before if b == a}
        due = [line for line in lines if line["order"] is not None]
        assert [line["order"] for line in due] == list(range(1, len(due) + 1))
        assert [line["start"] for line in due] == sorted(line["start"] for line in due)
        for line in due:
            if line["action"] == "add":
                assert line["file"] not in held
                held.add(line["file"])
            else:
                held.remove(line["file"])
            assert sum(sizes[int(name[1:])] for name in held) <= room[a]
        kept = {line["file"] for line in lines if line["action"] == "keep"}
        late = {line["file"] for line in lines if line["action"] == "add" and line["order"] is None}
        assert kept <= held
        assert held | late == {f"f{f}" for b, f in now if b == a}


def test_any_name_becomes_a_file_name_of_its_own(tmp_path):
    names = [
        "a/b",
        "..",
        ".",
        "a b",
        "ü\u0301",
        "日本",
        "a%2Fb",
        "CON",
        "x" * 300,
        "x" * 301,
        "😀" * 90,
        "a\\b",
        "*?<>|:",
    ]
    files = [manifest_name(name) for name in names]
    assert len(set(files)) == len(names)
    for file in files:
        assert file.isascii() and not file.startswith(".") and "/" not in file and len(file) < 256
        (tmp_path / file).write_text("x")
    assert len(list(tmp_path.iterdir())) == len(names)


@pytest.mark.parametrize("name", ['a"b', "line\u2028sep", "emoji 😀", "\\", "' ; drop", "{}"])
def test_file_names_survive_json(name):
    network = make_network(["UTC"], [(0, 10.0, 1.0, "02:00", 12.0)])
    files = pd.DataFrame({"file": [name], "title": ["t"], "profile": ["p"], "bitrate_kbps": [1000.0], "size_gb": [1.0]})
    text = manifests(
        network,
        catalogue := build_catalogue(pd.DataFrame({"title": ["t"]}), files),
        change := difference(placed((0, 0)), placed()),
        schedule_fills(network, catalogue, change, site_trees(network), date=DAY),
    )["a0.jsonl"]
    assert text.count("\n") == 1 and json.loads(text)["file"] == name


def test_origins_get_no_manifest():
    network = make_network(["UTC"], [(0, 10.0, 1.0, "02:00", 12.0), (0, 10.0, 1.0, "02:00", 12.0)])
    appliances = network.appliances.assign(site=["s0", "origin"])
    tables = {name: getattr(network, name) for name in ("nodes", "links", "regions", "sites", "steering")}
    found = told(build_network({**tables, "appliances": appliances}), make_catalogue([1.0]), placed((0, 0)), placed())
    assert list(found) == ["a0.jsonl"]
