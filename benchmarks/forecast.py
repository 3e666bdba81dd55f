"""How good forecasts of published lists and views are: ``python -m benchmarks.forecast --top10 FILE [--calendar FILE] [--origins N] [--json]``.

Next week's Top 10 of each country and category (``--top10``: a file by country, tab- or comma-separated, also .gz). ``--calendar``: a release
calendar, a CSV with the columns ``title`` and ``release_date`` (YYYY-MM-DD) and, optionally, ``kind`` (film or TV) and ``runtime_minutes`` (``--dates-only``
leaves these); Netflix's engagement report is one as it is. With it the default model knows which titles come out in the week it forecasts; without it a model that
does not is the default.

``--global-hours FILE``: next week's hours of the titles of the global lists, and of their places; first-week hours of titles that nobody has
watched. ``--youtube FILE…``: tomorrow's views of trending videos, and of new ones after their first days. ``--elsewhere`` (with ``--top10``):
a title's points in a country from those in others. ``--evidence``: launches from fewer past ones; with ``--top10`` a
perfect choice among the candidates, a model told in how many other countries a title will be listed, models that learnt from fewer weeks, what came of titles by
where they were before, and whether the chances told were right.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from benchmarks.forecast_series import (
    LAUNCH_DAYS,
    daily_views,
    first_days,
    hour_launches,
    place_hours,
    read_hours,
    read_trending,
    title_hours,
)
from demand.forecast.calendar import ReleaseCalendar, read_calendar
from demand.forecast.candidates import Candidates
from demand.forecast.factors import fit_factors
from demand.forecast.growth import GrowthModel, backtest_growth
from demand.forecast.launch import fit_launch_curve, fit_launch_prior, update
from demand.forecast.lists import compare_rankers, make_list_model, usual_list_model
from demand.forecast.ranking import LENGTH, BoostedRanker, Ranker, SameList, backtest_rankers, best_of, list_scores
from demand.forecast.toplists import TopLists, read_top_lists
from topology.errors import InputError, Problem

HOUR_ORIGINS = 52
"""Weeks of hours that are forecast, back from the last."""
VIEW_ORIGINS = 14
"""Days of views that are forecast, back from the last."""
LAUNCH_WEEKS = 104
"""Weeks whose launches are forecast, back from the last; the model learns afresh every four."""
LEAST_LEARNT = 2
"""Launches without which nothing can be learnt."""

LEARNING_LAUNCHES = (30, 60, 120)
"""Latest launches that those of the learning curve learn from."""
LEARNING_WEEKS = (8, 16, 24)
"""Latest weeks that the models of the learning curve learn from."""

SOURCES = ("stays", "was here before", "was elsewhere", "new, in the calendar")
"""Where an entry of next week's list comes from, as far as the lists of weeks up to now and the calendar show."""

KNOWN = 1e6
"""Above all log odds."""

Table = dict[str, dict[str, Any]]


def run_top10(
    lists: TopLists, calendar: ReleaseCalendar | None, origins: int, refit_every: int, evidence: bool
) -> dict[str, Any]:
    """Backtest the rankers; the seconds of this week's list and of the default model include the candidates, those of the evidence do not."""
    default = make_list_model(usual_list_model(dated=calendar is not None))
    weeks, table = compare_rankers(lists, calendar, [SameList(), default], origins=origins, refit_every=refit_every)
    if evidence:
        curve = [BoostedRanker(name=f"{default.name}, {n} weeks", weeks=n, release_weeks=n) for n in LEARNING_WEEKS]
        fewer = backtest_rankers(weeks, [PerfectChoice(), *curve], origins=origins, refit_every=refit_every)
        told = BoostedRanker(name=f"{default.name}, told next week's holders", linear=0.0, release_linear=0.0)
        oracle = backtest_rankers(list(map(tell_holders, weeks)), [told], origins=origins, refit_every=refit_every)
        table = pd.concat([table, fewer, oracle])
    result = {"default": default.name, "origins": origins, "last_week": str(lists.weeks[-1]), "models": by_model(table)}
    if evidence:
        result["sources"] = by_source(weeks, default, origins)
        result["chances"] = by_chance(weeks, default, origins)
    return result


def by_source(weeks: Sequence[Candidates], ranker: Ranker, origins: int) -> Table:
    """Entries a list by where they come from: how many came among the candidates, were chosen, and both; one fit, before the origins.

    ``points if known``: what precision@10 would gain, in hundredths, if it were known of these candidates alone which come.
    """
    first = sorted({c.week for c in weeks if c.next_rank is not None})[-origins]
    ranker.fit([candidates for candidates in weeks if candidates.week < first])
    sums = {source: np.zeros(4) for source in SOURCES}
    lists = 0
    for candidates in (c for c in weeks if c.week >= first and c.next_rank is not None):
        assert candidates.next_rank is not None and candidates.next_size is not None
        scored = candidates.next_size[candidates.country] > 0
        chosen = np.zeros(len(scored), bool)
        score = ranker.score(candidates)
        chosen[best_of(candidates, score)[0]] = True
        came, lists = candidates.next_rank > 0, lists + int((candidates.next_size > 0).sum())
        here, before = candidates.column("rank") <= LENGTH, candidates.column("weeks") > 0
        shown = candidates.column("since_first_anywhere") >= 0
        source = np.select([here, before, shown], [0, 1, 2], 3)
        for s, name in enumerate(SOURCES):
            rows = scored & (source == s)
            told = list_scores(candidates, np.where(source == s, np.where(came, KNOWN, -KNOWN), score))[0]
            gained = 100 * float((told - list_scores(candidates, score)[0]).sum())
            sums[name] += [(came & rows).sum(), (chosen & rows).sum(), (came & chosen & rows).sum(), gained]
    columns = "candidates that came", "chosen", "chosen and came", "points if known"
    return {name: dict(zip(columns, total / lists, strict=True)) for name, total in sums.items()}


def by_chance(weeks: Sequence[Candidates], ranker: BoostedRanker, origins: int) -> Table:
    """Places of the forecast lists by the chance they were given, in tenths, and those of releases: the mean of it, and the share that came; one fit, before the origins."""
    known = sorted({c.week for c in weeks if c.next_rank is not None})[-origins:]
    ranker.fit([candidates for candidates in weeks if candidates.week < known[0]])
    parts = []
    for candidates in (c for c in weeks if c.week in known):
        assert candidates.next_rank is not None and candidates.next_size is not None
        score = ranker.score(candidates)
        chosen = best_of(candidates, score)[0]
        chosen = chosen[candidates.next_size[candidates.country[chosen]] > 0]
        shown = candidates.column("since_first_anywhere")[chosen] >= 0
        parts.append(np.column_stack([ranker.chance(score[chosen]), candidates.next_rank[chosen] > 0, shown]))
    said, came, shown = np.concatenate(parts).T
    tenth = np.minimum((10 * said).astype(int), 9)
    rows = {f"{k / 10:.1f} to {(k + 1) / 10:.1f}": tenth == k for k in range(10)}
    rows |= {"all": tenth >= 0, SOURCES[-1]: shown == 0}
    return {
        name: {"said": float(said[row].mean()), "came": float(came[row].mean()), "places": int(row.sum())}
        for name, row in rows.items()
        if row.any()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfectChoice:
    """Knows which candidates come: what no choice among them can exceed."""

    name: str = "perfect choice of candidates"

    def fit(self, past: Sequence[Candidates]) -> Self:  # noqa: ARG002
        """Nothing is learnt."""
        return self

    def score(self, candidates: Candidates) -> np.ndarray:
        """The better the rank to come the higher."""
        assert candidates.next_rank is not None
        return np.where(candidates.next_rank > 0, -candidates.next_rank, -np.inf)


def tell_holders(candidates: Candidates) -> Candidates:
    """The candidates with an oracle's feature: in how many other countries the title will be listed a week later."""
    if candidates.next_rank is None:
        return candidates
    comes = candidates.next_rank > 0
    others = np.bincount(candidates.title, comes, candidates.universe.titles)[candidates.title] - comes
    features = np.column_stack([candidates.features, others]).astype(np.float32)
    return replace(candidates, names=(*candidates.names, "holders_next"), features=features)


def run_hours(path: Path, calendar: ReleaseCalendar | None, evidence: bool) -> dict[str, Table]:
    """Next week's hours of titles and of places, and the first week's of launches.

    Raises
    ------
    InputError
        With everything that is wrong in the file; it holds too few weeks, which is told before the work.
    """
    frame = read_hours(path)
    first_weeks = launches(hour_launches(frame, calendar), LEARNING_LAUNCHES if evidence else (), table=path.name)
    return {
        "hours of titles": by_model(backtest_growth(title_hours(frame), GrowthModel(), origins=HOUR_ORIGINS)),
        "hours of places": by_model(backtest_growth(place_hours(frame), GrowthModel(), origins=HOUR_ORIGINS)),
        "first week of new titles": first_weeks,
    }


def run_views(path: Path) -> dict[str, Table]:
    """Tomorrow's views, and the first days' sum of new videos after none, one and two of them.

    Raises
    ------
    InputError
        The file is no table of such videos, or holds too few days, which is told before the work.
    """
    frame = read_trending(path)
    new = unfolding(*first_days(frame), table=path.name)
    growth = backtest_growth(daily_views(frame), GrowthModel(), origins=VIEW_ORIGINS, refit_every=2)
    return {f"views {path.name}": by_model(growth), f"first days {path.name}": new}


def launches(titles: pd.DataFrame, latest: Sequence[int] = (), *, table: str = "launches") -> Table:
    """First-week hours of the titles of the last weeks, each from the launches before its own: median and mean of the prior, also from the ``latest`` launches alone.

    Raises
    ------
    InputError
        There are fewer than two launches before those weeks; names the file ``table``.
    """
    first = int(titles["step"].max()) - LAUNCH_WEEKS + 1 if len(titles) else 0
    before = int((titles["step"] < first).sum())
    if before < LEAST_LEARNT:
        message = (
            f"launches of the last {LAUNCH_WEEKS} weeks are forecast from those before, of which there are {before}"
        )
        mend = f"give a file of {LAUNCH_WEEKS + 2} weeks or more"  # the first week tells no launches
        raise InputError(Problem(table=table, message=message, mend=mend))
    tested = titles[titles["step"] >= first]
    hours = tested["hours"].to_numpy()
    known = {"launch prior": len(titles)} | {f"launch prior, {n} launches": n for n in latest}
    names = "mean of past launches", "mean of the category", *known, *(f"{name}, mean" for name in known)
    forecast = {name: np.zeros(len(tested)) for name in names}
    low, high = np.zeros(len(tested)), np.zeros(len(tested))
    began = time.perf_counter()
    for origin in range(first, int(titles["step"].max()) + 1, 4):
        past = titles[titles["step"] < origin]
        now = ((tested["step"] >= origin) & (tested["step"] < origin + 4)).to_numpy()
        forecast["mean of past launches"][now] = past["hours"].mean()
        by_category = tested["category"][now].map(past.groupby("category")["hours"].mean())
        forecast["mean of the category"][now] = by_category.fillna(past["hours"].mean())
        for name, count in known.items():
            some = past.iloc[-count:]
            belief = fit_launch_prior(some, some["hours"].to_numpy()).predict(tested[now])
            forecast[name][now], forecast[f"{name}, mean"][now] = belief.quantile(0.5), belief.mean
            if name == "launch prior":
                low[now], high[now] = belief.quantile(0.1), belief.quantile(0.9)
    result = {name: errors(values, hours) for name, values in forecast.items()}
    inside = float(((low <= hours) & (hours <= high)).mean())
    result["launch prior"] |= {"coverage": inside, "seconds": time.perf_counter() - began}
    return result


def unfolding(about: pd.DataFrame, daily: np.ndarray, *, table: str = "videos") -> Table:
    """Views that the later half of the videos gained in their first days, forecast from the days seen so far and from those videos of which all these days were over when the later half began.

    Raises
    ------
    InputError
        There are fewer than two such videos; names the file ``table``.
    """
    titles = pd.DataFrame({"genre": about["topic"].astype(str)})
    day = about["day"].to_numpy()
    cut = np.sort(day)[len(day) // 2] if len(day) else 0
    learn, tested = day + LAUNCH_DAYS <= cut, day >= cut
    if learn.sum() < LEAST_LEARNT:
        message = f"{learn.sum()} videos had their first {LAUNCH_DAYS} days before the later half began"
        mend = "give a file of more days"
        raise InputError(Problem(table=table, message=message, mend=mend))
    total = daily.sum(axis=1)
    curve = fit_launch_curve(daily[learn])
    belief = fit_launch_prior(titles[learn], total[learn]).predict(titles[tested])
    result = {"mean of past launches": errors(np.full(tested.sum(), total[learn].mean()), total[tested])}
    for days in range(3):
        seen = belief if days == 0 else update(belief, curve, days, daily[tested, :days].sum(axis=1))
        low, high = seen.quantile(0.1), seen.quantile(0.9)
        inside = float(((low <= total[tested]) & (total[tested] <= high)).mean())
        result[f"after {days} days"] = errors(seen.quantile(0.5), total[tested]) | {"coverage": inside}
    return result


def elsewhere(lists: TopLists, seed: int = 1) -> Table:
    """A tenth of the pairs (country, title listed in three or more) is hidden; their points, the sum of ``11 - rank``, are filled in."""
    pairs = pd.DataFrame({"country": lists.country, "title": lists.title, "points": LENGTH + 1.0 - lists.rank})
    pairs = pairs.groupby(["country", "title"], as_index=False)["points"].sum()
    rng = np.random.default_rng(seed)
    held = pairs.groupby("title")["points"].transform("size").to_numpy()
    hidden = (held >= 3) & (rng.random(len(pairs)) < 0.1)
    shown, asked = pairs[~hidden], pairs[hidden]
    mean = shown["points"].mean()
    began = time.perf_counter()
    at = shown["country"].to_numpy(), shown["title"].to_numpy()
    log_points, weight = np.zeros((2, len(lists.countries), len(lists.titles)))
    log_points[at], weight[at] = np.log(shown["points"]), 1.0
    table = fit_factors(log_points, weight, rng=rng).table()
    filled = np.exp(table[asked["country"].to_numpy(), asked["title"].to_numpy()])
    seconds = time.perf_counter() - began
    points = asked["points"].to_numpy()
    by: Callable[[str], np.ndarray] = lambda column: (  # noqa: E731
        asked[column].map(shown.groupby(column)["points"].mean()).fillna(mean).to_numpy()
    )
    return {
        "mean of the country": errors(by("country"), points),
        "mean of the other countries": errors(by("title"), points),
        "factors": errors(filled, points) | {"seconds": seconds},
    }


def errors(forecast: np.ndarray, actual: np.ndarray) -> dict[str, Any]:
    """WAPE, bias and how many values there were."""
    total = float(actual.sum())
    wape, bias = float(np.abs(forecast - actual).sum() / total), float((forecast - actual).sum() / total)
    return {"wape": wape, "bias": bias, "values": len(actual)}


def by_model(table: pd.DataFrame) -> Table:
    """A table's rows by the name of their model, without what a model does not give."""
    rows = [{str(name): value for name, value in row.items() if value == value} for row in table.to_dict("records")]
    return {str(row.pop("model")): row for row in rows}


def show(title: str, table: Table) -> None:
    """Print a table of models."""
    columns = sorted({name for row in table.values() for name in row}, key=lambda name: (name == "seconds", name))
    print(f"\n{title:32}" + "".join(f"{column:>16}" for column in columns))
    for name, row in table.items():
        values = [row.get(column) for column in columns]
        print(f"{name:32}" + "".join(f"{'' if v is None else round(v, 4):>16}" for v in values))


def main() -> None:
    """Print a table a question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top10", type=Path)
    parser.add_argument("--calendar", type=Path)
    parser.add_argument("--dates-only", action="store_true", help="leave the runtimes that the calendar tells")
    parser.add_argument("--origins", type=int, default=20, help="weeks of lists to forecast, back from the last")
    parser.add_argument("--refit-every", type=int, default=4, help="origins between two fits of the ranking model")
    parser.add_argument("--evidence", action="store_true", help="also ceilings and a learning curve of the lists")
    parser.add_argument("--elsewhere", action="store_true")
    parser.add_argument("--global-hours", type=Path)
    parser.add_argument("--youtube", type=Path, nargs="*", default=[])
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    try:
        measure(parser.parse_args())
    except InputError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(2)


def refuse_nothing_to_measure(args: argparse.Namespace) -> None:
    """Raise InputError where files are missing without which an option, or the whole command, would measure nothing."""
    lists_or_hours = args.top10 or args.global_hours
    for option, given, useful, message, mend in (
        ("--elsewhere", args.elsewhere, args.top10, "there are no lists to hide points of", "add --top10 FILE"),
        ("--dates-only", args.dates_only, args.calendar, "there is no calendar to leave runtimes out of", "add --calendar FILE"),
        ("--evidence", args.evidence, lists_or_hours, "it is of lists and of hours", "add --top10 FILE or --global-hours FILE"),
        ("--calendar", args.calendar, lists_or_hours, "it is read for lists and for hours", "add --top10 FILE or --global-hours FILE"),
    ):  # fmt: skip
        if given and not useful:
            raise InputError(Problem(table="arguments", column=option, message=message, mend=mend))
    if not (args.top10 or args.global_hours or args.youtube):
        mend = "give a file with --top10, --global-hours or --youtube"
        raise InputError(Problem(table="arguments", message="there is nothing to measure", mend=mend))


def measure(args: argparse.Namespace) -> None:
    """Measure what was asked for, and print it.

    Raises
    ------
    InputError
        Nothing was asked for that can be measured, or an input is wrong.
    """
    refuse_nothing_to_measure(args)
    calendar = None if args.calendar is None else read_calendar(args.calendar, runtimes=not args.dates_only)
    result: dict[str, Any] = {}
    series: dict[str, Table] = {}
    if args.top10:
        lists = read_top_lists(args.top10)
        result |= run_top10(lists, calendar, args.origins, args.refit_every, args.evidence)
        if args.elsewhere:
            series["points elsewhere"] = elsewhere(lists)
    if args.global_hours:
        series |= run_hours(args.global_hours, calendar, args.evidence)
    for path in args.youtube:
        series |= run_views(path)
    if args.json:
        print(json.dumps(result | ({"series": series} if series else {})))
        return
    if result:
        show("next week's lists", result["models"])
        if "sources" in result:
            show("entries a list", result["sources"])
            show("places by their chance", result["chances"])
    for title, table in series.items():
        show(title, table)


if __name__ == "__main__":
    main()
