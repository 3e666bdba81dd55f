"""Hash Code instances: the example of the contest's statement, worked out there by hand, and every way a file can be broken."""

import gzip

import pandas as pd
import pytest

from cdn.check import check
from cdn.hashcode import import_hashcode, read_instance, score
from cdn.jobs import place_demand
from cdn.placement.verify import verify
from cdn.plan import write_plan
from cdn.settings import read_settings
from demand.catalogue import read_catalogue
from demand.demand import read_demand
from topology.errors import InputError
from topology.network import read_network

EXAMPLE = """5 2 4 3 100
50 50 80 30 110
1000 3
0 100
2 200
1 300
500 0
3 0 1500
0 1 1000
4 0 500
1 0 1000
"""
"""Five videos, two endpoints, four descriptions, three caches of 100 MB: the statement's own example, whose best score is 462,500."""


@pytest.fixture
def example(tmp_path):
    path = tmp_path / "example.in"
    path.write_text(EXAMPLE)
    return path


def test_the_statements_example_reaches_the_score_worked_out_there(example, tmp_path):
    folder = tmp_path / "net"
    counts = import_hashcode(example, folder)
    assert counts == {"videos": 5, "endpoints": 2, "caches": 3, "requests": 4000}
    assert [p.value for p in check(folder)] == ["110"]  # video 4 fits nowhere: legal in the contest, worth saying here
    network, catalogue, rules = read_network(folder), read_catalogue(folder), read_settings(folder)
    demand = read_demand(folder / "demand.parquet", network.region_ids, catalogue.file_ids)
    plan = place_demand(network, catalogue, demand, rules, None)
    summary = plan.summary
    assert summary["origin_only_cost"] == 3000 * 1000 + 1000 * 500
    # the statement: videos 3 and 1 (2,500 requests) saved 900 ms; video 0 of the other endpoint saves nothing; video 4 is larger than any cache
    assert score(summary["origin_only_cost"], summary["serving_cost"], counts["requests"]) == 2500 * 900 * 1000 // 4000
    write_plan(plan, network, catalogue, tmp_path / "plan")
    found = verify(folder, folder / "demand.parquet", tmp_path / "plan", candidates=1000, fill_weight=0.0)
    assert found.feasible and found.serving_cost == summary["serving_cost"]


def test_caches_are_listed_by_latency_and_the_centre_last(example, tmp_path):
    import_hashcode(example, tmp_path / "net")
    steering = pd.read_csv(tmp_path / "net/steering.csv")
    assert steering[steering["region"] == "e0"][["site", "rank", "cost_per_gb"]].values.tolist() == [
        ["c0", 1, 100.0], ["c2", 2, 200.0], ["c1", 3, 300.0], ["centre", 4, 1000.0],
    ]  # fmt: skip
    assert steering[steering["region"] == "e1"]["site"].tolist() == ["centre"]


def test_the_same_request_twice_is_added_up(example):
    example.write_text(EXAMPLE.replace("2 4 3", "2 5 3") + "3 0 500\n")
    read = read_instance(example)
    assert (
        dict(zip(zip(read.video.tolist(), read.asker.tolist(), strict=True), read.requests.tolist(), strict=True))[3, 0]
        == 2000
    )


def test_a_cache_no_nearer_than_the_centre_is_left_out(example, tmp_path):
    example.write_text(EXAMPLE.replace("1 300", "1 1000"))
    import_hashcode(example, tmp_path / "net")
    assert "c1" not in set(pd.read_csv(tmp_path / "net/steering.csv")["site"])


def test_packed_files(example, tmp_path):
    packed = tmp_path / "example.in.gz"
    packed.write_bytes(gzip.compress(EXAMPLE.encode()))
    assert read_instance(packed).size_mb.tolist() == [50, 50, 80, 30, 110]


@pytest.mark.parametrize(
    ("change", "row", "message"),
    [
        (lambda t: t[: t.index("4 0 500")], None, "the file ends where video, endpoint and count should be"),
        (lambda t: t.replace("50 50 80", "50 80"), 2, "expected a size for each video: 5 numbers"),
        (lambda t: t.replace("0 100", "0 fast"), 4, "not whole numbers"),
        (lambda t: t.replace("0 100", "0 -100"), 4, "expected cache and latency"),
        (lambda t: t.replace("2 200", "7 200"), 5, "no such cache"),
        (lambda t: t.replace("3 0 1500", "9 0 1500"), 8, "no such video"),
        (lambda t: t.replace("3 0 1500", "3 2 1500"), 8, "no such endpoint"),
        (lambda t: t.replace("5 2 4 3 100", "0 0 0 0 0"), 1, "at least one"),
        (lambda t: t.replace("50 50 80", "50 0 80"), 2, "size 0"),
        (lambda t: "", None, "the file ends where V E R C X should be"),
        (lambda t: t + "1 2 3\n", 12, "after the last"),
        (lambda t: t.replace("5", "é"), None, "cannot be read"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(example, tmp_path, change, row, message):
    example.write_text(change(EXAMPLE), "utf-8")
    with pytest.raises(InputError) as caught:
        import_hashcode(example, tmp_path / "net")
    problem = caught.value.problems[0]
    assert message in problem.message and problem.row == row
    assert not (tmp_path / "net").exists()


def test_what_is_no_file_or_not_packed_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_instance(tmp_path / "none.in")
    (tmp_path / "fake.in.gz").write_bytes(b"5 2 4 3 100\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_instance(tmp_path / "fake.in.gz")
