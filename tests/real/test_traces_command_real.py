"""``simulate --traces`` on the published throughput traces."""

import pandas as pd
import pytest

from tests.command import fillplan

NEW = "new net --topology sndlib/polska --sites 4 --regions 6 --titles 30 --days 2 --sessions-per-day 1500 --seed 3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    for line in (NEW, "forecast net --for 2026-01-03 -o demand.parquet", "place net --demand demand.parquet -o plan"):
        assert fillplan(line, cwd=folder).status == 0
    (folder / "net/fillplan.toml").write_text('[simulation]\naccess = ["3g", "4g"]\n')
    return folder


@pytest.fixture(scope="module")
def archive(shared_data):
    path = shared_data / "abr" / "sabre_mmsys18_traces.tar.gz"
    if not path.is_file():
        pytest.skip("../shared/data/abr/sabre_mmsys18_traces.tar.gz is not there")
    return path


def test_every_replication_plays_over_the_traces(folder, archive):
    line = f"simulate net --plan plan --demand demand.parquet --policy plan --policy lru --replications 3 --traces {archive} --json"
    ran = fillplan(line, cwd=folder)
    assert ran.status == 0, ran.err
    rows = {(row["policy"], row["metric"]): row for row in ran.document["intervals"]}
    stalled = rows["plan", "rebuffer_ratio"]
    assert 0 < stalled["ci_low"] < stalled["value"] < stalled["ci_high"] < 1
    assert stalled["value"] == pytest.approx(ran.document["rebuffer_ratio"])
    assert rows["lru", "rebuffer_ratio"]["delta"] == 0  # the access lines' doing, whoever serves
    assert fillplan(line, cwd=folder).document["intervals"] == ran.document["intervals"]


def test_the_table_by_site_and_hour_has_what_stood_still(folder, archive):
    line = f"simulate net --plan plan --demand demand.parquet --policy plan --traces {archive} -o tables --json"
    ran = fillplan(line, cwd=folder)
    assert ran.status == 0, ran.err
    table = pd.read_parquet(folder / "tables/by_site_hour.parquet")
    assert {"rebuffer_ratio", "mean_kbps", "fills_due", "fills_finished"} <= set(table.columns)
    played = table["gb"] * 8e6 / table["mean_kbps"].where(table["sessions"] > 0, 1)  # seconds
    assert (table["rebuffer_ratio"] * played).sum() / played.sum() == pytest.approx(ran.document["rebuffer_ratio"])
    assert table["rebuffer_ratio"].nunique() > 10
