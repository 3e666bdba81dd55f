"""The verifier against a checker that shares nothing with the project, on instances that someone else makes; the two contest instances through the commands."""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from cdn.hashcode import score
from tests.command import ONE_THREAD, fillplan

SIZES = "--sites 8 --regions 12 --files 200 --candidates 4"


def run(script, *arguments):
    line = [sys.executable, script, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, env={**os.environ, **ONE_THREAD}, check=False)


@pytest.fixture(scope="module", params=["tight", "loose"])
def planned(request, shared_check, tmp_path_factory):
    """An instance, a plan without and one with a night before, made by the commands."""
    folder = tmp_path_factory.mktemp("instance")
    made = run(
        shared_check / "make_instance.py", folder / "net", *SIZES.split(), "--seed", 5, "--throughput", request.param
    )
    assert made.returncode == 0, made.stderr
    (demand,) = (folder / "net").glob("demand.*")
    for line in ("-o plan --method greedy", "-o next --method greedy --previous plan"):
        ran = fillplan(f"place net --demand {demand} {line}", cwd=folder)
        assert ran.status == 0, ran.err
    return folder, demand


@pytest.mark.parametrize("previous", [False, True])
def test_verify_and_the_independent_checker_agree(planned, shared_check, previous):
    folder, demand = planned
    plan, before = (folder / "next", ["--previous", folder / "plan"]) if previous else (folder / "plan", [])
    theirs = run(shared_check / "check_plan.py", folder / "net", plan, "--demand", demand, *before)
    ours = fillplan("verify --json", folder / "net", plan, "--demand", demand, *before)
    assert (theirs.returncode, ours.status) == (0, 0), (theirs.stdout, theirs.stderr, ours.err)
    found, checked = ours.document, json.loads(theirs.stdout)
    for key in ("objective_cost", "serving_cost", "fill_cost", "origin_only_cost"):
        assert found[key] == pytest.approx(checked[key], rel=1e-9, abs=1e-9)
    assert found["lower_bound"] <= checked["objective_cost"]
    assert previous or checked["stored"] > 0, "what the checker counts is new"


@pytest.mark.parametrize("spoil", ["too much", "gone", "moved"])
def test_both_find_what_is_broken(planned, shared_check, tmp_path, spoil):
    folder, demand = planned
    plan = shutil.copytree(folder / "plan", tmp_path / "plan")
    rows = pd.read_parquet(plan / "placement.parquet").astype(object)
    if spoil == "too much":
        everything = pd.read_csv(folder / "net/files.csv")["file"]
        first = rows.iloc[0]
        rows = pd.concat(
            [rows, pd.DataFrame({"appliance": first["appliance"], "site": first["site"], "file": everything})]
        ).drop_duplicates()
    elif spoil == "gone":
        rows.loc[0, "file"] = "withdrawn"
    else:
        rows.loc[0, "site"] = rows["site"].iloc[-1]
    rows.to_parquet(plan / "placement.parquet", index=False)
    theirs = run(shared_check / "check_plan.py", folder / "net", plan, "--demand", demand)
    ours = fillplan("verify --json", folder / "net", plan, "--demand", demand)
    assert theirs.returncode != 0
    assert ours.status == 3 and ours.document["violations"]


def test_the_contests_small_instance_through_the_commands(shared_data, tmp_path):
    """Import, place, verify; the score is near what a plain lazy greedy reaches (507,906) and at most what the proven bound allows."""
    source = shared_data / "hashcode2017" / "me_at_the_zoo.in"
    counts = fillplan("import hashcode --json", source, "zoo", cwd=tmp_path).document["counts"]
    placed = fillplan("place zoo --demand zoo/demand.parquet -o plan --method greedy --json", cwd=tmp_path).document
    found = fillplan("verify zoo plan --demand zoo/demand.parquet --json", cwd=tmp_path)
    assert found.status == 0, found.document["violations"]
    assert found.document["objective_cost"] == pytest.approx(placed["objective_cost"], rel=1e-9)
    reached = score(placed["origin_only_cost"], placed["serving_cost"], counts["requests"])
    assert 500_000 < reached <= score(placed["origin_only_cost"], placed["lower_bound"], counts["requests"])
