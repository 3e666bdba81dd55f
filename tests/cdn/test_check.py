"""``check``: every class of breach is found, named with table, row, column, value and mend, and all of them at once."""

import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest

from cdn.check import check
from tests.small_network import FIRST, playback_frame, write_small_network
from topology.tables import write_table


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_small_network(tmp_path_factory.mktemp("sound") / "net")


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "net")


def edit(folder, table, change):
    frame = pd.read_csv(folder / f"{table}.csv", keep_default_na=False)
    write_table(change(frame), folder / f"{table}.csv")


def put(table, row, column, value):
    """Change one cell; ``row`` counts from 1 below the header."""

    def change(frame):
        frame = frame.astype({column: object})
        frame.loc[row - 1, column] = value
        return frame

    return lambda folder: edit(folder, table, change)


def lose(path):
    return lambda folder: (folder / path).unlink()


def cut(path, keep):
    def spoil(folder):
        part = next(folder.glob(path))
        part.write_bytes(part.read_bytes()[: int(part.stat().st_size * keep)])

    return spoil


def playback(change):
    def spoil(folder):
        path = next((folder / f"playback/date={FIRST}").glob("*.parquet"))
        change(playback_frame(FIRST)).to_parquet(path, index=False)

    return spoil


def rename_parquet_to_csv(folder):
    frame = pd.read_csv(folder / "nodes.csv")
    frame.to_parquet(folder / "nodes.csv")


def island(folder):
    edit(folder, "links", lambda f: f[~f["link"].isin(["cd", "de"])])


def foreign_parquet(folder):
    (folder / "links.csv").unlink()
    (folder / "links.parquet").write_bytes(b"PK\x03\x04 not a table")


def bad_playback_name(folder):
    (folder / "playback" / "date=2026-13-40").mkdir()
    shutil.copy(next((folder / f"playback/date={FIRST}").glob("*.parquet")), folder / "playback" / "date=2026-13-40")


# what spoils the network -> table, row, column, value, part of the message (None: not checked)
BREACHES = {
    "missing table": (lose("sites.csv"), "sites", None, None, None, "missing table"),
    "missing column": (lambda f: edit(f, "links", lambda t: t.drop(columns="length_km")), "links", None, "length_km", None, "missing column"),
    "empty table": (lambda f: edit(f, "files", lambda t: t.iloc[:0]), "files", None, None, None, "empty"),
    "unknown id in sites": (put("sites", 3, "node", "nowhere"), "sites", 3, "node", "nowhere", "unknown id"),
    "unknown id in files": (put("files", 2, "title", "t99"), "files", 2, "title", "t99", "unknown id"),
    "unknown id in the log": (playback(lambda t: t.assign(region=["atlantis", *t["region"][1:]])), f"playback/date={FIRST}", 1, "region", "atlantis", "unknown id"),
    "duplicate id": (put("appliances", 2, "appliance", "b1"), "appliances", 2, "appliance", "b1", "duplicate"),
    "duplicate file of a title": (put("files", 2, "profile", "low"), "files", 2, "profile", "low", "two files"),
    "negative number": (put("appliances", 4, "storage_gb", -1), "appliances", 4, "storage_gb", "-1", ">=0"),
    "not a number": (put("links", 1, "capacity_gbps", "fast"), "links", 1, "capacity_gbps", "fast", "number"),
    "infinite number": (put("files", 5, "size_gb", "inf"), "files", 5, "size_gb", "inf", "finite"),
    "no number": (put("files", 5, "size_gb", "nan"), "files", 5, "size_gb", "nan", ""),
    "negative bytes in the log": (playback(lambda t: t.assign(gb=[*t["gb"][:-1], -1.0])), f"playback/date={FIRST}", 200, "gb", None, "no bytes"),
    "bytes in another unit": (playback(lambda t: t.assign(gb=t["gb"] * 1000)), f"playback/date={FIRST}", 1, "gb", None, "over 100 times the"),
    "seconds in another unit": (playback(lambda t: t.assign(seconds=t["seconds"] * 1000)), f"playback/date={FIRST}", 1, "seconds", None, "200 of 200 sessions"),
    "day of another folder": (playback(lambda t: t.assign(start=t["start"] + pd.Timedelta(days=3))), f"playback/date={FIRST}", 1, "start", None, "not on 2026-03-02"),
    "folder that is no day": (bad_playback_name, "playback/date=2026-13-40", None, None, None, "not the name of a day"),
    "unknown time zone": (put("regions", 3, "timezone", "Mars/Base"), "regions", 3, "timezone", "Mars/Base", "timezone"),
    "unknown kind of site": (put("sites", 2, "kind", "cave"), "sites", 2, "kind", "cave", ""),
    "no origin": (put("sites", 1, "kind", "ix"), "sites", None, "kind", None, "origin"),
    "disconnected region": (island, "regions", 3, "node", "d", "connected"),
    "file larger than any site": (put("files", 12, "size_gb", 10_000), "files", None, "size_gb", "10000", "larger than any site"),
    "file larger than any disk": (put("files", 12, "size_gb", 1e12), "files", 12, "size_gb", "1000000000000.0", ">0..1e9"),
    "link longer than the way around the earth": (put("links", 2, "length_km", 1e15), "links", 2, "length_km", "1000000000000000.0", "0..100000"),
    "truncated Parquet": (cut(f"playback/date={FIRST}/*.parquet", 0.6), f"playback/date={FIRST}", None, None, None, ""),
    "foreign Parquet": (foreign_parquet, "links", None, None, None, "Parquet"),
    "Parquet named CSV": (rename_parquet_to_csv, "nodes", None, None, None, "not CSV but a Parquet file"),
    "bad encoding": (lambda f: (f / "titles.csv").write_bytes(b"title\nt0\nt\xff1\n"), "titles", 2, None, None, "not UTF-8"),
    "unknown id in the events": (lambda f: (f / "events.csv").write_text("date,region,title,promoted\n2026-03-03,atlantis,t0,1\n"), "events", 1, "region", "atlantis", "unknown id"),
    "unknown setting": (lambda f: (f / "fillplan.toml").write_text("[placement]\ngapp = 1\n"), "fillplan.toml", None, "placement.gapp", "1", "unknown setting"),
}  # fmt: skip


def test_a_sound_network_has_no_problem(sound):
    assert check(sound) == []


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_found_and_named(folder, name):
    spoil, table, row, column, value, message = BREACHES[name]
    spoil(folder)
    found = [p for p in check(folder) if p.table.startswith(table) and message in p.message]
    assert found, [str(p) for p in check(folder)]
    problem = found[0]
    assert problem.row == row
    assert column is None or problem.column == column
    assert value is None or problem.value == value
    assert problem.mend


def test_a_few_sessions_may_be_far_from_the_bit_rate_of_their_file(folder):
    """A film that was taken along in a second, a player left open for days."""
    odd = {
        "gb": lambda t: t["gb"].where(t.index % 3 > 0, 1.0),
        "seconds": lambda t: t["seconds"].mask(t.index % 3 == 0, 1.0).mask(t.index % 3 == 1, 500_000.0),
    }
    playback(lambda t: t.assign(**odd))(folder)
    assert check(folder) == []


def test_everything_is_said_at_once(folder):
    for name in ("unknown id in sites", "duplicate id", "unknown setting", "negative bytes in the log"):
        BREACHES[name][0](folder)
    put("titles", 6, "title", "t0")(folder)
    problems = {(p.table, p.row, p.column) for p in check(folder)}
    expected = {("sites", 3, "node"), ("appliances", 2, "appliance"), ("titles", 6, "title")}
    assert expected | {("fillplan.toml", None, "placement.gapp")} <= problems


def test_a_broken_network_does_not_hide_a_broken_log(folder):
    for name in ("unknown id in sites", "negative bytes in the log"):
        BREACHES[name][0](folder)
    assert [p.column for p in check(folder)] == ["node", "gb"]


def test_check_reads_compressed_and_parquet_tables_alike(folder):
    frame = pd.read_csv(folder / "nodes.csv")
    (folder / "nodes.csv").unlink()
    frame.to_parquet(folder / "nodes.parquet")
    links = pd.read_csv(folder / "links.csv")
    (folder / "links.csv").unlink()
    write_table(links, folder / "links.csv.gz")
    assert check(folder) == []
    assert pq.read_metadata(folder / "nodes.parquet").num_rows == 5


def test_a_table_in_two_forms_is_refused(folder):
    pd.read_csv(folder / "nodes.csv").to_parquet(folder / "nodes.parquet")
    assert "there twice" in check(folder)[0].message


def test_no_folder(tmp_path):
    assert "no such folder" in check(tmp_path / "nothing")[0].message
