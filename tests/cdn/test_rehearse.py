"""Rehearsals: every policy meets the same sessions, the oracle's demand is what the sessions are, the decomposition adds up."""

import dataclasses
import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest

from cdn.rehearse import decomposition, demand_of, rehearse
from cdn.settings import FILLED, PREVIOUS
from cdn.simulation_tables import write_rehearsal
from sim.scheme import Fills
from sim.sessions import PlaybackDay, sessions_from_playback
from tests.small_network import DAYS, FIRST
from topology.errors import InputError
from topology.placement import Placement

LAST = FIRST + dt.timedelta(days=DAYS - 1)


@pytest.fixture(scope="module")
def sessions(planned):
    return sessions_from_playback(planned.folder, LAST, planned.network, planned.catalogue)


@pytest.fixture(scope="module")
def rehearsal(planned, sessions):
    names = ["plan", "lru", "plan+lru", "oracle", FILLED, PREVIOUS, "plan"]
    return rehearse(
        planned.network,
        planned.catalogue,
        planned.plan,
        sessions,
        names,
        planned.settings,
        before=planned.plan.placement,
    )


def test_all_policies_meet_the_same_sessions(rehearsal, sessions):
    totals = rehearsal.totals()
    assert list(totals) == ["plan", "lru", "plan+lru", "oracle", FILLED, PREVIOUS]
    for figures in totals.values():
        assert figures["sessions"] == len(sessions)
        assert figures["requested_gb"] == pytest.approx(sessions.bytes.sum() / 1e9, rel=1e-12)
        hits = round(figures["request_hit_ratio"] * len(sessions))
        assert hits + sum(figures["misses"].values()) == len(sessions)


def test_without_fills_the_plan_is_there_from_the_first_minute(rehearsal):
    totals = rehearsal.totals()
    assert totals["plan"] == totals[FILLED] == totals[PREVIOUS]


def test_what_last_nights_plan_no_longer_fits_into_counts_as_empty(planned, sessions):
    network, appliances = planned.network, planned.network.appliances
    holds = np.bincount(planned.plan.placement.appliance, minlength=len(appliances))
    shrunk = appliances.assign(
        storage_gb=appliances["storage_gb"].where(np.arange(len(appliances)) != holds.argmax(), 1e-3)
    )
    said, none = [], Placement.of(np.zeros(0, int), np.zeros(0, int))
    result = rehearse(
        dataclasses.replace(network, appliances=shrunk),
        planned.catalogue,
        dataclasses.replace(planned.plan, placement=none),
        sessions,
        [PREVIOUS],
        planned.settings,
        before=planned.plan.placement,
        progress=said.append,
    ).results[PREVIOUS]
    assert any("1 appliances held more than their storage" in line for line in said)
    assert 0 < result.totals()["request_hit_ratio"] < 1


def test_the_oracle_knows_what_came(planned, sessions):
    demand = demand_of(sessions, planned.network)
    log = pd.read_parquet(planned.folder / f"playback/date={LAST}")
    asked = log.groupby(["region", "title", "profile"])["gb"].sum()
    assert len(demand) == len(asked)
    assert demand.gb.sum() == pytest.approx(log["gb"].sum(), rel=1e-6)
    names = planned.catalogue.files.set_index(np.arange(len(planned.catalogue.files)))[["title", "profile"]]
    for n in range(0, len(demand), 5):
        title, profile = names.loc[demand.file[n]]
        region = planned.network.region_ids[demand.region[n]]
        assert demand.gb[n] == pytest.approx(asked[region, title, profile], rel=1e-6)
    begin = (log["start"] - pd.Timestamp(LAST)).dt.total_seconds()
    end = begin + log["seconds"]
    for r, region in enumerate(planned.network.region_ids):
        own, peak = log["region"] == region, demand.peak_gbps[demand.region == r]
        hours = [
            (np.clip(np.minimum(end, h + 3600) - np.maximum(begin, h), 0, None) / log["seconds"] * log["gb"])[own].sum()
            for h in range(0, 86400, 3600)
        ]
        assert peak.sum() == pytest.approx(max(hours) * 8 / 3600, rel=1e-4)
        assert np.ptp(peak / demand.gb[demand.region == r]) < 1e-12


def test_a_day_read_anew_in_parts_is_rehearsed_as_one_in_memory(planned, sessions, monkeypatch):
    yesterday = LAST - dt.timedelta(days=1)
    given = (planned.network, planned.catalogue, planned.plan)

    def day(date):
        return PlaybackDay(
            folder=planned.folder, date=date, network=planned.network, catalogue=planned.catalogue, a_part=len(sessions) // 60
        )  # fmt: skip

    def both(*names, **more):
        before = sessions_from_playback(planned.folder, yesterday, planned.network, planned.catalogue)
        yield rehearse(*given, sessions, names, planned.settings, warm_up=before, **more)
        yield rehearse(*given, day(LAST), names, planned.settings, warm_up=day(yesterday), **more)

    in_memory, anew = both("plan", "lru", "oracle")
    assert in_memory.totals() == anew.totals()
    in_memory, anew = both("belady")
    assert in_memory.offline_figures(planned.network) == anew.offline_figures(planned.network)
    in_memory, anew = both("lru", kept=np.arange(len(planned.catalogue.title_ids)) % 2 == 0)
    assert in_memory.totals() == anew.totals()
    assert in_memory.ratios["lru"].equals(anew.ratios["lru"])
    monkeypatch.setattr("sim.sessions.A_BLOCK", 1000)
    whole, blocks = demand_of(day(LAST), planned.network), demand_of(sessions, planned.network)
    for name in ("region", "file"):
        assert np.array_equal(getattr(whole, name), getattr(blocks, name))
    for name in ("gb", "peak_gbps"):
        assert getattr(whole, name) == pytest.approx(getattr(blocks, name), rel=1e-9)


def test_a_sample_is_rehearsed_on_its_titles_alone_and_corrected_where_room_is_short(planned, sessions):
    kept = np.arange(len(planned.catalogue.title_ids)) % 2 == 0
    found = rehearse(
        planned.network, planned.catalogue, planned.plan, sessions, ["plan", "lru"], planned.settings, warm_up=sessions, fills=Fills.none(), kept=kept
    )  # fmt: skip
    assert found.title_share == 0.5
    for name, totals in found.totals().items():
        assert totals["sessions"] == kept[planned.catalogue.title_of[sessions.file]].sum()
        row = found.ratios[name].set_index("metric").loc["request_hit_ratio"]
        as_it_came = totals["request_hit_ratio"]
        assert (row["value"] != as_it_came) == (name == "lru" or totals["misses"]["health"] > 0)
    assert found.totals()["plan"]["misses"]["health"] > 0


def test_the_decomposition_adds_up(rehearsal):
    cost = {name: totals["backbone_cost"] for name, totals in rehearsal.totals().items()}
    rows = {label: value for label, value, _ in decomposition(rehearsal)}
    assert rows["planning over reacting"] == pytest.approx(cost["lru"] - cost["plan"])
    assert rows["fills in progress"] + rows["forecast error"] == pytest.approx(cost["plan"] - cost["oracle"])
    assert 0 <= rows["solver gap"] <= cost["oracle"]


def test_what_was_not_run_is_not_guessed(planned, sessions):
    alone = rehearse(planned.network, planned.catalogue, planned.plan, sessions, ["plan"], planned.settings)
    assert [value for _, value, _ in decomposition(alone)] == [None] * 5


def test_tables_are_written_for_every_policy(rehearsal, planned, tmp_path):
    write_rehearsal(rehearsal, planned.network, tmp_path / "out")
    document = json.loads((tmp_path / "out/totals.json").read_text())
    assert document["policies"].keys() == rehearsal.totals().keys()
    for table, rows in (("by_hour", 24), ("by_site", 4), ("by_arc", 10), ("arc_gbps", 2880)):
        frame = pd.read_parquet(tmp_path / f"out/{table}.parquet")
        assert frame.groupby("policy").size().to_dict() == dict.fromkeys(document["policies"], rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    served = pd.read_parquet(tmp_path / "out/by_site.parquet").groupby("policy")["gb"].sum()
    assert served.to_numpy() == pytest.approx(rehearsal.totals()["plan"]["requested_gb"])


def test_last_nights_plan_must_be_given_to_be_compared(planned, sessions):
    with pytest.raises(InputError, match="--previous PLAN"):
        rehearse(planned.network, planned.catalogue, planned.plan, sessions, [PREVIOUS], planned.settings)


@pytest.mark.parametrize("name", ["mru", "plan+"])
def test_unknown_policies_are_refused_with_the_known_ones(planned, sessions, name):
    with pytest.raises(InputError, match="unknown policy") as caught:
        rehearse(planned.network, planned.catalogue, planned.plan, sessions, [name], planned.settings)
    assert "plan+lru" in caught.value.problems[0].mend
