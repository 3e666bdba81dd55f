"""Plan folders: what is written is read again, a folder is there whole or not at all, and what is no plan is refused."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from cdn.cli.words import cost_line
from cdn.cluster import into_appliances
from cdn.jobs import place_demand
from cdn.placement.build import build_problem
from cdn.placement.problem import evaluate
from cdn.placement.serving import best_shares
from cdn.plan import arc_name, read_placement, read_plan, recost, write_plan
from cdn.report.numbers import percent
from demand.catalogue import read_catalogue
from demand.demand import read_demand
from tests.faults.victim import Victim
from topology.errors import InputError
from topology.network import read_network


def test_what_is_written_is_read_again(planned, tmp_path):
    write_plan(planned.plan, planned.network, planned.catalogue, tmp_path / "plan", manifests={"b1.jsonl": "{}\n"})
    read = read_plan(tmp_path / "plan", planned.network, planned.catalogue)
    for name in ("appliance", "file"):
        assert (getattr(read.placement, name) == getattr(planned.plan.placement, name)).all()
    for name in ("region", "file", "gb", "peak_gbps"):
        assert (getattr(read.demand, name) == getattr(planned.plan.demand, name)).all()
    assert (read.assignment.astype(str) == planned.plan.assignment.astype(str)).all(axis=None)
    assert read.prices["price"].tolist() == planned.plan.prices["price"].tolist()
    assert read.summary == planned.plan.summary
    assert (tmp_path / "plan/manifests/b1.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize("method", ["lagrangian", "exact", "greedy"])
@pytest.mark.parametrize("seed", [1, 2])
def test_rows_in_another_order_give_the_same_plan_to_the_last_byte(planned, tmp_path, method, seed):
    rng = np.random.default_rng(seed)
    for path in planned.folder.glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table.iloc[rng.permutation(len(table))].to_csv(tmp_path / path.name, index=False)
    settings = planned.settings.model_copy(update={"method": method})
    for name, folder in (("as-it-was", planned.folder), ("shuffled", tmp_path)):
        network, catalogue = read_network(folder), read_catalogue(folder)
        demand = read_demand(planned.demand, network.region_ids, catalogue.file_ids)
        plan = place_demand(network, catalogue, demand, settings, None)
        write_plan(plan, network, catalogue, tmp_path / name)
    for table in ("placement", "assignment", "prices"):
        assert (tmp_path / f"as-it-was/{table}.parquet").read_bytes() == (
            tmp_path / f"shuffled/{table}.parquet"
        ).read_bytes()


def test_a_plan_has_the_contracts_tables_and_nothing_else_beside_it(planned, tmp_path):
    write_plan(planned.plan, planned.network, planned.catalogue, tmp_path / "plan")
    assert {p.name for p in tmp_path.iterdir()} == {"plan"}
    columns = {"placement": ["appliance", "site", "file"], "assignment": ["region", "file", "site", "share"], "prices": ["kind", "id", "price"]}  # fmt: skip
    for table, expected in columns.items():
        assert pd.read_parquet(tmp_path / f"plan/{table}.parquet").columns.tolist() == expected
    keys = {
        "objective_cost",
        "lower_bound",
        "gap",
        "serving_cost",
        "fill_cost",
        "origin_only_cost",
        "method",
        "seconds",
        "peak_memory_gb",
    }
    assert keys <= set(json.loads((tmp_path / "plan/summary.json").read_text()))


def test_the_gap_counts_as_reached_only_by_what_is_finally_stored(planned, monkeypatch):
    """Tests the words where putting files on appliances, or a night too short, costs more than the gap asked for."""
    p, asked = planned, planned.settings.placement.gap
    assert (p.plan.summary["status"], p.plan.summary["gap_asked"]) == ("gap reached", asked)
    assert f"gap reached; {percent(asked)} asked for" in cost_line(p.plan.summary)

    def dearer(network, problem, solution, file_ids, held):
        placement, final = into_appliances(network, problem, solution, file_ids, held)
        return placement, dataclasses.replace(final, gap=0.3)

    monkeypatch.setattr("cdn.jobs.into_appliances", dearer)
    wanted = read_demand(p.demand, p.network.region_ids, p.catalogue.file_ids)
    status = place_demand(p.network, p.catalogue, wanted, p.settings, None).summary["status"]
    assert status == "gap reached before files went to appliances"
    problem = build_problem(p.network, p.catalogue, wanted, **p.settings.problem_rules())
    stored = p.plan.placement.stored(p.network, problem.files)
    shares = best_shares(problem, stored).shares
    costs = evaluate(problem, stored, shares)
    for factor, said in ((1.0, "gap reached"), (2.0, "gap reached before fill windows cut the plan")):
        now = dataclasses.replace(costs, serving=factor * costs.serving)
        again = recost(p.network, p.catalogue, p.plan, problem, p.plan.placement, shares, now)
        assert again.summary["status"] == said


def test_writing_over_an_older_plan_leaves_nothing_of_it(planned, tmp_path):
    write_plan(planned.plan, planned.network, planned.catalogue, tmp_path / "plan", manifests={"old.jsonl": ""})
    write_plan(planned.plan, planned.network, planned.catalogue, tmp_path / "plan")
    assert not (tmp_path / "plan/manifests").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"plan"}


def test_what_is_not_a_plan_is_never_overwritten(planned, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/letter.txt").write_text("dear")
    for place in ("precious", "precious/letter.txt"):
        with pytest.raises(InputError, match="is not a plan folder"):
            write_plan(planned.plan, planned.network, planned.catalogue, tmp_path / place)
    assert (tmp_path / "precious/letter.txt").read_text() == "dear"


def test_a_failure_while_writing_leaves_the_old_plan(planned, tmp_path):
    write_plan(planned.plan, planned.network, planned.catalogue, tmp_path / "plan")
    broken = dataclasses.replace(planned.plan, summary={"objective_cost": object()})
    with pytest.raises(TypeError):
        write_plan(broken, planned.network, planned.catalogue, tmp_path / "plan")
    assert read_plan(tmp_path / "plan", planned.network, planned.catalogue).summary == planned.plan.summary
    assert {p.name for p in tmp_path.iterdir()} == {"plan"}


def test_a_kill_at_any_step_leaves_the_old_plan_or_the_new_one_whole(planned, tmp_path):
    shutil.copytree(planned.plan_folder, tmp_path / "start")
    victim = Victim("tests.faults.actions:write_over", planned.folder, planned.plan_folder, tmp_path / "plan")
    try:
        shutil.copytree(tmp_path / "start", tmp_path / "plan")
        end, steps = victim.run()
        assert end == "done" and steps > 10
        seen = set()
        for step in range(1, steps + 1):
            shutil.rmtree(tmp_path / "plan")
            shutil.copytree(tmp_path / "start", tmp_path / "plan")
            assert victim.run(step=step)[0] == "killed"
            assert read_plan(tmp_path / "plan", planned.network, planned.catalogue).summary == planned.plan.summary
            tables = {p.name for p in (tmp_path / "plan").iterdir()}
            assert {
                "placement.parquet",
                "assignment.parquet",
                "prices.parquet",
                "demand.parquet",
                "summary.json",
            } <= tables
            seen.add((tmp_path / "plan/manifests/who.jsonl").exists())
    finally:
        victim.close()
    assert seen == {False, True}


def test_copies_of_appliances_and_files_that_are_gone_do_not_count(planned, tmp_path):
    plan = shutil.copytree(planned.plan_folder, tmp_path / "plan")
    frame = pd.read_parquet(plan / "placement.parquet").astype(object)
    frame.loc[0, "appliance"], frame.loc[1, "file"] = "sold", "withdrawn"
    frame.to_parquet(plan / "placement.parquet")
    before = read_placement(plan, planned.network, planned.catalogue)
    assert len(before) == len(planned.plan.placement) - 2
    with pytest.raises(InputError) as caught:
        read_plan(plan, planned.network, planned.catalogue)
    assert [(p.row, p.column, p.value) for p in caught.value.problems] == [
        (1, "appliance", "sold"),
        (2, "file", "withdrawn"),
    ]


@pytest.mark.parametrize("name", ["placement", "assignment", "prices"])
def test_a_plan_without_a_table_is_refused(planned, tmp_path, name):
    plan = shutil.copytree(planned.plan_folder, tmp_path / "plan")
    (plan / f"{name}.parquet").unlink()
    with pytest.raises(InputError, match=f"has no {name} table"):
        read_plan(plan, planned.network, planned.catalogue)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"gap": ', "\xff"])
def test_a_broken_summary_is_refused(planned, tmp_path, text):
    plan = shutil.copytree(planned.plan_folder, tmp_path / "plan")
    (plan / "summary.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="summary"):
        read_plan(plan, planned.network, planned.catalogue)


def test_a_folder_that_is_no_plan_is_refused(planned, tmp_path):
    for read in (read_plan, read_placement):
        with pytest.raises(InputError, match="not a plan folder"):
            read(tmp_path, planned.network, planned.catalogue)


def test_directions_are_named_by_the_node_they_lead_to(planned):
    network = read_network(planned.folder)
    assert [arc_name(network, a) for a in range(4)] == ["ab>b", "ab>a", "bc>c", "bc>b"]
    assert np.array_equal(network.link_ends[0], [0, 1])
