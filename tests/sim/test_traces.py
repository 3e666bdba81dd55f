"""Readers of request traces: the published formats, what is left out, and what is refused."""

import bz2
import gzip

import numpy as np
import pyarrow as pa
import pytest

from sim.fleet import BYTES_PER_GB
from sim.sessions import DAY_MS, check_sessions
from sim.traces import (
    ORACLE_GENERAL,
    guess_format,
    read_csv_trace,
    read_oracle_general,
    read_umass_youtube,
    sessions_from_requests,
)
from topology.errors import InputError


def records(rows):
    return np.array(rows, ORACLE_GENERAL).tobytes()


ROWS = [(5, 2**63 + 7, 100, 2), (6, 9, 4_000_000_000, -1), (6, 2**63 + 7, 100, -1)]


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstd)]
)
def test_oracle_general_is_read_as_libcachesim_writes_it(tmp_path, suffix, pack):
    path = tmp_path / f"a.oracleGeneral{suffix}"
    path.write_bytes(pack(records(ROWS)))
    trace = read_oracle_general(path)
    assert trace.time_s.tolist() == [5, 6, 6]
    assert trace.file.tolist() == [0, 1, 0]
    assert trace.size_bytes.tolist() == [100, 4_000_000_000, 100]
    assert trace.file_ids.tolist() == [2**63 + 7, 9]
    assert (len(trace), trace.files) == (3, 2)


def test_a_file_that_is_not_there_or_not_what_it_says_is_named(tmp_path):
    for reader in (read_oracle_general, read_csv_trace, read_umass_youtube):
        with pytest.raises(InputError, match=r"gone\.bin.*no such file"):
            reader(tmp_path / "gone.bin")
    (tmp_path / "false.gz").write_bytes(b"not gzip at all")
    with pytest.raises(InputError, match=r"false\.gz.*cannot be read"):
        read_oracle_general(tmp_path / "false.gz")


def test_csv_columns_are_counted_from_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("op;when;object;bytes\nGET;1;a;5\nGET;2.5;b;6\nGET;3;a;7\n")
    trace = read_csv_trace(path, time=2, file=3, size=4, delimiter=";", header=True)
    assert trace.time_s.tolist() == [1, 2.5, 3]
    assert trace.file_ids[trace.file].tolist() == ["a", "b", "a"]
    assert trace.size_bytes.tolist() == [5, 6, 7]
    unsized = read_csv_trace(path, time=2, file=3, size=0, delimiter=";", header=True)
    assert unsized.size_bytes.tolist() == [1, 1, 1]


def test_sizes_are_whole_bytes_however_they_are_written(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("1,a,10.0\n2,b,1e3\n3,c,1000000000000000000\n")
    assert read_csv_trace(path).size_bytes.tolist() == [10, 1000, 10**18]


def test_a_csv_trace_may_name_its_clients(tmp_path):
    path = tmp_path / "t.csv.zst"
    path.write_bytes(zstd(b'1, x,5,"a,1"\n2,y,6,b\n3,x,5,b\n'))
    trace = read_csv_trace(path, client=4, file=2)
    assert trace.file_ids[trace.file].tolist() == ["x", "y", "x"]
    assert trace.client.tolist() == [0, 1, 1]
    assert len(read_csv_trace(path).client_ids) == 0
    with pytest.raises(InputError, match="the file and the client are one column"):
        read_csv_trace(path, client=2)


UMASS = """\
100.5 1.1.1.1 10.0.0.1 GETVIDEO aaa 2.2.2.2
101.5 1.1.1.1 10.0.0.2 GETVIDEO bbb&origin 2.2.2.2
103.0 1.1.1.1 10.0.0.1 GETVIDEO bbb&start=7 2.2.2.2
104.0 1.1.1.1 10.0.0.1 LLNWD ccc 2.2.2.2
102.0 1.1.1.2 10.0.0.3 GETVIDEO aaa 2.2.2.2
105.0 1.1.1.2 10.0.0.3 GETVIDEO ash-v10.ash.youtube.com 2.2.2.2
94956655.122183 1.1.1.2 10.0.0.3 GETVIDEO ddd 193.11.226.1"""


def test_umass_requests_are_cleaned_and_put_in_order(tmp_path):
    path = tmp_path / "youtube.dat.gz"
    path.write_bytes(gzip.compress(UMASS.encode()))
    trace = read_umass_youtube(path, video_bytes=8_000_000)
    assert trace.time_s.tolist() == [100.5, 101.5, 102, 103]
    assert trace.file_ids[trace.file].tolist() == ["aaa", "bbb", "aaa", "bbb"]
    assert trace.client_ids[trace.client].tolist() == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]
    assert set(trace.size_bytes.tolist()) == {8_000_000}


@pytest.mark.parametrize(
    ("name", "data", "form"),
    [
        ("w01.oracleGeneral.sample10", b"", "oracle-general"),
        ("w01.bin", records(ROWS), "oracle-general"),
        ("w01.gz", gzip.compress(records(ROWS), mtime=0), "oracle-general"),
        ("youtube.dat", UMASS.encode(), "umass"),
        ("youtube.dat.gz", gzip.compress(UMASS.encode(), mtime=0), "umass"),
        ("t.csv", b"1,a,5\n", "csv"),
        ("t.txt", b"time, object, size, a, b, c\n", "csv"),
        ("t", b"", "csv"),
    ],
)
def test_the_form_of_a_trace_is_seen_from_its_name_or_its_beginning(tmp_path, name, data, form):
    (tmp_path / name).write_bytes(data)
    assert guess_format(tmp_path / name) == form


@pytest.mark.parametrize(
    ("read", "data", "message"),
    [
        (read_oracle_general, b"", "no requests"),
        (read_oracle_general, records(ROWS)[:-1], "71 bytes are no whole number of requests of 24"),
        (read_oracle_general, records([ROWS[1], ROWS[0]]), "row 2, column time: earlier than the request before.*5"),
        (read_csv_trace, b"", "not a CSV file"),
        (read_csv_trace, b"1,a\n", "size is column 3, but there are 2"),
        (read_csv_trace, b"1,a,5\nsoon,b,6\n", "row 2, column time: no number.*soon"),
        (read_csv_trace, b"when,what,size\n1,b,6\n", "row 1, column time.*when.*the first row is a header"),
        (read_csv_trace, b"1,a,5\ninf,b,6\n", "row 2, column time: no number.*inf"),
        (read_csv_trace, b"1,a,5\n2,b,big\n", "row 2, column size: no number.*big"),
        (read_csv_trace, b"1,a,5\n2,b,-6\n", "row 2, column size: negative.*'-6'"),
        (read_csv_trace, b"1,a,5\n2,b,-1e30\n", "row 2, column size: negative.*-1e.30"),
        (read_csv_trace, b"1,a,5\n2,b,10.7\n", r"row 2, column size: no whole number of bytes.*10\.7"),
        (read_csv_trace, b"1,a,5\n2,b,99999999999999999999\n", r"row 2, column size: more than a billion GB.*1e\+20"),
        (read_csv_trace, b"1,a,1000000000000000001024\n2,b,6\n", "row 1, column size: more than a billion GB"),
        (read_csv_trace, b"2,a,5\n1,b,6\n", "row 2, column time: earlier.*1"),
        (read_csv_trace, b"1,a,5\n2,b,6,7,8\n", "not a CSV file"),
        (read_umass_youtube, b"", "no requests"),
        (read_umass_youtube, b"1 2 3\n", "row 1.*3 columns, not 6"),
        (
            read_umass_youtube,
            b"now 1.1.1.1 10.0.0.1 GETVIDEO aaa 2.2.2.2\n",
            "row 1, column time: no number.*now",
        ),
        (read_umass_youtube, b"1 1.1.1.1 10.0.0.1 LLNWD aaa 2.2.2.2\n", "no requests"),
    ],
)
def test_what_is_no_trace_is_named(tmp_path, read, data, message):
    path = tmp_path / "trace"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"trace.*{message}"):
        read(path)


def test_requests_become_sessions_as_long_as_their_bytes_last(tmp_path):
    path = tmp_path / "youtube.dat"
    path.write_text(UMASS)
    trace = read_umass_youtube(path, video_bytes=BYTES_PER_GB // 1000)
    sessions = sessions_from_requests(trace, regions=2, bitrate_kbps=1000.0)
    check_sessions(sessions, 2, trace.files)
    assert sessions.start_ms.tolist() == [0, 1000, 1500, 2500]
    assert sessions.region.tolist() == [0, 1, 0, 0]
    assert set(sessions.duration_ms.tolist()) == {8000}
    assert set(sessions.rate_bps.tolist()) == {1_000_000}
    later = sessions_from_requests(
        trace, regions=1, bitrate_kbps=1.0, origin_s=101.6 - DAY_MS / 1000, file_number=np.array([5, 3])
    )
    assert (later.start_ms.tolist(), later.file.tolist()) == ([DAY_MS - 1100, DAY_MS - 100], [5, 3])
    for wrong in ({"regions": 0, "bitrate_kbps": 1.0}, {"regions": 1, "bitrate_kbps": 0.0}):
        with pytest.raises(InputError, match="nowhere or nothing to play"):
            sessions_from_requests(trace, **wrong)


def test_requests_become_sessions_of_several_days_in_the_regions_given(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("10,a,5\n86000,b,6\n86410,a,5\n190000,b,6\n260000,a,6\n")
    trace = read_csv_trace(path)
    sessions = sessions_from_requests(
        trace, regions=3, bitrate_kbps=1.0, origin_s=0, region=np.array([2, 0, 1, 2, 1]), days=3
    )
    check_sessions(sessions, 3, trace.files)
    assert sessions.start_ms.tolist() == [10_000, 86_000_000, 86_410_000, 190_000_000]
    assert sessions.region.tolist() == [2, 0, 1, 2]
    assert sessions.days == 3


def test_requests_of_no_bytes_make_no_sessions(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("1,a,0\n2,b,500\n3,a,0\n4,a,250\n")
    trace = read_csv_trace(path)
    assert trace.size_bytes.tolist() == [0, 500, 0, 250]
    sessions = sessions_from_requests(trace, regions=1, bitrate_kbps=4.0)
    assert (sessions.start_ms.tolist(), sessions.bytes.tolist()) == ([1000, 3000], [500, 250])
    assert sessions.file.tolist() == [1, 0]


def test_what_is_too_far_to_be_counted_is_outside(tmp_path):
    """Times beyond what 64 bits of milliseconds hold belong to no day, and lengths to no session."""
    path = tmp_path / "t.csv"
    path.write_text("-1e308,a,5\n-1e16,a,5\n1,a,6\n2,b,7\n1e16,a,8\n1e300,b,9\n1e308,b,9\n")
    trace = read_csv_trace(path)
    sessions = sessions_from_requests(trace, regions=1, bitrate_kbps=4.0, origin_s=0)
    assert (sessions.start_ms.tolist(), sessions.bytes.tolist()) == ([1000, 2000], [6, 7])
    assert len(sessions_from_requests(trace, regions=1, bitrate_kbps=4.0)) == 1
    with pytest.raises(InputError, match="column seconds: longer than a year"):
        sessions_from_requests(trace, regions=1, bitrate_kbps=1e-300, origin_s=0)
