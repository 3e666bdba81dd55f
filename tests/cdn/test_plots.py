"""Charts of what ``simulate -o`` writes: what they draw is what the tables hold, and the documented example runs."""

import re
from pathlib import Path

import pandas as pd
import pytest

from cdn.report import plots
from sim.replicate import intervals
from topology.errors import InputError

PAGE = Path(__file__).parents[2] / "docs/simulation.md"
CLASSES = ["content", "not_yet_filled", "health"]


@pytest.fixture(scope="module")
def tables(evening):
    names = ("by_hour", "by_site", "by_site_hour", "by_arc", "arc_gbps")
    return {name: pd.read_parquet(evening.folder / f"tables/{name}.parquet") for name in names}


def drawn(chart) -> list[pd.DataFrame]:
    """The rows of a chart, a table a data set, and that Vega-Lite's schema takes it."""
    return [pd.DataFrame(rows) for rows in chart.to_dict()["datasets"].values()]


def test_the_documented_example_runs(evening, tmp_path, monkeypatch):
    (code,) = (block for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL) if "plots" in block)  # fmt: skip
    (tmp_path / "tables").symlink_to(evening.folder / "tables")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(PAGE), "exec"), {})
    assert "Byte hit ratio (%)" in (tmp_path / "hit_ratio.html").read_text("utf-8")
    assert (tmp_path / "busiest_link.png").read_bytes().startswith(b"\x89PNG")


def test_every_chart_of_the_page_is_there():
    named = re.findall(
        r"^\| `(\w+)\(", PAGE.read_text("utf-8").partition("## Charts")[2].partition("\n## ")[0], re.MULTILINE
    )
    assert len(named) == 7
    assert all(callable(getattr(plots, name)) for name in named)


def test_bars_and_lines_are_the_figures_of_every_policy(evening, tables):
    totals = evening.ran["simulate"].document["policies"]
    (misses,) = drawn(plots.misses_chart(tables["by_hour"]))
    (traffic,) = drawn(plots.traffic_chart(tables["by_arc"]))
    (offload,) = drawn(plots.offload_chart(tables["by_hour"]))
    (ratio,) = drawn(plots.hit_ratio_chart(tables["by_hour"]))
    assert {*misses["policy"]} == {*traffic["policy"]} == {*offload["policy"]} == {*ratio["policy"]} == {*totals}
    gb = tables["by_hour"].set_index(["policy", "hour"])["gb"]
    for name, figures in totals.items():
        mine = misses[misses["policy"] == name].set_index("part")["amount"]
        assert {key: mine[key.replace("_", " ")] for key in CLASSES} == pytest.approx(figures["misses"], rel=1e-3)
        parts = traffic[traffic["policy"] == name].set_index("part")["amount"]
        assert [parts[kind] for kind in ("serving", "fetches", "fills")] == pytest.approx(
            [figures[f"backbone_{kind}_gb"] for kind in ("serving", "fetch", "fill")], rel=1e-3
        )
        assert offload.set_index("policy")["offload"][name] == pytest.approx(100 * figures["edge_offload"], abs=0.01)
        hours = ratio[ratio["policy"] == name].set_index("hour")["ratio"]
        hit = (hours * gb[name].loc[hours.index]).sum() / gb[name].sum()
        assert hit == pytest.approx(100 * figures["byte_hit_ratio"], abs=0.01)


def test_a_sites_hit_ratio_is_of_the_sessions_that_rank_it_best(evening, tables):
    cells = tables["by_site_hour"]
    (rows,) = drawn(plots.site_hit_ratio_chart(cells))
    for name, figures in evening.ran["simulate"].document["policies"].items():
        mine = rows[rows["policy"] == name]
        assert mine["sessions"].sum() == figures["sessions"]
        hits = (mine["ratio"] * mine["sessions"]).sum() / mine["sessions"].sum()
        assert hits == pytest.approx(100 * figures["request_hit_ratio"], abs=0.01)


def test_rows_of_sites_and_hours_count_deliveries_beside_outcomes_of_the_best_ranked(tables):
    """What the page says of ``by_site_hour``: a row need not add up, an hour does."""
    cells = tables["by_site_hour"]
    outcomes = cells[["hits", *CLASSES]].sum(axis=1)
    assert (outcomes != cells["sessions"]).any()
    hours = cells.assign(outcomes=outcomes).groupby(["policy", "hour"])[["sessions", "outcomes"]].sum()
    assert (hours["sessions"] == hours["outcomes"]).all()


def test_loads_are_of_the_busiest_directions_with_their_peak_and_percentile(tables):
    mine = tables["by_arc"].query("policy == 'lru'")
    order = mine.assign(use=mine["peak_gbps"] / mine["capacity_gbps"]).sort_values(
        "use", ascending=False, kind="stable"
    )
    charts = plots.link_load_charts(tables["arc_gbps"], tables["by_arc"], policy="lru", most=3)
    assert list(charts) == [f"{row.link} towards {row.towards}" for row in order.head(3).itertuples()]
    for chart, row in zip(charts.values(), order.head(3).itertuples(), strict=True):
        by_columns = {frozenset(table.columns): table for table in drawn(chart)}
        load, marks = by_columns[frozenset({"hour", "gbps"})], by_columns[frozenset({"level", "name", "label"})]
        assert len(load) == 288 and load["gbps"].max() == pytest.approx(row.peak_gbps, rel=1e-3)
        assert marks["level"].tolist() == pytest.approx([row.peak_gbps, row.p95_gbps], rel=1e-3)
        assert [label.rsplit(" ", 1)[0] for label in marks["label"]] == ["peak", "95th percentile"]


def test_a_load_of_several_days_is_drawn_to_the_end():
    load = pd.DataFrame({"minute": range(0, 2 * 1440, 5), "gbps": 1.0})
    chart = plots.link_load_chart(load, 2.0).to_dict()
    assert chart["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0, 48]


def test_intervals_are_those_of_the_table_and_differences_leave_the_first_out():
    figures = pd.DataFrame(
        [(i, name, metric, value * (1 + 0.01 * i)) for i in range(3) for name, value in (("plan", 100.0), ("lru", 200.0)) for metric in ("cost", "other")],
        columns=["replication", "scheme", "metric", "value"],
    )  # fmt: skip
    table = intervals(figures).rename(columns={"scheme": "policy"})
    (own,) = drawn(plots.interval_chart(table, metric="cost"))
    (less,) = drawn(plots.interval_chart(table, metric="cost", less_the_first=True))
    assert own.set_index("policy")["mean"].to_dict() == {"plan": 101.0, "lru": 202.0}
    assert less.set_index("policy")["mean"].to_dict() == {"lru": 101.0}
    assert (own["low"] < own["mean"]).all() and (own["mean"] < own["high"]).all()
    with pytest.raises(InputError, match=r"no such figure .*hits.*give one of cost, other"):
        plots.interval_chart(table, metric="hits")


def test_tables_of_nothing_are_drawn_empty(tables):
    for chart in (
        plots.hit_ratio_chart(tables["by_hour"].iloc[:0]),
        plots.misses_chart(tables["by_hour"].iloc[:0]),
        plots.site_hit_ratio_chart(tables["by_site_hour"].iloc[:0]),
        plots.traffic_chart(tables["by_arc"].iloc[:0]),
        plots.offload_chart(tables["by_hour"].iloc[:0]),
    ):
        assert chart.to_dict()["mark"]


def test_a_table_that_is_another_and_a_policy_that_was_not_run_are_refused(tables):
    with pytest.raises(InputError, match=r"gb.*give the table by_hour\.parquet"):
        plots.hit_ratio_chart(tables["by_hour"].drop(columns="gb"))
    with pytest.raises(InputError, match=r"give the table by_arc\.parquet"):
        plots.traffic_chart(tables["by_hour"])
    with pytest.raises(InputError, match=r"no such policy .*sieve.*give one of plan, lru"):
        plots.link_load_charts(tables["arc_gbps"], tables["by_arc"], policy="sieve")
