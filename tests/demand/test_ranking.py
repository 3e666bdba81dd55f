"""Next week's lists: names, calendar, candidates that never look ahead, metrics worked out by hand."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.forecast import PerfectChoice, by_chance, by_source
from demand.forecast.calendar import ReleaseCalendar, build_calendar, read_calendar
from demand.forecast.candidates import Candidates, _largest, weekly_candidates
from demand.forecast.ranking import BoostedRanker, SameList, backtest_rankers, best_of, list_scores
from demand.forecast.toplists import TopLists, build_top_lists, read_top_lists
from demand.names import is_season, script_class, title_key
from tests.drawn_lists import WEEKS, made_up_calendar, made_up_frame
from topology.errors import InputError

SMALL = {"rounds": 5, "release_rounds": 5, "smallest_leaf": 5, "smallest_release_leaf": 5}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return made_up_frame()


@pytest.fixture(scope="module")
def lists(frame: pd.DataFrame) -> TopLists:
    return build_top_lists(frame)


@pytest.fixture(scope="module")
def calendar(frame: pd.DataFrame) -> ReleaseCalendar:
    return made_up_calendar(frame)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Money Heist: Part 5", ("money heist", 5)),
        ("Money Heist: Part Five", ("money heist", 5)),
        ("Nymphomaniac: Volume II", ("nymphomaniac", 2)),
        ("Stranger Things 4", ("stranger things", 4)),
        ("The Glory: Season 1 // 더 글로리: 시즌 1", ("the glory", 1)),
        ("Élite: Season 5", ("elite", 5)),
        ("Jack Whitehall: Travels with My Father: Season 5", ("jack whitehall travels with my father", 5)),
        ("Keep Breathing: Limited Series", ("keep breathing", 1)),
        ("Nadiya’s Time to Eat", ("nadiyas time to eat", 1)),
        ("Rebelde Way: Temporada 2", ("rebelde way", 2)),
        ("Pastewka: Staffel 10", ("pastewka", 10)),
        ("ID-0: シーズン1", ("id 0", 1)),
        ("1917", ("1917", 1)),
        ("Happiness", ("happiness", 1)),
    ],
)
def test_names_as_publishers_write_them_come_to_one_key(name: str, key: tuple[str, int]) -> None:
    assert title_key(name) == key


def test_kind_and_script_are_read_off_a_name() -> None:
    assert (
        is_season("Alba: Season 1")
        and is_season("Alba: Limited Series")
        and is_season("Un medico: Stagione 4")
        and not is_season("The Gray Man")
    )
    assert script_class("Hunger // คนหิว เกมกระหาย") != script_class("Nowhere // Tierra de nadie") == 1


def test_a_calendar_takes_simple_files_and_engagement_reports(tmp_path: Path) -> None:
    simple = tmp_path / "simple.csv"
    simple.write_text("release_date,title\n2022-08-05,The Sandman: Season 1\n2022-08-03,Buba\n,Undated\n")
    calendar = read_calendar(simple)
    assert calendar.names == ("Buba", "The Sandman: Season 1")
    assert calendar.is_season.tolist() == [False, True]
    report = tmp_path / "report.csv"
    report.write_text(
        "Report,Sheet,Title,Release Date,Hours Viewed\n"
        "a,Engagement,One Piece,2023-08-31,9\na,TV,One Piece,2023-08-31,5\nb,Film,Buba,2022-08-03,1\n"
    )
    calendar = read_calendar(report)
    assert calendar.names == ("Buba", "One Piece")
    assert calendar.is_season.tolist() == [False, True]
    report.write_text(report.read_text().replace(",9\n", ",1\n").replace(",5\n", ",12345\n"))
    assert read_calendar(report).names == calendar.names


@pytest.mark.parametrize("kind", ["", ",film"])
@pytest.mark.parametrize("last", ["", ","])
def test_commas_at_the_ends_of_rows_shift_no_column(tmp_path: Path, kind: str, last: str) -> None:
    path = tmp_path / "calendar.csv"
    head = "title,release_date" + (",kind" if kind else "")
    path.write_text(f"{head}\nBuba,2022-08-03{kind},\nAlba,2022-08-04{kind}{last}\nUndated,{kind},\n")
    calendar = read_calendar(path)
    assert calendar.names == ("Alba", "Buba")
    assert calendar.day.astype(str).tolist() == ["2022-08-04", "2022-08-03"]


def test_blanks_around_a_title_make_no_second_title_of_it(tmp_path: Path) -> None:
    """Its kind is told in the other row."""
    path = tmp_path / "calendar.csv"
    path.write_text("title,release_date,kind\nOne Piece ,2023-08-31,\nOne Piece,2023-08-31,TV\n")
    calendar = read_calendar(path)
    assert calendar.names == ("One Piece",)
    assert calendar.is_season.tolist() == [True]


def test_a_title_has_the_runtime_of_the_first_report_that_tells_it(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text(
        "Title,Release Date,Runtime,runtime_minutes\nBuba,2022-08-03,,\nBuba,2022-08-03,1:40,100\nBuba,2022-08-03,1:41,101\nAlba,2022-08-04,,\n"
    )
    calendar = read_calendar(path)
    assert calendar.names == ("Alba", "Buba")
    assert np.array_equal(calendar.minutes, [np.nan, 100.0], equal_nan=True)
    assert np.isnan(read_calendar(path, runtimes=False).minutes).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title,day\nA,2022-01-01\n", "release_date"),
        ("title,release_date\nA,2022-01-01\nB,soon\n", "row 2"),
        ("title,release_date,runtime_minutes\nA,2022-01-01,\nB,2022-01-02,0\n", "row 2, column runtime_minutes"),
        ("title,release_date,runtime_minutes\nA,2022-01-01,1:40\n", "row 1, column runtime_minutes"),
        ("Title,Release Date,title\nA,2022-01-01,B\n", "column title: the column is there twice"),
        ("", "not a CSV table"),
        ("title\nA\nB,2022-01-01,3,4\n", "not a CSV table"),
        ("release_date,title\n2022-01-01,The Good, the Bad\n", "more values than .* columns.*Mend: put titles"),
        ("title,release_date\n", "column release_date: no row has a date.*Mend: write the day"),
        ("title,release_date\nA,\nB, \n", "column release_date: no row has a date"),
        ("title,release_date\n,\nA,2022-01-01\n ,2022-01-02\n", "row 3, column title.*without a title"),
    ],
)
def test_a_broken_calendar_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "calendar.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_calendar(path)


def test_a_calendar_that_is_not_there_or_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_calendar(tmp_path / "none.csv")
    packed = gzip.compress(b"title,release_date\nA,2022-01-01\n" * 99)
    for data in (packed[:30], b"no gzip at all"):
        (tmp_path / "cut.csv.gz").write_bytes(data)
        with pytest.raises(InputError, match=r"cut\.csv\.gz"):
            read_calendar(tmp_path / "cut.csv.gz")


@pytest.mark.parametrize(
    ("column", "value"),
    [("week", "yesterday"), ("weekly_rank", "0"), ("weekly_rank", "1.5"), ("cumulative_weeks_in_top_10", "no"), ("category", "Radio")],
)  # fmt: skip
def test_a_broken_list_is_refused(tmp_path: Path, frame: pd.DataFrame, column: str, value: str) -> None:
    path = tmp_path / "lists.csv"
    broken = frame.astype({column: object})
    broken.loc[7, column] = value
    broken.to_csv(path, index=False)
    with pytest.raises(InputError, match=f"row 8, column {column}"):
        read_top_lists(path)


def test_namibia_is_a_country(tmp_path: Path, frame: pd.DataFrame) -> None:
    path = tmp_path / "lists.tsv.gz"
    frame.replace({"country_iso2": {"A": "NA"}}).to_csv(path, sep="\t", index=False)
    assert "NA" in read_top_lists(path).countries
    frame.drop(columns="week").to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match="week"):
        read_top_lists(path)


def described(candidates: Candidates) -> pd.DataFrame:
    """Pairs by country number and title name, which do not depend on what else a file holds."""
    table = pd.DataFrame(candidates.features, columns=list(candidates.names))
    table.insert(0, "country", candidates.country)
    table.insert(1, "title", [str(title_key(name)) for name in candidates.universe.names[candidates.title]])
    return table


@pytest.mark.parametrize("future", ["shuffled", "deleted", "renamed"])
@pytest.mark.parametrize("with_calendar", [False, True])
def test_the_future_changes_nothing(
    frame: pd.DataFrame, calendar: ReleaseCalendar, future: str, with_calendar: bool
) -> None:
    origin = 11
    day = pd.Timestamp("2022-01-02") + pd.Timedelta(weeks=origin)
    later = frame["week"] > day
    changed = frame.copy()
    if future == "deleted":
        changed = changed[~later]
    elif future == "renamed":
        changed.loc[later, "show_title"] = "New " + changed.loc[later, "show_title"]
        changed.loc[later, "season_title"] = changed.loc[later, "season_title"].where(
            changed.loc[later, "season_title"] == "N/A", "New " + changed.loc[later, "season_title"]
        )
    else:
        rng = np.random.default_rng(1)
        columns = ["show_title", "season_title", "cumulative_weeks_in_top_10"]
        for _, rows in changed[later].groupby("category"):
            changed.loc[rows.index, columns] = changed.loc[rng.permutation(rows.index), columns].to_numpy()
    planned = calendar if with_calendar else None
    scored = []
    for source in (frame, changed):
        weeks = weekly_candidates(build_top_lists(source), planned)
        ranker = BoostedRanker(rounds=10, smallest_leaf=5, smallest_release_leaf=5).fit(
            [c for c in weeks if c.week < origin]
        )
        scored.append([described(c).assign(score=ranker.score(c)) for c in weeks if c.week == origin])
    assert sum(len(table) for table in scored[0]) > 100
    for before, after in zip(*scored, strict=True):
        pd.testing.assert_frame_equal(before, after)


def test_the_calendar_beyond_next_week_changes_nothing(frame: pd.DataFrame) -> None:
    """Releases after the week that is forecast are taken out, and their runtimes changed; one of next week is seen."""
    origin, lists = 8, build_top_lists(frame)
    season = frame["season_title"] != "N/A"
    named = frame.assign(name=frame["season_title"].where(season, frame["show_title"]), season=season)
    releases = named.groupby(["name", "season"])["week"].min().reset_index()
    releases["day"] = releases["week"].dt.date
    releases["minutes"] = 30.0 + 7 * np.arange(len(releases))
    horizon = pd.Timestamp("2022-01-02") + pd.Timedelta(weeks=origin + 1)
    later = (releases["week"] > horizon).to_numpy()
    assert 5 < later.sum() < len(later) - 5
    longer = releases.assign(minutes=np.where(later, 999.0, releases["minutes"]))
    near = releases.assign(minutes=np.where(releases["week"] == horizon, 999.0, releases["minutes"]))

    def told(planned: pd.DataFrame) -> pd.DataFrame:
        weeks = weekly_candidates(lists, build_calendar(planned))
        return pd.concat([described(c) for c in weeks if c.week == origin], ignore_index=True)

    before = told(releases)
    pd.testing.assert_frame_equal(before, told(releases[~later]))
    pd.testing.assert_frame_equal(before, told(longer))
    assert not before.equals(told(near))


@pytest.mark.parametrize(("week", "seen"), [(400, WEEKS), (11, 10), (-400, 0)])
@pytest.mark.parametrize("minutes", [50.0, np.nan])
def test_another_release_of_a_title_changes_nothing_before_it(
    lists: TopLists, calendar: ReleaseCalendar, week: int, seen: int, minutes: float
) -> None:
    """All titles come out in that week, too, with a name in another script and another runtime, first in the calendar's order: seen from the week before on, of years later never."""
    once = pd.DataFrame({"name": calendar.names, "day": calendar.day, "season": calendar.is_season, "minutes": minutes})
    also = once.assign(name=once["name"] + " // 한국어", day=np.datetime64("2022-01-02") + 7 * week - 2, minutes=999.0)
    before, after = (weekly_candidates(lists, build_calendar(releases)) for releases in (once, pd.concat([also, once])))
    for old, new in zip(before, after, strict=True):
        same = described(old).equals(described(new))
        assert same == (old.week < seen)
        assert same or not np.array_equal(old.column("runtime"), new.column("runtime"))


@pytest.mark.parametrize("kept", ["films", "none"])
def test_a_calendar_may_lack_a_category(lists: TopLists, calendar: ReleaseCalendar, kept: str) -> None:
    """Both categories are described alike, and learnt from together, where the calendar has releases of one only, or of none."""
    rows = ~calendar.is_season & (kept == "films")
    names = [name for name, row in zip(calendar.names, rows, strict=True) if row]
    some = build_calendar(pd.DataFrame({"name": names, "day": calendar.day[rows], "season": calendar.is_season[rows]}))
    weeks = weekly_candidates(lists, some)
    assert len({candidates.names for candidates in weeks}) == 1
    table = backtest_rankers(weeks, [BoostedRanker(smallest_leaf=5, smallest_release_leaf=5)], origins=2)
    assert 0 < table["precision_at_10"].item() <= 1


def test_the_past_changes_something(frame: pd.DataFrame) -> None:
    """The guard of the test above: a change at the origin is seen."""
    changed = frame.copy()
    at = changed["week"] == pd.Timestamp("2022-03-20")
    changed.loc[at, "weekly_rank"] = 11 - changed.loc[at, "weekly_rank"]
    before, after = (
        next(c for c in weekly_candidates(build_top_lists(source), None) if c.week == 11) for source in (frame, changed)
    )
    assert not np.array_equal(before.features, after.features)


def test_titles_of_the_calendar_are_candidates_before_any_list_shows_them(
    lists: TopLists, calendar: ReleaseCalendar
) -> None:
    with_one, without = (
        [c for c in weekly_candidates(lists, planned) if c.next_rank is not None] for planned in (calendar, None)
    )

    def recall(weeks: list[Candidates]) -> float:
        return sum((c.next_rank > 0).sum() for c in weeks) / sum(c.next_size.sum() for c in weeks)  # type: ignore[union-attr]

    assert recall(with_one) == 1.0
    assert recall(without) < 0.95
    flop = [c for c in weeks_of(with_one, "Flop") if c.universe.category == 0]
    assert flop and all((c.next_rank[c.universe.names[c.title] == "Flop"] == 0).all() for c in flop)  # type: ignore[index]


def weeks_of(weeks: list[Candidates], name: str) -> list[Candidates]:
    return [c for c in weeks if (c.universe.names[c.title] == name).any()]


def test_a_release_is_scored_by_the_list_that_shows_it(
    lists: TopLists, calendar: ReleaseCalendar, frame: pd.DataFrame
) -> None:
    """Outcomes of calendar titles equal the ranks of the file, looked up by name."""
    rank_of = frame.assign(
        name=frame["season_title"].where(frame["season_title"] != "N/A", frame["show_title"])
    ).set_index(["week", "country_iso2", "name"])["weekly_rank"]
    checked = 0
    for c in weekly_candidates(lists, calendar):
        if c.next_rank is None:
            continue
        week = pd.Timestamp(lists.weeks[c.week + 1])
        for n in np.flatnonzero(c.title >= c.universe.listed)[:40]:
            key = (week, lists.countries[c.country[n]], c.universe.names[c.title[n]])
            assert c.next_rank[n] == int(rank_of.get(key, 0))
            checked += 1
    assert checked > 100


def test_last_value_repeats_the_list(lists: TopLists, frame: pd.DataFrame) -> None:
    """Its precision is the overlap of consecutive lists, counted by sets."""
    table = backtest_rankers(weekly_candidates(lists, None), [SameList()], origins=5)
    name = frame["season_title"].where(frame["season_title"] != "N/A", frame["show_title"])
    sets = {key: set(part) for key, part in name.groupby([frame["week"], frame["country_iso2"], frame["category"]])}
    days = sorted(set(frame["week"]))
    overlap = [
        len(sets[days[w], country, category] & sets[days[w - 1], country, category]) / 10
        for w in range(WEEKS - 5, WEEKS) for country in "ABCDE" for category in ("Films", "TV")
    ]  # fmt: skip
    assert table["precision_at_10"].item() == pytest.approx(np.mean(overlap))
    assert table["lists"].item() == len(overlap)


def test_scores_of_a_list_by_hand(lists: TopLists) -> None:
    """A forecast that has the ten titles in order scores 1; one whose only hit is the best title, in second place, 0.1 and its discount."""
    week = next(c for c in weekly_candidates(lists, None) if c.week == 9)
    assert week.next_rank is not None
    perfect = np.where(week.next_rank > 0, -week.next_rank.astype(float), -np.inf)
    precision, ndcg = list_scores(week, perfect)
    found = np.bincount(week.country[week.next_rank > 0], minlength=5)
    assert precision.tolist() == pytest.approx((found / 10).tolist())
    discount = 1 / np.log2(np.arange(2, 12))
    ideal = (np.arange(10, 0, -1) * discount).sum()
    assert ndcg.max() <= 1.0 + 1e-12
    second = np.full(len(week.title), -np.inf)
    for country in range(5):
        own = week.country == country
        second[np.flatnonzero(own & (week.next_rank == 0))[0]] = 2.0
        second[own & (week.next_rank == 1)] = 1.0
    precision, ndcg = list_scores(week, second)
    has_best = np.bincount(week.country[week.next_rank == 1], minlength=5)
    assert precision.tolist() == pytest.approx((0.1 * has_best).tolist())
    assert ndcg.tolist() == pytest.approx((has_best * 10 * discount[1] / ideal).tolist())


@pytest.mark.parametrize("titles", [0, 2, 3, 4, 30])
def test_the_largest_of_a_row_are_those_that_fewer_exceed(titles: int) -> None:
    """By counting; rows of ties, of fewer values above 0 than asked for, and columns without any."""
    values = np.random.default_rng(titles).integers(-6, 5, (8, titles)).clip(0) * (np.arange(titles) % 3 > 0)
    exceeding = (values[:, None, :] > values[:, :, None]).sum(axis=2)
    assert np.array_equal(_largest(values.astype(float), 3), (values > 0) & (exceeding < 3))


def test_ties_go_to_the_earlier_candidate(lists: TopLists) -> None:
    week = weekly_candidates(lists, None)[0]
    chosen, place = best_of(week, np.zeros(len(week.title)), length=2)
    first = np.searchsorted(week.country, np.arange(5))
    assert chosen.tolist() == np.stack([first, first + 1], axis=1).ravel().tolist()
    assert place.tolist() == [0, 1] * 5


def test_what_can_be_learnt_is_learnt(lists: TopLists, calendar: ReleaseCalendar) -> None:
    """The made-up lists follow their titles' strength and age, so that a ranker must beat the repeated list, and equal runs agree."""
    weeks = weekly_candidates(lists, calendar)
    ranker = BoostedRanker(rounds=60, smallest_leaf=10, smallest_release_leaf=10, leaves=7)
    table = backtest_rankers(weeks, [SameList(), ranker, ranker], origins=4).set_index("model")
    assert (table.loc["boosted", "precision_at_10"] > table.loc["last-value", "precision_at_10"] + 0.03).all()
    assert table.loc["boosted", "precision_at_10"].nunique() == 1
    assert table.loc["boosted", "ndcg_at_10"].nunique() == 1


def test_what_knowing_the_entries_of_one_source_would_gain(lists: TopLists, calendar: ReleaseCalendar) -> None:
    """Nothing for one who knows all already; for the repeated list what it misses, source by source."""
    weeks = weekly_candidates(lists, calendar)
    for source in by_source(weeks, PerfectChoice(), 4).values():
        assert source["points if known"] == pytest.approx(0.0)
        assert source["chosen and came"] == pytest.approx(source["candidates that came"])
    same = by_source(weeks, SameList(), 4)
    assert same["stays"]["points if known"] == pytest.approx(
        0.0
    )  # all of them stand in it, and nothing takes the places of those that go
    assert same["new, in the calendar"]["points if known"] > 0
    assert same["stays"]["chosen"] == pytest.approx(10.0)


@pytest.mark.parametrize("origins", [0, 99])
def test_too_many_origins_are_refused(lists: TopLists, origins: int) -> None:
    with pytest.raises(InputError, match="origins"):
        backtest_rankers(weekly_candidates(lists, None), [SameList()], origins=origins)


def test_the_days_since_the_season_before_are_read_off_the_calendar(frame: pd.DataFrame) -> None:
    """By hand: a series of three seasons, of which only one lies within the lists, and one whose first season is no season of its own list."""
    named = [("Saga: Season 1", "2019-03-01"), ("Saga: Season 2", "2021-03-01"), ("Saga: Season 3", "2022-03-01"), ("Debut: Season 1", "2022-03-02"), ("Saga: Season 4", "2022-12-01")]  # fmt: skip
    planned = build_calendar(
        pd.DataFrame(
            {"name": [n for n, _ in named], "day": [pd.Timestamp(d).date() for _, d in named], "season": [True] * 5}
        )
    )
    tv = [c for c in weekly_candidates(build_top_lists(frame), planned) if c.universe.category == 1]
    due = next(c for c in tv if (c.universe.names[c.title] == "Saga: Season 3").any())
    gaps = {name: set(due.column("season_gap")[due.universe.names[due.title] == name]) for name, _ in named}
    assert gaps["Saga: Season 3"] == {365.0}
    assert gaps["Debut: Season 1"] == {-1.0}
    assert gaps["Saga: Season 4"] == set()  # not known of as a candidate yet, nor in the gap of another


def test_releases_are_learnt_from_longer_than_lists(lists: TopLists, calendar: ReleaseCalendar) -> None:
    """Equal scores, to the bit, of whichever kind does not depend on the weeks that were left out."""
    weeks = [c for c in weekly_candidates(lists, calendar) if c.next_rank is not None]
    asked = next(c for c in weeks if c.week == 13 and c.universe.category == 0)
    unseen = (asked.column("released_next") > 0) & (asked.column("since_first_anywhere") < 0)
    past = [c for c in weeks if c.week < 13]
    full, short, both = (
        BoostedRanker(**SMALL, weeks=w, release_weeks=r).fit(past).score(asked) for w, r in ((99, 99), (4, 99), (4, 4))
    )
    assert unseen.any() and not unseen.all()
    assert np.array_equal(full[unseen], short[unseen]) and not np.array_equal(full[~unseen], short[~unseen])
    assert np.array_equal(short[~unseen], both[~unseen]) and not np.array_equal(short[unseen], both[unseen])


def test_a_missing_week_has_no_outcome(frame: pd.DataFrame) -> None:
    gap = build_top_lists(frame[frame["week"] != pd.Timestamp("2022-02-27")])
    weeks = weekly_candidates(gap, None)
    assert [c.next_rank is None for c in weeks if c.week == 7] == [True, True]
    assert [c.next_rank is None for c in weeks if c.week == 8] == [False, False]


@pytest.fixture(scope="module")
def gaps(frame: pd.DataFrame) -> TopLists:
    """The TV list of country B is missing in one week."""
    return build_top_lists(
        frame[(frame["week"] != HOLE) | (frame["country_iso2"] != "B") | (frame["category"] != "TV")]
    )


HOLE = pd.Timestamp("2022-03-06")
"""End of week 9."""


def test_what_is_not_known_to_have_come_is_not_learnt_from(gaps: TopLists, calendar: ReleaseCalendar) -> None:
    """Equal scores, to the bit, whatever the candidates of the missing list were: they did not stay away."""
    weeks = [c for c in weekly_candidates(gaps, calendar) if c.next_rank is not None]

    def spoilt(candidates: Candidates) -> Candidates:
        unknown = candidates.next_size[candidates.country] == 0  # type: ignore[index]
        return replace(candidates, features=np.where(unknown[:, None], 77.0, candidates.features).astype(np.float32))

    past, asked = weeks[:-2], weeks[-2:]
    other = [spoilt(candidates) for candidates in past]
    changed = [c.week for c, d in zip(past, other, strict=True) if not np.array_equal(c.features, d.features)]
    assert changed == [8, 9]
    before, after = (BoostedRanker(**SMALL).fit(learnt) for learnt in (past, other))
    assert before.lessons is not None and before.lessons.releases is not None
    for candidates in asked:
        assert before.score(candidates).tobytes() == after.score(candidates).tobytes()


def test_a_missing_list_is_no_launch_that_failed(gaps: TopLists, calendar: ReleaseCalendar) -> None:
    tv = {c.week: c for c in weekly_candidates(gaps, calendar) if c.universe.category == 1}
    out = [season and day > HOLE - pd.Timedelta(days=7) and day <= HOLE for season, day in zip(calendar.is_season, calendar.day, strict=True)]  # fmt: skip
    assert any(out)

    def rates(week: int, country: int) -> set[float]:
        return set(tv[week].column("launch_rate")[tv[week].country == country].tolist())

    assert len(rates(8, 1)) == 1 and rates(9, 1) == rates(8, 1)
    assert rates(9, 0) != rates(8, 0)


def test_weeks_to_learn_from_are_counted_from_the_last_outcome(lists: TopLists, calendar: ReleaseCalendar) -> None:
    """A forecast of the week to come learns from as many weeks as the backtest does, which is given none without an outcome."""
    weeks = weekly_candidates(lists, calendar)
    known = [c for c in weeks if c.next_rank is not None]
    assert len(known) < len(weeks)
    for count in (1, 3):
        live, tested = (BoostedRanker(**SMALL, weeks=count, release_weeks=count).fit(past) for past in (weeks, known))
        assert live.score(weeks[-1]).tobytes() == tested.score(weeks[-1]).tobytes()


def test_chances_are_held_against_what_came(lists: TopLists, calendar: ReleaseCalendar) -> None:
    """Means by hand over all places; the bins hold each place once."""
    weeks = weekly_candidates(lists, calendar)
    ranker = BoostedRanker(rounds=20, release_rounds=10, smallest_leaf=10, smallest_release_leaf=10, leaves=7)
    table = by_chance(weeks, ranker, 3)
    bins = [row for name, row in table.items() if " to " in name]
    assert sum(row["places"] for row in bins) == table["all"]["places"] == 3 * 10 * 10
    assert sum(row["places"] * row["came"] for row in bins) / 300 == pytest.approx(table["all"]["came"])
    tested = sorted({c.week for c in weeks if c.next_rank is not None})[-3:]
    precision = np.concatenate([list_scores(c, ranker.score(c))[0] for c in weeks if c.week in tested])
    assert table["all"]["came"] == pytest.approx(precision.mean())
    assert 0 < table["new, in the calendar"]["places"] < 300
