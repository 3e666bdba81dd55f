"""Logs with a column map: every way of writing times, rows that are refused by name, nothing written unless all is sound."""

import datetime as dt
import gzip

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demand.catalogue import read_catalogue
from demand.logs import import_log
from demand.playback import log_frame, playback_dates, validate_playback
from topology.errors import InputError
from topology.network import read_network

TABLES = {
    "nodes": "node,lat,lon\nb,52.5,13.4\np,48.9,2.4\n",
    "links": "link,source,target,capacity_gbps,length_km,cost_per_gb\nbp,b,p,100,878,1\n",
    "regions": 'region,node,timezone,subscribers\nberlin,b,Europe/Berlin,10\n"paris, île",p,Europe/Paris,20\n',
    "sites": "site,node,kind\ncentre,b,origin\nedge,p,ix\n",
    "appliances": "appliance,site,model,storage_gb,throughput_gbps,fill_gbps,fill_start,fill_hours\na,edge,m,100,10,1,02:00,12\n",
    "titles": "title\nheat\n7\n",
    "files": "file,title,profile,bitrate_kbps,size_gb\nf1,heat,hd,4000,3\nf2,heat,sd,1000,0.8\nf3,7,hd,4000,3.6\n",
}
MAP = {"start": "ts", "region": "isp metro", "title": "video", "seconds": "watched", "gb": "bytes"}
HEADER = "ts,isp metro,video,profile,watched,bytes\n"
ROWS = (
    "2026-01-15T20:30:00Z,berlin,heat,hd,3600,2000000000\n"
    '2026-01-16T00:30:00+01:00,"paris, île",7,hd,60.5,500000000\n'  # still the 15th in UTC
    "2026-01-16 07:00:00,berlin,heat,sd,10,5e6\n"
)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "net"
    made.mkdir()
    for name, text in TABLES.items():
        (made / f"{name}.csv").write_text(text, "utf-8")
    return made


def import_text(folder, text, column_map=MAP, name="log.csv", *, profile=None, gb_per_unit=1e-9):
    source = folder.parent / name
    data = text if isinstance(text, bytes) else text.encode()
    source.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return import_log(source, folder, column_map, gb_per_unit=gb_per_unit, profile=profile)


def refused(folder, text, column_map=MAP, name="log.csv", **options):
    with pytest.raises(InputError) as caught:
        import_text(folder, text, column_map, name, **options)
    assert playback_dates(folder) == []
    assert not (folder / "playback").exists() or not list((folder / "playback").iterdir())
    return caught.value.problems


def sessions(folder):
    frames = [
        log_frame(folder, date).astype({"region": str, "title": str, "profile": str}) for date in playback_dates(folder)
    ]
    return [tuple(row) for frame in frames for row in frame.itertuples(index=False)]


EXPECTED = [
    (pd.Timestamp("2026-01-15T20:30:00"), "berlin", "heat", "hd", 3600.0, 2.0),
    (pd.Timestamp("2026-01-15T23:30:00"), "paris, île", "7", "hd", 60.5, 0.5),
    (pd.Timestamp("2026-01-16T07:00:00"), "berlin", "heat", "sd", 10.0, 0.005),
]


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "a[1]*.csv"])
def test_a_log_lands_on_the_days_it_belongs_to(folder, name):
    assert import_text(folder, HEADER + ROWS, name=name) == {"sessions": 3, "days": 2, "left_out": 0}
    assert playback_dates(folder) == [dt.date(2026, 1, 15), dt.date(2026, 1, 16)]
    assert sessions(folder) == EXPECTED
    problems = []
    validate_playback(folder, read_network(folder).region_ids, read_catalogue(folder), problems)
    assert problems == []


def test_rows_of_zero_bytes_are_left_out_and_counted(folder):
    empty = "2026-01-15T21:00:00Z,berlin,heat,hd,12,0\n2026-01-18T00:00:00Z,berlin,heat,hd,0,0.0\n"
    assert import_text(folder, HEADER + empty + ROWS) == {"sessions": 3, "days": 2, "left_out": 2}
    assert sessions(folder) == EXPECTED


def test_a_log_of_nothing_but_zero_bytes_is_refused(folder):
    problems = refused(folder, HEADER + "2026-01-15T21:00:00Z,berlin,heat,hd,12,0\n")
    assert [problem.message for problem in problems] == ["all 1 rows are of zero bytes"]


def test_semicolons_a_byte_order_mark_and_windows_line_ends(folder):
    rows = ROWS.replace('"paris, île"', "paris§ île").replace(",", ";").replace("§", ",")
    text = (HEADER.replace(",", ";") + rows).replace("\n", "\r\n")
    import_text(folder, b"\xef\xbb\xbf" + text.encode())
    assert sessions(folder) == EXPECTED


@pytest.mark.parametrize(("scale", "digits"), [(1, 0), (1, 3), (1000, 0), (10**6, 0), (10**9, 0)])
def test_epochs_of_every_unit(folder, scale, digits):
    def epoch(text):
        at = int(pd.Timestamp(text).timestamp()) * scale
        return f"{at:.{digits}f}" if digits else str(at)

    rows = "".join(
        f'{epoch(start)},"{region}",{title},{profile},{seconds},{gb * 1e9}\n'
        for start, region, title, profile, seconds, gb in EXPECTED
    )
    import_text(folder, HEADER + rows)
    assert sessions(folder) == EXPECTED


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("s"),
        pa.timestamp("ns"),
        pa.timestamp("ms", "America/New_York"),
        pa.int64(),
        pa.float64(),
        pa.string(),
    ],
    ids=str,
)
def test_parquet_times_of_every_type(folder, kind):
    starts = [row[0] for row in EXPECTED]
    if kind == pa.int64():
        column = pa.array([int(s.timestamp() * 1000) for s in starts], kind)
    elif kind == pa.float64():
        column = pa.array([s.timestamp() for s in starts], kind)
    elif kind == pa.string():
        column = pa.array([s.isoformat() for s in starts], kind)
    else:
        column = pa.array([s.tz_localize("UTC") if kind.tz else s for s in starts], kind)
    table = pa.table(
        {
            "ts": column,
            "isp metro": pa.array([r[1] for r in EXPECTED]).dictionary_encode(),
            "video": [r[2] for r in EXPECTED],
            "profile": [r[3] for r in EXPECTED],
            "watched": pa.array([r[4] for r in EXPECTED], pa.float32()),
            "bytes": pa.array([round(r[5] * 1e9) for r in EXPECTED], pa.int64()),
            "more": [1, 2, 3],
        }
    )
    source = folder.parent / "log.parquet"
    pq.write_table(table, source)
    import_log(source, folder, MAP, gb_per_unit=1e-9, profile=None)
    assert sessions(folder) == EXPECTED


def test_a_default_profile_fills_what_the_log_does_not_name(folder):
    rows = "2026-01-15T20:30:00,berlin,heat,10,1\n"
    import_text(folder, HEADER.replace("profile,", "") + rows, profile="sd")
    assert sessions(folder)[0][3] == "sd"
    import_text(
        folder,
        HEADER + "2026-01-15T20:30:00,berlin,heat,,10,1\n2026-01-15T20:30:01,berlin,heat,hd,10,1\n",
        profile="sd",
    )
    assert [row[3] for row in sessions(folder)] == ["sd", "hd"]


def test_an_import_replaces_its_days_and_no_others(folder):
    import_text(folder, HEADER + ROWS)
    import_text(folder, HEADER + "2026-01-16T09:00:00,berlin,heat,hd,10,5e6\n")
    assert [row[0].hour for row in sessions(folder)] == [20, 23, 9]


def test_every_faulty_row_is_named_in_the_words_of_the_log(folder):
    bad = (
        "15.01.2026 20:30,berlin,heat,hd,10,1\n"  # 4
        "20260115,berlin,heat,hd,10,1\n"  # 5: a compact date, not an epoch
        "2026-01-15T20:30:00,bonn,heat,hd,10,1\n"  # 6
        "2026-01-15T20:30:00,berlin,,hd,10,1\n"  # 7
        "2026-01-15T20:30:00,berlin,7,sd,10,1\n"  # 8
        "2026-01-15T20:30:00,berlin,heat,hd,-1,1\n"  # 9
        "2026-01-15T20:30:00,berlin,heat,hd,3600000,1\n"  # 10
        "2026-01-15T20:30:00,berlin,heat,hd,10,2e18\n"  # 11
        "2026-01-15T20:30:00,berlin,heat,hd,10,much\n"  # 12
        ",berlin,heat,hd,,\n"  # 13
        "2026-01-15T20:30:00,berlin,heat,hd,10,-3\n"  # 14
    )
    found = {(p.row, p.column, p.value) for p in refused(folder, HEADER + ROWS + bad)}
    assert found == {
        (4, "ts", "15.01.2026 20:30"), (5, "ts", "20260115"), (6, "isp metro", "bonn"), (7, "video", ""), (8, "profile", "sd"),
        (9, "watched", "-1"), (10, "watched", "3600000"), (11, "bytes", "2e18"), (12, "bytes", "much"),
        (13, "ts", ""), (13, "watched", ""), (13, "bytes", ""), (14, "bytes", "-3"),
    }  # fmt: skip


def test_rows_are_counted_in_the_order_of_a_long_file(folder):
    good = "2026-01-15T20:30:00,berlin,heat,hd,10,1\n"
    text = HEADER + good * 300_000 + good.replace("berlin", "bonn") + good * 200_000
    assert [(p.row, p.value) for p in refused(folder, text)] == [(300_001, "bonn")]


@pytest.mark.parametrize(
    ("text", "column_map", "options", "said"),
    [
        (HEADER + ROWS, {**MAP, "gb": "octets"}, {}, "column octets"),
        (HEADER + ROWS, {**MAP, "begin": "ts"}, {}, "'begin'"),
        (HEADER + ROWS, MAP, {"gb_per_unit": 0.0}, "--gb-per-unit"),
        (HEADER + ROWS, MAP, {"gb_per_unit": 1.0}, "1e-9 for bytes"),
        (HEADER.replace("profile", "rung") + ROWS, MAP, {}, "--profile NAME"),
        (HEADER + ROWS, MAP, {"name": "log.xlsx"}, "unknown kind"),
        (HEADER + ROWS, MAP, {"name": "log.parquet"}, "cannot be read as Parquet"),
        ((HEADER + ROWS).encode("utf-16"), MAP, {}, "not CSV in UTF-8"),
        ((HEADER + ROWS).encode("latin-1"), MAP, {}, "cannot be read as CSV"),
        ("", MAP, {}, "no header line"),
        (HEADER, MAP, {}, "no rows"),
        (HEADER + ROWS + "2026-01-15T20:30:00,berlin\n", MAP, {}, "row 4"),
        (HEADER.replace("video", "ts") + ROWS, MAP, {}, "there twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_file_or_the_arguments_is_said(folder, text, column_map, options, said):
    assert any(said in str(p) for p in refused(folder, text, column_map, **options))


@pytest.mark.parametrize("rows", [1, 200_000])
@pytest.mark.parametrize("end", ['2026-01-15T20:30:00,berlin,"he', '2026-01-15T20:30:00,berlin,"heat,hd,1,1\n'])
def test_a_quote_left_open_loses_no_row_in_silence(folder, rows, end):
    text = HEADER + "2026-01-15T20:30:00,berlin,heat,hd,10,1\n" * rows + end
    assert "cannot be read as CSV" in str(refused(folder, text)[0])


def test_a_truncated_gzip_file_is_refused(folder):
    source = folder.parent / "log.csv.gz"
    source.write_bytes(gzip.compress((HEADER + ROWS * 1000).encode())[:-20])
    with pytest.raises(InputError, match="cannot be read as CSV"):
        import_log(source, folder, MAP, gb_per_unit=1e-9, profile=None)


def test_a_missing_file_is_said(folder):
    with pytest.raises(InputError, match="no such file"):
        import_log(folder / "log.csv", folder, MAP, gb_per_unit=1e-9, profile=None)


def test_no_day_is_touched_if_one_cannot_be_written(folder, monkeypatch):
    import_text(folder, HEADER + ROWS)
    before = sessions(folder)
    import demand.playback as playback

    real, calls = playback._write_draft, []

    def fail_on_the_second(date, frame, draft):
        calls.append(date)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(date, frame, draft)

    monkeypatch.setattr(playback, "_write_draft", fail_on_the_second)
    with pytest.raises(OSError, match="No space"):
        import_text(folder, HEADER + ROWS.replace(",10,", ",11,"))
    assert sessions(folder) == before
    assert {path.name for path in (folder / "playback").iterdir()} == {"date=2026-01-15", "date=2026-01-16"}
