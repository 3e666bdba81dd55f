"""What-if scenarios: the form, the edits, and the comparison."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cdn.scenario import (
    Scenario,
    check_scenario,
    compare,
    edit_demand,
    edit_network,
    edit_sessions,
    outages,
    read_scenarios,
)
from demand.catalogue import Catalogue, build_catalogue
from demand.demand import Demand, build_demand
from sim.sessions import DAY_MS, Sessions, build_sessions
from topology.errors import InputError
from topology.network import Network, build_network
from topology.routing import site_trees


@pytest.fixture(scope="module")
def network() -> Network:
    """A triangle a-b-c and a spur c-d; the origin at a, edge sites at b (two appliances) and d (one), an empty one at c."""
    return build_network(
        {
            "nodes": pd.DataFrame({"node": list("abcd"), "lat": [50.0, 51, 52, 53], "lon": [8.0, 9, 10, 11]}),
            "links": pd.DataFrame(
                {
                    "link": ["ab", "bc", "ca", "cd"],
                    "source": list("abcc"),
                    "target": list("bcad"),
                    "capacity_gbps": [10.0, 10, 10, 10],
                    "length_km": [1.0, 1, 1, 1],
                    "cost_per_gb": [1.0, 1, 5, 1],
                }
            ),
            "regions": pd.DataFrame(
                {"region": ["north", "south"], "node": ["d", "b"], "timezone": ["UTC", "UTC"], "subscribers": [1.0, 2]}
            ),
            "sites": pd.DataFrame(
                {
                    "site": ["origin", "beta", "gamma", "delta"],
                    "node": ["a", "b", "c", "d"],
                    "kind": ["origin", "ix", "ix", "embedded"],
                }
            ),
            "appliances": pd.DataFrame(
                {
                    "appliance": ["b1", "b2", "d1"],
                    "site": ["beta", "beta", "delta"],
                    "model": ["m", "l", "m"],
                    "storage_gb": [100.0, 300, 100],
                    "throughput_gbps": [1.0, 3, 1],
                    "fill_gbps": [1.0, 1, 1],
                    "fill_start": ["02:00"] * 3,
                    "fill_hours": [6.0] * 3,
                    "cost": [0.0] * 3,
                }
            ),
        }
    )


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    titles = pd.DataFrame({"title": ["alpha", "omega", "zeta", "unplayed"]})
    files = pd.DataFrame(
        {
            "file": ["a-low", "a-high", "o-low", "o-high", "z-mid"],
            "title": ["alpha", "alpha", "omega", "omega", "zeta"],
            "profile": ["low", "high", "low", "high", "mid"],
            "bitrate_kbps": [1000.0, 5000, 1100, 4000, 2000],
            "size_gb": [1.0, 5, 1, 4, 2],
        }
    )
    return build_catalogue(titles, files)


def random_demand(rng: np.random.Generator) -> Demand:
    pairs = np.flatnonzero(rng.random(10) < 0.8)
    pairs = pairs if len(pairs) else np.array([0])
    gb = rng.uniform(0.1, 50, len(pairs))
    return build_demand(pairs % 2, pairs // 2, gb, gb / 1000, gb * 0.5, gb * 1.5)


def random_sessions(rng: np.random.Generator, count: int) -> Sessions:
    return build_sessions(
        rng.integers(0, DAY_MS, count),
        rng.integers(0, 2, count),
        rng.integers(0, 5, count),
        rng.integers(1, 7_200_000, count),
        rng.integers(1, 10**9, count),
    )


def scenario(**parts: object) -> Scenario:
    return Scenario.model_validate({"name": "test", **parts})


def by_pair(region: np.ndarray, file: np.ndarray, gb: np.ndarray) -> np.ndarray:
    """(2, 5) bytes of each region and file."""
    table = np.zeros((2, 5))
    np.add.at(table, (region, file), gb)
    return table


def rows_of(sessions: Sessions) -> list[tuple[int, ...]]:
    columns = (sessions.start_ms, sessions.region, sessions.file, sessions.duration_ms, sessions.bytes)
    return sorted(zip(*(c.tolist() for c in columns), strict=True))


# The form


FULL = """
[[scenario]]
name = "more at beta"
plan = "replan"
[[scenario.site]]
site = "beta"
storage_factor = 1.5
throughput_gbps = 8
[[scenario.link]]
link = "ab"
capacity_factor = 0.5

[[scenario]]
name = "premiere"
[[scenario.appliance]]
appliance = "b1"
down = true
[[scenario.demand]]
region = "north"
factor = 1.3
[[scenario.promote]]
title = "alpha"
share = 0.2
"""


def test_reads_the_documented_form(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(FULL, "utf-8")
    first, second = read_scenarios(path)
    assert (first.name, first.plan, first.site[0].storage_factor, first.site[0].throughput_gbps) == (
        "more at beta",
        "replan",
        1.5,
        8.0,
    )
    assert first.link[0].capacity_factor == 0.5 and not first.link[0].down
    assert second.plan == "keep" and second.appliance[0].down and second.demand[0].factor == 1.3
    assert second.promote[0].share == 0.2 and second.promote[0].total == "kept"


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("[[scenario]]\nplan = 'keep'", "scenario[1].name", "missing key"),
        ("[[scenario]]\nname = 'x'\nplan = 'forget'", "scenario[1].plan", "keep"),
        ("[[scenario]]\nname = 'x'\n[[scenario.site]]\nsite = 'b'\nstorage_faktor = 2", "scenario[1].site[1].storage_faktor", "perhaps 'storage_factor'"),
        ("[[scenario]]\nname = 'x'\n[[scenario.site]]\nsite = 'b'\nstorage_factor = -1", "scenario[1].site[1].storage_factor", "greater than or equal to 0"),
        ("[[scenario]]\nname = 'x'\n[[scenario.site]]\nsite = 'b'\nstorage_factor = '2'", "scenario[1].site[1].storage_factor", "number"),
        ("[[scenario]]\nname = 'x'\n[[scenario.demand]]\nfactor = nan", "scenario[1].demand[1].factor", "finite"),
        ("[[scenario]]\nname = 'x'\n[[scenario.demand]]\nfactor = inf", "scenario[1].demand[1].factor", "finite"),
        ("[[scenario]]\nname = 'x'\n[[scenario.site]]\nsite = 'b'\nstorage_factor = 2\nstorage_gb = 3", "scenario[1].site[1]", "not both"),
        ("[[scenario]]\nname = 'x'\n[[scenario.site]]\nsite = 'b'\nstorage_gb = 3\nat = '20:00'", "scenario[1].site[1]", "down = true"),
        ("[[scenario]]\nname = 'x'\n[[scenario.site]]\nsite = 'b'\ndown = true\nat = '25:00'", "scenario[1].site[1].at", "no time of the day (value '25:00'). Mend: say HH:MM"),
        ("[[scenario]]\nname = 'x'\n[[scenario.appliance]]\nappliance = 'b'\ndown = true\nat = '20:00'\nuntil = '19:00'", "scenario[1].appliance[1]", "does not come after"),
        ("[[scenario]]\nname = 'x'\n[[scenario.link]]\nlink = 'b'", "scenario[1].link[1]", "nothing is changed"),
        ("[[scenario]]\nname = 'x'\n[[scenario.link]]\nlink = 'b'\ncapacity_factor = 0", "scenario[1].link[1].capacity_factor", "greater than 0"),
        ("[[scenario]]\nname = 'x'\n[[scenario.promote]]\ntitle = 'a'\nshare = 0.1\nfactor = 2", "scenario[1].promote[1]", "not both"),
        ("[[scenario]]\nname = 'x'\n[[scenario.demand]]\nfactor = 1e300", "scenario[1].demand[1].factor", "less than or equal to 1000000000"),
        ("[[scenario]]\nname = 'x'\n[[scenario.promote]]\ntitle = 'a'\nshare = 0.1\ntotal = 'grows'", "scenario[1].promote[1]", "total = 'kept'"),
        ("[[scenario]]\nname = 'x'\n[[scenario]]\nname = 'x'", "name", "two scenarios"),
        ("[[scenario]]\nname = 'x'\n[[scenario.steering]]\nregion = 'b'\nsites = []", "scenario[1].steering[1].sites", "an empty list"),
        ("scenario = []", "scenario", "an empty list"),
        ("[[scenarios]]\nname = 'x'", "scenarios", "perhaps 'scenario'"),
        ("", "scenario", "missing key"),
    ],
)  # fmt: skip
def test_says_where_the_form_is_wrong_and_how_to_mend_it(tmp_path, text, column, words):
    path = tmp_path / "s.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        read_scenarios(path)
    assert any(p.column == column and words in str(p) for p in caught.value.problems), str(caught.value)
    assert len(caught.value.problems) == (2 if column == "scenarios" else 1)


def test_a_file_that_is_no_toml_or_is_not_there(tmp_path):
    (tmp_path / "s.toml").write_bytes(b"\xff\xfe name = ")
    (tmp_path / "t.toml").write_text("name = = 3", "utf-8")
    for name, words in (("s.toml", "not a TOML file"), ("t.toml", "not a TOML file"), ("u.toml", "no such file")):
        with pytest.raises(InputError, match=words):
            read_scenarios(tmp_path / name)


def test_all_unknown_names_are_reported_with_the_closest_known_ones(network, catalogue):
    wrong = scenario(
        site=[{"site": "betta", "down": True}],
        link=[{"link": "zz", "down": True}],
        demand=[{"region": "nord", "title": "alfa", "factor": 2}],
        promote=[{"title": "unplayed", "share": 0.5}],
    )
    with pytest.raises(InputError) as caught:
        check_scenario(wrong, network, catalogue)
    said = {p.column: p.mend for p in caught.value.problems}
    assert "'beta'" in said["site.site"] and "'north'" in said["demand.region"] and "'alpha'" in said["demand.title"]
    assert "link.link" in said and "promote.title" in said and len(caught.value.problems) == 5


# The network


def test_a_scenario_without_network_edits_keeps_the_network(network):
    assert edit_network(network, scenario(demand=[{"factor": 2}])) is network


def test_resizes_a_site_by_factor_or_total(network):
    edited = edit_network(
        network,
        scenario(
            site=[{"site": "beta", "storage_factor": 1.5, "throughput_gbps": 8}, {"site": "delta", "storage_gb": 250}]
        ),
    )
    assert edited.site_storage_gb.tolist() == [np.inf, 600, 0, 250]
    assert edited.site_throughput_gbps.tolist() == [np.inf, 8, 0, 1]
    assert edited.appliances["storage_gb"].tolist() == [150, 450, 250]
    assert edited.appliances["throughput_gbps"].tolist() == [2, 6, 1]
    assert network.site_storage_gb.tolist() == [np.inf, 400, 0, 100], "the network given is left as it is"


def test_a_site_of_nothing_is_resized_evenly(network):
    emptied = edit_network(network, scenario(plan="replan", site=[{"site": "beta", "storage_factor": 0}]))
    assert edit_network(emptied, scenario(site=[{"site": "beta", "storage_gb": 10}])).appliances[
        "storage_gb"
    ].tolist() == [5, 5, 100]


def test_what_is_down_is_gone_when_planned_anew_and_out_of_service_when_kept(network):
    down = {"site": [{"site": "delta", "down": True}], "appliance": [{"appliance": "b1", "down": True}]}
    anew, kept = scenario(plan="replan", **down), scenario(plan="keep", **down)
    gone = edit_network(network, anew)
    assert gone.appliance_ids.tolist() == ["b2"] and outages(anew, gone) == []
    assert gone.site_ids.tolist() == network.site_ids.tolist() and gone.site_storage_gb.tolist() == [np.inf, 300, 0, 0]
    assert edit_network(network, kept).appliance_ids.tolist() == ["b1", "b2", "d1"]
    assert [(o.site, o.appliance, o.from_ms) for o in outages(kept, network)] == [(3, None, 0), (None, 0, 0)]


def test_a_loss_with_times_comes_as_a_surprise_to_a_plan_made_anew_too(network):
    down = {
        "site": [{"site": "delta", "down": True, "at": "20:00", "until": "23:30"}],
        "appliance": [{"appliance": "b1", "down": True}, {"appliance": "b2", "down": True, "until": "06:00"}],
    }
    hour = 3_600_000
    for plan, also in (("keep", [(None, 0, 0, 2**62)]), ("replan", [])):
        wanted = scenario(plan=plan, **down)
        edited = edit_network(network, wanted)
        b2 = edited.appliance_ids.get_loc("b2")
        assert [(o.site, o.appliance, o.from_ms, o.to_ms) for o in outages(wanted, edited)] == [
            (3, None, 20 * hour, 23.5 * hour),
            *also,
            (None, b2, 0, 6 * hour),
        ]
        assert ("b1" in edited.appliance_ids) == (plan == "keep") and "d1" in edited.appliance_ids


def test_links_are_resized_and_lost_and_paths_go_around(network):
    edited = edit_network(
        network, scenario(link=[{"link": "bc", "down": True}, {"link": "ab", "capacity_factor": 0.25}])
    )
    assert edited.link_ids.tolist() == ["ab", "ca", "cd"] and edited.links["capacity_gbps"].tolist() == [2.5, 10, 10]
    before, after = site_trees(network).cost_per_gb, site_trees(edited).cost_per_gb
    assert (before[0, 3], after[0, 3]) == (3, 6)  # a-b-c-d, then a-c-d


def test_a_link_whose_loss_cuts_off_regions_and_sites_is_refused_by_name(network):
    with pytest.raises(InputError) as caught:
        edit_network(network, scenario(link=[{"link": "cd", "down": True}]))
    assert [(p.value, p.message.split(":")[1].strip()) for p in caught.value.problems] == [
        ("cd", "north"),
        ("cd", "delta"),
    ]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"site": "origin", "down": True}, "origin holds every file"),
        ({"site": "gamma", "storage_factor": 2}, "no appliances"),
        ({"site": "beta", "storage_factor": 0.5}, "less storage"),
        ({"site": "beta", "storage_gb": 399}, "less storage"),
    ],
)
def test_refuses_edits_that_make_no_sense(network, edit, words):
    with pytest.raises(InputError, match=words):
        edit_network(network, scenario(site=[edit]))


# Demand


@given(
    seed=st.integers(0, 2**32),
    factor=st.floats(0, 10),
    cut=st.sampled_from([{}, {"region": "north"}, {"title": "omega"}, {"region": "south", "title": "alpha"}]),
)
def test_a_factor_scales_exactly_what_it_covers(network, catalogue, seed, factor, cut):
    demand = random_demand(np.random.default_rng(seed))
    edited = edit_demand(demand, catalogue, scenario(demand=[{"factor": factor, **cut}]), network)
    covered = np.ones(len(demand), bool)
    if "region" in cut:
        covered &= demand.region == ["north", "south"].index(cut["region"])
    if "title" in cut:
        covered &= np.isin(demand.file, [0, 1] if cut["title"] == "alpha" else [2, 3])
    assert (edited.file == demand.file).all() and (edited.region == demand.region).all()
    for name in ("gb", "peak_gbps", "gb_p10", "gb_p90"):
        old = getattr(demand, name)
        np.testing.assert_allclose(getattr(edited, name), np.where(covered, old * factor, old), rtol=1e-12)


@given(seed=st.integers(0, 2**32))
def test_factor_one_and_no_edit_change_nothing(network, catalogue, seed):
    demand = random_demand(np.random.default_rng(seed))
    assert edit_demand(demand, catalogue, scenario(), network) is demand
    for parts in ({"demand": [{"factor": 1}]}, {"promote": [{"title": "alpha", "factor": 1}]}):
        edited = edit_demand(demand, catalogue, scenario(**parts), network)
        assert (edited.file == demand.file).all() and (edited.region == demand.region).all()
        np.testing.assert_allclose(edited.gb, demand.gb, rtol=1e-12)


@given(seed=st.integers(0, 2**32), share=st.floats(0, 1))
def test_a_share_is_reached_and_the_regions_keep_their_bytes(network, catalogue, seed, share):
    demand = random_demand(np.random.default_rng(seed))
    edited = edit_demand(demand, catalogue, scenario(promote=[{"title": "alpha", "share": share}]), network)
    before, after = by_pair(demand.region, demand.file, demand.gb), by_pair(edited.region, edited.file, edited.gb)
    np.testing.assert_allclose(after.sum(axis=1), before.sum(axis=1), rtol=1e-9)
    np.testing.assert_allclose(edited.gb_p90.sum(), demand.gb_p90.sum(), rtol=1e-9)
    for r in range(2):
        if before[r, 2:].sum() > 0:  # else the title is all there is
            np.testing.assert_allclose(after[r, :2].sum(), share * before[r].sum(), rtol=1e-9, atol=1e-12)
            kept = before[r, 2:] > 0
            ratios = after[r, 2:][kept] / before[r, 2:][kept]
            np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)


def test_a_promotion_by_hand(network, catalogue):
    """North watches 60 GB of omega's low file and 40 of alpha's high one; alpha doubles to 80: 2/3 of omega's 60 goes to alpha's low file."""
    demand = build_demand(np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([40.0, 60, 10]))
    edited = edit_demand(demand, catalogue, scenario(promote=[{"title": "alpha", "factor": 2}]), network)
    got = by_pair(edited.region, edited.file, edited.gb)
    np.testing.assert_allclose(got, [[40, 40, 20, 0, 0], [0, 0, 10, 0, 0]])
    limited = edit_demand(demand, catalogue, scenario(promote=[{"title": "alpha", "factor": 9}]), network)
    np.testing.assert_allclose(by_pair(limited.region, limited.file, limited.gb)[0], [60, 40, 0, 0, 0])
    half = edit_demand(demand, catalogue, scenario(promote=[{"title": "alpha", "factor": 0.5}]), network)
    np.testing.assert_allclose(by_pair(half.region, half.file, half.gb)[0], [0, 20, 80, 0, 0])
    more = edit_demand(
        demand, catalogue, scenario(promote=[{"title": "alpha", "factor": 2, "total": "grows"}]), network
    )
    np.testing.assert_allclose(by_pair(more.region, more.file, more.gb)[0], [0, 80, 60, 0, 0])
    there = edit_demand(
        demand, catalogue, scenario(promote=[{"title": "zeta", "share": 0.5, "region": "south"}]), network
    )
    np.testing.assert_allclose(by_pair(there.region, there.file, there.gb), [[0, 40, 60, 0, 0], [0, 0, 5, 0, 5]])


# Sessions


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_sessions_unedited_or_by_factor_one_are_the_same(network, catalogue, seed):
    rng = np.random.default_rng(seed)
    sessions = random_sessions(rng, 200)
    assert edit_sessions(sessions, catalogue, scenario(site=[{"site": "beta", "down": True}]), network, rng) is sessions
    for parts in (
        {"demand": [{"factor": 1}]},
        {"promote": [{"title": "alpha", "factor": 1}]},
        {"demand": [{"factor": 2}, {"factor": 0.5}]},
    ):
        edited = edit_sessions(sessions, catalogue, scenario(**parts), network, rng)
        for field in dataclasses.fields(Sessions):
            assert np.array_equal(getattr(edited, field.name), getattr(sessions, field.name))


@pytest.mark.parametrize("edits", [[1e9], [1e9, 1e9], [2e6, 1.0]])
def test_a_surge_that_memory_cannot_hold_is_refused(network, catalogue, edits):
    sessions = random_sessions(np.random.default_rng(0), 100)
    surge = scenario(demand=[{"factor": factor} for factor in edits])
    with pytest.raises(InputError, match=r"scenario 'test', column factor: asks for .* sessions, from 100; a simulation takes 100,000,000 .*smaller"):  # fmt: skip
        edit_sessions(sessions, catalogue, surge, network, np.random.default_rng(1))


@given(seed=st.integers(0, 2**32), whole=st.integers(0, 4))
@settings(max_examples=30)
def test_a_whole_factor_repeats_every_session_of_the_region(network, catalogue, seed, whole):
    rng = np.random.default_rng(seed)
    sessions = random_sessions(rng, 200)
    edited = edit_sessions(sessions, catalogue, scenario(demand=[{"region": "north", "factor": whole}]), network, rng)
    scaled = np.where(sessions.region == 0, whole, 1)
    assert edited.bytes.sum() == (sessions.bytes * scaled).sum() and len(edited) == scaled.sum()
    assert (
        (np.diff(edited.start_ms) >= 0).all()
        and edited.start_ms.min(initial=0) >= 0
        and edited.start_ms.max(initial=0) < DAY_MS
    )
    kept = [row for row, times in zip(rows_of(sessions), _sorted_like(sessions, scaled), strict=True) if times]
    assert set(kept) <= set(rows_of(edited)), "the base's own sessions stay"


def _sorted_like(sessions: Sessions, values: np.ndarray) -> list[int]:
    columns = (sessions.start_ms, sessions.region, sessions.file, sessions.duration_ms, sessions.bytes)
    rows = list(zip(*(c.tolist() for c in columns), strict=True))
    return [int(values[i]) for i in sorted(range(len(rows)), key=lambda i: rows[i])]


@given(seed=st.integers(0, 2**32), low=st.floats(0, 1), high=st.floats(0, 1))
@settings(max_examples=30)
def test_a_larger_factor_keeps_all_that_a_smaller_one_keeps(network, catalogue, seed, low, high):
    low, high = sorted((low, high))
    sessions = random_sessions(np.random.default_rng(seed), 200)
    few, many = (
        edit_sessions(sessions, catalogue, scenario(demand=[{"factor": f}]), network, np.random.default_rng(seed))
        for f in (low, high)
    )
    assert set(rows_of(few)) <= set(rows_of(many)) <= set(rows_of(sessions))


def test_a_broken_factor_is_met_on_average(network, catalogue):
    sessions = random_sessions(np.random.default_rng(1), 40_000)
    edited = edit_sessions(
        sessions, catalogue, scenario(demand=[{"title": "omega", "factor": 1.3}]), network, np.random.default_rng(2)
    )
    omega = np.isin(sessions.file, [2, 3])
    assert (~np.isin(edited.file, [2, 3])).sum() == (~omega).sum()
    expected, spread = 1.3 * omega.sum(), np.sqrt(0.3 * 0.7 * omega.sum())
    assert abs(np.isin(edited.file, [2, 3]).sum() - expected) < 4 * spread
    repeated = set(rows_of(edited)) - set(rows_of(sessions))
    assert abs(len(repeated) - 0.3 * omega.sum()) < 4 * spread, "repeats start at other moments than what they repeat"


@pytest.mark.parametrize(
    "parts",
    [
        {"promote": [{"title": "alpha", "factor": 2}]},
        {"promote": [{"title": "alpha", "factor": 0.25}]},
        {"promote": [{"title": "zeta", "share": 0.4, "region": "north"}]},
        {"demand": [{"region": "north", "factor": 1.7}], "promote": [{"title": "omega", "share": 0.1}, {"title": "alpha", "factor": 1.5, "total": "grows"}]},
    ],
)  # fmt: skip
def test_edited_sessions_have_the_edited_demand_as_their_mean(network, catalogue, parts):
    rng = np.random.default_rng(3)
    sessions = random_sessions(rng, 20_000)
    table = by_pair(sessions.region, sessions.file, sessions.bytes / 1e9)
    region, file = np.indices(table.shape)
    demand = build_demand(region.ravel(), file.ravel(), table.ravel())
    wanted = edit_demand(demand, catalogue, scenario(**parts), network)
    draws = np.array(
        [
            by_pair(s.region, s.file, s.bytes / 1e9)
            for s in (
                edit_sessions(sessions, catalogue, scenario(**parts), network, np.random.default_rng(i))
                for i in range(60)
            )
        ]
    )
    error = draws.mean(axis=0) - by_pair(wanted.region, wanted.file, wanted.gb)
    spread = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert (np.abs(error) <= 4.5 * spread + 1e-3 * table.max()).all(), error / table.max()


@given(seed=st.integers(0, 2**32), share=st.floats(0, 1))
@settings(max_examples=30)
def test_a_kept_total_is_kept_to_the_byte_and_other_sessions_stay(network, catalogue, seed, share):
    rng = np.random.default_rng(seed)
    sessions = random_sessions(rng, 300)
    edited = edit_sessions(
        sessions, catalogue, scenario(promote=[{"title": "alpha", "share": share, "region": "south"}]), network, rng
    )
    order = [np.lexsort((s.bytes, s.duration_ms, s.region, s.start_ms)) for s in (sessions, edited)]
    for name in ("start_ms", "region", "duration_ms", "bytes"):
        assert (getattr(sessions, name)[order[0]] == getattr(edited, name)[order[1]]).all()
    old, new = sessions.file[order[0]], edited.file[order[1]]
    changed = old != new
    assert (sessions.region[order[0]][changed] == 1).all()
    assert (np.isin(old[changed], [0, 1]) != np.isin(new[changed], [0, 1])).all()
    others = np.isin(new[changed], [0, 1])
    nearest = np.array([0, 1, 0, 1, 0])  # alpha's file by bit rate: 1100 -> 1000, 4000 -> 5000, 2000 -> 1000
    assert (new[changed][others] == nearest[old[changed][others]]).all()


# The comparison


def test_compares_pairs_of_replications_metric_by_metric():
    base = [
        {"cost": 10.0, "misses": {"content": 5}, "label": "plan", "only": 1},
        {"cost": 20.0, "misses": {"content": 7}, "label": "plan"},
    ]
    other = [
        {"cost": 12.0, "misses": {"content": 5}, "label": "plan"},
        {"cost": 24.0, "misses": {"content": 7}, "label": "plan"},
    ]
    table = compare(base, other).set_index("metric")
    assert table.index.tolist() == ["cost", "misses.content"]
    assert table.loc["cost", ["base", "value", "delta"]].tolist() == [15, 18, 3]
    half = stats.t.ppf(0.975, 1) * np.std([2, 4], ddof=1) / np.sqrt(2)
    np.testing.assert_allclose(table.loc["cost", ["ci_low", "ci_high"]].tolist(), [3 - half, 3 + half])
    assert table.loc["misses.content", ["delta", "ci_low", "ci_high"]].tolist() == [0, 0, 0]


def test_a_single_replication_has_no_interval_and_unequal_ones_no_pairs():
    rows = compare([{"cost": 1.0}], [{"cost": 2.0}]).to_dict("records")
    assert rows == [{"metric": "cost", "base": 1.0, "value": 2.0, "delta": 1.0, "ci_low": None, "ci_high": None}]
    with pytest.raises(ValueError, match="pair"):
        compare([{"cost": 1.0}], [])
