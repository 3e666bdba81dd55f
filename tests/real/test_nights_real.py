"""Whole real nights, small: a published backbone, Netflix's lists, then every command of the loop; and the benchmark instances through the same door."""

import json
import subprocess
from dataclasses import replace

import pytest

from benchmarks.nights import COMMAND, NIGHTS, lines, run_night


@pytest.mark.slow
@pytest.mark.parametrize("night", NIGHTS, ids=lambda night: night.name)
def test_a_real_night_end_to_end(night, shared_data, tmp_path):
    result = run_night(replace(night, sites=6), shared_data, tmp_path, weeks=2, titles=200, sessions_per_day=6_000)
    metrics = result["metrics"]
    assert result["published"]
    assert result["verified"]["feasible"]
    assert metrics["replayed"]
    plan, policies = metrics["plan"], metrics["policies"]
    assert 0 < plan["lower_bound"] <= plan["objective_cost"] <= plan["origin_only_cost"]
    sessions = {p["sessions"] for p in policies.values()}
    assert len(sessions) == 1
    assert sessions.pop() > 4_000
    for p in policies.values():
        hits = p["request_hit_ratio"] * p["sessions"]
        assert hits + sum(p["misses"].values()) == pytest.approx(
            p["sessions"]
        )  # every session is a hit or one class of miss
        assert p["backbone_gb"] == pytest.approx(
            p["backbone_serving_gb"] + p["backbone_fetch_gb"] + p["backbone_fill_gb"]
        )
    assert policies["oracle"]["backbone_cost"] < policies["plan"]["backbone_cost"]
    page = (tmp_path / f"{night.name}.html").read_text("utf-8")
    assert f"{night.name}: capacity report" in page
    assert any(line.startswith("oracle") for line in lines(result))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "counts", "best"),
    [
        ("me_at_the_zoo.in", {"videos": 100, "endpoints": 10, "caches": 10}, 516_557),
        ("videos_worth_spreading.in.gz", {"videos": 10_000, "endpoints": 100, "caches": 100}, 610_759),
    ],
)
def test_hash_code_instances_through_import_and_place(shared_data, tmp_path, name, counts, best):
    def call(*arguments):
        done = subprocess.run([*COMMAND, *map(str, arguments), "--json"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    network = tmp_path / "instance"
    imported = call("import", "hashcode", shared_data / "hashcode2017" / name, network)["counts"]
    assert imported.items() >= counts.items()
    demand = network / "demand.parquet"
    plan = call("place", network, "--demand", demand, "--time-limit", "20", "-o", tmp_path / "plan")
    reached = 1000 * (plan["origin_only_cost"] - plan["serving_cost"]) / imported["requests"]
    bound = 1000 * (plan["origin_only_cost"] - plan["lower_bound"]) / imported["requests"]
    assert 0.95 * best < reached <= bound
    assert bound >= best  # what others reached is feasible, so no true bound lies below it
    verified = call("verify", network, tmp_path / "plan", "--demand", demand)
    assert verified["feasible"]
    assert verified["objective_cost"] == pytest.approx(plan["objective_cost"], rel=1e-9)
