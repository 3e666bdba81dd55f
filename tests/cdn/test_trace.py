"""``import trace``: what of a request trace becomes a title, a file, a session and a day, and that the other verbs run on it."""

import datetime as dt
import gzip
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from cdn.trace import import_trace
from demand.catalogue import read_catalogue
from demand.playback import log_frame, playback_dates
from sim.traces import ORACLE_GENERAL
from tests.command import fillplan, tree
from tests.small_network import HOSTILE, small_tables
from topology.errors import InputError
from topology.tables import write_table


@pytest.fixture
def folder(tmp_path):
    """The small network without a catalogue."""
    for name, frame in small_tables().items():
        if name not in ("titles", "files"):
            write_table(frame, tmp_path / f"net/{name}.csv")
    return tmp_path / "net"


def write(folder, text, name="trace.csv"):
    path = folder.parent / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def log(folder):
    return pd.concat([log_frame(folder, date) for date in playback_dates(folder)], ignore_index=True)


EPOCH = int(pd.Timestamp("2026-03-01T23:59:50Z").timestamp())
CSV = f"{EPOCH},a,5000\n{EPOCH + 15},b,0\n{EPOCH + 20},a,8000\n{EPOCH + 2 * 86400},c d,3000000000\n"


def test_objects_become_titles_and_requests_sessions_of_their_days(folder):
    counts = import_trace(write(folder, CSV), folder, bitrate_kbps=8.0)
    assert counts == {"titles": 2, "files": 2, "days": 3, "sessions": 3, "clients": 0, "left_out": 1}
    catalogue = read_catalogue(folder)
    assert catalogue.file_ids.tolist() == catalogue.title_ids.tolist() == ["a", "c d"]
    assert catalogue.size_gb.tolist() == [8e-6, 3.0]  # the largest request
    assert catalogue.bitrate_kbps.tolist() == [8.0, 8.0]
    assert playback_dates(folder) == [dt.date(2026, 3, d) for d in (1, 2, 3)]
    rows = log(folder)
    assert rows["title"].tolist() == ["a", "a", "c d"]
    assert rows["start"].tolist() == [
        pd.Timestamp(f"2026-03-0{at}") for at in ("1T23:59:50", "2T00:00:10", "3T23:59:50")
    ]
    assert rows["gb"].tolist() == [5e-6, 8e-6, 3.0]
    assert rows["seconds"].tolist() == [5, 8, 3e6]


@pytest.mark.parametrize(
    ("times", "more", "expected"),
    [
        ((100, 100 + 86_399), {}, ["2026-01-01T00:00:00", "2026-01-01T23:59:59"]),
        ((EPOCH, EPOCH + 15), {"first": dt.datetime(2020, 2, 28, 23, 59, 55)}, ["2020-02-28T23:59:55", "2020-02-29T00:00:10"]),
        ((EPOCH * 1000, EPOCH * 1000 + 11_500), {"time_unit": "ms"}, ["2026-03-01T23:59:50", "2026-03-02T00:00:01.500"]),
    ],
)  # fmt: skip
def test_when_the_first_request_came(folder, times, more, expected):
    import_trace(write(folder, "".join(f"{t},a,5\n" for t in times)), folder, **more)
    assert log(folder)["start"].tolist() == [pd.Timestamp(at) for at in expected]


def test_clients_stay_in_a_region_and_regions_have_their_share(folder):
    rng = np.random.default_rng(1)
    clients = rng.integers(0, 4000, 20_000)
    text = "".join(f"{i},{i},{client + 1},c{client}\n" for i, client in enumerate(clients))
    path = write(folder, text)
    counts = import_trace(path, folder, columns={"client": 4})
    assert counts["clients"] == len(np.unique(clients))
    rows = log(folder)
    client = np.rint(rows["gb"] * 1e9)
    assert rows["region"].astype(str).groupby(client).nunique().max() == 1
    share = rows["region"].astype(str).value_counts(normalize=True)
    for region, subscribers in ((HOSTILE, 1000), ("east", 2000), ("south", 500)):
        assert share[region] == pytest.approx(subscribers / 3500, abs=0.03)


def test_without_clients_every_request_is_drawn_and_the_seed_decides(folder):
    path = write(folder, "".join(f"{i},a,5\n" for i in range(7000)))
    found = []
    for seed in (0, 0, 1):
        other = shutil.copytree(folder, folder.with_name(f"net{len(found)}"))
        import_trace(path, other, seed=seed)
        found.append(log(other)["region"].astype(str).tolist())
    assert found[0] == found[1] != found[2]
    assert found[0].count("east") == pytest.approx(4000, abs=150)


def test_regions_without_subscribers_are_asked_alike(folder):
    write_table(small_tables()["regions"].assign(subscribers=0), folder / "regions.csv")
    import_trace(write(folder, "".join(f"{i},a,5\n" for i in range(3000))), folder)
    assert log(folder)["region"].value_counts(normalize=True).to_numpy() == pytest.approx(1 / 3, abs=0.04)


def test_a_trace_without_sizes_has_objects_of_one(folder):
    import_trace(write(folder, "1,a\n2,b\n"), folder, columns={"size": 0}, object_mb=2.5)
    assert read_catalogue(folder).size_gb.tolist() == [0.0025, 0.0025]
    assert log(folder)["gb"].tolist() == [0.0025, 0.0025]


def test_nothing_is_written_where_a_request_is_wrong(folder):
    before = tree(folder)
    with pytest.raises(InputError, match="row 3, column time: earlier than the request before it"):
        import_trace(write(folder, "1,a,5\n3,b,5\n2,a,5\n"), folder)
    assert tree(folder) == before
    assert not (folder / "playback").exists()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        *((f"1,a,10\n{t},b,10\n", "", "column time: the requests lie .* days apart.*--time-unit") for t in ("316224001", "1e16", "1e17", "1e19", "1e300")),
        ("-1e308,a,10\n1e308,b,10\n", "", "the requests lie inf days apart"),
        (f"{EPOCH},a,10\n1e16,b,10\n", "", "the requests lie .* days apart"),
        ("1,a,10\n1e17,b,10\n", "--time-unit ms", "the requests lie .* days apart"),
        ("1,a,10\n2,b,99999999999999999999\n", "", "row 2, column size: more than a billion GB"),
        ("1,a,10\n2,b,10.7\n", "", "row 2, column size: no whole number of bytes"),
        ("1,a\n2,b\n", "--obj-size-col 0 --object-mb 1e300", "--object-mb: more than a billion GB"),
        ("1,a,10\n400000,b,10\n", "--bitrate-kbps 1e-320", "column seconds: longer than a year"),
        ("1,a,10\n400000,b,10\n", "--start 9999-12-30", "--start: not a time between 2000-01-01 and 2100-01-01"),
        ("1,a,10\n400000,b,10\n", "--start 1999-12-31T23:59", "--start: not a time between 2000-01-01 and 2100-01-01"),
    ],
)  # fmt: skip
def test_what_is_too_far_or_too_large_is_refused_before_anything_is_written(folder, text, options, message):
    before = tree(folder)
    ran = fillplan(f"import trace {write(folder, text)} {folder} {options}")
    assert ran.status == 2
    assert re.search(message, ran.err)
    assert "Warning" not in ran.err
    assert tree(folder) == before
    assert not (folder / "playback").exists()


def test_ten_years_are_a_trace(folder):
    assert import_trace(write(folder, "1,a,10\n316224000,b,10\n"), folder)["days"] == 2


def test_nothing_is_left_where_the_log_cannot_be_written(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "part-0.parquet")

    before = tree(folder)
    monkeypatch.setattr("demand.playback._write_draft", full)
    with pytest.raises(OSError, match="No space left"):
        import_trace(write(folder, CSV), folder)
    assert tree(folder) == before
    assert not (folder / "playback").exists()


@pytest.mark.parametrize(("objects", "size"), [(1, 1), (50, 5_000_000)])
def test_a_fleet_is_grown_where_its_tables_lie(folder, objects, size):
    for name in ("sites", "appliances"):
        write_table(small_tables()[name], folder / f"{name}.parquet")
        (folder / f"{name}.csv").unlink()
    text = "".join(f"{i},{i},{size}\n" for i in range(objects))
    ran = fillplan(f"import trace {write(folder, text)} {folder} --fit-fleet")
    assert ran.status == 0, ran.err
    assert fillplan(f"check {folder}").status == 0
    assert "bravo" not in pd.read_parquet(folder / "sites.parquet")["site"].tolist()


def test_options_of_the_command_are_those_of_libcachesim(folder):
    path = write(folder, "op;size;client;object;when\nget;5000;x;b;10\nget;6000;y;a;20\n", "t.dat")
    line = f"import trace {path} {folder} --format csv --time-col 5 --obj-id-col 4 --obj-size-col 2 --client-col 3 --delimiter ; --has-header --json"
    before = tree(folder)
    ran = fillplan(line.replace(" ; ", " ';' "))
    assert ran.status == 0, ran.err
    assert ran.document["counts"] == {"titles": 2, "files": 2, "days": 1, "sessions": 2, "clients": 2, "left_out": 0}
    assert {name: data for name, data in tree(folder).items() if name in before} == before
    tabs = shutil.copytree(
        folder, folder.with_name("tabs"), ignore=shutil.ignore_patterns("titles*", "files*", "playback")
    )
    path = write(folder, "1\ta\t5\n", "t.tsv")
    assert fillplan(f"import trace {path} {tabs} --delimiter '\\t'").status == 0


def test_every_verb_runs_on_an_imported_trace(tmp_path):
    """Four days of a Zipf trace in libCacheSim's format; each plan beside LRU and the fewest misses of any cache."""
    rng = np.random.default_rng(5)
    records = np.zeros(3000, ORACLE_GENERAL)
    records["time"] = np.sort(rng.integers(0, 4 * 86_400, len(records)))
    records["id"], records["size"], records["next"] = rng.zipf(1.3, len(records)) % 100, 50_000_000, -1
    (tmp_path / "w.oracleGeneral.gz").write_bytes(gzip.compress(records.tobytes()))
    for line in (
        "import topohub sndlib/polska net --sites 3",
        "import trace w.oracleGeneral.gz net --fit-fleet",
        "check net",
        "forecast net --for 2026-01-04 -o demand.parquet",
        "place net --demand demand.parquet -o plan",
        "nightly net --for 2026-01-04",
    ):
        ran = fillplan(line, cwd=tmp_path)
        assert ran.status == 0, (line, ran.err)
    line = "simulate net --plan plan --playback 2026-01-04 --policy plan --policy lru --policy belady --policy plan+lru --policy plan+belady"
    ran = fillplan(line, "-o", "tables", "--json", cwd=tmp_path)
    assert ran.status == 0, ran.err
    policies, offline = ran.document["policies"], ran.document["offline"]
    assert set(policies) == {"plan", "lru", "plan+lru"} and set(offline) == {"belady", "plan+belady"}
    for name, figures in offline.items():
        assert figures["sessions"] == ran.document["sessions"] and figures["bound"] is True
        assert figures["requested_gb"] == policies["plan"]["requested_gb"]
        assert figures["request_hit_ratio"] > policies[name.replace("belady", "lru")]["request_hit_ratio"]
        assert sum(row["misses"] for row in figures["by_site"]) == figures["misses"]["content"]
        assert figures["byte_hit_ratio"] == pytest.approx(figures["request_hit_ratio"])
    table = pd.read_parquet(tmp_path / "tables/offline_by_site.parquet")
    assert table.groupby("policy")["misses"].sum().to_dict() == {n: f["misses"]["content"] for n, f in offline.items()}
    told = fillplan(line, cwd=tmp_path).out
    rows = [text.split() for text in told.splitlines() if text.startswith(("lru ", "belady  ", "plan+belady  "))]
    assert [row[0] for row in rows] == ["lru", "belady", "plan+belady"] * 2
    assert {len(row) for row in rows[:3]} == {9}
    assert rows[1][1] == f"{100 * offline['belady']['request_hit_ratio']:.2f}"
    assert "throughput and failures are left out" in told
    ran = fillplan("simulate net --plan plan --playback 2026-01-04 --policy plan -o tables", cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert not (tmp_path / "tables/offline_by_site.parquet").exists()  # of another run than totals.json
    ran = fillplan("simulate net --plan plan --playback 2026-01-04 --policy belady -o tables", cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {"totals.json", "offline_by_site.parquet"}
