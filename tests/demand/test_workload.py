"""Generated catalogues and logs: the laws come back out, bytes and times are right, the same seed gives the same sessions."""

import datetime as dt
import zoneinfo
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from demand.bitrate import default_ladder
from demand.catalogue import Catalogue, build_catalogue, read_catalogue
from demand.laws import HALF_YEAR, Laws, load_laws
from demand.playback import actual_demand, validate_playback, write_playback
from demand.workload import generate_playback, launch_rates, sample_catalogue, work_levels, works_of
from topology.errors import InputError, Problem
from topology.tables import write_table

FIRST = dt.date(2026, 1, 5)  # a Monday


def week(n: int) -> list[dt.date]:
    return [FIRST + dt.timedelta(days=i) for i in range(n)]


def regions(*zones: str, subscribers: list[float] | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "region": [f"r{i}" for i in range(len(zones))],
            "timezone": zones,
            "subscribers": subscribers or [1.0] * len(zones),
        }
    )


def drawn_catalogue(titles: int = 120, *, seed: int = 1, days: int = 14) -> Catalogue:
    rng = np.random.default_rng(seed)
    return build_catalogue(*sample_catalogue(rng, titles, load_laws(), default_ladder(), first_day=FIRST, days=days))


def plain_catalogue(titles: int, **columns: object) -> Catalogue:
    names = [f"t{i}" for i in range(titles)]
    files = pd.DataFrame({"file": names, "title": names, "profile": "one", "bitrate_kbps": 1000.0, "size_gb": 0.45})
    return build_catalogue(pd.DataFrame({"title": names, **columns}), files)


def flat(laws: Laws) -> Laws:
    """Laws without taste, drift, weekday or curve."""
    return replace(laws, taste_sd=0.0, drift_sd=0.0, weekday=np.ones(7), hourly_profile=np.ones(24))


def drawn(
    catalogue: Catalogue, places: pd.DataFrame, days: int, laws: Laws, volume: float, seed: int = 0
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    logs = generate_playback(rng, catalogue, places, week(days), laws, sessions_per_day=volume)
    return pd.concat([frame.assign(date=date) for date, frame in logs], ignore_index=True)


def test_a_sample_catalogue_keeps_the_contract(tmp_path):
    titles, files = sample_catalogue(
        np.random.default_rng(3), 90, load_laws(), default_ladder(), first_day=FIRST, days=14
    )
    assert len(titles) == 90
    assert len(files) == 900
    write_table(titles, tmp_path / "titles.csv")
    write_table(files, tmp_path / "files.csv")
    read = read_catalogue(tmp_path)  # raises if anything is wrong
    assert read.title_ids.tolist() == sorted(titles["title"])
    runtime = np.repeat(titles["runtime_minutes"].to_numpy(), 10)
    assert files["size_gb"].to_numpy() == pytest.approx(runtime * 60 * files["bitrate_kbps"] * 1000 / 8e9)


def test_runtimes_and_kinds_follow_their_laws():
    titles, _ = sample_catalogue(
        np.random.default_rng(0), 40_000, load_laws(), default_ladder(), first_day=FIRST, days=14
    )
    laws = load_laws().runtimes
    films = np.log(titles.loc[titles["kind"] == "film", "runtime_minutes"])
    assert films.mean() == pytest.approx(laws.film_log_mean, abs=0.02)
    assert films.std() == pytest.approx(laws.film_log_sd, abs=0.02)
    seasons = np.log(titles[titles["kind"] == "series"].groupby("series")["runtime_minutes"].sum())
    assert seasons.mean() == pytest.approx(laws.season_log_mean, abs=0.05)
    assert seasons.std() == pytest.approx(laws.season_log_sd, abs=0.05)
    assert len(seasons) / (len(seasons) + len(films)) == pytest.approx(laws.season_share, abs=0.02)


def test_works_launched_in_the_half_year_come_at_the_fitted_rate():
    titles, _ = sample_catalogue(
        np.random.default_rng(5), 60_000, load_laws(), default_ladder(), first_day=FIRST, days=14
    )
    work_of, launched = works_of(
        build_catalogue(titles, titles.assign(file=titles["title"], profile="p", bitrate_kbps=1.0, size_gb=1.0)), FIRST
    )
    expected = load_laws().launches.share * (HALF_YEAR + 14) / HALF_YEAR
    assert len(work_of) == 60_000
    assert (~np.isnat(launched)).mean() == pytest.approx(expected, rel=0.15)


def test_a_log_keeps_the_contract(tmp_path):
    catalogue, places = drawn_catalogue(), regions("Europe/Berlin", "America/New_York")
    for date, frame in generate_playback(
        np.random.default_rng(2), catalogue, places, week(2), load_laws(), sessions_per_day=3000
    ):
        write_playback(tmp_path, date, frame)
        assert frame["start"].is_monotonic_increasing
    problems: list[Problem] = []
    names = pd.Index(places["region"])
    validate_playback(tmp_path, names, catalogue, problems)
    assert problems == []
    assert actual_demand(tmp_path, FIRST, names, catalogue).gb.sum() > 0


def test_bytes_are_seconds_times_bit_rate_and_never_more_than_the_file():
    catalogue = drawn_catalogue()
    log = drawn(catalogue, regions("Etc/UTC"), 2, load_laws(), 20_000)
    files = catalogue.files.set_index(["title", "profile"])
    own = files.loc[pd.MultiIndex.from_frame(log[["title", "profile"]].astype(str))]
    assert log["gb"].to_numpy() == pytest.approx(log["seconds"].to_numpy() * own["bitrate_kbps"].to_numpy() / 8e6)
    assert (log["gb"].to_numpy() <= own["size_gb"].to_numpy()).all()
    assert np.isclose(log["gb"].to_numpy(), own["size_gb"].to_numpy()).mean() > 0.05  # some watch to the end
    assert (log["seconds"] > 0).all()


def test_viewers_leave_as_the_law_says():
    laws = load_laws()
    log = drawn(plain_catalogue(5), regions("Etc/UTC"), 3, laws, 40_000)  # an hour each
    for minutes, share in ((5, 0.3744), (10, 0.5255)):
        assert (log["seconds"] < minutes * 60).mean() == pytest.approx(share, abs=0.01)
    assert log["seconds"].max() == 3600


def test_the_same_seed_gives_the_same_sessions_and_later_days_change_nothing():
    catalogue, places = drawn_catalogue(), regions("Asia/Kolkata", "Europe/Berlin")
    short = drawn(catalogue, places, 2, load_laws(), 2000, seed=4)
    again = drawn(catalogue, places, 2, load_laws(), 2000, seed=4)
    long = drawn(catalogue, places, 4, load_laws(), 2000, seed=4)
    other = drawn(catalogue, places, 2, load_laws(), 2000, seed=5)
    pd.testing.assert_frame_equal(short, again)
    pd.testing.assert_frame_equal(short, long[long["date"] < week(3)[2]])
    assert len(other) != len(short) or not other["gb"].equals(short["gb"])


def test_sessions_split_by_subscribers_and_days_by_weekday():
    laws = replace(flat(load_laws()), weekday=load_laws().weekday)
    log = drawn(plain_catalogue(10), regions("Etc/UTC", "Etc/UTC", subscribers=[3.0, 1.0]), 7, laws, 30_000)
    assert (log["region"] == "r0").mean() == pytest.approx(0.75, abs=0.01)
    daily = log.groupby("date").size().to_numpy()
    assert daily / 30_000 == pytest.approx(laws.weekday, rel=0.03)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_the_curve_holds_in_local_time(zone):
    laws = replace(flat(load_laws()), hourly_profile=load_laws().hourly_profile)
    log = drawn(plain_catalogue(10), regions(zone), 4, laws, 50_000)
    local = log["start"].dt.tz_localize("UTC").dt.tz_convert(zoneinfo.ZoneInfo(zone)).dt.hour
    counts = np.bincount(local, minlength=24) / len(log) * 24
    assert counts == pytest.approx(laws.hourly_profile, rel=0.05)


def test_starts_lie_on_their_utc_day():
    log = drawn(plain_catalogue(3), regions("Pacific/Auckland", "America/Los_Angeles"), 3, load_laws(), 2000)
    assert (log["start"].dt.date == log["date"]).all()


def test_popularity_follows_the_rank_law():
    laws = flat(load_laws())
    log = drawn(plain_catalogue(400), regions("Etc/UTC"), 5, laws, 200_000)
    counts = np.sort(log.groupby("title", observed=False).size().to_numpy())[::-1]
    expected = laws.popularity.weight((np.arange(400) + 0.5) / 400)
    assert counts / counts.sum() == pytest.approx(expected / expected.sum(), rel=0.12, abs=2e-5)


def test_regions_differ_by_the_spread_of_taste():
    laws = replace(flat(load_laws()), taste_sd=0.8)
    log = drawn(plain_catalogue(40), regions(*["Etc/UTC"] * 30), 1, laws, 3_000_000)
    counts = log.groupby(["region", "title"], observed=False).size().unstack().to_numpy().astype(float)
    logs = np.log(counts[:, counts.min(axis=0) > 30])
    logs = logs - logs.mean(axis=1, keepdims=True)
    assert logs.std(axis=0, ddof=1).mean() == pytest.approx(0.8, rel=0.1)


def test_episodes_share_the_popularity_of_their_season():
    catalogue = plain_catalogue(6, series=["a", "a", "a", "b", "b", None])
    log = drawn(catalogue, regions("Etc/UTC"), 1, flat(load_laws()), 300_000)
    counts = log.groupby("title", observed=False).size().reindex(catalogue.title_ids).to_numpy()
    assert counts[:3] == pytest.approx(np.full(3, counts[:3].mean()), rel=0.05)
    assert counts[3:5] == pytest.approx(np.full(2, counts[3:5].mean()), rel=0.05)
    assert len({round(c, -3) for c in (counts[0], counts[3], counts[5])}) == 3


def test_a_launch_is_unwatched_before_its_date_and_ages_by_the_law_after():
    launch = FIRST + dt.timedelta(days=3)
    catalogue = plain_catalogue(40, release_date=[launch, *[dt.date(2020, 1, 1)] * 39])
    laws = flat(load_laws())
    log = drawn(catalogue, regions("Etc/UTC"), 28, laws, 200_000)
    by_day = log.groupby(["date", "title"], observed=False).size().unstack()
    new, steady = by_day["t0"].to_numpy(float), by_day.drop(columns="t0").sum(axis=1).to_numpy(float)
    assert (new[:3] == 0).all()
    ratio = new[3:] / steady[3:]
    rate = laws.ageing.rate(np.arange(25))
    assert ratio / ratio[0] == pytest.approx(rate / rate[0], rel=0.1)


def test_launches_draw_the_share_of_views_they_have_in_the_reports():
    """19.7 % of a half-year's views go to works launched in it: what the reports say, not what was fitted."""
    laws, rng = load_laws(), np.random.default_rng(0)
    launched = np.full(40_000, np.datetime64("NaT", "D"))
    n = round(laws.launches.share * len(launched))
    start = np.datetime64("2026-01-01", "D")
    launched[:n] = start + rng.integers(0, HALF_YEAR, n)
    level = work_levels(rng, launched, laws)
    views = np.zeros(len(launched))
    for day in range(HALF_YEAR):
        age = (start + day - launched[:n]).astype(float)
        views[:n] += level[:n] * launch_rates(age, laws)
        views[n:] += level[n:]
    assert views[:n].sum() / views.sum() == pytest.approx(0.197, abs=0.02)


def test_drift_is_a_random_walk_of_the_fitted_step():
    laws = replace(flat(load_laws()), drift_sd=0.1)
    log = drawn(plain_catalogue(60), regions("Etc/UTC"), 20, laws, 400_000)
    counts = log.groupby(["date", "title"], observed=False).size().unstack().to_numpy().astype(float)
    popular = counts[:, counts.min(axis=0) > 3000]
    logs = np.log(popular / popular.sum(axis=1, keepdims=True))
    steps = np.diff(logs, axis=0)
    assert popular.shape[1] > 10
    assert steps.std() == pytest.approx(0.1, rel=0.15)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"days": []}, "days"),
        ({"days": [FIRST, FIRST]}, "days"),
        ({"volume": 0.0}, "sessions_per_day"),
        ({"volume": float("nan")}, "sessions_per_day"),
        ({"places": regions("Etc/UTC", subscribers=[0.0])}, "subscribers"),
        ({"places": regions("Etc/UTC").iloc[:0]}, "subscribers"),
    ],
)
def test_arguments_out_of_range_are_refused_before_the_first_day(change, where):
    use = {"days": [FIRST], "volume": 10.0, "places": regions("Etc/UTC"), **change}
    with pytest.raises(InputError) as error:
        generate_playback(
            np.random.default_rng(0),
            plain_catalogue(2),
            use["places"],
            use["days"],
            load_laws(),
            sessions_per_day=use["volume"],
        )
    assert error.value.problems[0].column == where


def test_a_title_without_a_file_is_refused():
    sound = plain_catalogue(3)
    bare = build_catalogue(pd.DataFrame({"title": ["t0", "t1", "t2", "bare"]}), sound.files)
    with pytest.raises(InputError, match="bare"):
        generate_playback(np.random.default_rng(0), bare, regions("Etc/UTC"), [FIRST], load_laws(), sessions_per_day=9)


@pytest.mark.parametrize(("titles", "days"), [(0, 1), (1, 0)])
def test_an_empty_catalogue_is_refused(titles, days):
    with pytest.raises(InputError, match="count of 1 or more"):
        sample_catalogue(np.random.default_rng(0), titles, load_laws(), default_ladder(), first_day=FIRST, days=days)


def test_one_title_and_one_day_are_enough():
    rng = np.random.default_rng(0)
    titles, files = sample_catalogue(rng, 1, load_laws(), default_ladder(), first_day=FIRST, days=1)
    log = drawn(build_catalogue(titles, files), regions("Etc/UTC"), 1, load_laws(), 50)
    assert len(log) > 20
