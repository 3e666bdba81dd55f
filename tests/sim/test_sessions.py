"""Sessions read from a log and drawn from a demand."""

import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import chi2, kstest, lognorm

from demand.demand import build_demand
from demand.diurnal import EVENING, quarter_hour_weights
from demand.laws import LognormalWatching, Watching
from demand.playback import validate_playback
from sim.draw import draw_sessions
from sim.sessions import DAY_MS, PlaybackDay, build_sessions, check_sessions, sessions_from_playback
from topology.errors import InputError

DATE = dt.date(2026, 1, 15)
FLAT = np.ones(24)
LOGNORMAL = LognormalWatching(log_mean=float(np.log(30.0)), log_sd=0.8)


@pytest.fixture
def network(make):
    return make.network(
        nodes=2,
        links=[(0, 1, 1.0, 1.0)],
        regions=[0, 1, 1],
        sites=[(0, "origin")],
        appliances=[],
        timezones=["UTC", "Asia/Kolkata", "America/New_York"],
    )


@pytest.fixture
def catalogue(make):
    return make.catalogue([1.8, 3.6, 0.45], [4000.0, 8000.0, 1000.0])  # all run one hour


def log(rows):
    return pd.DataFrame(rows, columns=["start", "region", "title", "profile", "seconds", "gb"]).astype(
        {"start": "datetime64[ns]"}
    )


def write_log(folder, frame, name="part-0.parquet"):
    day = folder / "playback" / f"date={DATE}"
    day.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(day / name, index=False)


GOOD = ("2026-01-15T00:00:01.5", "r0", "t0", "h264", 10.0, 0.005)


def test_a_log_becomes_whole_milliseconds_and_bytes_in_the_order_of_starts(tmp_path, network, catalogue):
    rows = [
        ("2026-01-15T20:00:00", "r1", "t1", "h264", 60.0004, 0.06),
        ("2026-01-15T20:00:00", "r2", "t2", "h264", 0.0001, 1e-9),
        ("2026-01-15T23:59:59.999", "r0", "t0", "h264", 7200.0, 1e-10),
    ]
    write_log(tmp_path, log(rows))
    write_log(tmp_path, log([("2026-01-15T00:00:01.5", "r0", "t0", "h264", 10.0, 0.005)]), "part-1.parquet")
    sessions = sessions_from_playback(tmp_path, DATE, network, catalogue)
    assert sessions.start_ms.tolist() == [1500, 72_000_000, 72_000_000, DAY_MS - 1]
    assert sessions.region.tolist() == [0, 1, 2, 0]
    assert sessions.file.tolist() == [0, 1, 2, 0]
    assert sessions.duration_ms.tolist() == [10_000, 60_000, 1, 7_200_000]
    assert sessions.bytes.tolist() == [5_000_000, 60_000_000, 1, 1]
    assert sessions.rate_bps.tolist() == [4_000_000, 8_000_000, 8000, 0]


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"region": "nowhere"}, "region"),
        ({"title": "nothing"}, "title"),
        ({"profile": "vp9"}, "profile"),
        ({"start": "2026-01-16T00:00:00"}, "start"),
        ({"seconds": 0.0}, "seconds"),
        ({"seconds": -1.0}, "seconds"),
        ({"gb": -0.1}, "gb"),
        ({"gb": 0.0}, "gb"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, network, catalogue, change, column):
    frame = log([GOOD, GOOD])
    for name, value in change.items():
        frame.loc[1, name] = pd.Timestamp(value) if name == "start" else value
    write_log(tmp_path, frame)
    with pytest.raises(InputError) as caught:
        sessions_from_playback(tmp_path, DATE, network, catalogue)
    problem = caught.value.problems[0]
    assert problem.table == f"playback/date={DATE}/part-0.parquet"
    assert (problem.row, problem.column) == (2, column)
    assert problem.mend


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("region", "nowhere"), ("region", ""), ("region", None), ("title", "nothing"), ("profile", "vp9"),
        ("start", pd.Timestamp("2026-01-16")), ("start", pd.NaT), ("seconds", 0.0), ("seconds", -1.0), ("seconds", np.nan), ("seconds", np.inf), ("seconds", 1e17),
        ("gb", -0.1), ("gb", 0.0), ("gb", np.nan), ("gb", np.inf), ("gb", 1e25),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named_as_check_names_it(tmp_path, network, catalogue, column, value):
    frame = log([GOOD, GOOD, GOOD])
    frame.loc[1, column] = value
    write_log(tmp_path, frame)
    with pytest.raises(InputError) as caught:
        sessions_from_playback(tmp_path, DATE, network, catalogue)
    said = []
    validate_playback(tmp_path, network.region_ids, catalogue, said)
    assert [str(problem) for problem in caught.value.problems] == [str(problem) for problem in said]
    assert (said[0].row, said[0].column) == (2, column)


@pytest.mark.parametrize("spoil", ["no rows", "no column", "no Parquet"])
def test_a_wrong_file_is_named_as_check_names_it(tmp_path, network, catalogue, spoil):
    write_log(tmp_path, log([GOOD]))
    part = tmp_path / "playback" / f"date={DATE}" / "part-1.parquet"
    if spoil == "no Parquet":
        part.write_bytes(b"PAR1")
    else:
        write_log(tmp_path, log([]) if spoil == "no rows" else log([GOOD]).drop(columns="gb"), part.name)
    with pytest.raises(InputError, match=r"part-1\.parquet") as caught:
        sessions_from_playback(tmp_path, DATE, network, catalogue)
    said = []
    validate_playback(tmp_path, network.region_ids, catalogue, said)
    assert [str(problem) for problem in caught.value.problems] == [str(problem) for problem in said]


@pytest.mark.parametrize("change", [{"seconds": 0.0}, {"gb": -1.0}, {"gb": 0.0}, {"region": "nowhere"}])
def test_rows_wrong_in_one_way_make_one_message(tmp_path, network, catalogue, change):
    frame = log([GOOD] * 40)
    for name, value in change.items():
        frame.loc[5:, name] = value
    write_log(tmp_path, frame)
    with pytest.raises(InputError) as caught:
        sessions_from_playback(tmp_path, DATE, network, catalogue)
    (problem,) = caught.value.problems
    assert problem.row == 6
    assert "(and 34 more such rows)" in problem.message


def test_a_log_whose_times_go_backwards_is_refused(tmp_path, network, catalogue):
    rows = [GOOD, ("2026-01-15T00:00:09", *GOOD[1:]), ("2026-01-15T00:00:07", *GOOD[1:]), GOOD]
    write_log(tmp_path, log([GOOD]))
    write_log(tmp_path, log(rows), "part-1.parquet")
    with pytest.raises(InputError) as caught:
        sessions_from_playback(tmp_path, DATE, network, catalogue)
    (problem,) = caught.value.problems
    assert (problem.table, problem.row, problem.column) == (f"playback/date={DATE}/part-1.parquet", 3, "start")
    assert problem.value == "2026-01-15T00:00:07.000"
    assert "2026-01-15T00:00:09.000" in problem.message
    assert "1 more such row" in problem.message
    assert "import log" in problem.mend


def test_a_day_without_a_log_is_refused(tmp_path, network, catalogue):
    with pytest.raises(InputError):
        sessions_from_playback(tmp_path, DATE, network, catalogue)


def test_equal_starts_keep_the_order_of_the_input():
    n = 500
    sessions = build_sessions(np.arange(n) % 3, np.arange(n), np.zeros(n, int), np.ones(n, int), np.ones(n, int))
    assert sessions.start_ms.tolist() == sorted(sessions.start_ms.tolist())
    for start in range(3):
        assert np.all(np.diff(sessions.region[sessions.start_ms == start]) > 0)


@pytest.mark.parametrize(("duration", "size"), [(0, 1), (-5, 1), (5, -1), (5, 0), (1, 4 * 10**9)])
def test_impossible_lengths_and_bytes_are_refused(duration, size):
    with pytest.raises(InputError):
        build_sessions(np.array([0]), np.array([0]), np.array([0]), np.array([duration]), np.array([size]))


@pytest.mark.parametrize(
    ("column", "values", "word"),
    [
        ("start_ms", [5, 4], "ahead of it"),
        ("start_ms", [-1, 4], "within the day"),
        ("start_ms", [0, DAY_MS], "within the day"),
        ("region", [0, 3], "no such region"),
        ("file", [-1, 0], "no such file"),
        ("duration_ms", [1, 0], "no length"),
        ("bytes", [1, -1], "no bytes"),
        ("bytes", [1, 0], "no bytes"),
    ],
)
def test_sessions_that_cannot_be_run_are_refused(column, values, word):
    good = build_sessions(np.array([0, 1]), np.array([0, 0]), np.array([0, 0]), np.array([1, 1]), np.array([1, 1]))
    check_sessions(good, 3, 3)
    with pytest.raises(InputError, match=word):
        check_sessions(dataclasses.replace(good, **{column: np.array(values)}), 3, 3)


@pytest.mark.parametrize("watching", [None, LOGNORMAL])
def test_drawn_bytes_are_the_demand_in_expectation(network, catalogue, watching):
    region, file = np.array([0, 1, 2, 0]), np.array([0, 0, 1, 2])
    gb = np.array([900.0, 300.0, 50.0, 4.0])
    demand = build_demand(region, file, gb)
    rng = np.random.default_rng(11)
    days = 60
    drawn = np.zeros((days, len(gb)))
    for day in range(days):
        sessions = draw_sessions(demand, network, catalogue, rng, date=DATE, watching=watching)
        entry = sessions.file * 3 + sessions.region
        wanted = demand.file * 3 + demand.region
        drawn[day] = [sessions.bytes[entry == w].sum() / 1e9 for w in wanted]
    assert np.isin(entry, wanted).all()
    error = drawn.std(axis=0, ddof=1) / np.sqrt(days)
    assert (np.abs(drawn.mean(axis=0) - demand.gb) < 4 * error).all()
    assert (error < 0.06 * demand.gb).all()


@pytest.mark.parametrize("asked", [[0], [1], [2], [0, 1], [0, 2], [1, 2]])
def test_sessions_come_where_something_is_asked_for_and_nowhere_else(network, catalogue, asked):
    gb = np.array([4000.0, 2000.0, 1000.0])[asked]
    demand = build_demand(np.array(asked), np.zeros(len(asked), int), gb)
    sessions = draw_sessions(demand, network, catalogue, np.random.default_rng(3), date=DATE)
    found, share = np.bincount(sessions.region, minlength=3) / len(sessions), np.zeros(3)
    share[asked] = gb / gb.sum()
    assert (np.abs(found - share) <= 4 * np.sqrt(share * (1 - share) / len(sessions))).all()


def test_viewers_leave_as_measured(network, catalogue):
    """37.44 % within five minutes, 52.55 % within ten: Yu et al., EuroSys 2006."""
    demand = build_demand(np.array([0]), np.array([1]), np.array([100_000.0]))
    sessions = draw_sessions(demand, network, catalogue, np.random.default_rng(2), date=DATE)
    for minutes, share in ((5, 0.3744), (10, 0.5255)):
        left = np.mean(sessions.duration_ms <= 60_000 * minutes)
        assert (
            abs(left - share) < 4 * np.sqrt(share * (1 - share) / len(sessions)) + 1e-3
        )  # the law's figures are rounded


def test_a_lognormal_law_draws_lognormal_lengths(network, catalogue):
    demand = build_demand(np.array([0]), np.array([1]), np.array([100_000.0]))
    sessions = draw_sessions(demand, network, catalogue, np.random.default_rng(2), date=DATE, watching=LOGNORMAL)
    uncut = sessions.duration_ms[sessions.duration_ms < 3_600_000] / 60_000
    law = lognorm(0.8, scale=30.0)
    assert kstest(uncut, lambda x: law.cdf(x) / law.cdf(60)).pvalue > 0.001


def test_drawn_sessions_take_the_files_rate_for_at_most_its_length(network, catalogue):
    demand = build_demand(np.array([0, 0, 1]), np.array([0, 1, 2]), np.array([500.0, 500.0, 100.0]))
    sessions = draw_sessions(demand, network, catalogue, np.random.default_rng(1), date=DATE)
    assert sessions.duration_ms.max() == 3_600_000  # many would watch longer than the hour the file has
    assert (sessions.bytes <= np.rint(catalogue.size_gb * 1e9)[sessions.file]).all()
    long = sessions.duration_ms > 1000
    assert np.allclose(sessions.rate_bps[long], catalogue.bitrate_kbps[sessions.file[long]] * 1000, rtol=1e-3)
    assert (np.diff(sessions.start_ms) >= 0).all()
    assert sessions.start_ms.min() >= 0
    assert sessions.start_ms.max() < DAY_MS
    check_sessions(sessions, 3, 3)


def test_the_same_seed_draws_the_same_day(network, catalogue):
    demand = build_demand(np.array([0, 1]), np.array([0, 1]), np.array([100.0, 100.0]))
    one, two = (draw_sessions(demand, network, catalogue, np.random.default_rng(3), date=DATE) for _ in range(2))
    assert len(one) > 50
    for name in ("start_ms", "region", "file", "duration_ms", "bytes", "rate_bps"):
        assert np.array_equal(getattr(one, name), getattr(two, name))


def test_starts_follow_the_curve_in_local_time(network, catalogue):
    profile = np.zeros(24)
    profile[[20, 21]] = 1, 3
    demand = build_demand(np.array([0, 1, 2]), np.array([0, 0, 0]), np.full(3, 2000.0))
    sessions = draw_sessions(demand, network, catalogue, np.random.default_rng(5), date=DATE, hourly_profile=profile)
    minute = sessions.start_ms / 60_000
    # 20:00 local is 20:00, 14:30 and 01:00 UTC of the same day
    for region, begin in enumerate((20 * 60, 14 * 60 + 30, 60)):
        mine = minute[sessions.region == region]
        assert mine.min() >= begin
        assert mine.max() < begin + 120
        late = (mine >= begin + 60).sum()
        assert abs(late - 0.75 * len(mine)) < 4 * np.sqrt(len(mine) * 0.75 * 0.25)


def test_the_number_of_sessions_is_poisson(network, catalogue):
    demand = build_demand(np.array([0]), np.array([0]), np.array([100.0]))
    rng = np.random.default_rng(8)
    counts = [len(draw_sessions(demand, network, catalogue, rng, date=DATE)) for _ in range(300)]
    dispersion = np.var(counts, ddof=1) / np.mean(counts) * 299
    assert chi2.ppf(0.001, 299) < dispersion < chi2.ppf(0.999, 299)


@pytest.mark.parametrize("limit", [1.0, 40.0, 1e6])
def test_the_mean_of_a_cut_lognormal(limit):
    expected = quad(lognorm(0.8, scale=30.0).sf, 0, min(limit, 5000), limit=200)[0]
    assert LOGNORMAL.mean_minutes(np.array([limit]))[0] == pytest.approx(expected, rel=1e-6)


def test_quarters_on_the_day_the_clocks_go_forward():
    weights = quarter_hour_weights(np.array(["Europe/Berlin"]), dt.date(2026, 3, 29), np.arange(24.0))
    # 00:00 UTC is 01:00; at 01:00 UTC the clock jumps from 02:00 to 03:00; the day ends at 24:00 UTC = 02:00 of the next
    assert weights[0, ::4].tolist() == [1, *range(3, 24), 0, 1]


def test_a_region_half_an_hour_off_changes_hours_at_half_past():
    weights = quarter_hour_weights(np.array(["Asia/Kolkata", "UTC"]), DATE, np.arange(24.0))
    assert weights[0, :4].tolist() == [5, 5, 6, 6]
    assert weights[1, :4].tolist() == [0, 0, 0, 0]


def test_the_default_curve_peaks_in_the_evening():
    assert EVENING.shape == (24,)
    assert EVENING.argmax() in (20, 21)
    assert EVENING.mean() == pytest.approx(1)
    with pytest.raises(ValueError, match="read-only"):
        EVENING[0] = 1


@pytest.mark.parametrize("profile", [np.zeros(24), np.ones(23), np.full(24, -1.0), np.full(24, np.nan)])
def test_a_curve_that_is_none_is_refused(profile):
    with pytest.raises(InputError):
        quarter_hour_weights(np.array(["UTC"]), DATE, profile)


@pytest.mark.parametrize(
    "wrong",
    [
        Watching(shape=0.0, scale_minutes=15.0),
        Watching(shape=0.7, scale_minutes=-1.0),
        LognormalWatching(log_mean=3.0, log_sd=0.0),
    ],
)
def test_an_impossible_length_is_refused(network, catalogue, wrong):
    demand = build_demand(np.array([0]), np.array([0]), np.array([1.0]))
    with pytest.raises(InputError, match="not a law of watching"):
        draw_sessions(demand, network, catalogue, np.random.default_rng(0), date=DATE, watching=wrong)


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_a_day_in_parts_is_the_day(tmp_path, network, catalogue, zone):
    rng = np.random.default_rng(5)
    for name in ("part-0.parquet", "part-1.parquet"):
        start = np.sort(rng.integers(0, 24 * 60, 300)).astype("timedelta64[m]") + np.datetime64(
            DATE
        )  # many at one time
        frame = log(
            {
                "start": start,
                "region": rng.choice(["r0", "r1", "r2"], 300),
                "title": rng.choice(["t0", "t1", "t2"], 300),
                "profile": "h264",
                "seconds": rng.uniform(1, 3600, 300),
                "gb": rng.uniform(1e-9, 1, 300),
            }
        )
        if zone is not None:
            frame["start"] = frame["start"].dt.tz_localize("UTC").dt.tz_convert(zone)
        write_log(tmp_path, frame, name)
    parts = list(PlaybackDay(folder=tmp_path, date=DATE, network=network, catalogue=catalogue, a_part=50))
    whole = sessions_from_playback(tmp_path, DATE, network, catalogue)
    assert len(parts) == 12
    assert len(whole) == 600 == len(PlaybackDay(folder=tmp_path, date=DATE, network=network, catalogue=catalogue))
    for field in dataclasses.fields(whole):
        if field.name != "days":
            joined = np.concatenate([getattr(part, field.name) for part in parts])
            assert np.array_equal(joined, getattr(whole, field.name)), field.name


@pytest.mark.parametrize(
    ("row", "change"),
    [
        (0, {"start": pd.Timestamp("2026-01-14T23:59:59")}),
        (7, {"start": pd.Timestamp("2026-01-16")}),
        (5, {"start": pd.NaT}),
        (5, {"start": pd.Timestamp("2026-01-15T04:59:59")}),
        (1, {"start": pd.Timestamp("2026-01-15T20:00:00")}),
        (6, {"gb": 0.0}),
    ],
)
def test_a_day_in_parts_is_refused_where_the_day_is(tmp_path, network, catalogue, row, change):
    frame = log([(f"2026-01-15T{hour:02}:00:00", *GOOD[1:]) for hour in (0, 1, 4, 5, 9, 12, 18, 23)])
    for name, value in change.items():
        frame.loc[row, name] = value
    write_log(tmp_path, frame)
    said = []
    validate_playback(tmp_path, network.region_ids, catalogue, said)
    for a_part in (1, 2, 3, 8):
        with pytest.raises(InputError) as caught:
            list(PlaybackDay(folder=tmp_path, date=DATE, network=network, catalogue=catalogue, a_part=a_part))
        assert [str(problem) for problem in caught.value.problems] == [str(problem) for problem in said]
