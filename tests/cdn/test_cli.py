"""The command line: the keys and statuses of the contract, one JSON document on stdout and nothing else, nothing written on wrong input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from cdn import console
from cdn.report.numbers import percent
from tests.cdn.evening import NEW, NIGHT
from tests.command import fillplan, tree
from tests.small_network import write_small_network
from topology.tables import write_table

KEYS = {
    "new": {"path", "counts"},
    "check": {"ok", "problems"},
    "forecast": {"model", "rows", "backtest"},
    "place": {"objective_cost", "lower_bound", "gap", "serving_cost", "fill_cost", "origin_only_cost", "method", "seconds", "peak_memory_gb"},
    "verify": {"feasible", "violations", "objective_cost", "lower_bound"},
    "fill": {"transfers", "gb", "finished_share", "latest_end"},
    "simulate": {"policies", "sessions", "rebuffer_ratio", "seconds"},
    "whatif": {"scenarios"},
    "nightly": {"plan_id", "published", "stages", "metrics"},
    "report": {"path"},
    "explain": {"stored", "value", "price", "rank", "margin"},
}  # fmt: skip
"""The contract's table: what each verb's JSON holds at least."""


@pytest.mark.parametrize("verb", KEYS)
def test_every_verb_prints_the_contracts_keys_and_nothing_else(evening, verb):
    ran = evening.ran[verb]
    assert ran.status == console.DONE, ran.err
    assert KEYS[verb] <= set(ran.document)


def test_progress_goes_to_stderr(evening):
    silent = {"explain"}  # it takes no time
    assert all(ran.err.strip() for verb, ran in evening.ran.items() if verb not in silent)


def test_no_colour_codes_outside_a_terminal(evening):
    assert not any("\x1b" in ran.out + ran.err for ran in evening.ran.values())


def test_new_counts_what_it_wrote(evening):
    counts = evening.ran["new"].document["counts"]
    for table in ("nodes", "links", "regions", "sites", "appliances", "titles", "files"):
        assert counts[table] == len(pd.read_csv(evening.folder / f"net/{table}.csv"))
    parts = list((evening.folder / "net/playback").glob("date=*/*.parquet"))
    assert counts["days"] == len(parts) == 8
    assert counts["sessions"] == sum(len(pd.read_parquet(p)) for p in parts)


@pytest.mark.parametrize("exists", [False, True])
def test_an_interrupted_new_leaves_nothing(tmp_path, monkeypatch, exists):
    """Ctrl-C after the log was written, before the last table; after that an empty folder is as good as none."""
    line = "new net --topology sndlib/polska --sites 1 --regions 2 --titles 3 --days 1 --sessions-per-day 50"

    def interrupted(frame, path):
        if path.name == "files.csv":
            raise KeyboardInterrupt
        write_table(frame, path)

    if exists:
        (tmp_path / "net").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("cdn.sample.write_table", interrupted)
        ran = fillplan(line, cwd=tmp_path)
    assert ran.status == 130
    assert [path.name for path in tmp_path.rglob("*")] == ["net"] * exists
    assert fillplan(line, cwd=tmp_path).status == 0
    assert fillplan("check net", cwd=tmp_path).status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["net"] and not list((tmp_path / "net").glob(".*"))


def test_what_new_advises_can_be_done(tmp_path):
    """The last day, which can be replayed; a log of one day has no day before it."""
    small = "--topology sndlib/polska --sites 1 --regions 2 --titles 3 --sessions-per-day 50"
    for days, night in ((1, "2026-01-02"), (2, "2026-01-02")):
        ran = fillplan(f"new days-{days} --days {days} {small}", cwd=tmp_path)
        assert ran.out.splitlines()[-1] == f"Next: fillplan nightly days-{days} --for {night}", ran.err
    (tmp_path / "days-1/fillplan.toml").write_text('[simulation]\npolicies = ["plan"]\n')
    assert fillplan(f"nightly days-1 --for {night}", cwd=tmp_path).status == 0


def test_the_same_seed_writes_the_same_bytes(evening, tmp_path):
    assert fillplan(NEW, cwd=tmp_path).status == 0
    inputs = {name: data for name, data in tree(evening.folder / "net").items() if not name.startswith("plans")}
    assert tree(tmp_path / "net") == inputs


def test_the_backtest_gives_every_model_its_scores(evening):
    rows = evening.ran["forecast"].document["backtest"]
    assert {row["model"] for row in rows} == {"pooled", "smoothing", "last-day", "same-weekday"}
    assert all({"wape", "bias", "coverage"} <= set(row) for row in rows)


def test_a_forecast_from_a_saved_model_is_the_one_it_was_saved_with(evening, tmp_path):
    asked = f"forecast {evening.folder}/net --for 2026-01-08 --origins 0 --model smoothing -o {tmp_path}/a.parquet"
    assert fillplan(asked, "--save-model", tmp_path / "fitted").status == console.DONE
    again = f"forecast {evening.folder}/net --for 2026-01-08 --origins 0 --load-model {tmp_path}/fitted --json"
    assert fillplan(again, "-o", tmp_path / "b.parquet").document["model"] == "smoothing"
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), pd.read_parquet(tmp_path / "b.parquet"))
    both = fillplan(again, "-o", tmp_path / "c.parquet", "--model", "pooled")
    assert both.status == console.WRONG_INPUT and "--load-model" in both.err
    assert not (tmp_path / "c.parquet").exists()


def test_place_and_verify_say_the_same(evening):
    placed, verified = evening.ran["place"].document, evening.ran["verify"].document
    assert verified["feasible"] is True and verified["violations"] == []
    for key in ("objective_cost", "serving_cost", "fill_cost", "origin_only_cost"):
        assert verified[key] == pytest.approx(placed[key], rel=1e-9)
    assert placed["gap"] == pytest.approx(1 - placed["lower_bound"] / placed["objective_cost"])


def test_what_lay_there_before_a_published_plan_serves_as_the_night_before(evening, tmp_path):
    """Tests the record in a published plan's folder, a placement without prices: ``explain`` takes it unasked, ``place`` and ``verify`` where it is given."""
    published, network = tmp_path / "published", evening.folder / "net"
    shutil.copytree(next((network / "plans").glob(f"{NIGHT}-*")), published)
    assert [p.name for p in (published / "before").iterdir()] == ["placement.parquet"]
    table = pd.read_parquet(published / "placement.parquet")
    (tmp_path / "nothing").mkdir()
    table.iloc[:1].to_parquet(published / "before/placement.parquet")
    table.iloc[:0].to_parquet(tmp_path / "nothing/placement.parquet")
    line = f"explain {network} {published} --site {table['site'].iloc[0]} --file {table['file'].iloc[0]}"
    there, new = (fillplan(line, "--json", *more).document for more in ((), ("--previous", tmp_path / "nothing")))
    assert there["value"] > new["value"]
    asked = f"{network} --demand {published}/demand.parquet --previous {published}/before --json"
    placed = fillplan(f"place {asked} -o {tmp_path}/after")
    assert placed.status == console.DONE, placed.err
    assert fillplan(f"verify {asked} {tmp_path}/after").document["fill_cost"] == pytest.approx(
        placed.document["fill_cost"]
    )


def test_what_a_night_published_is_not_written_over(evening):
    network = evening.folder / "net"
    (published,) = (network / "plans").glob(f"{NIGHT}-*")
    before = {path: path.read_bytes() for path in published.rglob("*") if path.is_file()}
    for line in (
        f"fill {network} {published} --for 2026-01-20",
        f"place {network} --demand {published}/demand.parquet -o {published}",
    ):
        ran = fillplan(line)
        assert ran.status == console.WRONG_INPUT
        assert "is a published plan" in ran.err
    assert {path: path.read_bytes() for path in published.rglob("*") if path.is_file()} == before


def test_fill_wrote_its_tables_into_the_plan(evening):
    filled = evening.ran["fill"].document
    fills = pd.read_parquet(evening.folder / "plan/fills.parquet")
    assert (len(fills), fills["gb"].sum()) == (filled["transfers"], pytest.approx(filled["gb"]))
    appliances = pd.read_csv(evening.folder / "net/appliances.csv")
    assert {p.name for p in (evening.folder / "plan/manifests").iterdir()} == {
        f"{a}.jsonl" for a in appliances["appliance"]
    }


def test_whatif_gives_value_delta_and_interval_of_every_metric(evening):
    scenarios = evening.ran["whatif"].document["scenarios"]
    assert set(scenarios) == {"twice the storage, a title promoted", "a site down"}
    for metrics in scenarios.values():
        for row in metrics.values():
            assert {"value", "delta", "ci_low", "ci_high"} <= set(row)
            assert row["ci_low"] <= row["delta"] <= row["ci_high"]
            assert row["value"] == pytest.approx(row["base"] + row["delta"])
    assert scenarios["a site down"]["misses.health"]["delta"] > 0


def test_nightly_says_what_each_stage_did(evening):
    document = evening.ran["nightly"].document
    assert [s["stage"] for s in document["stages"]] == [
        "ingest",
        "forecast",
        "place",
        "fill",
        "rehearse",
        "guardrails",
        "publish",
    ]
    assert document["published"] is True
    assert {"plan", "fill", "policies", "forecast", "decomposition"} <= set(document["metrics"])
    assert (evening.folder / "net/plans" / document["plan_id"] / "summary.json").is_file()


def test_a_night_again_changes_nothing(evening):
    folder = evening.folder / "net"
    before = {name: data for name, data in tree(folder).items() if not name.startswith("plans/index.db")}
    again = fillplan(f"nightly {folder} --for {NIGHT} --json")
    assert again.status == 0 and again.document["published"] is False
    assert again.document["plan_id"] == evening.ran["nightly"].document["plan_id"]
    assert again.document["metrics"] == evening.ran["nightly"].document["metrics"]
    assert {name: data for name, data in tree(folder).items() if not name.startswith("plans/index.db")} == before


def test_the_report_is_one_page(evening):
    page = (evening.folder / "report.html").read_text("utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert evening.ran["report"].document == {"path": "report.html"}
    assert evening.site in page


def test_a_rehearsal_has_its_report(evening, tmp_path):
    line = f"report net --plan plan --rehearsal tables -o {tmp_path}/r.html --json"
    ran = fillplan(line, cwd=evening.folder)
    assert ran.status == 0, ran.err
    page = (tmp_path / "r.html").read_text("utf-8")
    ratio = evening.ran["simulate"].document["policies"]["plan"]["byte_hit_ratio"]
    assert f"the plan serves {percent(ratio)}" in page
    assert "Plan for the sessions of tables" in page and evening.site in page
    arcs = pd.read_parquet(evening.folder / "tables/by_arc.parquet")
    shutil.copytree(evening.folder / "tables", tmp_path / "tables")
    arcs.assign(link="x" + arcs["link"].astype(str)).to_parquet(tmp_path / "tables/by_arc.parquet")
    line = line.replace("--rehearsal tables", f"--rehearsal {tmp_path}/tables")
    ran = fillplan(line, cwd=evening.folder)
    assert ran.status == console.WRONG_INPUT and "on the links of this network" in ran.err


@pytest.mark.parametrize("table", ["by_arc", "by_hour", "by_site", "arc_gbps"])
def test_a_report_names_the_table_of_a_rehearsal_that_is_spoilt(evening, tmp_path, table):
    path = shutil.copytree(evening.folder / "tables", tmp_path / "tables") / f"{table}.parquet"
    rows = pd.read_parquet(path)
    for spoil, words in (
        (lambda: rows.iloc[:0].to_parquet(path), "the table is empty"),
        (lambda: path.write_bytes(b""), "cannot be read"),
    ):
        spoil()
        ran = fillplan(f"report net --plan plan --rehearsal {tmp_path}/tables -o {tmp_path}/r.html", cwd=evening.folder)
        assert ran.status == console.WRONG_INPUT, ran.err
        assert words in ran.err and str(path) in ran.err and not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    "line",
    ["forecast net --for 2026-01-08 -o X.csv", "place net --demand demand.parquet -o X --method greedy", "verify net --demand demand.parquet plan",
     "simulate net --plan plan --demand demand.parquet --policy plan --policy lfu", "simulate net --plan plan --demand demand.parquet --policy oracle",
     "whatif net scenario.toml --replications 1", "check net", "explain net plan --site SITE --file FILE", "nightly net --for 2026-01-08"],
)  # fmt: skip
def test_for_people_there_are_words_and_tables(evening, tmp_path, line):
    line = line.replace("X", str(tmp_path / "X")).replace("SITE", evening.site).replace("FILE", evening.file)
    ran = fillplan(line, cwd=evening.folder)
    assert ran.status == 0, ran.err
    assert ran.out.strip() and "{" not in ran.out and "nan" not in ran.out.lower().split()
    assert "…" not in ran.out, "a cell was cut off"
    assert max(len(text) for text in ran.out.splitlines()) <= 200


# --- wrong input: status 2, one message with its mend, nothing written ---

WRONG = {
    "new over something": ("new net", "exists and is not empty"),
    "new on an unknown topology": ("new fresh --topology sndlib/atlantis", "atlantis"),
    "new without sites": ("new fresh --sites 0", "--sites"),
    "new with more sites than nodes": ("new fresh --topology sndlib/polska --sites 99", "sites"),
    "check nothing": ("check nowhere", "no such folder"),
    "check what is spoilt": ("check spoilt", "unknown id"),
    "forecast before the log": ("forecast net --for 2026-01-01 -o d.parquet", "no day before"),
    "forecast with an unknown model": ("forecast net --for 2026-01-08 -o d.parquet --model crystal-ball", "crystal-ball"),
    "forecast into an unknown kind of file, refused before the log is looked at": ("forecast net --for 2026-01-01 -o d.xlsx", ".parquet"),
    "place without demand": ("place net -o p", "--demand"),
    "place a demand that is not there": ("place net --demand none.parquet -o p", "no such file"),
    "place a demand of another network": ("place net --demand other.csv -o p", "unknown id"),
    "place with an unknown method": ("place net --demand demand.parquet -o p --method magic", "magic"),
    "place over what is not a plan": ("place net --demand demand.parquet -o net", "is not a plan folder"),
    "place into a folder below a file": ("place net --demand demand.parquet -o other.csv/p", "other.csv is there and no folder"),
    "place where nothing can be written": ("place net --demand demand.parquet -o /proc/nothing/p", "/proc cannot be written to"),
    "forecast into a folder below a file": ("forecast net --for 2026-01-08 -o other.csv/d.parquet", "other.csv is there and no folder"),
    "forecast with a model to save in a file": ("forecast net --for 2026-01-08 -o d.parquet --save-model other.csv", "other.csv is there and no folder"),
    "new below a file": ("new other.csv/fresh", "other.csv is there and no folder"),
    "verify no plan": ("verify net --demand demand.parquet net", "placement"),
    "fill no plan": ("fill net net --for 2026-01-08", "not a plan folder"),
    "simulate a day that is not logged": ("simulate net --plan plan --playback 2027-01-01", "2027-01-01"),
    "simulate an unknown policy": ("simulate net --plan plan --demand demand.parquet --policy mru", "mru"),
    "simulate the fewest misses of several draws": ("simulate net --plan plan --demand demand.parquet --policy belady --replications 2", "leave --replications"),
    "simulate the fewest misses of some titles": ("simulate net --plan plan --demand demand.parquet --policy plan+belady --title-share 0.5", "leave --title-share"),
    "simulate a sample several times": ("simulate net --plan plan --demand demand.parquet --title-share 1 --replications 2", "leave --replications or --title-share out"),
    "simulate a sample of few titles": ("simulate net --plan plan --demand demand.parquet --title-share 0.5", "15 of 30 titles are too few to tell"),
    "simulate last night without one": ("simulate net --plan plan --demand demand.parquet --policy previous", "previous"),
    "simulate nothing": ("simulate net --plan plan", "plan/demand.parquet"),
    "simulate a replay several times": ("simulate net --plan plan --playback 2026-01-08 --replications 3", "--demand"),
    "simulate an unknown admission": ("simulate net --plan plan --demand demand.parquet --admission twice", "second-hit"),
    "simulate a size that nothing looks at": ("simulate net --plan plan --demand demand.parquet --policy lru --largest-gb 2", "say --admission size"),
    "simulate more than all titles": ("simulate net --plan plan --demand demand.parquet --title-share 1.5", "at most 1"),
    "simulate both": ("simulate net --plan plan --playback 2026-01-08 --demand demand.parquet", "give one of them"),
    "simulate steering of another form": ("simulate net --plan plan --demand demand.parquet --steering-at noon", "HH:MM/REGION"),
    "simulate steering to nowhere": ("simulate net --plan plan --demand demand.parquet --steering-at 12:00/SITE=SITE", "arguments, column --steering-at: unknown region"),
    "simulate with no traces": ("simulate net --plan plan --demand demand.parquet --traces other.csv", "archive of traces"),
    "simulate into a folder below a file": ("simulate net --plan plan --demand demand.parquet -o other.csv/tables", "is there and no folder"),
    "simulate a plan of another network": ("simulate net --plan strange --demand demand.parquet", "make the plan again for this network"),
    "simulate a demand of another network": ("simulate net --plan plan --demand other.csv", "unknown id"),
    "simulate after a plan of another network": ("simulate net --plan plan --demand demand.parquet --previous strange", "an earlier plan of this network"),
    "place after a plan of another network": ("place net --demand demand.parquet --previous strange -o p", "an earlier plan of this network"),
    "simulate a failure of another form": ("simulate net --plan plan --demand demand.parquet --down 8:00/SITE", "HH:MM-HH:MM/NAME"),
    "simulate a repair before its failure": ("simulate net --plan plan --demand demand.parquet --down 12:00-12:00/SITE", "later second time"),
    "simulate a failure of nothing": ("simulate net --plan plan --demand demand.parquet --down 12:00-13:00/nobody", "no site or appliance 'nobody'"),
    "simulate a failure of an origin": ("simulate net --plan plan --demand demand.parquet --down 12:00-13:00/ORIGIN", "origins do not fail"),
    "simulate a switch from nothing": ("simulate net --plan plan --demand demand.parquet --switch-at 03:00", "--previous PLAN"),
    "simulate a switch at no time": ("simulate net --plan plan --demand demand.parquet --previous plan --switch-at 3am", "say HH:MM"),
    "simulate into a file": ("simulate net --plan plan --demand demand.parquet -o other.csv", "another folder"),
    "simulate after no plan": ("simulate net --plan plan --demand demand.parquet --previous none", "none"),
    "simulate bytes for GB": ("simulate net --plan plan --demand bytes.parquet --policy plan", "give GB (divide bytes by 1e9)"),
    "simulate bytes for GB several times": (
        "simulate net --plan plan --demand bytes.parquet --policy plan --replications 2",
        "a simulation takes 100,000,000",
    ),
    "simulate what no number holds": ("simulate net --plan plan --demand huge.parquet --policy plan", "asks for inf sessions"),
    "whatif with bytes for GB": ("whatif net scenario.toml --plan plan --demand bytes.parquet", "give GB (divide bytes by 1e9)"),
    "simulate with a seed below 0": ("simulate net --plan plan --demand demand.parquet --seed -1", "--seed"),
    "whatif with a seed below 0": ("whatif net scenario.toml --plan plan --seed -1", "--seed"),
    "new with a seed below 0": ("new fresh --seed -1", "--seed"),
    "whatif with an unknown site": ("whatif net unknown.toml --plan plan", "unknown site"),
    "whatif of a day and a demand": (
        "whatif net scenario.toml --plan plan --playback 2026-01-08 --demand plan/demand.parquet",
        "both --playback and --demand",
    ),
    "whatif before any night": ("whatif small scenario.toml", "no plan was published"),
    "whatif without its file": ("whatif net none.toml --plan plan", "none.toml"),
    "nightly of what is spoilt": ("nightly spoilt --for 2026-03-05", "unknown id"),
    "nightly of no network": ("nightly elsewhere --for 2026-01-08", "missing table"),
    "nightly of nothing": ("nightly nowhere --for 2026-01-08", "no such folder"),
    "nightly before the log": ("nightly small --for 2026-03-02", "no day before"),
    "nightly with a wrong setting": ("nightly set --for 2026-03-05", "placement.gapp"),
    "nightly on no day": ("nightly net --for tomorrow", "tomorrow"),
    "report before any night": ("report small -o r.html", "no plan was published"),
    "report a plan without its rehearsal": ("report net --plan plan -o r.html", "give both"),
    "report what is no rehearsal": ("report net --plan plan --rehearsal plan -o r.html", "totals.json is missing"),
    "report into a folder, refused before a plan is looked for": ("report small -o net", "a folder has this name"),
    "report below a file": ("report net -o other.csv/r.html", "is there and no folder"),
    "report over a table": ("report net -o other.csv", "the file is there and no report"),
    "report over another page": ("report net -o other.html", "the file is there and no report"),
    "explain an unknown file": ("explain net plan --site SITE --file nothing", "nothing"),
    "import no log": ("import log none.csv net", "none.csv"),
    "import a log without its columns": ("import log other.csv net", "start"),
    "import with no column map": ("import log other.csv net --column start", "--column start=ts"),
    "import no trace": ("import trace none.csv bare", "none.csv"),
    "import a trace over a catalogue": ("import trace trace.csv net", "has a catalogue or a log already: titles.csv, files.csv, playback"),
    "import a trace into no network": ("import trace trace.csv nowhere", "no such folder"),
    "import a trace of an unknown form": ("import trace trace.csv bare --format lcs", "oracle-general, csv, umass"),
    "import a trace with columns it cannot have": ("import trace trace.bin bare --time-col 2", "say --format csv"),
    "import a trace of other columns": ("import trace trace.csv bare --obj-size-col 5", "the size is column 5, but there are 3"),
    "import a trace with sizes and another size": ("import trace trace.csv bare --object-mb 5", "--obj-size-col 0"),
    "import a trace of no bit rate": ("import trace trace.csv bare --bitrate-kbps 0", "not a finite number > 0"),
    "import a trace of an unknown unit": ("import trace trace.csv bare --time-unit min", "s, ms, us, ns"),
    "import a trace that lasts for ever": ("import trace long.csv bare", "--time-unit ms"),
    "import a trace of nothing": ("import trace empty.csv bare", "all 2 requests are of zero bytes"),
    "import a trace without names": ("import trace nameless.csv bare", "--obj-id-col"),
    "import a trace that is cut off": ("import trace trace.bin bare --format oracle-general", "25 bytes"),
    "import no topology": ("import graphml none.graphml fresh", "none.graphml"),
    "import what is no GraphML": ("import graphml other.csv fresh", "not GraphML"),
    "import what is no SNDlib": ("import sndlib other.csv fresh", "not XML"),
    "import over something": ("import topohub sndlib/polska net", "not empty"),
    "import no instance": ("import hashcode other.csv fresh", "not whole numbers"),
    "no verb": ("frobnicate net", "frobnicate"),
    "an unknown option": ("check net --fast", "--fast"),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(evening, tmp_path_factory):
    """A folder with the evening's network and plan, and what is wrong."""
    folder = tmp_path_factory.mktemp("wrong")
    for name in ("net", "plan"):
        shutil.copytree(evening.folder / name, folder / name)
    for name in ("demand.parquet", "scenario.toml"):
        shutil.copy(evening.folder / name, folder)
    (folder / "unknown.toml").write_text(
        '[[scenario]]\nname = "x"\n[[scenario.site]]\nsite = "atlantis"\ndown = true\n'
    )
    (folder / "other.csv").write_text("region,file,gb\natlantis,nothing,1\n")
    for name, text in {
        "trace.csv": "1,a,5\n2,b,6\n", "trace.bin": "\0" * 25, "long.csv": "1,a,5\n999999999,b,6\n", "empty.csv": "1,a,0\n2,b,0\n",
        "nameless.csv": "1,a,5\n2,,6\n", "other.html": "<!DOCTYPE html>\n<title>A page</title>\n",
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    wanted = pd.read_parquet(folder / "demand.parquet")
    for name, factor in {"bytes": 1e9, "huge": 1e306}.items():
        wanted.assign(gb=wanted["gb"] * factor).to_parquet(folder / f"{name}.parquet", index=False)
    small = write_small_network(folder / "small")
    bare = shutil.copytree(small, folder / "bare", ignore=shutil.ignore_patterns("playback"))
    for name in ("titles", "files"):
        (bare / f"{name}.csv").unlink()
    spoilt = shutil.copytree(small, folder / "spoilt")
    sites = pd.read_csv(spoilt / "sites.csv")
    sites.assign(node=["nowhere", *sites["node"][1:]]).to_csv(spoilt / "sites.csv", index=False)
    (shutil.copytree(small, folder / "set") / "fillplan.toml").write_text("[placement]\ngapp = 1\n")
    (folder / "elsewhere").mkdir()
    placement = pd.read_parquet(shutil.copytree(folder / "plan", folder / "strange") / "placement.parquet")
    placement.assign(appliance="foreign-" + placement["appliance"].astype(str)).to_parquet(
        folder / "strange/placement.parquet", index=False
    )
    return folder


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_told_once_and_nothing_is_written(evening, place, name):
    line, message = WRONG[name]
    sites = pd.read_csv(place / "net/sites.csv")
    line = line.replace("SITE", evening.site).replace("ORIGIN", sites.loc[sites["kind"] == "origin", "site"].iloc[0])
    before, folders = tree(place), sorted(p for p in place.rglob("*") if p.is_dir())
    ran = fillplan(line, cwd=place)
    assert ran.status == console.WRONG_INPUT, (ran.status, ran.out, ran.err)
    assert message in ran.out + ran.err
    assert "Traceback" not in ran.err and "defect" not in ran.err
    assert ran.out == "" or line.startswith("check")
    told = fillplan(line, "--json", cwd=place)
    assert told.status == console.WRONG_INPUT
    assert message in json.dumps(told.document, ensure_ascii=False)
    assert tree(place) == before
    assert sorted(p for p in place.rglob("*") if p.is_dir()) == folders


def test_link_capacities_that_no_plan_keeps(evening, tmp_path):
    """Status 3 names what clashes, and nothing is written."""
    net = shutil.copytree(evening.folder / "net", tmp_path / "net", ignore=shutil.ignore_patterns("plans"))
    pd.read_csv(net / "links.csv").assign(capacity_gbps=1e-9).to_csv(net / "links.csv", index=False)
    (net / "fillplan.toml").write_text('[placement]\nlink_limits = true\nmethod = "exact"\n')
    ran = fillplan(f"place {net} --demand {evening.folder}/demand.parquet -o {tmp_path}/p --json")
    assert ran.status == console.INFEASIBLE, ran.err
    named = [f"link {name}>" in ran.err for name in pd.read_csv(net / "links.csv")["link"]]
    assert 1 <= sum(named) <= 5 and "would carry" in ran.document["error"]
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("storage", [0.001, None])
def test_fill_refuses_what_no_appliance_can_hold_and_what_is_at_another_site(evening, tmp_path, storage):
    """Tests a placement above an appliance's storage, and one that names another site than the appliance's; nothing is written into the plan."""
    for name in ("net", "plan"):
        shutil.copytree(evening.folder / name, tmp_path / name, ignore=shutil.ignore_patterns("plans"))
    placement = pd.read_parquet(tmp_path / "plan/placement.parquet").astype(object)
    name, own = placement.loc[0, ["appliance", "site"]]
    if storage:
        table = pd.read_csv(tmp_path / "net/appliances.csv").assign(storage_gb=storage)
        table.to_csv(tmp_path / "net/appliances.csv", index=False)
        said = [" GB of 0.001 GB", "make the plan again for this network"]
    else:
        other = next(s for s in placement["site"] if s != own)
        placement.loc[0, "site"] = other
        placement.to_parquet(tmp_path / "plan/placement.parquet", index=False)
        said = [f"placement, row 1, column site: appliance '{name}' is at site '{own}'", f"(value '{other}')"]
    before = tree(tmp_path)
    ran = fillplan(f"fill net plan --for {NIGHT}", cwd=tmp_path)
    assert ran.status == console.WRONG_INPUT
    assert all(part in ran.err for part in said), ran.err
    assert tree(tmp_path) == before


def test_a_plan_that_breaks_a_limit(evening, tmp_path):
    plan = shutil.copytree(evening.folder / "plan", tmp_path / "plan")
    shares = pd.read_parquet(plan / "placement.parquet").astype(object)
    shares.assign(site=shares["site"].iloc[-1]).to_parquet(plan / "placement.parquet")
    ran = fillplan(f"verify net --demand demand.parquet {plan} --json", cwd=evening.folder)
    assert ran.status == console.INFEASIBLE
    assert ran.document["feasible"] is False and ran.document["violations"]


def test_a_guardrail_refuses_and_the_last_good_plan_stands(evening, tmp_path):
    net = shutil.copytree(evening.folder / "net", tmp_path / "net")
    (net / "fillplan.toml").write_text('[guardrails]\nmin_history_days = 99\n[simulation]\npolicies = ["plan"]\n')
    ran = fillplan(f"nightly {net} --for {NIGHT} --json")
    assert ran.status == console.REFUSED, ran.err
    assert "min_history_days: 7 against the limit 99" in ran.err
    assert "min_history_days" in ran.document["error"] and "stands" in ran.err
    (net / "fillplan.toml").unlink()
    again = fillplan(f"nightly {net} --for {NIGHT} --json")
    assert again.status == 0 and again.document["published"] is False
    assert again.document["plan_id"] == evening.ran["nightly"].document["plan_id"]


def test_a_second_interrupt_leaves_without_a_plan(evening, tmp_path, monkeypatch):
    def twice(*_, **__):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("cdn.cli.plan.place_demand", twice)
    ran = fillplan(f"place net --demand demand.parquet -o {tmp_path}/p", cwd=evening.folder)
    assert ran.status == 130 and "once more to leave without one" in ran.err
    assert not list(tmp_path.iterdir())


def test_a_defect_says_so(evening, monkeypatch):
    monkeypatch.setattr("cdn.cli.plan.check_network", lambda _: 1 / 0)
    ran = fillplan("check net --json", cwd=evening.folder)
    assert ran.status == console.DEFECT
    assert "ZeroDivisionError" in ran.err and "report it" in ran.err
    assert "division" in ran.document["error"]


def test_a_place_that_cannot_be_written_is_the_callers_affair(evening):
    ran = fillplan("report net -o /proc/nothing/report.html", cwd=evening.folder)
    assert ran.status == console.WRONG_INPUT and "/proc/nothing" in ran.err


@pytest.mark.parametrize(
    "verb", ["", *KEYS, "import", "import netflix", "import log", "import trace", "import hashcode"]
)
def test_every_verb_explains_itself(verb):
    ran = fillplan(f"{verb} --help")
    assert ran.status == 0
    assert "Usage" in ran.out
    if verb and verb != "import":
        assert "--json" in ran.out


def test_a_process_of_its_own_ends_with_the_same_status():
    """The installed entry point, as a shell sees it."""
    script = "from cdn.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "check", "nowhere", "--json"], capture_output=True, env=os.environ, check=False
    )
    assert done.returncode == console.WRONG_INPUT
    assert json.loads(done.stdout)["ok"] is False


def run_script(script, *arguments, **options):
    """A process of its own that runs a Python script with arguments."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], env=os.environ, check=False, text=True, stderr=subprocess.PIPE, **options
    )  # fmt: skip


INTERRUPTED_IMPORT = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == MODULE:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
from cdn.cli import main
main()
"""


@pytest.mark.parametrize("module", ["typer", "pandas", "cdn.cli.night"])
def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path, module):
    script = INTERRUPTED_IMPORT.replace("MODULE", repr(module))
    done = run_script(script, "new", "net", cwd=tmp_path, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted: nothing was written\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("made_of_it", [KeyboardInterrupt, RuntimeError, ValueError])
def test_ctrl_c_is_one_line_whatever_a_library_makes_of_it(evening, monkeypatch, made_of_it):
    """DuckDB makes a RuntimeError of it."""

    def interrupted(_):
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        raise made_of_it("Query interrupted")

    monkeypatch.setattr("cdn.cli.plan.check_network", interrupted)
    before = signal.getsignal(signal.SIGINT)
    ran = fillplan("check net --json", cwd=evening.folder)
    assert (ran.status, ran.out) == (130, "")
    assert ran.err.splitlines()[-1] == "interrupted: not finished" and "Query" not in ran.err
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("line", ["check small", "check small --json", "check nowhere --json", "check --help"])
def test_no_room_for_the_output_is_one_line(place, line):
    """A small document, too, which only reaches the device as it is flushed."""
    with Path("/dev/full").open("w") as full:
        done = run_script("from cdn.cli import main; main()", *line.split(), cwd=place, stdout=full)
    assert done.returncode == console.DEFECT
    told = [text for text in done.stderr.splitlines() if not text.startswith("check ")]
    assert told == ["error: cannot write the output: No space left on device"]


def test_nobody_reads_the_document(place):
    """A reader that has gone is no defect."""
    reading, writing = os.pipe()
    os.close(reading)
    done = run_script("from cdn.cli import main; main()", "check", "small", "--json", cwd=place, stdout=writing)
    os.close(writing)
    assert done.returncode == console.DONE and "Traceback" not in done.stderr and "error" not in done.stderr
