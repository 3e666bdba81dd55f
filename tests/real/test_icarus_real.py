"""The on-path kernel against what Icarus gave: the same hits, latency and serving nodes; and folders that lack this or that."""

import shutil
from unittest.mock import patch

import pandas as pd
import pytest

from benchmarks.icarus import main, run


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


def of_geant(icarus_folder, folder):
    """A folder with two rows, of which all is there."""
    for path in icarus_folder.glob("GEANT_*"):
        shutil.copy(path, folder)
    reference = pd.read_csv(icarus_folder / "reference.csv", dtype=str)
    rows = reference[(reference["topology"] == "GEANT") & (reference["strategy"] == "EDGE")].iloc[:2]
    rows.to_csv(folder / "reference.csv", index=False)
    return rows


def status(folder):
    with patch("sys.argv", ["icarus", str(folder)]), pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def test_what_cannot_be_replayed_fails(icarus_folder, tmp_path, capsys):
    rows = of_geant(icarus_folder, tmp_path)
    assert status(tmp_path) == 0
    rows.assign(hits=["", rows["hits"].iloc[1]]).to_csv(tmp_path / "reference.csv", index=False)
    assert status(tmp_path) == 1
    assert "1 of 1 rows equal, 2 in the table" in capsys.readouterr().out
    rows.to_csv(tmp_path / "reference.csv", index=False)
    (tmp_path / "a_small_trace.csv.gz").write_bytes(b"no gzip")
    (tmp_path / "a_small_trace.meta.json").write_text('{"topology": "GEANT", "policy": "LRU", "cache_sizes": {}}')
    assert status(tmp_path) == 1
    assert "a_small_trace.csv.gz: cannot be read: BadGzipFile" in capsys.readouterr().out
    (tmp_path / "GEANT_paths.json.gz").unlink()
    assert status(tmp_path) == 1
    assert "0 of 0 rows equal" in capsys.readouterr().out
    for text, word in (("", "cannot be read"), (",".join(rows) + "\n", "has no rows"), ("topology,alpha\n", "no column network_cache")):  # fmt: skip
        (tmp_path / "reference.csv").write_text(text)
        assert status(tmp_path) == 2
        assert word in capsys.readouterr().err
