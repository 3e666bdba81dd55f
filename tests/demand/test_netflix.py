"""The Netflix importer on small hand-made files: the law it fits is the one they were made by, shares worked out by hand, faults that are named."""

import dataclasses
import datetime as dt
import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demand.catalogue import read_catalogue
from demand.laws import Ageing, Watching
from demand.names import plain_name
from demand.netflix import import_netflix
from demand.netflix.files import FILM, SERIES, read_published
from demand.netflix.places import locate
from demand.netflix.ranks import fit_mandelbrot, fit_rank_laws
from demand.netflix.shares import daily_shares, fill_up, launches, list_works, listed_shares, weekly_shares
from demand.netflix.titles import cut_into_titles, title_table
from demand.playback import log_frame, playback_dates, validate_playback
from tests import netflix_files as small
from topology.errors import InputError
from topology.network import read_network

AGEING = Ageing(burst_days=5.0, tail_share=0.05, tail_days=100.0, tail_exponent=1.5)
COUNTRIES = pd.Index(["DE", "NA"])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return small.put_files(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def published(source):
    return read_published(source)


@pytest.fixture(scope="module")
def laws(published):
    return fit_rank_laws(published.worldwide, published.engagement)


def shares_of(published, laws, weeks):
    works = list_works(published, COUNTRIES, weeks)
    rows = listed_shares(published.lists, works, COUNTRIES, weeks[-1], laws)
    launch = launches(works, rows)
    flat = np.ones((len(COUNTRIES), len(works)))
    return works, launch, weekly_shares(rows, works, launch, weeks, laws, AGEING, flat)


def test_titles_are_the_same_across_files(published):
    assert set(published.lists["country"]) == {"DE", "NA"}
    assert (
        plain_name("Élite: Season 2 // Élite: Temporada 2")
        == plain_name("ELITE - Season 2")
        != plain_name("Elite: Season 1")
    )
    assert plain_name("조용한 바다") == plain_name("조용한 바다 // The Silent Sea")
    assert "tail 1 the film" in set(published.engagement["key"])


def test_the_fit_finds_the_law_the_hours_were_made_by(laws):
    for kind, part in ((FILM, 1 / 3), (SERIES, 2 / 3)):
        law = laws[kind]
        assert (law.exponent, law.shift) == pytest.approx((small.EXPONENT, small.SHIFT), rel=1e-3)
        assert law.top_share == pytest.approx(0.25 * part, rel=1e-6)
        assert law.r2 > 1 - 1e-9
        assert law.share(np.arange(1, 11)).sum() == pytest.approx(law.top_share)


@given(st.floats(0.3, 2.0), st.floats(0.0, 5.0), st.integers(8, 20))
def test_any_mandelbrot_law_is_found_again(exponent, shift, ranks):
    found = fit_mandelbrot(5.0 - exponent * np.log(np.arange(1, ranks + 1) + shift))
    fitted = -found[0] * np.log(np.arange(1, ranks + 1) + found[1])
    made = -exponent * np.log(np.arange(1, ranks + 1) + shift)
    assert np.ptp(fitted - made) < 0.01


def test_shares_of_a_week_by_hand(published, laws):
    works, _, shares = shares_of(published, laws, small.WEEKS[-2:])
    at = {key: i for i, key in enumerate(works["key"])}
    assert shares.sum(axis=2) == pytest.approx(np.ones((2, 2)))
    first = float(laws[FILM].share(1))
    assert shares[0, :, at["film 1 of de"]] == pytest.approx([first, first])
    assert shares[1, :, at["film 1 of de"]] == pytest.approx([0, 0])  # never listed in Namibia, and in no report
    # season 4 is second in the first of the two weeks (season - week + 1), first never after: gone from the list in the last
    assert shares[0, 0, at["saga of de season 4"]] == pytest.approx(laws[SERIES].share(1))
    assert shares[0, 1, at["saga of de season 5"]] == pytest.approx(laws[SERIES].share(1))
    eleventh = laws[SERIES].share(11)
    assert 0 < shares[0, 1, at["saga of de season 4"]] <= eleventh
    assert shares[0, 0, at["saga of de season 14"]] == 0  # comes with the last week
    assert "not yet" not in at
    # the tail shares what the lists leave, in the proportions of the report, none above the eleventh film
    tail = shares[0, 0, [at[f"tail {i} the film"] for i in range(1, 401)]]
    assert tail.max() <= laws[FILM].share(11) + 1e-12
    below = tail < laws[FILM].share(11) - 1e-12
    assert 100 < below.sum() < 400
    assert np.ptp(tail[below] * np.arange(1, 401)[below]) == pytest.approx(0, abs=1e-8)
    assert shares[0, 0].sum() - tail.sum() >= 0.25


def test_a_title_that_leaves_the_list_fades_as_the_law_of_ageing_says(published, laws):
    works, launch, shares = shares_of(published, laws, [small.LAST])
    at = {key: i for i, key in enumerate(works["key"])}
    one = at["saga of de season 1"]  # first in the first week, not listed since: four weeks ago
    assert launch[one] == np.datetime64(small.WEEKS[0]) - 6

    def mean(ages):
        return np.mean(AGEING.rate(np.array(ages, float)))

    raw = laws[SERIES].share(1) * mean(range(28, 35)) / mean(range(7))
    old = (small.LAST - dt.date(2015, 1, 1)).days
    first = (dt.date(2022, 7, 1) - dt.date(2015, 1, 1)).days
    in_report = works["share"].to_numpy()[at["tail 300 the film"]]
    tail = in_report * mean(range(old - 6, old + 1)) / mean(range(first, first + 184))
    assert shares[0, 0, one] < laws[SERIES].share(11) - 1e-9
    assert shares[0, 0, one] / shares[0, 0, at["tail 300 the film"]] == pytest.approx(raw / tail, rel=1e-9)


def test_days_of_a_week_add_up_and_nothing_is_watched_before_it_is_out(published, laws):
    works, launch, shares = shares_of(published, laws, small.WEEKS[-2:])
    days = [small.WEEKS[-2] - dt.timedelta(days=6 - i) for i in range(14)]
    daily = np.array(list(daily_shares(shares, launch, days, AGEING)))
    assert daily.shape == (14, *shares[:, 0].shape)
    assert daily[:7].sum(axis=0) == pytest.approx(7 * shares[:, 0])
    assert daily[7:].sum(axis=0) == pytest.approx(7 * shares[:, 1])
    new = list(works["key"]).index("saga of de season 14")  # out on Friday the 29th, listed that week
    assert launch[new] == np.datetime64("2022-07-29")
    assert not daily[:11, 0, new].any()
    assert (np.diff(daily[11:, 0, new]) < 0).all()


@given(
    st.lists(st.tuples(st.just(0.0) | st.floats(1e-6, 10), st.floats(0.01, 2)), min_size=1, max_size=12),
    st.floats(0.01, 10),
)
def test_fill_up_gives_the_one_multiple_that_fits(pairs, total):
    weight, cap = (np.array(column) for column in zip(*pairs, strict=True))
    made = fill_up(weight, cap, total)
    assert (made <= cap + 1e-12).all()
    assert not made[weight == 0].any()
    assert made.sum() == pytest.approx(min(total, cap[weight > 0].sum()))
    free = (made < cap - 1e-9) & (weight > 1e-6)
    ratio = made[free] / weight[free]
    assert ratio == pytest.approx(np.full(len(ratio), ratio[0] if len(ratio) else 0), rel=1e-6)
    if len(ratio):  # what is at its cap would have more
        assert (weight[(weight > 1e-6) & ~free] * ratio[0] >= cap[(weight > 1e-6) & ~free] - 1e-6).all()


def test_mean_length_of_a_session_is_that_of_drawn_ones():
    watching = Watching(shape=0.7, scale_minutes=40.0)
    drawn = 40.0 * np.random.default_rng(0).weibull(0.7, 400_000)
    for runtime in (5.0, 45.0, 120.0, 600.0):
        assert watching.mean_minutes(np.array([runtime]))[0] == pytest.approx(
            np.minimum(drawn, runtime).mean(), rel=0.01
        )


def test_seasons_are_cut_into_episodes_and_the_last_is_cut_short(published):
    works = pd.DataFrame(
        {
            "kind": [SERIES, FILM, SERIES, FILM],
            "name": ["Saga: Season 1", "Élan", "Saga; Season 1", "Nothing"],
            "show": ["saga", "", "saga", ""],
            "language": ["English", "Non-English", "", ""],
            "release_date": pd.to_datetime(["2022-01-01", None, None, None]),
            "runtime_minutes": [180.0, 90.0, np.nan, 100.0],
        }
    )
    cut = cut_into_titles(works, np.array([0.4, 0.2, 0.3, 0.0]), 7, published.engagement)
    assert cut.work.tolist() == [
        1,
        0,
        0,
        0,
        0,
        2,
        2,
    ]  # 0.2 a film, 0.1 an episode of four, 0.0375 an episode of eight (six hours)
    assert cut.episode.tolist() == [1, 1, 2, 3, 4, 1, 2]
    assert cut.episodes.tolist() == [1, 4, 4, 4, 4, 8, 8]
    assert cut.runtime_minutes.tolist() == [90, 45, 45, 45, 45, 45, 45]
    table = title_table(works, cut)
    assert table["title"].tolist()[:3] == ["elan", "saga-season-1-e01", "saga-season-1-e02"]
    assert table["title"].tolist()[-1] == "saga-season-1-2-e02"
    assert table["series"].tolist() == ["", *["saga"] * 6]
    assert table["release_date"].tolist()[:2] == ["", "2022-01-01"]
    assert table["language"].tolist() == ["Non-English", *["English"] * 4, "", ""]
    everything = cut_into_titles(works, np.array([0.4, 0.2, 0.3, 0.0]), 100, published.engagement)
    assert len(everything.work) == 13  # what nobody watches is left out


def test_seasons_of_a_show_are_of_one_series(published):
    works = list_works(published, COUNTRIES, small.WEEKS)
    sagas = works[works["key"].str.startswith("saga of de season")]
    assert len(sagas) > 5 and set(sagas["show"]) == {"saga of de"}
    assert set(works["show"][works["kind"] == FILM]) == {""}


def test_languages_are_those_of_earlier_global_lists_or_of_names_in_two_languages(published):
    """A list of the log's own weeks says nothing: it would tell which titles were going to be watched everywhere."""
    listed = published.worldwide.iloc[:2].assign(
        key=["film 3 of de", "film 4 of de"], language=["English", "Non-English"]
    )
    listed["week"] = pd.to_datetime([small.WEEKS[0], small.WEEKS[1]])
    told = dataclasses.replace(published, worldwide=pd.concat([published.worldwide, listed]))
    works = list_works(told, COUNTRIES, small.WEEKS[1:]).set_index("key")["language"]
    assert works["film 3 of de"] == "English"
    assert works["film 4 of de"] == ""
    assert works["tail 1 the film"] == "Non-English"
    assert works["saga of de season 14"] == ""


def test_regions_lie_in_the_country_of_the_nearest_city_and_follow_the_nearest_list(source, tmp_path):
    places = locate(source, read_network(small.put_network(tmp_path)), None, COUNTRIES)
    assert places.country.tolist() == ["DE", "NA", "DE", "NA"]  # Angola has no list
    assert places.timezone.tolist() == ["Europe/Berlin", "Africa/Luanda", "Europe/Berlin", "Africa/Windhoek"]
    # 72 million in Germany, 4 to 1 by cities near Berlin and Munich; 1.5 million in Namibia; 12 million in Angola
    assert places.subscribers.tolist() == pytest.approx([57_600_000, 12_000_000, 14_400_000, 1_500_000])


def test_without_tables_of_countries_the_network_says_how_many(tmp_path):
    source = small.put_files(tmp_path / "data", cities=None, countries=None, internet=None)
    network = read_network(small.put_network(tmp_path / "net"))
    places = locate(source, network, "NA", COUNTRIES)
    assert places.country.tolist() == ["NA"] * 4
    assert places.subscribers.tolist() == [1, 1, 1, 1]
    with pytest.raises(InputError, match="give --country"):
        locate(source, network, None, COUNTRIES)


def run(source, folder, **options):
    given = {"country": None, "week": small.LAST, "weeks": 2, "titles": 90, "sessions_per_day": 4000, "seed": 1}
    return import_netflix(source, folder, **(given | options))


def test_a_log_follows_the_lists_of_its_regions(source, tmp_path):
    folder = small.put_network(tmp_path)
    said = []
    counts = run(source, folder, progress=said.append)
    assert counts["days"] == 14
    assert counts["countries"] == 2
    assert counts["files"] == 10 * counts["titles"] == 900
    assert counts["sessions"] == pytest.approx(14 * 4000, rel=0.1)
    assert any("R²" in line for line in said)
    network, catalogue = read_network(folder), read_catalogue(folder)
    assert network.regions["subscribers"].sum() == pytest.approx(85.5e6)
    problems = []
    validate_playback(folder, network.region_ids, catalogue, problems)
    assert problems == []
    dates = playback_dates(folder)
    assert (dates[0], dates[-1]) == (small.LAST - dt.timedelta(days=13), small.LAST)
    log = pd.concat([log_frame(folder, date) for date in dates]).astype({"region": str, "title": str})
    assert log["region"].value_counts(normalize=True)["berlin"] == pytest.approx(57.6 / 85.5, abs=0.02)
    of_country = log["region"].map({"berlin": "de", "munich": "de", "windhoek": "na", "luanda": "na"})
    films = log["title"].str.startswith("film-").to_numpy()
    assert (log["title"].str[-2:].to_numpy()[films] == of_country.to_numpy()[films]).all()
    hours = log[of_country.to_numpy() == "de"].groupby("title")["seconds"].sum()
    ranked = [hours[f"film-{rank}-of-de"] for rank in (1, 3, 6, 10)]
    assert ranked == sorted(ranked, reverse=True)
    assert ranked[0] / ranked[3] == pytest.approx(float(small.law(1) / small.law(10)), rel=0.25)


def test_the_same_seed_gives_the_same_log_and_another_another(source, tmp_path):
    frames = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        folder = small.put_network(tmp_path / name)
        run(source, folder, seed=seed, weeks=1, sessions_per_day=300)
        frames.append(log_frame(folder, small.LAST))
    assert frames[0].equals(frames[1])
    assert not frames[0].equals(frames[2])


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"lists": None}, "all-weeks-countries: missing file"),
        ({"lists": small.lists_text([("Films\t3\t", "Films\t11\t")])}, "row 5, column weekly_rank: out of range, must be 1..10 (value '11')"),
        ({"lists": small.lists_text([("Films\t3\t", "Films\t2\t")])}, "row 5, column country_iso2: duplicate row"),
        ({"lists": small.lists_text([("2022-07-03", "2022-07-04")])}, "row 1, column week: not a Sunday (in 1 rows) (value '2022-07-04')"),
        ({"lists": small.lists_text([("\tTV\t", "\tShows\t")])}, "row 2, column category: not one of the allowed values (value 'Shows')"),
        ({"lists": small.lists_text().replace("weekly_rank", "rank")}, "column weekly_rank: missing column"),
        ({"lists": small.lists_text().replace("\t", ",")}, "separated by commas"),
        ({"lists": small.lists_text().encode("utf-16")}, "not UTF-8"),
        ({"worldwide": gzip.compress(small.worldwide_text().encode())[:-30]}, "not a whole gzip file"),
        ({"worldwide": small.worldwide_text().split("\n")[0] + "\n"}, "the table is empty"),
        ({"worldwide": small.worldwide_text().replace("2022-0", "2012-0").replace("07-31", "07-29").replace("07-03", "07-01").replace("07-10", "07-08").replace("07-17", "07-15").replace("07-24", "07-22")}, "share no week"),
        ({"report": small.report_text().replace("2022Jul-Dec", "2022H2", 1)}, "row 1, column Report: not a half-year (value '2022H2')"),
        ({"report": small.report_text().replace("2015-01-01", "01.01.2015", 1)}, "row 1, column Release Date: not a date (value '01.01.2015')"),
        ({"cities": small.CITIES.replace("52.5,13.4", "152.5,13.4")}, "row 1, column latitude"),
        ({"countries": small.COUNTRIES.replace("DE,DEU", "D1,DEU")}, "the country is missing (value 'DE')"),
        ({"internet": small.INTERNET.replace("2022,90", "2022,900", 1)}, "column Individuals: out of range"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_files_is_said_and_nothing_is_written(tmp_path, texts, said):
    source, folder = small.put_files(tmp_path / "data", **texts), small.put_network(tmp_path / "net")
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(InputError) as caught:
        run(source, folder)
    assert said in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert (folder / "regions.csv").read_text() == small.NETWORK["regions"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"country": "FR"}, "column --country: no list of this country in each of the weeks (value 'FR'). Mend: give one of DE, NA"),
        ({"week": dt.date(2022, 7, 30)}, "column --week: not a Sunday (value '2022-07-30'). Mend: weeks are named by the Sunday on which they end: --week 2022-07-31"),
        ({"week": dt.date(2022, 8, 7)}, "no lists of this week (value '2022-08-07'). Mend: the file has weeks from 2022-07-03 to 2022-07-31"),
        ({"weeks": 6}, "no lists of this week (value '2022-06-26')"),
        ({"titles": 0}, "column --titles: not a number of 1 or more (value '0')"),
        ({"sessions_per_day": float("nan")}, "column --sessions-per-day"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(source, tmp_path, options, said):
    folder = small.put_network(tmp_path)
    with pytest.raises(InputError) as caught:
        run(source, folder, **options)
    assert said in str(caught.value)
    assert not (folder / "playback").exists()


def test_a_second_copy_of_a_file_and_a_second_import_are_refused(source, tmp_path):
    folder = small.put_network(tmp_path / "net")
    run(source, folder, weeks=1, sessions_per_day=100)
    with pytest.raises(InputError, match=r"has a catalogue or a log already: titles\.csv, files\.csv, playback"):
        run(source, folder, weeks=1)
    twice = small.put_files(tmp_path / "data")
    (twice / "old").mkdir()
    (twice / "old" / "all-weeks-countries.tsv").write_text(small.lists_text(), "utf-8")
    with pytest.raises(InputError, match="there twice"):
        run(twice, small.put_network(tmp_path / "other"))
