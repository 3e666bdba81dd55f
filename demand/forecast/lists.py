"""Next week's published lists as a table: which model, from which weeks, and how good such forecasts were."""

import dataclasses
import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demand.forecast.calendar import ReleaseCalendar
from demand.forecast.candidates import LAGS, NO_RANK, Candidates, weekly_candidates
from demand.forecast.odds import INSTEAD
from demand.forecast.ranking import BoostedRanker, Ranker, SameList, backtest_rankers, best_of, refuse_other_calendar
from demand.forecast.saved import recall_saved
from demand.forecast.toplists import TopLists, read_top_lists
from demand.forecast.trees import lightgbm_for
from demand.forecast.universe import WEEK_DAYS
from topology.errors import InputError, Problem

LIST_MODELS: tuple[str, ...] = ("boosted-calendar", "boosted", "last-value")
"""The names of :func:`make_list_model`."""
ListModel = BoostedRanker | SameList


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ListForecast:
    """The lists of a week and what they rest on.

    Parameters
    ----------
    week
        The day on which it ends.
    table
        A row a place: ``week``, ``country``, ``category``, ``rank`` (1 to 10), ``title``, ``chance`` (that the title is in the list at all;
        NaN where the model tells none), ``weeks_before`` (weeks that it has been in this list so far).
    fitted
        The model.
    backtest
        How well models did on the weeks before, one row each; empty without a backtest.
    """

    week: dt.date
    table: pd.DataFrame
    fitted: ListModel
    backtest: pd.DataFrame


def usual_list_model(*, dated: bool) -> str:
    """The model for those who choose none: with a release calendar (``dated``) the one that uses it."""
    return "boosted-calendar" if dated else "boosted"


def make_list_model(name: str) -> ListModel:
    """A model of published lists by its name.

    Raises
    ------
    InputError
        An unknown name, or LightGBM, which the model needs, is not installed.
    """
    if name == "last-value":
        return SameList()
    if name in LIST_MODELS:
        lightgbm_for(name, INSTEAD)
        return BoostedRanker(name=name)
    message, mend = "no such model of published lists", "use one of: " + ", ".join(LIST_MODELS)
    raise InputError(Problem(table="arguments", column="--model", value=name, message=message, mend=mend))


def load_list_model(folder: Path) -> ListModel:
    """A model of published lists that :func:`~demand.forecast.saved.save_forecaster` wrote.

    Raises
    ------
    InputError
        The folder holds no saved model, one that lacks a part, or one of something else.
    """

    def make(name: str) -> ListModel:
        return SameList() if name == "last-value" else BoostedRanker(name=name)

    return recall_saved(folder, "lists", make)


def read_lists_before(path: Path, date: dt.date) -> TopLists:
    """The weeks of a Top 10 file that end before ``date``, of which the last is the week before the one that ``date`` lies in.

    Raises
    ------
    InputError
        With everything that is wrong in the file; there is no week before, or the last one ends more than seven days before.
    """
    lists = read_top_lists(path, before=date)
    last = lists.weeks[-1].item()
    if date > last + dt.timedelta(days=WEEK_DAYS):
        message = f"the last week before this date ends on {last}, and a forecast is of the week after"
        mend = f"choose a date up to {last + dt.timedelta(days=WEEK_DAYS)}, or add the lists of the weeks between"
        raise InputError(Problem(table=path.name, value=str(date), message=message, mend=mend))
    return lists


def compare_rankers(
    lists: TopLists, calendar: ReleaseCalendar | None, rankers: Sequence[Ranker], *, origins: int, refit_every: int
) -> tuple[list[Candidates], pd.DataFrame]:
    """The candidates of all weeks, and :func:`~demand.forecast.ranking.backtest_rankers` on them; each ranker's seconds include the candidates."""
    began = time.perf_counter()
    weeks = weekly_candidates(lists, calendar)
    preparing = time.perf_counter() - began
    table = backtest_rankers(weeks, rankers, origins=origins, refit_every=refit_every)
    table["seconds"] += preparing
    return weeks, table


def forecast_lists(
    lists: TopLists, calendar: ReleaseCalendar | None, model: ListModel, *, fit: bool = True, origins: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> ListForecast:  # fmt: skip
    """The lists of the week after the last one, of the countries and categories that have a list in it.

    Parameters
    ----------
    calendar
        The releases that are known beforehand: of those after the week that is forecast nothing is used.
    model
        What ranks the candidates.
    fit
        Whether it is fitted on these weeks first; otherwise it is used as it is.
    origins
        Weeks of the rolling-origin backtest, for which it is fitted anew, once, on the weeks before them; fewer where the lists are short.
    progress
        Is told what comes next.

    Raises
    ------
    InputError
        There are too few weeks, or the model cannot be used on these lists: it has learnt from later ones, of other categories, or with a calendar
        where there is none, or the reverse.
    """
    if len(lists.weeks) <= LAGS:
        message, mend = (
            f"{len(lists.weeks)} weeks are too few to forecast from",
            "give lists of six weeks in a row or more",
        )
        raise InputError(Problem(table="top lists", message=message, mend=mend))
    if not fit:
        _refuse_hindsight(model, lists, calendar)
    week = lists.weeks[-1].item() + dt.timedelta(days=WEEK_DAYS)
    tested = min(origins, _outcomes(lists) - 1)
    progress(f"candidates of {len(lists.weeks)} weeks" + (f", backtest on {tested} of them" if tested > 0 else ""))
    if tested > 0:
        rankers = {ranker.name: ranker for ranker in (dataclasses.replace(model), SameList())}
        weeks, scores = compare_rankers(lists, calendar, [*rankers.values()], origins=tested, refit_every=tested)
    else:
        weeks, scores = weekly_candidates(lists, calendar), pd.DataFrame()
    if fit:
        progress(f"{model.name} learns from all weeks")
        model.fit(weeks)
    return ListForecast(week=week, table=_table(lists, weeks, model, week), fitted=model, backtest=scores)


def _outcomes(lists: TopLists) -> int:
    """Weeks with candidates whose next week is there."""
    return int((np.diff(lists.weeks[LAGS:]).astype(np.int64) == WEEK_DAYS).sum())


def _refuse_hindsight(model: ListModel, lists: TopLists, calendar: ReleaseCalendar | None) -> None:
    """Raise InputError if a fitted model knows later lists than these, or does not go with the calendar."""
    if not isinstance(model, BoostedRanker) or model.lessons is None:
        return
    refuse_other_calendar(model, calendar is not None)
    last, until = lists.weeks[-1], np.datetime64(model.lessons.until, "D")
    if until > last:
        message = f"learnt from lists up to {until}, which a forecast from the lists up to {last} must not know"
        mend = "load a model that was fitted earlier, or fit one on these lists"
        raise InputError(Problem(table="model", value=model.name, message=message, mend=mend))


def _table(lists: TopLists, weeks: Sequence[Candidates], model: ListModel, week: dt.date) -> pd.DataFrame:
    parts = [_places(lists, candidates, model) for candidates in weeks if candidates.week == len(lists.weeks) - 1]
    table = pd.concat(parts, ignore_index=True).sort_values(["country", "category", "rank"], ignore_index=True)
    table.insert(0, "week", week)
    return table


def _places(lists: TopLists, candidates: Candidates, model: ListModel) -> pd.DataFrame:
    """The rows of one category."""
    score = model.score(candidates)
    chosen, place = best_of(candidates, score)
    kept = np.isin(candidates.country, candidates.country[candidates.column("rank") < NO_RANK])[chosen]
    chosen, place = chosen[kept], place[kept]
    country, universe = candidates.country[chosen], candidates.universe
    before = np.maximum(candidates.column("weeks"), candidates.column("published_weeks"))
    return pd.DataFrame(
        {
            "country": np.array(lists.countries, object)[country],
            "category": universe.categories[universe.category],
            "rank": place + 1,
            "title": [name.split(" // ")[0] for name in universe.names[candidates.title[chosen]]],
            "chance": model.chance(score[chosen]),
            "weeks_before": before[chosen].astype(np.int64),
        }
    )
