"""The on-path kernel against what Icarus gave: the same hits, latency and serving nodes; and folders that lack this or that."""

import shutil

import pandas as pd

from benchmarks.icarus import run


def test_every_row_and_every_serving_node_is_the_same(icarus_folder):
    table, small = run(icarus_folder, redraws=8)
    assert table["note"].eq("").all()
    assert table.loc[~table["equal"].astype(bool), ["topology", "alpha", "network_cache", "strategy"]].empty
    certain = table[table["redraws"] == 0]
    assert len(certain) > 30
    assert (certain["our_hits"] == certain["hits"]).all()
    assert len(small) == 6
    assert all(line["same_server"] == line["requests"] == 50_000 for line in small)


def test_a_folder_may_lack_traces_and_have_rows_without_rules_or_requests(icarus_folder, tmp_path):
    for path in icarus_folder.glob("GEANT_*"):
        if "a0.6" not in path.name:
            shutil.copy(path, tmp_path)
    reference = pd.read_csv(icarus_folder / "reference.csv", dtype=str)
    rows = reference[(reference["topology"] == "GEANT") & (reference["strategy"] == "LCD")]
    odd = rows.iloc[:1].assign(alpha="0.8", strategy="TELEPATHY")
    wrong = rows[rows["alpha"] == "0.8"].iloc[:1].assign(hits="1")
    pd.concat([rows, odd, wrong]).to_csv(tmp_path / "reference.csv", index=False)
    table, small = run(tmp_path)
    assert small == []
    assert table["alpha"].tolist() == [*rows["alpha"], "0.8", "0.8"]
    absent = table["alpha"] == "0.6"
    assert table.loc[absent, "note"].str.contains("GEANT_a0.6_requests.npz is not there").all()
    assert table.loc[absent | (table["strategy"] == "TELEPATHY"), "equal"].isna().all()
    assert table["note"].iloc[-2] == "no rule for strategy TELEPATHY"
    assert table["equal"].iloc[-1] == False  # noqa: E712  # neither true nor missing
    assert table.loc[~absent, "equal"].iloc[:-2].all()
