"""The night: what its guardrails refuse, which plan counts as last night's, and what makes it run anew."""

import datetime as dt
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from cdn.errors import GuardrailError
from cdn.gather import gather
from cdn.nightly import guard, run_night
from cdn.placement.verify import verify
from cdn.plan import read_placement
from cdn.settings import FILLED, PREVIOUS, Settings, read_settings
from cdn.store import PlanStore
from demand.catalogue import read_catalogue
from tests.small_network import DAYS, FIRST, write_small_network
from topology.errors import InputError
from topology.network import read_network

LAST = FIRST + dt.timedelta(days=DAYS - 1)
QUICK = '[simulation]\npolicies = ["plan"]\n'
NETWORK_TABLES = ("nodes", "links", "regions", "sites", "appliances", "titles", "files")


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory):
    """The small network after the nights of the last two days."""
    folder = write_small_network(tmp_path_factory.mktemp("nights") / "net")
    (folder / "fillplan.toml").write_text(QUICK)
    results = [run_night(folder, LAST - dt.timedelta(days=i), read_settings(folder)) for i in (1, 0)]
    return folder, results


@pytest.fixture
def folder(two_nights, tmp_path):
    return shutil.copytree(two_nights[0], tmp_path / "net")


def night(folder, date=LAST):
    return run_night(folder, date, read_settings(folder))


def current(folder):
    store = PlanStore(folder / "plans")
    found = store.current()
    store.close()
    return found


def test_the_last_night_is_in_force_and_its_work_is_cleared_away(two_nights):
    folder, results = two_nights
    assert current(folder).plan_id == results[1].plan_id
    visible = {p.name for p in (folder / "plans").iterdir() if not p.name.startswith("index.db")}
    assert visible == {results[0].plan_id, results[1].plan_id, ".sound"}


def test_what_is_wrong_with_the_log_is_said_once_and_recorded(tmp_path):
    folder = write_small_network(tmp_path / "net")
    (folder / "fillplan.toml").write_text(QUICK)
    missing = FIRST + dt.timedelta(days=1)
    shutil.rmtree(folder / f"playback/date={missing}")
    said = []
    result = run_night(folder, LAST, read_settings(folder), progress=said.append)
    (line,) = [line for line in said if line.startswith("note: ")]
    (note,) = result.metrics["forecast"]["notes"]
    assert note["value"] == str(missing) and note["message"] in line
    (shown,) = gather(folder, read_settings(folder)).notes
    assert f"note: {shown}" == line


@pytest.mark.parametrize(("days", "told"), [(2, False), (3, True), (8, True)])
def test_a_log_that_ended_days_ago_is_named_and_weeks_ago_refused(folder, days, told):
    """Against the night, not the clock: planned the evening before, a night lacks that day's log; more is said, and after a week nothing is published."""
    held, said, date = current(folder).plan_id, [], LAST + dt.timedelta(days=days)
    if days <= 7:
        result = run_night(folder, date, read_settings(folder), progress=said.append)
        assert result.metrics["forecast"]["log_age_days"] == days
        assert any(f"the log ends {days} days" in note for note in gather(folder, read_settings(folder)).notes) is told
    else:
        with pytest.raises(GuardrailError, match="max_log_age_days: 8 against the limit 7"):
            run_night(folder, date, read_settings(folder), progress=said.append)
        assert current(folder).plan_id == held
        (folder / "fillplan.toml").write_text(QUICK + "[guardrails]\nmax_log_age_days = 8\n")
        said.clear()  # a forecast that is not made again says so again
        assert run_night(folder, date, read_settings(folder), progress=said.append).published
    assert any(f"the log ends {days} days" in line for line in said) is told


def test_a_published_plan_is_whole_and_holds(two_nights):
    folder, (first, second) = two_nights
    there = {p.name for p in second.folder.iterdir()}
    assert {"placement.parquet", "assignment.parquet", "prices.parquet", "fills.parquet", "evictions.parquet", "demand.parquet",
            "summary.json", "night.json", "manifests", "rehearsal"} <= there  # fmt: skip
    found = verify(folder, second.folder / "demand.parquet", second.folder, previous=first.folder)
    assert found.feasible, found.violations
    assert json.loads((second.folder / "night.json").read_text())["plan"]["objective_cost"] == pytest.approx(
        found.objective_cost
    )


def test_every_published_plan_can_be_verified_by_its_own_folder(two_nights):
    """The first night too, which found the appliances as they were shipped."""
    folder, results = two_nights
    for night in results:
        found = verify(folder, night.folder / "demand.parquet", night.folder, previous=night.folder / "before")
        assert found.feasible, found.violations


def test_only_what_changes_is_filled(two_nights):
    """Against the plan of the night before: fills and evictions are the two differences of the copies, so the plan names what will be there."""
    folder, (first, second) = two_nights
    network, catalogue = read_network(folder), read_catalogue(folder)
    held, wanted = (set(zip(p.appliance.tolist(), p.file.tolist(), strict=True)) for p in
                    (read_placement(r.folder, network, catalogue) for r in (first, second)))  # fmt: skip

    def named(table):
        frame = pd.read_parquet(second.folder / f"{table}.parquet")
        return set(zip(network.appliance_ids.get_indexer(frame["appliance"].astype(str)), catalogue.file_ids.get_indexer(frame["file"].astype(str)), strict=True))  # fmt: skip

    assert named("fills") == wanted - held
    assert named("evictions") == held - wanted


def test_what_the_windows_cannot_bring_is_left_out_and_what_was_held_stays(folder):
    """More storage and a fiftieth of the fill rate: most of the wish is left out; the plan holds, fits, and names only what will be there."""
    appliances = pd.read_csv(folder / "appliances.csv")
    more = {"fill_gbps": appliances["fill_gbps"] / 50, "storage_gb": appliances["storage_gb"] * 1.5}
    appliances.assign(**more).to_csv(folder / "appliances.csv", index=False)
    (folder / "fillplan.toml").write_text(QUICK + "[placement]\nfill_weight = 0.0\n")
    held = current(folder).folder
    made = night(folder, LAST + dt.timedelta(days=1))
    fill = made.metrics["fill"]
    assert fill["unfinished"] > 0 and fill["finished_share"] < 1
    assert fill["finished_share"] == pytest.approx(fill["gb"] / (fill["gb"] + fill["unfinished_gb"]))
    network, catalogue = read_network(folder), read_catalogue(folder)
    before, now = (read_placement(p, network, catalogue) for p in (held, made.folder))
    copies = [set(zip(p.appliance.tolist(), p.file.tolist(), strict=True)) for p in (before, now)]
    assert len(copies[1] - copies[0]) == fill["transfers"] == len(pd.read_parquet(made.folder / "fills.parquet"))
    found = verify(folder, made.folder / "demand.parquet", made.folder, previous=held, fill_weight=0.0)
    assert found.feasible, found.violations
    assert found.objective_cost == pytest.approx(made.metrics["plan"]["objective_cost"], rel=1e-9)
    assert made.metrics["plan"]["lower_bound"] <= found.objective_cost
    assert len(copies[1] & copies[0]) > 0.5 * len(copies[0]), "what cannot be replaced stays"


def test_the_same_night_again_does_nothing(folder, two_nights):
    again = night(folder)
    assert (again.published, again.plan_id) == (False, two_nights[1][1].plan_id)
    assert [s["skipped"] for s in again.stages] == [True]


def test_an_earlier_night_again_is_put_in_force(folder, two_nights):
    earlier = night(folder, LAST - dt.timedelta(days=1))
    assert earlier.published and earlier.plan_id == two_nights[1][0].plan_id
    assert current(folder).plan_id == earlier.plan_id
    assert night(folder).published
    assert current(folder).plan_id == two_nights[1][1].plan_id


@pytest.mark.parametrize("change", ["settings", "table", "log"])
def test_other_inputs_make_another_plan(folder, two_nights, change):
    if change == "settings":
        (folder / "fillplan.toml").write_text(QUICK + "[placement]\nfill_weight = 0.5\n")
    elif change == "table":
        sites = pd.read_csv(folder / "appliances.csv")
        sites.assign(storage_gb=sites["storage_gb"] + 1).to_csv(folder / "appliances.csv", index=False)
    else:
        part = next((folder / f"playback/date={FIRST}").glob("*.parquet"))
        pd.read_parquet(part).iloc[:100].to_parquet(part)
    again = night(folder)
    assert again.published and again.plan_id != two_nights[1][1].plan_id
    assert current(folder).plan_id == again.plan_id
    assert two_nights[1][1].plan_id in {p.name for p in (folder / "plans").iterdir()}


def test_files_that_a_night_does_not_read_do_not_matter(folder):
    (folder / "report.html").write_text("a report that someone put beside the tables")
    (folder / "demand.parquet").write_text("or a demand")
    later = folder / f"playback/date={LAST + dt.timedelta(days=1)}"
    later.mkdir()
    frame = pd.read_parquet(next((folder / f"playback/date={LAST}").glob("*.parquet")))
    frame.assign(start=frame["start"] + pd.Timedelta(days=1)).to_parquet(later / "part.parquet")
    assert night(folder).published is False


def test_a_night_without_its_log_rehearses_drawn_sessions(folder):
    tomorrow = night(folder, LAST + dt.timedelta(days=1))
    assert tomorrow.metrics["replayed"] is False
    assert tomorrow.metrics["policies"]["plan"]["sessions"] > 0


def test_two_at_once_are_refused(folder, monkeypatch):
    """The second is told so and changes nothing; when the first is gone the way is free, whatever its end was."""
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match="another night is running"):
        night(folder)
    assert sorted(folder.rglob("*")) == before
    os.close(handle)
    assert night(folder).published is False


def test_old_plans_go_and_the_last_stays(folder):
    (folder / "fillplan.toml").write_text(QUICK + "[store]\nkeep = 1\n")
    made = night(folder)
    plans = [p for p in (folder / "plans").iterdir() if p.is_dir()]
    assert [p.name for p in plans] == [made.plan_id]


def metrics(**changed):
    """Figures of a good night, some of them changed: section__key=value."""
    good = {
        "forecast": {"gb": 100.0, "recent_gb": 90.0, "days": 14, "log_age_days": 1},
        "plan": {"gap": 0.01},
        "fill": {"finished_share": 0.9},
        "policies": {PREVIOUS: {"edge_offload": 0.8}, FILLED: {"edge_offload": 0.85}},
    }
    for key, value in changed.items():
        section, _, name = key.partition("__")
        good[section][name] = value
    return good


@pytest.mark.parametrize(
    ("rules", "changed", "guardrail"),
    [
        ({"min_history_days": 15}, {}, "min_history_days"),
        ({}, {"forecast__log_age_days": 8}, "max_log_age_days"),
        ({"max_demand_ratio": 2.0}, {"forecast__gb": 181.0}, "max_demand_ratio"),
        ({"max_demand_ratio": 2.0}, {"forecast__gb": 44.0}, "max_demand_ratio"),
        ({"max_gap": 0.009}, {}, "max_gap"),
        ({"min_finished_share": 0.91}, {}, "min_finished_share"),
        ({"max_offload_drop": 0.05}, {"policies__previous": {"edge_offload": 0.91}}, "max_offload_drop"),
    ],
)
def test_each_guardrail(rules, changed, guardrail):
    settings = Settings.model_validate({"guardrails": rules})
    with pytest.raises(GuardrailError) as caught:
        guard(settings, metrics(**changed))
    assert caught.value.guardrail == guardrail
    assert f"guardrails.{guardrail}" in str(caught.value) and "stands" in str(caught.value)


def test_a_good_night_passes():
    guard(Settings(), metrics())
    guard(Settings.model_validate({"guardrails": {"max_demand_ratio": 2.0}}), metrics(forecast__gb=179.0))
    guard(Settings(), metrics(forecast__recent_gb=0.0))


def test_guardrails_and_housekeeping_do_not_make_another_plan(folder):
    (folder / "fillplan.toml").write_text(QUICK + "[guardrails]\nmin_history_days = 2\n[store]\nkeep = 7\n")
    assert night(folder).published is False


def test_a_night_goes_on_where_it_was_refused(tmp_path):
    folder = write_small_network(tmp_path / "net")
    (folder / "fillplan.toml").write_text(QUICK + "[guardrails]\nmin_history_days = 9\n")
    with pytest.raises(GuardrailError):
        night(folder)
    assert current(folder) is None
    (folder / "fillplan.toml").write_text(QUICK)
    made = night(folder)
    assert made.published
    assert [s["stage"] for s in made.stages if s["skipped"]] == ["ingest", "forecast", "place", "fill", "rehearse"]
    again = shutil.copytree(folder, tmp_path / "again", ignore=shutil.ignore_patterns("plans"))
    assert night(again).metrics["policies"] == made.metrics["policies"], "as in one go"


def test_what_the_rules_ask_for_comes_first_and_goes_last(folder):
    """A window that brings less than half of the wish, a pinned file and a floor of three copies of cold titles: the night brings these, cuts others, and the plan holds."""
    appliances = pd.read_csv(folder / "appliances.csv")
    more = {"fill_gbps": appliances["fill_gbps"] / 30, "storage_gb": appliances["storage_gb"] * 1.5}
    appliances.assign(**more).to_csv(folder / "appliances.csv", index=False)
    network, catalogue = read_network(folder), read_catalogue(folder)
    before = read_placement(current(folder).folder, network, catalogue).stored(network, len(catalogue.files))
    bravo = network.site_ids.get_loc("bravo")
    cold = int(np.flatnonzero(~before[bravo])[-1])
    title, profile = catalogue.files["title"][cold], catalogue.files["profile"][cold]
    rule = pd.DataFrame({"title": [title], "profile": [profile], "site": ["bravo"], "rule": ["pinned"]})
    rule.to_csv(folder / "rules.csv", index=False)
    missing = np.flatnonzero(before[~network.is_origin].sum(axis=0)[::2] == 0)  # titles by their first encode
    pd.DataFrame({"title": [f"t{missing[-1] if len(missing) else 5}"], "group": [""], "at_least": [1]}).to_csv(
        folder / "replicas.csv", index=False
    )
    for limits in ("false", "true"):
        (folder / "fillplan.toml").write_text(
            QUICK + f"[placement]\nfill_weight = 0.0\nfill_limits = {limits}\n[guardrails]\nmin_finished_share = 0.0\n"
        )
        made = night(folder, LAST + dt.timedelta(days=1))
        assert made.metrics["fill"]["rules_missed"] == 0
        found = verify(
            folder, made.folder / "demand.parquet", made.folder, previous=made.folder / "before", fill_weight=0.0, fill_limits=True
        )  # fmt: skip
        assert found.feasible, found.violations
        assert found.objective_cost == pytest.approx(made.metrics["plan"]["objective_cost"], rel=1e-9)
    assert made.metrics["fill"]["finished_share"] == 1.0, "planned within the windows, nothing is cut"
