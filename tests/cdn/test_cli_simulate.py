"""``fillplan simulate``: what it measures, what its options change, and what of its input it refuses."""

import json
import shutil

import pandas as pd
import pytest

from cdn import console
from tests.cdn.evening import NIGHT
from tests.command import fillplan, tree

FIGURES = {"request_hit_ratio", "byte_hit_ratio", "edge_offload", "misses", "backbone_gb", "backbone_gb_km", "backbone_cost", "peak_link_gbps", "p95_link_gbps"}  # fmt: skip


def test_simulate_measures_every_policy_on_the_same_sessions(evening):
    document = evening.ran["simulate"].document
    assert set(document["policies"]) == {"plan", "lru", "plan+lru", "oracle"}
    for totals in document["policies"].values():
        assert set(totals) >= FIGURES
        assert totals["sessions"] == document["sessions"] > 0
        assert set(totals["misses"]) == {"content", "not_yet_filled", "health"}
    requested = {totals["requested_gb"] for totals in document["policies"].values()}
    assert len(requested) == 1
    written = json.loads((evening.folder / "tables/totals.json").read_text())
    assert written["policies"] == document["policies"]
    assert written["title_share"] == 1 and written["plan"]


def test_a_day_that_memory_cannot_hold_is_rehearsed_in_parts(evening, monkeypatch):
    monkeypatch.setattr("sim.sessions.MANY", 10)
    monkeypatch.setattr("sim.sessions.in_memory", None)
    line = f"simulate net --plan plan --playback {NIGHT} --json"
    names = ("plan", "lru", "plan+lru", "oracle")
    document = fillplan(line, *(part for name in names for part in ("--policy", name)), cwd=evening.folder).document
    assert document["policies"] == evening.ran["simulate"].document["policies"]


def test_the_tables_of_a_simulation_tell_sites_and_hours(evening):
    hours, cells = (pd.read_parquet(evening.folder / f"tables/{name}.parquet") for name in ("by_hour", "by_site_hour"))
    for policy, totals in evening.ran["simulate"].document["policies"].items():
        mine, whole = cells[cells["policy"] == policy], hours[hours["policy"] == policy].set_index("hour")
        summed = mine.groupby("hour")[["sessions", "gb", "hits", "hit_gb", "content", "health"]].sum()
        for column in summed:
            assert summed[column].to_numpy() == pytest.approx(whole.loc[summed.index, column].to_numpy())
        assert mine["sessions"].sum() == totals["sessions"]
        kept = mine["sessions"] > 0
        watched_s = (mine["gb"] * 8e6 / mine["mean_kbps"])[kept].sum()
        assert totals["mean_kbps"] == pytest.approx(totals["requested_gb"] * 8e6 / watched_s)
        weighed = (mine["startup_ms_mean"] * mine["sessions"]).sum() / totals["sessions"]
        assert weighed == pytest.approx(totals["startup_ms_mean"])


def test_what_was_not_held_at_midnight_comes_in_fills(evening, tmp_path):
    held = shutil.copytree(evening.folder / "plan", tmp_path / "held")
    placement = pd.read_parquet(held / "placement.parquet")
    placement.iloc[::2].to_parquet(held / "placement.parquet", index=False)
    line = f"simulate net --plan plan --playback {NIGHT} --policy plan --policy plan-filled --json"
    totals = fillplan(line, "--previous", str(held), cwd=evening.folder).document["policies"]
    plan, filled = totals["plan"], totals["plan-filled"]
    schedule = fillplan(f"fill net plan --for {NIGHT} --json", "--previous", str(held), cwd=evening.folder).document
    assert plan["fills_due"] == schedule["transfers"] > 0
    assert schedule["transfers"] + schedule["unfinished"] == len(placement) - len(placement.iloc[::2])
    assert plan["fills_finished"] == plan["fills_due"]
    assert plan["misses"]["not_yet_filled"] > filled["misses"]["not_yet_filled"] == filled["fills_due"] == 0
    assert plan["backbone_fill_gb"] > 0


def test_steering_changes_at_a_time_of_the_run(evening):
    sites = pd.read_csv(evening.folder / "net/sites.csv")
    origin = sites.loc[sites["kind"] == "origin", "site"].iloc[0]
    regions = pd.read_csv(evening.folder / "net/regions.csv")["region"]
    line = f"simulate net --plan plan --playback {NIGHT} --policy plan --json"
    before = evening.ran["simulate"].document["policies"]["plan"]
    changes = [part for region in regions for part in ("--steering-at", f"12:00/{region}={origin}")]
    after = fillplan(line, *changes, cwd=evening.folder).document["policies"]["plan"]
    assert after["requested_gb"] == before["requested_gb"]
    assert 0 < after["edge_offload"] < before["edge_offload"]
    alone = fillplan(line, *(part.replace("12:00", "00:00") for part in changes), cwd=evening.folder).document
    assert alone["policies"]["plan"]["edge_offload"] == 0


def test_a_site_that_is_down_all_day_is_what_the_scenario_says(evening, tmp_path):
    scenario = f'[[scenario]]\nname = "down"\n[[scenario.site]]\nsite = "{evening.site}"\ndown = true\n'
    (tmp_path / "down.toml").write_text(scenario)
    line = f"whatif net {tmp_path}/down.toml --plan plan --playback {NIGHT} --replications 1 --json"
    expected = fillplan(line, cwd=evening.folder).document["scenarios"]["down"]
    line = f"simulate net --plan plan --playback {NIGHT} --policy plan --policy lru -o {tmp_path}/tables --json"
    found = fillplan(line, "--down", f"00:00-24:00/{evening.site}", cwd=evening.folder).document["policies"]
    for figure in ("request_hit_ratio", "edge_offload", "backbone_cost", "peak_link_gbps"):
        assert found["plan"][figure] == pytest.approx(expected[figure]["value"], rel=1e-12)
    assert found["plan"]["misses"]["health"] > evening.ran["simulate"].document["policies"]["plan"]["misses"]["health"]
    served = pd.read_parquet(tmp_path / "tables/by_site.parquet").query("site_name == @evening.site")
    assert served["sessions"].tolist() == [0, 0]


def test_a_replayed_day_gives_intervals_of_what_a_scenario_draws_alone(evening):
    line = f"whatif net scenario.toml --plan plan --playback {NIGHT} --replications 2 --json"
    ran = fillplan(line, cwd=evening.folder)
    promoted, down = ran.document["scenarios"].values()
    assert all(row["ci_low"] is None and row["ci_high"] is None for row in down.values())
    assert "no intervals of 'a site down'" in ran.err
    row = promoted["edge_offload"]
    assert row["ci_low"] < row["delta"] < row["ci_high"]


def test_after_the_repair_a_site_serves_again(evening, tmp_path):
    line = f"simulate net --plan plan --playback {NIGHT} --policy plan -o {tmp_path}/tables --json"
    assert fillplan(line, "--down", f"09:00-17:00/{evening.site}", cwd=evening.folder).status == 0
    cells = pd.read_parquet(tmp_path / "tables/by_site_hour.parquet").query(
        "site_name == @evening.site and sessions > 0"
    )
    assert not set(range(9, 17)) & set(cells["hour"])
    assert cells["hour"].min() < 9 and cells["hour"].max() >= 17


def test_until_the_switch_last_night_serves(evening, tmp_path):
    """Last night's plan holds every second copy of tonight's on the other appliances of the fleet, so that what it drops is of use."""
    held = shutil.copytree(evening.folder / "plan", tmp_path / "held")
    placement = pd.read_parquet(held / "placement.parquet")
    names = sorted(placement["appliance"].unique())
    turned = dict(zip(names, names[1:] + names[:1], strict=True))
    placement.iloc[::2].assign(appliance=placement["appliance"].map(turned)).to_parquet(held / "placement.parquet")
    line = f"simulate net --plan plan --playback {NIGHT} --policy plan --previous {held} --json"
    at = {
        clock: fillplan(line, *(() if clock is None else ("--switch-at", clock)), cwd=evening.folder).document["policies"]["plan"]
        for clock in (None, "00:00", "12:00", "24:00")
    }  # fmt: skip
    assert at[None] == at["00:00"]
    assert at[None]["edge_offload"] < at["12:00"]["edge_offload"] < at["24:00"]["edge_offload"]


def test_the_loads_of_links_are_a_tidy_table(evening):
    folder = evening.folder / "tables"
    loads, arcs = (pd.read_parquet(folder / f"{name}.parquet") for name in ("arc_gbps", "by_arc"))
    assert set(loads.columns) == {"policy", "arc", "minute", "gbps"}
    peaks = loads.groupby(["policy", "arc"])["gbps"].max()
    assert peaks[pd.MultiIndex.from_frame(arcs[["policy", "arc"]])].to_numpy() == pytest.approx(
        arcs["peak_gbps"].to_numpy(), rel=1e-6
    )
    links = pd.read_csv(evening.folder / "net/links.csv").set_index("link")
    ends = links.loc[arcs["link"], ["target", "source"]].to_numpy()
    assert arcs["towards"].tolist() == ends[range(len(arcs)), arcs["arc"] % 2].tolist()


def test_replications_are_written_as_tables_in_place_of_an_earlier_rehearsals(evening, tmp_path):
    shutil.copytree(evening.folder / "tables", tmp_path / "tables")
    (tmp_path / "tables/notes.txt").write_text("mine")
    line = f"simulate net --plan plan --demand plan/demand.parquet --policy plan --policy lru --replications 3 --seed 4 -o {tmp_path}/tables --json"
    document = fillplan(line, cwd=evening.folder).document
    assert {p.name for p in (tmp_path / "tables").iterdir()} == {
        "replications.parquet",
        "intervals.parquet",
        "notes.txt",
    }
    figures, rows = (pd.read_parquet(tmp_path / f"tables/{name}.parquet") for name in ("replications", "intervals"))
    assert rows.to_dict("records") == document["intervals"]
    assert figures["replication"].unique().tolist() == [0, 1, 2] and figures["policy"].unique().tolist() == [
        "plan",
        "lru",
    ]
    assert not figures.duplicated(["replication", "policy", "metric"]).any()
    costs = figures.query("metric == 'backbone_cost'").pivot(index="replication", columns="policy", values="value")
    assert costs["plan"].nunique() == 3
    assert costs.mean().to_dict() == pytest.approx({n: f["backbone_cost"] for n, f in document["policies"].items()})
    delta = rows.query("metric == 'backbone_cost' and policy == 'lru'")["delta"].item()
    assert delta == pytest.approx((costs["lru"] - costs["plan"]).mean())
    assert fillplan(line.replace("--replications 3 ", ""), cwd=evening.folder).status == 0
    assert not (tmp_path / "tables/intervals.parquet").exists(), "what is there is of one simulation"


def test_a_samples_errors_are_written_as_a_table(evening, tmp_path):
    line = f"simulate net --plan plan --playback {NIGHT} --policy plan --policy lru --title-share 1 -o {tmp_path}/tables --json"
    document = fillplan(line, cwd=evening.folder).document
    found = pd.read_parquet(tmp_path / "tables/sampled.parquet")
    wanted = pd.DataFrame(document["sampled"])
    pd.testing.assert_frame_equal(found[wanted.columns.tolist()], wanted)


def test_tables_that_cannot_be_written_leave_nothing(evening, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "totals.json")

    monkeypatch.setattr("cdn.simulation_tables.write_json", full)
    ran = fillplan(
        f"simulate net --plan plan --playback {NIGHT} --policy plan -o {tmp_path}/tables", cwd=evening.folder
    )
    assert (ran.status, ran.out) == (console.WRONG_INPUT, "")
    assert "cannot be written: No space left on device" in ran.err
    assert not list(tmp_path.iterdir())


def a_sample(folder):
    document = json.loads((folder / "totals.json").read_text())
    (folder / "totals.json").write_text(json.dumps(document | {"title_share": 0.5}))


def another_plan(folder):
    document = json.loads((folder / "totals.json").read_text())
    (folder / "totals.json").write_text(json.dumps(document | {"plan": "0123456789abcdef"}))


def alter(folder, table, change):
    change(pd.read_parquet(folder / f"{table}.parquet")).to_parquet(folder / f"{table}.parquet")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (a_sample, "a sample of titles"),
        (another_plan, "the rehearsal of another plan"),
        (lambda folder: (folder / "by_hour.parquet").write_bytes(b""), "by_hour.parquet"),
        (lambda folder: (folder / "arc_gbps.parquet").write_bytes((folder / "arc_gbps.parquet").read_bytes()[:-9]), "arc_gbps.parquet"),
        (lambda folder: (folder / "totals.json").write_text(""), "totals.json"),
        (lambda folder: (folder / "totals.json").write_text("{}"), "no figures of policies"),
        (lambda folder: alter(folder, "by_site", lambda t: t.drop(columns="hit_gb")), "no column hit_gb"),
        (lambda folder: alter(folder, "by_arc", lambda t: t.assign(gb="much")), "column gb is no number"),
        (lambda folder: alter(folder, "arc_gbps", lambda t: t[t["arc"] > 0]), "on the links of this network"),
    ],
)  # fmt: skip
def test_a_rehearsal_that_is_broken_or_of_something_else_has_no_report(evening, tmp_path, spoil, said):
    spoil(shutil.copytree(evening.folder / "tables", tmp_path / "tables"))
    ran = fillplan(f"report net --plan plan --rehearsal {tmp_path}/tables -o {tmp_path}/r.html", cwd=evening.folder)
    assert (ran.status, ran.out) == (console.WRONG_INPUT, "")
    assert said in ran.err and str(tmp_path / "tables") in ran.err
    assert "Mend: write them with fillplan simulate" in ran.err and not (tmp_path / "r.html").exists()


def respoil(folder, change):
    path = folder / f"net/playback/date={NIGHT}/part-0.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def zero_bytes(folder):
    respoil(folder, lambda frame: frame.assign(gb=frame["gb"].where(frame.index != 3, 0.0)))


def lengths_below_zero(folder):
    respoil(folder, lambda frame: frame.assign(seconds=frame["seconds"].where(frame.index < 7, -1.0)))


def an_unknown_region(folder):
    respoil(
        folder, lambda frame: frame.assign(region=frame["region"].astype(object).where(frame.index > 1, "Atlantis"))
    )


def out_of_order(folder):
    respoil(folder, lambda frame: pd.concat([frame[5:], frame[:5]]))


def an_appliance_gone(folder):
    frame = pd.read_csv(folder / "net/appliances.csv")
    frame[1:].to_csv(folder / "net/appliances.csv", index=False)


def little_storage(folder):
    frame = pd.read_csv(folder / "net/appliances.csv")
    frame.assign(storage_gb=frame["storage_gb"].where(frame.index > 0, 0.5)).to_csv(
        folder / "net/appliances.csv", index=False
    )


def half_the_storage(folder):
    frame = pd.read_csv(folder / "net/appliances.csv")
    frame.assign(storage_gb=frame["storage_gb"] / 2).to_csv(folder / "net/appliances.csv", index=False)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lengths_below_zero, "row 8, column seconds: the session has no length (and "),
        (an_unknown_region, f"playback/date={NIGHT}/part-0.parquet, row 1, column region: unknown id, not in table regions (and 1 more"),
        (out_of_order, "column start: out of order: the row ahead of it starts at"),
        (half_the_storage, "more appliances hold too much, this one the most"),
        (zero_bytes, "row 4, column gb: the session has no bytes (value '0.0'). Mend: give a finite number of GB > 0, or leave the session out"),
        (an_appliance_gone, "make the plan again for this network, or use the network it was made for"),
        (little_storage, "make the plan again for this network"),
    ],
)  # fmt: skip
def test_simulate_says_once_what_does_not_fit(evening, tmp_path, spoil, said):
    for part in ("net", "plan"):
        shutil.copytree(evening.folder / part, tmp_path / part)
    spoil(tmp_path)
    before = tree(tmp_path)
    ran = fillplan(f"simulate net --plan plan --playback {NIGHT} --policy plan -o tables", cwd=tmp_path)
    assert (ran.status, ran.out) == (console.WRONG_INPUT, "")
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert tree(tmp_path) == before
