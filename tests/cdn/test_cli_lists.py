"""``fillplan forecast`` of a file of weekly lists, as a shell would run it; and the benchmark that shares its code."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdn import console
from demand.forecast.lists import forecast_lists, make_list_model
from demand.forecast.toplists import build_top_lists
from tests.command import fillplan, tree
from tests.drawn_lists import WEEKS, made_up_frame
from tests.small_network import write_small_network

FRAME = made_up_frame()
FIRST = dt.date(2022, 1, 2)
LAST = FIRST + dt.timedelta(weeks=WEEKS - 1)
NEXT = LAST + dt.timedelta(weeks=1)


def write_calendar(path: Path) -> None:
    """Every listed title, released three days before the end of its first week; of a film not yet listed, two names."""
    name = FRAME["season_title"].where(FRAME["season_title"] != "N/A", FRAME["show_title"])
    first = FRAME.groupby(name)["week"].min() - pd.Timedelta(days=3)
    rows = [f"{title},{day:%Y-%m-%d}" for title, day in first.items()]
    rows.append(f"Next // Demnächst,{NEXT - dt.timedelta(days=3)}")
    path.write_text("\n".join(["Title,Release Date", *rows]) + "\n", "utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Lists in the form of the published ones, a calendar, a small network, and fitted models of both."""
    folder = tmp_path_factory.mktemp("lists")
    FRAME.to_csv(folder / "lists.tsv.gz", sep="\t", index=False)
    FRAME.to_csv(folder / "lists.csv", index=False)
    FRAME.drop(columns="weekly_rank").to_csv(folder / "unranked.csv", index=False)
    FRAME[FRAME["week"] < pd.Timestamp(FIRST + dt.timedelta(weeks=4))].to_csv(folder / "short.csv", index=False)
    write_calendar(folder / "calendar.csv")
    weeks = [f"{FIRST + dt.timedelta(weeks=w)},TV (English),1,Show {w},N/A,{9 + w},1" for w in range(60)]
    header = "week,category,weekly_rank,show_title,season_title,weekly_hours_viewed,cumulative_weeks_in_top_10"
    (folder / "hours.csv").write_text("\n".join([header, *weeks]) + "\n")
    uncounted = [row.rpartition(",")[0] for row in [header, *weeks]]
    (folder / "uncounted.csv").write_text("\n".join(uncounted) + "\n")
    views = [f"v{v},{d}.09,{(v + 1) * (d + 1)},1,1" for v in range(3) for d in range(9, 29)]
    (folder / "videos.csv").write_text("\n".join(["video_id,date,views,likes,category_id", *views]) + "\n")
    (folder / "no-calendar.csv").write_text("title,day\nA,2022-01-01\n")
    net = write_small_network(folder / "net")
    assert fillplan("forecast lists.csv --origins 0 --save-model fitted", cwd=folder).status == 0
    daily = f"forecast {net} --origins 0 --model smoothing -o demand.csv --save-model daily"
    assert fillplan(daily, cwd=folder).status == 0
    (folder / "broken").mkdir()
    (folder / "broken/model.json").write_text("{}")
    return folder


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_the_lists_of_the_next_week_are_written(folder, tmp_path, kind):
    ran = fillplan(f"forecast lists.tsv.gz --calendar calendar.csv --json -o {tmp_path}/next.{kind}", cwd=folder)
    assert ran.status == console.DONE, ran.err
    document = ran.document
    assert document["model"] == "boosted-calendar" and document["week"] == str(NEXT) and document["rows"] == 100
    assert [row["model"] for row in document["backtest"]] == ["boosted-calendar", "last-value"]
    for row in document["backtest"]:
        assert set(row) == {"model", "precision_at_10", "ndcg_at_10", "lists", "seconds"}
        assert 0 < row["precision_at_10"] <= 1 and row["lists"] == 5 * 10
    read = pd.read_parquet if kind == "parquet" else pd.read_csv
    table = read(tmp_path / f"next.{kind}")
    assert list(table) == ["week", "country", "category", "rank", "title", "chance", "weeks_before"]
    assert len(table) == 100 and set(table["week"].astype(str)) == {str(NEXT)} and table["chance"].between(0, 1).all()
    assert not table["title"].str.contains("//").any()
    assert [p.name for p in tmp_path.iterdir()] == [f"next.{kind}"]


def test_people_read_a_table_and_progress_on_the_other_stream(folder, tmp_path):
    ran = fillplan(f"forecast lists.csv --origins 2 -o {tmp_path}/next.csv", cwd=folder)
    assert ran.status == console.DONE, ran.err
    head, boosted, same, _, summary = ran.out.splitlines()
    assert head.split() == ["backtest", "precision@10", "%", "NDCG@10", "lists", "s"]
    assert boosted.startswith("boosted ") and same.startswith("last-value ")
    assert summary.startswith(f"boosted: 100 places of 10 lists of 5 countries, the week that ends on {NEXT} -> ")
    assert "forecast lists of lists.csv" in ran.err


def test_without_an_output_there_is_the_backtest_alone(folder):
    before = tree(folder)
    ran = fillplan("forecast lists.csv --model last-value --origins 2 --json", cwd=folder)
    assert ran.document["path"] is None and len(ran.document["backtest"]) == 1
    assert tree(folder) == before


def test_a_loaded_model_forecasts_as_the_one_that_was_saved(folder, tmp_path):
    line = f"forecast lists.csv --origins 0 --json -o {tmp_path}"
    made, loaded = fillplan(f"{line}/a.csv", cwd=folder), fillplan(f"{line}/b.csv --load-model fitted", cwd=folder)
    assert made.document["model"] == loaded.document["model"] == "boosted"
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize("future", ["shuffled", "renamed", "deleted"])
@pytest.mark.parametrize("dated", [False, True])
def test_weeks_from_the_date_on_change_nothing(folder, tmp_path, future, dated):
    """Byte for byte, and whatever day of the week that is forecast is given."""
    week = FIRST + dt.timedelta(weeks=11)
    later = FRAME["week"] >= pd.Timestamp(week)
    changed = FRAME.copy()
    if future == "deleted":
        changed = changed[~later]
    elif future == "renamed":
        for column in ("show_title", "season_title"):
            new = "New " + changed.loc[later, column]
            changed.loc[later, column] = new.where(changed.loc[later, column] != "N/A", "N/A")
    else:
        columns = ["show_title", "season_title"]
        for _, rows in changed[later].groupby("category"):
            rng = np.random.default_rng(1)
            changed.loc[rows.index, columns] = changed.loc[rng.permutation(rows.index), columns].to_numpy()
    changed.to_csv(tmp_path / "changed.csv", index=False)
    more = f"--origins 0 --json {'--calendar calendar.csv' if dated else ''}"
    written = []
    for source, day in (("lists.csv", 0), (tmp_path / "changed.csv", 0), ("lists.csv", 6)):
        date = week - dt.timedelta(days=day)
        ran = fillplan(f"forecast {source} --for {date} {more} -o {tmp_path}/next.csv", cwd=folder)
        assert ran.status == console.DONE, ran.err
        assert ran.document["week"] == str(week)
        written.append((tmp_path / "next.csv").read_bytes())
    assert written[0] == written[1] == written[2]
    assert set(pd.read_csv(tmp_path / "next.csv")["week"]) == {str(week)}


def test_the_week_before_the_date_changes_something(folder, tmp_path):
    """The guard of the test above."""
    for name, date in (("a", LAST), ("b", NEXT)):
        line = f"forecast lists.csv --for {date} --model last-value --origins 0 -o {tmp_path}/{name}.csv"
        assert fillplan(line, cwd=folder).status == 0
    assert (tmp_path / "a.csv").read_text() != (tmp_path / "b.csv").read_text().replace(str(NEXT), str(LAST))


WRONG = {
    "a backtest by regret": ("lists.csv --backtest", "leave --backtest"),
    "a daily model": ("lists.csv --model pooled", "use one of: boosted-calendar, boosted, last-value"),
    "a calendar that the model looks not at": ("lists.csv --model boosted --calendar calendar.csv", "leave --calendar"),
    "no calendar for a model that needs one": ("lists.csv --model boosted-calendar", "add --calendar"),
    "a calendar that is not there": ("lists.csv --calendar none.csv", "none.csv"),
    "a calendar without dates": ("lists.csv --calendar no-calendar.csv", "release_date"),
    "a calendar for a network": ("net --calendar calendar.csv", "leave it"),
    "a model of lists for a network": ("net --model boosted-calendar", "no such forecaster"),
    "two models": ("lists.csv --model boosted --load-model fitted", "give one of them"),
    "a model of a network": ("lists.csv --load-model daily", "'smoothing' is a model of a network's demand"),
    "a model of lists loaded for a network": ("net --load-model fitted", "'boosted' is a model of published lists"),
    "a model without the calendar it learnt with": (
        "lists.csv --load-model fitted --calendar calendar.csv",
        "learnt without a release calendar",
    ),
    "a model that knows later lists": (
        f"lists.csv --load-model fitted --for {LAST}",
        f"learnt from lists up to {LAST}",
    ),
    "no model": ("lists.csv --load-model net", "not a saved forecaster"),
    "a model that lacks all": ("lists.csv --load-model broken", "not a saved forecaster"),
    "a day too late": (f"lists.csv --for {NEXT + dt.timedelta(days=1)}", f"a date up to {NEXT}"),
    "a day too early": (f"lists.csv --for {FIRST}", f"a date after {FIRST}"),
    "too few weeks": ("short.csv", "six weeks"),
    "lists without ranks": ("unranked.csv", "weekly_rank"),
    "no file": ("none.tsv.gz", "error: none.tsv.gz: no such file"),
    "fewer origins than none": ("lists.csv --origins -1", "--origins"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_told_in_one_message_and_nothing_is_written(folder, case):
    line, said = WRONG[case]
    before = tree(folder)
    ran = fillplan(f"forecast {line} -o out.csv --save-model out", cwd=folder)
    assert ran.status == console.WRONG_INPUT, ran.err
    assert said in ran.err and ("Mend: " in ran.err or "Try 'fillplan" in ran.err)
    assert ran.err.count("error:") == 1
    assert tree(folder) == before


def test_nowhere_to_write_and_nothing_to_test(folder):
    ran = fillplan("forecast lists.csv --origins 0", cwd=folder)
    assert ran.status == console.WRONG_INPUT and "nowhere to write the lists" in ran.err


def test_a_table_that_cannot_be_written_leaves_no_model(folder, tmp_path):
    (tmp_path / "taken.csv").mkdir()
    line = f"forecast lists.csv --model last-value --origins 0 -o {tmp_path}/taken.csv --save-model {tmp_path}/model"
    ran = fillplan(line, cwd=folder)
    assert ran.status == console.WRONG_INPUT and "taken.csv" in ran.err
    assert [p.name for p in tmp_path.iterdir()] == ["taken.csv"]


def test_an_unknown_kind_of_table_is_refused_before_the_lists_are_read(folder):
    ran = fillplan("forecast unranked.csv -o next.xlsx", cwd=folder)
    assert ran.status == console.WRONG_INPUT and ".parquet" in ran.err and "weekly_rank" not in ran.err


def test_without_lightgbm_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    ran = fillplan("forecast lists.csv --origins 0 -o out.csv", cwd=folder)
    assert ran.status == console.WRONG_INPUT and "pip install 'fillplan[forecast]'" in ran.err
    assert fillplan("forecast lists.csv --model last-value --origins 2", cwd=folder).status == console.DONE


def test_help_teaches_both_forms():
    text = " ".join(fillplan("forecast --help").out.replace("│", " ").split())
    for word in (
        "NETWORK|LISTS",
        "all-weeks-countries.tsv.gz --calendar",
        "weeks_before",
        "boosted-calendar",
        "--model last-value",
    ):
        assert word in text


# --- the benchmark ---


def benchmark(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "benchmarks.forecast", *map(str, arguments)]
    return subprocess.run(line, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)


def test_the_benchmark_measures_the_same_forecasts(folder):
    ran = benchmark(folder, "--top10", folder / "lists.csv", "--origins", 3, "--refit-every", 3, "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["default"] == "boosted"
    rows = forecast_lists(build_top_lists(FRAME), None, make_list_model("boosted"), origins=3).backtest
    assert set(document["models"]) == set(rows["model"])
    for row in rows.to_dict("records"):
        told = document["models"][row["model"]]
        assert {key: told[key] for key in ("precision_at_10", "ndcg_at_10", "lists")} == {
            key: row[key] for key in ("precision_at_10", "ndcg_at_10", "lists")
        }
        assert told["seconds"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--top10", "none.tsv"], "no such file"),
        (["--top10", "unranked.csv"], "weekly_rank"),
        (["--top10", "lists.csv", "--origins", "99"], "fewer origins"),
        (["--top10", "lists.csv", "--calendar", "no-calendar.csv"], "release_date"),
        (["--youtube", "none.csv"], "none.csv"),
        (["--youtube", "lists.csv"], "video_id"),
        (["--global-hours", "lists.csv"], "weekly_hours_viewed"),
        (["--global-hours", "uncounted.csv"], "uncounted.csv, column cumulative_weeks_in_top_10: missing column"),
        (
            ["--global-hours", "hours.csv"],
            "hours.csv: launches of the last 104 weeks are forecast from those before, of which there are 0. Mend: give a file of 106 weeks or more",
        ),
        (["--youtube", "videos.csv"], "videos.csv: 0 videos had their first 5 days"),
        (["--elsewhere"], "Mend: add --top10 FILE"),
        (["--elsewhere", "--global-hours", "hours.csv"], "Mend: add --top10 FILE"),
        (
            ["--top10", "lists.csv", "--dates-only"],
            "--dates-only: there is no calendar to leave runtimes out of. Mend: add --calendar",
        ),
        (["--youtube", "videos.csv", "--evidence"], "--evidence: it is of lists and of hours"),
        (
            ["--youtube", "videos.csv", "--calendar", "no-calendar.csv"],
            "--calendar: it is read for lists and for hours",
        ),
        ([], "nothing to measure"),
    ],
)
def test_the_benchmark_words_wrong_input(folder, arguments, said):
    ran = benchmark(folder, *(folder / a if a.endswith((".csv", ".tsv")) else a for a in arguments))
    assert ran.returncode == console.WRONG_INPUT and not ran.stdout
    assert said in ran.stderr and "Traceback" not in ran.stderr
    assert ran.stderr.count("error: ") == len(ran.stderr.splitlines())
