"""Models of published lists and of growth come back from disk as they were; what is damaged or meant for something else is refused by name."""

import ctypes
import datetime as dt
import importlib.abc
import json
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from demand.forecast import FORECASTERS, available_forecasters, load_forecaster, make_forecaster, save_forecaster
from demand.forecast.base import Learned
from demand.forecast.candidates import Candidates, weekly_candidates
from demand.forecast.growth import GrowthModel, Steps, load_growth, series_steps
from demand.forecast.lists import (
    forecast_lists,
    load_list_model,
    make_list_model,
    read_lists_before,
    usual_list_model,
)
from demand.forecast.ranking import BoostedRanker, SameList
from demand.forecast.toplists import build_top_lists
from tests.drawn_lists import WEEKS, made_up_calendar, made_up_frame
from tests.drawn_logs import draw
from topology.errors import InputError

SMALL = {"rounds": 12, "release_rounds": 8, "smallest_leaf": 5, "smallest_release_leaf": 5, "leaves": 5}
FRAME = made_up_frame()
LISTS = build_top_lists(FRAME)
CALENDAR = made_up_calendar(FRAME)
LAST = dt.date(2022, 1, 2) + dt.timedelta(weeks=WEEKS - 1)
boosted_by_calendar = pytest.mark.parametrize("dated", [False, True], ids=["no calendar", "calendar"])


@pytest.fixture(scope="module")
def weeks() -> dict[bool, list[Candidates]]:
    """Candidates without a calendar and with one."""
    return {dated: weekly_candidates(LISTS, CALENDAR if dated else None) for dated in (False, True)}


def fitted(weeks: list[Candidates], dated: bool) -> BoostedRanker:
    return BoostedRanker(name=usual_list_model(dated=dated), seed=4, linear=0.4, **SMALL).fit(weeks)  # type: ignore[arg-type]


def growth() -> tuple[GrowthModel, Steps]:
    rng = np.random.default_rng(3)
    value = rng.lognormal(5, 1, (60, 12)) * 0.8 ** np.arange(12)
    at = np.indices(value.shape).reshape(2, -1)
    rows = series_steps(at[0], at[1], value.ravel(), {}, season=4, group=np.zeros(value.size, np.int64))
    return GrowthModel(rounds=12, leaves=4, smallest_leaf=5, seed=9).fit(rows), rows


@boosted_by_calendar
def test_a_saved_ranker_scores_as_the_one_that_was_saved(
    weeks: dict[bool, list[Candidates]], dated: bool, tmp_path: Path
) -> None:
    ranker = fitted(weeks[dated], dated)
    save_forecaster(ranker, tmp_path / "model")
    loaded = load_list_model(tmp_path / "model")
    assert isinstance(loaded, BoostedRanker) and loaded.name == ranker.name
    assert (loaded.seed, loaded.linear, loaded.rounds) == (4, 0.4, 12)
    kinds = set()
    for candidates in weeks[dated][-8:]:
        before, after = ranker.score(candidates), loaded.score(candidates)
        assert before.tobytes() == after.tobytes()
        kinds.add(len(np.unique(before)) > 5)
    assert kinds == {True}
    assert (ranker.lessons.releases is not None) == dated  # type: ignore[union-attr]
    again = BoostedRanker(**{name: getattr(loaded, name) for name in ("seed", "linear", *SMALL)}).fit(weeks[dated])
    assert again.score(weeks[dated][-1]).tobytes() == ranker.score(weeks[dated][-1]).tobytes()


def test_the_repeated_list_can_be_saved_too(weeks: dict[bool, list[Candidates]], tmp_path: Path) -> None:
    save_forecaster(SameList(), tmp_path)
    loaded, asked = load_list_model(tmp_path), weeks[False][-1]
    assert loaded == SameList()
    assert loaded.score(asked).tobytes() == SameList().score(asked).tobytes()


def test_a_saved_model_of_growth_predicts_as_the_one_that_was_saved(tmp_path: Path) -> None:
    model, rows = growth()
    save_forecaster(model, tmp_path)
    loaded = load_growth(tmp_path)
    for before, after in zip(model.predict(rows), loaded.predict(rows), strict=True):
        assert before.tobytes() == after.tobytes()
    assert (loaded.name, loaded.rounds, loaded.seed) == ("growth", 12, 9)
    other = series_steps(
        np.zeros(3, int), np.arange(3), np.ones(3), {"rank": np.ones(3)}, season=4, group=np.zeros(3, int)
    )
    with pytest.raises(InputError, match=r"other features of a step \(rank\)"):
        loaded.predict(other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n: n.update(widening=n.pop("margin")), "by an earlier version, whose bands were widened by a factor.*Mend: fit"),
        (lambda n: n.update(margin=float("nan")), "margin of the band is not finite"),
        (lambda n: n.pop("margin"), "margin"),
    ],
    ids=["factor", "not finite", "gone"],
)  # fmt: skip
def test_a_model_of_growth_with_another_width_of_its_band_is_refused(
    change: Callable[[dict[str, Any]], None], said: str, tmp_path: Path
) -> None:
    learned = growth()[0].learned()
    numbers = dict(learned.numbers)
    change(numbers)

    class Other:
        name = "growth"

        def learned(self) -> Learned:
            return Learned(kind="growth", numbers=numbers, texts=learned.texts)

    save_forecaster(Other(), tmp_path)
    with pytest.raises(InputError, match=said):
        load_growth(tmp_path)


def test_what_was_not_fitted_is_not_saved(tmp_path: Path) -> None:
    for model in (BoostedRanker(), GrowthModel()):
        with pytest.raises(InputError, match="nothing was learnt"):
            save_forecaster(model, tmp_path / "model")
        assert not (tmp_path / "model").exists()
    with pytest.raises(InputError, match="nothing was learnt"):
        GrowthModel().predict(growth()[1])


@boosted_by_calendar
def test_a_ranker_is_not_used_on_candidates_of_another_form(weeks: dict[bool, list[Candidates]], dated: bool) -> None:
    ranker = fitted(weeks[dated], dated)
    said = (
        "learnt with a release calendar, used without one" if dated else "learnt without a release calendar, used with"
    )
    with pytest.raises(InputError, match=said):
        ranker.score(weeks[not dated][-1])
    with pytest.raises(InputError, match=said):
        forecast_lists(LISTS, None if dated else CALENDAR, ranker, fit=False)
    films = build_top_lists(FRAME[FRAME["category"] == "Films"])
    with pytest.raises(InputError, match="learnt from lists of Films and TV, asked for lists of Films"):
        ranker.score(weekly_candidates(films, CALENDAR if dated else None)[-1])


@pytest.mark.parametrize("part", ["model.json", "arrays.npz", "listed_trees.txt", "releases_trees.txt", "features.txt"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_part_is_named(weeks: dict[bool, list[Candidates]], part: str, damage: str, tmp_path: Path) -> None:
    save_forecaster(fitted(weeks[True], True), tmp_path)
    path = tmp_path / part
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        half = len(data) // 2
        path.write_bytes(data[:half] if damage == "cut" else data[:half] + b"\xff" + data[half + 1 :])
    with pytest.raises(InputError, match="not a saved forecaster"):
        load_list_model(tmp_path)


BROKEN = {
    "a number is missing": lambda n, a, t: n.pop("linear"),
    "a number is none": lambda n, a, t: n.update(rounds="many"),
    "a part above one": lambda n, a, t: n.update(linear=float("nan")),
    "an array is missing": lambda n, a, t: a.pop("releases_slope"),
    "an array is too narrow": lambda n, a, t: a.update(listed_centre=a["listed_centre"][:, :-1]),
    "a number is not finite": lambda n, a, t: a.update(listed_intercept=a["listed_intercept"] * np.nan),
    "a scale of nothing": lambda n, a, t: a.update(listed_scale=np.zeros_like(a["listed_scale"])),
    "other features": lambda n, a, t: t.update(features=t["features"] + "\nweather"),
    "no features": lambda n, a, t: t.pop("features"),
    "no trees in the text": lambda n, a, t: t.update(listed_trees="tree\n"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_parts_that_do_not_fit_are_refused(weeks: dict[bool, list[Candidates]], fault: str, tmp_path: Path) -> None:
    """As whoever writes such a folder with other tools might: the checksums hold, the content does not."""
    learned = fitted(weeks[True], True).learned()
    numbers, arrays, texts = dict(learned.numbers), dict(learned.arrays), dict(learned.texts)
    BROKEN[fault](numbers, arrays, texts)

    class Spoilt:
        name = "boosted-calendar"

        def learned(self) -> Learned:
            return Learned(kind="lists", numbers=numbers, arrays=arrays, texts=texts)

    save_forecaster(Spoilt(), tmp_path)
    with pytest.raises(InputError, match="not a saved forecaster"):
        load_list_model(tmp_path)


def test_models_of_something_else_are_refused_by_name(weeks: dict[bool, list[Candidates]], tmp_path: Path) -> None:
    """Both a ranker and a daily forecaster are called boosted."""
    save_forecaster(fitted(weeks[False], False), tmp_path / "lists")
    save_forecaster(make_forecaster("boosted").fit(draw(days=12, regions=2, titles=8).history), tmp_path / "daily")
    save_forecaster(growth()[0], tmp_path / "growth")
    with pytest.raises(InputError, match=r"'boosted' is a model of published lists, not of a network's demand.*Mend"):
        load_forecaster(tmp_path / "lists")
    with pytest.raises(InputError, match=r"'boosted' is a model of a network's demand, not of published lists.*Mend"):
        load_list_model(tmp_path / "daily")
    with pytest.raises(InputError, match="'growth' is a model of the growth of series"):
        load_list_model(tmp_path / "growth")
    with pytest.raises(InputError, match="not of the growth of series"):
        load_growth(tmp_path / "lists")


def test_a_folder_of_the_form_before_is_refused(tmp_path: Path) -> None:
    save_forecaster(SameList(), tmp_path)
    document = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(document | {"format": 1}))
    with pytest.raises(InputError, match="format 1, this version reads 2"):
        load_list_model(tmp_path)


@pytest.mark.parametrize("module", ["ranking", "growth", "boosting"])
def test_without_lightgbm_the_extra_is_named(
    weeks: dict[bool, list[Candidates]], module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    fits = {
        "ranking": lambda: BoostedRanker().fit(weeks[False]),
        "growth": lambda: growth(),
        "boosting": lambda: make_forecaster("boosted").fit(draw(days=20, regions=2, titles=8).history),
    }
    with pytest.raises(InputError, match=r"pip install 'fillplan\[forecast\]'"):
        fits[module]()
    with pytest.raises(InputError, match="last-value"):
        make_list_model("boosted")


@pytest.fixture
def no_libgomp(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightGBM as it is on a system without OpenMP: found, and an OSError when it loads its shared library."""

    class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
            return ModuleSpec(name, self) if name == "lightgbm" else None

        def exec_module(self, module: ModuleType) -> None:
            ctypes.CDLL("libgomp-of-no-system.so.1")

    for name in [name for name in sys.modules if name.split(".")[0] == "lightgbm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])


@pytest.mark.usefixtures("no_libgomp")
def test_without_the_library_of_the_system_the_mend_is_named() -> None:
    said = r"libgomp-of-no-system\.so\.1: cannot open.*Mend: install .*libgomp1"
    with pytest.raises(InputError, match=f"{said}.*or choose the model last-value"):
        make_list_model("boosted")
    with pytest.raises(InputError, match=f"{said}.*or choose the model pooled"):
        make_forecaster("boosted").fit(draw(days=20, regions=2, titles=8).history)
    with pytest.raises(InputError, match=said):
        growth()
    assert set(FORECASTERS) - set(available_forecasters()) == {"boosted", "ensemble"}


def test_forecasters_whose_library_is_missing_are_not_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    assert set(FORECASTERS) - set(available_forecasters()) == {"autoets", "mstl"}
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert set(FORECASTERS) - set(available_forecasters()) == {"autoets", "mstl", "boosted", "ensemble"}


# --- the forecast itself ---


def test_the_table_of_a_forecast(weeks: dict[bool, list[Candidates]]) -> None:
    made = forecast_lists(LISTS, CALENDAR, BoostedRanker(name="boosted-calendar", **SMALL), origins=2)  # type: ignore[arg-type]
    table = made.table
    assert list(table) == ["week", "country", "category", "rank", "title", "chance", "weeks_before"]
    assert set(table["week"]) == {made.week} == {LAST + dt.timedelta(days=7)}
    lists = table.groupby(["country", "category"])
    assert lists.ngroups == 10 and (lists["rank"].agg(list).map(lambda ranks: ranks == list(range(1, 11)))).all()
    assert (lists["chance"].diff().dropna() <= 0).all() and table["chance"].between(0, 1).all()
    assert not table.duplicated(["country", "category", "title"]).any()
    counted = FRAME.assign(
        title=FRAME["season_title"].where(FRAME["season_title"] != "N/A", FRAME["show_title"])
    ).groupby(["country_iso2", "title"])
    times = counted.size()
    assert [times.get((row.country, row.title), 0) for row in table.itertuples()] == table["weeks_before"].tolist()
    assert made.backtest["model"].tolist() == ["boosted-calendar", "last-value"]


def test_last_value_repeats_the_last_list_and_tells_no_chance() -> None:
    table = forecast_lists(LISTS, None, SameList()).table
    assert table["chance"].isna().all()
    last = FRAME[FRAME["week"] == pd.Timestamp(LAST)]
    title = last["season_title"].where(last["season_title"] != "N/A", last["show_title"])
    want = dict(zip(zip(last["country_iso2"], last["category"], last["weekly_rank"], strict=True), title, strict=True))
    assert (
        dict(zip(zip(table["country"], table["category"], table["rank"], strict=True), table["title"], strict=True))
        == want
    )


def test_countries_without_a_list_in_the_last_week_have_none() -> None:
    gone = (FRAME["week"] == pd.Timestamp(LAST)) & (FRAME["country_iso2"] == "B") & (FRAME["category"] == "TV")
    made = forecast_lists(build_top_lists(FRAME[~gone]), None, BoostedRanker(**SMALL))  # type: ignore[arg-type]
    assert made.table.groupby("country")["category"].nunique().to_dict() == {"A": 2, "B": 1, "C": 2, "D": 2, "E": 2}


def test_a_loaded_model_that_knows_later_lists_is_refused(weeks: dict[bool, list[Candidates]]) -> None:
    ranker = fitted(weeks[False], False)
    assert np.datetime64(ranker.lessons.until, "D") == np.datetime64(LAST)  # type: ignore[union-attr]
    earlier = build_top_lists(FRAME[FRAME["week"] < pd.Timestamp(LAST)])
    with pytest.raises(InputError, match=f"learnt from lists up to {LAST}"):
        forecast_lists(earlier, None, ranker, fit=False)
    assert len(forecast_lists(LISTS, None, ranker, fit=False).table) == 100


def test_a_backtest_leaves_a_loaded_model_as_it_is(weeks: dict[bool, list[Candidates]]) -> None:
    ranker = fitted(weeks[False], False)
    before = forecast_lists(LISTS, None, ranker, fit=False).table
    tested = forecast_lists(LISTS, None, ranker, fit=False, origins=3)
    pd.testing.assert_frame_equal(tested.table, before)
    assert len(tested.backtest) == 2


def test_origins_are_fewer_where_lists_are_short() -> None:
    def short(weeks: int, origins: int) -> pd.DataFrame:
        lists = build_top_lists(FRAME[FRAME["week"] < pd.Timestamp("2022-01-02") + pd.Timedelta(weeks=weeks)])
        return forecast_lists(lists, None, SameList(), origins=origins).backtest

    assert (
        short(8, 99)["lists"].item() == 2 * 10
    )  # candidates from the fifth week on, three outcomes, one to learn from
    assert short(5, 99).empty
    with pytest.raises(InputError, match="4 weeks are too few"):
        short(4, 0)


@pytest.mark.parametrize(
    ("date", "last"),
    [("2022-04-17", "2022-04-10"), ("2022-04-11", "2022-04-10"), ("2022-04-10", "2022-04-03"), ("2022-04-24", "2022-04-17")],
)  # fmt: skip
def test_a_date_is_of_the_week_it_lies_in(tmp_path: Path, date: str, last: str) -> None:
    FRAME.to_csv(tmp_path / "lists.csv", index=False)
    assert str(read_lists_before(tmp_path / "lists.csv", dt.date.fromisoformat(date)).weeks[-1]) == last


@pytest.mark.parametrize(
    ("date", "said"),
    [("2022-04-25", "a date up to 2022-04-24"), ("2022-01-02", "a date after 2022-01-02")],
)
def test_a_date_too_far_from_the_lists_is_refused(tmp_path: Path, date: str, said: str) -> None:
    FRAME.to_csv(tmp_path / "lists.csv", index=False)
    with pytest.raises(InputError, match=said):
        read_lists_before(tmp_path / "lists.csv", dt.date.fromisoformat(date))
