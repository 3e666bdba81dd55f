"""The playback log: sums worked out by hand, hours, faults that are named, days that are replaced whole."""

import datetime as dt
import itertools

import numpy as np
import pandas as pd
import pytest

from demand.catalogue import build_catalogue
from demand.playback import actual_demand, log_frame, playback_dates, read_history, validate_playback, write_playback
from topology.errors import InputError

DAY = dt.date(2026, 1, 15)
NEXT = DAY + dt.timedelta(days=1)
REGIONS = pd.Index(["berlin", "paris"])


@pytest.fixture
def catalogue():
    titles = pd.DataFrame({"title": ["heat", "alien"]})
    files = pd.DataFrame(
        [("heat-hd", "heat", "hd", 4000.0, 3.0), ("heat-sd", "heat", "sd", 1000.0, 0.8), ("alien-hd", "alien", "hd", 4000.0, 3.6)],
        columns=["file", "title", "profile", "bitrate_kbps", "size_gb"],
    )  # fmt: skip
    return build_catalogue(titles, files)


def log(*rows):
    frame = pd.DataFrame(rows, columns=["start", "region", "title", "profile", "seconds", "gb"])
    return frame.astype({"start": "datetime64[ns]"})


ROW = ("2026-01-15T20:30:00", "paris", "heat", "hd", 3600.0, 2.0)


def put(folder, frame, name="part-0.parquet", date=DAY):
    day = folder / "playback" / f"date={date}"
    day.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(day / name, index=False)


def problems_of(folder, catalogue, dates=None):
    problems = []
    validate_playback(folder, REGIONS, catalogue, problems, dates)
    return problems


def test_a_row_without_a_title_is_named(tmp_path, catalogue):
    put(tmp_path, log(ROW, ("2026-01-15T20:30:00", "paris", None, "hd", 60.0, 1.0)))
    (problem,) = problems_of(tmp_path, catalogue)
    assert (problem.row, problem.column) == (2, "title")


def test_sums_by_day_region_and_file(tmp_path, catalogue):
    write_playback(
        tmp_path,
        DAY,
        log(
            ROW,
            ("2026-01-15T03:00:00", "paris", "heat", "hd", 60.0, 0.5),
            ("2026-01-15T04:00:00", "berlin", "heat", "hd", 60.0, 0.25),
            ("2026-01-15T05:00:00", "berlin", "alien", "hd", 60.0, 0.0625),
        ),
    )
    write_playback(tmp_path, NEXT, log(("2026-01-16T00:00:00", "paris", "heat", "sd", 60.0, 0.125), ("2026-01-16T00:00:00", "paris", "heat", "hd", 1.0, 1.0)))  # fmt: skip
    history = read_history(tmp_path, REGIONS, catalogue)
    assert history.dates == (DAY, NEXT)
    entries = list(zip(history.file, history.region, history.day, history.gb, strict=True))
    assert entries == [(0, 0, 0, 0.25), (0, 1, 0, 2.5), (0, 1, 1, 1.0), (1, 1, 1, 0.125), (2, 0, 0, 0.0625)]
    first = history.until(1)
    assert first.dates == (DAY,)
    assert first.gb.tolist() == [0.25, 2.5, 0.0625]
    assert first.hourly_gb.shape == (1, 2, 24)
    assert read_history(tmp_path, REGIONS, catalogue, [NEXT]).gb.tolist() == [1.0, 0.125]


def test_bytes_are_spread_over_the_hours_a_session_covers_and_stay_on_its_day(tmp_path, catalogue):
    write_playback(
        tmp_path,
        DAY,
        log(
            ("2026-01-15T01:45:00", "berlin", "heat", "hd", 9000.0, 10.0),  # 15 min, an hour, an hour, 15 min of 150
            (
                "2026-01-15T22:30:00",
                "paris",
                "heat",
                "hd",
                7200.0,
                8.0,
            ),  # 30 of 120 min in hour 22; the rest in hour 23
            ("2026-01-15T23:59:59.999", "paris", "heat", "hd", 6e5, 1.0),
            ("2026-01-15T05:00:00", "paris", "heat", "hd", 3600.0, 3.0),  # exactly one hour
            ("2026-01-15T06:00:00", "paris", "heat", "hd", 1e-9, 0.5),
        ),
    )
    hourly = read_history(tmp_path, REGIONS, catalogue).hourly_gb[0]
    berlin, paris = np.zeros(24), np.zeros(24)
    berlin[1:5] = [1, 4, 4, 1]
    paris[[22, 23, 5, 6]] = [2, 7, 3, 0.5]
    np.testing.assert_allclose(hourly, [berlin, paris], atol=1e-9)


def test_actual_demand_peaks_with_its_region(tmp_path, catalogue):
    write_playback(
        tmp_path,
        DAY,
        log(
            ("2026-01-15T20:00:00", "paris", "heat", "hd", 60.0, 3.0),
            ("2026-01-15T21:00:00", "paris", "alien", "hd", 60.0, 1.0),
        ),
    )
    demand = actual_demand(tmp_path, DAY, REGIONS, catalogue)
    assert demand.gb.tolist() == [3.0, 1.0]
    np.testing.assert_allclose(demand.peak_gbps, np.array([3.0, 1.0]) * 0.75 * 8 / 3600)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"region": "nowhere"}, "region"),
        ({"region": None}, "region"),
        ({"title": "nothing"}, "title"),
        ({"profile": "uhd"}, "profile"),
        ({"title": "alien", "profile": "sd"}, "profile"),
        ({"start": pd.Timestamp("2026-01-16")}, "start"),
        ({"start": pd.NaT}, "start"),
        ({"seconds": 0.0}, "seconds"),
        ({"seconds": np.inf}, "seconds"),
        ({"seconds": 1e8}, "seconds"),
        ({"gb": 2e9}, "gb"),
        ({"seconds": np.nan}, "seconds"),
        ({"gb": -0.1}, "gb"),
        ({"gb": np.nan}, "gb"),
    ],
)
def test_a_wrong_row_is_named_and_no_history_made_of_it(tmp_path, catalogue, change, column):
    frame = log(ROW, ROW, ROW)
    for name, value in change.items():
        frame.loc[1, name] = value
    put(tmp_path, frame)
    (problem,) = problems_of(tmp_path, catalogue)
    assert (problem.table, problem.row, problem.column) == ("playback/date=2026-01-15/part-0.parquet", 2, column)
    assert problem.mend
    with pytest.raises(InputError) as caught:
        read_history(tmp_path, REGIONS, catalogue)
    assert caught.value.problems == [problem]


@pytest.mark.parametrize(
    ("column", "text"), [("gb", "2,0"), ("gb", "two"), ("seconds", "1:00:00"), ("start", "yesterday")]
)
def test_a_text_that_is_no_number_or_time_is_shown(tmp_path, catalogue, column, text):
    frame = log(ROW, ROW, ROW).astype({column: str})
    frame.loc[1, column] = text
    put(tmp_path, frame)
    (problem,) = problems_of(tmp_path, catalogue)
    assert (problem.row, problem.column, problem.value) == (2, column, text)
    with pytest.raises(InputError) as caught:
        read_history(tmp_path, REGIONS, catalogue)
    assert caught.value.problems == [problem]


def test_the_first_twenty_are_listed_and_the_rest_counted(tmp_path, catalogue):
    put(tmp_path, log(*[(*ROW[:1], f"r{i}", *ROW[2:]) for i in range(50)]))
    problems = problems_of(tmp_path, catalogue)
    assert [p.value for p in problems] == [f"r{i}" for i in range(20)]
    assert "30 more" in problems[-1].message
    assert "more" not in problems[-2].message


def test_bad_files_are_named(tmp_path, catalogue):
    put(tmp_path, log(ROW), "good.parquet")
    put(tmp_path, log(ROW).drop(columns="gb"), "lacking.parquet")
    put(tmp_path, log(ROW).iloc[:0], "empty.parquet")
    put(tmp_path, log(*[ROW] * 500), "cut.parquet")
    day = tmp_path / "playback" / f"date={DAY}"
    (day / "cut.parquet").write_bytes((day / "cut.parquet").read_bytes()[:700])
    (day / "foreign.parquet").write_text("start,region\n")
    (tmp_path / "playback" / "date=yesterday").mkdir()
    put(tmp_path, log(ROW), "x.parquet", date="yesterday")
    found = {p.table: p for p in problems_of(tmp_path, catalogue)}
    assert set(found) == {
        "playback/date=yesterday",
        *(f"playback/date=2026-01-15/{name}.parquet" for name in ("lacking", "empty", "cut", "foreign")),
    }
    assert found["playback/date=2026-01-15/lacking.parquet"].column == "gb"
    assert "no rows" in found["playback/date=2026-01-15/empty.parquet"].message
    with pytest.raises(InputError):
        read_history(tmp_path, REGIONS, catalogue, [DAY])


def test_a_hollow_page_inside_a_whole_frame_is_named(tmp_path, catalogue):
    put(tmp_path, log(*[(*ROW[:5], float(i)) for i in range(5000)]))
    path = tmp_path / "playback" / f"date={DAY}" / "part-0.parquet"
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    path.write_bytes(data)
    (problem,) = problems_of(tmp_path, catalogue)
    assert problem.table.endswith("part-0.parquet")
    for read in (lambda: read_history(tmp_path, REGIONS, catalogue), lambda: log_frame(tmp_path, DAY)):
        with pytest.raises(InputError):
            read()


def test_no_log(tmp_path, catalogue):
    assert playback_dates(tmp_path) == []
    assert problems_of(tmp_path, catalogue) == []
    for read in (
        lambda: read_history(tmp_path, REGIONS, catalogue),
        lambda: read_history(tmp_path, REGIONS, catalogue, [DAY]),
        lambda: log_frame(tmp_path, DAY),
    ):
        with pytest.raises(InputError) as caught:
            read()
        assert caught.value.problems[0].mend
    assert problems_of(tmp_path, catalogue, [DAY])


def test_a_day_is_replaced_whole(tmp_path):
    put(tmp_path, log(ROW), "hour=20.parquet")
    put(tmp_path, log(ROW), "hour=21.parquet")
    for gb in (5.0, 6.0):
        write_playback(tmp_path, DAY, log(ROW).assign(gb=gb))
        assert log_frame(tmp_path, DAY)["gb"].tolist() == [gb]
    assert [p.name for p in (tmp_path / "playback").iterdir()] == [f"date={DAY}"]
    with pytest.raises(InputError):
        write_playback(tmp_path, DAY, log(ROW).drop(columns="gb"))
    with pytest.raises(InputError):
        write_playback(tmp_path, DAY, log())
    assert log_frame(tmp_path, DAY)["gb"].tolist() == [6.0]


def test_a_day_reads_back_in_the_order_of_starts(tmp_path):
    folder = tmp_path / "it's a [b]*"
    late = ("2026-01-15T23:59:59.123456789", "paris", "heat", "hd", 1.0, 1.0)
    put(folder, log(late, ROW), "b.parquet")
    put(folder, log((*ROW[:5], 7.0)), "a.parquet")
    assert playback_dates(folder) == [DAY]
    frame = log_frame(folder, DAY)
    assert frame["gb"].tolist() == [7.0, 2.0, 1.0]
    assert frame["start"].dtype == "datetime64[ns]"
    assert frame["start"].iloc[1] == pd.Timestamp("2026-01-15T20:30:00")
    assert frame["region"].astype(str).tolist() == ["paris"] * 3


def test_times_that_go_backwards_in_a_file_are_named(tmp_path, catalogue):
    early = ("2026-01-15T20:29:59", *ROW[1:])
    put(tmp_path, log(ROW, ROW), "a.parquet")
    put(tmp_path, log(ROW, early, early, ROW, early), "b.parquet")
    (problem,) = problems_of(tmp_path, catalogue)
    assert (problem.table, problem.row, problem.column) == (f"playback/date={DAY}/b.parquet", 2, "start")
    assert problem.value == "2026-01-15T20:29:59.000"
    assert "2026-01-15T20:30:00.000 (and 1 more such rows)" in problem.message


def test_times_with_a_zone_or_as_text_are_utc(tmp_path, catalogue):
    put(tmp_path, log(ROW).assign(start=pd.to_datetime(["2026-01-15T00:30:00+01:00"]).tz_convert("Asia/Tokyo")), date="2026-01-14")  # fmt: skip
    put(tmp_path, log(ROW).assign(start=["2026-01-15T20:30:00"]))
    assert problems_of(tmp_path, catalogue) == []
    hourly = read_history(tmp_path, REGIONS, catalogue).hourly_gb[:, 1]
    assert hourly[0].nonzero()[0].tolist() == [23]
    assert hourly[1].nonzero()[0].tolist() == [20, 21]


def test_against_pandas(tmp_path, catalogue):
    rng = np.random.default_rng(3)
    n = 3000
    files = catalogue.files.iloc[rng.integers(0, 3, n)]
    frame = pd.DataFrame(
        {
            "start": pd.Timestamp(DAY) + pd.to_timedelta(rng.integers(0, 86_400_000, n), "ms"),
            "region": pd.Categorical(REGIONS.to_numpy()[rng.integers(0, 2, n)]),
            "title": files["title"].to_numpy(),
            "profile": files["profile"].to_numpy(),
            "seconds": rng.exponential(3000, n) + 0.01,
            "gb": rng.exponential(1, n),
        }
    )
    write_playback(tmp_path, DAY, frame)
    history = read_history(tmp_path, REGIONS, catalogue)
    expected = frame.assign(file=files["file"].to_numpy()).groupby(["file", "region"], observed=True)["gb"].sum()
    for file, region, gb in zip(history.file, history.region, history.gb, strict=True):
        assert gb == pytest.approx(expected[catalogue.file_ids[file], REGIONS[region]])
    loop = np.zeros((2, 24))  # minute by minute would not do: cut each session at the hours
    for row in frame.itertuples():
        began = (row.start - pd.Timestamp(DAY)).total_seconds()
        cuts = [began, *[h * 3600.0 for h in range(24) if began < h * 3600 < began + row.seconds], began + row.seconds]
        for a, b in itertools.pairwise(cuts):
            loop[REGIONS.get_loc(row.region), min(int(a // 3600), 23)] += row.gb * (b - a) / row.seconds
    np.testing.assert_allclose(history.hourly_gb[0], loop, rtol=1e-6)


def test_sums_do_not_depend_on_the_order_of_the_rows(tmp_path, catalogue):
    rng = np.random.default_rng(4)
    rows = log(*[ROW] * 5000).assign(gb=rng.lognormal(0, 3, 5000), seconds=rng.uniform(1, 20_000, 5000))
    sums = []
    for name, order in (("a", np.arange(5000)), ("b", rng.permutation(5000)), ("c", np.argsort(rows["gb"]))):
        put(tmp_path / name, rows.iloc[order])
        sums.append(read_history(tmp_path / name, REGIONS, catalogue))
    for other in sums[1:]:
        assert other.gb.tolist() == sums[0].gb.tolist()
        assert other.hourly_gb.tolist() == sums[0].hourly_gb.tolist()
